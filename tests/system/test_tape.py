"""ACKD_TAPE: what the daemon writes down of its engine, and that it is judged."""

import re

import pytest
from harness.daemon import command


def test_a_tape_that_cannot_be_written_is_78(site):
    path = site.write_config()
    result = command("run", "-c", path, env={"ACKD_TAPE": str(site.folder / "nowhere" / "tape")})
    assert result.returncode == 78
    assert re.search(r"(?m)^ackd: ACKD_TAPE: cannot write .*/nowhere/tape\.\d+: No such", result.stderr)


def test_each_life_has_a_tape_and_a_broken_rule_fails_the_test(site):
    site.create_topic()
    for host in ("a.example.com", "b.example.com"):
        daemon = site.start()
        site.produce(host)
        site.wait_drained()
        assert daemon.stop() == 0
    tapes = sorted(site.folder.glob("tape.*"))
    assert len(tapes) == 2
    site.judge()

    whole = tapes[0].read_text()
    lines = whole.splitlines(keepends=True)
    restarted = next(i for i, line in enumerate(lines) if line.startswith("restarted "))
    tapes[0].write_text("".join(lines[:restarted] + lines[restarted + 1 :]))
    with pytest.raises(AssertionError, match=rf"{tapes[0]}:\d+: invariant 12 "):
        site.judge()
    tapes[0].write_text(whole)
