"""A real sshd on 127.0.1.1 whose hosts restart nothing.

Every host that can be reached is this one; which is meant is told by $ACKD_HOST, which the test's
client sends. What it does is in the host's name: `cut-…` ends the connection in the middle of the
command, `deny-…` refuses it, `hang-…` does not come back, `flood-…` says too much.
"""

import getpass
import os
import signal
import subprocess
from collections import namedtuple
from pathlib import Path

from . import until

COMMAND = """#!/bin/sh
printf '%s\\t%s\\n' "$ACKD_HOST" "$SSH_ORIGINAL_COMMAND" >>{folder}/commands
case $ACKD_HOST in
cut-*) kill -KILL $PPID ;;
deny-*) echo 'sudo: a password is required' >&2; exit 1 ;;
hang-*) echo $$ >>{folder}/hanging; exec sleep 3600 ;;
flood-*) yes 'all work and no play' | head -c 10000000 ;;
esac
"""

CONFIG = """
Port {port}
ListenAddress 127.0.1.1
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/key.pub
ForceCommand {folder}/command
AcceptEnv ACKD_HOST
AuthenticationMethods publickey
PermitRootLogin yes
StrictModes no
MaxStartups 200
UsePAM no
"""

Command = namedtuple("Command", "host command")


def make_key(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


class Sshd:
    def __init__(self, folder, port):
        self.folder = folder
        self.port = port
        self.user = getpass.getuser()
        self.key = folder / "key"
        make_key(self.key)
        host_key = make_key(folder / "host_key")
        other_key = make_key(folder / "other_key")
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(
            f"[stranger-1.prod.example.com]:{port} {other_key}"
            f"[*.prod.example.com]:{port},![stranger-1.prod.example.com]:{port},![unlisted-1.prod.example.com]:{port} {host_key}"
        )
        command = folder / "command"
        command.write_text(COMMAND.format(folder=folder))
        command.chmod(0o755)
        config = folder / "sshd_config"
        config.write_text(CONFIG.format(port=port, folder=folder))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # init makes it where sshd serves
        self._log = folder / "sshd.log"
        self._process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-E", self._log, "-f", config], stdin=subprocess.DEVNULL
        )
        until(self._listens)

    def _listens(self):
        assert self._process.poll() is None, self._log.read_text()
        return self._log.exists() and "Server listening" in self._log.read_text()

    def commands(self):
        path = self.folder / "commands"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Command(*line.split("\t")) for line in lines]

    def hosts(self):
        return [command.host for command in self.commands()]

    def stop(self):
        self._process.terminate()
        self._process.wait(10)
        # Nobody tells a command without a terminal that its connection is gone.
        hanging = self.folder / "hanging"
        for pid in map(int, hanging.read_text().split() if hanging.exists() else []):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
