"""The nine steps, in every state."""

import os
import re
import signal
import socket
import time

import pytest
from harness import until
from harness.daemon import STEPS
from harness.oracle import check_resolved, check_restarts, ledger

SIGNALS = [signal.SIGHUP, signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def refused():
    """A port that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def black_hole():
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_each_signal_runs_the_nine_steps_in_order(site, number):
    site.create_topic()
    site.produce("a.example.com")
    daemon = site.start()
    site.wait_drained()
    until(lambda: daemon.metrics().get("ackd_kafka_up") == daemon.metrics().get("ackd_postgres_up") == 1)
    assert daemon.stop(number) == 0
    assert daemon.steps() == STEPS
    [line] = daemon.find(event="shutdown.signal")
    assert number.name in line["msg"]
    assert str(os.getpid()) in line["msg"]
    assert ("does not reload" in line["msg"]) == (number == signal.SIGHUP)
    assert all(line["msg"].startswith(f"shutdown: {step}: ") for step, line in zip(
        STEPS, daemon.find(event=re.compile(r"^shutdown\."))
    ))
    metrics = daemon.metrics()
    assert metrics['ackd_messages_finished_total{result="accepted"}'] == 1
    # The file stays: what is not looked at any more must raise no alarm.
    assert not {"ackd_kafka_up", "ackd_postgres_up"} & metrics.keys()
    assert site.kafka.group(site.group) == ("Empty", 0)


def test_work_in_flight_is_released_and_the_next_start_finishes_it(site):
    slow = site.restarter.hold("hold-1.example.com")
    others = [f"n{i}.example.com" for i in range(20)]
    site.create_topic()
    site.produce(slow, *others)
    daemon = site.start(handlers={"restart-host": {"concurrency": 1}})
    until(site.restarter.running)
    until(lambda: len(site.saved()) == 21)
    daemon.send(signal.SIGTERM)
    daemon.wait_for(event="shutdown.intake")
    # What runs may end within the grace; what has not started never starts.
    site.restarter.release(slow)
    assert daemon.wait_exit() == 0
    assert daemon.steps() == STEPS
    assert site.restarter.hosts() == [slow]
    assert site.committed() == {0: 1}
    assert daemon.metrics()['ackd_messages_finished_total{result="released"}'] == 20

    daemon = site.start()
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_restarts(site)
    assert sorted(site.restarter.hosts()) == sorted([slow, *others])


def test_a_command_that_outlives_the_grace_is_killed_and_its_message_released(site):
    site.restarter.hold("hold-1.example.com")
    site.create_topic()
    site.produce("stubborn-1.example.com", "hold-1.example.com", "n1.example.com")
    retry = {"restart-host": {"on_unknown": "retry"}}
    daemon = site.start(shutdown={"grace": "3s"}, handlers=retry)
    until(lambda: len(site.restarter.running()) == 2 and len(site.saved()) == 3)
    began = time.monotonic()
    assert daemon.stop() == 75
    assert 2 < time.monotonic() - began < 9
    assert daemon.steps() == STEPS
    assert site.restarter.running() == []
    assert site.committed() == {0: 0}
    assert site.rejected() == {}
    [line] = daemon.find(event="shutdown.commit")
    # Nothing of it is repeated, so it is no warning.
    assert line["level"] == "info"
    assert "1 finished behind an unfinished one: uncommitted and delivered again" in line["msg"]
    assert "what is done of them is known" in line["msg"]

    site.restarter.release("hold-1.example.com")
    daemon = site.start(shutdown={"grace": "3s"}, handlers=retry)
    until(lambda: site.restarter.hosts().count("hold-1.example.com") == 2)
    until(lambda: site.restarter.hosts().count("stubborn-1.example.com") == 2)
    # The two that were killed are unknown, and tried again for that; the third one was done.
    assert site.restarter.hosts().count("n1.example.com") == 1
    first = {row.host: row.state for row in ledger(site) if row.attempt == 1}
    assert [first[host] for host in sorted(first)] == ["unknown", "done", "unknown"]


def test_a_second_signal_ends_the_grace(site):
    site.create_topic()
    site.produce("stubborn-1.example.com")
    daemon = site.start(shutdown={"grace": "60s"})
    until(lambda: site.restarter.running() and site.saved())
    daemon.send(signal.SIGTERM)
    daemon.wait_for(event="shutdown.intake")
    time.sleep(1.1)  # sooner it would count as the same one
    daemon.send(signal.SIGHUP)  # never counts as the second
    daemon.wait_for(event="shutdown.signal_again")
    assert daemon.is_alive()
    assert daemon.stop(timeout=10) == 75
    assert daemon.steps() == STEPS
    assert site.restarter.running() == []


def test_the_first_sigterm_after_a_sighup_is_the_second_signal(site):
    site.create_topic()
    site.produce("stubborn-1.example.com")
    daemon = site.start(shutdown={"grace": "60s"})
    until(lambda: site.restarter.running() and site.saved())
    daemon.send(signal.SIGHUP)
    grace = daemon.wait_for(event="shutdown.grace")
    assert "a SIGTERM or SIGINT that comes 1 s after the first signal or later ends them" in grace["msg"]
    daemon.send(signal.SIGTERM)
    line = daemon.wait_for(event="shutdown.signal_again")
    assert "within 1 s of the first signal it counts as the same: send it again" in line["msg"]

    def is_over():
        daemon.send(signal.SIGTERM)
        return daemon.find(event="shutdown.hurried")

    until(is_over, interval=0.2)
    assert daemon.wait_exit(10) == 75
    assert daemon.steps() == STEPS


@pytest.mark.parametrize("where", ["refused", "black_hole"])
def test_before_kafka_can_be_reached(site, where, request):
    port = request.getfixturevalue(where)
    daemon = site.start(kafka={"bootstrap.servers": f"127.0.0.1:{port}"})
    until(lambda: daemon.lines)
    assert daemon.stop(timeout=15) == 0
    assert daemon.steps() == STEPS


@pytest.mark.parametrize("where", ["refused", "black_hole"])
def test_before_postgres_can_be_reached(site, where, request):
    port = request.getfixturevalue(where)
    site.create_topic()
    daemon = site.start(
        init=False, postgres={"dsn": f"host=127.0.0.1 port={port} user=x dbname=x"}
    )
    until(lambda: daemon.lines)
    assert daemon.stop(timeout=15) == 0
    assert daemon.steps() == STEPS


def test_while_joining(site):
    site.create_topic()
    other = site.kafka.silent_member(site.group, site.topic)
    try:
        daemon = site.start()
        until(lambda: site.kafka.group(site.group) == ("PreparingRebalance", 2))
        assert daemon.stop(timeout=15) == 0
        assert daemon.steps() == STEPS
    finally:
        other.kill()
        other.communicate()


@pytest.mark.parametrize("lets_go", [True, False], ids=["it ends", "it hangs"])
def test_with_a_batch_at_the_database(site, lets_go):
    site.create_topic()
    site.produce("a.example.com")
    daemon = site.start(shutdown={"grace": "3s"})
    site.wait_drained()
    with site.database.locked_fences():
        site.produce("b.example.com")
        until(site.database.waits_for_a_lock)
        # A restart that had not begun would be given back.
        until(lambda: site.database.value("SELECT count(*) FROM restarts WHERE state = 'done'") == 2)
        daemon.send(signal.SIGTERM)
        daemon.wait_for(event="shutdown.intake")
        if not lets_go:
            # Nothing ran that could not be taken back, and what is committed is confirmed.
            assert daemon.wait_exit(15) == 0
    if lets_go:
        assert daemon.wait_exit(15) == 0
        assert site.is_drained()
    assert daemon.steps() == STEPS

    daemon = site.start()
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)


def test_in_the_middle_of_a_flood(site):
    site.create_topic(6)
    n = 6000  # each is committed twice in the ledger, which a busy disk does 100 times a second
    site.produce(*(f"n{i}.example.com" for i in range(n)))
    for number in SIGNALS:
        daemon = site.start(log={"level": "info"})
        started = len(site.restarter.restarts())
        until(lambda started=started: len(site.restarter.restarts()) > started + 200)
        assert daemon.stop(number) == 0
        assert daemon.steps() == STEPS
    daemon = site.start(log={"level": "info"})
    site.wait_drained(120)
    assert daemon.stop() == 0
    check_resolved(site)
    # What ran was waited for; what ended beyond the watermark is delivered again, and is done.
    check_restarts(site)
    hosts = site.restarter.hosts()
    assert len(hosts) == len(set(hosts)) == n
