"""The session's Kafka and PostgreSQL, and a Site for each test.

The first process of a session starts both servers, unless their addresses are in ACKD_TEST_KAFKA and
ACKD_TEST_DSN, and ends them; xdist's workers inherit the addresses.
"""

import os
import shutil
import subprocess
import tempfile

import pytest
from harness import ROOT
from harness.kafka import Kafka
from harness.site import Site

# variable: (its script, the line of the script's output that has the address)
SERVERS = {
    "ACKD_TEST_KAFKA": ("local-kafka", "bootstrap.servers="),
    "ACKD_TEST_DSN": ("local-postgres", "dsn="),
}
started = []  # (script, folder)


def is_worker(config):
    return hasattr(config, "workerinput")


def stop_servers():
    for script, folder in started:
        subprocess.run([ROOT / "scripts" / script, "stop", "--dir", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)  # before xdist starts the workers
def pytest_sessionstart(session):
    if is_worker(session.config) or session.config.option.collectonly:
        return
    session.config.add_cleanup(stop_servers)
    starting = []
    for variable, (script, prefix) in SERVERS.items():
        if variable not in os.environ:
            # Below /tmp, not pytest's own folder: the user postgres must reach it.
            folder = tempfile.mkdtemp(prefix=f"ackd-{script}.", dir="/tmp")
            started.append((script, folder))
            arguments = [ROOT / "scripts" / script, "start", "--dir", folder, "--port", "auto"]
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
            starting.append((variable, prefix, process))
    for variable, prefix, process in starting:
        lines = process.communicate(timeout=300)[0].splitlines()
        if process.returncode != 0:
            pytest.exit(f"{process.args[0].name} failed", 3)
        os.environ[variable] = next(
            line[len(prefix) :] for line in lines if line.startswith(prefix)
        )


@pytest.fixture(scope="session")
def kafka():
    return Kafka(os.environ["ACKD_TEST_KAFKA"])


@pytest.fixture
def site(kafka, tmp_path):
    result = Site(kafka, os.environ["ACKD_TEST_DSN"], tmp_path)
    yield result
    result.cleanup()
