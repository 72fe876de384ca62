"""Commands and endpoints that misbehave in every way, many times, through one daemon.

Each message has the outcome that its restart deserves, and nothing is left of any: no descriptor, no
child, no process of its group, no memory.
"""

import os
import socket
import struct
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from harness import until
from harness.endpoint import ANSWER, Endpoint, answer, server_context, until_closed
from harness.oracle import check_fences, check_resolved

ROUNDS = 12
GROWTH_KIB = 16 * 1024  # of the daemon's memory, at most, over all rounds but the first

DONE, FAILED, NOT_STARTED, UNKNOWN = "done", "failed", "not_started", "unknown"
ATTEMPTS = {DONE: 1, FAILED: 2, NOT_STARTED: 2, UNKNOWN: 1}

TERMED = "timed out after 2 s, ended by TERM, signal 15 (TERM)"
KILLED = "timed out after 2 s, ended by KILL, signal 9 (KILL)"

# what a host's name asks the restarter for: (outcome, what is said of it)
COMMANDS = {
    "fine": (DONE, "exit status 0"),
    "exit3": (FAILED, "exit status 3"),
    "exit75": (NOT_STARTED, "exit status 75"),
    "exit255": (UNKNOWN, "exit status 255"),
    "hang": (UNKNOWN, TERMED),
    "stubborn": (UNKNOWN, KILLED),
    "late": (DONE, "done late: timed out after 2 s, then exit status 0"),
    "mute": (UNKNOWN, TERMED),
    "crowd": (UNKNOWN, TERMED),
    "stopped": (UNKNOWN, TERMED),
    "crash": (UNKNOWN, "killed by signal 11 (SEGV)"),
    "closed": (DONE, "exit status 0"),
    "flood": (DONE, "exit status 0"),
    "endless": (UNKNOWN, TERMED),
    "orphan": (DONE, "exit status 0"),
    "escape": (DONE, "exit status 0"),
}


# --- what a process holds ---


def descriptors(pid):
    """{kind: count}, such as {"pipe": 12, "socket": 5}"""
    found = Counter()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[os.readlink(path).partition("[")[0]] += 1
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


def children(pid):
    """Zombies included."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def memory_kib(pid):
    (line,) = (
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line
    )
    return int(line.split()[1])


def processes_of(folder):
    """{pid: arguments} of all that were started with this folder as their first argument."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if len(words) > 2 and words[1] == str(folder).encode():
            found[int(path.parent.name)] = words[2:]
    return found


# --- many rounds ---


def check_rejected(places, rows, outcome, said):
    """A restart that is not done leaves its reason, and was tried as often as it deserves."""
    for place in places:
        row = rows.get(place)
        if outcome == DONE:
            assert row is None, row
            continue
        assert (row["handler"], row["reason"]) == ("restart-host", outcome), row
        assert row["attempts"] == ATTEMPTS[outcome], row
        assert said in row["detail"], row


def outcomes(daemon):
    """{outcome: how many restarts had it}, from the log"""
    lines = [line for line in daemon.lines if "after" in line.get("msg", "")]
    ends = [line for line in lines if line.get("event", "").startswith("restart.")]
    return Counter(line["outcome"] for line in ends)


def many_rounds(site, kinds, host_of, handler):
    """Each kind once a round; the first round, which makes what stays, is waited for. Returns the
    daemon, still running, and what was produced: {kind: [place, …]}."""
    retry = {"attempts": 2, "backoff": "50ms", "backoff_max": "100ms"}
    site.create_topic(2)
    daemon = site.start(handlers={"restart-host": {**handler, "concurrency": 24}}, retry=retry)
    pid = daemon.process.pid
    places = {kind: [] for kind in kinds}

    def produce(rounds):
        hosts = [(kind, host_of(kind, n)) for n in rounds for kind in kinds]
        for (kind, _), place in zip(hosts, site.produce(*(host for _, host in hosts))):
            places[kind].append(place)
        site.wait_drained(120)

    def no_child_is_left():
        return children(pid) == []

    def no_descriptor_is_left():
        return not descriptors(pid) - before

    produce([0])
    until(no_child_is_left)
    before, memory = descriptors(pid), memory_kib(pid)
    produce(range(1, ROUNDS))

    # Between two looks a connection to a broker may come and go: as before is all that is asked.
    until(no_child_is_left)
    until(no_descriptor_is_left)
    grown = memory_kib(pid) - memory
    assert grown < GROWTH_KIB, f"{grown} KiB more"
    return daemon, places


def check_end(site, daemon, kinds, places):
    assert daemon.stop() == 0
    check_resolved(site)
    check_fences(site)
    rows = site.rejected()
    expected = Counter()
    for kind, (outcome, said) in kinds.items():
        check_rejected(places[kind], rows, outcome, said)
        expected[outcome] += ATTEMPTS[outcome] * ROUNDS
        if outcome == DONE:
            hosts = [site.saved()[place][0] for place in places[kind]]
            lines = [line for host in hosts for line in daemon.find(event="restart.done", host=host)]
            assert len(lines) == ROUNDS and all(said in line["msg"] for line in lines), kind
    assert outcomes(daemon) == expected
    ledger = site.database.rows("SELECT state, count(*) FROM restarts GROUP BY state")
    assert dict(ledger) == dict(expected)
    metrics = daemon.metrics()
    assert {o: metrics[f'ackd_restarts_total{{result="{o}"}}'] for o in ATTEMPTS} == dict(expected)
    done = sum(outcome == DONE for outcome, _ in kinds.values())
    assert metrics['ackd_messages_finished_total{result="accepted"}'] == done * ROUNDS
    assert metrics['ackd_messages_finished_total{result="rejected"}'] == (len(kinds) - done) * ROUNDS


def test_commands(site):
    exec_section = {
        "argv": site.restarter.argv(),
        "timeout": "2s",
        "kill_after": "500ms",
        "status": {"not_started": [75]},
    }
    daemon, places = many_rounds(
        site,
        COMMANDS,
        lambda kind, number: f"{kind}-{number}.example.com",
        {"exec": exec_section},
    )

    def no_grandchild_is_left():
        return processes_of(site.restarter.folder) == {}

    # Those that left their group end when nobody reads what they write any more.
    until(no_grandchild_is_left)
    check_end(site, daemon, COMMANDS, places)
    started = Counter(host.split("-")[0] for host in site.restarter.hosts())
    assert started == {kind: ATTEMPTS[outcome] * ROUNDS for kind, (outcome, _) in COMMANDS.items()}


# --- endpoints ---


def say(text):
    return lambda connection, _: connection.sendall(text)


def repeat(text, pause=0.0, first=b""):
    def behave(connection, _):
        connection.sendall(first)
        while True:
            connection.sendall(text)
            time.sleep(pause)

    return behave


def say_and_hang(text):
    def behave(connection, _):
        connection.sendall(text)
        until_closed(connection)

    return behave


def reset(connection, _):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(_connection, _):
    pass


def read_and(behave):
    """For unread ones: what is closed with something unread in it is reset."""

    def behave_later(connection, request):
        connection.recv(65536)
        behave(connection, request)

    return behave_later


OK = b"HTTP/1.1 200 OK\r\n"
LOCATION = b"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: https://127.1.1.1:%d/reset\r\n\r\n"

# name: (what it does, its certificate, outcome, what is said of it)
ENDPOINTS = {
    "fine": (answer, "good", DONE, "HTTP 204"),
    "refuses": (None, None, NOT_STARTED, "refused"),
    "hangs at TLS": (until_closed, "unread", NOT_STARTED, "timeout"),
    "speaks no TLS": (read_and(say(b"220 mail ESMTP\r\n")), "unread", NOT_STARTED, "SSL"),
    "closes at TLS": (read_and(close), "unread", NOT_STARTED, "SSL"),
    "unknown authority": (answer, "unknown", NOT_STARTED, "self-signed"),
    "expired": (answer, "expired", NOT_STARTED, "expired"),
    "another name": (answer, "another", NOT_STARTED, "certificate"),
    "hangs": (until_closed, "good", UNKNOWN, "the request was sent"),
    "closes": (close, "good", UNKNOWN, "the request was sent"),
    "resets": (reset, "good", UNKNOWN, "the request was sent"),
    "trickles headers": (repeat(b"X-A: b\r\n", 0.05, OK), "good", UNKNOWN, "the request was sent"),
    "trickles a body": (repeat(b"x", 0.05, OK + b"\r\n"), "good", DONE, "HTTP 200"),
    "headers without end": (
        repeat(b"X-A: b\r\n" * 1000, 0, OK),
        "good",
        UNKNOWN,
        "its headers do not end",
    ),
    "hints without end": (
        repeat(b"HTTP/1.1 103 Hints\r\nX-A: b\r\n\r\n" * 100),
        "good",
        UNKNOWN,
        "its headers do not end",
    ),
    "body without end": (repeat(b"x" * 65536, 0, OK + b"\r\n"), "good", DONE, "HTTP 200"),
    "too short": (say(OK + b"Content-Length: 1000\r\n\r\nshort"), "good", DONE, "HTTP 200"),
    "too short, hangs": (
        say_and_hang(OK + b"Content-Length: 1000\r\n\r\nshort"),
        "good",
        DONE,
        "HTTP 200",
    ),
    "too long": (say(OK + b"Content-Length: 2\r\n\r\nok, and more"), "good", DONE, "HTTP 200"),
    "no length": (say(OK + b"Content-Length: -1\r\n\r\n"), "good", UNKNOWN, "the request was sent"),
    "two answers": (say(OK + b"Content-Length: 0\r\n\r\n" + ANSWER), "good", DONE, "HTTP 200"),
    "not HTTP": (say(b"SSH-2.0-OpenSSH_9.2\r\n"), "good", UNKNOWN, "the request was sent"),
    "redirects": ("redirect", "good", FAILED, "HTTP 307"),
    "busy": (say(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), "good", NOT_STARTED, "HTTP 503"),
    "fails": (say(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "good", UNKNOWN, "HTTP 500"),
    "forbids": (say(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), "good", FAILED, "HTTP 403"),
}


def address(kind, number):
    return f"127.1.{list(ENDPOINTS).index(kind) + 1}.{number + 1}"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificate(folder, name, addresses, days):
    """Signed by itself: (certificate, key)"""
    certificate, key, asked = (folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
    names = ",".join(f"IP:{each}" for each in addresses)
    openssl(
        *"req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=test".split(),
        *("-addext", f"subjectAltName={names}", "-keyout", key, "-out", asked),
    )
    openssl(
        *("x509", "-req", "-in", asked, "-signkey", key, "-out", certificate),
        *("-days", days, "-copy_extensions", "copy"),
    )
    return certificate, key


@pytest.fixture
def endpoints(tmp_path):
    """({kind: Endpoint}, their port, the file with the authorities)"""
    everywhere = [address(kind, number) for kind in ENDPOINTS for number in range(ROUNDS)]
    certificates = {
        "good": make_certificate(tmp_path, "good", everywhere, 2),
        "expired": make_certificate(tmp_path, "expired", everywhere, -1),
        "another": make_certificate(tmp_path, "another", ["192.0.2.1"], 2),
        "unknown": make_certificate(tmp_path, "unknown", everywhere, 2),
    }
    authorities = tmp_path / "authorities.pem"
    known = (certificates[name][0].read_text() for name in ("good", "expired", "another"))
    authorities.write_text("".join(known))
    port = 0
    result = {}
    try:
        for kind, (behave, identity, *_) in ENDPOINTS.items():
            if behave is None:
                continue
            unread = identity == "unread"
            result[kind] = Endpoint(
                say(LOCATION % port) if behave == "redirect" else behave,
                [address(kind, number) for number in range(ROUNDS)],
                port,
                None if unread else server_context(*certificates[identity]),
                unread,
            )
            port = result[kind].port
        yield result, port, authorities
    finally:
        for endpoint in result.values():
            endpoint.stop()


def test_endpoints(site, endpoints):
    servers, port, authorities = endpoints
    handler = {
        "action": "http",
        "allow": ["127.1.*"],
        "allow_self": True,
        "http": {
            "url": "https://{{host}}:%d/reset" % port,
            "body": '{"ResetType": "ForceRestart"}',
            "connect_timeout": "2s",
            "timeout": "4s",
            "tls": {"ca_file": str(authorities)},
        },
    }
    daemon, places = many_rounds(site, ENDPOINTS, address, handler)

    def no_connection_is_left():
        return sum(endpoint.connections() for endpoint in servers.values()) == 0

    until(no_connection_is_left)
    kinds = {kind: (outcome, said) for kind, (_, _, outcome, said) in ENDPOINTS.items()}
    check_end(site, daemon, kinds, places)
    for kind, endpoint in servers.items():
        outcome = kinds[kind][0]
        # What did not start has shown nothing to anybody, unless it is the answer that says so.
        sent = 0 if outcome == NOT_STARTED and kind != "busy" else ATTEMPTS[outcome] * ROUNDS
        assert len(endpoint.requests) == sent, kind
    # Nobody went where the redirects point.
    assert servers["fine"].accepted == ROUNDS
