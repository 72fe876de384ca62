"""What broke when somebody tried for an hour."""

import re
import signal
import time

import pytest
from harness import until
from test_ledger import ago, ask, execute, pair, row_of, start, starts, stop


@pytest.mark.parametrize("on_unknown", ["done", "reject"])
def test_own_restart_under_way_is_not_ended_by_max_wait(site, on_unknown):
    """docs/ledger.md: a wait of max_wait is a rejection, "except for the message's own restart under way,
    which ends by itself"; the ledger and the engine keep to it."""
    site.create_topic()
    restart = {"on_unknown": on_unknown, "max_wait": "5s", "exec": {"timeout": "10s"}}
    daemon = start(site, "one", restart)
    host = site.restarter.hold("hold-a.example.com")
    place = ask(site, host)
    until(lambda: starts(site, host) and site.saved())
    daemon.kill()
    site.restarter.release(host)
    start(site, "two", restart)
    site.wait_drained()
    stop(site)
    row = site.rejected().get(place)
    assert (row and row["reason"]) == (None if on_unknown == "done" else "unknown")


def test_what_a_frozen_process_verified_covers_nothing_after_its_action(site):
    """The host was back at once, and asked for again after its cool-down. Its daemon was frozen, and looked
    after that: since when the host is another one it cannot tell, so the later request gets its restart."""
    (site.restarter.folder / "restarts").touch()
    argv = [
        "/bin/sh",
        "-c",
        f'grep -c "^$1 " {site.restarter.folder}/restarts; :',
        "sh",
        "{{host}}",
    ]
    verify = {"exec": {"argv": argv, "timeout": "2s"}, "interval": "100ms", "deadline": "10s"}
    owners = pair(site, cooldown="1s", verify=verify, exec={"timeout": "10s"})
    host = site.restarter.hold("hold-a.example.com")
    ask(site, host)
    until(lambda: starts(site, host) and site.saved())
    owners[0].process.send_signal(signal.SIGSTOP)
    try:
        site.restarter.release(host)
        until(lambda: not site.restarter.running())
        until(lambda: time.time() > starts(site, host)[0] + 1.5)  # the cool-down is over
        place = ask(site, host, partition=1, requested_at=ago(0))
        owners[1].wait_for(event="restart.waits", host=host, msg=re.compile(r"\(running\)"))
    finally:
        owners[0].process.send_signal(signal.SIGCONT)
    until(lambda: (row := row_of(site, place)) and row.state in ("done", "suppressed"), 60)
    site.wait_drained()
    stop(site)
    assert row_of(site, place).state == "done"


@pytest.mark.parametrize(
    "fault, mended",
    [
        # A sequence is not replicated logically: after such a failover it begins anew.
        (
            "ALTER TABLE restarts ALTER id RESTART WITH 1",
            "ALTER TABLE restarts ALTER id RESTART WITH 1000",
        ),
        (
            "ALTER TABLE restarts ADD ticket text NOT NULL DEFAULT '';"
            " ALTER TABLE restarts ALTER ticket DROP DEFAULT",
            "ALTER TABLE restarts DROP ticket",
        ),
    ],
)
def test_claims_that_are_refused_for_everybody_reject_nobody(site, fault, mended):
    """The fault is the table's and no message's: the requests wait for as long as it lasts."""
    site.create_topic()
    daemon = start(site)
    for i in range(5):
        ask(site, f"n{i}.example.com")
    site.wait_drained()
    execute(site, fault)
    for i in range(4):
        ask(site, f"m{i}.example.com")
    # Refused in a batch, then by itself: from there on a message could be rejected for it.
    daemon.wait_for(event="ledger.failed", msg=re.compile("no message is rejected for it"))
    until(lambda: len(site.saved()) == 9)
    rejected = site.rejected()
    execute(site, mended)
    site.wait_drained()
    stop(site)
    assert not rejected
