"""What scripts/bench restarts reads from a tape."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "bench"))

from measure import Failed  # noqa: E402
from restarts import percentile, read_tape, told  # noqa: E402

TAPE = """\
ackd-tape 1
limits ledger=1
>claim 1000 i1 n1,0,1 ta.example.com [0]
>claim 1500 i2 n1,1,1 tb.example.com [0,1]
claimed 4000 i1 c9 d1000000
>restart 4000 i1 a9 n1,0,1 ta.example.com [0]
claimed 4500 k1 i2
>claim 5500 i2 n1,1,1 tb.example.com [0,1]
restarted 9000 k1 + i1
>conclude 9000 i1 a9 c3 d1 n1,0,1 ta.example.com [0]
>restart 9500 i2 a10 n1,1,1 tb.example.com [0,1]
concluded 11000 k1 + i1
restarted 11500 k1 + i2
concluded 12000 k1 + i2
"""


def test_the_ledger_adds_what_comes_before_the_action_and_behind_it(tmp_path):
    path = tmp_path / "tape"
    path.write_text(TAPE)
    added, seconds = read_tape(path, 2)
    assert added == [(3.0, 2.0), (8.0, 0.5)]  # of two claims the first one counts
    assert seconds == 0.011
    assert told(added)["added_p99_ms"] == 8.5


def test_a_restart_that_is_not_whole_fails(tmp_path):
    path = tmp_path / "tape"
    path.write_text(TAPE[: TAPE.rindex("concluded")])
    with pytest.raises(Failed, match="1 of 2 restarts are whole"):
        read_tape(path, 2)


def test_percentile():
    assert percentile(range(1, 101), 0.99) == 100
    assert percentile(range(1, 201), 0.99) == 199
    assert percentile([7], 0.99) == 7
