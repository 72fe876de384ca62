"""Faults, each of which says whether it hit what it was meant for, and the load they fall on."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg

from . import ROOT, until
from .kafka import Record
from .site import request

AT_DATABASE = (
    "SELECT pid, wait_event FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = %s AND state = 'active'"
    " AND (query LIKE 'COPY%%' OR query LIKE '%%move_fence%%' OR query LIKE '%%save_each%%')"
)

SETTLED = (
    "SELECT application_name, count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = ANY(%s) AND clock_timestamp() - backend_start > interval '500ms'"
    " GROUP BY 1"
)


class Server:
    """One of scripts/local-*, in a folder of its own; it can be started again in it."""

    def __init__(self, script, folder, *options):
        self._script = ROOT / "scripts" / script
        self.folder = Path(folder)
        self._options = options
        self.start()

    def start(self):
        command = [self._script, "start", "--dir", self.folder, *self._options]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert result.returncode == 0, f"{self._script.name}: {result.stderr}"
        self.address = dict(line.split("=", 1) for line in result.stdout.splitlines())

    def stop(self):
        subprocess.run([self._script, "stop", "--dir", self.folder], check=False)

    def pid(self, name):
        return int((self.folder / name).read_text().split()[0])


class Broker(Server):
    def __init__(self, folder, *settings):
        """Settings are lines of its properties."""
        options = [word for line in settings for word in ("--set", line)]
        super().__init__("local-kafka", folder, "--port", "auto", *options)
        self.servers = self.address["bootstrap.servers"]

    def kill(self):
        pid = self.pid("n1.pid")
        os.kill(pid, signal.SIGKILL)
        until(lambda: state(pid) in (None, "Z"), 10)


class Cluster(Server):
    """PostgreSQL. Its Unix socket keeps its name over a restart."""

    def __init__(self, folder):
        super().__init__("local-postgres", folder)
        self.dsn = self.address["dsn"]

    def immediate(self):
        """pg_ctl stop -m immediate: as a crash, but that the backends are told."""
        pid = self.pid("pid")
        program = max(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        command = [program, "stop", "-m", "immediate", "-D", self.folder / "data", "-t", "20"]
        if os.geteuid() == 0:
            command = as_owner + command
        subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=40)
        until(lambda: state(pid) in (None, "Z"), 10)

    def processes(self):
        """The server with all its processes."""
        return [self.pid("pid"), *children(self.pid("pid"))]


def state(pid):
    """The letter of /proc/PID/stat; None: it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2]


def children(pid):
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except (FileNotFoundError, ProcessLookupError):
        return []


def send(pids, number):
    """To all of them, or it fails: a fault that did not happen shows nothing."""
    for pid in pids:
        os.kill(pid, number)
    if number == signal.SIGSTOP:
        until(lambda: all(state(pid) == "T" for pid in pids), 5, interval=0.001)


def peak_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"{pid} has no VmHWM")


class Watch:
    """Looks at what a daemon has at the database, over one connection."""

    def __init__(self, site):
        self._site = site
        self._connection = site.database.connect()

    def close(self):
        self._connection.close()

    def batches(self, instance):
        """(pid of the backend, what it waits for) of each batch that is at the database."""
        return self._connection.execute(AT_DATABASE, (instance,)).fetchall()

    def commands(self, daemon):
        """The restart commands of a daemon that run now."""
        folder = str(self._site.restarter.folder).encode()

        def is_running(pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                return False
            return folder in command and state(pid) != "Z"

        return list(filter(is_running, children(daemon.process.pid)))

    def is_settled(self, instances):
        """Whether each has both its sessions, and for long enough to have taken them up: the log says
        the same reason again only after that."""
        found = self._connection.execute(SETTLED, (list(instances),)).fetchall()
        return dict(found) == dict.fromkeys(instances, 2)

    def terminate(self, pid):
        return self._connection.execute("SELECT pg_terminate_backend(%s)", (pid,)).fetchall()

    def wait_batch(self, instances, timeout=30):
        """(instance, pid of the backend): whoever first has a batch at the database."""

        def look():
            for instance in instances:
                for pid, _ in self.batches(instance):
                    return instance, pid
            return None

        return until(look, timeout, interval=0.0005)


def stop_at_work(watch, daemons, timeout=60, copying=False):
    """SIGSTOPs the first of the daemons ({instance: daemon}) that has a batch at the database and a
    command that runs; both are looked at again when it stands still. With `copying` the batch must
    be in the middle of its COPY (and no command is asked for). Returns the instance and how many
    stops missed the moment and were taken back."""
    deadline = time.monotonic() + timeout
    missed = 0
    while time.monotonic() < deadline:
        for instance, daemon in daemons.items():
            pid = daemon.process.pid
            if not watch.batches(instance) or not (copying or watch.commands(daemon)):
                continue
            send([pid], signal.SIGSTOP)
            if copying:
                time.sleep(0.05)  # what is on its way arrives
                if any(event == "ClientRead" for _, event in watch.batches(instance)):
                    return instance, missed
            elif watch.batches(instance) and watch.commands(daemon):
                return instance, missed
            os.kill(pid, signal.SIGCONT)
            missed += 1
    raise AssertionError(f"no daemon was at work at once in both ways ({missed} stops missed)")


def stop_backend_at_work(watch, instances, timeout=60):
    """SIGSTOPs a backend that has a batch, and looks at it again when it stands still. Returns the
    instance it works for, its pid and how many stops missed the moment and were taken back."""
    deadline = time.monotonic() + timeout
    missed = 0
    while time.monotonic() < deadline:
        instance, pid = watch.wait_batch(instances)
        stopped = True

        def go_on(pid=pid):
            nonlocal stopped
            stopped = False
            os.kill(pid, signal.SIGCONT)

        # It may hold a lock of the server's own that the look needs: then it does not stand long.
        limit = threading.Timer(2, go_on)
        limit.start()
        try:
            send([pid], signal.SIGSTOP)
            found = pid in (one for one, _ in watch.batches(instance))
        finally:
            limit.cancel()
            limit.join()
        if found and stopped:
            return instance, pid, missed
        os.kill(pid, signal.SIGCONT)
        missed += 1
    raise AssertionError(f"no backend was stopped with its batch ({missed} stops missed)")


def kill_broker_at_work(broker, watch, daemons, timeout=30):
    """SIGSTOPs Kafka and kills it when each of the daemons has commands that run; instance: how many."""
    pid = broker.pid("n1.pid")
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        send([pid], signal.SIGSTOP)
        running = {name: len(watch.commands(daemon)) for name, daemon in daemons.items()}
        if all(running.values()):
            broker.kill()
            return running
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.1)
    raise AssertionError(f"not each daemon had work in flight: {running}")


class Load:
    """Requests for `hosts` hosts, over and over, in a thread until it is ended; with hosts=None each
    is for a host of its own, so that none shares a restart with another."""

    def __init__(self, site, rng, hosts=400, batch=200, every=0.1, pad=0):
        self.hosts = hosts and [f"node{i}.example.com" for i in range(hosts)]
        self._site = site
        self._rng = rng
        self._shape = batch, every, pad
        self._end = threading.Event()
        self._failure = None
        self.asked = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        batch, every, pad = self._shape
        while not self._end.is_set():
            n = len(self.asked)
            picked = [
                self._rng.choice(self.hosts) if self.hosts else f"node{n + i}.example.com"
                for i in range(batch)
            ]
            extra = {"pad": "x" * pad} if pad else {}
            try:
                self._site.produce(*(Record(request(host, **extra)) for host in picked))
            except Exception as failure:  # told by end()
                self._failure = failure
                return
            self.asked.update(picked)
            self._end.wait(every)

    def is_going(self):
        return self._thread.is_alive()

    def end(self):
        self._end.set()
        self._thread.join(120)
        if self._failure:
            raise self._failure
        assert self.asked, "there was no load"


class Disk:
    """A tmpfs of a few MiB that is full soon, as a tablespace; for root alone."""

    def __init__(self, folder, mib):
        self.folder = Path(folder)
        self.folder.mkdir()
        self._mount(f"size={mib}m", "-t", "tmpfs", "tmpfs")
        subprocess.run(["chown", "postgres:postgres", self.folder], check=True)
        self.folder.chmod(0o700)

    def _mount(self, options, *arguments):
        command = ["mount", "-o", options, *arguments, self.folder]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"no tmpfs could be mounted: {result.stderr}"

    def grow(self, mib):
        self._mount(f"remount,size={mib}m")

    def free(self):
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def cleanup(self):
        subprocess.run(["umount", self.folder], check=False)


def refuses(error):
    """Whether the server is away, as a look at it says."""
    return isinstance(error, psycopg.OperationalError)
