"""What the daemon says."""

import re
import signal
import subprocess

from harness.daemon import BINARY, taped
from harness.kafka import Record
from harness.site import LIMITS, request


def test_json_has_the_agreed_fields(site):
    site.create_topic()
    site.produce("a.example.com")
    daemon = site.start()
    site.wait_drained()
    assert daemon.stop() == 0
    assert not [line for line in daemon.lines if "raw" in line]
    for line in daemon.lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["ts"])
        assert line["level"] in ("debug", "info", "warning", "error")
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", line["event"])
        assert line["msg"]
        assert line["instance"] == "test"


def test_one_debug_line_a_message_tells_each_handlers_outcome(site):
    site.create_topic()
    site.produce("a.example.com", "b.example.com", "exit3-c.example.com")
    daemon = site.start(retry={"attempts": 1})
    site.wait_drained()
    assert daemon.stop() == 0
    for offset, host in enumerate(["a.example.com", "b.example.com", "exit3-c.example.com"]):
        lines = daemon.find(
            level="debug", topic=site.topic, partition=0, offset=offset, host=host,
            event=re.compile(r"^message\.(?!retry)"),
        )
        assert len(lines) == 1
        outcome = "done" if offset < 2 else "failed"
        assert re.search(rf"save[ =:]*done.*restart-host[ =:]*{outcome}", lines[0]["msg"])


def test_info_is_silent_about_single_messages(site):
    site.create_topic()
    site.produce(*(f"n{i}.example.com" for i in range(500)))
    daemon = site.start(log={"level": "info"}, handlers={"restart-host": None})
    site.wait_drained()
    assert daemon.stop() == 0
    assert len(daemon.lines) < 60


def test_a_daemon_without_a_limit_says_so(site):
    """Of the limits that the tests switch off, and of none that is on."""
    site.create_topic()
    for limits, keys in ({}, ["cooldown", "max_age", "fuse.restarts"]), (LIMITS, []):
        daemon = site.start(handlers={"restart-host": limits})
        daemon.wait_for(event="daemon.start")
        assert daemon.stop() == 0
        said = [line["msg"] for line in daemon.find(level="warning")]
        assert [re.search(r"restart-host\.(\S+): 0: ", text)[1] for text in said] == keys


def test_control_characters_never_reach_the_log_as_they_are(site):
    site.create_topic()
    site.produce(
        Record(request("a.example.com", id="x\x1b[31m\nshutdown: \u202efake")),
        Record(b'{"host": "evil\\u001b[2J\\nINFO fake"}'),
    )
    path = site.write_config(log={"format": "text"})
    site.init_db()
    with subprocess.Popen(
        [BINARY, "run", "-c", path], stderr=subprocess.PIPE, env=taped(site.folder)
    ) as process:
        try:
            site.wait_drained()
            process.send_signal(signal.SIGTERM)
            text = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    assert b"shutdown: complete: " in text
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert not re.search(rb"^(INFO fake|shutdown: .{0,3}fake)", text, re.MULTILINE)


def test_a_closed_stderr_stops_nothing(site):
    site.create_topic()
    path = site.write_config()
    site.init_db()
    with subprocess.Popen(
        [BINARY, "run", "-c", path], stderr=subprocess.PIPE, env=taped(site.folder)
    ) as process:
        try:
            process.stderr.close()
            site.produce("a.example.com")
            site.wait_drained()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
