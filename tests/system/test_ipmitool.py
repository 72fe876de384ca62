"""Restarts by IPMI: the example, as it is installed, with the real ipmitool, against ipmi_sim."""

import socket

import pytest
from harness import until
from harness.example import EXAMPLES, NO_LIMITS, changed
from harness.ipmi import Bmc, Deaf
from harness.oracle import check_fences, check_resolved

EXAMPLE = EXAMPLES / "ipmitool.yaml"
CYCLE = [("power", "0"), ("power", "1")]


@pytest.fixture
def port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.1.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "bmc-password"
    path.write_text("hunter2\n")
    return path


def start(site, port, password_file, wait=5, **more):
    """The example file itself; only what names other machines and files is told otherwise."""
    changes = {"/etc/ackd/bmc-password": password_file, "-N5": f"-N{wait}"}
    command = changed(EXAMPLE, changes, C3=["-p", port])
    return site.start_file(EXAMPLE, {**NO_LIMITS, "handlers.restart-host.exec.argv": command, **more})


def name(label):
    return f"{label}.prod.example.com"


def test_the_example_cycles_each_host_once(site, tmp_path, port, password_file):
    numbers = range(1, 7)
    bmcs = {n: Bmc(tmp_path / f"bmc{n}", f"127.0.1.{n}", port, "hunter2") for n in numbers}
    try:
        site.create_topic(2)
        site.produce(*(name(f"web{n}") for n in numbers))
        daemon = start(site, port, password_file)
        site.wait_drained()
        for bmc in bmcs.values():
            until(lambda bmc=bmc: bmc.calls() == CYCLE)  # it is on again after a while
        assert daemon.stop() == 0
    finally:
        for bmc in bmcs.values():
            bmc.stop()
    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    assert daemon.metrics()['ackd_restarts_total{result="done"}'] == 6
    assert "hunter2" not in (site.folder / "ackd-1.log").read_text()


def test_what_ipmitool_says_decides(site, tmp_path, port, password_file):
    bmc = Bmc(tmp_path / "bmc1", "127.0.1.1", port, "hunter2")
    other = Bmc(tmp_path / "bmc2", "127.0.1.2", port, "another")
    lost = Bmc(tmp_path / "bmc3", "127.0.1.3", port, "hunter2")
    deaf = Deaf(lost, "127.0.1.3", "127.0.1.4", port)
    try:
        # The BMC is there; refuses the password; switches and is not heard; is not there; has no name.
        hosts = [name(label) for label in ("web1", "web2", "web4", "web5", "web")]
        site.create_topic(1)
        places = dict(zip(hosts, site.produce(*hosts)))
        daemon = start(site, port, password_file, wait=2)
        site.wait_drained()
        until(lambda: bmc.calls() == CYCLE)
        # Told once, not once for each answer that was lost.
        until(lambda: lost.calls() == CYCLE)
        assert other.calls() == []
        assert daemon.stop() == 0
    finally:
        deaf.stop()
        for each in (bmc, other, lost):
            each.stop()
    check_resolved(site)
    rows = site.rejected()
    assert places[hosts[0]] not in rows
    for host in hosts[1:]:
        row = rows[places[host]]
        assert (row["reason"], row["attempts"], row["detail"]) == ("unknown", 1, "exit status 1")


def test_an_address_has_no_bmc_of_that_name(site, port, password_file):
    site.create_topic(1)
    (place,) = site.produce("10.0.0.1")
    allow = {"handlers.restart-host.allow": '["10.*"]'}
    daemon = start(site, port, password_file, **allow)
    site.wait_drained()
    assert daemon.stop() == 0
    row = site.rejected()[place]
    assert (row["reason"], row["attempts"]) == ("refused", 1)
    assert "{{host.label}}" in row["detail"]
