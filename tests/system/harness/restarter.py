"""The restart command that restarts nothing (see restarter.c)."""

import os
import signal
from collections import namedtuple
from pathlib import Path

from . import BUILD

PROGRAM = BUILD / "tests/system/restarter"

Restart = namedtuple("Restart", "host id time_us pid daemon boot_us forked_us note")


class Restarter:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir()
        self._held = {}

    def argv(self, *more):
        """@more: its NOTE, MS and STATUS"""
        return [str(PROGRAM), str(self.folder), "{{host}}", "{{id}}", *more]

    def restarts(self):
        """Everything that was started so far, in order."""
        return self._lines("restarts")

    def ends(self):
        """Each that ran for its MS, when it had."""
        return self._lines("ends")

    def _lines(self, name):
        path = self.folder / name
        if not path.exists():
            return []
        lines = map(str.split, path.read_text().splitlines())
        return [
            Restart(host, id_, int(time), int(pid), int(daemon), int(boot), int(forked), note)
            for host, id_, time, pid, daemon, boot, forked, note in lines
        ]

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
