"""What the runners of scripts/ leave in docs/evidence."""

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def output_of(*command):
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return result.stdout.strip()


def write_evidence(path, name, seed, began, sources, found, machine=None):
    """@sources: what the command measures and is made of; what is not committed of it is told."""
    script = Path(sys.argv[0]).name
    changed = output_of("git", "status", "--porcelain", "--", *sources, f"scripts/{script}")
    evidence = {
        "name": name,
        "commit": output_of("git", "rev-parse", "HEAD"),
        "changed_since": [line.split()[-1] for line in changed.splitlines()],
        "command": shlex.join([f"scripts/{script}", *sys.argv[1:]]),
        "seed": seed,
        "began_at": datetime.fromtimestamp(began, timezone.utc).isoformat(timespec="seconds"),
        "duration_seconds": round(time.time() - began, 1),
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), **(machine or {})},
        **found,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(evidence, indent=2, ensure_ascii=False) + "\n")
