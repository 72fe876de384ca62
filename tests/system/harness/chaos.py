"""The scenarios of scripts/chaos and of test_chaos.py. Each takes a World, does its harm under load,
compares sets with the oracle and returns what it did and found; it raises when a promise is broken,
and also when its fault did not happen."""

import os
import random
import re
import signal
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from . import faults, until
from .dead_letters import dead_letters
from .double_restart import double_restart
from .faults import Disk, Load, Watch
from .kafka import Record
from .oracle import Acks, check_fences, check_resolved, check_restarts, unknown
from .site import merge, request

FAST_GROUP = {"kafka": {"session.timeout.ms": "2000", "heartbeat.interval.ms": "300"}}

# Where daemons die in the middle of restarts: until 5 s, this timeout and kill_after (1 s) are over
# nobody may touch the host, and then nobody knows.
MORTAL = {"handlers": {"restart-host": {"exec": {"timeout": "6s"}}}}


@dataclass
class World:
    site: Any
    rng: random.Random
    kills: int = 50
    rounds: int = 5
    scale: float = 1.0  # of the numbers of messages
    broker: Any = None  # faults.Broker and faults.Cluster, when they are our own to harm
    cluster: Any = None
    disk_folder: Any = None

    def count(self, n):
        return max(1, int(n * self.scale))

    def start(self, instance, **changes):
        base = {
            "instance": instance,
            "metrics": {"textfile": str(self.site.folder / f"{instance}.prom")},
            "log": {"level": "info"},
            **FAST_GROUP,
        }
        return self.site.start(**merge(base, changes))

    def pair(self, **changes):
        return {name: self.start(name, **changes) for name in ("one", "two")}


def fences(site):
    """partition: its fence"""
    return dict(
        site.database.rows(
            "SELECT partition, next_offset FROM partitions WHERE topic = %s AND retired_at IS NULL",
            site.topic,
        )
    )


def joined(site, members):
    def look():
        try:
            return site.kafka.group(site.group) == ("Stable", members)
        except AssertionError:  # a group that is new has no coordinator yet
            return False

    until(look, 60, interval=0.1)


def finish(world, daemons, hosts, rejected=0, timeout=120):
    """Everything comes to its end, and is what it should be. `rejected`: how many were for another
    reason than a restart of which nobody knows, which check_restarts sees to. Returns the counts."""
    site = world.site
    try:
        site.wait_drained(timeout)
    except AssertionError:
        ends = site.kafka.ends(site.topic)
        tail = "\n".join(str(line) for d in daemons for line in d.lines[-10:])
        raise AssertionError(f"not drained: {site.committed()} of {ends}\n{tail}") from None
    statuses = [daemon.stop() for daemon in daemons]
    assert statuses == [0] * len(daemons), f"exit statuses {statuses}"
    check_resolved(site)
    check_fences(site)
    found = site.rejected()
    lost = unknown(site)
    others = [row for place, row in found.items() if place not in lost]
    if len(others) != rejected:
        some = [(row["handler"], row["reason"], row["detail"]) for row in others][:5]
        raise AssertionError(f"{len(others)} rejected, not {rejected}, such as {some}")
    rows = check_restarts(site)
    restarted = site.restarter.hosts()
    # One that was granted and not started when its daemon died is unknown too.
    missing = set(hosts) - set(restarted) - {row["host"] for row in lost.values()}
    assert not missing, f"not restarted: {sorted(missing)[:5]}"
    assert set(restarted) <= set(hosts), f"not asked for: {sorted(set(restarted) - set(hosts))[:5]}"
    return {
        "produced": len(site.produced),
        "saved": len(site.saved()),
        "rejected": len(found),
        "hosts": len(set(hosts)),
        "restarts": len(restarted),
        "ledger": rows,
        "exit_statuses": statuses,
    }


@contextmanager
def under_load(world, daemons, **shape):
    """Ends the load also when the scenario fails."""
    load = Load(world.site, random.Random(world.rng.random()), **shape)
    try:
        for daemon in daemons.values():
            daemon.wait_for(event="daemon.ready")
        yield load
    finally:
        load.end()


AWAY = ("postgres.down", "postgres.connection")


def said(daemons, *events):
    """instance: how many lines of these events its log has"""
    return {
        name: sum(len(daemon.find(event=event)) for event in events)
        for name, daemon in daemons.items()
    }


def wait_said_again(daemons, before, *events, timeout=30):
    """Each daemon says one of them more often than `before`; returns how many times in all."""

    def look():
        now = said(daemons, *events)
        return all(now[name] > before[name] for name in daemons) and now

    try:
        now = until(look, timeout)
    except AssertionError:
        now = said(daemons, *events)
        raise AssertionError(f"not every daemon said {events}: {before}, then {now}") from None
    return sum(now.values()) - sum(before.values())


# --- processes that die ----------------------------------------------------------------------


def kill(world):
    """kill -9 of a daemon, each time with a batch at the database and a command that runs."""
    site = world.site
    site.create_topic(6)
    # Commands that take a while: a restart begins a claim later than its message's save.
    shape = {"exec": {"timeout": "6s", "argv": site.restarter.argv("-", "100")}}
    keys = {"handlers": {"restart-host": shape}}
    daemons = world.pair(**keys)
    watch = Watch(site)
    kills = hits = missed = 0
    try:
        with under_load(world, daemons) as load:
            # One that ended its work between the look and the kill is no hit, and is made up for.
            while hits < world.kills and kills < 4 * world.kills + 10:
                instance, misses = faults.stop_at_work(watch, daemons)
                missed += misses
                daemon = daemons[instance]
                at_work = bool(watch.batches(instance) and watch.commands(daemon))
                daemon.kill()
                kills += 1
                hits += at_work and daemon.process.returncode == -signal.SIGKILL
                daemons[instance] = world.start(instance, **keys)
                # Killed in its first second it would never come to its second.
                time.sleep(world.rng.uniform(0, 2))
    finally:
        watch.close()
    found = finish(world, daemons.values(), load.asked)
    assert hits == world.kills, f"{hits} of {kills} kills hit a daemon at work"
    return {"kills": kills, "hits": hits, "missed": missed, **found}


def backends(world):
    """A backend that has a batch is ended: pg_terminate_backend, or SIGKILL, which takes the whole
    server through its recovery."""
    site = world.site
    site.create_topic(6)
    daemons = world.pair()
    hits = {"terminated": 0, "killed": 0}
    missed = noticed = 0
    with under_load(world, daemons) as load:
        for number in range(2 * world.rounds):
            watch = until(lambda: connected(site), 60)
            until(lambda: watch.is_settled(daemons), 60)
            instance, pid, misses = faults.stop_backend_at_work(watch, daemons)
            missed += misses
            hit = {instance: daemons[instance]}
            before = said(hit, *AWAY)
            if number % 2 and world.cluster:
                os.kill(pid, signal.SIGKILL)
                hits["killed"] += 1
            else:
                try:
                    [(done,)] = watch.terminate(pid)
                finally:
                    os.kill(pid, signal.SIGCONT)
                hits["terminated"] += done
            watch.close()
            noticed += wait_said_again(hit, before, *AWAY)
            time.sleep(world.rng.uniform(0.2, 1.5))
    killed = world.rounds if world.cluster else 0
    assert hits == {"terminated": 2 * world.rounds - killed, "killed": killed}, hits
    until(lambda: connected(site), 60).close()
    found = finish(world, daemons.values(), load.asked)
    return {"hits": hits, "missed": missed, "noticed": noticed, **found}


def connected(site):
    """A Watch, or None while the server is away."""
    try:
        return Watch(site)
    except psycopg.OperationalError:
        return None


def immediate(world):
    """pg_ctl stop -m immediate while a batch is at the database, and a start."""
    site = world.site
    site.create_topic(6)
    daemons = world.pair()
    away, noticed = [], []
    with under_load(world, daemons) as load:
        for _ in range(world.rounds):
            watch = until(lambda: connected(site), 60)
            watch.wait_batch(daemons)
            before, back = said(daemons, *AWAY), said(daemons, "postgres.up")
            world.cluster.immediate()
            watch.close()
            began = time.monotonic()
            time.sleep(world.rng.uniform(0, 4))
            world.cluster.start()
            away.append(round(time.monotonic() - began, 1))
            noticed.append(wait_said_again(daemons, before, *AWAY))
            wait_said_again(daemons, back, "postgres.up")
            progress(site, 30)
    found = finish(world, daemons.values(), load.asked)
    return {"stops": world.rounds, "noticed": noticed, "seconds_away": away, **found}


def progress(site, timeout):
    """Waits for more to be saved; returns the seconds."""
    began = time.monotonic()
    query = "SELECT coalesce(sum(next_offset), 0) FROM partitions WHERE retired_at IS NULL"
    before = site.database.value(query)
    until(lambda: site.database.value(query) > before, timeout)
    return round(time.monotonic() - began, 2)


def broker(world):
    """kill -9 of Kafka while each daemon has commands that run, and a start when each has noticed.
    The producer goes on meanwhile, and is idempotent: it knows what was taken."""
    site = world.site
    site.create_topic(6)
    daemons = world.pair()
    watch = Watch(site)
    held, away, at_work = [], [], []
    try:
        with under_load(world, daemons) as load:
            for number in range(world.rounds):
                joined(site, 2)
                names = [site.restarter.hold(f"hold-{number}-{p}.example.com") for p in range(6)]
                held += names
                site.produce(*(Record(request(name), partition=p) for p, name in enumerate(names)))
                until(lambda: set(names) <= set(site.restarter.hosts()), 60)
                down, up = said(daemons, "kafka.down"), said(daemons, "kafka.up")
                running = faults.kill_broker_at_work(world.broker, watch, daemons)
                at_work.append(running)
                began = time.monotonic()
                wait_said_again(daemons, down, "kafka.down", timeout=60)
                # What runs goes on and ends without Kafka.
                for name in names:
                    site.restarter.release(name)
                ours = {r.pid for r in site.restarter.restarts() if r.host in names}
                until(lambda: not ours & set(site.restarter.running()), 30)
                time.sleep(world.rng.uniform(0, 2))
                assert load.is_going(), "the load had ended"
                world.broker.start()
                away.append(round(time.monotonic() - began, 1))
                wait_said_again(daemons, up, "kafka.up", timeout=60)
                progress(site, 60)
    finally:
        watch.close()
    found = finish(world, daemons.values(), load.asked | set(held))
    return {
        "kills": world.rounds,
        "commands_running_at_the_kill": at_work,
        "seconds_away": away,
        **found,
    }


# --- what stands still -----------------------------------------------------------------------


def frozen_postgres(world):
    """SIGSTOP of the backends, then of the whole server, for longer than a daemon waits (the
    statement timeout and 5 s)."""
    site = world.site
    site.create_topic(6)
    daemons = world.pair(postgres={"statement_timeout": "1s"})
    frozen = []
    with under_load(world, daemons) as load:
        for whole in (False, True):
            watch = Watch(site)
            _, pid = watch.wait_batch(daemons)
            if whole:
                pids = world.cluster.processes()
            else:
                found = site.database.rows(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name = ANY(%s)",
                    list(daemons),
                )
                pids = [pid for (pid,) in found]
            assert pids
            before = sum(len(d.find(event="postgres.down")) + len(d.find(event="postgres.connection"))
                         for d in daemons.values())
            faults.send(pids, signal.SIGSTOP)
            try:
                time.sleep(9)
                noticed = sum(
                    len(d.find(event="postgres.down")) + len(d.find(event="postgres.connection"))
                    for d in daemons.values()
                )
                stood = all(faults.state(pid) == "T" for pid in pids)
            finally:
                for pid in pids:
                    try:
                        os.kill(pid, signal.SIGCONT)
                    except ProcessLookupError:
                        pass
            watch.close()
            assert stood, "a process of PostgreSQL ended meanwhile"
            assert noticed > before, "no daemon noticed that PostgreSQL stands still"
            frozen.append({"processes": len(pids), "goes_on_after_s": progress(site, 30)})
    return {"freezes": frozen, **finish(world, daemons.values(), load.asked)}


def frozen_daemon(world):
    """A daemon frozen in the middle of a COPY until the group gave its partitions to the other one,
    which goes on at once."""
    site = world.site
    site.create_topic(6)
    # Many large rows: more than the socket takes at once.
    daemons = world.pair(postgres={"statement_timeout": "60s"})
    watch = Watch(site)
    try:
        with under_load(world, daemons, hosts=100, batch=1000, every=0.4, pad=4000) as load:
            joined(site, 2)
            instance, missed = faults.stop_at_work(watch, daemons, copying=True)
            [other] = [name for name in daemons if name != instance]
            try:
                joined(site, 1)
                began = time.monotonic()
                assert watch.batches(instance), "its COPY ended before its partitions were given"
                before = fences(site)
                until(lambda: all(fences(site)[p] > before[p] for p in range(6)), 30)
                seconds = time.monotonic() - began
                assert watch.batches(instance), "its COPY ended before the next owner went on"
            finally:
                os.kill(daemons[instance].process.pid, signal.SIGCONT)
    finally:
        watch.close()
    found = finish(world, daemons.values(), load.asked)
    return {
        "frozen": instance,
        "next_owner": other,
        "missed": missed,
        "goes_on_after_s": round(seconds, 2),
        **found,
    }


# --- a group that changes --------------------------------------------------------------------

OWN_HOSTS = {"hosts": None, "batch": 20, "every": 0.05}


def member(world, name, strategy, **changes):
    return world.start(
        name,
        kafka={"partition.assignment.strategy": strategy},
        limits={"in_flight": 100},  # or a rebalance waits for more than these
        **changes,
    )


def assigned(daemons):
    return sum(len(daemon.find(event="kafka.assigned")) for daemon in daemons)


def rebalanced(site, load, acks, members, before):
    """Under load the group became one of so many; each partition goes on, and nothing was acked too
    early. `before`: how often partitions had been assigned."""
    joined(site, members)
    until(lambda: assigned(site.daemons()) > before)
    began = fences(site)
    acks.look()

    def moved():
        now = fences(site)
        return all(now[p] > began[p] for p in began)

    until(moved, 30)
    assert load.is_going(), "the load had ended"


def come_and_go(world, strategy):
    """Of three daemons of one group one comes, another one leaves and comes back, and one is killed
    at work, over and over, with this assignment strategy. No restart is repeated."""
    site, rng = world.site, world.rng
    site.create_topic(6)
    daemons = {name: member(world, name, strategy, **MORTAL) for name in ("one", "two")}
    acks, watch = Acks(site), Watch(site)
    gone, changes, missed = "three", 0, 0
    try:
        with under_load(world, daemons, **OWN_HOSTS) as load:
            joined(site, 2)
            until(lambda: site.kafka.assignor(site.group) == strategy)  # once the coordinator has chosen
            until(lambda: len(fences(site)) == 6)
            for _ in range(world.rounds):
                before = assigned(site.daemons())
                daemons[gone] = member(world, gone, strategy, **MORTAL)
                rebalanced(site, load, acks, 3, before)

                leaver = rng.choice(sorted(daemons))
                before = assigned(site.daemons())
                status = daemons[leaver].stop()
                assert status == 0, f"exit status {status}"
                rebalanced(site, load, acks, 2, before)

                before = assigned(site.daemons())
                daemons[leaver] = member(world, leaver, strategy, **MORTAL)
                rebalanced(site, load, acks, 3, before)

                gone, misses = faults.stop_at_work(watch, daemons)
                missed += misses
                before = assigned(site.daemons())
                victim = daemons.pop(gone)
                victim.kill()  # it has not heard of what ended since it was stopped
                assert victim.process.returncode == -signal.SIGKILL
                rebalanced(site, load, acks, 2, before)
                changes += 4
    finally:
        watch.close()
    found = finish(world, daemons.values(), load.asked)
    acks.look()
    lost = found["ledger"]["unknown"]
    assert len(lost) == found["rejected"]
    # Each host was asked for once: whatever was handled again, the ledger has one restart of it. Of
    # what nobody knows, some were not started.
    assert found["produced"] - len(lost) <= found["restarts"] <= found["produced"]
    return {"changes": changes, "missed": missed, **found}


def members_range(world):
    """Members come, leave and are killed, with the strategy range."""
    return come_and_go(world, "range")


def members_roundrobin(world):
    """Members come, leave and are killed, with the strategy roundrobin."""
    return come_and_go(world, "roundrobin")


def members_cooperative(world):
    """Members come, leave and are killed, with the strategy cooperative-sticky."""
    return come_and_go(world, "cooperative-sticky")


# --- what PostgreSQL refuses -----------------------------------------------------------------


def full(world):
    """The disk of `messages` full, then freed."""
    site = world.site
    site.create_topic(6)
    site.init_db()
    disk = Disk(world.disk_folder, 16)
    name = f"full_{site.database.name}"
    try:
        with site.database.connect() as connection:
            connection.execute(f"CREATE TABLESPACE {name} LOCATION '{disk.folder}'")
            parts = connection.execute(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'messages'::regclass"
            ).fetchall()
            for (part,) in parts:
                connection.execute(f"ALTER TABLE {part} SET TABLESPACE {name}")
        hosts = [f"n{i}.example.com" for i in range(400)]

        def large():  # and it compresses badly
            return Record(request(world.rng.choice(hosts), pad="%x" % world.rng.getrandbits(8000)))

        for _ in range(12):
            site.produce(*(large() for _ in range(1500)))
        site.produce(*hosts)
        daemons = world.pair()
        until(lambda: any("53100" in str(d.lines) for d in daemons.values()), 60)
        free_when_full = disk.free()
        before = len(site.saved())
        assert before < len(site.produced), "everything found room"
        time.sleep(3)
        assert site.rejected() == {}
        disk.grow(512)
        seconds = progress(site, 30)
        found = finish(world, daemons.values(), hosts)
        return {
            "free_bytes_when_full": free_when_full,
            "saved_when_full": before,
            "goes_on_after_s": seconds,
            **found,
        }
    finally:
        for daemon in site._daemons:
            daemon.kill()
        with site.database.connect() as connection:
            connection.execute("DROP SCHEMA ackd CASCADE")
            connection.execute(f"DROP TABLESPACE IF EXISTS {name}")
        disk.cleanup()


def failing(world):
    """Commands that always fail beside good ones. The failing ones are there first and fail for the
    first time; then the good ones come while they are tried again."""
    n = world.count(10_000)
    good = [f"good{i}.example.com" for i in range(n)]
    bad = [f"exit3-{i}.example.com" for i in range(n)]
    site = world.site
    site.create_topic(6)
    retry = {"backoff": "1s", "backoff_max": "5m"}  # the defaults, which a site shortens
    daemon = world.start("one", retry=retry, log={"level": "warning"})
    joined(site, 1)
    # The same number without them, first: the clock is the restarter's.
    alone = time_of(site, [f"alone{i}.example.com" for i in range(n)])
    site.produce(*bad)
    until(lambda: len(set(site.restarter.hosts()) & set(bad)) == n, 240, interval=0.5)
    beside = time_of(site, good)
    again = sum(1 for host in site.restarter.hosts() if host.startswith("exit3-"))
    asked = [*good, *bad, *(f"alone{i}.example.com" for i in range(n))]
    found = finish(world, [daemon], asked, rejected=n, timeout=400)
    attempts = {row["attempts"] for row in site.rejected().values()}
    assert attempts == {5}, f"attempts: {attempts}"
    assert all(row["handlers_done"] == ["save"] for row in site.rejected().values())
    ratio = beside / alone
    result = {
        "alone_s": round(alone, 2),
        "beside_s": round(beside, 2),
        "ratio": round(ratio, 3),
        "attempts_of_the_failing_until_then": again,
        **found,
    }
    assert world.scale < 1 or ratio <= 1.1, f"the good ones took {ratio:.2f} times as long: {result}"
    return result


def time_of(site, hosts):
    """Seconds from the sending to the last of these hosts' restarts."""
    wanted = set(hosts)
    began = time.time()
    site.produce(*hosts)
    until(lambda: wanted <= set(site.restarter.hosts()), 240, interval=0.3)
    return max(r.time_us for r in site.restarter.restarts() if r.host in wanted) / 1e6 - began


# What PostgreSQL refuses after ackd let it pass: rows against constraints and indexes that an
# operator added. SQLSTATE: (the change of the table, the fields of the message)
POISON = {
    "22P02": ("CREATE INDEX ON messages (((payload->>'n')::integer))", {"n": "abc"}),
    "22003": ("", {"n": "99999999999"}),
    "22012": ("CREATE INDEX ON messages ((1 / (payload->>'z')::integer))", {"z": "0"}),
    "23502": ("ALTER TABLE messages ALTER key SET NOT NULL", {}),  # and the message has none
    "23505": ("CREATE UNIQUE INDEX ON {month} (request_id)", {"id": "plug"}),
    "23514": ("ALTER TABLE messages ADD CHECK (payload->>'site' <> 'nowhere')", {"site": "nowhere"}),
    "54000": ("CREATE INDEX ON messages ((payload->>'long'))", {"long": None}),
}
BATCH = 5


def poison(world):
    """One row of each kind that PostgreSQL refuses, in each position of a batch of 5."""
    site = world.site
    site.create_topic(1)
    site.init_db()
    with site.database.connect() as connection:
        [month] = connection.execute(
            "SELECT 'messages_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"
        ).fetchone()
        for change, _ in POISON.values():
            if change:
                connection.execute(change.format(month=month))
    log = world.cluster and world.cluster.folder / "log"
    log_begins = log.stat().st_size if log else 0
    daemon = world.start("one", postgres={"connections": 1, "batch_rows": BATCH})
    site.produce(Record(request("plug.example.com", id="plug"), key=b"k"))
    until(lambda: len(site.saved()) == 1)
    expected, hosts = {}, ["plug.example.com"]
    with site.database.locked_fences():
        site.produce(Record(request("plug2.example.com"), key=b"k"))  # from here on batches queue up, and are full
        hosts.append("plug2.example.com")
        until(site.database.waits_for_a_lock)
        records, kinds = [], []
        for state, (_, fields) in POISON.items():
            for position in range(BATCH):
                for i in range(BATCH):
                    host = f"{state.lower()}-{position}-{i}.example.com"
                    hosts.append(host)
                    mine = dict(fields) if i == position else {}
                    if "long" in mine:  # too long for an index, and compresses badly
                        mine["long"] = "%x" % world.rng.getrandbits(20000 * 4)
                    key = None if state == "23502" and i == position else b"k"
                    records.append(Record(request(host, **mine), key=key))
                    kinds.append(state if i == position else None)
        places = site.produce(*records)
        expected = {place: kind for place, kind in zip(places, kinds) if kind}
        until(lambda: daemon.metrics().get("ackd_in_flight_messages", 0) >= len(records))
    site.wait_drained()
    rejected = site.rejected()
    wrong = {
        place: kind
        for place, kind in expected.items()
        if not (rejected.get(place, {}).get("detail") or "").startswith(kind)
    }
    assert not wrong, f"refused otherwise: {[(k, (rejected.get(p) or {}).get('detail')) for p, k in wrong.items()][:5]}"
    if log:  # the server says in which line of a COPY each one was
        text = log.read_bytes()[log_begins:].decode(errors="replace")
        lines = Counter(map(int, re.findall(r"COPY messages, line (\d+)", text)))
        wanted = dict.fromkeys(range(1, BATCH + 1), len(POISON))
        assert lines == wanted, f"lines of the COPYs: {dict(lines)}"
    found = finish(world, [daemon], hosts, rejected=len(expected))
    return {"kinds": sorted(POISON), "positions": BATCH, "poison_rows": len(expected), **found}


def partition(world):
    """This month's partition of `messages` is missing, and is there again later."""
    site = world.site
    site.create_topic(6)
    site.init_db()
    with site.database.connect() as connection:
        month, bound = connection.execute(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_class c"
            " WHERE c.relname = 'messages_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"
        ).fetchone()
        # Not dropped: a daemon that starts would make it again.
        connection.execute(f"ALTER TABLE messages DETACH PARTITION {month}")
    hosts = [f"n{i}.example.com" for i in range(world.count(2000))]
    site.produce(*hosts)
    daemons = world.pair()
    until(lambda: [d for d in daemons.values() if "23514" in str(d.lines)], 30)
    time.sleep(3)
    assert site.saved() == {} and site.rejected() == {}
    with site.database.connect() as connection:
        connection.execute(f"ALTER TABLE messages ATTACH PARTITION {month} {bound}")
    seconds = progress(site, 30)
    return {"goes_on_after_s": seconds, **finish(world, daemons.values(), hosts)}


# --- limits ----------------------------------------------------------------------------------


def waiting(world):
    """100,000 messages whose commands do not end, and the shutdown."""
    n = world.count(100_000)
    site = world.site
    site.create_topic(6)
    hosts = [f"hang-{i}.example.com" for i in range(n)]
    site.produce(*hosts)
    load = os.getloadavg()[0]
    daemon = world.start(
        "one",
        debug={"slow_callback": "10ms"},
        handlers={"restart-host": {"concurrency": 16, "exec": {"timeout": "1h"}}},
        shutdown={"grace": "2s"},
        # At the limit itself the intake stops, and goes on when an eighth of it is free.
        limits={"waiting": 2 * n},
    )
    daemon.wait_for(event="daemon.ready")
    query = "SELECT coalesce(sum(next_offset), 0) FROM partitions"
    until(lambda: site.database.value(query) == n, 120, interval=0.5)
    until(lambda: len(site.restarter.running()) == 16, 30)
    time.sleep(3)
    metrics = daemon.metrics()
    peak = faults.peak_mib(daemon.process.pid)
    status = daemon.stop()
    assert status == 75, f"exit status {status}"  # running work was killed
    slow = [line.get("msg") for line in daemon.find(event="loop.slow")]
    check_saved = site.saved()
    assert check_saved.keys() == site.produced.keys()
    assert len(set(site.restarter.hosts())) == 16
    result = {
        "produced": n,
        "saved": len(check_saved),
        "rejected": len(site.rejected()),
        "waiting": metrics.get("ackd_waiting_messages"),
        "in_flight": metrics.get("ackd_in_flight_messages"),
        "peak_mib": round(peak, 1),
        "slow_callbacks": slow,
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "exit_statuses": [status],
    }
    assert peak < 160, f"{peak:.0f} MiB: {result}"
    assert not slow, f"callbacks over 10 ms: {result}"
    return result


SCENARIOS = {
    "kill": kill,
    "backends": backends,
    "immediate": immediate,
    "broker": broker,
    "frozen-postgres": frozen_postgres,
    "frozen-daemon": frozen_daemon,
    "members-range": members_range,
    "members-roundrobin": members_roundrobin,
    "members-cooperative": members_cooperative,
    "full": full,
    "failing": failing,
    "poison": poison,
    "partition": partition,
    "waiting": waiting,
    "double-restart": double_restart,
    "dead-letters": dead_letters,
}
