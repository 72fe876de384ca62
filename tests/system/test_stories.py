"""ackd status HOST and ackd status TOPIC/PARTITION/OFFSET, against rows that daemons made and against odd
ones made by hand. The daemon's side of it is a stand-in; with a real one: test_control.py."""

import json
import re
import shlex
import subprocess

import pytest
from harness import until
from harness.chaos import FAST_GROUP
from harness.control import Control
from harness.daemon import BINARY, ENVIRONMENT, command
from harness.kafka import Record
from harness.site import request


def story(site, of, *options, **changes):
    """Its document."""
    changes.setdefault("control", {"socket": str(site.folder / "nobody.sock")})
    path = site.write_config("story.yaml", **changes)
    result = command("status", "-c", path, "--json", of, *options)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def told(site, of, **changes):
    """The same for people."""
    changes.setdefault("control", {"socket": str(site.folder / "nobody.sock")})
    path = site.write_config("story.yaml", **changes)
    env = {"COLUMNS": "200", "LC_ALL": "C.UTF-8"}
    result = command("status", "-c", path, of, env=env)
    assert result.returncode == 0, result.stderr
    return result.stdout


def place(site, at):
    partition, offset = at
    return f"{site.topic}/{partition}/{offset}"


def whats(document):
    return [event["what"] for event in document["events"]]


def in_order(document):
    times = [event["at"] for event in document["events"]]
    return times == sorted(times) and all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time in times
    )


def start(site, argv=None, **restart):
    argv = argv or site.restarter.argv()
    return site.start(
        handlers={"restart-host": {"exec": {"argv": argv, "timeout": "60s"}, **restart}},
        **FAST_GROUP,
    )


def execute(site, statement, *parameters):
    with site.database.connect() as connection:
        connection.execute(statement, parameters or None)


# --- what daemons leave behind --------------------------------------------------------------------


def test_a_restart_that_is_done(site):
    site.create_topic(2)
    daemon = start(site, cooldown="15m")
    [at] = site.produce(Record(request("db1.example.com", id="7f3a"), partition=1))
    site.wait_drained()
    document = story(site, place(site, at))
    assert whats(document) == ["received", "restart"] and in_order(document)
    received, restart = document["events"]
    assert received["row"] and received["saved"] and received["id"] == "7f3a"
    assert (received["topic"], received["partition"], received["offset"]) == (site.topic, *at)
    assert (restart["state"], restart["attempt"], restart["exit_status"]) == ("done", 1, 0)
    assert restart["instance"] == "test" and restart["action"] == "exec"
    assert document["of"] == {"topic": site.topic, "partition": at[0], "offset": at[1]}
    assert document["daemon"]["error"].startswith("there is no control socket")
    assert document["next"] == {"text": "It is over: the host was restarted.", "command": None}

    # Its host, in any spelling; with the cool-down that the configuration has.
    changes = {"handlers": {"restart-host": {"cooldown": "15m"}}}
    document = story(site, "DB1.Example.com.", **changes)
    assert document["of"] == {"host": "db1.example.com"}
    assert whats(document) == ["received", "restart"]
    [host] = document["hosts"]
    assert host["last_is_done"] and host["open"] is None
    assert f"suppressed by the cool-down until {host['cooldown_until']}" in document["next"]["text"]

    # Another request, another line; and the daemon may be gone.
    [again] = site.produce(Record(request("db1.example.com"), partition=0))
    site.wait_drained()
    assert daemon.stop() == 0
    document = story(site, place(site, again))
    assert [event.get("reason") for event in document["events"]] == [None, "cooldown"]
    assert "there was nothing to do (cooldown)" in document["next"]["text"]
    text = told(site, "db1.example.com")
    assert f"{place(site, at)}  restart done  attempt 1  exec by test" in text
    assert f"{place(site, again)}  restart suppressed: cooldown  by test" in text


def test_one_that_failed_until_it_was_rejected(site):
    site.create_topic()
    start(site, site.restarter.argv("-", "0", "3"))
    [at] = site.produce("db1.example.com")
    site.wait_drained()
    document = story(site, place(site, at))
    assert whats(document) == ["received", *["restart"] * 5, "rejected"] and in_order(document)
    restarts = document["events"][1:6]
    assert [restart["attempt"] for restart in restarts] == [1, 2, 3, 4, 5]
    assert {(r["state"], r["exit_status"]) for r in restarts} == {("failed", 3)}
    rejected = document["events"][-1]
    assert (rejected["handler"], rejected["reason"], rejected["open"]) == (
        "restart-host",
        "failed",
        True,
    )
    assert rejected["handlers_done"] == ["save"]
    config = site.folder / "story.yaml"
    assert document["next"]["command"] == (
        f"ackd dead-letter replay -c {config} {place(site, at)} --why '...'"
    )
    text = told(site, "db1.example.com")
    assert "exit status 3" in text and "rejected: failed  by restart-host" in text


def test_a_hold_and_the_command_that_is_printed(site):
    """It is run as it stands there, and the story has another end."""
    site.create_topic()
    site.init_db()
    config = site.write_config()
    made = command("hold", "db*", "--why", "storage is moved", "-c", config)
    assert made.returncode == 0, made.stderr
    start(site)
    at, other = site.produce("db1.example.com", "db1.example.com")
    until(lambda: {at, other} <= set(site.saved()))
    document = story(site, place(site, at))
    assert whats(document) == ["held", "received"] and in_order(document)
    assert document["events"][0]["why"] == "storage is moved"
    assert "while db* is held by" in document["next"]["text"]
    text = told(site, "db1.example.com")
    [line] = [line for line in text.splitlines() if line.startswith("    ackd ")]
    words = shlex.split(line)
    assert words == ["ackd", "unhold", "-c", str(site.folder / "story.yaml"), "db*"]
    lifted = command(*words[1:])
    assert lifted.returncode == 0, lifted.stderr
    site.wait_drained()
    document = story(site, place(site, other))
    assert whats(document) == ["held", "received", "lifted", "restart"] and in_order(document)
    # Both had waited: one restart.
    shared = [story(site, place(site, each))["events"][-1] for each in (at, other)]
    assert [restart["state"] for restart in shared] == ["done", "done"]
    [own] = [restart for restart in shared if restart["shared_with"] is None]
    [guest] = [restart for restart in shared if restart["shared_with"] is not None]
    assert guest["shared_with"]["offset"] == own["offset"] and own["shared_by"] == 1
    assert "it shared the restart of" in told(site, "db1.example.com")


def test_one_whose_daemon_died(site):
    site.create_topic()
    daemon = start(site)
    host = site.restarter.hold("hold-1.example.com")
    [at] = site.produce(host)
    until(lambda: site.restarter.hosts() == [host] and set(site.saved()) == {at})
    document = story(site, place(site, at))
    restart = document["events"][-1]
    assert (restart["state"], restart["held"], restart["ended_at"]) == ("intended", True, None)
    [row] = document["hosts"]
    assert row["open"]["restart"] == restart["restart"] and row["open"]["held"]
    under_way = f"under way at test, until {restart['held_until']} at the latest"
    assert under_way in document["next"]["text"]
    daemon.kill()
    execute(site, "UPDATE hosts SET held_until = now() - interval '1 s'")
    execute(site, "UPDATE restarts SET held_until = now() - interval '1 s'")
    document = story(site, host)
    assert not document["events"][-1]["held"]
    assert "nobody told its end" in document["next"]["text"]
    assert "was held until" in told(site, host)
    site.restarter.release(host)


def test_messages_without_a_host(site):
    site.create_topic()
    daemon = start(site)
    site.produce(b"restart db1 please", Record(None, key=b"k"), request("a.example.com"))
    site.wait_drained()
    document = story(site, f"{site.topic}/0/0")
    assert "rejected" in whats(document)
    rejected = document["events"][whats(document).index("rejected")]
    assert (rejected["handler"], rejected["reason"], rejected["host"]) == (None, "not_json", None)
    assert document["next"]["command"].endswith(f"{site.topic}/0/0 --why '...'")
    assert document["hosts"] == []
    # A tombstone leaves no row.
    document = story(site, f"{site.topic}/0/1")
    assert document["events"] == [] and document["messages_searched"]
    assert "It was passed: everything below offset 3 is saved" in document["next"]["text"]
    # And of what comes later nothing can be known.
    document = story(site, f"{site.topic}/0/3")
    assert "not saved yet: only what is below offset 3 is" in document["next"]["text"]
    assert daemon.stop() == 0


def test_a_topic_that_was_made_again(site):
    site.create_topic()
    daemon = start(site)
    site.produce("old.example.com")
    site.wait_drained()
    assert daemon.stop() == 0
    site.remake_topic()
    decided = site.decide(0, "--new-topic")
    assert decided.returncode == 0, decided.stderr
    daemon = start(site)
    site.produce("new.example.com")
    site.wait_drained()
    assert daemon.stop() == 0
    document = story(site, f"{site.topic}/0/0")
    old, new = document["sources"]
    assert old["retired_at"] and not new["retired_at"]
    assert [(event["host"], event["source"]) for event in document["events"]] == [
        ("old.example.com", old["source"]),
        ("old.example.com", old["source"]),
        ("new.example.com", new["source"]),
        ("new.example.com", new["source"]),
    ]
    assert "(topic made again since)" in told(site, f"{site.topic}/0/0")


# --- what nobody knows ----------------------------------------------------------------------------


def test_nothing_is_known(site):
    site.init_db()
    document = story(site, "nobody.example.com")
    assert document["events"] == [] and document["hosts"] == [] and document["sources"] is None
    assert "Nothing is known of this host" in document["next"]["text"]
    assert document["next"]["command"] is None
    document = story(site, "no-topic/7/1")
    assert document["sources"] == []
    text = f"knows no partition 7 of topic no-topic for group {site.group}"
    assert text in document["next"]["text"]
    # A hold is known all the same.
    execute(site, "INSERT INTO holds (pattern, why, who) VALUES ('nobody*', 'w', 'jo')")
    document = story(site, "nobody.example.com")
    assert whats(document) == ["held"] and document["next"]["command"].endswith(" 'nobody*'")


@pytest.mark.parametrize(
    "of, said",
    [
        ("-x", "there is no option"),
        ("--", None),
        ("a_b", "is no host"),
        ("10.0.0.256", "is no host"),
        ("", "is no host"),
        ("a/b", "names no message"),
        ("t/1", "names no message"),
        ("t/1/2/3", "names no message"),
        ("t/x/1", "names no message"),
        ("t/1/-1", "names no message"),
        ("/1/1", "names no message"),
        ("t/2147483648/1", "names no message"),
        ("t/1/9999999999999999999", "names no message"),
        (f"{'t' * 300}/1/1", "names no message"),
    ],
)
def test_what_is_no_host_and_no_message(site, of, said):
    config = site.write_config(control={"socket": str(site.folder / "nobody.sock")})
    result = command("status", "-c", config, of)
    if said is None:
        # No operand at all: the daemon is asked.
        assert result.returncode == 69
        return
    assert (result.returncode, result.stdout) == (64, "")
    assert said in result.stderr and "ackd status --help" in result.stderr


def test_usage(site):
    config = site.write_config()
    for arguments, said in [
        (["a", "b"], '"b" is one argument too many'),
        (["--watch", "a"], "--watch shows a daemon"),
        (["--health", "a"], "--health stands alone"),
    ]:
        result = command("status", "-c", config, *arguments)
        assert (result.returncode, result.stdout) == (64, "")
        assert said in result.stderr


# --- PostgreSQL -----------------------------------------------------------------------------------


def make_rows(site, n=1, host="db1.example.com"):
    """So many restarts of a host, of a partition of which nothing is in Kafka."""
    site.init_db()
    execute(
        site,
        "INSERT INTO partitions (cluster_id, group_id, topic, partition, next_offset, instance,"
        " created_at, updated_at) VALUES ('c', %s, %s, 0, 1000, 'test', now(), now())",
        site.group,
        site.topic,
    )
    execute(
        site,
        'INSERT INTO restarts (source, "offset", attempt, host, received_at, state, action, instance,'
        " instance_name, intended_at, held_until, started_at, ended_at, exit_status, output)"
        " SELECT 1, i, 1, %s, t, 'done', 'exec', gen_random_uuid(), 'test', t, t, t, t, 0, 'ok'"
        " FROM generate_series(1, %s) i, LATERAL (SELECT now() - make_interval(hours => 1000 - i)) x(t)",
        host,
        n,
    )


def test_of_many_rows_the_newest(site):
    make_rows(site, 60)
    document = story(site, "db1.example.com")
    restarts = [event for event in document["events"] if event["what"] == "restart"]
    assert [restart["offset"] for restart in restarts] == list(range(11, 61))
    assert document["rows"] == {"restarts": 60, "rejected": 0}
    assert "the newest 50 of 60 rows of restarts" in told(site, "db1.example.com")


def test_what_others_wrote_does_nothing_to_the_terminal(site):
    make_rows(site)
    evil = "\x1b[2J\x1b]0;x\x07 \u202e\u009b31m end"
    execute(site, "UPDATE restarts SET output = %s, instance_name = %s", evil, evil)
    execute(
        site,
        'INSERT INTO rejected (source, "offset", host, handler, reason, detail, dropped_at, dropped_by,'
        " dropped_why) VALUES (1, 1, 'db1.example.com', 'save', %s, %s, now(), %s, %s)",
        *[evil] * 4,
    )
    execute(site, "INSERT INTO holds (pattern, why, who) VALUES ('db*', %s, %s)", evil, evil)
    text = told(site, "db1.example.com")
    assert text.count("\\u001b[2J") >= 7
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert story(site, "db1.example.com")["events"][1]["output"] == evil


def test_what_nobody_handles_any_more(site):
    """Of a message that never ended and that no daemon receives again, none is said to try it."""
    make_rows(site)
    execute(site, "UPDATE restarts SET state = 'failed'")
    message = f"{site.topic}/0/1"
    again = f" --topic {site.topic} db1.example.com"
    assert "tried again by the daemon" in story(site, message)["next"]["text"]
    execute(site, "UPDATE partitions SET decided_at = now(), decided_by = 'jo', decided_why = 'lost', decided_from = 1")
    assert "tried again by the daemon" in story(site, message)["next"]["text"]
    for decided_from, said in ((2, "As that is behind it, nobody"), (None, "If that is behind it, nobody")):
        execute(site, "UPDATE partitions SET decided_from = %s", decided_from)
        next_ = story(site, message)["next"]
        assert "jo decided at " in next_["text"] and said in next_["text"]
        assert next_["command"].startswith("ackd produce -c ") and next_["command"].endswith(again)
    # What happened to it after the decision says that a daemon has it.
    execute(site, "UPDATE partitions SET decided_at = now() - interval '10 years'")
    assert "tried again by the daemon" in story(site, message)["next"]["text"]
    execute(site, "UPDATE partitions SET retired_at = now()")
    next_ = story(site, message)["next"]
    assert "so nobody handles it any more" in next_["text"] and next_["command"].endswith(again)
    execute(site, "UPDATE restarts SET state = 'acted', ended_at = NULL")
    assert "nobody knows how its restart ended" in story(site, message)["next"]["text"]


def test_a_replay_and_what_it_replays(site):
    make_rows(site)
    execute(
        site,
        'INSERT INTO rejected (source, "offset", host, handler, reason, received_at, replayed_at,'
        " replayed_by, replay_source, replay_offset) VALUES (1, 0, 'db1.example.com', 'restart-host',"
        " 'failed', now(), now(), 'jo', 1, 1)",
    )
    old, new = f"{site.topic}/0/0", f"{site.topic}/0/1"
    document = story(site, old)
    assert whats(document) == ["received", "rejected", "replayed"]
    assert document["next"]["command"].endswith(f" {new}")
    document = story(site, new)
    place_of_old = {"topic": site.topic, "partition": 0, "offset": 0}
    assert document["events"][0]["replay_of"] == place_of_old
    text = told(site, "db1.example.com")
    assert f"{new}  received  saved  a replay of  {old}" in text
    assert f"{old}  replayed by jo  as  {new}" in text


def test_a_server_that_takes_no_writes(site):
    make_rows(site)
    execute(site, f'ALTER DATABASE "{site.database.name}" SET default_transaction_read_only = on')
    document = story(site, "db1.example.com")
    assert document["read_only"] and "restart" in whats(document)
    assert "takes no writes" in told(site, "db1.example.com")


def test_messages_that_cannot_be_searched_in_time(site):
    """Somebody holds the table, or it is large."""
    make_rows(site)
    with site.database.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        document = story(site, "other.example.com")
        assert not document["messages_searched"]
        assert "as far as messages could be searched" in document["next"]["text"]
        # What the other tables know is told all the same.
        assert "restart" in whats(story(site, f"{site.topic}/0/1"))
    assert story(site, "other.example.com")["messages_searched"]


def test_a_saved_message_that_the_ledger_does_not_know(site):
    make_rows(site)
    execute(
        site,
        'INSERT INTO messages (source, "offset", host, payload, received_at) VALUES'
        " (1, 500, 'web.example.com', '{}', now() - interval '20 days'),"
        " (1, 501, 'web.example.com', '{}', now() - interval '2 hours')",
    )
    # By its place at any time, by its host for a day.
    assert whats(story(site, f"{site.topic}/0/500")) == ["received"]
    assert [event["offset"] for event in story(site, "web.example.com")["events"]] == [501]


def test_no_schema_and_no_server(site):
    config = site.write_config()
    result = command("status", "-c", config, "db1.example.com")
    assert result.returncode == 69 and "run: ackd init-db" in result.stderr
    config = site.write_config(postgres={"dsn": "host=localhost port=1 dbname=x"})
    for options in ([], ["--json"]):
        result = command("status", "-c", config, *options, "db1.example.com")
        assert result.returncode == 69 and "port 1 failed" in result.stderr
    assert "port 1 failed" in json.loads(result.stdout)["postgres_error"]


# --- the daemon -----------------------------------------------------------------------------------


def in_hand(host, offset, topic, waits_for="window"):
    return {
        "topic": topic,
        "partition": 0,
        "offset": offset,
        "host": host,
        "id": None,
        "received_at": "2026-11-26T04:00:00Z",
        "age_s": 70.0,
        "saved": True,
        "handlers": [
            {"handler": "save", "state": "done"},
            {"handler": "restart-host", "state": "waiting", "since_s": 60.5, "waits_for": waits_for},
        ],
    }


@pytest.fixture
def control(site):
    document = {
        "instance": "web1",
        "now": "2026-11-26T04:01:10Z",
        "messages": [in_hand("web1.example.com", 7, site.topic), in_hand("b", 8, site.topic)],
        "messages_total": 2,
    }
    result = Control(site.folder / "c.sock", document)
    yield result
    result.stop()


def test_what_the_daemon_has_in_hand(site, control):
    site.init_db()
    socket = {"control": {"socket": str(control.path)}}
    document = story(site, "WEB1.example.com", **socket)
    assert control.requests == [
        {"request": "status", "messages": 1000, "of": {"host": "web1.example.com"}}
    ]
    daemon = document["daemon"]
    assert (daemon["instance"], daemon["error"], daemon["complete"]) == ("web1", None, True)
    assert [message["offset"] for message in daemon["messages"]] == [7]
    assert document["next"]["text"] == "It waits for the next of handlers.restart-host.windows."
    text = told(site, f"{site.topic}/0/8", **socket)
    assert control.requests[-1]["of"] == {"topic": site.topic, "partition": 0, "offset": 8}
    assert "restart-host waiting for window  since 04:00:09Z (1m00s)" in text
    # It told the oldest only, or only those that fit.
    control.document["messages_total"] = 5000
    assert not story(site, "c.example.com", **socket)["daemon"]["complete"]
    control.document["messages_matched"] = 2
    assert story(site, "c.example.com", **socket)["daemon"]["complete"]


def test_without_postgresql_the_daemon_is_told(site, control):
    changes = {
        "control": {"socket": str(control.path)},
        "postgres": {"dsn": "host=localhost port=1 dbname=x"},
    }
    config = site.write_config(**changes)
    control.document["messages"] = [in_hand("web1.example.com", 7, site.topic, "postgres")]
    result = command("status", "-c", config, "web1.example.com")
    assert result.returncode == 69 and "port 1 failed" in result.stderr
    assert "PostgreSQL could not be asked" in result.stdout
    assert "restart-host waiting for postgres" in result.stdout
    assert "It waits for PostgreSQL" in result.stdout


def test_a_full_disk(site):
    make_rows(site)
    config = site.write_config()
    with open("/dev/full", "w", encoding="utf-8") as full:
        for options in ([], ["--json"]):
            arguments = ["status", "-c", config, *options, "db1.example.com"]
            result = subprocess.run(
                [BINARY, *map(str, arguments)],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=30,
                env=ENVIRONMENT,
                check=False,
            )
            assert result.returncode == 70
            assert "cannot write the result" in result.stderr

