"""The scenario double-restart of scripts/chaos: three daemons of one group restart few hosts over and
over, while they and PostgreSQL's backends are killed and stopped; afterwards the ledger is compared
with what the restarter wrote down (restarts.py)."""

import os
import signal
import threading
import time
from collections import Counter, deque

import psycopg

from . import faults, until
from .kafka import Record
from .oracle import check_fences, check_resolved
from .restarts import (
    QUERY,
    Found,
    Life,
    Row,
    check_cooldown,
    check_lines,
    check_resolved_once,
    check_suppressed,
    hits,
    number_of,
    unknowns,
)
from .site import request

HOSTS = [f"n{i}.example.com" for i in range(50)]
REQUESTS = 20_000
SECONDS = 300
KILLS = 100  # that have to fall between an intent and its end
STARTS = 2_000
COOLDOWN = 2
TIMEOUT, KILL_AFTER, DEADLINE = 1, 1, 1
HELD = 5 + TIMEOUT + KILL_AFTER + DEADLINE  # from a grant until its end is waited for no more
PARTITIONS = 6

# The daemon's sessions, those first that ask the ledger at this moment.
BACKENDS = """
SELECT pid, query ~ '\\.(claim|finish)\\(' AND state = 'active' FROM pg_stat_activity
WHERE datname = current_database() AND application_name = ANY(%s) ORDER BY 2 DESC, random()
"""
OPEN = """
SELECT instance_name, id FROM restarts
WHERE state IN ('intended', 'acted') AND instance_name = ANY(%s)
"""


class Requests:
    """Sends n in that time, in a thread of its own, and goes on like that until finish(). One in 20 has
    the id of an earlier one for its host."""

    def __init__(self, site, rng, n, seconds):
        self._site, self._rng, self._n, self._rate = site, rng, n, n / seconds
        self._ids = {host: deque(maxlen=20) for host in HOSTS}
        self._failure = None
        self.repeated = 0
        self._enough, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _one(self, number):
        rng = self._rng
        host = rng.choice(HOSTS)
        earlier = self._ids[host]
        if earlier and rng.random() < 0.05:
            request_id = rng.choice(earlier)
            self.repeated += 1
        else:
            request_id = f"r{number}"
            earlier.append(request_id)
        kind = rng.random()
        # A few take longer than they may, or fail.
        ms = 1500 if kind < 0.03 else rng.randrange(400, 950) if kind < 0.2 else rng.randrange(20, 400)
        status = 3 if rng.random() < 0.02 else 0
        return Record(request(host, id=request_id, n=number, ms=ms, status=status))

    def _run(self):
        began, sent = time.monotonic(), 0
        try:
            while not self._stop.is_set() and not (self._enough.is_set() and sent >= self._n):
                due = int(self._rate * (time.monotonic() - began)) - sent
                if due > 0:
                    self._site.produce(*(self._one(sent + i) for i in range(due)))
                    sent += due
                self._stop.wait(0.25)
        except Exception as failure:  # told by finish()
            self._failure = failure

    def finish(self):
        """At least the n are sent."""
        self._enough.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "the requests could not be sent"
        if self._failure:
            raise self._failure

    def stop(self):
        self._stop.set()
        self._thread.join(120)


class Fleet:
    """Three daemons, and the lives that they have had."""

    def __init__(self, world):
        self.world = world
        self.rng = world.rng
        self.lives = []
        self.now = {}  # place 0, 1, 2: (Life, Ackd)
        self.thaws = {}  # place: when it goes on, of those that are stopped
        self.did = Counter()
        for place in range(3):
            self.start(place)

    def start(self, place):
        rng, site = self.rng, self.world.site
        name = f"{'abc'[place]}{len(self.lives)}"  # an instance of its own: the row says which process
        argv = site.restarter.argv("{{message.n}}", "{{message.ms}}", "{{message.status}}")
        # A host is another one when a restart of it came to its end.
        looks = ["/bin/sh", "-c", f"cd {site.restarter.folder}; grep -c \"^$1 \" ends; :"]
        restart_host = {
            "cooldown": f"{COOLDOWN}s",
            "fleet_concurrency": 200,
            # Both ways go on, so that both are seen.
            "on_unknown": rng.choice(["reject", "retry", "retry"]),
            "exec": {"argv": argv, "timeout": f"{TIMEOUT}s", "kill_after": f"{KILL_AFTER}s"},
            "verify": {
                "exec": {"argv": [*looks, "sh", "{{host}}"], "timeout": f"{DEADLINE}s"},
                "interval": "100ms",
                "deadline": f"{DEADLINE}s",
            },
        }
        daemon = self.world.start(
            name,
            handlers={"restart-host": restart_host},
            postgres={"statement_timeout": "5s"},
            retry={"attempts": 3},
        )
        life = Life(name, daemon.process.pid)
        self.lives.append(life)
        self.now[place] = life, daemon

    def names(self):
        return [life.name for life, _ in self.now.values()]

    def look(self, query, *parameters):
        """Over a new connection; waits while the server is away."""

        def ask():
            try:
                return [self.world.site.database.rows(query, *parameters)]
            except psycopg.OperationalError:
                return None

        return until(ask, 60)[0]

    def open(self):
        """instance_name: restarts.id of its open intents"""
        result = {}
        for name, row_id in self.look(OPEN, self.names()):
            result.setdefault(name, set()).add(row_id)
        return result

    def check_alive(self):
        for life, daemon in self.now.values():
            if not daemon.is_alive():
                tail = "\n".join(map(str, daemon.lines[-15:]))
                raise AssertionError(f"{life.name} ended with {daemon.process.returncode}:\n{tail}")

    # --- harm ---

    def kill(self):
        """One of those that have an open intent; more rarely two or all of them at once."""
        if not until(self.open, 30):
            return
        time.sleep(self.rng.uniform(0, 0.2))
        at_work = self.open()
        places = [p for p, (life, _) in self.now.items() if life.name in at_work]
        self.rng.shuffle(places)
        places = places[: self.rng.choice([1, 1, 2, 3])]
        for place in places:
            life, daemon = self.now[place]
            life.open_at_kill = at_work[life.name]
            life.killed_at = time.time()
            self.did["kills"] += 1
            os.kill(daemon.process.pid, signal.SIGKILL)
        for place in places:
            self.thaws.pop(place, None)
            self.now[place][1].process.wait()
        for place in places:
            self.start(place)

    def freeze(self, seconds):
        place = self.rng.choice([p for p in self.now if p not in self.thaws] or [None])
        if place is None:
            return
        life, daemon = self.now[place]
        if seconds > HELD:  # with an intent, so that it outlives it
            until(lambda: life.name in self.open(), 30)
            self.did["freezes_longer_than_held"] += 1
        life.frozen.append((time.time(), float("inf")))
        faults.send([daemon.process.pid], signal.SIGSTOP)
        self.thaws[place] = time.monotonic() + seconds
        self.did["freezes"] += 1

    def thaw(self, everything=False):
        for place, due in list(self.thaws.items()):
            if everything or time.monotonic() >= due:
                life, daemon = self.now[place]
                life.frozen[-1] = (life.frozen[-1][0], time.time())
                os.kill(daemon.process.pid, signal.SIGCONT)
                del self.thaws[place]

    def end_backend(self, number):
        rows = self.look(BACKENDS, self.names())
        if not rows:
            return
        pid, asks = rows[0]
        self.did[f"backends_{'killed' if number == signal.SIGKILL else 'terminated'}"] += 1
        self.did["backends_ended_while_the_ledger_was_asked"] += asks
        if number == signal.SIGKILL:
            os.kill(pid, signal.SIGKILL)
        else:
            self.look("SELECT pg_terminate_backend(%s)", pid)

    def harm(self, may_kill):
        kinds = ["kill"] * 12 + ["freeze"] * 3 + ["terminate"] * 2
        if self.world.cluster:  # SIGKILL takes the whole server through its recovery
            kinds.append("backend")
        kind = self.rng.choice(kinds)
        if kind == "kill":
            if may_kill:
                self.kill()
        elif kind == "freeze":
            self.freeze(self.rng.uniform(0.1, 3))
        else:
            self.end_backend(signal.SIGKILL if kind == "backend" else signal.SIGTERM)

    def likely_hits(self):
        """The kills after which an intent of theirs got no end, or another's."""
        ids = [row_id for life in self.lives for row_id in life.open_at_kill]
        query = "SELECT id, extract(epoch FROM ended_at)::float8 FROM restarts WHERE id = ANY(%s)"
        ended = dict(self.look(query, ids))
        return sum(
            any((ended[one] or float("inf")) > life.killed_at for one in life.open_at_kill)
            for life in self.lives
        )

    def starts(self):
        return len(self.world.site.restarter.restarts())

    def rage(self, seconds, wanted, starts):
        """Until the time is over, so many kills hit and so many restarts started, or thrice the time. A
        host is held after each kill, so there are not many more of them than are wanted."""
        began = time.monotonic()
        long_ones = deque(began + seconds * share for share in (0.3, 0.7))
        while time.monotonic() < began + 3 * seconds:
            over = time.monotonic() >= began + seconds
            if over and self.likely_hits() >= wanted and self.starts() >= starts:
                break
            if long_ones and time.monotonic() >= long_ones[0]:
                long_ones.popleft()
                self.freeze(HELD + self.rng.uniform(1, 3))
            else:
                share = (time.monotonic() - began) / seconds
                self.harm(self.did["kills"] <= 3 + 1.2 * wanted * share)
            pause = time.monotonic() + self.rng.uniform(0.2, 2.5)
            while time.monotonic() < pause:
                self.thaw()
                time.sleep(0.05)
            self.check_alive()
        until(lambda: self.thaw() or not self.thaws, 20)
        return time.monotonic() - began


def find(site, lives):
    rows = [Row(*row) for row in site.database.rows(QUERY)]
    rejected = {}
    for place, row in site.rejected().items():
        assert row["handler"] == "restart-host", f"{place} was rejected: {row}"
        rejected[place] = row["reason"]
    return Found(
        rows,
        site.restarter.restarts(),
        site.restarter.ends(),
        lives,
        rejected,
        {place: number_of(record) for place, record in site.produced.items()},
    )


def double_restart(world):
    """Three daemons of one group restart 50 hosts with a cool-down of 2 s, 20,000 requests in five
    minutes, while kill -9 and SIGSTOP meet daemons, also for longer than an intent is held, and
    backends of PostgreSQL are ended. At least 100 kills fall between an intent and its end."""
    site, rng = world.site, world.rng
    wanted = max(10, world.count(KILLS))
    seconds = SECONDS * min(1, world.scale)
    site.create_topic(PARTITIONS)
    site.init_db()
    (site.restarter.folder / "ends").touch()
    fleet = Fleet(world)
    requests = Requests(site, rng, world.count(REQUESTS), seconds)
    try:
        for _, daemon in fleet.now.values():
            daemon.wait_for(event="daemon.ready")
        raged = fleet.rage(seconds, wanted, world.count(STARTS))
        requests.finish()
    finally:
        requests.stop()
    fleet.check_alive()
    try:
        site.wait_drained(180)
    except AssertionError:
        lines = [str(line) for _, daemon in fleet.now.values() for line in daemon.lines[-8:]]
        state = f"{site.committed()} of {site.kafka.ends(site.topic)}"
        raise AssertionError(f"not drained: {state}\n" + "\n".join(lines)) from None
    statuses = [daemon.stop() for _, daemon in fleet.now.values()]
    assert statuses == [0, 0, 0], f"exit statuses {statuses}"
    return judge(world, fleet, wanted) | {
        "seconds_of_harm": round(raged, 1),
        "requests_with_an_id_that_came_before": requests.repeated,
    }


def judge(world, fleet, wanted):
    site = world.site
    until(lambda: not site.restarter.running(), 10)
    check_resolved(site)
    check_fences(site)
    assert site.saved().keys() == site.produced.keys(), "not every message was saved"
    held = site.database.rows("SELECT host, open_id FROM hosts WHERE open_id IS NOT NULL")
    assert not held, f"hosts with an open intent: {held}"
    found = find(site, fleet.lives)
    check_lines(found)
    delayed = check_cooldown(found, COOLDOWN)
    check_suppressed(found, COOLDOWN, covers=DEADLINE + 1)
    late = check_resolved_once(found)
    moments = hits(found)
    listed = unknowns(found)
    starts = len(found.starts)
    result = {
        **fleet.did,
        "kills_between_intent_and_end": sum(moments.values()),
        "by_moment": moments,
        "lives": len(fleet.lives),
        "produced": len(site.produced),
        "saved": len(site.saved()),
        "starts": starts,
        "rows": dict(Counter(kind_of(row) for row in found.rows)),
        "rejected": dict(Counter(found.rejected.values())),
        "ends_that_came_to_light_late": late,
        "stopped_between_check_and_spawn": delayed,
        "unknowns": listed,
    }
    least = world.count(STARTS)
    assert sum(moments.values()) >= wanted, f"{moments} of {fleet.did} hit, not {wanted}"
    assert starts >= least, f"{starts} starts, not {least}"
    assert fleet.did["freezes_longer_than_held"] == 2, fleet.did
    return result


def kind_of(row):
    if row.shared_with is not None:
        return f"{row.state}, shared"
    return f"{row.state} ({row.reason})" if row.reason else row.state
