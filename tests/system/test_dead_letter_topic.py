"""The dead-letter topic: what is rejected arrives there as it came, with why and where from; nothing waits
for it, nothing is lost, and what keeps it from arriving is said once."""

import os
import re
import signal
import time
from hashlib import sha256

import pytest
from harness import until
from harness.daemon import STEPS, command
from harness.faults import Broker
from harness.kafka import Kafka, Record
from harness.site import Site, request

BAD = b"\x00\xff not json"


def letters_of(site):
    return site.topic + "-dead"


def start(site, **changes):
    consume = {"dead_letter_topic": letters_of(site), **changes.pop("consume", {})}
    return site.start(consume=consume, **changes)


def arrived(site, n=1):
    """The dead letters, when there are so many."""
    found = []

    def enough():
        found[:] = site.kafka.records(letters_of(site))
        return len(found) >= n

    until(enough, 60, interval=0.3)
    return found


def headers(record):
    """Those that ackd added: name: text"""
    ours = [(n, v) for n, v in record.headers if n.startswith(b"ackd-")]
    assert len(dict(ours)) == len(ours)
    return {n.decode(): v.decode() for n, v in ours}


def outbox(site):
    """state: rows"""
    return dict(site.database.rows("SELECT outbox, count(*) FROM rejected GROUP BY 1"))


def wait_sent(site, n, timeout=60):
    until(lambda: outbox(site) == {"sent": n}, timeout, interval=0.2)


def due_now(site):
    """As if the leases and delays were over."""
    site.database.rows("UPDATE rejected SET outbox_after = NULL WHERE outbox = 'pending' RETURNING 1")


def bad(n):
    return [Record(b"bad %d" % i, key=b"k%d" % i) for i in range(n)]


def test_arrives_as_it_came(site):
    site.create_topic(2)
    site.kafka.create(letters_of(site), 3)
    came = (
        (b"trace", b"00-ab"),
        (b"binary", bytes(range(256))),
        (b"twice", b"1"),
        (b"twice", b"2"),
        (b"null", None),
        (b"empty", b""),
    )
    (place,) = site.produce(Record(BAD, key=b"\x00k\xff", partition=1, headers=came))
    daemon = start(site)
    (record,) = arrived(site)
    assert record.value == BAD
    assert record.key == b"\x00k\xff"
    assert record.headers[: len(came)] == came
    row = site.rejected()[place]
    (source, rejected_at) = site.database.rows(
        "SELECT source::text, utc_text(rejected_at) FROM rejected"
    )[0]
    found = headers(record)
    assert found.pop("ackd-produced-at").endswith("Z")
    assert found == {
        "ackd-reason": row["reason"],
        "ackd-detail": row["detail"],
        "ackd-attempts": "0",
        "ackd-handlers-done": "",
        "ackd-topic": site.topic,
        "ackd-partition": "1",
        "ackd-offset": str(place[1]),
        "ackd-source": source,
        "ackd-group": site.group,
        "ackd-rejected-at": rejected_at,
        "ackd-instance": "test",
    }
    wait_sent(site, 1)
    at, error, after = site.database.rows(
        "SELECT dead_lettered_at, outbox_error, outbox_after FROM rejected"
    )[0]
    assert at is not None and error is None and after is None
    site.wait_drained()
    until(lambda: daemon.metrics()["ackd_dead_letters_pending"] == 0)
    assert daemon.stop() == 0


def test_of_a_handler(site):
    """Saved, and its restart failed: the bytes come from the table messages."""
    site.create_topic()
    site.kafka.create(letters_of(site), 1)
    value = b'{ "host":"DB1.example.com.",  "id":7 , "more": 1.50}'
    site.produce(Record(value, key=b"k", headers=((b"h", None),)))
    daemon = start(site, handlers={"restart-host": {"allow": ["*.other"]}})
    (record,) = arrived(site)
    assert (record.value, record.key, record.headers[0]) == (value, b"k", (b"h", None))
    found = headers(record)
    assert found["ackd-handler"] == "restart-host"
    assert found["ackd-reason"] == "not_allowed"
    assert found["ackd-handlers-done"] == "save"
    assert found["ackd-host"] == "db1.example.com"
    wait_sent(site, 1)
    assert daemon.stop() == 0


def test_without_the_key_nothing_is_queued(site):
    """And what was rejected before the key was set stays, until somebody queues it."""
    site.create_topic()
    site.kafka.create(letters_of(site), 1)
    site.produce(BAD)
    first = site.start()
    site.wait_drained()
    assert first.stop() == 0
    assert outbox(site) == {"none": 1}
    daemon = start(site)
    site.produce(BAD)
    arrived(site)
    until(lambda: outbox(site) == {"none": 1, "sent": 1})
    # docs/rejected.md
    site.database.rows("UPDATE rejected SET outbox = 'pending' WHERE outbox = 'none' RETURNING 1")
    arrived(site, 2)
    wait_sent(site, 2)
    assert daemon.stop() == 0


def test_missing_and_then_made(site):
    site.create_topic()
    site.produce(*bad(100))
    daemon = start(site)
    line = daemon.wait_for(event="dead_letter.failed", timeout=60)
    assert "does not exist" in line["msg"] and "kafka-topics.sh --create" in line["msg"]
    # 100 wait, and no ack does.
    site.wait_drained()
    assert outbox(site) == {"pending": 100}
    assert re.search(r"all that wait \(\d+\)", line["msg"])
    until(lambda: daemon.metrics()["ackd_dead_letters_pending"] == 100)
    good = site.produce(*[request(f"h{i}.example.com") for i in range(50)])
    site.wait_drained()
    assert set(site.saved()) == set(good)
    assert len(site.restarter.hosts()) == 50
    assert daemon.find(event="dead_letter.works") == []
    assert len(daemon.find(event="dead_letter.failed")) == 1
    site.kafka.create(letters_of(site), 2)
    due_now(site)
    daemon.wait_for(event="dead_letter.works", timeout=90)
    assert {r.value for r in arrived(site, 100)} == {r.value for r in bad(100)}
    due_now(site)
    wait_sent(site, 100, 90)
    assert daemon.stop() == 0


def test_too_large_goes_without_its_value(site):
    site.create_topic()
    site.kafka.create(letters_of(site), 1, max_message_bytes=3000)
    large = b"x" * 5000
    heavy = ((b"h", b"y" * 4000),)
    site.produce(
        Record(b"small", key=b"a"), Record(large, key=b"b"), Record(b"bad", key=b"c", headers=heavy)
    )
    daemon = start(site)
    found = {r.key: r for r in arrived(site, 2)}
    assert set(found) == {b"a", b"b"}
    assert found[b"a"].value == b"small"
    assert found[b"b"].value == b""
    omitted = f"size=5000 sha256={sha256(large).hexdigest()}"
    assert headers(found[b"b"])["ackd-value-omitted"] == omitted
    assert "ackd-value-omitted" not in headers(found[b"a"])
    # The third does not fit without its value either, and holds up nobody.
    line = daemon.wait_for(event="dead_letter.failed")
    assert "max.message.bytes" in line["msg"] and line["offset"] == 2
    until(lambda: outbox(site) == {"sent": 2, "pending": 1})
    (error,) = site.database.rows("SELECT outbox_error FROM rejected WHERE outbox = 'pending'")[0]
    assert "too large" in error
    site.wait_drained()
    assert daemon.stop() == 0


def test_more_than_a_message_may_have(site):
    """Over limits.message_bytes the row has the first 64 KiB, and so has the dead letter."""
    site.create_topic(max_message_bytes=4 << 20)
    site.kafka.create(letters_of(site), 1)
    value = b"{" + b"z" * (2 << 20)
    site.produce(value)
    daemon = start(site)
    (record,) = arrived(site)
    assert record.value == value[: 64 << 10]
    found = headers(record)
    assert found["ackd-value-truncated"] == "true"
    assert found["ackd-reason"] == "too_large"
    assert sha256(value).hexdigest() in found["ackd-detail"]
    wait_sent(site, 1)
    assert daemon.stop() == 0


LOCK = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(7);
    RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE UPDATE ON rejected FOR EACH ROW WHEN (NEW.outbox = 'sent')
    EXECUTE FUNCTION hold();
"""


def test_killed_between_delivery_and_mark(site):
    site.create_topic()
    site.kafka.create(letters_of(site), 1)
    site.init_db()
    with site.database.connect() as holder:
        holder.execute(LOCK)
        holder.execute("SELECT pg_advisory_lock(7)")
        site.produce(*bad(3))
        daemon = start(site)
        arrived(site, 3)
        until(site.database.waits_for_a_lock)
        daemon.kill()
        # Its backend would not notice before it has written.
        holder.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'"
        )
        until(lambda: not site.database.waits_for_a_lock())
    assert outbox(site) == {"pending": 3}
    again = start(site)
    site.wait_joined()
    assert len(site.kafka.records(letters_of(site))) == 3, "the lease is not over"
    due_now(site)
    found = arrived(site, 6)
    assert sorted(r.value for r in found) == sorted([r.value for r in bad(3)] * 2)
    wait_sent(site, 3)
    assert again.stop() == 0


def test_a_mark_whose_answer_is_lost_is_repeated(site):
    site.create_topic()
    site.kafka.create(letters_of(site), 1)
    site.init_db()
    with site.database.connect() as holder:
        holder.execute(LOCK)
        holder.execute("SELECT pg_advisory_lock(7)")
        site.produce(*bad(3))
        daemon = start(site)
        arrived(site, 3)
        until(site.database.waits_for_a_lock)
        holder.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'"
        )
    wait_sent(site, 3)
    assert len(site.kafka.records(letters_of(site))) == 3, "none is sent again"
    assert daemon.stop() == 0


def test_two_daemons(site):
    site.create_topic(4)
    site.kafka.create(letters_of(site), 3)
    records = [Record(b"bad %d" % i) for i in range(2000)]
    site.produce(*records)
    daemons = [
        start(site, instance=f"test{i}", metrics={"textfile": str(site.folder / f"{i}.prom")})
        for i in range(2)
    ]
    wait_sent(site, 2000, 90)
    found = site.kafka.records(letters_of(site))
    assert {r.value for r in found} == {r.value for r in records}
    assert len(found) == 2000, "without a crash none is sent twice"
    site.wait_drained()
    for daemon in daemons:
        assert daemon.stop() == 0


def test_stuck_at_the_end(site):
    """SIGTERM while records wait for a topic that is not there."""
    site.create_topic()
    site.produce(*bad(10))
    daemon = start(site)
    until(lambda: site.database.value("SELECT count(*) FROM rejected WHERE outbox_attempts > 0") == 10)
    site.wait_drained()
    began = time.monotonic()
    assert daemon.stop(signal.SIGTERM, timeout=10) == 0
    assert time.monotonic() - began < 10
    assert daemon.steps() == STEPS
    (line,) = daemon.find(event="shutdown.database")
    assert "10 on the way to the dead-letter topic are sent again" in line["msg"]
    assert outbox(site) == {"pending": 10}


def test_expired_by_ackd_partition(site):
    """What `ackd partition` puts into the table goes to the topic as well."""
    pinned = site.restarter.hold("hold-1.example.com")
    site.create_topic()
    site.kafka.create(letters_of(site), 1)
    site.produce("a.example.com", pinned, "b.example.com")
    first = start(site)
    until(lambda: site.committed() == {0: 1} and len(site.saved()) == 3)
    until(lambda: site.database.value("SELECT count(*) FROM restarts WHERE state = 'done'") == 2)
    first.kill()
    site.produce("c.example.com", "d.example.com")
    site.kafka.trim(site.topic, 0, 4)
    daemon = start(site)
    daemon.wait_for(event="partition.stopped")
    path = site.write_config(consume={"dead_letter_topic": letters_of(site)})
    done = command("partition", f"{site.topic}/0", "--from", 4, "--why", "w", "-c", path)
    assert done.returncode == 0, done.stderr
    [record] = arrived(site, 1)  # the ledger knows that the others are done
    assert (headers(record)["ackd-offset"], headers(record)["ackd-reason"]) == ("1", "expired")
    assert record.value == site.produced[0, 1].value
    wait_sent(site, 1)
    assert daemon.stop() == 0


@pytest.fixture
def own(tmp_path):
    """A Kafka with an authorizer, that makes the topics that it is asked for; to forbid and to kill."""
    broker = Broker(
        tmp_path / "kafka",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found=true",
        "auto.create.topics.enable=true",
    )
    yield broker
    broker.stop()


def test_forbidden_and_down(own, tmp_path):
    site = Site(Kafka(own.servers), os.environ["ACKD_TEST_DSN"], tmp_path)
    site.create_topic()
    # Not by us, though the broker would.
    site.produce(*bad(1))
    first = start(site)
    first.wait_for(event="dead_letter.failed", msg=re.compile("does not exist"))
    site.wait_drained()
    assert first.stop() == 0
    site.database.rows("DELETE FROM rejected RETURNING 1")
    site.kafka.create(letters_of(site), 1)
    site.kafka.forbid(letters_of(site))
    site.produce(*bad(5), request("a.example.com"))
    daemon = start(site)
    line = daemon.wait_for(event="dead_letter.failed", msg=re.compile("no right to write"))
    assert "kafka-acls.sh" in line["msg"]
    site.wait_drained()
    assert len(site.saved()) == 1
    assert outbox(site) == {"pending": 5}
    site.kafka.permit(letters_of(site))
    due_now(site)
    daemon.wait_for(event="dead_letter.works", timeout=90)
    due_now(site)
    wait_sent(site, 5)
    # The brokers go, and PostgreSQL has rows to send.
    own.kill()
    site.database.rows("UPDATE rejected SET outbox = 'pending' RETURNING 1")
    due_now(site)
    line = daemon.wait_for(event="dead_letter.failed", msg=re.compile("no broker took"), timeout=180)
    assert line["error"]
    own.start()
    due_now(site)
    wait_sent(site, 5, 120)
    site.produce(request("b.example.com"))
    site.wait_drained()
    assert daemon.stop() == 0
    site.cleanup()
