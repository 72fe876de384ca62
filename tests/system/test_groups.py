"""Consumer groups as they are in the real world: members that come, go, die and stand still; partitions
that are added, made again, moved by a tool; offsets with gaps. What was produced is compared with what
is saved, restarted, rejected and committed; whatever is delivered again, no restart is repeated (see
check_restarts)."""

import os
import random
import re
import signal
import time
from contextlib import contextmanager

import pytest
from harness import until
from harness.chaos import (
    FAST_GROUP,
    OWN_HOSTS,
    World,
    come_and_go,
    fences,
    joined,
    member,
)
from harness.daemon import at, command
from harness.faults import Load, Watch, send
from harness.kafka import Record
from harness.oracle import Acks, check_fences, check_resolved, check_restarts, ledger
from harness.site import LIMITS, request

DONE_AND_NOT_SAVED = (
    'SELECT count(*) FROM restarts r JOIN partitions p ON p.id = r.source AND r."offset" >= p.next_offset'
    " WHERE r.state = 'done' AND r.instance_name = %s"
)
STRATEGIES = ["range", "roundrobin", "cooperative-sticky"]


def hosts(letter, n=20):
    return [f"{letter}{i}.example.com" for i in range(n)]


def start(site, name, **changes):
    return site.start(
        instance=name, metrics={"textfile": str(site.folder / f"{name}.prom")}, **FAST_GROUP, **changes
    )


def pair(site, **changes):
    daemons = [start(site, name, **changes) for name in ("one", "two")]
    joined(site, 2)
    return daemons


@contextmanager
def loaded(site):
    """Ends the load also when the test fails."""
    load = Load(site, random.Random(1), **OWN_HOSTS)
    try:
        yield load
    finally:
        load.end()


def stop(daemons):
    assert [daemon.stop() for daemon in daemons] == [0] * len(daemons)


def restarted(site, asked):
    """Whether each of these hosts was."""
    return set(asked) <= set(site.restarter.hosts())


def runs_since(site, pid, time_us):
    """The restarts that this daemon began since then."""
    return [r for r in site.restarter.restarts() if r.daemon == pid and r.time_us > time_us]


def said_by(daemons, timeout=30, **fields):
    """The first line with these fields, whoever says it."""
    found = until(lambda: [line for d in daemons for line in d.find(**fields)], timeout)
    return found[0]


def lags(daemons):
    """partition: what its owner's metrics say"""
    found = {}
    for daemon in daemons:
        for name, value in daemon.metrics().items():
            if name.startswith("ackd_partition_lag"):
                found[int(re.search(r'partition="(\d+)"', name)[1])] = value
    return found


def done_by_the_ledger(site, daemons):
    """How many restarts counted as done at these daemons that they did not make themselves. Each
    message is for a host of its own."""
    name = 'ackd_handler_outcomes_total{handler="restart-host",outcome="done"}'
    pids = {daemon.process.pid for daemon in daemons}
    made = sum(restart.daemon in pids for restart in site.restarter.restarts())
    return sum(daemon.metrics()[name] for daemon in daemons) - made


def stop_behind_a_lock(watch, instance, pid):
    """SIGSTOPs a daemon whose batches are sent and wait for a lock; None: not now. Returns when."""

    def waits():
        found = watch.batches(instance)
        return found and all(event in ("transactionid", "tuple") for _, event in found)

    if not waits():
        return None
    send([pid], signal.SIGSTOP)
    if waits():
        return time.time()
    os.kill(pid, signal.SIGCONT)
    return None


# --- members ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_members_that_come_and_go_under_load(site, strategy):
    rounds = 1 if strategy == "cooperative-sticky" else 2  # it takes seconds to recover from a loss
    found = come_and_go(World(site=site, rng=random.Random(1), rounds=rounds), strategy)
    assert found["changes"] == 4 * rounds
    assert len(found["ledger"]["unknown"]) > 0, "nobody was killed between an intent and its end"
    print(found)


def test_cooperative_sticky_is_warned_of_where_it_is_broken(site):
    strategy = {"partition.assignment.strategy": "cooperative-sticky"}
    limits = {"restart-host": LIMITS}
    said = command("check-config", "-c", site.write_config(kafka=strategy, handlers=limits))
    version = re.search(r"librdkafka (\d+)\.(\d+)", command("version").stdout)
    broken = tuple(map(int, version.groups())) < (2, 10)
    assert said.returncode == 0
    assert ("may crash, hang at the close, or fall out of the group" in said.stderr) == broken
    said = command("check-config", "-c", site.write_config(handlers=limits))
    assert said.returncode == 0
    assert "cooperative" not in said.stderr


def test_a_daemon_that_stood_still_for_longer_than_its_session(site):
    """It stands still while its batch is at the database, which saves it meanwhile; when it goes on
    it would commit that, but the partitions are others' by now, who have gone further. What it had
    restarted is delivered to them again, and the ledger says that it is done."""
    site.create_topic(6)
    world = World(site=site, rng=random.Random(1))
    names = ("one", "two", "three")
    daemons = {name: member(world, name, "range") for name in names}
    frozen = daemons["one"]
    pid = frozen.process.pid
    acks, watch = Acks(site), Watch(site)
    try:
        with loaded(site) as load:
            joined(site, 3)
            until(lambda: len(fences(site)) == 6)
            acks.look()
            with site.database.locked_fences():
                until(lambda: site.database.value(DONE_AND_NOT_SAVED, "one") > 0)
                stopped_at = until(lambda: stop_behind_a_lock(watch, "one", pid), interval=0)
            until(lambda: not watch.batches("one"))  # it is saved
            until(lambda: site.kafka.group(site.group) == ("Stable", 2))
            before = fences(site)
            until(lambda: all(fences(site)[p] > before[p] for p in range(6)))
            acks.look()
            os.kill(pid, signal.SIGCONT)
            line = frozen.wait_for(event="kafka.revoked", msg=re.compile("lost"))
            assert at(line) - stopped_at > 2, "shorter than its session"
            until(lambda: acks.look() and site.kafka.group(site.group) == ("Stable", 3))
            back_at = time.time() * 1e6
            until(lambda: runs_since(site, pid, back_at))
            acks.look()
            assert load.is_going()
    finally:
        watch.close()
    site.wait_drained()
    stop(daemons.values())
    acks.look()
    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    # What it sent when it went on, before it heard of the others, the fence refused.
    refused = [line for line in frozen.find(event="save.failed") if at(line) > stopped_at]
    assert all("AK001" in line["msg"] for line in refused)
    check_restarts(site)
    taken = done_by_the_ledger(site, [daemons["two"], daemons["three"]])
    assert taken > 0, "nothing that was done was delivered again"


def test_a_revoke_does_not_wait_for_commands_that_run(site):
    site.create_topic(2)
    held = [site.restarter.hold(f"hold-{p}.example.com") for p in range(2)]
    for partition, letter in enumerate("ab"):
        site.produce(held[partition], *hosts(letter), partition=partition)
    acks = Acks(site)
    first = start(site, "one")
    until(lambda: restarted(site, [*held, *hosts("a"), *hosts("b")]) and len(site.saved()) == 42)
    assert acks.look() == {0: 0, 1: 0}
    running = set(site.restarter.running())
    assert len(running) == 2

    second = start(site, "two")
    moved = second.wait_for(event="partition.started")["partition"]
    [revoked] = first.find(event="kafka.revoked")
    taken = second.wait_for(event="kafka.assigned", msg=re.compile("assigned 1 "))
    assert at(taken) - at(revoked) < 3
    assert running <= set(site.restarter.running()), "the revoke ended them"

    # Its new owner goes on beside the command of the one before.
    new = site.produce(*hosts("c"), partition=moved)
    until(lambda: restarted(site, hosts("c")) and set(new) <= site.saved().keys())
    owners = {r.daemon for r in site.restarter.restarts() if r.host in hosts("c")}
    assert owners == {second.process.pid}
    assert running <= set(site.restarter.running())
    assert acks.look() == {0: 0, 1: 0}
    for host in held:
        site.restarter.release(host)
    site.wait_drained()
    stop([first, second])
    acks.look()
    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    # All that stood behind the one that moved, and it itself, was delivered again: the ledger had
    # 20 as done, and of the one that ran it waited for the end that its first owner reported.
    check_restarts(site)
    assert done_by_the_ledger(site, [second]) == 21
    assert sum(row.instance == "two" for row in ledger(site)) == 20  # what came afterwards
    line = said_by([second], event="restart.waits", host=held[moved])
    assert "waits (running): intended by one since" in line["msg"]


# --- topics that change -------------------------------------------------------------------------


@pytest.mark.parametrize("begin", ["earliest", "latest"])
def test_partitions_that_are_added_under_load(site, begin):
    site.create_topic(2)
    refresh = {"topic.metadata.refresh.interval.ms": "1000"}
    daemons = [
        site.start(
            instance=name,
            metrics={"textfile": str(site.folder / f"{name}.prom")},
            consume={"start": begin},
            kafka=refresh,
        )
        for name in ("one", "two")
    ]
    joined(site, 2)
    until(lambda: site.committed() == {0: 0, 1: 0})
    # In its first minute a group takes partitions for its own beginning.
    site.database.rows(
        "UPDATE partitions SET created_at = created_at - interval '2 minutes',"
        " updated_at = updated_at - interval '2 minutes' RETURNING id"
    )
    acks = Acks(site)
    pids = [daemon.process.pid for daemon in daemons]
    with loaded(site) as load:
        for partitions in (4, 6):
            added = range(partitions - 2, partitions)
            # They stand still for a moment, so that they cannot know of the partitions too early.
            send(pids, signal.SIGSTOP)
            try:
                site.kafka.grow(site.topic, partitions)
                for p in added:
                    site.produce(*hosts(f"added{p}-", 5), partition=p)
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
            for p in added:
                line = said_by(daemons, event="partition.started", partition=p)
                assert line["offset"] == 0
            joined(site, 2)
            acks.look()
            assert load.is_going()
    site.wait_drained()
    stop(daemons)
    acks.look()
    check_resolved(site)
    check_fences(site)
    assert {(p, o) for p in range(2, 6) for o in range(5)} <= site.saved().keys()
    assert site.rejected() == {}
    check_restarts(site)


def test_partitions_that_are_added_while_a_revoke_waits(site):
    """librdkafka does not wait for its answer then: the next assignment comes before it."""
    site.create_topic(2)
    first = site.start(
        instance="one",
        metrics={"textfile": str(site.folder / "one.prom")},
        kafka={"topic.metadata.refresh.interval.ms": "500"},
    )
    site.wait_joined()
    site.produce(*hosts("a"))
    site.wait_drained()
    watch = Watch(site)
    try:
        with site.database.locked_fences():
            for p in range(2):
                site.produce(*hosts(f"b{p}-", 5), partition=p)
            until(lambda: watch.batches("one"))
            second = start(site, "two")
            first.wait_for(event="kafka.revoked", msg=re.compile("revoked"))
            site.kafka.grow(site.topic, 4)
            second.wait_for(event="kafka.assigned")
            first.wait_for(event="kafka.revoked", msg=re.compile("lost"))
            assert watch.batches("one"), "nothing drained any more"
    finally:
        watch.close()
    for p in range(4):
        site.produce(*hosts(f"c{p}-", 5), partition=p)
    site.wait_drained()
    joined(site, 2)
    stop([first, second])
    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    check_restarts(site)


def test_a_topic_that_is_made_again_while_several_consume_it(site):
    other = site.topic + "-other"
    site.create_topic(2)
    site.kafka.create(other, 2)
    old = [*hosts("a", 5), *hosts("b", 7)]
    daemons = pair(site, consume={"topics": [site.topic, other]})
    site.produce(*hosts("a", 5), partition=0)
    site.produce(*hosts("b", 7), partition=1)
    site.wait_drained()
    owners = [d.find(event="partition.started", topic=site.topic) != [] for d in daemons]
    assert owners == [True, True], "one of them had it all"
    site.remake_topic(2)
    new = [*hosts("c", 3), *hosts("d", 4)]
    site.produce(*hosts("c", 3), partition=0)
    site.produce(*hosts("d", 4), partition=1)
    site.kafka.produce(other, [Record(request(f"o{p}.example.com"), partition=p) for p in range(2)])
    for partition, fence in enumerate([5, 7]):
        line = said_by(daemons, event="partition.stopped", topic=site.topic, partition=partition)
        assert "no commit, log from 0 to " in line["msg"]
        assert f"saved below {fence}." in line["msg"]
    until(lambda: site.kafka.committed(site.group, other) == {p: (1, "ackd") for p in range(2)})
    assert not set(new) & set(site.restarter.hosts())
    assert site.committed() == {}

    # One is decided on; the other one stays where it is.
    done = site.decide(1, "--new-topic")
    assert done.returncode == 0, done.stderr
    until(lambda: site.committed() == {1: 4})
    assert not set(hosts("c", 3)) & set(site.restarter.hosts())
    done = site.decide(0, "--new-topic")
    assert done.returncode == 0, done.stderr
    site.wait_drained()
    more = hosts("e")
    site.produce(*more)
    site.wait_drained()
    stop(daemons)
    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    found = site.restarter.hosts()
    # Those of the other topic may have been begun when the group lost this one, and are not repeated.
    others = ["o0.example.com", "o1.example.com"]
    assert sorted(found) == sorted(old + new + more + others)


def test_offsets_that_a_tool_moved_while_the_group_was_down(site):
    site.create_topic(4)
    first = {p: hosts(f"first{p}-", 10) for p in range(4)}
    second = {p: hosts(f"second{p}-", 5) for p in range(4)}
    for p, names in first.items():
        site.produce(*names, partition=p)
    daemons = pair(site)
    site.wait_drained()
    stop(daemons)
    for p, names in second.items():
        site.produce(*names, partition=p)
    for p, offset in {0: 12, 1: 3, 3: 40}.items():  # forward, back, beyond the end
        site.kafka.commit(site.group, site.topic, p, offset)

    daemons = pair(site)
    line = said_by(daemons, event="partition.skipped")
    assert (line["level"], line["partition"], line["offset"]) == ("warning", 0, 12)
    assert "moved the committed offset from 10 to 12: what lies between is skipped" in line["msg"]
    line = said_by(daemons, event="partition.stopped")
    assert line["partition"] == 3
    assert "(out_of_range)" in line["msg"]
    assert "committed 40, log from 0 to 15; PostgreSQL: saved below 10." in line["msg"]
    line = said_by(daemons, event="partition.started", partition=1)
    assert "reading from offset 3 (committed 3, saved below 10)" in line["msg"]
    until(lambda: site.committed() == {0: 15, 1: 15, 2: 15, 3: 40})
    done = site.decide(3, "--from", 10)
    assert done.returncode == 0, done.stderr
    site.wait_drained()
    stop(daemons)
    for skipped in [(0, 10), (0, 11)]:
        del site.produced[skipped]
    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    check_restarts(site)
    pids = {daemon.process.pid for daemon in daemons}
    again = {r.host for r in site.restarter.restarts() if r.daemon in pids}
    # Of partition 1 what is read again was restarted before: the ledger says so.
    assert again == {*second[0][2:], *second[1], *second[2], *second[3]}
    assert done_by_the_ledger(site, daemons) == len(first[1][3:])


# --- offsets with gaps --------------------------------------------------------------------------


def test_aborted_transactions_are_never_handled(site):
    """Nor does the watermark wait for them, or for the markers that end each transaction; what stands
    behind an open transaction is not read before it ends."""
    site.create_topic(2)
    daemons = pair(site)
    acks = Acks(site)
    aborted = []
    site.transact("commit", *hosts("a"))
    aborted += site.transact("abort", *hosts("aborted-a"))
    site.transact("commit", *hosts("b"))
    aborted += site.transact("leave", *hosts("aborted-b"))
    behind = hosts("behind")
    site.produce(*behind, partition=0)
    site.produce(*hosts("beside"), partition=1)
    until(lambda: restarted(site, [*hosts("a"), *hosts("b"), *hosts("beside")]))
    acks.look()
    assert not set(behind) & set(site.restarter.hosts())
    # The next one ends it.
    site.transact("commit", *hosts("c"), partition=1)
    until(lambda: restarted(site, [*behind, *hosts("c")]))
    aborted += site.transact("abort", *hosts("aborted-c"), partition=1)
    site.transact("commit", *hosts("d"))
    acks.look()

    readable = site.kafka.offsets(site.topic)
    assert {(p, o) for p in readable for o in readable[p]} == site.produced.keys()
    ends = site.kafka.ends(site.topic)
    assert len(aborted) == 60
    assert all(offset < ends[p][1] and offset not in readable[p] for p, offset in aborted)
    site.wait_drained()
    until(lambda: lags(daemons) == {0: 0, 1: 0})
    stop(daemons)
    check_resolved(site)
    check_fences(site)
    # All of it expires meanwhile: nothing that was not handled, so it goes on where it ended.
    for partition, (_, high) in site.kafka.ends(site.topic).items():
        site.kafka.trim(site.topic, partition, high)
    daemons = pair(site)
    site.produce(*hosts("e"))
    site.wait_drained()
    until(lambda: lags(daemons) == {0: 0, 1: 0})
    stop(daemons)
    for event in ("partition.went_back", "partition.stopped", "partition.skipped"):
        assert not [d for d in site.daemons() if d.find(event=event)]
    acks.look()
    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    check_restarts(site)


def test_a_compacted_topic(site):
    """What the cleaner took out before the daemon came to it is no loss; also when it is what the
    group's commit names."""
    site.create_topic(
        1,
        cleanup_policy="compact",
        segment_ms=100,
        min_cleanable_dirty_ratio=0.001,
        min_compaction_lag_ms=0,
    )
    clock = int(time.time() * 1000) - 600_000
    newest = {}  # key: (place, record)

    def produce(letter, keys):
        """A round, in a segment of its own: the record's times tell Kafka when to begin one."""
        nonlocal clock
        clock += 10_000
        records = [
            Record(request(f"{letter}{key}.example.com"), key=b"key%d" % key, partition=0, timestamp_ms=clock)
            for key in keys
        ]
        places = site.kafka.produce(site.topic, records)
        newest.update(zip(keys, zip(places, records)))
        return places

    def wait_cleaned():
        """Until the newest of each key is all that there is."""
        left = sorted(offset for (_, offset), _ in newest.values())
        until(lambda: site.kafka.offsets(site.topic) == {0: left}, 60, interval=0.2)
        site.produced.update(newest.values())
        return left

    for letter in "abc":
        produce(letter, range(10))
    produce("d", range(7))
    produce("roll", [100])
    produce("roll", [101])  # what is cleaned is never the segment that is written
    left = wait_cleaned()
    assert left[0] > 0 and len(left) < left[-1], "no gap"
    daemon = start(site, "one")
    site.wait_drained()
    until(lambda: lags([daemon]) == {0: 0})
    assert daemon.stop() == 0
    assert site.saved().keys() == site.produced.keys()
    check_fences(site)

    end = site.committed()[0]
    first = produce("e", range(10))
    assert first[0] == (0, end)
    produce("f", range(10))
    produce("roll", [102])
    produce("roll", [103])
    before = dict(site.produced)
    left = wait_cleaned()
    assert end not in left, "what is committed is still there"
    daemon = start(site, "two")
    site.wait_drained()
    until(lambda: lags([daemon]) == {0: 0})
    assert daemon.stop() == 0
    assert site.produced.keys() - before.keys(), "nothing was new"
    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    check_restarts(site)
