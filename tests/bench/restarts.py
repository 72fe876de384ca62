"""scripts/bench restarts: see its --help."""

import argparse
import json
import signal
import statistics
import subprocess
import time
from pathlib import Path

from measure import Failed, cpu, machine_busy, spread, tree_cpu

BARS_AT = 16  # the concurrency for which the bars are: the default of handlers.restart-host
RATE_BAR = 100  # restarts a second, at least
ADDED_BAR_MS = 50  # of the 99th percentile of what the ledger adds
STALL_S = 30  # without a restart more, a run has failed
PROGRAM = "/bin/true"
BODY = '{"ResetType": "GracefulRestart"}'

DESCRIPTION = f"""\
Measures how many restarts a second ackd carries out with its ledger, and what asking the ledger
adds to each, on a Kafka and a PostgreSQL of its own (scripts/local-kafka, scripts/local-postgres).

A run restarts many hosts, each once, that lie in a new topic: with `action: exec` of {PROGRAM}, and
with `action: http` at an endpoint on this machine (tests/bench/bare-restarts.c); with the handler
save, the cool-down, and no limit but `concurrency`; release build, log.level warning. Before each
run the yardstick does as many by itself: posix_spawn and wait, or libcurl's multi interface with a
connection for each request, as many at once.

The times are those of the engine's tape (ACKD_TAPE), on CLOCK_BOOTTIME. The rate counts from the
first claim to the last end that the ledger has. What the ledger adds to a restart is the time from
its claim until the engine lets the action start, and that from the end of the action until the
ledger has it; both hold what the loop had to do meanwhile. Everything is checked to be there: each
host has one row, which is done, and the endpoint got as many requests.
"""

EPILOG = f"""\
The table has medians, and in brackets the lowest and highest of the rounds; "share" is ackd's rate
as a part of the yardstick's in the same round; CPU is that of a restart, of ackd (with its
commands) and of PostgreSQL; "busy" are the cores of the whole machine that were not idle while ackd
ran, of which its own part is told by the CPU. The bars are for the default concurrency of {BARS_AT}: there are
always as many restarts under way as may be, so with more of them each waits longer for its turn. Exit
status 0: within the bars; 1: not, or a run failed.
"""


def add_command(commands, positive):
    one = commands.add_parser(
        "restarts",
        help="restarts a second with the ledger, and what the ledger adds to each",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("--restarts", type=positive, default=4000, help="a run (4000)")
    one.add_argument("--rounds", type=positive, default=5, help="how many (5)")
    one.add_argument("--partitions", type=positive, default=6, help="of the topic (6)")
    one.add_argument(
        "--concurrency",
        type=positive,
        nargs="+",
        default=[16, 64],
        metavar="N",
        help="handlers.restart-host.concurrency, and the yardstick's (16 64)",
    )
    one.set_defaults(run=restarts)


# --- the yardstick and the endpoint ----------------------------------------------------------


class Endpoint:
    """Answers every request with 204."""

    def __init__(self, program):
        self._process = subprocess.Popen(
            [program, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        port = self._process.stdout.readline().strip()
        if not port:
            raise Failed("the endpoint did not start")
        self.url = f"http://127.0.0.1:{port}"
        self.pid = self._process.pid

    def stop(self):
        """How many requests came."""
        if self._process.poll() is not None:
            return 0
        output = self._process.communicate(timeout=20)[0]
        return int(output.strip() or 0)


def bare(args, kind, n, concurrency, target):
    """Restarts a second of the yardstick."""
    program = args.build / "tests/bench/bare-restarts"
    command = [program, kind, str(n), str(concurrency), target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise Failed(f"{kind}: {done.stderr.strip()}")
    return n / float(done.stdout)


# --- a tape ----------------------------------------------------------------------------------

STEPS = (">claim", ">restart", "restarted", "concluded")


def read_tape(path, n):
    """What the ledger added to each restart, in ms, as pairs (before the action, after it), and the
    seconds from the first claim to the last end."""
    runs = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if words and words[0] in STEPS:
            run = next(int(word[1:]) for word in words[2:] if word[0] == "i")
            # The first claim of a run is where it begins.
            runs.setdefault(run, {}).setdefault(words[0], int(words[1]))
    whole = [run for run in runs.values() if len(run) == len(STEPS)]
    if len(whole) != n:
        raise Failed(f"{path}: {len(whole)} of {n} restarts are whole ({len(runs)} runs)")
    added = [
        ((r[">restart"] - r[">claim"]) / 1e3, (r["concluded"] - r["restarted"]) / 1e3) for r in whole
    ]
    first = min(run[">claim"] for run in whole)
    return added, (max(run["concluded"] for run in whole) - first) / 1e6


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def told(added):
    both = [before + after for before, after in added]
    return {
        "added_p50_ms": round(statistics.median(both), 3),
        "added_p99_ms": round(percentile(both, 0.99), 3),
        "added_max_ms": round(max(both), 3),
        "claim_p50_ms": round(statistics.median(before for before, _ in added), 3),
        "claim_p99_ms": round(percentile([before for before, _ in added], 0.99), 3),
        "end_p50_ms": round(statistics.median(after for _, after in added), 3),
        "end_p99_ms": round(percentile([after for _, after in added], 0.99), 3),
    }


# --- a run -----------------------------------------------------------------------------------


def write_config(bench, name, dsn, concurrency, action):
    config = {
        "instance": "bench",
        "kafka": {"bootstrap.servers": bench.kafka.servers, "group.id": name},
        "consume": {"topics": [name]},
        "handlers": {
            "save": {},
            "restart-host": {
                "allow": ["*"],
                "concurrency": concurrency,
                "max_age": 0,
                "per_host": {"restarts": 0},
                "fleet_concurrency": 0,
                "fuse": {"restarts": 0},
                **action,
            },
        },
        "postgres": {"dsn": dsn},
        "log": {"level": "warning", "format": "text"},
    }
    path = bench.folder / f"{name}.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


def produce(bench, args, topic):
    from harness.kafka import Record

    bench.kafka.create(topic, args.partitions)
    records = [
        Record(
            json.dumps({"host": f"n{i}.example.com", "id": f"{topic}-{i}"}).encode(),
            partition=i % args.partitions,
        )
        for i in range(args.restarts)
    ]
    bench.kafka.produce(topic, records)


def wait_done(connection, process, n):
    """Until the ledger has them all."""
    done, deadline = 0, time.monotonic() + STALL_S
    while done < n:
        time.sleep(0.2)
        query = "SELECT count(*) FROM restarts WHERE state = 'done'"
        now = connection.execute(query).fetchone()[0]
        if now > done:
            deadline = time.monotonic() + STALL_S
        done = now
        if process.poll() is not None:
            raise Failed(f"ackd ended with {process.returncode}, with {done} of {n} restarts done")
        if time.monotonic() > deadline:
            raise Failed(f"nothing goes on, with {done} of {n} restarts done")


def check(connection, n):
    rows = connection.execute(
        "SELECT count(*), count(DISTINCT host), count(*) FILTER (WHERE state = 'done'"
        " AND shared_with IS NULL AND started_at IS NOT NULL) FROM restarts"
    ).fetchone()
    if rows != (n, n, n):
        raise Failed(f"rows, hosts and restarts that are done: {rows}, and not {n} of each")


def run_ackd(bench, args, name, concurrency, action):
    """Lets it restart them all; returns what that took."""
    from harness.daemon import ENVIRONMENT
    from harness.postgres import Database

    ackd = args.build / "src/app/ackd"
    produce(bench, args, name)
    database = Database(bench.dsn, name.replace("-", "_"))
    try:
        config = write_config(bench, name, database.dsn, concurrency, action)
        made = subprocess.run(
            [ackd, "init-db", "-c", config], env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise Failed(f"init-db: {made.stderr}")
        with database.connect() as connection:
            connection.execute("CHECKPOINT")
            own = connection.info.backend_pid
            postgres = tree_cpu(bench.postgres.pid, own)
            tape = bench.folder / f"{name}.tape"
            log = bench.folder / f"{name}.log"
            with open(log, "wb") as output:
                process = subprocess.Popen(
                    [ackd, "run", "-c", config],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**ENVIRONMENT, "ACKD_TAPE": str(tape)},
                )
            try:
                wait_done(connection, process, args.restarts)
                # Before it is waited for, and while its sessions are there.
                used = cpu(process.pid, children=True), tree_cpu(bench.postgres.pid, own) - postgres
                process.send_signal(signal.SIGTERM)
                if process.wait(30) != 0:
                    raise Failed(f"it ended with {process.returncode}")
            except Failed as failure:
                raise Failed(f"{name}: {failure}\n{log.read_text()[-2000:]}") from None
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            check(connection, args.restarts)
        path = Path(f"{tape}.{process.pid}")
        added, seconds = read_tape(path, args.restarts)
        path.unlink()
        bench.kafka.delete(name)
        return {
            "restarts_per_second": round(args.restarts / seconds, 1),
            **told(added),
            "client_us": round(used[0] * 1e6 / args.restarts),
            "postgres_us": round(used[1] * 1e6 / args.restarts),
        }
    finally:
        database.drop()


def actions(endpoint):
    """kind of the yardstick: (its target, ackd's configuration)"""
    return {
        "spawn": (PROGRAM, {"action": "exec", "exec": {"argv": [PROGRAM]}}),
        "http": (
            f"{endpoint.url}/restart",
            {"action": "http", "http": {"url": f"{endpoint.url}/{{{{host}}}}/restart", "body": BODY}},
        ),
    }


def one_round(bench, args, number, endpoint):
    result = {}
    for kind, (target, action) in actions(endpoint).items():
        for concurrency in args.concurrency:
            case = f"{action['action']}-{concurrency}"
            yardstick = bare(args, kind, args.restarts, concurrency, target)
            busy, at = machine_busy(), time.monotonic()
            found = run_ackd(bench, args, f"{case}-round-{number}", concurrency, action)
            found["busy_cores"] = round((machine_busy() - busy) / (time.monotonic() - at), 2)
            found["bare_per_second"] = round(yardstick, 1)
            found["share"] = round(found["restarts_per_second"] / yardstick, 4)
            result[case] = found
            print(
                f"round {number}, {case}: {found['restarts_per_second']}/s, bare"
                f" {found['bare_per_second']}/s; the ledger adds {found['added_p50_ms']} ms,"
                f" p99 {found['added_p99_ms']} ms",
                flush=True,
            )
    return result


# --- the whole -------------------------------------------------------------------------------

COLUMNS = [
    ("restarts_per_second", "restarts/s", "{:.0f}"),
    ("bare_per_second", "bare/s", "{:.0f}"),
    ("share", "share", "{:.3f}"),
    ("added_p50_ms", "added p50 ms", "{:.2f}"),
    ("added_p99_ms", "added p99 ms", "{:.2f}"),
    ("claim_p99_ms", "claim p99", "{:.2f}"),
    ("end_p99_ms", "end p99", "{:.2f}"),
    ("client_us", "client µs", "{:.0f}"),
    ("postgres_us", "PostgreSQL µs", "{:.0f}"),
    ("busy_cores", "busy", "{:.2f}"),
]


def print_table(cases):
    def cell(values, form):
        low, high = form.format(values["min"]), form.format(values["max"])
        return f"{form.format(values['median'])} [{low}–{high}]"

    lines = [["", *(title for _, title, _ in COLUMNS)]]
    for name, values in cases.items():
        lines.append([name, *(cell(values[key], form) for key, _, form in COLUMNS)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    print()
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip())
    print()


def judge(cases):
    bars = []
    for name, values in cases.items():
        if not name.endswith(f"-{BARS_AT}"):
            continue
        rate = values["restarts_per_second"]["median"]
        added = values["added_p99_ms"]["median"]
        bars.append((f"{name}, restarts/s", rate, f"≥ {RATE_BAR}", rate >= RATE_BAR))
        bars.append((f"{name}, added p99 ms", added, f"< {ADDED_BAR_MS}", added < ADDED_BAR_MS))
    for what, value, bar, good in bars:
        print(f"{'PASS' if good else 'FAIL'}  {what}: {value:.1f} (bar: {bar})")
    return [dict(zip(("what", "value", "bar", "pass"), bar)) for bar in bars]


def restarts(bench, args):
    endpoint = Endpoint(args.build / "tests/bench/bare-restarts")
    wanted = 0
    try:
        rounds = []
        for number in range(1, args.rounds + 1):
            rounds.append(one_round(bench, args, number, endpoint))
            wanted += 2 * len(args.concurrency) * args.restarts
    finally:
        served = endpoint.stop()
    if served != wanted:
        raise Failed(f"the endpoint got {served} requests, and not {wanted}")
    cases = {
        name: {key: spread([one[name][key] for one in rounds]) for key, *_ in COLUMNS}
        for name in rounds[0]
    }
    print_table(cases)
    bars = judge(cases)
    return {
        "done": f"{args.restarts} hosts in {args.partitions} partitions restarted once each, with the"
        f" ledger, by exec of {PROGRAM} and by http at an endpoint of this machine,"
        f" concurrency {', '.join(map(str, args.concurrency))}, {args.rounds} rounds",
        "measured": "by the engine's tape: what the ledger adds is the time from a restart's claim until"
        " its action may start, and from the action's end until the ledger has it",
        "requests_at_the_endpoint": served,
        "rounds": rounds,
        "medians": cases,
        "bars": bars,
        "passed": bool(bars) and all(bar["pass"] for bar in bars),
    }
