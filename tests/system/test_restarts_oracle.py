"""The oracle of double-restart finds what is planted, and lets pass what is right."""

import re
from dataclasses import replace

import pytest
from harness.restarter import Restart
from harness.restarts import (
    Found,
    Life,
    Row,
    check_cooldown,
    check_lines,
    check_resolved_once,
    check_suppressed,
    hits,
    unknowns,
)

T = 1_000_000.0  # when it all happens, in seconds since 1970
BOOT = 5_000.0  # and since the machine's start
HOST = "a.example.com"


def row(row_id, offset, state, at=None, shared_with=None, instance="a0", **fields):
    held = None if at is None else T + at + 7
    values = {
        "attempt": 1,
        "reason": None,
        "ended_at": None if at is None else T + at + 0.5,
        **fields,
    }
    intended = None if at is None else T + at
    return Row(
        id=row_id,
        partition=0,
        offset=offset,
        host=HOST,
        state=state,
        shared_with=shared_with,
        instance=instance,
        intended_at=intended,
        held_until=held,
        **values,
    )


def line(note, at, pid, daemon=100):
    """What the restarter wrote @at seconds after T for the message with this number."""
    boot = int((BOOT + at) * 1e6)
    return Restart(HOST, "-", int((T + at) * 1e6), pid, daemon, boot, boot // 10_000 * 10_000, str(note))


class Story:
    """Two restarts of one host: 0 is restarted, 1 shares it, 2 and 3 are suppressed, 4 comes later."""

    def __init__(self):
        self.rows = [
            row(1, 0, "done", at=0),
            row(2, 1, "done", at=0, shared_with=1),
            row(3, 2, "suppressed", reason="cooldown", ended_at=T + 1.9),
            row(4, 3, "suppressed", reason="duplicate"),
            row(5, 4, "done", at=3, instance="b1"),
        ]
        self.starts = [line(0, 0.1, 11), line(4, 3.1, 12, daemon=200)]
        self.ends = [line(0, 0.4, 11), line(4, 3.4, 12)]
        self.lives = [Life("a0", 100), Life("b1", 200)]
        self.rejected = {}
        self.produced = {(0, offset): offset for offset in range(5)}

    def found(self):
        return Found(self.rows, self.starts, self.ends, self.lives, self.rejected, self.produced)

    def judge(self):
        found = self.found()
        check_lines(found)
        delayed = check_cooldown(found, 2)
        check_suppressed(found, 2, covers=1)
        return delayed, check_resolved_once(found), unknowns(found)


def test_what_is_right_passes():
    assert Story().judge() == ([], 0, [])


def twice(story):
    story.starts.insert(1, line(0, 1.5, 13))


def too_early(story):
    story.rows[4] = replace(story.rows[4], intended_at=T + 1.5)
    story.starts[1] = line(4, 1.6, 12, daemon=200)


def another_host(story):
    story.starts[1] = story.starts[1]._replace(host="b.example.com")


def unasked(story):
    story.starts.append(line(2, 6, 13))


def never_started(story):
    del story.starts[1]


def never_ended(story):
    del story.ends[1]


def started_and_not(story):
    story.rows[4] = replace(story.rows[4], state="not_started")


def left_open(story):
    story.rows[4] = replace(story.rows[4], state="intended", ended_at=None)


def shares_otherwise(story):
    story.rows[1] = replace(story.rows[1], state="failed")


def shares_nothing(story):
    story.rows[1] = replace(story.rows[1], shared_with=3)


def warm_too_long(story):
    story.rows[2] = replace(story.rows[2], ended_at=T + 2.9)


def superseded_by_none(story):
    story.rows[2] = replace(
        story.rows[2], reason="superseded", requested_at=T + 1.5, ended_at=T + 2.9
    )


def rejected_too(story):
    story.rejected[0, 1] = "failed"


def lost(story):
    del story.rows[3]


def unknown_for_ever(story):
    story.rows[4] = replace(story.rows[4], state="unknown", reason="no_end", ended_at=None)


@pytest.mark.parametrize(
    "plant,complaint",
    [
        (twice, "two starts of one intent"),
        (too_early, "two starts in a cool-down"),
        (another_host, "host='b.example.com'"),
        (unasked, "a start without an intent"),
        (never_started, "nothing was started for it"),
        (never_ended, "never came to its end"),
        (started_and_not, "it was started"),
        (left_open, "it was left open"),
        (shares_otherwise, "it does not say what"),
        (shares_nothing, "it shares with"),
        (warm_too_long, "no restart was there for it"),
        (superseded_by_none, "no restart was there for it"),
        (rejected_too, "(0, 1) has 2 ends"),
        (lost, "(0, 3) has 0 ends"),
        (unknown_for_ever, "(0, 4) has 0 ends"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_planted_is_found(plant, complaint):
    story = Story()
    plant(story)
    with pytest.raises(AssertionError, match=re.escape(complaint)):
        story.judge()


def test_an_unknown_is_listed_with_its_end():
    story = Story()
    story.rows[4] = replace(story.rows[4], state="unknown", reason="no_end", ended_at=None)
    story.rejected[0, 4] = "unknown"
    _, _, listed = story.judge()
    assert listed == [f"5 {HOST} 0/4 attempt 1 (b1), started, no_end: rejected (unknown)"]


@pytest.mark.parametrize(
    "start,end,killed_at,moment",
    [
        (None, None, 3.2, "before the start"),
        (3.1, None, 3.2, "while it ran"),
        (3.1, 3.4, 3.2, "while it ran"),
        (3.1, 3.4, 3.5, "between its end and the ledger"),
    ],
)
def test_a_kill_falls_between_intent_and_end(start, end, killed_at, moment):
    story = Story()
    story.rows[4] = replace(story.rows[4], state="unknown", reason="no_end", ended_at=None)
    story.starts = story.starts[:1] + ([line(4, start, 12, daemon=1)] if start else [])
    story.ends = story.ends[:1] + ([line(4, end, 12)] if end else [])
    story.lives[1] = Life("b1", 200, killed_at=T + killed_at, open_at_kill={5})
    assert hits(story.found()) == {moment: 1}


def test_what_the_next_owner_verified_is_a_hit():
    story = Story()
    story.rows[4] = replace(story.rows[4], ended_at=T + 12, acted=True)
    story.lives[1] = Life("b1", 200, killed_at=T + 3.5, open_at_kill={5})
    _, late, listed = story.judge()
    assert hits(story.found()) == {"while it was verified": 1}
    assert late == 0
    assert listed == [
        f"5 {HOST} 0/4 attempt 1 (b1), started, unknown: done, says verify, at the next owner"
    ]
    story.rejected[0, 4] = "unknown"  # nobody's end came late
    with pytest.raises(AssertionError, match=r"\(0, 4\) has 2 ends"):
        story.judge()


def test_a_kill_after_the_end_is_no_hit():
    story = Story()
    story.lives[1] = Life("b1", 200, killed_at=T + 5, open_at_kill={5})
    assert hits(story.found()) == {}


def delayed(frozen):
    """b1 is granted a restart at 3 s, and starts it at 12 s, when c2 has restarted the host at 11 s."""
    story = Story()
    story.rows[4] = replace(story.rows[4], state="unknown", reason="no_end", ended_at=None)
    story.rows.append(row(6, 4, "done", at=11, instance="c2", attempt=2))
    story.starts = [line(0, 0.1, 11), line(4, 11.1, 14, daemon=300), line(4, 12.01, 12, daemon=200)]
    story.ends = [line(0, 0.4, 11), line(4, 11.4, 14), line(4, 12.4, 12)]
    story.lives = [Life("a0", 100), Life("b1", 200, frozen=frozen), Life("c2", 300)]
    return story


def test_a_process_that_stopped_between_its_check_and_the_spawn_is_told_apart():
    pairs, late, listed = delayed([(T + 3.01, T + 12)]).judge()
    assert pairs == [f"{HOST}: restarts.id 6 and 5, 0.91 s apart"]
    assert late == 0
    assert listed == [f"5 {HOST} 0/4 attempt 1 (b1), started, no_end: attempt 2: done"]


@pytest.mark.parametrize("frozen", [[], [(T + 3.01, T + 9)], [(T + 9, T + 12)]])
def test_no_other_stop_excuses_it(frozen):
    with pytest.raises(AssertionError, match="two starts in a cool-down"):
        delayed(frozen).judge()


def test_an_end_that_comes_to_light_late_is_counted():
    story = Story()
    story.rows[4] = replace(story.rows[4], ended_at=T + 12)
    story.lives[1] = Life("b1", 200, frozen=[(T + 3.2, T + 12)])
    story.rejected[0, 4] = "unknown"
    _, late, listed = story.judge()
    assert late == 1
    assert listed == [
        f"5 {HOST} 0/4 attempt 1 (b1), started, unknown: done, says its process; rejected (unknown)"
    ]
