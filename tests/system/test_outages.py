"""Outages are waited out: nothing is rejected, nobody is charged an attempt, nothing is lost or doubled,
and everything goes on by itself; the log says what is away and when it is back."""

import re
import shutil
import tempfile
from pathlib import Path

import pytest
from harness import until
from harness.daemon import STEPS
from harness.faults import Broker, Cluster
from harness.kafka import Kafka, Record
from harness.oracle import check_fences, check_resolved, check_restarts
from harness.roles import Roles
from harness.site import Site, request

WAITS_FOR_POSTGRES = 'ackd_restarts_waiting{reason="postgres"}'


def hosts(letter, n=100):
    return [f"{letter}{i}.example.com" for i in range(n)]


def check(site, daemon, n):
    """All of it ended well at the first attempt, also what was delivered again."""
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_fences(site)
    assert len(site.saved()) == n
    assert site.rejected() == {}
    if daemon.find(event="restart.done"):
        check_restarts(site)
    restarted = site.restarter.hosts()
    assert len(restarted) == len(set(restarted)), "a restart was repeated"
    outcomes = {
        name: count
        for name, count in daemon.metrics().items()
        if name.startswith("ackd_handler_outcomes_total") and count > 0 and '"done"' not in name
    }
    assert outcomes == {}


def terminate(site, name="test"):
    """Ends the daemon's sessions."""
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s AND datname = %s"
    assert site.database.value(query, name, site.database.name) > 0


@pytest.fixture
def folder():
    """Below /tmp, where the user postgres reaches it."""
    path = Path(tempfile.mkdtemp(prefix="ackd-test.", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def cluster(folder):
    server = Cluster(folder / "postgres")
    yield server
    server.stop()


def test_postgres_that_comes_later(kafka, cluster, tmp_path):
    site = Site(kafka, cluster.dsn, tmp_path)
    site.create_topic(2)
    site.init_db()
    site.produce(*hosts("a"))
    cluster.immediate()
    daemon = site.start(init=False)
    line = daemon.wait_for(event="postgres.down")
    assert "restarts and what is to be saved wait, trying again until it is there" in line["msg"]
    assert site.restarter.hosts() == []
    cluster.start()
    daemon.wait_for(event="postgres.up", msg=re.compile("connected to PostgreSQL"))
    check(site, daemon, 100)
    reasons = [line["msg"] for line in daemon.find(event="postgres.down")]
    assert len(reasons) == len(set(reasons)), "an outage is said once"
    site.cleanup()


def test_postgres_that_becomes_read_only(site):
    site.create_topic(2)
    site.produce(*hosts("a"))
    daemon = site.start()
    site.wait_drained()
    name = site.database.name
    with site.database.connect() as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    terminate(site)
    line = daemon.wait_for(event="postgres.down", msg=re.compile("read-only"))
    assert "trying again" in line["msg"]
    # Now, or a claim could be under way when the session ends: it is asked for until its answer is
    # there, and does not wait.
    site.produce(*hosts("b"))
    until(lambda: daemon.metrics()[WAITS_FOR_POSTGRES] == 100)
    assert len(site.restarter.hosts()) == 100  # the ledger cannot be asked
    assert len(site.saved()) == 100
    with site.database.connect() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    daemon.wait_for(event="postgres.up", msg=re.compile("is back after"))
    check(site, daemon, 200)


def test_read_only_is_said_with_its_sqlstate_and_remedy(site):
    site.create_topic(1)
    daemon = site.start()
    daemon.wait_for(event="postgres.up")
    with site.database.connect() as connection:
        name = site.database.name
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    terminate(site)
    line = daemon.wait_for(event="postgres.down", msg=re.compile("read-only"))
    assert "25006" in line["msg"]
    assert "check the failover" in line["msg"]


def test_postgres_that_is_slow(site):
    """What is not saved fills limits.in_flight, then nothing more is read."""
    site.create_topic(1)
    daemon = site.start(
        limits={"in_flight": 50}, postgres={"statement_timeout": "1s"}, log={"level": "info"}
    )
    site.wait_joined()
    site.produce("first.example.com")
    site.wait_drained()
    with site.database.locked_fences():
        site.produce(*hosts("a", 500))
        line = daemon.wait_for(event="intake.paused")
        assert line["level"] == "warning"
        assert "limits.in_flight (50) is reached" in line["msg"]
        assert len(site.restarter.hosts()) <= 51
        metrics = daemon.metrics()
        assert metrics["ackd_in_flight_messages"] == 50
        assert metrics['ackd_paused_partitions{reason="in_flight"}'] == 1
        [failed] = daemon.find(event="save.failed")
        assert re.search("57014|55P03", failed["msg"])
    daemon.wait_for(event="save.works")
    daemon.wait_for(event="intake.resumed")
    check(site, daemon, 501)


def test_one_locked_fence(site):
    """Somebody's transaction has one partition's row: the others are saved all the same, also those
    that were in one batch with it, and with one connection only."""
    site.create_topic(3)
    daemon = site.start(postgres={"connections": 1, "statement_timeout": "1s"})
    site.wait_joined()
    site.produce(*(Record(request(f"first{p}.example.com"), partition=p) for p in range(3)))
    site.wait_drained()
    with site.database.locked_fences(partition=1):
        site.produce(*(Record(request(host), partition=i % 3) for i, host in enumerate(hosts("a", 300))))
        until(lambda: len(site.saved()) == 203)
        assert daemon.find(event="save.works") == []
    daemon.wait_for(event="save.works")
    check(site, daemon, 303)


def test_too_many_connections(site):
    site.create_topic(2)
    roles = Roles(site)
    role = roles.login("run")  # of this test alone
    try:
        site.produce(*hosts("a"))
        daemon = roles.run()
        site.wait_drained()
        with site.database.connect() as connection:
            connection.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
        terminate(site)
        line = daemon.wait_for(event="postgres.down", msg=re.compile("too many connections"))
        assert "max_connections" in line["msg"]  # what a person can do
        assert "53300" in line["msg"]
        site.produce(*hosts("b"))  # as above: no claim is under way
        until(lambda: daemon.metrics()[WAITS_FOR_POSTGRES] == 100)
        assert len(site.restarter.hosts()) == 100
        assert len(site.saved()) == 100
        with site.database.connect() as connection:
            connection.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
        daemon.wait_for(event="postgres.up", msg=re.compile("is back after"))
        check(site, daemon, 200)
    finally:
        roles.cleanup()


TROUBLE = """
CREATE SEQUENCE trouble;
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n bigint := nextval('ackd.trouble');
BEGIN
        IF n <= 3 THEN RAISE EXCEPTION 'serialize' USING ERRCODE = '40001'; END IF;
        IF n <= 6 THEN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END IF;
        RETURN NULL;
END $$;
CREATE TRIGGER trouble BEFORE INSERT ON messages FOR EACH STATEMENT EXECUTE FUNCTION trouble();
"""


def test_serialization_failures_and_deadlocks(site):
    site.create_topic(1)
    site.init_db()
    with site.database.connect() as connection:
        connection.execute(TROUBLE)
    site.produce(*hosts("a"))
    daemon = site.start(postgres={"connections": 1}, retry={"backoff": "1m", "backoff_max": "1h"})
    check(site, daemon, 100)
    assert site.database.value("SELECT last_value FROM trouble") >= 7
    # Once each kind, at the default level, and once that it is over.
    said = daemon.find(event="save.failed", level="warning")
    assert [re.findall("40001|40P01", line["msg"])[0] for line in said] == ["40001", "40P01"]
    assert all("it waits and is sent again" in line["msg"] for line in said)
    assert len(daemon.find(event="save.works")) == 1


REFUSAL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
        PERFORM pg_sleep(0.01);
        RAISE EXCEPTION 'a trigger with a bug' USING ERRCODE = '22012';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse();
"""


EACH = (
    "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()"
    " AND state = 'active' AND query LIKE '%%save_each%%' AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize("n", [1, 100])
def test_a_table_that_refuses_every_row(site, n):
    """At low traffic each batch has one row; it must not be taken for that row's own fault."""
    site.create_topic(1)
    site.init_db()
    with site.database.connect() as connection:
        connection.execute(REFUSAL)
    site.produce(*hosts("a", n))
    daemon = site.start()
    line = daemon.wait_for(event="save.failed", level="error")
    assert "AK002" in line["msg"] and "a trigger with a bug" in line["msg"]
    assert "look at what all rows have in common" in line["msg"]
    until(lambda: len(site.restarter.hosts()) == n)
    assert site.saved() == {} and site.rejected() == {}
    # In the middle of the rows: it must not divide them into bad and good ones.
    until(lambda: site.database.value(EACH), 30, interval=0.001)
    with site.database.connect() as connection:
        connection.execute("DROP TRIGGER refuse ON messages")
    check(site, daemon, n)
    daemon.wait_for(event="save.works")


def test_postgres_that_goes_back_while_nothing_comes(site):
    """A failover to a standby that lacks the last rows: whoever was quiet since must notice too."""
    site.create_topic(2)
    for number, letter in enumerate("ab"):
        site.produce(*hosts(letter, 50), partition=number)
    daemon = site.start(handlers={"restart-host": None})
    site.wait_drained()
    with site.database.connect() as connection:
        sources = "SELECT id FROM partitions"
        connection.execute(f'DELETE FROM messages WHERE source IN ({sources}) AND "offset" >= 10')
        connection.execute("UPDATE partitions SET next_offset = 10")
    terminate(site)
    for partition in range(2):
        line = daemon.wait_for(event="partition.went_back", partition=partition)
        assert line["offset"] == 10
    until(lambda: len(site.saved()) == 100)
    check(site, daemon, 100)


def test_all_sessions_end_at_once(site):
    """It is said that PostgreSQL is away, not only that one connection is: the metric says it too,
    and what says that it is back must have its counterpart."""
    site.create_topic(1)
    site.produce(*hosts("a"))
    daemon = site.start()
    site.wait_drained()
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test'"
    query += " AND datname = current_database()"
    until(lambda: site.database.value(query) == 2)
    terminate(site)
    daemon.wait_for(event="postgres.up", msg=re.compile("is back after"))
    site.produce(*hosts("b"))
    check(site, daemon, 200)
    assert len(daemon.find(event="postgres.down")) == 1


def test_postgres_that_is_back_without_a_schema(site):
    """Whoever reads that it is back must not take it for the end of the trouble."""
    site.create_topic(1)
    daemon = site.start(init=False)
    daemon.wait_for(event="schema.not_ready", level="error")
    terminate(site)
    back = daemon.wait_for(event="postgres.up", msg=re.compile("is back after"))
    assert "going on" not in back["msg"]

    def is_said_again():
        after = daemon.lines[daemon.lines.index(back) :]
        return [line for line in after if line.get("event") == "schema.not_ready"]

    until(is_said_again)
    assert "init-db" in is_said_again()[-1]["msg"]
    assert daemon.stop() == 0


def test_a_shutdown_without_postgres_gives_back_what_waits_for_the_ledger(site):
    site.create_topic(1)
    daemon = site.start(log={"level": "info"})
    site.wait_joined()
    site.database.refuse_connections()
    daemon.wait_for(event="postgres.down")
    site.produce(*hosts("a", 50))
    until(lambda: daemon.metrics()[WAITS_FOR_POSTGRES] == 50)
    assert daemon.stop() == 0
    assert daemon.steps() == STEPS
    [cancel] = daemon.find(event="shutdown.cancel")
    assert "50 that had not started are given back" in cancel["msg"]
    [nack] = daemon.find(event="shutdown.nack")
    assert "50 released" in nack["msg"]
    assert site.restarter.hosts() == []


def test_a_restart_whose_end_postgres_was_not_told(site):
    """The ledger does not know how it ended: that is said, and the next owner does not repeat it."""
    site.create_topic(1)
    daemon = site.start(
        handlers={"restart-host": {"exec": {"timeout": "5s"}}}, shutdown={"grace": "6s"}
    )
    site.wait_joined()
    host = site.restarter.hold("hold-a.example.com")
    [place] = site.produce(host)
    until(lambda: site.restarter.hosts() == [host])
    site.database.refuse_connections()
    daemon.wait_for(event="postgres.down")
    site.restarter.release(host)
    daemon.wait_for(event="restart.done")
    assert daemon.stop() == 75
    [database] = daemon.find(event="shutdown.database")
    assert database["level"] == "warning"
    assert "1 restart is without a confirmed end in the ledger" in database["msg"]
    site.database.accept_connections()
    daemon = site.start()
    # Once `held_until` is over: 5 s, the timeout and kill_after from the claim on.
    until(lambda: place in site.rejected(), 30)
    assert site.rejected()[place]["reason"] == "unknown"
    assert daemon.stop() == 0
    assert site.restarter.hosts() == [host]


def test_kafka_that_is_away(folder, site):
    """What is in flight ends meanwhile, also what has not begun, and is committed afterwards."""
    broker = Broker(folder / "kafka")
    try:
        site.kafka = Kafka(broker.servers)
        site.create_topic(2)
        held = site.restarter.hold("hold-1.example.com")
        site.produce(held)
        daemon = site.start(handlers={"restart-host": {"concurrency": 1}})
        until(lambda: site.restarter.hosts() == [held])
        site.produce(*hosts("a"))
        until(lambda: len(site.saved()) == 101)
        broker.kill()
        line = daemon.wait_for(event="kafka.down")
        assert "what is in flight goes on" in line["msg"]
        assert site.restarter.hosts() == [held]
        site.restarter.release(held)
        until(lambda: daemon.metrics()["ackd_restarts_total{result=\"done\"}"] == 101)
        until(lambda: daemon.metrics()["ackd_kafka_up"] == 0)
        assert not any(name.startswith("ackd_partition_lag") for name in daemon.metrics())
        broker.start()
        daemon.wait_for(event="kafka.up", msg=re.compile(r"again after \d+\.\d s"), timeout=60)
        site.produce(*hosts("b"))
        # The group may have taken the partitions away before what was done could be committed.
        check(site, daemon, 201)
        assert len(daemon.find(event="kafka.down")) == 1
        assert len(daemon.find(event="kafka.up", msg=re.compile("again"))) == 1
    finally:
        broker.stop()
