"""The main job: consume, save, restart, ack."""

import re

from harness import until
from harness.chaos import MORTAL
from harness.kafka import Record
from harness.oracle import check_fences, check_resolved, check_restarts, ledger, unknown
from harness.site import request


def test_every_message_of_100000_is_saved_restarted_and_acked_once(site):
    hosts = [f"node{i}.example.com" for i in range(2000)]
    site.create_topic(6)
    site.produce(
        *(
            Record(request(hosts[i % 2000], id=i), key=b"k%d" % i, partition=i % 6)
            for i in range(100_000)
        )
    )
    daemon = site.start(log={"level": "info"}, handlers={"restart-host": {"concurrency": 32}})
    site.wait_drained(200)
    assert daemon.stop() == 0

    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    restarted = site.restarter.hosts()
    assert set(restarted) == set(hosts)
    # Requests for one host that wait share a restart; what came before one that is done needs none.
    assert len(restarted) < 50_000
    found = check_restarts(site)
    assert found["done"] - found.get("shared", 0) == len(restarted)
    assert found["done"] + found.get("suppressed", 0) == 100_000
    metrics = daemon.metrics()
    assert metrics[f'ackd_messages_received_total{{topic="{site.topic}"}}'] == 100_000
    assert metrics['ackd_messages_finished_total{result="accepted"}'] == 100_000
    assert metrics["ackd_in_flight_messages"] == 0


def test_a_long_restart_holds_up_no_other_host(site):
    slow = site.restarter.hold("hold-1.example.com")
    others = [f"n{i}.example.com" for i in range(300)]
    site.create_topic(2)
    [first, *_] = site.produce(slow, *others[:200], partition=0)
    site.produce(*others[200:], partition=1)
    daemon = site.start()
    until(lambda: set(site.restarter.hosts()) == {slow, *others})
    until(lambda: len(site.saved()) == 301)
    until(lambda: site.committed().get(1) == 100)

    # Nothing unfinished is below the watermark, and nothing that finished behind it is committed.
    assert first == (0, 0)
    assert site.committed()[0] == 0
    assert len(site.restarter.running()) == 1

    site.restarter.release(slow)
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    assert sorted(site.restarter.hosts()) == sorted([slow, *others])


def test_requests_that_wait_for_one_host_share_a_restart(site):
    slow = site.restarter.hold("hold-1.example.com")
    site.create_topic()
    site.produce(slow)
    daemon = site.start()
    until(site.restarter.running)
    # In any spelling; these come while it runs, so one more restart is due, and only one.
    site.produce(slow, "HOLD-1.example.com", "hold-1.EXAMPLE.com.", slow)
    until(lambda: len(site.saved()) == 5)
    site.restarter.release(slow)
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.restarter.hosts() == [slow, slow]
    assert {host for host, _ in site.saved().values()} == {slow}
    rows = sorted(ledger(site), key=lambda row: row.place)
    assert {row.state for row in rows} == {"done"}
    second = rows[1].id
    assert [row.shared_with for row in rows] == [None, None, second, second, second]


def test_hosts_that_are_not_allowed_never_reach_the_command(site):
    site.create_topic()
    site.produce("a.prod.example.com", "b.test.example.com", "db.prod.example.com", "A.PROD.Example.com.")
    daemon = site.start(
        handlers={"restart-host": {"allow": ["*.prod.example.com"], "deny": ["db.*"]}}
    )
    site.wait_drained()
    assert daemon.stop() == 0
    assert set(site.restarter.hosts()) == {"a.prod.example.com"}
    rejected = site.rejected()
    assert rejected.keys() == {(0, 1), (0, 2)}
    assert {row["handler"] for row in rejected.values()} == {"restart-host"}
    check_resolved(site)


def test_a_command_that_fails_is_tried_again_and_then_rejected(site):
    site.create_topic()
    site.produce("exit3-a.example.com", "fine.example.com")
    daemon = site.start(retry={"attempts": 3})
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.restarter.hosts().count("exit3-a.example.com") == 3
    assert site.restarter.hosts().count("fine.example.com") == 1
    [row] = site.rejected().values()
    assert row["host"] == "exit3-a.example.com"
    assert row["handler"] == "restart-host"
    assert row["attempts"] == 3
    assert row["handlers_done"] == ["save"]
    assert row["reason"] == "failed"
    assert row["detail"] == "exit status 3"
    assert row["value"] == site.produced[(0, 0)].value  # it had been let go while it waited
    [line] = daemon.find(event="message.rejected")
    assert (line["host"], line["handler"], line["attempt"]) == ("exit3-a.example.com", "restart-host", 3)
    check_resolved(site)


def test_a_command_that_outlives_its_timeout_is_ended_and_unknown(site):
    site.create_topic()
    site.produce("stubborn-1.example.com", "fine.example.com")
    daemon = site.start(handlers={"restart-host": {"exec": {"timeout": "1s", "kill_after": "1s"}}})
    site.wait_drained()
    assert site.restarter.running() == []
    assert daemon.stop() == 0
    # on_unknown: reject is the default: what perhaps had an effect is not repeated.
    assert site.restarter.hosts().count("stubborn-1.example.com") == 1
    [row] = site.rejected().values()
    assert (row["host"], row["reason"]) == ("stubborn-1.example.com", "unknown")
    assert {row.host: row.state for row in ledger(site)} == {
        "stubborn-1.example.com": "unknown",
        "fine.example.com": "done",
    }
    check_resolved(site)


def test_a_command_that_floods_its_output_is_bounded_and_done(site):
    site.create_topic()
    site.produce("flood-1.example.com")
    daemon = site.start()
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.rejected() == {}


def test_dry_run_says_what_it_would_do_and_does_nothing(site):
    site.create_topic()
    site.produce("a.example.com")
    daemon = site.start(handlers={"restart-host": {"action": "dry-run", "exec": None}})
    site.wait_drained()
    assert daemon.find(host="a.example.com", msg=re.compile("would"))
    assert daemon.stop() == 0
    assert site.restarter.restarts() == []
    assert ledger(site) == []
    check_resolved(site)


def test_without_save_the_fence_moves_all_the_same(site):
    site.create_topic(2)
    site.produce(*(f"n{i}.example.com" for i in range(50)), b"not json")
    daemon = site.start(handlers={"save": None})
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.saved() == {}
    assert len(site.rejected()) == 1
    assert len(site.restarter.hosts()) == 50
    assert [row.state for row in ledger(site)] == 50 * ["done"]
    check_fences(site)


def test_save_alone(site):
    site.create_topic(2)
    site.produce(*(f"n{i}.example.com" for i in range(50)))
    daemon = site.start(handlers={"restart-host": None})
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    assert site.restarter.restarts() == []


def test_a_crash_loses_nothing_and_does_nothing_twice(site):
    """What ran at the kill is unknown, and rejected; nothing else of what was delivered again is
    restarted again."""
    site.create_topic(3)
    site.produce(*(f"n{i}.example.com" for i in range(3000)))
    for least in (500, 1500):
        daemon = site.start(**MORTAL)
        # The group waits for the session of a dead member.
        until(lambda least=least: len(site.restarter.restarts()) > least, 60)
        daemon.kill()
    daemon = site.start(**MORTAL)
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_fences(site)
    found = check_restarts(site)
    lost = unknown(site)
    assert lost.keys() == site.rejected().keys()
    assert 0 < len(lost) <= 2 * 16  # as many as ran at once
    assert found["done"] + len(lost) == 3000
    assert 3000 - len(lost) <= len(site.restarter.hosts()) <= 3000


def test_what_was_rejected_before_a_crash_is_not_handled_again(site):
    site.create_topic(1)
    pin = site.restarter.hold("hold-1.example.com")
    site.produce(pin, "exit3-a.example.com", "fine.example.com")
    daemon = site.start(retry={"attempts": 2}, **MORTAL)
    until(lambda: site.rejected())
    assert site.committed() in ({}, {0: 0})  # the first one pins it
    daemon.kill()
    site.restarter.release(pin)
    daemon = site.start(retry={"attempts": 2}, **MORTAL)
    site.wait_drained()
    assert daemon.stop() == 0
    hosts = ["exit3-a.example.com", "exit3-a.example.com", "fine.example.com", pin]
    assert sorted(site.restarter.hosts()) == hosts
    reasons = {place: row["reason"] for place, row in site.rejected().items()}
    assert reasons == {(0, 0): "unknown", (0, 1): "failed"}  # the first one ran at the kill
    check_resolved(site)
    check_restarts(site)


def test_daemons_share_the_partitions_and_hand_them_over(site):
    site.create_topic(6)
    site.produce(*(f"n{i}.example.com" for i in range(2000)))
    first = site.start(instance="one")
    until(lambda: len(site.restarter.restarts()) > 100)
    second = site.start(
        instance="two", metrics={"textfile": str(site.folder / "two.prom")}
    )
    site.wait_joined(2)
    site.produce(*(f"m{i}.example.com" for i in range(2000)))
    until(lambda: sum(h[0] == "m" for h in site.restarter.hosts()) > 100)
    assert first.stop() == 0
    site.produce(*(f"o{i}.example.com" for i in range(500)))
    site.wait_drained()
    assert second.stop() == 0
    check_resolved(site)
    check_fences(site)
    check_restarts(site)
    assert len(site.restarter.hosts()) == len(set(site.restarter.hosts())) == 4500


def test_what_is_done_is_committed_before_it_is_handed_over(site):
    """Between two commits a minute apart: the next owner repeats nothing of what the first finished."""
    site.create_topic(6)
    slow = {"commit_interval": "1m"}
    first = site.start(instance="one", consume=slow)
    first.wait_for(event="partition.started")
    site.produce(*(f"n{i}.example.com" for i in range(300)))
    accepted = 'ackd_messages_finished_total{result="accepted"}'
    until(lambda: first.metrics().get(accepted) == 300)
    second = site.start(
        instance="two", consume=slow, metrics={"textfile": str(site.folder / "two.prom")}
    )
    second.wait_for(event="partition.started", timeout=60)
    assert first.stop() == 0
    assert second.stop() == 0
    assert len(site.restarter.restarts()) == 300
    check_resolved(site)
    check_restarts(site)


def test_a_restart_under_way_when_its_partition_moves_is_said(site):
    """It goes on where it is, and the next owner learns from the ledger how it ended."""
    slow = [site.restarter.hold(f"hold-{i}.example.com") for i in range(2)]
    site.create_topic(2)
    for partition, host in enumerate(slow):
        site.produce(host, host, partition=partition)
    first = site.start()
    until(lambda: len(site.restarter.running()) == 2)
    second = site.start()
    line = first.wait_for(event="kafka.revoked")
    moved = 2 if line["msg"].startswith("2 ") else 1  # as the protocol wants it
    what = {
        1: "1 restart under way goes on here, and the ledger tells the next owner how it ends",
        2: "2 restarts under way go on here, and the ledger tells the next owner how they end",
    }
    assert what[moved] in line["msg"]
    assert line["level"] == "info"
    for host in slow:
        site.restarter.release(host)
    site.wait_drained()
    assert first.stop() == 0
    # What leaving gives back was committed before.
    last = first.find(event="kafka.revoked")[-1]
    assert last["level"] == "info" and last["msg"].endswith("this member leaves the group")
    assert second.stop() == 0
    check_resolved(site)
    check_restarts(site)
    # The second request for each was there before its restart.
    assert sorted(site.restarter.hosts()) == slow


def test_a_new_group_commits_where_it_begins(site):
    site.create_topic(3)
    site.produce("a.example.com", partition=1)
    site.start(consume={"start": "latest"}).wait_for(event="partition.started")
    until(lambda: len(site.committed()) == 3)
    assert site.committed() == {0: 0, 1: 1, 2: 0}
    site.produce("b.example.com", partition=1)
    site.wait_drained()
    assert site.restarter.hosts() == ["b.example.com"]


def test_a_commit_without_a_row_of_ours_is_where_it_begins(site):
    site.create_topic()
    site.produce(*(f"n{i}.example.com" for i in range(10)))
    site.kafka.commit(site.group, site.topic, 0, 4, "an operator's tool")
    daemon = site.start()
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.restarter.hosts() and set(site.restarter.hosts()) == {
        f"n{i}.example.com" for i in range(4, 10)
    }


def test_what_an_operator_skipped_is_skipped(site):
    site.create_topic()
    site.produce("a.example.com", "b.example.com")
    daemon = site.start()
    site.wait_drained()
    assert daemon.stop() == 0
    site.produce("c.example.com", "d.example.com", "e.example.com")
    site.kafka.commit(site.group, site.topic, 0, 4)
    daemon = site.start()
    site.wait_drained()
    assert daemon.stop() == 0
    assert sorted(site.restarter.hosts()) == ["a.example.com", "b.example.com", "e.example.com"]
    assert site.saved().keys() == {(0, 0), (0, 1), (0, 4)}
    check_fences(site)


def test_what_was_done_is_not_done_again_when_offsets_go_back(site):
    site.create_topic()
    site.produce(*(f"n{i}.example.com" for i in range(10)))
    daemon = site.start()
    site.wait_drained()
    assert daemon.stop() == 0
    site.kafka.commit(site.group, site.topic, 0, 3, "ackd")
    daemon = site.start()
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_restarts(site)
    assert len(site.restarter.hosts()) == 10


def test_a_topic_that_was_made_again_stops_the_partition(site):
    site.create_topic()
    site.produce("a.example.com", "b.example.com", "c.example.com")
    daemon = site.start()
    site.wait_drained()
    assert daemon.stop() == 0
    site.kafka.delete(site.topic)
    site.create_topic()
    site.kafka.produce(site.topic, [Record(request("d.example.com"))])
    daemon = site.start()
    line = daemon.wait_for(event="partition.stopped", topic=site.topic, partition=0)
    assert line["level"] == "error"
    assert daemon.stop() == 0
    assert "d.example.com" not in site.restarter.hosts()
    assert site.committed() == {}


def test_the_topic_can_come_later(site):
    daemon = site.start(kafka={"topic.metadata.refresh.interval.ms": "1000"})
    daemon.wait_for(event="kafka.error", level="warning", msg=re.compile("waiting until it exists"))
    site.create_topic()
    site.produce("a.example.com")
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)


def test_the_schema_can_come_later(site):
    site.create_topic()
    site.produce("a.example.com")
    daemon = site.start(init=False)
    daemon.wait_for(msg=re.compile("init-db"))
    assert daemon.is_alive()
    site.init_db()
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
