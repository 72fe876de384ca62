"""The promise, checked: nothing lost, nothing doubled, nothing committed that is not resolved."""

import json
from collections import Counter, defaultdict, namedtuple

Row = namedtuple(
    "Row",
    "id place attempt request host state reason shared_with instance"
    " intended_at held_until started_at ended_at",
)

# The times are seconds since 1970, by PostgreSQL's clock, which is the daemons' too.
LEDGER = """
SELECT r.id, p.partition, r."offset", r.attempt, r.request_id, r.host, r.state, r.reason, r.shared_with,
        r.instance_name,
        extract(epoch FROM r.intended_at)::float8, extract(epoch FROM r.held_until)::float8,
        extract(epoch FROM r.started_at)::float8, extract(epoch FROM r.ended_at)::float8
FROM restarts r JOIN partitions p ON p.id = r.source WHERE p.topic = %s ORDER BY r.id
"""


def check_resolved(site):
    """Every message that was produced is in `messages`, byte for byte, or in `rejected`, or is a
    tombstone; the commits are the ends of the log and bear our mark."""
    saved = site.saved()
    rejected = site.rejected()
    produced = {place for place, record in site.produced.items() if record.value is not None}

    lost = produced - saved.keys() - rejected.keys()
    assert not lost, f"{len(lost)} lost, such as {sorted(lost)[:5]}"
    invented = (saved.keys() | rejected.keys()) - produced
    assert not invented, f"{len(invented)} invented, such as {sorted(invented)[:5]}"
    for place, (_, payload) in saved.items():
        assert payload == site.produced[place].value, f"{place} was changed"

    ends = {p: (high, "ackd") for p, (_, high) in site.kafka.ends(site.topic).items()}
    assert site.kafka.committed(site.group, site.topic) == ends


def check_fences(site):
    """Each source's fence is the end of its log."""
    rows = site.database.rows(
        "SELECT partition, next_offset FROM partitions WHERE topic = %s AND retired_at IS NULL",
        site.topic,
    )
    assert dict(rows) == {p: high for p, (_, high) in site.kafka.ends(site.topic).items()}


def ledger(site):
    """The rows of ackd.restarts, those of another topic of this name before included."""
    return [Row(id_, (p, o), *row) for id_, p, o, *row in site.database.rows(LEDGER, site.topic)]


def request_id(record):
    return str(json.loads(record.value)["id"])


class Acks:
    """Looks at the commits while the daemons work. Each request has an id of its own."""

    def __init__(self, site):
        self._site = site
        self._last = {}

    def look(self):
        """No commit has gone back since the look before, and all below each is done: saved or
        rejected; and when it was not rejected, the ledger has its end, and a restart that is done
        has ended. Returns {partition: offset}."""
        site = self._site
        produced = dict(site.produced)
        committed = site.committed()  # before what it is compared with
        back = {p: (o, committed.get(p)) for p, o in self._last.items() if committed.get(p, -1) < o}
        assert not back, f"commits went back (from, to): {back}"
        self._last = committed
        rejected = site.rejected()
        done = site.saved().keys() | rejected.keys()
        rows = {row.request: row for row in ledger(site) if row.state in ("done", "suppressed")}
        owner = {row.id: row for row in rows.values()}
        ended = site.restarter.ended()
        for (partition, offset), record in produced.items():
            if offset >= committed.get(partition, 0) or record.value is None:
                continue
            place = f"{partition}:{offset}"
            assert (partition, offset) in done, f"{place} was acked unsaved"
            if rejected.get((partition, offset), {}).get("handler") == "restart-host":
                continue
            row = rows.get(request_id(record))
            assert row, f"{place} was acked, and the ledger has no end of it"
            if row.state == "done":
                own = owner[row.shared_with] if row.shared_with else row
                assert own.request in ended, f"{place} was acked, its restart not ended"
        return committed


TICK = 0.05  # seconds by which two looks at one clock may seem to be in the wrong order
SENT = 2  # seconds that a claim which was sent may take to be granted, when its daemon is dead already


def fault(row, owner, kills):
    """What is wrong with a row by itself, or None."""
    if row.state in ("intended", "acted"):
        return "it was left open"
    if row.shared_with is not None:
        main = owner.get(row.shared_with)
        if main is None or main.shared_with or (main.host, main.state) != (row.host, row.state):
            return f"it shares with {main}"
    elif row.state == "unknown":
        if row.reason != "no_end":
            return "its daemon did not know"
        if not any(row.intended_at - SENT <= when <= row.held_until for when in kills[row.instance]):
            return f"nobody was killed in between: {kills[row.instance]}"
    return None


def times_fault(restart, row):
    """What is wrong with a start and the row that allowed it, or None."""
    at = restart.time_us / 1e6
    if not row.intended_at - TICK <= at <= row.held_until:
        return "it was started outside of its time"
    if row.state != "unknown" and row.ended_at < at - TICK:
        return "it ended before it was started"
    return None


def request_faults(site, starts, mine):
    """What is wrong with the starts, rows and rejections of each request."""
    values = {p: json.loads(r.value) for p, r in site.produced.items() if r.value is not None}
    asked = {(value["host"], str(value["id"])): place for place, value in values.items()}
    rejected = {p: row for p, row in site.rejected().items() if row["handler"] == "restart-host"}
    for request in starts.keys() | mine.keys() | asked.keys():
        about = f"{starts[request]}, {mine[request]}"
        own = [row for row in mine[request] if row.intended_at and row.shared_with is None]
        found = Counter(row.state for row in own)
        n, told = len(starts[request]), found["done"] + found["failed"]
        if not told <= n <= told + found["unknown"] or n > 1 + found["failed"]:
            yield f"{n} starts: {about}"
        elif n == len(own) == 1 and (why := times_fault(starts[request][0], own[0])):
            yield f"{why}: {about}"
        if request not in asked:
            yield f"nobody asked for it: {about}"
            continue
        ends = sum(row.state in ("done", "suppressed") for row in mine[request])
        row = rejected.get(asked[request])
        if ends + (row is not None) != 1:
            yield f"{asked[request]} has {ends} ends, rejected: {row}, {about}"
        elif (row is not None and row["reason"] == "unknown") != (not ends and found["unknown"] > 0):
            yield f"{asked[request]} was rejected: {row}, {about}"


def check_restarts(site):
    """The ledger agrees with the restarter's file, and no request was restarted twice.

    Whatever died, froze or lost its partitions: each start has its row, and each row its start; a
    request is restarted once more only when the ledger has its restart as failed. A restart of which
    nobody knows was going on when its daemon was killed, and its message was rejected for that; no
    other was. Each request for a host has an id of its own. Returns {state: rows}, `unknown` as a list
    of what is known of each, and how many of all `shared`."""
    rows = ledger(site)
    owner = {row.id: row for row in rows}
    starts, mine, kills = defaultdict(list), defaultdict(list), defaultdict(list)
    for restart in site.restarter.restarts():
        starts[restart.host, restart.id].append(restart)
    for row in rows:
        mine[row.host, row.request].append(row)
    for daemon in site.daemons():
        if daemon.killed_at:
            kills[daemon.instance].append(daemon.killed_at)
    problems = [f"{why}: {row}" for row in rows if (why := fault(row, owner, kills))]
    problems += request_faults(site, starts, mine)
    assert not problems, f"{len(problems)} such:\n" + "\n".join(problems[:5])
    found = Counter(row.state for row in rows)
    found["shared"] = sum(row.shared_with is not None for row in rows)
    result = {state: n for state, n in found.items() if state != "unknown"}
    result["unknown"] = [
        f"restarts.id {row.id}, {row.host}, {row.instance}, {len(starts[row.host, row.request])} started"
        for row in rows
        if row.state == "unknown"
    ]
    return result


def unknown(site):
    """{place: row} of what was rejected since nobody knows how its restart ended."""
    return {place: row for place, row in site.rejected().items() if row["reason"] == "unknown"}
