"""ackd dead-letter list, show, replay, drop: what they say and do, without daemons."""

import base64
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios

import pytest
from harness import ROOT, until
from harness.daemon import BINARY, ENVIRONMENT, command
from harness.roles import Roles
from harness.site import Site

MARKS = "replayed_at, replayed_by, replayed_why, replay_source, dropped_at, dropped_by, dropped_why"
WINDOW = 1000  # of dead_letter_replay.c: so many may be delivered and unmarked
AWAY = {"bootstrap.servers": "127.0.0.1:1"}


@pytest.fixture(scope="module")
def cluster_id(kafka, tmp_path_factory):
    """As a daemon finds it."""
    site = Site(kafka, os.environ["ACKD_TEST_DSN"], tmp_path_factory.mktemp("cluster"))
    try:
        site.create_topic()
        site.start().wait_for(event="partition.started")
        return site.database.value("SELECT cluster_id FROM partitions")
    finally:
        site.cleanup()


class Letters:
    """Rows of rejected as daemons write them, over a topic with 3 partitions."""

    def __init__(self, site, cluster_id):
        self.site = site
        site.create_topic(3)
        site.init_db()
        self.cluster_id = cluster_id
        self.sources = {p: self.source(site.topic, p) for p in range(3)}

    def source(self, topic, partition=0, group=None, cluster=None, retired=False):
        return self.site.database.value(
            "INSERT INTO partitions (cluster_id, group_id, topic, partition, next_offset, instance,"
            " created_at, updated_at, retired_at) VALUES (%s, %s, %s, %s, 0, 'test', now(), now(),"
            " CASE WHEN %s THEN now() END) RETURNING id",
            cluster or self.cluster_id,
            group or self.site.group,
            topic,
            partition,
            retired,
        )

    def add(self, offset, partition=0, source=None, age="1 minute", **columns):
        columns = {
            "value": b'{"host": "a.example.com"}',
            "host": "a.example.com",
            "handler": "restart-host",
            "reason": "failed",
            "detail": "exit status 1",
            "attempts": 5,
            "handlers_done": ["save"],
            **columns,
        }
        if columns.get("headers") is not None:
            columns["headers"] = json.dumps(columns["headers"])
        names = ", ".join(columns)
        with self.site.database.connect() as connection:
            connection.execute(
                f'INSERT INTO rejected (source, "offset", rejected_at, {names}) VALUES'
                f" (%s, %s, now() - %s::interval{', %s' * len(columns)})",
                [source or self.sources[partition], offset, age, *columns.values()],
            )
        return f"{self.site.topic}/{partition}/{offset}"

    def many(self, n, value="repeat('x', 20)", reason="failed"):
        """Spread over the partitions, offsets from 0 on."""
        with self.site.database.connect() as connection:
            connection.execute(
                'INSERT INTO rejected (source, "offset", value, host, handler, reason, handlers_done,'
                " rejected_at) SELECT s.id, g, convert_to("
                f"{value}, 'UTF8'), 'n' || g || '.example.com', 'restart-host', %s, '{{save}}',"
                " now() - interval '1 day' + g * interval '1 second' FROM generate_series(0, %s) g"
                " JOIN partitions s ON s.partition = g %% 3 AND s.topic = %s",
                [reason, n - 1, self.site.topic],
            )

    def everything(self):
        return self.site.database.rows('SELECT * FROM rejected ORDER BY source, "offset"')

    def marked(self):
        return self.site.database.value("SELECT count(*) FROM rejected WHERE replayed_at IS NOT NULL")

    def produced(self):
        return sum(high for _, high in self.site.kafka.ends(self.site.topic).values())


@pytest.fixture
def letters(site, cluster_id):
    return Letters(site, cluster_id)


def run(site, *arguments, status=0, config=None, **options):
    """Without what the configuration of the tests is warned of."""
    path = config or site.write_config()
    result = command("dead-letter", *arguments, "-c", path, **options)
    result.stderr = without_warnings(result.stderr)
    assert result.returncode == status, result.stdout + result.stderr
    return result


def without_warnings(text):
    return "".join(x for x in text.splitlines(keepends=True) if not x.startswith("warning: "))


def start(site, *arguments):
    """As a process."""
    return subprocess.Popen(
        [BINARY, "dead-letter", *map(str, arguments), "-c", site.write_config()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    )


def listed(site, *arguments):
    return [row["message"] for row in json.loads(run(site, "list", "--json", *arguments).stdout)]


# --- list ---------------------------------------------------------------------------------------


def test_list_says_what_is_open(site, letters):
    assert "No rejected message of group" in run(site, "list").stdout
    assert run(site, "list", "--json").stdout == "[]\n"
    second = letters.add(7, 1, age="1 hour", host="db1.example.com", detail="exit status 255")
    first = letters.add(9, age="1 day", host=None, handler=None, reason="not_json", detail="at byte 3")
    letters.add(3, 2, reason="failed", replayed_at="2026-11-26T09:00:00Z", replayed_by="jo@here")
    letters.add(4, 2, reason="unknown", dropped_at="2026-11-26T10:00:00Z", dropped_by="jo@here")
    text = run(site, "list").stdout
    lines = text.splitlines()
    assert lines[0].split() == "MESSAGE REJECTED HOST HANDLER REASON DETAIL".split()
    assert lines[1].startswith(first) and "message" in lines[1] and lines[1].endswith("at byte 3")
    assert lines[2].startswith(second) and "restart-host" in lines[2]
    assert lines[3] == "2 open: 1 failed, 1 not_json"
    assert len(lines) == 4
    lines = run(site, "list", "--all").stdout.splitlines()
    assert "STATE" in lines[0] and len(lines) == 6
    assert sum(" replayed " in line for line in lines) == sum(" dropped " in line for line in lines) == 1
    assert lines[-1] == "4 in all: 2 failed, 1 not_json, 1 unknown"
    # One that is named is shown, whatever became of it.
    assert listed(site, f"{site.topic}/2/3") == [f"{site.topic}/2/3"]


def test_list_marks_what_waits_for_the_dead_letter_topic(site, letters):
    letters.add(1, age="4 hours")
    assert "OUTBOX" not in run(site, "list").stdout
    letters.add(2, age="3 hours", outbox="pending")
    letters.add(3, age="2 hours", outbox="pending", outbox_error="it does not exist", outbox_attempts=1)
    letters.add(4, age="1 hour", outbox="sent", dead_lettered_at="2026-11-26T09:00:00Z")
    lines = [line.split() for line in run(site, "list").stdout.splitlines()]
    at = lines[0].index("OUTBOX")
    assert [line[at] for line in lines[1:5]] == ["-", "pending", "failing", "sent"]


def test_what_the_docs_delete(site, letters):
    """Only rows that are settled for long, and that the dead-letter topic does not wait for."""
    text = (ROOT / "docs/rejected.md").read_text()
    (statement,) = re.findall(r"```sql\n(DELETE FROM ackd\.rejected .*?)```", text, re.S)
    old, young = "2026-09-01T09:00:00Z", "2099-01-01T00:00:00Z"
    letters.add(1, age="1 year")
    letters.add(2, age="1 year", replayed_at=old)
    letters.add(3, age="1 year", dropped_at=old, dropped_by="jo@here", dropped_why="x")
    letters.add(4, age="1 year", replayed_at=young, dropped_at=old)
    letters.add(5, age="1 year", dropped_at=old, outbox="pending")
    with site.database.connect() as connection:
        connection.execute(statement.replace("ackd.rejected", "rejected"))
    assert site.database.rows('SELECT "offset" FROM rejected ORDER BY 1') == [(1,), (4,), (5,)]


def test_list_is_bounded(site, letters):
    letters.many(250)
    lines = run(site, "list").stdout.splitlines()
    assert len(lines) == 1 + 100 + 2
    assert lines[1].startswith(f"{site.topic}/0/0 ") and lines[100].startswith(f"{site.topic}/0/99 ")
    assert lines[-2:] == ["… 150 more; --limit 0 lists all", "250 open: 250 failed"]
    assert len(run(site, "list", "--limit", 2).stdout.splitlines()) == 5
    assert len(run(site, "list", "-n", 0).stdout.splitlines()) == 252
    assert len(listed(site)) == 250
    assert listed(site, "--limit", 2) == [f"{site.topic}/0/0", f"{site.topic}/1/1"]


def test_list_json(site, letters):
    letters.add(5, detail='a "b" \\ \x1b', headers=[["a", "1"]])
    [row] = json.loads(run(site, "list", "--json").stdout)
    assert row["message"] == f"{site.topic}/0/5" and row["state"] == "open"
    assert (row["group_id"], row["cluster_id"]) == (site.group, letters.cluster_id)
    assert (row["topic"], row["partition"], row["offset"]) == (site.topic, 0, 5)
    assert (row["source"], row["attempts"], row["retired"]) == (letters.sources[0], 5, False)
    assert row["detail"] == 'a "b" \\ \x1b'
    assert (row["handlers_done"], row["runs"]) == (["save"], ["restart-host"])
    assert row["value_bytes"] == len(b'{"host": "a.example.com"}')
    assert row["replayed_at"] is None and row["dropped_why"] is None and "value" not in row


@pytest.fixture
def mixed(site, letters):
    """One of each kind: (its short name, its place)"""
    other = site.topic + "-b"
    source = letters.source(other)
    names = {
        "a": letters.add(1, age="5 hours", host="db1.example.com"),
        "b": letters.add(2, age="3 hours", host="db2.example.com", handler="save", reason="refused"),
        "c": letters.add(3, age="1 hour", host=None, handler=None, reason="not_json"),
        "d": letters.add(4, source=source, age="1 minute", host="web1.example.com", reason="unknown"),
    }
    names["d"] = f"{other}/0/4"
    return names


@pytest.mark.parametrize(
    "arguments, chosen",
    [
        ([], "abcd"),
        (["--topic", "{topic}"], "abc"),
        (["-t", "{topic}", "-t", "{topic}-b"], "abcd"),
        (["--host", "DB*.example.com"], "ab"),
        (["--host", "web1.example.com", "--host", "db2.*"], "bd"),
        (["--reason", "failed"], "a"),
        (["-r", "failed", "-r", "unknown"], "ad"),
        (["--handler", "message"], "c"),
        (["--handler", "save", "--handler", "restart-host"], "abd"),
        (["--since", "4h"], "bcd"),
        (["--since", "2020-01-01T00:00:00Z"], "abcd"),
        (["--since", "2100-01-01T00:00:00+02:00"], ""),
        (["--host", "db*", "--since", "4h"], "b"),
        (["--topic", "'; DROP TABLE rejected; --"], ""),
        (["--topic", '{"\\'], ""),
        (["{topic}/0/1", "{topic}-b/0/4"], "ad"),
        (["{topic}/0/1", "{topic}-b/0/4", "--reason", "unknown"], "d"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_filters(site, letters, mixed, arguments, chosen):
    arguments = [x.replace("{topic}", site.topic) for x in arguments]
    wanted = [mixed[name] for name in chosen]
    assert listed(site, *arguments) == wanted
    if arguments:
        # The same of the others.
        before = letters.everything()
        out = run(site, "drop", "--why", "x", "--dry-run", *arguments).stdout
        assert [line.split("  ")[0] for line in out.splitlines()[:-1]] == wanted
        assert letters.everything() == before
        run(site, "drop", "--why", "x", *arguments)
        dropped = [r["message"] for r in json.loads(run(site, "list", "-a", "--json").stdout) if r["state"] == "dropped"]
        assert dropped == wanted


def test_other_groups(site, letters):
    source = letters.source(site.topic, group="elsewhere")
    letters.add(1, source=source)
    text = run(site, "list").stdout
    assert "No rejected message" in text
    assert "1 open of another group: -o kafka.group.id=elsewhere lists it" in text
    assert "1 open: 1 failed" in run(site, "list", "-o", "kafka.group.id=elsewhere").stdout
    # Nobody touches those of another group, by its place or by its source.
    for place in (f"{site.topic}/0/1", f"{source}/1"):
        result = run(site, "drop", "--why", "x", place, status=64)
        assert f"no rejected message of group {site.group} is at {place}" in result.stderr


# --- the terminal -------------------------------------------------------------------------------


def on_terminal(site, *arguments, columns=100, env=None, err=False):
    """(exit status, what a terminal of that width gets)"""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [BINARY, "dead-letter", *arguments, "-c", site.write_config()],
        env={**ENVIRONMENT, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})},
        stdout=subprocess.DEVNULL if err else terminal,
        stderr=terminal if err else subprocess.DEVNULL,
    )
    os.close(terminal)
    text = b""
    try:
        while chunk := os.read(main, 65536):
            text += chunk
    except OSError:  # the end of a terminal
        pass
    os.close(main)
    return process.wait(), text.decode()


ESCAPES = re.compile("\033\\[[0-9;]*m")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_table_fits(site, letters, columns):
    letters.add(1, host="a-rather-long-name.of-a-host.example.com", detail="ünïcode " * 40)
    letters.add(12345678, 2, host=None, handler=None, reason="not_json", detail="at byte 3")
    status, text = on_terminal(site, "list", columns=columns)
    assert status == 0
    lines = ESCAPES.sub("", text).splitlines()
    assert max(map(len, lines)) <= columns
    assert "a-rather-long-name.of-a-host.example.com" in "".join(line.strip() for line in lines)
    assert (lines[0].split()[0] == "MESSAGE") == (columns == 200)
    # Piped, nothing is cut.
    assert "ünïcode " * 39 in run(site, "list", env={"LC_ALL": "C.UTF-8"}).stdout


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours(site, letters, no_color):
    letters.add(1)
    _, text = on_terminal(site, "list", env={"NO_COLOR": no_color})
    assert ("\033[1m" in text) == (no_color == "")
    assert ("\033" in text) == (no_color == "")
    assert "\033" not in run(site, "list").stdout


def test_nothing_that_is_kept_reaches_the_terminal_raw(site, letters):
    evil = "\x1b]0;x\x07\x1b[2J\r\nfaked  open\u202e\u0085"
    place = letters.add(1, host=evil, reason=evil, detail=evil, key=b"\x1b\x00\xff", value=evil.encode() + b"\xff\\",
                        headers=[["\x1bname", "\x1bvalue"], ["b", {"base64": "AP8b"}], ["n", None]],
                        dropped_at="2026-11-26T09:00:00Z", dropped_by=evil, dropped_why=evil,
                        replayed_by=evil)
    for arguments in (["list", "--all"], ["list", "--all", "--json"], ["show", place],
                      ["show", "--json", place], ["replay", "--all", "--dry-run"]):
        out = run(site, *arguments, env={"LC_ALL": "C.UTF-8"}).stdout
        # What is JSON is for programs, which know what turns text round.
        turns = "" if "--json" in arguments else "\u202e"
        assert not re.search(f"[\x00-\x09\x0b-\x1f\x7f-\x9f{turns}]", out), arguments
    letters.add(2, host=evil, reason=evil)
    out = run(site, "drop", "--why", "x", "--all", "--dry-run").stdout + run(site, "list").stdout
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)
    lines = run(site, "show", place, env={"LC_ALL": "C.UTF-8"}).stdout.splitlines()
    assert r"  key        \x1b\x00\xff" in lines
    assert any(r"\xe2\x80\xae\xc2\x85\xff" + "\\\\" in line for line in lines)
    assert r"  header     b: \x00\xff\x1b" in lines and "  header     n: null" in lines


# --- show ---------------------------------------------------------------------------------------


def test_show(site, letters):
    place = letters.add(5, key=b"k", headers=[["a", "1"], ["a", "2"]], produced_at="2026-11-26T08:00:00Z")
    text = run(site, "show", place).stdout
    for part in (f"{place}  open\n", f"source     {letters.sources[0]}/5, cluster {letters.cluster_id}",
                 "produced   2026-11-26T08:00:00Z", "host       a.example.com",
                 "handler    restart-host, after 5 attempts", "reason     failed",
                 "detail     exit status 1", "done       save", "key        k", "header     a: 2",
                 'value      25 bytes\n    {"host": "a.example.com"}\n',
                 f"A replay runs restart-host: ackd dead-letter replay -c {site.write_config()} {place}\n"):
        assert part in text
    letters.add(6, 1, replayed_at="2026-11-26T09:00:00Z", replayed_by="jo@here", replayed_why="disk",
                replay_source=letters.sources[2], replay_offset=99)
    text = run(site, "show", f"{site.topic}/1/6").stdout
    assert "replayed   2026-11-26T09:00:00Z by jo@here: disk\n" in text
    assert f"taken as   {site.topic}/2/99\n" in text and "A replay" not in text
    result = run(site, "show", f"{site.topic}/1/7", status=64)
    assert f"no rejected message of group {site.group} is at {site.topic}/1/7" in result.stderr


def test_show_prints_what_works(site, letters):
    """A row that cannot be replayed gets no command that would be refused."""
    old = letters.source(site.topic, retired=True)
    letters.add(5, source=old, value=b'{\n  "host": "a.example.com"\n}\n')
    text = run(site, "show", f"{old}/5").stdout
    assert "cannot be replayed" in text and "dead-letter replay" not in text
    line = text.splitlines()[-1].split("every handler runs: ")[1]
    assert line.startswith("ackd dead-letter show -c ") and line.endswith(" --file -")
    line = re.sub(r"(^|\| )ackd ", rf"\g<1>{BINARY} ", line)
    made = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, env=ENVIRONMENT)
    assert made.returncode == 0, made.stderr
    assert letters.produced() == 1
    letters.add(6, reason="too_large", handler=None)
    text = run(site, "show", f"{site.topic}/0/6").stdout
    assert "dead-letter replay" not in text and text.endswith(f"{letters.sources[0]}/6 --why '...'\n")


def test_show_json_and_value(site, letters):
    value = bytes(range(256)) * 100
    place = letters.add(5, key=b"\x00", value=value, headers=[["h", {"base64": "AA=="}]])
    [row] = json.loads(run(site, "show", "--json", place).stdout)
    assert base64.b64decode(row["value"]["base64"]) == value
    assert row["key"] == {"base64": "AA=="} and row["headers"] == [["h", {"base64": "AA=="}]]
    result = subprocess.run([BINARY, "dead-letter", "show", "--value", place, "-c", site.write_config()],
                            capture_output=True, env=ENVIRONMENT, check=True)
    assert result.stdout == value
    assert "more bytes; --value writes all" in run(site, "show", place).stdout
    letters.add(6, value=None)
    assert run(site, "show", "--value", f"{site.topic}/0/6", status=64).stdout == ""
    letters.add(7, reason="too_large", detail="70000 bytes are over limits.message_bytes")
    assert "not all of it: 70000 bytes" in run(site, "show", "--value", f"{site.topic}/0/7").stderr


def test_a_place_of_two_incarnations(site, letters):
    old = letters.source(site.topic, retired=True)
    letters.add(5, source=old, value=b"old", age="1 day")
    letters.add(5, value=b"new")
    place = f"{site.topic}/0/5"
    rows = json.loads(run(site, "show", "--json", place).stdout)
    assert [(row["value"], row["retired"]) for row in rows] == [("old", True), ("new", False)]
    assert f"name one by its source, such as {old}/5" in run(site, "show", "--value", place, status=64).stderr
    assert run(site, "show", "--value", f"{letters.sources[0]}/5").stdout == "new"
    # Only the living one goes.
    result = run(site, "replay", place, status=64)
    assert result.stdout.startswith("1 message replayed in ")
    assert f"1 is of a topic that was made again since; ackd dead-letter show" in result.stderr
    assert site.database.rows("SELECT source FROM rejected WHERE replayed_at IS NOT NULL") == [(letters.sources[0],)]


# --- replay -------------------------------------------------------------------------------------


def test_replay_is_the_same_message(site, letters):
    """Bytes, key, headers and partition; what a daemon then rejects again tells what it got."""
    headers = [["a", "1"], ["ackd-replay", "7/7"], ["a", ""], ["b", {"base64": "AP8="}], ["n", None],
               [{"base64": "bv/+"}, "no UTF-8 in its name"], [{"base64": "/w=="}, {"base64": "/w=="}]]
    value, key = b"no JSON \x00\xff", b"\x00k\xff"
    first = letters.add(40, 2, value=value, key=key, headers=headers, age="2 hours")
    second = letters.add(41, 2, value=b"no JSON", age="1 hour")
    third = letters.add(7, 0, value=b"", age="1 minute")
    result = run(site, "replay", "--all", "--why", "disk was full", env={"SUDO_USER": "jo"})
    assert re.fullmatch(r"3 messages replayed in \d+\.\d s\n", result.stdout)
    assert result.stderr == "Replaying 3 messages of 1 topic\n"
    assert {p: high for p, (_, high) in site.kafka.ends(site.topic).items()} == {0: 1, 1: 0, 2: 2}
    for at, by, why in site.database.rows("SELECT replayed_at, replayed_by, replayed_why FROM rejected"):
        assert at and by.startswith("jo@") and why == "disk was full"
    # Once.
    result = run(site, "replay", "--all")
    assert result.stdout == f"Of group {site.group} no rejected message that fits is open; nothing to replay\n"
    result = run(site, "replay", first, status=64)
    assert f"1 is replayed already, and on the way to a daemon" in result.stderr and first in result.stderr
    assert letters.produced() == 3

    # A group of its own that knows nothing of the rows.
    daemon = site.start(kafka={"group.id": site.group + "-reader"})
    rows = until(lambda: len(found := site.database.rows(
        'SELECT p.partition, r."offset", r.value, r.key, r.headers FROM rejected r'
        " JOIN partitions p ON p.id = r.source WHERE p.group_id = %s ORDER BY 1, 2",
        site.group + "-reader")) == 3 and found)
    assert daemon.stop() == 0
    source = letters.sources
    assert rows == [
        (0, 0, b"", None, [["ackd-replay", f"{source[0]}/7"]]),
        (2, 0, value, key, [h for h in headers if h[0] != "ackd-replay"] + [["ackd-replay", f"{source[2]}/40"]]),
        (2, 1, b"no JSON", None, [["ackd-replay", f"{source[2]}/41"]]),
    ]
    assert third and second


def test_replay_again(site, letters):
    place = letters.add(1)
    run(site, "replay", place)
    assert run(site, "replay", "--all", "--again").stdout.startswith("1 message replayed")
    assert letters.produced() == 2
    with site.database.connect() as connection:
        connection.execute("UPDATE rejected SET replay_source = %s, replay_offset = 0", [letters.sources[1]])
    assert "nothing to replay" in run(site, "replay", "--all", "--again").stdout
    result = run(site, "replay", "--again", place, status=64)
    assert "replayed already, and a daemon has it" in result.stderr
    assert letters.produced() == 2


def test_replay_of_what_was_dropped(site, letters):
    place = letters.add(1)
    run(site, "drop", "--why", "by mistake", place)
    assert "nothing to replay" in run(site, "replay", "--all", "--again").stdout
    result = run(site, "replay", place, status=64)
    assert "1 is dropped already; --again replays one that is named" in result.stderr
    assert letters.produced() == 0
    run(site, "replay", "--again", place)
    [row] = site.database.rows(f"SELECT {MARKS} FROM rejected")
    assert row[0] and row[4] is None and row[6] == "by mistake"
    assert letters.produced() == 1


def test_what_cannot_be_replayed_is_said_and_the_others_go(site, letters):
    gone, other = letters.source(site.topic + "-gone"), letters.source(site.topic, 1, cluster="another")
    retired, high = letters.source(site.topic, 1, retired=True), letters.source(site.topic, 9)
    for i in range(5):
        letters.add(i, reason="too_large", value=b"x" * 65536, age="1 hour")
    letters.add(10, value=None)
    letters.add(11, source=gone)
    letters.add(12, source=other)
    letters.add(13, source=retired)
    letters.add(14, source=high)
    letters.add(15, headers={"not": "ours"})
    letters.add(16)
    letters.add(17, 1)
    for arguments in (["--dry-run"], []):
        result = run(site, "replay", "--all", *arguments, status=64)
        text = result.stderr
        assert f"5 are not whole: only the first 64 KiB were kept (too_large); the producer has to send it again: {site.topic}/0/0, {site.topic}/0/1, {site.topic}/0/2, …\n" in text
        assert f"1 is without a value: nothing of it is kept: {site.topic}/0/10\n" in text
        assert f"1 is of a topic that is gone: {site.topic}-gone/0/11\n" in text
        assert f"1 is of another Kafka cluster than kafka.bootstrap.servers: {site.topic}/1/12\n" in text
        assert "1 is of a topic that was made again since" in text
        assert f"1 is of a partition that its topic does not have any more: {site.topic}/9/14\n" in text
    assert f"1 is with headers that ackd did not write: {site.topic}/0/15\n" in text
    assert result.stdout.startswith("2 messages replayed in ")
    assert letters.marked() == letters.produced() == 2


def test_a_message_that_kafka_refuses(site, letters):
    place = letters.add(1, value=b"x" * 3_000_000)
    letters.add(2, age="1 second")
    result = run(site, "replay", "--all", status=69)
    assert f"1 is not delivered: {place}" in result.stderr
    assert "1 of 2 is left: Broker: Message size too large" in result.stderr
    assert "raise the topic's max.message.bytes" in result.stderr
    assert result.stdout.startswith("1 message replayed")
    assert letters.marked() == letters.produced() == 1


def test_what_the_topic_allows_is_replayed(site, letters):
    """Also over the million bytes that librdkafka sends by itself, and whatever the section says."""
    for offset, size in enumerate((999_990, 1_000_000, 1_020_000, 1_047_000)):
        letters.add(offset, value=b"x" * size)
    config = site.write_config(kafka={"message.max.bytes": "1000000"})
    assert run(site, "replay", "--all", config=config).stdout.startswith("4 messages replayed")
    assert letters.marked() == letters.produced() == 4


def test_dry_run_writes_nothing(site, letters):
    letters.add(1, handlers_done=[], age="1 hour")
    letters.add(2, 1)
    letters.add(3, 1, handlers_done=["save", "restart-host"], age="1 second")
    before = letters.everything()
    result = run(site, "replay", "--all", "--dry-run")
    assert result.stdout == (
        f"{site.topic}/0/1  a.example.com  failed  runs save, restart-host\n"
        f"{site.topic}/1/2  a.example.com  failed  runs restart-host\n"
        f"{site.topic}/1/3  a.example.com  failed  runs nothing\n"
        "3 messages would be replayed; nothing was done\n"
    )
    assert result.stderr == ""
    assert run(site, "replay", "--limit", 1, "--all", "--dry-run").stdout.count("\n") == 2
    # What runs is what this configuration has.
    config = site.write_config("save.yaml", handlers={"restart-host": None})
    out = run(site, "replay", "--all", "--dry-run", config=config).stdout
    assert "failed  runs save\n" in out and out.count("runs nothing") == 2
    assert letters.everything() == before and letters.produced() == 0


def test_what_nobody_knows_is_replayed_only_when_it_is_named(site, letters):
    known = letters.add(1, age="1 hour")
    letters.add(2, reason="unknown")
    third = letters.add(3, 1, reason="unknown", host="b.example.com")
    left = "2 are left out: with the reason unknown, nobody knows whether their hosts were restarted."
    for arguments in (["--all"], ["--topic", site.topic], ["--handler", "restart-host"]):
        result = run(site, "replay", "--dry-run", *arguments)
        assert left in result.stderr and "--reason unknown" in result.stderr
        assert result.stdout.startswith(f"{known}  ") and "\n1 message would be" in result.stdout
    result = run(site, "replay", "--all")
    assert left in result.stderr
    assert result.stdout.startswith("1 message replayed")
    # Nothing else is there, and the note is the same.
    result = run(site, "replay", "--host", "b*")
    assert "nothing to replay" in result.stdout
    assert "1 is left out: with the reason unknown, nobody knows whether its host was" in result.stderr
    # A reason that is named, or a place, says that somebody has looked.
    assert "left out" not in run(site, "replay", "--reason", "failed").stderr
    assert letters.marked() == 1
    assert run(site, "replay", third).stdout.startswith("1 message replayed")
    result = run(site, "replay", "-r", "unknown", "-r", "failed")
    assert result.stdout.startswith("1 message replayed") and "left out" not in result.stderr
    assert letters.marked() == letters.produced() == 3


def test_replay_of_the_oldest(site, letters):
    letters.many(30)
    assert run(site, "replay", "--all", "--limit", 10).stdout.startswith("10 messages replayed")
    rows = site.database.rows('SELECT "offset" FROM rejected WHERE replayed_at IS NOT NULL ORDER BY 1')
    assert rows == [(i,) for i in range(10)]
    result = run(site, "replay", "--all", "--rate", 40)
    seconds = float(re.search(r"in (\d+\.\d) s", result.stdout)[1])
    assert seconds >= 19 / 40
    assert letters.marked() == letters.produced() == 30


def peak_bytes(site, *arguments):
    """(what it printed, its peak of memory)"""
    with open(site.folder / "out", "w+b") as out:
        process = subprocess.Popen([BINARY, "dead-letter", *arguments, "-c", site.write_config()],
                                   stdout=out, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        out.seek(0)
        return out.read(), usage.ru_maxrss * 1024


def test_ten_thousand_in_bounded_memory(site, letters):
    """An eighth of a gigabyte goes through every one of them."""
    n, size = 10_000, 16_384
    letters.many(n, value=f"repeat('x', {size})")
    out, few = peak_bytes(site, "replay", "--limit", "1", "--all", "--dry-run")
    out, peak = peak_bytes(site, "list", "--limit", "0")
    assert out.count(b"\n") == n + 2
    # With as much of librdkafka's as its producer may keep.
    assert peak - few < n * size / 4
    out, peak = peak_bytes(site, "replay", "--all")
    assert out.startswith(b"%d messages replayed" % n)
    assert peak - few < n * size / 2, f"{peak} bytes, {few} for one"
    assert letters.marked() == letters.produced() == n


def test_the_bar(site, letters):
    letters.many(500)
    status, text = on_terminal(site, "replay", "--all", "--rate", "400", columns=40, err=True)
    assert status == 0
    bars = [part for part in text.split("\r") if "%" in part]
    assert len(bars) > 1 and re.search(r"100 % 500/500, \d+/s", bars[-1])
    assert all(len(part.strip("\n")) <= 40 for part in bars)
    assert "%" not in run(site, "replay", "--all", "--again").stderr


# --- interrupted, and more than one -------------------------------------------------------------


def test_killed_and_again(site, letters):
    n = 3000
    letters.many(n)
    process = start(site, "replay", "--all", "--rate", 2000)
    until(lambda: letters.marked() > 0)
    process.kill()
    process.communicate()
    until(lambda: site.database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ackd dead-letter by %%'") == 0)
    before, marked = letters.produced(), letters.marked()
    assert 0 < marked < n and marked <= before
    result = run(site, "replay", "--all")
    assert result.stdout.startswith(f"{n - marked} messages replayed")
    assert letters.marked() == n
    # None is missing, and not many are there twice.
    assert letters.produced() == before + n - marked <= n + WINDOW + 500


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_marks_what_is_delivered(site, letters, number):
    letters.many(3000)
    process = start(site, "replay", "--all", "--rate", 1000)
    until(lambda: letters.marked() > 0)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 69
    done = int(re.match(r"(\d+) messages replayed", out)[1])
    assert f"{3000 - done} of 3000 are left: stopped by {number.name}\n" in err
    assert letters.marked() == letters.produced() == done


def test_two_at_once(site, letters):
    letters.many(1500)
    process = start(site, "replay", "--all", "--rate", 500)
    until(lambda: letters.marked() > 0)
    for arguments in (["replay", "--all"], ["drop", "--all", "--why", "x"]):
        result = run(site, *arguments, status=69)
        assert re.search(r"somebody else replays or drops messages of group \S+ at this moment: ackd "
                         r"dead-letter by \S+@", result.stderr)
        assert result.stdout == "" or result.stdout.startswith("0 messages dropped")
    # Who only looks is not kept.
    run(site, "list")
    run(site, "replay", "--all", "--dry-run")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and out.startswith("1500 messages replayed")
    assert letters.marked() == letters.produced() == 1500
    assert site.database.value("SELECT count(*) FROM rejected WHERE dropped_at IS NOT NULL") == 0


# --- what is away -------------------------------------------------------------------------------


def test_kafka_away(site, letters):
    letters.add(1)
    config = site.write_config("away.yaml", kafka=AWAY)
    before = letters.everything()
    for arguments in (["--dry-run"], []):
        result = run(site, "replay", "--all", *arguments, status=69, config=config)
        assert "cannot ask Kafka (127.0.0.1:1): " in result.stderr
        assert result.stdout == ""
    assert letters.everything() == before
    # The others need no Kafka.
    run(site, "list", config=config)
    run(site, "drop", "--all", "--why", "x", config=config)


def test_postgres_away(site, letters):
    letters.add(1)
    config = site.write_config("away.yaml", postgres={"dsn": "host=127.0.0.1 port=1 user=x dbname=x"})
    for arguments in (["list"], ["show", "t/0/1"], ["replay", "--all"], ["drop", "--all", "--why", "x"]):
        result = run(site, *arguments, status=69, config=config)
        assert f"ackd dead-letter {arguments[0]}: " in result.stderr and result.stdout == ""
    site.database.drop()
    site.database.__init__(os.environ["ACKD_TEST_DSN"], site.database.name)
    for arguments in (["list"], ["show", "t/0/1"], ["replay", "--all"], ["drop", "--all", "--why", "x"]):
        result = run(site, *arguments, status=69)
        assert "run: ackd init-db" in result.stderr
    run(site, "list", config=site.folder / "none.yaml", status=78)


def test_postgres_goes_in_the_middle(site, letters):
    letters.many(3000)
    process = start(site, "replay", "--all", "--rate", 1000)
    until(lambda: letters.marked() > 0)
    [(ended,)] = site.database.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE"
        " 'ackd dead-letter by %%' AND datname = current_database()")
    assert ended
    out, err = process.communicate(timeout=60)
    assert process.returncode == 69
    assert re.search(r"\d+ that were delivered are perhaps not marked: replayed again, a daemon", err)
    marked = letters.marked()
    assert marked < 3000
    assert run(site, "replay", "--all").stdout.startswith(f"{3000 - marked} messages replayed")


# --- drop ---------------------------------------------------------------------------------------


def test_drop(site, letters):
    letters.many(1200)
    place = letters.add(5000)
    replayed = letters.add(5001, replayed_at="2026-11-26T09:00:00Z", replayed_by="x")
    result = run(site, "drop", "--why", "für „Jo“", place, replayed, status=64, env={"SUDO_USER": "jo"})
    assert result.stdout == "1 message dropped; ackd dead-letter list --all shows them still\n"
    assert f"1 is replayed already" in result.stderr and replayed in result.stderr
    [(by, why)] = site.database.rows("SELECT dropped_by, dropped_why FROM rejected WHERE dropped_at IS NOT NULL")
    assert by.startswith("jo@") and why == "für „Jo“"
    assert "1 is dropped already" in run(site, "drop", "--why", "x", place, status=64).stderr
    assert run(site, "drop", "--why", "x", "--all", "--limit", 2).stdout.startswith("2 messages dropped")
    assert run(site, "drop", "--why", "x", "--all").stdout.startswith("1198 messages dropped")
    assert "nothing to drop" in run(site, "drop", "--why", "x", "--all").stdout
    assert site.database.value("SELECT count(*) FROM rejected WHERE dropped_at IS NULL") == 1
    assert site.database.value("SELECT count(*) FROM rejected") == 1202


# --- rights -------------------------------------------------------------------------------------


def test_each_role(site, letters):
    """Who reads lists and shows, who operates replays and drops, and nobody needs more."""
    roles = Roles(site)
    try:
        place, second = letters.add(1, age="1 hour"), letters.add(2)
        for part in ("read", "operate"):
            for arguments in (["list"], ["show", place], ["replay", "--all", "--dry-run"]):
                result = roles.command(part, "dead-letter", *arguments)
                assert (result.returncode, result.stderr) == (0, ""), arguments
        for arguments in (["replay", place], ["drop", "--why", "x", place]):
            result = roles.command("read", "dead-letter", *arguments)
            assert result.returncode == 69
            assert f"GRANT {roles.prefix}_operate TO {roles.login('read')}" in result.stderr
            assert letters.produced() == 0
        result = roles.command("nobody", "dead-letter", "list")
        assert result.returncode == 69 and f"GRANT {roles.prefix}_read TO" in result.stderr
        run(site, "drop", "--why", "x", second)
        for arguments in (["replay", place], ["replay", "--again", second]):
            result = roles.command("operate", "dead-letter", *arguments)
            assert result.returncode == 0, result.stderr
        letters.add(3)
        assert roles.command("operate", "dead-letter", "drop", "--why", "x", "--all").returncode == 0
    finally:
        roles.cleanup()


# --- usage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, part",
    [
        ([], "say what: list, show, replay or drop"),
        (["lost"], 'not "lost"'),
        (["list", "--lost"], "there is no option --lost"),
        (["list", "t/0"], None),
        (["list", "t/0/x"], '"t/0/x" names no message'),
        (["list", "--limit", "x"], "--limit takes a number"),
        (["list", "--limit", "-1"], "--limit takes a number"),
        (["list", "--since", "2"], "--since takes"),
        (["list", "--since", "tomorrow"], "--since takes"),
        (["list", "--since", "9999999d"], "36500d at most"),
        (["list", "--handler", "reboot"], "--handler takes save, restart-host or message"),
        (["list", "--host", "db[1]"], "only * and ? are special"),
        (["list", "--reason"], "--reason needs a value"),
        (["list", "--why", "x"], "there is no option --why"),
        (["show"], "name a message"),
        (["show", "--value", "t/0/1", "t/0/2"], "--value writes one message's"),
        (["show", "--value", "--json", "t/0/1"], "--value writes one message's"),
        (["replay"], "say which messages, by filters or places, or --all"),
        (["replay", "--again"], "say which messages"),
        (["replay", "--rate", "0", "--all"], "--rate takes a positive number"),
        (["replay", "--all", "--why", "a\nb"], "--why takes one line"),
        (["drop", "--all"], "--why TEXT is required"),
        (["drop", "--why", "x"], "say which messages"),
        (["drop", "--why", " ", "--all"], "--why takes one line"),
        (["drop", "--why", "x" * 1001, "--all"], "--why takes one line"),
        (["drop", "--why", "x", "--again", "--all"], "there is no option --again"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_wrong_usage(arguments, part):
    result = command("dead-letter", *arguments)
    assert (result.returncode, result.stdout) == (64, "")
    assert part is None or part in result.stderr
    assert re.search(r"ackd dead-letter( \w+)? --help says what it takes", result.stderr)


@pytest.mark.parametrize("name", [None, "list", "show", "replay", "drop"])
def test_help(name):
    result = command("dead-letter", *filter(None, [name]), "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: ackd dead-letter {name or 'list|show'}")
    assert max(map(len, result.stdout.splitlines())) <= 93


@pytest.mark.parametrize("name", ["list", "replay", "drop"])
def test_a_reason_that_is_mistyped(site, letters, name):
    letters.add(1, reason="failed")
    letters.add(2, reason="newer")
    why = ["--why", "x"] if name == "drop" else []
    result = run(site, name, "-r", "failed", "--reason", "unkown", *why, status=64)
    assert result.stdout == ""
    assert '--reason: there is no "unkown"; did you mean "unknown"?' in result.stderr
    # One that another version wrote is in the table; of a known one there may be no row.
    assert listed(site, "--reason", "newer") == [f"{site.topic}/0/2"]
    assert listed(site, "--reason", "expired") == []
    assert letters.marked() == letters.produced() == 0


def test_a_message_that_is_not_there_stops_everything(site, letters):
    place = letters.add(1)
    result = run(site, "replay", place, *(f"{site.topic}/0/{i}" for i in range(100, 108)), status=64)
    assert result.stderr.count("no rejected message of group") == 5 and "… and 3 more" in result.stderr
    assert letters.marked() == letters.produced() == 0
