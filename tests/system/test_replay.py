"""A rejected message that is produced again (docs/rejected.md): only what its row says is not done
runs, under the same guards, once; whatever the header says, and whatever dies."""

import re
import signal
import time

from harness import until
from harness.kafka import Record
from harness.oracle import ledger
from harness.site import request

HOST = "web1.example.com"
FAILS = ("x", "0", "1")  # the restarter's NOTE, MS and STATUS


def start(site, *more, **restart):
    """A daemon whose command is the restarter with these arguments."""
    keys = {"exec": {"argv": site.restarter.argv(*more)}, **restart}
    changes = {"retry": {"attempts": 1}, "handlers": {"restart-host": keys}}
    return site.start(**changes)


def reject(site, *hosts, **fields):
    """Requests whose restart fails; their places, when they are rejected and the daemon is gone."""
    daemon = start(site, *FAILS)
    places = site.produce(*(request(host, **fields) for host in hosts))
    site.wait_drained()
    assert daemon.stop() == 0
    rejected = site.rejected()
    assert {tuple(rejected[place]["handlers_done"]) for place in places} == {("save",)}
    return places


def source(site, partition=0):
    [[found]] = site.database.rows(
        "SELECT id FROM partitions WHERE topic = %s AND partition = %s", site.topic, partition
    )
    return found


def replay(site, place, header=None, value=None, partition=0):
    """Produces the message at @place again; its new place."""
    old = site.produced[place]
    header = f"{source(site, place[0])}/{place[1]}" if header is None else header
    headers = (*old.headers, (b"ackd-replay", header.encode()))
    value = old.value if value is None else value
    [new] = site.produce(Record(value, old.key, partition, headers=headers))
    return new


def row(site, place):
    """What became of the row: by which message it is replayed, and whether the times are set."""
    [found] = site.database.rows(
        "SELECT replay_source, replay_offset, replayed_at IS NOT NULL,"
        " replay_received_at IS NOT NULL FROM rejected"
        ' WHERE source = %s AND "offset" = %s',
        source(site, place[0]),
        place[1],
    )
    return found


def taken_by(site, place, by):
    assert row(site, place) == (source(site, by[0]), by[1], True, True)


def is_free(site, place):
    assert row(site, place) == (None, None, False, False)


def ack(daemon, place):
    return daemon.wait_for(event="message.acked", partition=place[0], offset=place[1])["msg"]


def execute(site, statement, *parameters):
    with site.database.connect() as connection, connection.transaction():
        connection.execute(statement, parameters)


def finish(site, daemon):
    site.wait_drained()
    assert daemon.stop() == 0


def test_only_what_is_not_done(site):
    site.create_topic()
    [place] = reject(site, HOST)
    daemon = start(site)
    new = replay(site, place)
    assert "save=done before" in ack(daemon, new)
    finish(site, daemon)
    assert site.saved().keys() == {place}
    assert site.restarter.hosts() == [HOST, HOST]
    assert site.rejected().keys() == {place}
    taken_by(site, place, new)
    states = {entry.place: entry.state for entry in ledger(site)}
    assert states == {place: "failed", new: "done"}


def test_a_second_copy_and_a_dropped_one(site):
    site.create_topic()
    first, dropped = reject(site, HOST, "web2.example.com")
    execute(
        site,
        "UPDATE rejected SET dropped_at = now(), dropped_by = 'me' WHERE \"offset\" = %s",
        dropped[1],
    )
    daemon = start(site)
    new, copy, nothing = (replay(site, place) for place in (first, first, dropped))
    finish(site, daemon)
    said = {line["offset"]: line for line in daemon.find(event="replay.duplicate", level="info")}
    name = f"{site.topic}/{first[0]}/{first[1]}"
    assert said.keys() == {copy[1], nothing[1]}
    assert said[copy[1]]["error"] == f"{name} is replayed by {site.topic}/0/{new[1]}"
    assert "was dropped by me at " in said[nothing[1]]["error"]
    assert daemon.metrics()['ackd_messages_finished_total{result="duplicate"}'] == 2
    assert site.saved().keys() == {first, dropped}
    # The first two ran side by side.
    assert sorted(site.restarter.hosts()[:2]) == [HOST, "web2.example.com"]
    assert site.restarter.hosts()[2:] == [HOST]
    taken_by(site, first, new)
    is_free(site, dropped)


def test_a_header_that_is_made_up(site):
    """It neither takes a row nor loses the message."""
    site.create_topic()
    [place] = reject(site, HOST)
    daemon = start(site)
    other = request("web2.example.com")
    made_up = [
        replay(site, place, value=other),
        replay(site, place, header="1/999", value=request("web3.example.com")),
        replay(site, place, header="99/0", value=request("web4.example.com")),
        replay(site, place, header="no/place", value=request("web5.example.com")),
    ]
    finish(site, daemon)
    assert site.saved().keys() == {place, *made_up}
    assert sorted(site.restarter.hosts()[1:]) == [f"web{i}.example.com" for i in range(2, 6)]
    is_free(site, place)
    said = {line["offset"]: line for line in daemon.find(event="replay.ignored")}
    assert said.keys() == {offset for _, offset in made_up}
    assert "the value of" in said[made_up[0][1]]["error"]
    assert "no row 1/999" in said[made_up[1][1]]["error"]
    assert "two numbers" in said[made_up[3][1]]["msg"]
    # Once in a while for each kind, the rest for those who debug.
    assert len(daemon.find(event="replay.ignored", level="warning")) == 2


def test_a_row_that_was_refused(site):
    """Its restart is done and is not repeated; saving is."""
    site.create_topic()
    site.init_db()
    with site.database.connect() as connection, connection.transaction():
        # Its lock, until then, lets nothing be saved before the restart has ended.
        connection.execute(
            f"ALTER TABLE messages ADD CONSTRAINT refuses CHECK (host <> '{HOST}')"
        )
        daemon = start(site)
        [place, _] = site.produce(request(HOST), request("web2.example.com"))
        until(lambda: [entry.state for entry in ledger(site)] == ["done", "done"])
    site.wait_drained()
    assert site.rejected()[place]["handlers_done"] == ["restart-host"]
    execute(site, "ALTER TABLE messages DROP CONSTRAINT refuses")
    new = replay(site, place)
    assert "restart-host=done before" in ack(daemon, new)
    finish(site, daemon)
    assert new in site.saved() and place not in site.saved()
    assert site.restarter.hosts().count(HOST) == 1


def refuse_while_restarting(site, ahead=0, **fields):
    """A message whose row PostgreSQL refuses while its restart, which the test holds, runs; and the
    daemon. The table is mended. @ahead: seconds by which the producer's clock is."""
    host = site.restarter.hold("hold-1.example.com")
    site.init_db()
    execute(site, f"ALTER TABLE messages ADD CONSTRAINT refuses CHECK (host <> '{host}')")
    daemon = start(site, exec={"argv": [*site.restarter.argv()[:3], "-"]})
    sent_ms = int((time.time() + ahead) * 1000)
    [place] = site.produce(Record(request(host, **fields), timestamp_ms=sent_ms))
    until(lambda: site.restarter.running() and place in site.rejected())
    assert site.rejected()[place]["handlers_done"] == []
    execute(site, "ALTER TABLE messages DROP CONSTRAINT refuses")
    return host, place, daemon


def test_replayed_while_its_restart_runs(site):
    """It waits for the end of that one; once it is known to be done, it is saved and no more, though
    its producer's clock is ahead and no cool-down is left."""
    site.create_topic()
    host, place, daemon = refuse_while_restarting(site, ahead=60, id=None)
    new = replay(site, place)
    line = daemon.wait_for(event="replay.waits", offset=new[1])
    assert "is intended by " in line["error"]
    assert new not in site.saved()
    site.restarter.release(host)
    assert "restart-host=done before" in ack(daemon, new)
    finish(site, daemon)
    assert site.saved().keys() == {new}
    assert site.restarter.hosts() == [host]
    taken_by(site, place, new)


def test_replayed_when_nobody_knows_how_its_restart_ended(site):
    """The daemon died during it: it is not restarted again, but rejected as unknown with a row of
    its own. Whoever replays that one has looked at the host."""
    site.create_topic()
    host, place, daemon = refuse_while_restarting(site)
    daemon.kill()
    site.restarter.release(host)
    execute(site, "UPDATE hosts SET held_until = now() - interval '1 s'")
    execute(site, "UPDATE restarts SET held_until = now() - interval '1 s'")
    daemon = start(site, cooldown="0s")
    new = replay(site, place)
    until(lambda: new in site.rejected())
    rejected = site.rejected()[new]
    assert (rejected["reason"], rejected["handlers_done"]) == ("unknown", ["save"])
    assert site.restarter.hosts() == [host]
    last = replay(site, new)
    finish(site, daemon)
    assert site.restarter.hosts() == [host, host]
    assert site.saved().keys() == {new}
    taken_by(site, place, new)
    taken_by(site, new, last)


def test_rejected_again(site):
    """Its row has what the first one had, and is as old; it can be replayed in its turn."""
    site.create_topic()
    [place] = reject(site, HOST)
    daemon = start(site, *FAILS)
    again = replay(site, place)
    finish(site, daemon)
    assert site.rejected()[again]["handlers_done"] == ["save"]
    [[same]] = site.database.rows(
        "SELECT count(DISTINCT (received_at, produced_at)) = 1 FROM rejected"
    )
    assert same
    daemon = start(site)
    last = replay(site, again)
    finish(site, daemon)
    assert site.saved().keys() == {place}
    assert site.restarter.hosts() == [HOST] * 3
    taken_by(site, place, again)
    taken_by(site, again, last)


def test_as_old_as_it_was(site):
    """What was not stale when it was received first is not stale now; what was, is."""
    site.create_topic()
    hour = "2020-01-01T10:00:00Z"
    young, old = reject(site, HOST, "web2.example.com", requested_at=hour)
    for offset, received in ((young[1], "10:30"), (old[1], "11:30")):
        execute(
            site,
            "UPDATE rejected SET received_at = %s::timestamptz WHERE \"offset\" = %s",
            f"2020-01-01 {received}Z",
            offset,
        )
    daemon = start(site, max_age="1h")
    places = [replay(site, place) for place in (young, old)]
    finish(site, daemon)
    states = {entry.place: (entry.state, entry.reason) for entry in ledger(site)}
    assert states[places[0]][0] == "done"
    assert states[places[1]] == ("suppressed", "stale")
    assert site.restarter.hosts()[2:] == [HOST]


def test_killed_between_taking_and_finishing(site):
    """The next daemon gets the same answer, and what had not begun runs once."""
    site.create_topic()
    [place] = reject(site, HOST)
    execute(site, "INSERT INTO holds (pattern, why, who) VALUES ('*', 'a test', 'me')")
    daemon = start(site)
    new = replay(site, place)
    daemon.wait_for(event="restart.waits", msg=re.compile(r"\(hold\)"))
    taken_by(site, place, new)
    daemon.kill()
    daemon = start(site)
    daemon.wait_for(event="restart.waits", msg=re.compile(r"\(hold\)"))
    copy = replay(site, place)
    daemon.wait_for(event="replay.duplicate", offset=copy[1])
    assert site.restarter.hosts() == [HOST]
    execute(site, "UPDATE holds SET lifted_at = now()")
    finish(site, daemon)
    assert site.restarter.hosts() == [HOST, HOST]
    assert site.saved().keys() == {place}
    taken_by(site, place, new)


def test_replays_that_wait_hold_up_nothing(site):
    """What is saved is not kept in memory for a hold: more than limits.in_flight_bytes waits, and what
    comes behind is saved; rejected again, the row has the message as it was."""
    site.create_topic()
    hosts = [f"web{i}.example.com" for i in range(4)]
    places = reject(site, *hosts, pad="x" * 1000 * 1000)
    execute(site, "INSERT INTO holds (pattern, why, who) VALUES ('web*', 'a test', 'me')")
    keys = {"exec": {"argv": site.restarter.argv(*FAILS)}}
    daemon = site.start(
        retry={"attempts": 1},
        handlers={"restart-host": keys},
        limits={"in_flight_bytes": "2MiB", "message_bytes": "1MiB"},
    )
    again = [replay(site, place) for place in places]
    [behind] = site.produce(request("db1.example.com"))
    until(lambda: behind in site.saved())
    execute(site, "UPDATE holds SET lifted_at = now()")
    until(lambda: set(again) <= site.rejected().keys())
    finish(site, daemon)
    rejected = site.rejected()
    assert [bytes(rejected[place]["value"]) for place in again] == [
        site.produced[place].value for place in places
    ]


def test_killed_while_it_restarts(site):
    """Nobody knows whether the host was restarted: as for any message, on_unknown decides, and it is
    rejected again, with its own row."""
    site.create_topic()
    host = site.restarter.hold("hold-1.example.com")
    refuses = start(site, *FAILS, deny=["hold-*"])
    [place] = site.produce(request(host))
    site.wait_drained()
    assert refuses.stop() == 0
    daemon = start(site)
    new = replay(site, place)
    until(site.restarter.running)
    daemon.kill()
    site.restarter.release(host)
    # The intent's time is over.
    execute(site, "UPDATE hosts SET held_until = now() - interval '1 s'")
    execute(site, "UPDATE restarts SET held_until = now() - interval '1 s'")
    daemon = start(site)
    until(lambda: new in site.rejected())
    finish(site, daemon)
    assert site.rejected()[new]["reason"] == "unknown"
    assert site.rejected()[new]["handlers_done"] == ["save"]
    assert site.restarter.hosts() == [host]
    taken_by(site, place, new)


def test_postgresql_gives_no_answer(site):
    """The replay waits, uncharged, and what is behind it in its partition is not saved; other
    partitions are."""
    site.create_topic(2)
    daemon = start(site, *FAILS)
    [place] = site.produce(Record(request(HOST), partition=0))
    site.wait_drained()
    assert daemon.stop() == 0
    execute(site, "ALTER FUNCTION take_replays RENAME TO taken_away")
    daemon = start(site)
    new = replay(site, place)
    behind, beside = site.produce(
        Record(request("web2.example.com"), partition=0),
        Record(request("web3.example.com"), partition=1),
    )
    line = daemon.wait_for(event="replay.failed")
    assert "take_replays" in line["error"] and "are asked for again" in line["msg"]
    until(lambda: beside in site.saved())
    ack(daemon, beside)
    assert behind not in site.saved()
    assert HOST not in site.restarter.hosts()[1:]
    execute(site, "ALTER FUNCTION taken_away RENAME TO take_replays")
    finish(site, daemon)
    assert site.saved().keys() == {place, behind, beside}
    assert site.restarter.hosts().count(HOST) == 2
    taken_by(site, place, new)


def test_stopped_while_it_waits_for_its_row(site):
    """It is released, and the next daemon asks for it."""
    site.create_topic()
    [place] = reject(site, HOST)
    with site.database.connect() as connection, connection.transaction():
        connection.execute("SELECT FROM rejected FOR UPDATE")
        daemon = start(site)
        new = replay(site, place)
        until(site.database.waits_for_a_lock)
        daemon.send(signal.SIGTERM)
        assert daemon.wait_exit() == 0
    assert site.restarter.hosts() == [HOST]
    daemon = start(site)
    finish(site, daemon)
    assert site.restarter.hosts() == [HOST, HOST]
    taken_by(site, place, new)
