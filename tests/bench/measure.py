"""What the runs of scripts/bench measure with."""

import os
import statistics
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    pass


def stat(pid):
    """The fields of /proc/PID/stat from the third (state) on; None: it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def cpu(pid, children=False):
    """Seconds of a process, and of its children that ended."""
    fields = stat(pid)
    if fields is None:
        return 0.0
    return sum(map(int, fields[11 : 15 if children else 13])) * TICK_S


def tree_cpu(parent, leave_out):
    """Seconds of a process with all that it ever started, but for one."""
    total = cpu(parent, children=True)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != leave_out:
            fields = stat(entry)
            if fields is not None and int(fields[1]) == parent:
                total += cpu(entry)
    return total


def machine_busy():
    """Seconds of all cores that were not idle."""
    fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) * TICK_S


def peak_kib(pid):
    """VmHWM; 0: it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
