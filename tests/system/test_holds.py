"""ackd hold, unhold, holds: what they say, and what the daemons make of it."""

import json
import os
import pty
import re
import subprocess
import time
from datetime import datetime, timedelta, timezone

import pytest
from harness import until
from harness.chaos import FAST_GROUP, joined
from harness.daemon import BINARY, ENVIRONMENT, command
from harness.oracle import check_fences, check_resolved

HELD = 'ackd_restarts_waiting{reason="hold"}'
FUSED = 'ackd_restarts_waiting{reason="fuse"}'
TOLD_US = 1_000_000  # from the command's end, at most


def run(site, name, *arguments, env=None):
    """Without what the configuration of the tests is warned of."""
    result = command(name, *arguments, "-c", site.write_config(), env=env)
    lines = result.stderr.splitlines(keepends=True)
    result.stderr = "".join(line for line in lines if not line.startswith("warning: "))
    return result


def hold(site, pattern, *options, why="storage is moved"):
    result = run(site, "hold", pattern, "--why", why, *options)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


def unhold(site, pattern):
    result = run(site, "unhold", pattern)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


def in_force(site):
    result = run(site, "holds", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def pair(site, ms=100, **keys):
    """Two daemons; each restart takes so many milliseconds."""
    argv = site.restarter.argv("-", str(ms))
    restart = {"exec": {"argv": argv}, "concurrency": 2, **keys}
    daemons = [
        site.start(
            instance=name,
            metrics={"textfile": str(site.folder / f"{name}.prom")},
            handlers={"restart-host": restart},
            **FAST_GROUP,
        )
        for name in ("one", "two")
    ]
    joined(site, 2)
    # Each has half of the partitions.
    until(lambda: all(len(daemon.find(event="partition.started")) >= 2 for daemon in daemons))
    return daemons


def hosts(letter, n):
    return [f"{letter}{i}.example.com" for i in range(n)]


def starts(site, letter, after_us=0):
    """Of hosts with that letter: (when, by which daemon)"""
    return [
        (r.time_us, r.daemon)
        for r in site.restarter.restarts()
        if r.host.startswith(letter) and r.time_us > after_us
    ]


def total(daemons, name):
    return sum(daemon.metrics().get(name, 0) for daemon in daemons)


def stop(daemons):
    assert [daemon.stop() for daemon in daemons] == [0] * len(daemons)


# --- daemons ------------------------------------------------------------------------------------


def test_hold_and_unhold_on_two_daemons(site):
    site.create_topic(4)
    daemons = pair(site)
    pids = {daemon.process.pid for daemon in daemons}
    # Some seconds of work for both.
    site.produce(*hosts("db", 200), *hosts("web", 4))
    until(lambda: {pid for _, pid in starts(site, "db")} == pids)
    said = hold(site, "DB*.example.com")
    held_us = time.time() * 1e6
    assert said.startswith("db*.example.com is held: no restart of such a host starts")
    assert re.search(r"It matches \d+ of the \d+ hosts that the ledger knows", said)

    # Saving goes on, and so do the restarts of others.
    before = set(site.saved())
    later = site.produce(*hosts("web-later", 10), *hosts("db-later", 10))
    until(lambda: set(later) <= set(site.saved()))
    assert not set(later) <= before
    until(lambda: set(hosts("web-later", 10)) <= set(site.restarter.hosts()))
    # But for those that are being asked for in this moment.
    until(lambda: total(daemons, HELD) > 0.9 * (210 - len(starts(site, "db"))))
    for daemon in daemons:
        assert daemon.metrics()["ackd_holds"] == 1
        line = daemon.wait_for(event="holds.changed", msg=re.compile("a hold on db"))
        assert line["level"] == "info" and "storage is moved" in line["msg"]
        assert re.search(r" by \S+@\S+ since 20", line["msg"])
    until(lambda: time.time() * 1e6 > held_us + 2 * TOLD_US)
    assert starts(site, "db", held_us + TOLD_US) == []
    assert len(starts(site, "db")) < 190, "there was nothing left to be held"

    unholding = run(site, "unhold", "db*.example.com")
    free_us = time.time() * 1e6
    assert unholding.returncode == 0 and "What waited for it is asked for now" in unholding.stdout
    until(lambda: {pid for _, pid in starts(site, "db", held_us + TOLD_US)} == pids)
    for pid in pids:
        first = min(at for at, by in starts(site, "db", held_us + TOLD_US) if by == pid)
        assert first < free_us + TOLD_US
    for daemon in daemons:
        line = daemon.wait_for(event="holds.changed", msg=re.compile("was lifted by"))
        assert "the hold on db*.example.com by " in line["msg"]
        until(lambda daemon=daemon: daemon.metrics()["ackd_holds"] == 0)
    site.wait_drained()
    stop(daemons)
    assert not site.rejected()
    assert sorted(site.restarter.hosts()) == sorted(
        [*hosts("db", 200), *hosts("web", 4), *hosts("web-later", 10), *hosts("db-later", 10)]
    )
    check_resolved(site)
    check_fences(site)


def test_one_host_of_a_crowd_that_stays_held(site):
    """It does not wait for its turn among those that go on waiting."""
    site.create_topic(4)
    site.init_db()
    hold(site, "a*", why="one")
    hold(site, "b*", why="another")
    daemons = pair(site, ms=1)
    site.produce(*hosts("a", 400), "b1.example.com")
    until(lambda: total(daemons, HELD) > 380 and len(site.saved()) == 401)
    assert site.restarter.hosts() == []
    unhold(site, "b*")
    free_us = time.time() * 1e6
    [(started, _)] = until(lambda: starts(site, "b"))
    # 400 that are asked before it, 4 ms apart, on two daemons.
    assert started < free_us + TOLD_US
    assert starts(site, "a") == []
    unhold(site, "a*")
    site.wait_drained()
    stop(daemons)
    assert len(starts(site, "a")) == 400
    check_resolved(site)


def test_a_hold_that_ends_by_itself(site):
    site.create_topic(4)
    site.init_db()
    hold(site, "*", "--for", "3s")
    [row] = site.database.rows("SELECT extract(epoch FROM until) FROM holds")
    until_us = float(row[0]) * 1e6
    daemons = pair(site, ms=1)
    site.produce(*hosts("a", 20))
    until(lambda: starts(site, "a"))
    assert until_us <= starts(site, "a")[0][0] < max(until_us, time.time() * 1e6) + TOLD_US
    site.wait_drained()
    for daemon in daemons:
        if daemon.find(event="holds.changed", msg=re.compile("a hold on")):
            daemon.wait_for(event="holds.changed", msg=re.compile("is over by itself"))
    stop(daemons)
    # It is over: there is nothing to lift.
    result = run(site, "unhold", "*")
    assert result.returncode == 64
    assert "no hold on * is in force; the last one ended by itself at 20" in result.stderr
    check_resolved(site)


def test_a_blown_fuse(site):
    site.create_topic(4)
    daemons = pair(site, ms=1, fuse={"restarts": 5, "period": "10m"})
    site.produce(*hosts("a", 12))
    until(lambda: in_force(site))
    [blown] = in_force(site)
    assert (blown["pattern"], blown["fuse"], blown["until"]) == ("*", True, None)
    assert "the fuse: 5 restarts in 00:10:00" in blown["why"]
    assert blown["who"] in ("ackd (one)", "ackd (two)")
    text = run(site, "holds").stdout
    assert text.startswith("*  by ackd (") and "lift it: ackd unhold --fuse" in text
    until(lambda: total(daemons, FUSED) == 7)
    assert len(starts(site, "a")) == 5
    # The one whose claim blew it says so, both that it is so.
    [line] = [found for daemon in daemons for found in daemon.find(event="restart.fuse")]
    assert line["level"] == "error" and "ackd unhold --fuse" in line["msg"]
    for daemon in daemons:
        line = daemon.wait_for(event="holds.changed", msg=re.compile("the fuse: 5 restarts"))
        assert "ackd unhold --fuse" in line["msg"]

    # It counts anew from here, and blows again.
    said = unhold(site, "*")
    free_us = time.time() * 1e6
    assert "Lifted:\n  *  by ackd (" in said and "The fuse counts anew." in said
    until(lambda: len(starts(site, "a")) == 10)
    assert starts(site, "a")[5][0] < free_us + TOLD_US
    until(lambda: len(in_force(site)) == 1 and total(daemons, FUSED) == 2)
    # A colleague's hold beside it: neither is lifted by the other's command.
    hold(site, "*", why="storage")
    refused = run(site, "unhold", "*")
    assert (refused.returncode, refused.stdout) == (64, "")
    assert "lift it: ackd unhold --fuse\n" in refused.stderr
    assert "lift it: ackd unhold --hold '*'\n" in refused.stderr
    assert len(in_force(site)) == 2
    assert "storage" not in unhold(site, "--fuse").split("Still in force")[0]
    assert [row["why"] for row in in_force(site)] == ["storage"]
    again = run(site, "unhold", "--fuse")
    assert again.returncode == 64 and "the fuse holds nothing" in again.stderr
    assert "storage" in run(site, "unhold", "--hold", "*").stdout
    site.wait_drained()
    stop(daemons)
    assert sorted(site.restarter.hosts()) == sorted(hosts("a", 12))
    assert site.database.rows("SELECT count(*) FROM holds WHERE fuse AND lifted_by IS NOT NULL") == [(2,)]
    assert not site.rejected()
    check_resolved(site)


# --- the commands -------------------------------------------------------------------------------


def test_a_hold_is_kept_with_who_when_and_why(site):
    site.init_db()
    began = datetime.now(timezone.utc)
    options = ["--for", "2h", "--why", "für Jo's „Umzug“"]
    result = run(site, "hold", "Web?.Example.com", *options, env={"SUDO_USER": "jo"})
    assert result.returncode == 0, result.stderr
    assert re.search(r"web\?\.example\.com is held until 20\S+Z:", result.stdout)
    [(pattern, who, why, since, end)] = site.database.rows(
        "SELECT pattern, who, why, since, until FROM holds"
    )
    assert (pattern, why) == ("web?.example.com", "für Jo's „Umzug“")
    assert re.fullmatch(r"jo@\S+ as \S+", who)
    assert end - since == timedelta(hours=2)
    assert began - timedelta(seconds=1) < since < datetime.now(timezone.utc) + timedelta(seconds=1)
    [row] = in_force(site)
    assert sorted(row) == ["fuse", "hosts", "id", "pattern", "since", "until", "who", "why"]
    assert (row["who"], row["why"], row["fuse"], row["hosts"]) == (who, why, False, 0)
    assert datetime.fromisoformat(row["until"].replace("Z", "+00:00")) == end.replace(microsecond=0)
    # Whoever lifts it is kept too, and the row stays.
    said = unhold(site, "WEB?.example.com")
    assert "Lifted:\n  web?.example.com  by jo@" in said
    [(lifted, by)] = site.database.rows("SELECT lifted_at >= since, lifted_by FROM holds")
    assert lifted and "@" in by and not by.startswith("jo@")
    assert run(site, "holds").stdout == "No hold is in force.\n"
    assert in_force(site) == []
    again = run(site, "unhold", "web?.example.com")
    assert again.returncode == 64 and again.stdout == ""
    assert "the last one was lifted at 20" in again.stderr and by in again.stderr


def test_holds_that_share_hosts(site):
    site.init_db()
    with site.database.connect() as connection:
        connection.execute("INSERT INTO hosts (host) VALUES ('db1.x.com'), ('db2.x.com'), ('web1.x.com')")
    assert "It matches 2 of the 3 hosts" in hold(site, "db*", why="first")
    said = hold(site, "*1.x.com", why="second")
    assert "It matches 2 of the 3 hosts" in said
    assert "Also in force, for some of them:\n  db*  by " in said
    assert "db*" not in hold(site, "web*", why="third").replace("*1.x.com", "")
    assert "It matches none of the 3 hosts" in hold(site, "mail1.y.com")
    # One is lifted by its own glob, and by no other.
    result = run(site, "unhold", "db1.x.com")
    assert result.returncode == 64
    assert "no hold on db1.x.com is in force\n" in result.stderr
    assert "  db*  by " in result.stderr and "  *1.x.com  by " in result.stderr
    assert "web*" not in result.stderr
    said = unhold(site, "db*")
    assert "Still in force, for some of the hosts:\n  *1.x.com  by " in said
    # Two of one glob are lifted together.
    hold(site, "web*", why="fourth")
    said = unhold(site, "web*")
    assert ": third\n" in said and ": fourth\n" in said
    assert sorted(row["pattern"] for row in in_force(site)) == ["*1.x.com", "mail1.y.com"]


def test_what_was_written_by_hand_is_shown_harmlessly_and_lifted(site):
    site.init_db()
    with site.database.connect() as connection:
        connection.execute(
            "INSERT INTO holds (pattern, why, who) VALUES ('DB[1]*', %s, 'x')", ["\x1b[2J\nevil"]
        )
    text = run(site, "holds").stdout
    assert "\x1b" not in text and text.count("\n") == 2
    assert in_force(site)[0]["why"] == "\x1b[2J\nevil"
    assert "Lifted" in unhold(site, "db[1]*")


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["hold"], "name the hosts by one glob"),
        (["hold", "db*"], "--why TEXT is required"),
        (["hold", "db*", "--why", "  "], "--why TEXT is required"),
        (["hold", "db*", "--why", "a\nb"], "one line"),
        (["hold", "db*", "--why", "x" * 1001], "at most 1000 bytes"),
        (["hold", "db*", "--why", "x", "--for", "2"], "has no unit"),
        (["hold", "db*", "--why", "x", "--for", "0s"], "--for takes 1s to 3650d"),
        (["hold", "db*", "--why", "x", "--for", "9999d"], "--for takes 1s to 3650d"),
        (["hold", "db[12]*", "--why", "x"], "only * and ? are special"),
        (["hold", "", "--why", "x"], "is empty"),
        (["hold", "a*", "b*", "--why", "x"], "put it in quotes: 'db*'"),
        (["hold", "db*", "--why"], "--why needs a value"),
        (["hold", "db*", "--json"], "there is no option --json"),
        (["unhold"], "name the hosts by one glob"),
        (["unhold", "--fuse", "*"], "--fuse takes no glob"),
        (["unhold", "--fuse", "--hold"], "--fuse or --hold, once"),
        (["unhold", "db*", "--why", "x"], "there is no option --why"),
        (["holds", "db*"], "one argument too many"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_usage(site, arguments, part):
    result = command(*arguments)
    assert result.returncode == 64
    assert result.stdout == ""
    assert part in result.stderr and f"ackd {arguments[0]} --help" in result.stderr


def test_a_glob_that_the_shell_has_expanded(site, tmp_path):
    for name in ("db1", "db2", "db3"):
        (tmp_path / name).touch()

    def shell(line):
        return subprocess.run(
            ["sh", "-c", line, BINARY], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
        )

    result = shell('"$0" hold db* --why x')
    assert result.returncode == 64
    assert 'here are 3: "db1", "db2", … They are files' in result.stderr.replace("….", "…")
    # A single one may be meant.
    site.init_db()
    config = site.write_config()
    result = shell(f'"$0" hold db1* --why x -c {config}')
    assert result.returncode == 0 and "db1 is held" in result.stdout
    assert 'note: a file "db1" is here' in result.stderr


@pytest.mark.parametrize("name", ["hold", "unhold", "holds"])
def test_without_postgres_or_schema(site, name):
    arguments = {"hold": ["a*", "--why", "x"], "unhold": ["a*"], "holds": []}[name]
    result = run(site, name, *arguments)
    assert result.returncode == 69 and "run: ackd init-db" in result.stderr
    assert result.stdout == ""
    config = site.write_config(postgres={"dsn": "host=127.0.0.1 port=1 user=x dbname=x"})
    result = command(name, *arguments, "-c", config)
    assert result.returncode == 69 and f"ackd {name}: " in result.stderr
    result = command(name, *arguments, "-c", site.folder / "none.yaml")
    assert result.returncode == 78


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours(site, no_color):
    """On a terminal only, and never with NO_COLOR; the fuse stands out."""
    site.init_db()
    hold(site, "a*")
    with site.database.connect() as connection:
        connection.execute("INSERT INTO holds (pattern, why, who, fuse) VALUES ('*', 'y', 'x', true)")
    main, terminal = pty.openpty()
    subprocess.run(
        [BINARY, "holds", "-c", site.write_config()],
        env={**ENVIRONMENT, "NO_COLOR": no_color, "TERM": "xterm"},
        stdout=terminal,
        check=True,
    )
    os.close(terminal)
    text = b""
    try:
        while chunk := os.read(main, 4096):
            text += chunk
    except OSError:  # the end of a terminal
        pass
    os.close(main)
    assert (b"\033[1ma*\033[0m" in text) == (no_color == "")
    assert (b"\033[1;31m*\033[0m" in text) == (no_color == "")
    assert (b"\033" in text) == (no_color == "")
    assert "\033" not in run(site, "holds").stdout
