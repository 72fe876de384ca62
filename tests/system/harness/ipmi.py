"""BMCs that speak IPMI over the network and switch nothing: ipmi_sim, of the package openipmi.

Each has an address, and a command for its chassis, which writes down what it is asked for. `Deaf` is
a BMC whose answers are lost as soon as it has been told to switch.
"""

import socket
import subprocess
import threading

from . import until

CHASSIS = """#!/bin/sh
# 0x20 get NAME...; 0x20 set NAME VALUE
shift
what=$1
shift
case $what in
get) for name; do read -r value <"{folder}/$name" && echo "$name:$value"; done ;;
set) echo "$1 $2" >>"{folder}/calls" && echo "$2" >"{folder}/$1" ;;
esac
"""

CONFIG = """
name "bmc"
set_working_mc 0x20
startlan 1
  addr {address} {port}
  priv_limit operator
  allowed_auths_operator md5
  guid a123456789abcdefa123456789abcdef
endlan
chassis_control "{folder}/chassis 0x20"
user 2 true "ackd" "{password}" operator 10 md5
"""

COMMANDS = """
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
"""


class Bmc:
    def __init__(self, folder, address, port, password):
        folder.mkdir()
        self._folder = folder
        values = {"folder": folder, "address": address, "port": port, "password": password}
        chassis = folder / "chassis"
        chassis.write_text(CHASSIS.format(**values))
        chassis.chmod(0o755)
        for name in ("power", "reset", "boot", "identify", "shutdown"):
            (folder / name).write_text("1\n" if name == "power" else "0\n")
        (folder / "config").write_text(CONFIG.format(**values))
        (folder / "commands").write_text(COMMANDS)
        (folder / "state").mkdir()
        self._process = subprocess.Popen(
            ["ipmi_sim", "-n", "-c", "config", "-f", "commands", "-s", "state"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=open(folder / "log", "wb"),
            stderr=subprocess.STDOUT,
        )
        until(lambda: self._answers(address, port))

    def _answers(self, address, port):
        """To RMCP's ping: Presence Ping of the Alert Standard Format."""
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as pinging:
            pinging.settimeout(0.2)
            try:
                pinging.connect((address, port))
                pinging.send(bytes.fromhex("0600ff06000011be80000000"))
                return pinging.recv(100)
            except OSError:
                return None

    def calls(self):
        """What the chassis was told, in order: ("power", "0"), …"""
        path = self._folder / "calls"
        return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []

    def stop(self):
        self._process.terminate()
        self._process.wait(10)


class Deaf:
    """In front of a BMC: as soon as that was told to switch, its answers go nowhere."""

    def __init__(self, bmc, bmc_address, address, port):
        self._bmc = bmc
        self._client = None
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind((address, port))
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back.connect((bmc_address, port))
        self._threads = [
            threading.Thread(target=self._ask, daemon=True),
            threading.Thread(target=self._answer, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self):
        while True:
            data, self._client = self._front.recvfrom(65536)
            if not data:
                return
            self._back.send(data)

    def _answer(self):
        while True:
            data = self._back.recv(65536)
            if not data:
                return
            if not self._bmc.calls():
                self._front.sendto(data, self._client)

    def stop(self):
        for unconnected in (self._front, self._back):
            try:
                unconnected.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # says that it is not connected, and wakes whoever reads
        for thread in self._threads:
            thread.join(10)
        self._front.close()
        self._back.close()
