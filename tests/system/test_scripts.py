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
