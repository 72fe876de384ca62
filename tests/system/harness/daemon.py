"""The daemon as a process, and its log as it comes."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from datetime import datetime

from . import BUILD

JUDGE = BUILD / "tests/sim/sim-judge"
BINARY = os.environ.get("ACKD_BIN", str(BUILD / "src/app/ackd"))

STEPS = ["signal", "intake", "cancel", "nack", "commit", "leave", "database", "metrics", "complete"]

# What the tests' own surroundings say must not reach the daemon.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("ACKD", "PG"))
}


def at(line):
    """When a line was logged, in seconds since 1970."""
    return datetime.fromisoformat(line["ts"]).timestamp()


def taped(folder):
    """The environment of a daemon that writes a tape there: see Site.judge."""
    return {**ENVIRONMENT, "ACKD_TAPE": str(folder / "tape")}


def command(*arguments, stdin="", env=None, timeout=60):
    """Runs a command of ackd to its end."""
    return subprocess.run(
        [BINARY, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, **(env or {})},
        timeout=timeout,
        check=False,
    )


class Ackd:
    """`ackd run`. Its JSON log is read by a thread and kept in a file."""

    def __init__(self, config_file, log_file, textfile, env, instance="test", socket_path=""):
        self.instance = instance
        self.config_file = config_file
        self.socket_path = socket_path
        self.lines = []  # parsed; what is not JSON: {"raw": line}
        self.killed_at = None  # by kill(); seconds since 1970
        self._textfile = textfile
        self._news = threading.Condition()
        self._log_file = log_file
        self.process = subprocess.Popen(
            [BINARY, "run", "-c", config_file],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with open(self._log_file, "wb") as copy:
            for line in self.process.stderr:
                copy.write(line)
                copy.flush()
                try:
                    parsed = json.loads(line)
                except ValueError:
                    parsed = {"raw": line.decode(errors="replace")}
                with self._news:
                    self.lines.append(parsed)
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _fail(self, what):
        tail = "\n".join(str(line) for line in self.lines[-15:])
        raise AssertionError(f"{what}; the log, all of it in {self._log_file}:\n{tail}")

    def find(self, **fields):
        """The lines that have these fields; a value may be a compiled pattern."""

        def matches(line):
            return all(
                value.search(str(line.get(name, "")))
                if isinstance(value, re.Pattern)
                else line.get(name) == value
                for name, value in fields.items()
            )

        return [line for line in list(self.lines) if matches(line)]

    def wait_for(self, timeout=30, **fields):
        """Waits for a line of the log with these fields and returns it."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                found = self.find(**fields)
                if found:
                    return found[0]
                left = deadline - time.monotonic()
                if left <= 0 or not self._reader.is_alive():
                    self._fail(f"no line with {fields}")
                self._news.wait(min(left, 0.5))

    def is_alive(self):
        return self.process.poll() is None

    def send(self, number):
        # Until its first line it may not have come to blocking signals: the linker is at work.
        with self._news:
            self._news.wait_for(lambda: self.lines or not self._reader.is_alive(), 10)
        self.process.send_signal(number)

    def wait_exit(self, timeout=30):
        """The exit status, when the whole log has been read."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._fail(f"still runs after {timeout} s")
        self._reader.join(10)
        return status

    def stop(self, number=signal.SIGTERM, timeout=30):
        self.send(number)
        return self.wait_exit(timeout)

    def kill(self):
        """As a crash does; at the end of a test too."""
        if self.is_alive():
            self.killed_at = time.time()
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        self.process.stderr.close()

    def steps(self):
        """The steps of the shutdown, as they were logged."""
        events = [line.get("event", "").partition(".") for line in self.lines]
        return [step for first, _, step in events if first == "shutdown" and step in STEPS]

    def ask(self, request, timeout=30):
        """What is answered at the control socket, as bytes; request: bytes, or an object."""
        if not isinstance(request, bytes):
            request = json.dumps(request).encode() + b"\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(timeout)
            client.connect(self.socket_path)
            client.sendall(request)
            answer = b""
            while piece := client.recv(1 << 20):
                answer += piece
            return answer

    def status(self, **fields):
        return json.loads(self.ask({"request": "status", **fields}))

    def troubles(self):
        """word: the first trouble of that word"""
        found = {}
        for trouble in self.status(messages=0)["troubles"]:
            found.setdefault(trouble["word"], trouble)
        return found

    def metrics(self):
        """Name with labels: value, from the textfile as it is now; {} before the first one."""
        try:
            text = self._textfile.read_text()
        except FileNotFoundError:
            return {}
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in pairs}
