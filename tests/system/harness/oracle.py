"""The promise, checked: nothing lost, nothing doubled, nothing committed that is not resolved."""

import json
from collections import Counter

from .daemon import at


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


class Acks:
    """Looks at the commits while the daemons work."""

    def __init__(self, site):
        self._site = site
        self._last = {}

    def look(self):
        """No commit has gone back since the look before, and all below each is done: saved or
        rejected, and a restart of it has ended. Returns {partition: offset}."""
        site = self._site
        produced = dict(site.produced)
        committed = site.committed()  # before what it is compared with
        back = {p: (o, committed.get(p)) for p, o in self._last.items() if committed.get(p, -1) < o}
        assert not back, f"commits went back (from, to): {back}"
        self._last = committed
        done = site.saved().keys() | site.rejected().keys()
        ended = site.restarter.ended()
        for (partition, offset), record in produced.items():
            if offset < committed.get(partition, 0) and record.value is not None:
                assert (partition, offset) in done, f"{partition}:{offset} was acked unsaved"
                request_id = json.loads(record.value)["id"]
                assert request_id in ended, f"{partition}:{offset} was acked, its restart not ended"
        return committed


SLACK = 2  # seconds from a daemon's spawn to the restarter's own time, at most, on a busy machine


def check_repeats(site, most, frozen=()):
    """A request was restarted once more only after the daemon that had begun it died or let go of
    the partition; at most `most` for each time that one did. Each message is for a host of its own.
    `frozen`: (daemon, when it was stopped); the others were given its partitions before it could say
    so. Returns {reason: repeats}."""
    ends = [(d.process.pid, "killed", d.killed_at) for d in site.daemons() if d.killed_at]
    ends += [(daemon.process.pid, "frozen", when) for daemon, when in frozen]
    for daemon in site.daemons():
        for line in daemon.find(event="kafka.revoked"):
            reason = "lost" if "lost" in line["msg"] else "revoked"
            ends.append((daemon.process.pid, reason, at(line)))
    known = {daemon.process.pid for daemon in site.daemons()}
    killed = {pid for pid, reason, _ in ends if reason == "killed"}

    def reason_for(first, again):
        # A command that outlives its daemon while it begins sees another parent.
        owners = {first.daemon} if first.daemon in known else killed
        for index, (pid, _, when) in enumerate(ends):
            if pid in owners and first.time_us / 1e6 - SLACK <= when <= again.time_us / 1e6:
                return index
        raise AssertionError(f"restarted again for no reason: {first}, {again}; {ends}")

    runs = {}
    for restart in site.restarter.restarts():
        runs.setdefault(restart.id, []).append(restart)
    asked = {json.loads(r.value)["id"] for r in site.produced.values() if r.value is not None}
    assert runs.keys() == asked, f"{len(asked - runs.keys())} never, {len(runs.keys() - asked)} unasked"
    times = Counter(
        reason_for(first, again)
        for each in runs.values()
        for first, again in zip(each, each[1:])
    )
    found = Counter()
    for index, n in times.items():
        assert n <= most, f"{n} repeats at once, more than {most}: {ends[index]}"
        found[ends[index][1]] += n
    return dict(found)
