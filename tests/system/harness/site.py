"""Everything that one test has to itself: topic, group, database, restarter, folder."""

import json
import shutil
import subprocess
import tempfile
import uuid

from . import until
from .daemon import JUDGE, Ackd, command, taped
from .kafka import Record
from .postgres import Database
from .restarter import Restarter


# Keys of restart-host with which check-config has nothing to warn of; Site's own have no limits.
LIMITS = {"cooldown": "15m", "max_age": "1h", "fleet_concurrency": 5, "fuse": {"restarts": 30}}


def merge(base, changes):
    """A copy of base with changes put in, section by section; None takes a key out."""
    result = dict(base)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merge(result[name], value)
        else:
            result[name] = value
    return result


def request(host, **fields):
    """The value of a message that asks for a restart."""
    fields.setdefault("id", uuid.uuid4().hex)
    return json.dumps({"host": host, **fields}).encode()


class Site:
    def __init__(self, kafka, server_dsn, folder):
        name = "t" + uuid.uuid4().hex[:12]
        self.kafka = kafka
        self.topic = name
        self.group = name
        self.folder = folder
        self.produced = {}  # (partition, offset): Record
        self.database = Database(server_dsn, name)
        self.restarter = Restarter(folder / "restarter")
        self._daemons = []
        # The path of a socket has 107 bytes, pytest's folders may have more.
        self._sockets = tempfile.mkdtemp(prefix="ackd-")

    def cleanup(self):
        for daemon in self._daemons:
            daemon.kill()
        try:
            self.restarter.cleanup()
            self.database.drop()
        finally:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self.judge()

    def judge(self):
        """The invariants of the simulation, on what the daemons wrote down of their engines."""
        for daemon in self._daemons:
            began = daemon.find(event="daemon.start")
            path = self.folder / f"tape.{daemon.process.pid}"
            assert path.exists() or not began, f"a daemon wrote no {path}"
            assert not daemon.find(event="daemon.tape"), f"{path} is not complete"
        tapes = sorted(self.folder.glob("tape.*"))
        if tapes:
            result = subprocess.run(
                [JUDGE, *tapes], capture_output=True, text=True, timeout=120, check=False
            )
            (self.folder / "judged").write_text(result.stdout)
            assert result.returncode == 0, result.stdout + result.stderr

    # --- configuration ---

    def config(self, **changes):
        return merge(
            {
                "instance": "test",
                "kafka": {
                    "bootstrap.servers": self.kafka.servers,
                    "group.id": self.group,
                    "session.timeout.ms": "6000",
                    "heartbeat.interval.ms": "1000",
                },
                "consume": {"topics": [self.topic], "commit_interval": "200ms"},
                "handlers": {
                    "save": {},
                    "restart-host": {
                        "action": "exec",
                        "allow": ["*.*", "*:*"],
                        # Without limits, or tests with few hosts would meet them all the time.
                        "cooldown": 0,
                        "max_age": 0,
                        "per_host": {"restarts": 0},
                        "fleet_concurrency": 0,
                        "fuse": {"restarts": 0},
                        "exec": {
                            "argv": self.restarter.argv(),
                            "timeout": "60s",
                            "kill_after": "1s",
                        },
                    },
                },
                "postgres": {"dsn": self.database.dsn},
                "retry": {"backoff": "100ms", "backoff_max": "1s"},
                "log": {"level": "debug", "format": "json"},
                "metrics": {"textfile": str(self.folder / "metrics.prom"), "interval": "200ms"},
            },
            changes,
        )

    def write_config(self, name="ackd.yaml", **changes):
        """JSON is YAML, so no module for YAML is needed."""
        path = self.folder / name
        path.write_text(json.dumps(self.config(**changes), indent=1))
        return path

    # --- Kafka ---

    def create_topic(self, partitions=1, **config):
        self.kafka.create(self.topic, partitions, **config)

    def remake_topic(self, partitions=1):
        """Another topic of the same name: what was produced to the old one is forgotten."""
        self.kafka.delete(self.topic)
        self.create_topic(partitions)
        self.produced = {}

    def produce(self, *messages, partition=-1):
        """Messages are Records, values as bytes, or hosts; returns each one's place."""

        def record(message):
            if isinstance(message, Record):
                return message
            value = message if isinstance(message, bytes) else request(message)
            return Record(value, partition=partition)

        records = list(map(record, messages))
        places = self.kafka.produce(self.topic, records)
        self.produced.update(zip(places, records))
        return places

    def transact(self, end, *hosts, partition=0):
        """Requests in one transaction (see Kafka.transact); only what is committed counts as
        produced. Returns each one's place."""
        records = [Record(request(host), partition=partition) for host in hosts]
        places = self.kafka.transact(self.topic, end, records)
        if end == "commit":
            self.produced.update(zip(places, records))
        return places

    def committed(self):
        """partition: offset"""
        return {p: o for p, (o, _) in self.kafka.committed(self.group, self.topic).items()}

    def is_drained(self):
        """Whether the committed offset of each partition is its end."""
        ends = {p: high for p, (_, high) in self.kafka.ends(self.topic).items()}
        return self.committed() == ends

    def wait_drained(self, timeout=60):
        until(self.is_drained, timeout, interval=0.2)

    def wait_joined(self, members=1):
        until(lambda: self.kafka.group(self.group) == ("Stable", members), interval=0.1)

    # --- the daemon ---

    def daemons(self):
        """All that were started, also those that have ended."""
        return list(self._daemons)

    def init_db(self):
        result = command("init-db", "-c", self.write_config())
        assert result.returncode == 0, result.stderr

    def start(self, init=True, **changes):
        """Starts a daemon; before, the schema is made when it is not there."""
        if init and not self.database.has_schema():
            self.init_db()
        number = len(self._daemons) + 1
        # Its own, since several may have one name.
        changes = merge({"control": {"socket": self.socket_path(number)}}, changes)
        config = self.config(**changes)
        daemon = Ackd(
            self.write_config(f"ackd-{number}.yaml", **changes),
            self.folder / f"ackd-{number}.log",
            self.folder / config["metrics"]["textfile"],
            taped(self.folder),
            config["instance"],
            config.get("control", {}).get("socket", ""),
        )
        self._daemons.append(daemon)
        return daemon

    def socket_path(self, number):
        return f"{self._sockets}/{number}.sock"

    def start_file(self, path, changes):
        """A daemon with a configuration file as it is; {key: value as text} is told by variables, and
        so is everything that is this test's own."""
        if not self.database.has_schema():
            self.init_db()
        number = len(self._daemons) + 1
        textfile = self.folder / "metrics.prom"
        keys = {
            "instance": "test",
            "control.socket": self.socket_path(number),
            "kafka.bootstrap_servers": self.kafka.servers,
            "kafka.group_id": self.group,
            "consume.topics": json.dumps([self.topic]),
            "consume.commit_interval": "200ms",
            "postgres.dsn": json.dumps(self.database.dsn),
            "retry.backoff": "100ms",
            "retry.backoff_max": "1s",
            "log.level": "debug",
            "log.format": "json",
            "metrics.textfile": textfile,
            "metrics.interval": "200ms",
            **{
                # A list is YAML already, and so is a number; what is text stays text, whatever is
                # in it.
                key: value
                if isinstance(value, int) or str(value).startswith("[")
                else json.dumps(str(value))
                for key, value in changes.items()
            },
        }
        variables = {
            "ACKD__" + key.replace(".", "__").replace("-", "_").upper(): str(value)
            for key, value in keys.items()
        }
        daemon = Ackd(
            path,
            self.folder / f"ackd-{number}.log",
            textfile,
            {**taped(self.folder), **variables},
        )
        self._daemons.append(daemon)
        return daemon

    def decide(self, partition, *options, why="a test"):
        """ackd partition; the finished process"""
        place = f"{self.topic}/{partition}"
        return command("partition", place, *options, "--why", why, "-c", self.write_config())

    # --- what the database has ---

    def saved(self):
        """(partition, offset): (host, payload in bytes), of the topic as it is now; fails when one
        is there twice."""
        rows = self.database.rows(
            'SELECT m.partition, "offset", host, payload::text FROM saved_messages m'
            " JOIN partitions p ON p.id = m.source WHERE m.topic = %s AND p.retired_at IS NULL",
            self.topic,
        )
        result = {(p, o): (host, payload.encode()) for p, o, host, payload in rows}
        assert len(result) == len(rows), "a message was saved twice"
        return result

    def rejected(self):
        """(partition, offset): its row as a dict"""
        names = "value host handler reason detail attempts handlers_done".split()
        rows = self.database.rows(
            f'SELECT p.partition, r."offset", {", ".join("r." + name for name in names)}'
            " FROM rejected r JOIN partitions p ON p.id = r.source WHERE p.topic = %s",
            self.topic,
        )
        return {(p, o): dict(zip(names, row)) for p, o, *row in rows}
