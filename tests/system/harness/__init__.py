"""What the system tests are made of: the daemon, Kafka, PostgreSQL, a fake restarter, an oracle."""

import os
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("ACKD_BUILD", ROOT / "build"))


def until(condition, timeout=30, interval=0.05):
    """Waits until condition() is true and returns what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {condition}")
        time.sleep(interval)
