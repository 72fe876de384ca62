"""The local servers, for those who play with them."""

import socket
import subprocess

from harness import ROOT


def test_local_kafka_names_the_port_that_is_in_use(tmp_path):
    """Another Kafka there would answer in its place, and be taken for the one that was started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            [ROOT / "scripts/local-kafka", "start", "--dir", tmp_path / "kafka", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"local-kafka: port {port} is in use\n"


def test_demo():
    """README's first command: all is saved, restarted and acked, and it ends in order."""
    result = subprocess.run(
        [ROOT / "scripts/demo"], capture_output=True, text=True, timeout=500, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "10000 received, 10000 saved" in result.stdout and "10000 accepted" in result.stdout
    assert "exit status  0" in result.stdout
