"""A terminal to type into and to look at: tmux, with a shell in it."""

import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import until
from .daemon import ENVIRONMENT

PROMPT = "ready>"


class Terminal:
    def __init__(self, columns=80, rows=24, **environment):
        # A socket's name has 107 bytes at most, and pytest's folders are long.
        self._folder = Path(tempfile.mkdtemp(prefix="ackd-tmux."))
        env = {**ENVIRONMENT, "LC_ALL": "C.UTF-8", "PS1": PROMPT, "SHELL": "/bin/sh"}
        env.pop("TMUX", None)
        env.pop("NO_COLOR", None)
        env.update(environment)
        size = ["-x", columns, "-y", rows]
        self._tmux("new-session", "-d", *size, "exec bash --norc --noprofile", env=env)
        self._number = 0
        self.wait_for(PROMPT)

    def _tmux(self, *arguments, env=None):
        command = ["tmux", "-u", "-S", self._folder / "s", "-f", "/dev/null", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, env=env, timeout=30, check=True
        ).stdout

    def cleanup(self):
        try:
            self._tmux("kill-server")
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def type(self, line):
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def key(self, name):
        self._tmux("send-keys", name)

    def resize(self, columns, rows):
        self._tmux("resize-window", "-x", columns, "-y", rows)

    def text(self, colours=False):
        """What it shows; a line that went on in the next row is two."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def joined(self):
        """What somebody who marks it with the mouse copies: rows that were wrapped are one line."""
        return self._tmux("capture-pane", "-p", "-J")

    def wait_for(self, what, timeout=30):
        """Until it shows a text, or what a function of the text says."""

        def found():
            text = self.text()
            return text if (what(text) if callable(what) else what in text) else None

        return until(found, timeout)

    def modes(self):
        """(whether the other screen is shown, whether there is a cursor)"""
        flags = self._tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split()
        return tuple(flag == "1" for flag in flags)

    def settings(self):
        """stty -a, from a shell at its prompt."""
        self._number += 1
        path = self._folder / f"stty{self._number}"
        self.type(f"stty -a > {path}.new; mv {path}.new {path}")
        until(path.exists)
        return path.read_text()

    def run(self, *command):
        """Starts a command; its exit status is said by wait_status()."""
        self._number += 1
        path = self._folder / f"status{self._number}"
        words = " ".join(shlex.quote(str(word)) for word in command)
        self.type(f"{words}; echo $? > {path}.new; mv {path}.new {path}")
        return path

    @staticmethod
    def wait_status(path):
        until(path.exists)
        return int(path.read_text())
