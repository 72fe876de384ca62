"""Each limit holds back what it must, is said with its reason, and ends by itself."""

import pytest
from harness import until
from harness.kafka import Record
from harness.oracle import check_fences, check_resolved, check_restarts
from harness.site import request

KIB = 1024


def paused(daemon, reason):
    return daemon.metrics().get(f'ackd_paused_partitions{{reason="{reason}"}}')


def finish(site, daemon, n):
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_fences(site)
    assert len(site.saved()) == n
    check_restarts(site)
    assert set(site.restarter.hosts()) == {"hold-0.example.com"} | {
        f"h{i}.example.com" for i in range(1, n)
    }


def produce(site, n, **fields):
    """n requests, the first of which is held."""
    held = site.restarter.hold("hold-0.example.com")
    names = [held, *(f"h{i}.example.com" for i in range(1, n))]
    site.produce(*(Record(request(host, **fields), partition=0) for host in names))
    return held


def test_in_flight(site):
    site.create_topic(1)
    daemon = site.start(limits={"in_flight": 20})
    site.wait_joined()
    site.produce("h0.example.com")
    site.wait_drained()
    with site.database.locked_fences():
        held = produce(site, 100)
        until(lambda: paused(daemon, "in_flight") == 1)
        assert daemon.metrics()["ackd_in_flight_messages"] == 20
    site.restarter.release(held)
    site.wait_drained()
    until(lambda: paused(daemon, "in_flight") == 0)
    assert daemon.stop() == 0
    check_resolved(site)


def test_in_flight_bytes(site):
    site.create_topic(1)
    daemon = site.start(limits={"in_flight_bytes": "64KiB", "message_bytes": "32KiB"}, handlers={"restart-host": None})
    site.wait_joined()
    site.produce("h0.example.com")
    site.wait_drained()
    with site.database.locked_fences():
        site.produce(*(request(f"h{i}.example.com", pad="x" * 4 * KIB) for i in range(1, 100)))
        until(lambda: paused(daemon, "in_flight_bytes") == 1)
        # The one that reaches it is the last.
        assert 64 * KIB <= daemon.metrics()["ackd_in_flight_bytes"] < 69 * KIB
    site.wait_drained()
    until(lambda: paused(daemon, "in_flight_bytes") == 0)
    assert daemon.stop() == 0
    check_resolved(site)


@pytest.mark.parametrize(
    "limits,gauge,most",
    [
        # What waited, saved, and is restarted now counts again: `concurrency` of them on top.
        ({"in_flight": 10}, "ackd_in_flight_messages", 10 + 16),
        # It is looked at before a message is taken, so the last one comes on top.
        (
            {"in_flight_bytes": "64KiB", "message_bytes": "32KiB"},
            "ackd_in_flight_bytes",
            64 * KIB + 9000,
        ),
    ],
    ids=["in_flight", "in_flight_bytes"],
)
def test_the_gauge_is_never_above(site, limits, gauge, most):
    """In the whole run, and not only while something holds it up."""
    site.create_topic(2)
    site.produce(*(request(f"n{i}.example.com", pad="x" * 8000) for i in range(500)))
    daemon = site.start(limits=limits, postgres={"batch_rows": 3})
    seen = set()

    def is_drained():
        seen.add(daemon.metrics().get(gauge, 0))
        return site.is_drained()

    until(is_drained, 60)
    assert 0 < max(seen) <= most
    assert daemon.stop() == 0
    check_resolved(site)
    assert set(site.restarter.hosts()) == {f"n{i}.example.com" for i in range(500)}


def test_waiting(site):
    """What is saved and waits for a slot is no longer in flight, but has a limit of its own."""
    site.create_topic(1)
    handlers = {"restart-host": {"concurrency": 1}}
    daemon = site.start(limits={"waiting": 50}, handlers=handlers, postgres={"batch_rows": 10})
    held = produce(site, 300)
    line = daemon.wait_for(event="intake.paused")
    assert "limits.waiting (50) is reached" in line["msg"]
    assert "goes on by itself" in line["msg"]
    until(lambda: paused(daemon, "waiting") == 1)
    metrics = daemon.metrics()
    assert 50 <= metrics["ackd_waiting_messages"] < 300
    assert metrics["ackd_in_flight_messages"] <= 10
    site.restarter.release(held)
    daemon.wait_for(event="intake.resumed")
    finish(site, daemon, 300)


def test_retries_leave_room_for_others(site):
    """With half of limits.waiting full of what failed nothing fresh starts, but everything is saved."""
    site.create_topic(1)
    daemon = site.start(
        limits={"waiting": 40},
        retry={"attempts": 2, "backoff": "2s", "backoff_max": "2s"},
    )
    bad = [f"exit3-{i}.example.com" for i in range(100)]
    good = [f"h{i}.example.com" for i in range(20)]
    site.produce(*bad, *good)
    line = daemon.wait_for(event="retries.crowd")
    assert "no other restart starts" in line["msg"]
    site.wait_drained(90)
    daemon.wait_for(event="retries.thin")
    assert daemon.stop() == 0
    check_resolved(site)
    assert {row["attempts"] for row in site.rejected().values()} == {2}
    assert len(site.rejected()) == 100
    hosts = site.restarter.hosts()
    assert all(hosts.count(host) == 1 for host in good)
    assert all(hosts.count(host) == 2 for host in bad)


def batches(site, daemon):
    """(how many, of at most `le` rows: how many)"""
    metrics = daemon.metrics()
    buckets = {
        float(name.split('"')[1]): count
        for name, count in metrics.items()
        if name.startswith("ackd_save_batch_rows_bucket")
    }
    return metrics["ackd_save_batch_rows_count"], buckets


def test_batch_rows(site):
    site.create_topic(1)
    daemon = site.start(postgres={"batch_rows": 10, "connections": 1}, handlers={"restart-host": None})
    site.produce(*(f"h{i}.example.com" for i in range(500)))
    site.wait_drained()
    assert daemon.stop() == 0
    n, buckets = batches(site, daemon)
    assert n >= 50
    assert buckets[10.0] == n
    check_resolved(site)


def test_batch_bytes(site):
    """A batch ends with the row that reaches it."""
    site.create_topic(1)
    daemon = site.start(
        postgres={"batch_bytes": "64KiB", "connections": 1}, handlers={"restart-host": None}
    )
    site.produce(*(request(f"h{i}.example.com", pad="x" * 16 * KIB) for i in range(100)))
    site.wait_drained()
    assert daemon.stop() == 0
    n, buckets = batches(site, daemon)
    assert n >= 25
    assert buckets[5.0] == n
    check_resolved(site)


def test_batch_bytes_of_small_rows(site):
    """What a row takes besides its payload counts as well."""
    site.create_topic(1)
    daemon = site.start(
        postgres={"batch_bytes": "64KiB", "connections": 1}, handlers={"restart-host": None}
    )
    site.produce(*(request(f"h{i}.example.com", pad="x" * KIB) for i in range(2000)))
    site.wait_drained()
    assert daemon.stop() == 0
    n, _ = batches(site, daemon)
    rows = daemon.metrics()["ackd_save_batch_rows_sum"]
    assert rows == 2000
    assert n >= 2000 / 65
    check_resolved(site)
