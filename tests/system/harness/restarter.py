"""The restart command that restarts nothing (see restarter.c)."""

import os
import signal
from collections import namedtuple
from pathlib import Path

from . import BUILD

PROGRAM = BUILD / "tests/system/restarter"

Restart = namedtuple("Restart", "host id time_us pid daemon")


class Restarter:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir()
        self._held = {}

    def argv(self):
        return [str(PROGRAM), str(self.folder), "{{host}}", "{{id}}"]

    def restarts(self):
        """Everything that was started so far, in order."""
        path = self.folder / "restarts"
        if not path.exists():
            return []
        lines = path.read_text().splitlines()
        return [Restart(h, i, int(t), int(p), int(d)) for h, i, t, p, d in map(str.split, lines)]

    def hosts(self):
        return [restart.host for restart in self.restarts()]

    def hold(self, host):
        """Restarts of this host (hold-…) run until release()."""
        assert host.startswith("hold-")
        os.mkfifo(self.folder / host)
        return host

    def release(self, host):
        # Both ends and a page of bytes: who opens it now or later reads one and goes on.
        fd = os.open(self.folder / host, os.O_RDWR | os.O_NONBLOCK)
        os.write(fd, bytes(4096))
        self._held[host] = fd

    def running(self):
        """The pids of those that still run."""
        return [restart.pid for restart in self.restarts() if self._is_ours(restart.pid)]

    def ended(self):
        """The ids of the requests of which a restart ran to its end."""
        return {r.id for r in self.restarts() if not self._is_ours(r.pid, r.id)}

    def _is_ours(self, pid, request_id=""):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return str(self.folder).encode() in words and request_id.encode() in words

    def cleanup(self):
        for fd in self._held.values():
            os.close(fd)
        for pid in self.running():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
