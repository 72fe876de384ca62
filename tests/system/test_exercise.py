"""An exercise for whoever is called at night: ten troubles, each with a real daemon. The screen is
asked, its remedy is run by a shell as it is printed there, and the trouble is over and work goes on.

What a person adds is in the environment, as the documentation says: a PATH, a password.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from harness import ROOT, until
from harness.chaos import FAST_GROUP
from harness.daemon import BINARY, ENVIRONMENT, command
from harness.faults import Broker, Cluster
from harness.kafka import Kafka
from harness.roles import Roles
from harness.site import Site

HOSTS = [f"n{i}.example.com" for i in range(5)]


def shell(line, **environment):
    """As a person pastes it into a terminal; a remedy ends well, within a minute."""
    result = subprocess.run(
        ["bash", "-c", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **ENVIRONMENT,
            "PATH": f"{Path(BINARY).parent}:{ENVIRONMENT['PATH']}",
            **environment,
        },
        check=False,
    )
    assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"
    return result.stdout


def screen(daemon):
    """What ackd status shows."""
    result = command("status", "-c", daemon.config_file)
    assert result.returncode == 0, result.stderr
    return result.stdout


def troubles(daemon):
    """None in the first moments of a daemon, before its socket is there."""
    return daemon.troubles() if os.path.exists(daemon.socket_path) else {}


def trouble(daemon, word, timeout=30):
    """Waits for it; the screen has its remedy on a line of its own, so that it can be copied."""
    found = until(lambda: troubles(daemon).get(word), timeout, interval=0.2)
    lines = [line.strip() for line in screen(daemon).splitlines()]
    assert any(line.endswith(found["remedy"]) for line in lines), f"{found['remedy']}\n{lines}"
    return found


def is_over(daemon, word, timeout=60):
    until(lambda: word not in daemon.troubles(), timeout, interval=0.2)


def goes_on(site, daemon, *hosts, partition=-1):
    """New requests are saved, restarted and acked."""
    places = site.produce(*hosts, partition=partition)
    site.wait_drained()
    assert set(places) <= site.saved().keys()
    assert set(hosts) <= set(site.restarter.hosts())
    assert daemon.stop() == 0


@pytest.fixture
def folder():
    """Below /tmp: the user postgres must reach it."""
    path = tempfile.mkdtemp(prefix="ackd-exercise.", dir="/tmp")
    os.chmod(path, 0o755)
    yield Path(path)
    shutil.rmtree(path, ignore_errors=True)


def test_a_pinned_watermark(site):
    site.create_topic()
    daemon = site.start(handlers={"restart-host": {"exec": {"timeout": "1h"}}})
    [first] = site.produce("hang-1.example.com")
    until(lambda: site.restarter.hosts() == ["hang-1.example.com"])
    site.produce(*HOSTS)
    found = trouble(daemon, "partition_pinned", 90)
    assert f"{site.topic}/0" in found["text"] and "hang-1.example.com" in found["text"]
    assert site.committed()[0] == 0
    shell(found["remedy"])
    is_over(daemon, "partition_pinned")
    site.wait_drained()
    # Killed in the middle: nobody knows whether that host was restarted.
    assert site.rejected()[first]["reason"] == "unknown"
    goes_on(site, daemon, "after.example.com")


def test_postgres_is_read_only(site):
    site.create_topic()
    daemon = site.start()
    site.produce(*HOSTS)
    site.wait_drained()
    with site.database.connect() as connection:
        connection.execute(f"ALTER DATABASE {site.database.name} SET default_transaction_read_only = on")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    site.produce("meanwhile.example.com")
    found = trouble(daemon, "postgres_read_only")
    assert "nothing is lost" in found["text"]
    shell(found["remedy"])
    is_over(daemon, "postgres_read_only")
    goes_on(site, daemon, "after.example.com")
    assert "meanwhile.example.com" in site.restarter.hosts()


def test_a_daemon_that_stands(site):
    """It can't show a screen; the command says what it sees of the process."""
    site.create_topic()
    daemon = site.start()
    site.produce(*HOSTS)
    site.wait_drained()
    daemon.process.send_signal(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{daemon.process.pid}/stat").read_text().rsplit(") ", 1)[1][0] == "T")
    try:
        result = command("status", "-c", daemon.config_file)
        assert result.returncode == 69
        remedy = re.search(r"Let it go on: (.+)", result.stderr)[1]
        shell(remedy)
        until(lambda: command("status", "-c", daemon.config_file).returncode == 0)
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    goes_on(site, daemon, "after.example.com")


def test_a_blown_fuse(site):
    site.create_topic()
    fuse = {"fuse": {"restarts": 3, "period": "1h"}}
    daemon = site.start(handlers={"restart-host": fuse})
    site.produce(*HOSTS)
    found = trouble(daemon, "fuse")
    assert "No host is restarted by any instance" in found["text"]
    assert len(site.restarter.hosts()) == 3
    shell(found["remedy"])
    is_over(daemon, "fuse")
    site.wait_drained()
    assert sorted(site.restarter.hosts()) == HOSTS
    goes_on(site, daemon)


def test_a_restart_of_which_nobody_knows(site):
    """The remedy lists them; what to do with each is for whoever looked at the host, and its note
    says how."""
    site.create_topic()
    exec_ = {"timeout": "1s", "kill_after": "1s"}
    daemon = site.start(handlers={"restart-host": {"exec": exec_}})
    [place] = site.produce("hang-1.example.com")
    found = trouble(daemon, "unknown_restarts", 60)
    listed = shell(found["remedy"])
    name = f"{site.topic}/{place[0]}/{place[1]}"
    assert name in listed and "hang-1.example.com" in listed
    drop = re.search(r"ackd dead-letter drop PLACE --why TEXT", found["note"])[0]
    line = drop.replace("PLACE", name).replace("TEXT", "'it is back'")
    shell(line, ACKD_CONFIG=str(daemon.config_file))
    is_over(daemon, "unknown_restarts")
    goes_on(site, daemon, *HOSTS)


def test_a_topic_that_was_made_again(site):
    site.create_topic()
    daemon = site.start(**FAST_GROUP)
    site.produce(*HOSTS)
    site.wait_drained()
    assert daemon.stop() == 0
    site.remake_topic()
    site.produce("new.example.com")
    daemon = site.start(**FAST_GROUP)
    found = trouble(daemon, "partition_stopped")
    assert f"{site.topic}/0" in found["text"]
    shell(found["remedy"])
    is_over(daemon, "partition_stopped")
    goes_on(site, daemon, "after.example.com")
    assert "new.example.com" in site.restarter.hosts()


def test_a_topic_right_that_is_missing(site, folder):
    """A broker with ACLs: once a topic has one, only those that are named may use it."""
    jars = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ackd"
    acls = folder / "kafka-acls.sh"  # as Kafka's own: it calls this class
    broker = Broker(
        folder / "kafka",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found=true",
    )
    try:
        version = re.search(r"^VERSION=(\S+)", (ROOT / "scripts/local-kafka").read_text(), re.M)[1]
        acls.write_text(
            f"#!/bin/sh\nexec java -cp '{jars}/kafka-{version}/*'"
            ' org.apache.kafka.tools.AclCommand "$@"\n'
        )
        acls.chmod(0o755)
        path = {"PATH": f"{folder}:{ENVIRONMENT['PATH']}"}
        site.kafka = Kafka(broker.servers)
        site.create_topic()
        site.produce(*HOSTS)
        shell(
            f"kafka-acls.sh --bootstrap-server {broker.servers} --add --allow-principal User:somebody"
            f" --operation Read --topic {site.topic}",
            **path,
        )
        daemon = site.start()
        found = trouble(daemon, "topic_forbidden", 60)
        assert site.topic in found["text"]
        shell(found["remedy"], **path)
        is_over(daemon, "topic_forbidden", 120)
        until(lambda: sorted(set(site.restarter.hosts())) == HOSTS, 60)
        site.wait_drained()
        assert daemon.stop() == 0
        assert len(site.saved()) == len(HOSTS)
    finally:
        for one in site.daemons():
            one.kill()
        broker.stop()


def test_a_wrong_password(kafka, tmp_path, folder):
    """The role's password is the very word of the remedy, so that it can be run as it is printed."""
    cluster = Cluster(folder / "postgres")
    site = Site(kafka, cluster.dsn, tmp_path)
    try:
        site.create_topic()
        site.init_db()
        name = site.database.name
        with site.database.connect() as connection:
            connection.execute(f"CREATE ROLE {name}_daemon LOGIN PASSWORD 'PASSWORD' SUPERUSER")
        rules = cluster.folder / "data/pg_hba.conf"
        rules.write_text(f"local all {name}_daemon scram-sha-256\n" + rules.read_text())
        site.database.rows("SELECT pg_reload_conf()")
        secret = folder / "the password"
        secret.write_text("another\n")
        dsn = psycopg.conninfo.make_conninfo(site.database.dsn, user=f"{name}_daemon")
        daemon = site.start(postgres={"dsn": dsn, "password_file": str(secret)})
        found = trouble(daemon, "postgres_password")
        assert "another" not in screen(daemon)
        shell(found["remedy"])
        is_over(daemon, "postgres_password")
        goes_on(site, daemon, *HOSTS)
    finally:
        site.cleanup()
        cluster.stop()


@pytest.mark.parametrize("what", ["no role", "an upgrade"])
def test_a_right_in_postgres_that_is_missing(site, what):
    """Of a role that is not in the daemons' one, and of one that was not granted what is new."""
    site.create_topic()
    roles = Roles(site)
    try:
        if what == "an upgrade":
            with site.database.connect() as connection:
                connection.execute(f"REVOKE EXECUTE ON FUNCTION claim FROM {roles.prefix}_run")
        dsn = roles.dsn("nobody" if what == "no role" else "run")
        daemon = site.start(postgres={"dsn": dsn})
        found = trouble(daemon, "schema_forbidden")
        owner = f"ACKD__POSTGRES__DSN='{site.database.dsn}' " if what == "an upgrade" else ""
        shell(owner + found["remedy"])
        is_over(daemon, "schema_forbidden")
        goes_on(site, daemon, *HOSTS)
    finally:
        roles.cleanup()


def test_a_hold_that_somebody_forgot(site):
    site.create_topic()
    site.init_db()
    config = site.write_config()
    assert command("hold", "n*.example.com", "--why", "a move", "-c", config).returncode == 0
    with site.database.connect() as connection:
        connection.execute("UPDATE holds SET since = since - interval '3 days'")
    daemon = site.start()
    site.produce(*HOSTS, "other.example.com")
    found = trouble(daemon, "hold")
    assert found["severity"] == "error" and "somebody may have forgotten" in found["text"]
    assert "a move" in found["text"]
    until(lambda: site.restarter.hosts() == ["other.example.com"])
    shell(found["remedy"])
    is_over(daemon, "hold")
    goes_on(site, daemon, "after.example.com")
    assert set(HOSTS) <= set(site.restarter.hosts())
