"""Requests that lay in the topic for long: who is too old restarts nobody, and is acked all the same."""

import time
from datetime import datetime, timezone

import pytest
from harness import until
from harness.kafka import Record
from harness.oracle import check_fences, check_resolved
from harness.site import request
from harness.zone import use_zone

MINUTE, HOUR = 60, 3600
WAITING = 'ackd_restarts_waiting{reason="window"}'
STALE = 'ackd_restarts_suppressed_total{reason="stale"}'
FAST_GROUP = {"session.timeout.ms": "2000", "heartbeat.interval.ms": "300"}


PARTITIONS = 4


def asks(number, host, requested=None, produced=None):
    """A request of so many seconds ago, as its requested_at says (None: it has none) and as Kafka's
    timestamp does (None: it is produced now)."""
    now = time.time()
    fields = {}
    if requested is not None:
        fields["requested_at"] = datetime.fromtimestamp(now - requested, timezone.utc).isoformat()
    return Record(
        request(host, **fields),
        partition=number % PARTITIONS,
        timestamp_ms=0 if produced is None else int((now - produced) * 1000),
    )


def start_pair(site, restart_host):
    return [
        site.start(
            instance=name,
            kafka=FAST_GROUP,
            metrics={"textfile": str(site.folder / f"{name}.prom")},
            handlers={"restart-host": restart_host},
        )
        for name in ("one", "two")
    ]


def ledger(site):
    """host: (state, reason) of each message"""
    rows = site.database.rows("SELECT host, state, reason FROM restarts WHERE state <> 'not_started'")
    result = {host: (state, reason) for host, state, reason in rows}
    assert len(result) == len(rows), f"a host has two rows: {rows}"
    return result


def summed(daemons, name):
    return sum(daemon.metrics().get(name, 0) for daemon in daemons)


def finish(site, daemons, fresh, stale):
    """Those that are fresh have been restarted, those that are stale not; all are saved and acked."""
    site.wait_drained()
    found = ledger(site)
    assert found == {host: ("done", None) for host in fresh} | {
        host: ("suppressed", "stale") for host in stale
    }
    assert sorted(site.restarter.hosts()) == sorted(fresh)
    assert not site.rejected()
    assert len(site.saved()) == len(fresh) + len(stale)
    assert [daemon.stop() for daemon in daemons] == [0] * len(daemons)
    check_resolved(site)
    check_fences(site)


# A weekend's: by the message, by Kafka, by both, and by only one of them. The older one counts.
OLD = [
    {"requested": 61 * MINUTE},
    {"requested": 60 * HOUR},
    {"requested": 60 * HOUR, "produced": 60 * HOUR},
    {"produced": 61 * MINUTE},
    {"produced": 40 * HOUR},
    {"requested": 10 * MINUTE, "produced": 2 * HOUR},
    {"requested": 2 * HOUR, "produced": 10 * MINUTE},
]
YOUNG = [
    {},
    {"requested": 0},
    {"requested": 50 * MINUTE},
    {"produced": 50 * MINUTE},
    {"requested": 30 * MINUTE, "produced": 20 * MINUTE},
    {"requested": -10 * MINUTE, "produced": 1 * MINUTE},  # a clock that goes wrong: Kafka's counts
]


def test_a_monday_start_restarts_nobody_who_asked_on_saturday(site):
    site.create_topic(PARTITIONS)
    records, stale, fresh = [], [], []
    for number in range(8):
        for ages, hosts, word in ((OLD, stale, "old"), (YOUNG, fresh, "young")):
            for kind, age in enumerate(ages):
                hosts.append(f"{word}{kind}-{number}.example.com")
                records.append(asks(number, hosts[-1], **age))
    site.produce(*records)
    # Slow enough for the second one to join while there is work left.
    argv = site.restarter.argv("-", "300")
    daemons = start_pair(site, {"max_age": "1h", "concurrency": 2, "exec": {"argv": argv}})
    site.wait_drained()
    until(lambda: summed(daemons, STALE) == len(stale))
    assert all(daemon.find(event="restart.done") for daemon in daemons), "one had all the work"
    finish(site, daemons, fresh, stale)


@pytest.mark.parametrize("dies", [False, True], ids=["in_one_life", "at_a_new_owner"])
def test_who_waited_for_a_window_does_not_become_stale(site, monkeypatch, dies):
    """What counts is how old it was when it was received first, by whomever."""
    max_age = 12
    site.create_topic(PARTITIONS)
    opens = int(time.time()) + 30
    restart_host = {
        "max_age": f"{max_age}s",
        "max_wait": "1d",
        "windows": use_zone(site, monkeypatch, opens),
    }
    daemons = start_pair(site, restart_host)
    for daemon in daemons:
        daemon.wait_for(event="windows.shut")
    site.wait_joined(2)
    until(lambda: site.database.value("SELECT count(*) FROM partitions") == PARTITIONS)
    fresh = [f"young{i}.example.com" for i in range(20)]
    stale = [f"old{i}.example.com" for i in range(20)]
    began = time.time()
    site.produce(
        *(asks(i, host, requested=1) for i, host in enumerate(fresh)),
        *(asks(i, host, requested=max_age + 1) for i, host in enumerate(stale[:10])),
        *(asks(i, host, produced=HOUR) for i, host in enumerate(stale[10:])),
    )
    until(lambda: len(site.saved()) == 40)
    until(lambda: summed(daemons, WAITING) == 40)
    assert all(daemon.metrics()[WAITING] for daemon in daemons), "one has them all"
    if dies:
        daemons[0].kill()
        until(lambda: daemons[1].metrics().get(WAITING) == 40, 15)
        daemons = daemons[1:]
    assert time.time() < opens and not ledger(site) and not site.restarter.hosts()
    assert opens - began + 1 > max_age  # all of them are older than that by then
    daemons[0].wait_for(event="windows.open", timeout=60)
    finish(site, daemons, fresh, stale)
    assert all(opens <= one.time_us / 1e6 for one in site.restarter.restarts())
