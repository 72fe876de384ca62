"""The promise about restarts, checked: the ledger against what the restarter wrote down.

Nothing here asks a server: the rows, the lines of the restarter and the lives of the daemons are
given, so that a test can plant what has to be found (test_restarts_oracle.py)."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field

START_WITHIN = 5.0  # seconds from a grant to the start, at most (LEDGER_START_WITHIN_US)
TICK = 0.01  # of the kernel's time of a process's making

QUERY = """
SELECT r.id, p.partition, r."offset", r.attempt, r.host, r.state, r.reason, r.shared_with,
        r.instance_name, extract(epoch FROM r.intended_at)::float8,
        extract(epoch FROM r.held_until)::float8, extract(epoch FROM r.ended_at)::float8,
        r.acted_at IS NOT NULL, extract(epoch FROM r.requested_at)::float8
FROM restarts r JOIN partitions p ON p.id = r.source ORDER BY r.id
"""


@dataclass
class Row:
    """One of ackd.restarts; the times are seconds since 1970, or None."""

    id: int
    partition: int
    offset: int
    attempt: int
    host: str
    state: str
    reason: str
    shared_with: int
    instance: str
    intended_at: float
    held_until: float
    ended_at: float
    acted: bool = False  # the action had ended well, and verify had still to tell
    requested_at: float = None

    @property
    def place(self):
        return self.partition, self.offset

    def is_claim(self):
        """Whether it was the right to start, of this message's own."""
        return self.intended_at is not None and self.shared_with is None


@dataclass
class Life:
    """A process of ackd; times in seconds since 1970."""

    name: str  # restarts.instance_name, which is its own
    pid: int
    killed_at: float = None
    open_at_kill: set = field(default_factory=set)  # restarts.id of its open intents
    frozen: list = field(default_factory=list)  # of (from, to)

    def told(self, row):
        """Whether the row's end is this process's own: somebody else's came when it was dead."""
        return row.ended_at is not None and not (self.killed_at and row.ended_at > self.killed_at)

    def slept_over(self, row):
        """Whether it was stopped when the row's end was to be told, until nobody waited for it."""
        return any(
            begin - 0.2 <= row.ended_at <= end and begin <= row.held_until <= end
            for begin, end in self.frozen
        )


def complain(problems):
    """All of a kind at once: one is often understood by the others."""
    assert not problems, f"{len(problems)} such:\n" + "\n".join(problems[:8])


class Found:
    """Everything that was found at the end, with its cross-references."""

    def __init__(self, rows, starts, ends, lives, rejected, produced):
        """@starts, @ends: of Restarter, whose note is the message's number; @rejected: {place: reason};
        @produced: {place: number}"""
        self.rows = rows
        self.starts = starts
        self.ends = {end.pid: end.time_us / 1e6 for end in ends}
        self.lives = {life.name: life for life in lives}
        self.rejected = rejected
        self.produced = produced
        self.by_id = {row.id: row for row in rows}
        self.by_place = defaultdict(list)
        for row in rows:
            self.by_place[row.place].append(row)
        self.start_of = self._match()  # restarts.id: its start

    def _match(self):
        """Each start belongs to the last claim before it, of its message, by the process that it was
        started by."""
        names = {life.pid: life.name for life in self.lives.values()}
        problems = []
        dead = {life.name for life in self.lives.values() if life.killed_at}
        places = {str(number): place for place, number in self.produced.items()}
        result = {}
        for start in self.starts:
            assert start.note in places, f"a start that nobody asked for: {start}"
            # A command that outlives its daemon while it begins sees another parent.
            owners = {names[start.daemon]} if start.daemon in names else dead
            claims = [
                row
                for row in self.by_place[places[start.note]]
                if row.is_claim() and row.instance in owners and row.intended_at <= start.time_us / 1e6
            ]
            if not claims:
                problems.append(f"a start without an intent in the ledger: {start}")
                continue
            row = max(claims, key=lambda row: row.intended_at)
            if row.host != start.host:
                problems.append(f"{start} of {row}")
            if row.id in result:
                problems.append(f"two starts of one intent: {start}, {result[row.id]}, {row}")
            result[row.id] = start
        complain(problems)
        return result

    def is_late(self, row):
        """Whether its end was told when it had been unknown for some time, perhaps."""
        if row.ended_at is None or row.held_until is None:
            return False
        return row.ended_at >= row.held_until or self.lives[row.instance].slept_over(row)

    def came_to_light(self, row):
        """Whether it is late, and its own process told it, which nobody waited for any more."""
        return self.is_late(row) and self.lives[row.instance].told(row)

    def was_delayed(self, row):
        """Whether its process was stopped between its last look at the clock and the spawn: design.md's
        gap. It went on when the grant was void already, and started at once."""
        start = self.start_of[row.id]
        at = start.boot_us / 1e6
        skew = start.time_us / 1e6 - at
        forked = start.forked_us / 1e6 + skew
        return any(
            begin <= row.intended_at + START_WITHIN and end <= forked + 2 * TICK <= end + 1
            for begin, end in self.lives[row.instance].frozen
        ) and forked > row.intended_at + START_WITHIN


def check_cooldown(found, cooldown):
    """No two starts of a host are closer than that. Returns the pairs that only a process caused that
    was stopped between its last check and the spawn."""
    by_host = defaultdict(list)
    for row_id, start in found.start_of.items():
        by_host[start.host].append((start.forked_us / 1e6, row_id))
    delayed, problems = [], []
    for host, starts in by_host.items():
        starts.sort()
        for (first_at, first), (again_at, again) in zip(starts, starts[1:]):
            if again_at - first_at >= cooldown - TICK:
                continue
            rows = [found.by_id[first], found.by_id[again]]
            pair = f"{host}: restarts.id {first} and {again}, {again_at - first_at:.2f} s apart"
            if any(map(found.was_delayed, rows)):
                delayed.append(pair)
            else:
                problems.append(f"two starts in a cool-down, {pair}: {rows}")
    complain(problems)
    return delayed


def line_fault(found, row):
    """Why a row does not agree with the restarter's file, or None."""
    start = found.start_of.get(row.id)
    if row.state in ("intended", "acted"):
        return "it was left open"
    if row.shared_with is not None:
        main = found.by_id.get(row.shared_with)
        if main is None or not main.is_claim() or main.host != row.host or main.place == row.place:
            return f"it shares with {main}"
        if main.state != row.state:
            return f"it does not say what {main} says"
        return f"it shares, and was started: {start}" if start else None
    if row.state in ("done", "failed") and start is None:
        return "nothing was started for it"
    if row.state in ("suppressed", "not_started") and start:
        return f"it was started: {start}"
    if row.state == "done" and start.pid not in found.ends:
        return f"it is done, and never came to its end: {start}"
    return None


def check_lines(found):
    """The ledger and the restarter's file agree, line by line. (That each start has its row, Found
    has seen.)"""
    faults = [(line_fault(found, row), row) for row in found.rows]
    complain([f"{fault}: {row}" for fault, row in faults if fault])


def check_suppressed(found, cooldown, covers):
    """What was suppressed had its restart: `superseded` one that had not ended for longer than @covers
    seconds (the deadline of verify) when it was requested, `cooldown` one that had just started."""
    by_host = defaultdict(list)
    for start in found.starts:
        at = start.time_us / 1e6
        # Without an end of its own it was killed, or runs still.
        by_host[start.host].append((at, found.ends.get(start.pid, at + cooldown)))
    problems = []
    for row in found.rows:
        starts = [(at, end) for at, end in by_host[row.host] if row.ended_at and at <= row.ended_at]
        if row.reason == "superseded":
            good = any(row.requested_at <= end + covers for _, end in starts)
        elif row.reason == "cooldown":
            good = any(row.ended_at - at <= cooldown + 0.5 for at, _ in starts)
        else:
            continue
        if not good:
            problems.append(f"no restart was there for it: {row}; the last ones: {starts[-2:]}")
    complain(problems)


def check_resolved_once(found):
    """Each message has one end: done, suppressed or rejected. Returns how many have one more, which came
    to light late, when the frozen process went on that had it."""
    late, problems = 0, []
    for place in found.produced:
        rows = found.by_place[place]
        ends = [row for row in rows if row.state in ("done", "suppressed")]
        more = [row for row in ends if found.came_to_light(found.by_id[row.shared_with or row.id])]
        n = len(ends) + (place in found.rejected)
        if n == 1 or (n > 1 and n - len(more) <= 1):
            late += n > 1
        else:
            problems.append(f"{place} has {n} ends: {rows}, rejected: {found.rejected.get(place)}")
    stray = [row for row in found.rows if row.place not in found.produced]
    complain(problems + [f"a row of no message: {row}" for row in stray])
    return late


def hits(found):
    """Of the kills those that fell between an intent and its end, which was never told by the process.
    Returns {moment: how many}; the moment is that of the intent which had come farthest."""
    result = Counter()
    for life in found.lives.values():
        moments = set()
        for row_id in life.open_at_kill:
            row = found.by_id[row_id]
            if life.told(row):
                continue  # it had been sent already
            start = found.start_of.get(row_id)
            if start is None:
                moments.add("before the start")
            elif row.acted:
                moments.add("while it was verified")
            elif found.ends.get(start.pid, life.killed_at) < life.killed_at:
                moments.add("between its end and the ledger")
            else:
                moments.add("while it ran")
        order = (
            "while it was verified",
            "between its end and the ledger",
            "while it ran",
            "before the start",
        )
        first = next((moment for moment in order if moment in moments), None)
        if first:
            result[first] += 1
    return dict(result)


def unknowns(found):
    """A line for each restart that was unknown, or may have been for some time, with how it ended; all
    have an end."""
    result = []
    for row in found.rows:
        corrected = row.state in ("done", "failed") and row.is_claim() and found.is_late(row)
        if row.state != "unknown" and not corrected:
            continue
        ways = []
        if corrected:
            who = "its process" if found.lives[row.instance].told(row) else "verify, at the next owner"
            ways.append(f"{row.state}, says {who}")
        for other in found.by_place[row.place]:
            if other.attempt > row.attempt:
                shared = f" (shared with {other.shared_with})" if other.shared_with else ""
                why = f" ({other.reason})" if other.reason else ""
                ways.append(f"attempt {other.attempt}: {other.state}{why}{shared}")
        if row.place in found.rejected:
            ways.append(f"rejected ({found.rejected[row.place]})")
        assert ways, f"an unknown without an end: {row}"
        start = found.start_of.get(row.shared_with or row.id)
        began = "started" if start else "not started"
        whose = f"shared with {row.shared_with}" if row.shared_with else row.instance
        result.append(
            f"{row.id} {row.host} {row.partition}/{row.offset} attempt {row.attempt} ({whose}), {began},"
            f" {row.reason or 'unknown'}: {'; '.join(ways)}"
        )
    return result


def number_of(record):
    """Of a message: a request id may come again."""
    return json.loads(record.value)["n"]
