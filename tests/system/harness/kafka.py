"""Kafka beside the daemon, through kafka-tool (see kafka-tool.c)."""

import json
import struct
import subprocess
from dataclasses import dataclass
from typing import Optional

from . import BUILD

TOOL = BUILD / "tests/system/kafka-tool"


@dataclass
class Record:
    value: Optional[bytes]
    key: Optional[bytes] = None
    partition: int = -1
    timestamp_ms: int = 0
    headers: tuple = ()  # of (name, value) in bytes; a value may be None

    def pack(self):
        def size(data):
            return -1 if data is None else len(data)

        head = struct.pack(
            "<iqiii",
            self.partition,
            self.timestamp_ms,
            size(self.key),
            size(self.value),
            len(self.headers),
        )
        parts = [head, self.key or b"", self.value or b""]
        for name, value in self.headers:
            parts += [struct.pack("<ii", len(name), size(value)), name, value or b""]
        return b"".join(parts)


class Kafka:
    def __init__(self, servers):
        self.servers = servers

    def _run(self, *arguments, data=b""):
        result = subprocess.run(
            [TOOL, self.servers, *map(str, arguments)],
            input=data,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr.decode()
        return json.loads(result.stdout) if result.stdout else None

    def create(self, topic, partitions, **config):
        options = [f"{name.replace('_', '.')}={value}" for name, value in config.items()]
        self._run("create", topic, partitions, *options)

    def delete(self, topic):
        self._run("delete", topic)

    def grow(self, topic, partitions):
        self._run("grow", topic, partitions)

    def trim(self, topic, partition, offset):
        """Deletes what lies below the offset, as retention does."""
        self._run("trim", topic, partition, offset)

    def forget(self, group, topic, partition):
        """Deletes a commit, as its expiry does: only while the group has no member."""
        self._run("forget", group, topic, partition)

    def produce(self, topic, records):
        """Returns each record's (partition, offset)."""
        data = b"".join(record.pack() for record in records)
        return [tuple(place) for place in self._run("produce", topic, data=data)]

    def transact(self, topic, end, records):
        """One transaction that ends as said: commit, abort, or leave (it stays open until the next
        one begins). Returns each record's (partition, offset)."""
        data = b"".join(record.pack() for record in records)
        return [tuple(place) for place in self._run("transact", topic, end, data=data)]

    def offsets(self, topic):
        """partition: what a reader finds in it, in order"""
        return {int(p): found for p, found in self._run("offsets", topic).items()}

    def records(self, topic):
        """All that is in it: Records with their partitions, in its order."""

        def data(text):
            return None if text is None else bytes.fromhex(text)

        return [
            Record(
                data(found["value"]),
                key=data(found["key"]),
                partition=int(partition),
                headers=tuple((data(name), data(value)) for name, value in found["headers"]),
            )
            for partition, all_of_it in self._run("records", topic).items()
            for found in all_of_it
        ]

    def forbid(self, topic):
        """Nobody may write to it any more: of a Broker with acls."""
        self._run("forbid", topic)

    def permit(self, topic):
        self._run("permit", topic)

    def ends(self, topic):
        """partition: (low, high)"""
        return {int(p): tuple(ends) for p, ends in self._run("ends", topic).items()}

    def committed(self, group, topic):
        """partition: (offset, metadata), of the partitions that have a commit"""
        found = self._run("committed", group, topic)
        return {int(p): (entry["offset"], entry["metadata"]) for p, entry in found.items()}

    def commit(self, group, topic, partition, offset, metadata=""):
        """As an operator's tool does: only while the group has no member."""
        self._run("commit", group, topic, partition, offset, metadata)

    def group(self, group):
        """(state, members)"""
        found = self._run("group", group)
        return found["state"], found["members"]

    def assignor(self, group):
        """The strategy that its members agreed on."""
        return self._run("group", group)["assignor"]

    def silent_member(self, group, topic):
        """A member that does not answer to a rebalance: who joins after it waits. Kill it."""
        process = subprocess.Popen(
            [TOOL, self.servers, "member", group, topic],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == b"joined\n"
        return process
