"""Where Kafka and PostgreSQL disagree about a partition, and what the operator can do about it.

A test a row of the design's table of assignments. What is set back in PostgreSQL is set back as a
restore does it: the fence, and the rows above it.
"""

import re

import pytest
from harness import until
from harness.kafka import Record
from harness.oracle import check_fences, check_resolved, check_restarts, ledger
from harness.site import request

NODES = [f"n{i}.example.com" for i in range(100)]


def stopped(daemon, reason, committed, low, high, fence, partition=0):
    """Waits until the partition stops for this reason; the line has the numbers of both sides, and
    what can be done. committed None: there is no commit."""
    line = daemon.wait_for(event="partition.stopped", partition=partition)
    assert line["level"] == "error"
    assert f"({reason})" in line["msg"]
    commit = "no commit" if committed is None else f"committed {committed}"
    assert f"Kafka: {commit}, log from {low} to {high};" in line["msg"]
    # Whatever was refused is not advised.
    options = "--new-topic" if high < fence else "--from OFFSET (or --new-topic)"
    assert f"/{partition} {options} --why TEXT" in line["msg"]
    assert f"saved below {fence}." in line["msg"]


def lag(site, daemon, partition=0):
    """None: nobody knows, so there is no series."""
    labels = f'{{topic="{site.topic}",partition="{partition}"}}'
    return daemon.metrics().get("ackd_partition_lag" + labels)


def decided(site, *options, partition=0):
    result = site.decide(partition, *options)
    assert result.returncode == 0, result.stderr
    assert "within seconds" in result.stdout
    return result.stdout


def refused(site, *options, partition=0):
    """What it says; nothing was written."""
    rows = "SELECT partitions::text FROM partitions ORDER BY id"
    before = site.database.rows(rows)
    result = site.decide(partition, *options)
    assert result.returncode == 64
    assert site.database.rows(rows) == before
    return result.stderr


def set_back(site, fence):
    with site.database.connect() as connection, connection.transaction():
        connection.execute("UPDATE partitions SET next_offset = %s", [fence])
        connection.execute('DELETE FROM messages WHERE "offset" >= %s', [fence])


def run_to_the_end(site, *hosts, **changes):
    site.produce(*hosts)
    daemon = site.start(**changes)
    site.wait_drained()
    assert daemon.stop() == 0


def goes_on(site, daemon, *hosts):
    """What is produced now is handled by the daemon that runs."""
    places = site.produce(*hosts, partition=0)
    site.wait_drained()
    assert daemon.stop() == 0
    assert set(places) <= site.saved().keys()


# --- no commit ----------------------------------------------------------------------------------


def test_partitions_that_are_added_are_read_from_their_beginning(site):
    """Also with `latest`: it says where a group begins, not what of a topic it skips."""
    site.create_topic()
    site.produce(*NODES[:5])
    daemon = site.start(
        consume={"start": "latest"}, kafka={"topic.metadata.refresh.interval.ms": "1000"}
    )
    until(lambda: site.committed() == {0: 5})
    # In its first minute a group takes partitions for its own beginning.
    site.database.rows(
        "UPDATE partitions SET created_at = created_at - interval '2 minutes',"
        " updated_at = updated_at - interval '2 minutes' RETURNING id"
    )
    site.kafka.grow(site.topic, 3)
    site.produced = {}
    site.produce(*NODES[5:15], partition=1)
    site.produce(*NODES[15:25], partition=2)
    for partition in (1, 2):
        line = daemon.wait_for(event="partition.started", partition=partition)
        assert line["offset"] == 0
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_fences(site)
    assert sorted(site.restarter.hosts()) == sorted(NODES[5:25])


def test_offsets_that_expired_stop_the_partition_until_somebody_decides(site):
    site.create_topic(2)
    site.produce(*NODES[:5], partition=0)
    site.produce(*NODES[5:10], partition=1)
    run_to_the_end(site)
    site.kafka.forget(site.group, site.topic, 0)
    daemon = site.start()
    stopped(daemon, "topic_recreated_or_offsets_expired", None, 0, 5, 5)
    # Its neighbour goes on, and it itself does not.
    site.produce(*NODES[10:15], partition=1)
    site.produce(NODES[15], partition=0)
    until(lambda: site.committed() == {1: 10})
    assert NODES[15] not in site.restarter.hosts()
    # Nobody knows what of it was handled: all of it lags, and what comes adds to it.
    until(lambda: lag(site, daemon) == 6)
    until(lambda: lag(site, daemon, 1) == 0)

    assert "offset 7 is not in" in refused(site, "--from", 7)
    said = decided(site, "--from", 3)
    assert "topic_recreated_or_offsets_expired" in said
    assert "the group has no commit, the log holds 0 to 6" in said
    assert "handled again: 3 to 4" in said
    line = daemon.wait_for(event="partition.decided", partition=0, offset=3)
    assert "as was decided (no commit, saved below 5, log from 0 to 6)" in line["msg"]
    [line] = daemon.find(event="partition.decision", partition=0, offset=3)
    assert "decided where it goes on: offset 3; why: a test" in line["msg"] and "@" in line["msg"]
    goes_on(site, daemon, NODES[16])
    check_resolved(site)
    check_fences(site)
    # 3 and 4 are handled again, and the ledger has their restarts as done.
    assert sorted(site.restarter.hosts()) == sorted(NODES[:17])
    check_restarts(site)
    who, why, left = site.database.rows(
        "SELECT decided_by, decided_why, decided_from FROM partitions WHERE partition = 0"
    )[0]
    assert (bool(who), why, left) == (True, "a test", None)


def test_a_topic_that_is_made_again_while_it_is_consumed(site):
    other = site.topic + "-other"
    site.create_topic()
    site.kafka.create(other, 1)
    site.produce(*NODES[:5])
    daemon = site.start(consume={"topics": [site.topic, other]})
    site.wait_drained()
    site.remake_topic()
    site.produce(*NODES[10:13])
    site.kafka.produce(other, [Record(request("other.example.com"))])
    line = daemon.wait_for(event="partition.stopped", topic=site.topic)
    assert "saved below 5." in line["msg"]
    # The topic beside it is not held up, and of the new one nothing is taken for done.
    until(lambda: site.kafka.committed(site.group, other) == {0: (1, "ackd")})
    assert not set(NODES[10:13]) & set(site.restarter.hosts())
    assert site.committed() == {}
    until(lambda: lag(site, daemon) == 3)

    assert "needs --new-topic" in refused(site, "--from", 0)
    assert "is retired" in decided(site, "--new-topic")
    goes_on(site, daemon, NODES[13])
    check_resolved(site)
    check_fences(site)
    assert sorted(site.restarter.hosts()) == sorted(
        NODES[:5] + NODES[10:14] + ["other.example.com"]
    )


def test_a_topic_that_is_gone_has_no_lag_and_does_not_fill_the_log(site):
    site.create_topic(2)
    site.produce(*NODES[:5])
    daemon = site.start()
    site.wait_drained()
    until(lambda: lag(site, daemon) == lag(site, daemon, 1) == 0)
    site.kafka.delete(site.topic)
    until(lambda: lag(site, daemon) is lag(site, daemon, 1) is None)
    until(lambda: len(daemon.find(event="partition.look_up", level="debug", partition=1)) >= 5)
    assert daemon.stop() == 0
    # It is asked at each of them, and said once of all partitions.
    [line] = daemon.find(event="partition.look_up", level="warning")
    # Of those that had asked by then.
    said = rf"partitions? (0|1|0, 1) of {site.topic}: Kafka does not say whether"
    assert re.search(said, line["msg"]), line["msg"]
    errors = daemon.find(event="kafka.look_up")
    assert all("asked was where partitions stand" in line["msg"] for line in errors)
    assert len(errors) == len({line["error"] for line in errors})


# --- a commit, and no row or a fence that does not go with it -----------------------------------


def test_a_database_that_was_lost_stops_the_partition(site):
    site.create_topic()
    run_to_the_end(site, *NODES[:5])
    with site.database.connect() as connection:
        connection.execute("DROP SCHEMA ackd CASCADE")
    site.produce(*NODES[5:8])
    daemon = site.start()
    stopped(daemon, "database_lost", 5, 0, 8, 0)
    said = decided(site, "--from", 6)
    assert "committed 5 by ackd" in said and "no row" in said
    goes_on(site, daemon, NODES[8])
    assert site.saved().keys() == {(0, 6), (0, 7), (0, 8)}
    check_fences(site)
    assert sorted(site.restarter.hosts()) == sorted(NODES[:5] + NODES[6:9])


def test_a_log_that_ends_below_the_fence_stops_the_partition(site):
    site.create_topic()
    run_to_the_end(site, *NODES[:5])
    site.database.rows("UPDATE partitions SET next_offset = 8 RETURNING id")
    daemon = site.start()
    stopped(daemon, "log_ends_below_fence", 5, 0, 5, 8)
    assert "up to offset 8: it needs --new-topic" in refused(site, "--from", 5)
    assert "repeated: 0 to 4, 5 offsets that were acked" in decided(site, "--new-topic")
    goes_on(site, daemon, NODES[5])
    check_resolved(site)
    check_fences(site)
    # For the ledger these are other messages now, but their request ids are done on these hosts.
    assert sorted(site.restarter.hosts()) == sorted(NODES[:6])
    again = [row for row in ledger(site) if row.state == "suppressed"]
    assert [(row.host, row.reason) for row in again] == [(host, "duplicate") for host in NODES[:5]]


@pytest.mark.parametrize("running", [False, True], ids=["at the start", "while running"])
def test_a_postgresql_that_went_back_is_filled_again(site, running):
    site.create_topic()
    site.produce(*NODES[:10])
    daemon = site.start()
    site.wait_drained()
    if running:
        set_back(site, 4)
        site.produce(NODES[10])  # a batch finds it
    else:
        assert daemon.stop() == 0
        set_back(site, 4)
        daemon = site.start()
    line = daemon.wait_for(event="partition.went_back", partition=0)
    assert line["level"] == "error"
    assert "saved below 4, but 10 was committed" in line["msg"]
    until(lambda: len(site.saved()) == len(site.produced))
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_fences(site)
    assert set(site.restarter.hosts()) == {host for host, _ in site.saved().values()}


def test_a_commit_of_another_program_skips_what_expired(site):
    site.create_topic()
    run_to_the_end(site, *NODES[:5])
    site.produce(*NODES[5:12])
    site.kafka.trim(site.topic, 0, 7)
    site.kafka.commit(site.group, site.topic, 0, 9)
    daemon = site.start()
    line = daemon.wait_for(event="partition.skipped", partition=0)
    assert "from 5 to 9" in line["msg"]
    site.wait_drained()
    assert daemon.stop() == 0
    assert sorted(site.restarter.hosts()) == sorted(NODES[:5] + NODES[9:12])
    assert site.saved().keys() == {(0, o) for o in [*range(5), 9, 10, 11]}
    check_fences(site)


# --- out of range -------------------------------------------------------------------------------


def test_out_of_range_keeps_what_was_saved_and_not_acked(site):
    pinned = site.restarter.hold("hold-2.example.com")
    hosts = [*NODES[:2], pinned, *NODES[3:15]]
    site.create_topic()
    site.produce(*hosts[:10])
    daemon = site.start()
    done = "SELECT count(*) FROM restarts WHERE state = 'done'"
    until(lambda: site.committed() == {0: 2} and len(site.saved()) == 10)
    until(lambda: site.database.value(done) == 9)
    daemon.kill()
    site.produce(*hosts[10:])
    site.kafka.trim(site.topic, 0, 12)
    daemon = site.start()
    stopped(daemon, "out_of_range", 2, 12, 15, 10)
    said = decided(site, "--from", 12)
    assert "skipped: 10 to 11" in said
    assert "kept in rejected: 1 that" in said  # the ledger knows that the others are done
    goes_on(site, daemon, NODES[15])
    assert site.saved().keys() == {(0, o) for o in [*range(10), *range(12, 16)]}
    check_fences(site)
    rejected = site.rejected()
    assert rejected.keys() == {(0, 2)}
    for place, row in rejected.items():
        assert row["value"] == site.produced[place].value
        assert (row["handler"], row["reason"], row["handlers_done"]) == (
            "restart-host",
            "expired",
            ["save"],
        )
        assert row["host"] == hosts[place[1]]
        assert "a test" in row["detail"] and "offset 12" in row["detail"]
    assert site.committed() == {0: 16}


def test_out_of_range_while_running_goes_on_without_a_restart(site):
    pinned = site.restarter.hold("hold-0.example.com")
    site.create_topic(2)
    site.produce(pinned, *NODES[1:30], partition=0)
    daemon = site.start(limits={"ack_gap": 5})
    # It is read no further while its oldest message is pinned; meanwhile the rest expires.
    daemon.wait_for(event="partition.held", partition=0)
    site.produce(*NODES[30:60], partition=1)
    site.kafka.trim(site.topic, 0, 20)
    site.restarter.release(pinned)
    line = daemon.wait_for(event="partition.stopped", partition=0)
    assert "(out_of_range)" in line["msg"] and "log from 20 to 30;" in line["msg"]
    site.produce(*NODES[60:70], partition=1)
    until(lambda: site.committed()[1] == 40)
    decided(site, "--from", 20)
    site.produce(*NODES[70:80], partition=1)
    # librdkafka's fetcher has ended for good, and one that begins anew disturbs no neighbour.
    daemon.wait_for(event="kafka.revived", partition=0)
    daemon.wait_for(event="partition.started", partition=0, offset=20)
    goes_on(site, daemon, NODES[80])
    fence = int(re.search(r"saved below (\d+)", line["msg"])[1])
    assert site.saved().keys() == {
        (0, o) for o in [*range(fence), *range(20, 31)]
    } | {(1, o) for o in range(50)}
    check_fences(site)
    assert sorted(site.restarter.hosts()) == sorted(
        [pinned, *NODES[1:fence], *NODES[20:81]]
    )


# --- one partition that waits -------------------------------------------------------------------


def test_ack_gap_holds_one_partition_alone(site):
    pinned = site.restarter.hold("hold-0.example.com")
    site.create_topic(2)
    site.produce(pinned, *NODES[:60], partition=0)
    site.produce(*NODES[60:], partition=1)
    daemon = site.start(limits={"ack_gap": 50})
    line = daemon.wait_for(event="partition.held", partition=0)
    assert "limits.ack_gap" in line["msg"]
    assert line["offset"] == 0
    until(lambda: site.committed().get(1) == 40)
    assert not daemon.find(event="partition.held", partition=1)
    assert site.committed()[0] == 0
    assert sum(partition == 0 for partition, _ in site.saved()) <= 51
    site.restarter.release(pinned)
    daemon.wait_for(event="partition.resumed", partition=0)
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_fences(site)
    assert sorted(site.restarter.hosts()) == sorted([pinned, *NODES])


# --- nothing to decide --------------------------------------------------------------------------


def test_nothing_is_decided_about_a_partition_that_is_not_stopped(site):
    site.create_topic()
    site.produce(*NODES[:5])
    daemon = site.start()
    site.wait_drained()
    for options in (["--from", 2], ["--new-topic"]):
        said = refused(site, *options)
        assert "is not stopped; nothing is to be decided" in said
        assert "committed 5 by ackd, the log holds 0 to 5" in said
        assert "saved below 5" in said
    goes_on(site, daemon, NODES[5])
    check_resolved(site)
    assert sorted(site.restarter.hosts()) == NODES[:6]


def test_nothing_is_decided_about_what_is_not_there(site):
    site.create_topic(2)
    site.init_db()
    said = refused(site, "--from", 0, partition=2)
    why = f"ackd partition: the topic {site.topic} has no partition 2: it has 2, from 0 on"
    assert said.splitlines()[-1] == why  # behind what is to be said of the configuration
    site.kafka.delete(site.topic)
    assert f"there is no topic {site.topic}" in refused(site, "--new-topic")


def test_an_old_decision_never_fires(site):
    site.create_topic()
    run_to_the_end(site, *NODES[:5])
    site.database.rows("UPDATE partitions SET decided_from = 1 RETURNING id")
    daemon = site.start()
    line = daemon.wait_for(event="partition.decision_dropped", partition=0)
    assert "offset 1" in line["msg"] and "committed 5, saved below 5" in line["msg"]
    goes_on(site, daemon, NODES[5])
    check_resolved(site)
    assert sorted(site.restarter.hosts()) == NODES[:6]
    assert site.database.value("SELECT decided_from FROM partitions") is None
