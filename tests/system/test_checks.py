"""precheck and verify: asked before a restart, and after it."""

import re
import time

from harness import until
from harness.oracle import check_resolved

ROWS = 'SELECT host, attempt, state, reason, before FROM restarts ORDER BY host, id'


class Fleet:
    """Hosts that are files: their boot id, and what precheck says of them."""

    def __init__(self, site):
        self.folder = site.folder / "fleet"
        self.folder.mkdir()
        self.site = site

    def boot(self, host, boot_id):
        """It is up, with this boot id; None: it does not answer."""
        path = self.folder / host
        if boot_id is None:
            path.unlink()
        else:
            path.with_suffix(".new").write_text(boot_id)
            path.with_suffix(".new").rename(path)

    def handlers(self, restart, precheck=None, **keys):
        """`restart`: a shell script that restarts $1; `precheck`: the same, with its status."""

        def shell(script):
            return ["/bin/sh", "-c", f"cd {self.folder}; {script}", "sh", "{{host}}"]

        keys = {
            "exec": {"argv": shell(f'echo "$1" >> started; {restart}'), "timeout": "5s"},
            "verify": {
                "exec": {"argv": shell('cat "$1"'), "timeout": "2s"},
                "interval": "100ms",
                "deadline": "3s",
                **keys.pop("verify", {}),
            },
            **keys,
        }
        if precheck is not None:
            keys["precheck"] = {"exec": {"argv": shell(precheck), "timeout": "2s"}}
        return {"restart-host": keys}

    def started(self):
        path = self.folder / "started"
        return path.read_text().split() if path.exists() else []


def test_done_is_what_verify_sees(site):
    site.create_topic()
    fleet = Fleet(site)
    for host in ("good.example.com", "same.example.com", "gone.example.com"):
        fleet.boot(host, "old")
    restart = 'case $1 in good*) sleep 0.3; echo new > "$1";; gone*) rm "$1";; esac'
    daemon = site.start(handlers=fleet.handlers(restart), retry={"attempts": 1})
    good, same, gone, cold = site.produce(
        "good.example.com", "same.example.com", "gone.example.com", "cold.example.com"
    )
    site.wait_drained()
    assert daemon.stop() == 0
    rejected = site.rejected()
    # Up and with the boot id of before: it was not restarted. Not up: nobody knows.
    assert rejected[same]["reason"] == "failed" and "as before" in rejected[same]["detail"]
    assert {place: row["reason"] for place, row in rejected.items()} == {
        same: "failed",
        gone: "unknown",
        cold: "unknown",
    }
    rows = {host: (state, before) for host, _, state, _, before in site.database.rows(ROWS)}
    assert rows == {
        "good.example.com": ("done", "old"),
        "same.example.com": ("failed", "old"),
        "gone.example.com": ("unknown", "old"),
        "cold.example.com": ("unknown", None),
    }
    assert sorted(fleet.started()) == sorted(rows)
    assert good in site.saved()
    check_resolved(site)


def test_precheck_lets_it_start_or_not(site):
    site.create_topic()
    fleet = Fleet(site)
    for host in ("go.example.com", "no.example.com", "later.example.com"):
        fleet.boot(host, "old")
    precheck = 'case $1 in no*) exit 1;; later*) test -e let || exit 75;; esac'
    daemon = site.start(handlers=fleet.handlers('echo new > "$1"', precheck))
    site.produce("go.example.com", "no.example.com", "later.example.com")
    daemon.wait_for(event="restart.waits", msg=re.compile(r"later.example.com waits \(precheck\)"))
    until(lambda: daemon.metrics()['ackd_restarts_waiting{reason="precheck"}'] == 1)
    until(lambda: fleet.started() == ["go.example.com"])
    (fleet.folder / "let").touch()
    site.wait_drained()
    assert daemon.stop() == 0
    assert fleet.started() == ["go.example.com", "later.example.com"]
    states = {host: (state, reason) for host, _, state, reason, _ in site.database.rows(ROWS)}
    assert states["no.example.com"] == ("suppressed", "not_needed")
    assert states["go.example.com"][0] == states["later.example.com"][0] == "done"
    assert site.rejected() == {}
    check_resolved(site)


def test_an_unknown_end_is_verified(site):
    """The command was killed at its timeout, and the host was restarted all the same."""
    site.create_topic()
    fleet = Fleet(site)
    fleet.boot("a.example.com", "old")
    restart = '(sleep 1; echo new > "$1") & exec sleep 60'
    handlers = fleet.handlers(restart)
    handlers["restart-host"]["exec"].update(timeout="500ms", kill_after="100ms")
    # Its own session, or it would be killed with the command's group.
    handlers["restart-host"]["exec"]["argv"][2] = handlers["restart-host"]["exec"]["argv"][2].replace(
        "(sleep 1", 'setsid sh -c \'sleep 1; echo new > "$0"\' "$1" & (true'
    ).replace('; echo new > "$1")', ")")
    daemon = site.start(handlers=handlers)
    site.produce("a.example.com")
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.database.rows(ROWS) == [("a.example.com", 1, "done", None, "old")]
    assert fleet.started() == ["a.example.com"]
    assert site.rejected() == {}


def test_a_verification_that_the_shutdown_ends_is_done_by_the_next_owner(site):
    site.create_topic()
    fleet = Fleet(site)
    fleet.boot("a.example.com", "old")
    handlers = fleet.handlers("true", verify={"deadline": "60s"})
    daemon = site.start(handlers=handlers)
    site.produce("a.example.com")
    until(lambda: site.database.rows(ROWS) == [("a.example.com", 1, "acted", None, "old")])
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 10, "it waited for a check"
    assert site.database.rows(ROWS) == [("a.example.com", 1, "acted", None, "old")]
    fleet.boot("a.example.com", "new")
    daemon = site.start(handlers=handlers)
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.database.rows(ROWS) == [("a.example.com", 1, "done", None, "old")]
    assert fleet.started() == ["a.example.com"]


def test_a_crash_while_it_is_verified(site):
    site.create_topic()
    fleet = Fleet(site)
    fleet.boot("a.example.com", "old")
    handlers = fleet.handlers("true", verify={"deadline": "60s"})
    daemon = site.start(handlers=handlers)
    site.produce("a.example.com")
    until(lambda: site.database.rows(ROWS) == [("a.example.com", 1, "acted", None, "old")])
    daemon.kill()
    fleet.boot("a.example.com", "new")
    daemon = site.start(handlers=handlers)
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.database.rows(ROWS) == [("a.example.com", 1, "done", None, "old")]
    assert fleet.started() == ["a.example.com"]
