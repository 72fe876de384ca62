"""Restarts over ssh: the example, as it is installed, with the real ssh and a real sshd."""

import signal
import socket
from collections import Counter

import pytest
from harness import until
from harness.endpoint import Endpoint, until_closed
from harness.example import EXAMPLES, NO_LIMITS, argv, changed
from harness.oracle import check_fences, check_resolved
from harness.sshd import Sshd

EXAMPLE = EXAMPLES / "ssh.yaml"
REBOOT = argv(EXAMPLE)[-1]


@pytest.fixture
def sshd(tmp_path):
    with socket.create_server(("127.0.1.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "sshd").mkdir()
    result = Sshd(tmp_path / "sshd", port)
    yield result
    result.stop()


def start(site, sshd, timeout=None, **more):
    """The example file itself; only what names other machines and files is told otherwise."""
    changes = {
        "/etc/ackd/known_hosts": sshd.known_hosts,
        "/etc/ackd/ssh_key": sshd.key,
        "User=ackd": f"User={sshd.user}",
    }
    if timeout:
        changes["ConnectTimeout=10"] = f"ConnectTimeout={timeout}"
    command = changed(EXAMPLE, changes, Fnone=["-p", sshd.port, "-oSendEnv=ACKD_HOST"])
    exec_section = "handlers.restart-host.exec."
    return site.start_file(EXAMPLE, {**NO_LIMITS, exec_section + "argv": command, **more})


def name(label):
    return f"{label}.prod.example.com"


def test_the_example_restarts_each_host_once(site, sshd):
    hosts = [name(f"web-1-{i}") for i in range(30)]
    site.create_topic(3)
    site.produce(*hosts)
    daemon = start(site, sshd)
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    assert Counter(sshd.hosts()) == {host: 1 for host in hosts}
    assert {command.command for command in sshd.commands()} == {REBOOT}
    assert REBOOT.endswith("systemctl reboot")
    assert daemon.metrics()['ackd_restarts_total{result="done"}'] == 30


def test_what_ssh_says_decides(site, sshd):
    silent = Endpoint(until_closed, ["127.0.1.3"], sshd.port, unread=True)
    unknown, failed = "unknown", "failed"
    # label: (the reason in `rejected`, how often it is tried, what the last line of ssh says)
    kinds = {
        "good-1": (None, 1, None),
        "flood-1": (None, 1, None),
        "cut-1": (unknown, 1, "closed by"),
        "deny-1": (failed, 2, "a password is required"),
        "refused-2": (unknown, 1, "Connection refused"),
        "silent-3": (unknown, 1, "timed out"),
        "nameless": (unknown, 1, "Could not resolve hostname"),
        "stranger-1": (unknown, 1, "Host key verification failed"),
        "unlisted-1": (unknown, 1, "Host key verification failed"),
    }
    site.create_topic(1)
    places = dict(zip(kinds, site.produce(*map(name, kinds))))
    daemon = start(site, sshd, timeout=3, **{"retry.attempts": 2})
    site.wait_drained()
    assert daemon.stop() == 0
    silent.stop()
    check_resolved(site)
    rejected = site.rejected()
    for label, (reason, times, said) in kinds.items():
        row = rejected.get(places[label])
        lines = daemon.find(host=name(label), event=f"restart.{reason or 'done'}")
        assert len(lines) == times, label
        if reason is None:
            assert row is None, row
        else:
            status = 1 if reason == failed else 255
            assert (row["reason"], row["detail"]) == (reason, f"exit status {status}")
            assert said in lines[0]["msg"], label
    # Only those that were let in ran something, and ran it as often as it was tried.
    ran = {"good-1": 1, "flood-1": 1, "cut-1": 1, "deny-1": 2}
    assert Counter(sshd.hosts()) == {name(label): times for label, times in ran.items()}


def test_a_command_that_does_not_come_back_is_ended(site, sshd):
    site.create_topic(1)
    (place,) = site.produce(name("hang-1"))
    daemon = start(site, sshd, **{"handlers.restart-host.exec.timeout": "8s"})
    site.wait_drained()
    row = site.rejected()[place]
    assert (row["reason"], row["attempts"]) == ("unknown", 1)
    assert row["detail"].startswith("timed out after 8 s, ended by TERM")
    assert sshd.hosts() == [name("hang-1")]
    assert daemon.stop() == 0


def test_a_key_that_is_not_let_in(site, sshd):
    site.create_topic(1)
    (place,) = site.produce(name("web-1"))
    sshd.key.write_text((sshd.folder / "other_key").read_text())
    daemon = start(site, sshd)
    site.wait_drained()
    assert daemon.stop() == 0
    (line,) = daemon.find(event="restart.unknown")
    assert "Permission denied (publickey)" in line["msg"]
    assert site.rejected()[place]["reason"] == "unknown"
    assert sshd.commands() == []


def test_shutdown_cuts_off_what_does_not_come_back(site, sshd):
    site.create_topic(1)
    site.produce(name("hang-1"))
    daemon = start(site, sshd, **{"shutdown.grace": "500ms"})
    until(lambda: sshd.hosts() == [name("hang-1")])
    assert daemon.stop(signal.SIGTERM) == 75
    assert site.committed() in ({}, {0: 0})  # never acked
