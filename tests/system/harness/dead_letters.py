"""The scenario dead-letters of scripts/chaos: rejected messages of three kinds are replayed while two
daemons run; the command and a daemon are killed in the middle."""

import json
import os
import re
import signal
import subprocess
from collections import Counter

from . import faults, until
from .daemon import BINARY, ENVIRONMENT
from .kafka import Record

LETTERS = 10_000
PARTITIONS = 6
CONCURRENCY = 16
# Where nobody knows how a restart ended, its host is held until 5 s, this timeout and kill_after are
# over; then its message is rejected once more.
TIMEOUT = "6s"

OPEN = "SELECT count(*) FROM rejected WHERE replayed_at IS NULL"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ackd dead-letter by %%'"


def letter(number):
    """(what is not done of it when it is rejected first, its record)"""
    host, fields = f"-{number}.example.com", {"id": f"r{number}"}
    kind = number % 3
    if kind == 0:  # denied: saved, and not restarted
        fields |= {"host": "a" + host, "target": "a" + host}
    elif kind == 1:  # PostgreSQL refuses the row: restarted, and not saved
        fields |= {"host": "b" + host, "target": "b" + host, "site": "nowhere"}
    else:  # no host where the configuration says it is
        fields |= {"target": "c" + host}
    return ("restart", "save", "both")[kind], Record(json.dumps(fields).encode(), key=host.encode())


def start_replay(site, n):
    """At a rate that lets it be killed in the middle."""
    arguments = ["replay", "--all", "--why", "mended", "--rate", str(n / 8)]
    return subprocess.Popen(
        [BINARY, "dead-letter", *arguments, "-c", site.write_config()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    )


def ids(rows):
    return Counter(id_ for (id_,) in rows)


def make_letters(world, kinds):
    """A daemon rejects them all."""
    site = world.site
    site.create_topic(PARTITIONS)
    site.init_db()
    with site.database.connect() as connection:
        connection.execute("ALTER TABLE messages ADD CONSTRAINT plug CHECK (payload->>'site' <> 'nowhere')")
    restart = {"deny": ["a-*"], "concurrency": CONCURRENCY, "exec": {"timeout": TIMEOUT}}
    daemon = world.start("zero", handlers={"restart-host": restart})
    site.produce(*(record for _, record in kinds))
    site.wait_drained(300)
    assert daemon.stop() == 0
    reasons = Counter(row["reason"] for row in site.rejected().values())
    found = Counter(kind for kind, _ in kinds)
    wanted = {"denied": found["restart"], "refused": found["save"], "no_host": found["both"]}
    assert reasons == wanted, f"{reasons}, not {wanted}"
    assert len(site.restarter.hosts()) == found["save"] and len(site.saved()) == found["restart"]
    with site.database.connect() as connection:
        connection.execute("ALTER TABLE messages DROP CONSTRAINT plug")
    return dict(reasons)


def start_daemon(world, name):
    argv = world.site.restarter.argv("-", "20")
    restart = {"concurrency": CONCURRENCY, "exec": {"argv": argv, "timeout": TIMEOUT}}
    return world.start(name, message={"host": "target"}, handlers={"restart-host": restart})


def kill_at_work(watch, daemon):
    """With restarts that run; how many."""
    while True:
        until(lambda: watch.commands(daemon), 60)
        os.kill(daemon.process.pid, signal.SIGSTOP)
        running = len(watch.commands(daemon))
        if running > 0:
            daemon.kill()
            return running
        os.kill(daemon.process.pid, signal.SIGCONT)


def check(site, kinds, n, kills):
    """Each was saved once and restarted once, by whichever message; but where a daemon was killed in a
    restart it is not known whether that was."""
    [(taken, unmarked)] = site.database.rows(
        "SELECT count(*) FILTER (WHERE replay_source IS NOT NULL AND replayed_at IS NOT NULL),"
        " count(*) FILTER (WHERE replayed_why IS NULL) FROM rejected WHERE reason <> 'unknown'"
    )
    assert taken == n, f"{taken} taken of {n}"
    wanted = {f"r{i}" for i in range(n)}
    saved = ids(site.database.rows("SELECT request_id FROM messages"))
    assert set(saved) == wanted, f"not saved: {sorted(wanted - set(saved))[:5]}"
    assert max(saved.values()) == 1, f"saved twice: {saved.most_common(5)}"
    unknown = {
        json.loads(value)["id"]
        for (value,) in site.database.rows("SELECT value FROM rejected WHERE reason = 'unknown'")
    }
    assert len(unknown) <= kills * CONCURRENCY, f"{len(unknown)} of which nobody knows"
    starts = Counter(restart.id for restart in site.restarter.restarts())
    assert set(starts) <= wanted
    twice = [id_ for id_, times in starts.items() if times > 1]
    assert not twice, f"restarted twice: {twice[:5]}"
    never = wanted - set(starts) - unknown
    assert not never, f"not restarted: {sorted(never)[:5]}"
    others = site.database.rows(
        "SELECT reason, count(*) FROM rejected WHERE replayed_at IS NULL AND reason <> 'unknown' GROUP BY 1"
    )
    assert others == [], f"rejected again: {others}"
    # Delivered, and taken by a daemon, when the command that produced them was killed.
    return {"unmarked": unmarked, "saved": len(saved), "restarted": len(starts), "unknown": len(unknown)}


def dead_letters(world):
    """10,000 rejected messages are replayed while two daemons run; the command and a daemon are killed
    in the middle. Each handler that was not done runs once, and none that was."""
    site = world.site
    n = world.count(LETTERS)
    kinds = [letter(number) for number in range(n)]
    reasons = make_letters(world, kinds)
    before = sum(high for _, high in site.kafka.ends(site.topic).values())
    daemons = {name: start_daemon(world, name) for name in ("one", "two")}
    site.wait_joined(2)
    for daemon in daemons.values():
        daemon.wait_for(event="partition.started")
    watch = faults.Watch(site)
    try:
        replay = start_replay(site, n)
        until(lambda: site.database.value(OPEN) < n - n // 10 or replay.poll() is not None, 60, 0.01)
        assert replay.poll() is None, replay.communicate()
        replay.kill()
        replay.communicate()
        until(lambda: site.database.value(SESSIONS) == 0)
        left = site.database.value(OPEN)
        assert 0 < left < n, f"{left} of {n} were left when the command was killed"
        replay = start_replay(site, n)
        running = kill_at_work(watch, daemons["one"])
        daemons["three"] = start_daemon(world, "three")
        out, err = replay.communicate(timeout=300)
    finally:
        watch.close()
    assert replay.returncode == 0, err
    replayed = int(re.match(r"(\d+) message", out)[1])
    site.wait_drained(300)
    # What the killed one left open is known to be unknown when its time is over.
    statuses = {name: daemons[name].stop() for name in ("two", "three")}
    assert set(statuses.values()) == {0}, f"exit statuses {statuses}"
    produced = sum(high for _, high in site.kafka.ends(site.topic).values()) - before
    assert produced >= n
    return {
        "letters": n,
        "reasons": reasons,
        "open_when_the_command_was_killed": left,
        "replayed_by_the_second": replayed,
        "produced": produced,
        "restarts_running_at_the_kill": running,
        **check(site, kinds, n, kills=1),
        "exit_statuses": statuses,
    }
