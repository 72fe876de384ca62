"""The control socket of a real daemon: its status in every state, bounded and without holding up the
loop, whoever asks and however; ackd set; where the socket is and whose it may not be."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from harness import until
from harness.chaos import FAST_GROUP
from harness.daemon import BINARY, ENVIRONMENT, STEPS, command

KEYS = """version instance pid config_file started_at now uptime_s state waiting_for shutdown handlers_on
action troubles kafka postgres intake limits handlers waits windows partitions partitions_total messages
messages_total holds holds_total rejected totals loop log debug""".split()


def answers(daemon):
    """Whether the socket is there."""
    return os.path.exists(daemon.socket_path)


def running(site, **changes):
    site.create_topic()
    daemon = site.start(**changes)
    daemon.wait_for(event="partition.started")
    return daemon


# --- a daemon's life -------------------------------------------------------------------------


def test_before_postgres_and_kafka_are_there(site):
    daemon = site.start(
        init=False,
        kafka={"bootstrap.servers": "localhost:1"},
        postgres={"dsn": "host=/nonexistent dbname=none"},
    )
    until(lambda: answers(daemon), 10)
    status = daemon.status()
    assert sorted(status) == sorted(KEYS)
    assert status["state"] == "starting"
    assert "/nonexistent" in status["waiting_for"]
    until(lambda: {"postgres_down", "kafka_down"} <= set(daemon.troubles()), 20)
    troubles = daemon.troubles()
    assert troubles["postgres_down"]["remedy"] == "pg_isready -h /nonexistent -d none"
    remedy = troubles["kafka_down"]["remedy"]
    assert remedy == "timeout 5 bash -c '</dev/tcp/$0/$1' localhost 1 && echo open"
    assert subprocess.run(remedy, shell=True, check=False, capture_output=True).returncode == 1
    with socket.create_server(("localhost", 0)) as server:
        remedy = remedy.replace("localhost 1", f"localhost {server.getsockname()[1]}")
        assert subprocess.run(remedy, shell=True, check=False, capture_output=True).stdout == b"open\n"
    assert all(trouble["severity"] == "error" for trouble in troubles.values())
    assert daemon.stop() == 0


def test_without_schema(site):
    site.create_topic()
    daemon = site.start(init=False)
    until(lambda: answers(daemon) and "schema_missing" in daemon.troubles(), 20)
    status = daemon.status()
    assert status["state"] == "starting" and "schema" in status["waiting_for"]
    remedy = daemon.troubles()["schema_missing"]["remedy"]
    assert remedy == f"ackd init-db -c {daemon.config_file}"
    ran = subprocess.run(
        remedy.replace("ackd", BINARY, 1).split(),
        env=ENVIRONMENT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    daemon.wait_for(event="partition.started")
    until(lambda: daemon.status()["state"] == "running", 10)
    assert daemon.status()["waiting_for"] is None
    assert "schema_missing" not in daemon.troubles()


def test_a_message_on_its_way(site):
    site.restarter.hold("hold-a.example.com")
    daemon = running(site)
    [(partition, offset)] = site.produce("hold-a.example.com")

    def at_work():
        status = daemon.status()
        acting = [m for m in status["messages"] if m["handlers"][1]["phase"] == "acting" and m["saved"]]
        return status if acting else None

    status = until(at_work)
    assert sorted(status) == sorted(KEYS)
    assert status["pid"] == daemon.process.pid and status["instance"] == "test"
    assert status["config_file"] == str(daemon.config_file)
    assert status["kafka"]["up"] and status["kafka"]["joined"] and status["postgres"]["up"]
    [message] = status["messages"]
    assert (message["topic"], message["partition"], message["offset"]) == (site.topic, partition, offset)
    assert message["host"] == "hold-a.example.com"
    restart = message["handlers"][1]
    assert (restart["handler"], restart["state"], restart["phase"]) == ("restart-host", "running", "acting")
    os.kill(restart["pid"], 0)  # it is there
    [row] = status["partitions"]
    assert row["state"] == "active" and row["in_flight"] == 1
    assert row["pinned_by"]["offset"] == offset
    by_state = {entry["handler"]: entry for entry in status["handlers"]}
    assert by_state["restart-host"]["running"] == 1
    site.restarter.release("hold-a.example.com")
    site.wait_drained()
    status = daemon.status()
    assert status["messages"] == [] and status["totals"]["accepted"] == 1
    assert status["totals"]["restarts"]["done"] == 1


def test_during_the_shutdown_and_gone_after_it(site):
    site.restarter.hold("hold-a.example.com")
    daemon = running(site)
    site.produce("hold-a.example.com")
    until(lambda: daemon.status()["handlers"][1]["running"] == 1)
    daemon.send(signal.SIGTERM)
    daemon.wait_for(event="shutdown.grace")
    status = daemon.status()
    assert status["state"] == "stopping" and status["shutdown"]["step"] == "cancel"
    assert status["shutdown"]["since_s"] >= 0
    assert len(status["messages"]) == 1
    site.restarter.release("hold-a.example.com")
    assert daemon.wait_exit() == 0
    assert daemon.steps() == STEPS
    assert not answers(daemon)


# --- bounded ---------------------------------------------------------------------------------


@pytest.mark.timeout(400)
def test_100_000_that_wait(site):
    """A window keeps 100,000 requests for as many hosts. The answer is bounded, and no callback held up
    the loop while it was made: the daemon itself says which did."""
    n = 100_000
    day = (datetime.now(timezone.utc) + timedelta(days=3)).strftime("%a").lower()
    window = {"days": day, "from": "03:00", "to": "03:01", "zone": "UTC"}
    daemon = running(
        site,
        limits={"in_flight": 20_000, "waiting": 2 * n, "ack_gap": 2 * n},
        handlers={"restart-host": {"windows": [window]}},
        log={"level": "info"},
        debug={"slow_callback": "100ms"},
    )
    for begin in range(0, n, 10_000):
        site.produce(*(f"h{i}.example.com" for i in range(begin, begin + 10_000)))
    until(lambda: daemon.status(messages=0)["waits"]["window"] == n, 200, interval=0.5)
    before = len(daemon.find(event="loop.slow"))
    for _ in range(5):
        answer = daemon.ask({"request": "status", "messages": 1000})
        status = json.loads(answer)
        assert len(status["messages"]) == 1000 and status["messages_total"] == n
        offsets = [message["offset"] for message in status["messages"]]
        assert offsets == sorted(offsets) and offsets[0] == 0
        assert len(answer) < 2_000_000
        assert status["handlers"][1]["queued"] == n
    assert len(daemon.status()["messages"]) == 100
    slow = daemon.find(event="loop.slow")[before:]
    assert not [line for line in slow if "status" in line["msg"] or "control" in line["msg"]]


def test_rubbish(site):
    daemon = running(site)
    for request in (
        b"\n",
        b"hello\n",
        b"[]\n",
        b"{}\n",
        b'{"request":1}\n',
        b'{"request":"restart"}\n',
        b'{"request":"status","messages":1001}\n',
        b'{"request":"status","messages":-1}\n',
        b'{"request":"status","messages":"x"}\n',
        b'{"request":"set"}\n',
        b'{"request":"set","key":"log.level","value":"loud"}\n',
        b'{"request":"set","key":"retry.attempts","value":"1"}\n',
        b"\xff\x00\xfe\n",
        b'{"request":"status"' + b" " * 5000,
        b"[" * 4000 + b"\n",
    ):
        answer = json.loads(daemon.ask(request))
        assert list(answer) == ["error"], (request, answer)
    assert daemon.status()["state"] == "running"
    assert not daemon.find(event="control.request", level="info")


def test_50_clients(site):
    daemon = running(site)
    clients = []
    for _ in range(50):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(30)
        client.connect(daemon.socket_path)
        client.sendall(b'{"request":"status"}\n')
        clients.append(client)
    for client in clients:
        with client, client.makefile("rb") as answer:
            assert json.loads(answer.read())["state"] == "running"


def test_slow_clients_hold_up_nobody(site):
    """Sixteen that say nothing have all slots; work goes on, who asks is answered all the same, and
    they are given up after 5 s at the latest."""
    daemon = running(site)
    idle = []
    for _ in range(16):
        client = socket.socket(socket.AF_UNIX)
        client.connect(daemon.socket_path)
        idle.append(client)
    health = command("status", "--health", "-c", daemon.config_file)
    assert health.returncode == 0, health.stderr
    site.produce("a.example.com")
    site.wait_drained()
    assert daemon.status()["totals"]["accepted"] == 1
    for client in idle:
        client.settimeout(30)
        assert client.recv(1) == b""
        client.close()
    dropped = until(lambda: len(found := daemon.find(event="control.dropped")) == 16 and found)
    assert f"pid {os.getpid()}," in dropped[0]["msg"]


def test_sigusr1_tells_the_same(site):
    site.restarter.hold("hold-a.example.com")
    daemon = running(site)
    site.produce("hold-a.example.com")
    until(lambda: daemon.status()["handlers"][1]["running"] == 1)
    daemon.send(signal.SIGUSR1)
    daemon.wait_for(event="state", msg=re.compile("hold-a.example.com"))
    shown = command("status", "-c", daemon.config_file)
    assert shown.returncode == 0 and "hold-a.example.com" in shown.stdout, shown.stderr
    site.restarter.release("hold-a.example.com")
    site.wait_drained()


# --- set -------------------------------------------------------------------------------------


def test_set(site):
    daemon = running(site, log={"level": "info"})
    ran = command("set", "-c", daemon.config_file, "log.level=debug")
    assert (ran.returncode, ran.stdout) == (0, "log.level=debug (was info); until the daemon ends\n")
    line = daemon.wait_for(event="control.request", level="info")
    assert "set log.level=debug, it was info" in line["msg"] and "pid " in line["msg"]
    assert "user " in line["msg"]
    assert daemon.status()["log"]["level"] == "debug"
    site.produce("a.example.com")
    daemon.wait_for(event="message.acked", level="debug")
    daemon.wait_for(event="control.request", level="debug")  # who looked

    ran = command("set", "-c", daemon.config_file, "debug.checks=true")
    assert ran.returncode == 0 and daemon.status()["debug"]["checks"] is True

    for bad, says in (
        ("log.level=loud", "debug info warning error"),
        ("retry.attempts=3", "needs a restart"),
        ("debug.checks=yes", "false true"),
    ):
        ran = command("set", "-c", daemon.config_file, bad)
        assert ran.returncode == 64 and says in ran.stderr, ran.stderr
    assert command("set", "log.level").returncode == 64
    assert command("set", "-c", daemon.config_file).returncode == 64

    # The level is back up: it is told all the same.
    command("set", "-c", daemon.config_file, "log.level=warning")
    assert daemon.status()["log"]["level"] == "warning"
    assert daemon.stop() == 0
    assert not [line for line in daemon.lines if line.get("event", "").startswith("debug.")]


def test_nobody_answers(site):
    site.create_topic()
    config = site.write_config(control={"socket": f"{site.folder}/none.sock"})
    ran = command("set", "-c", config, "log.level=debug")
    assert ran.returncode == 69 and "is the daemon running?" in ran.stderr

    daemon = running_second = site.start()
    daemon.wait_for(event="partition.started")
    daemon.kill()
    ran = command("set", "-c", running_second.config_file, "log.level=debug")
    assert ran.returncode == 69 and "has ended" in ran.stderr


def test_a_stopped_daemon(site):
    daemon = running(site)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        ran = command("set", "-c", daemon.config_file, "log.level=debug")
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert ran.returncode == 69 and f"kill -CONT {daemon.process.pid}" in ran.stderr, ran.stderr
    assert daemon.status()["state"] == "running"


# --- the socket ------------------------------------------------------------------------------


def test_mode_and_stale(site):
    daemon = running(site, **FAST_GROUP)
    assert stat.S_IMODE(os.stat(daemon.socket_path).st_mode) == 0o660
    daemon.kill()
    assert answers(daemon)  # left behind
    another = site.start(control={"socket": daemon.socket_path}, **FAST_GROUP)
    another.wait_for(event="daemon.start")
    until(lambda: another.status()["pid"] == another.process.pid, 10)


def test_of_a_living_one(site):
    daemon = running(site)
    another = site.start(control={"socket": daemon.socket_path})
    assert another.wait_exit() == 78
    assert f"process {daemon.process.pid} already listens" in another.lines[-1]["raw"]
    assert daemon.status()["pid"] == daemon.process.pid


def test_named_and_not_to_be_made(site):
    site.create_topic()
    daemon = site.start(control={"socket": f"{site.folder}/none/a.sock"})
    assert daemon.wait_exit() == 78
    assert "control socket" in daemon.lines[-1]["raw"]


def test_by_default_it_goes_on_without(site):
    """Where nobody said where it is to be, hosts are restarted all the same."""
    site.create_topic()
    os.environ["RUNTIME_DIRECTORY"] = f"{site.folder}/none"
    try:
        ENVIRONMENT["RUNTIME_DIRECTORY"] = f"{site.folder}/none"
        daemon = site.start(control={"socket": ""})
    finally:
        del os.environ["RUNTIME_DIRECTORY"], ENVIRONMENT["RUNTIME_DIRECTORY"]
    line = daemon.wait_for(event="control.none", level="warning")
    assert "RuntimeDirectory" in line["msg"]
    site.produce("a.example.com")
    site.wait_drained()


# --- troubles --------------------------------------------------------------------------------


def shell(site, remedy):
    """Runs a remedy as an administrator does who pastes it."""
    env = {**ENVIRONMENT, "PATH": f"{os.path.dirname(BINARY)}:{os.environ['PATH']}"}
    ran = subprocess.run(
        remedy, shell=True, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, (remedy, ran.stdout, ran.stderr)


def test_a_hold_is_lifted_by_its_remedy(site):
    daemon = running(site)
    ran = command("hold", "*.example.com", "--why", "it's moved", "-c", daemon.config_file)
    assert ran.returncode == 0, ran.stderr
    until(lambda: "hold" in daemon.troubles(), 10)
    trouble = daemon.troubles()["hold"]
    assert trouble["severity"] == "warning" and "it's moved" in trouble["text"]
    assert trouble["where"] == "*.example.com"
    site.produce("a.example.com")
    until(lambda: daemon.status()["waits"]["hold"] == 1, 10)
    site.database.rows("UPDATE holds SET since = since - interval '25 hours' RETURNING 1")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_exit()
    again = site.start()
    until(lambda: answers(again) and again.troubles().get("hold", {}).get("severity") == "error", 30)
    assert "forgotten" in again.troubles()["hold"]["text"]
    shell(site, again.troubles()["hold"]["remedy"])
    until(lambda: "hold" not in again.troubles(), 10)
    site.wait_drained()


@pytest.mark.timeout(200)
def test_a_topic_that_is_missing(site):
    daemon = site.start()
    until(lambda: answers(daemon) and "topic_missing" in daemon.troubles(), 90)
    trouble = daemon.troubles()["topic_missing"]
    assert trouble["where"] == site.topic
    assert trouble["remedy"].endswith(f"--create --topic {site.topic}")
    site.create_topic()  # what the remedy does
    daemon.wait_for(event="partition.started", timeout=90)
    assert "topic_missing" not in daemon.troubles()


def test_a_read_only_database(site):
    daemon = running(site)
    with site.database.connect() as connection:
        connection.execute(
            f"ALTER DATABASE {site.database.name} SET default_transaction_read_only = on"
        )
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    site.produce("a.example.com")
    until(lambda: "postgres_read_only" in daemon.troubles(), 30)
    trouble = daemon.troubles()["postgres_read_only"]
    assert trouble["severity"] == "error"
    shell(site, trouble["remedy"])
    site.wait_drained()
    until(lambda: "postgres_read_only" not in daemon.troubles(), 10)


def test_a_partition_that_stopped(site):
    daemon = running(site, **FAST_GROUP)
    site.produce("a.example.com", "b.example.com")
    site.wait_drained()
    assert daemon.stop() == 0
    site.remake_topic()
    daemon = site.start(**FAST_GROUP)
    daemon.wait_for(event="partition.stopped")
    trouble = daemon.troubles()["partition_stopped"]
    assert trouble["where"] == f"{site.topic}/0"
    [row] = daemon.status()["partitions"]
    assert row["state"] == "stopped" and row["stopped"]["reason"] in trouble["text"]
    shell(site, trouble["remedy"])
    site.produce("c.example.com")
    site.wait_drained()
    assert "partition_stopped" not in daemon.troubles()
