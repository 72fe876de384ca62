"""What keeps a restart from starting: self, when, windows, max_wait."""

import re
import signal
import socket
import time

from harness import until
from harness.oracle import check_fences, check_resolved
from harness.site import request
from harness.zone import use_zone

WAITING = 'ackd_restarts_waiting{reason="window"}'
SUPPRESSED = 'ackd_restarts_suppressed_total{reason="not_selected"}'


def restart_host(**keys):
    return {"restart-host": keys}


def test_when_selects(site):
    site.create_topic()
    yes, no, other = site.produce(
        request("a.example.com", meta={"kind": "restart"}, n=1),
        request("b.example.com", meta={"kind": "inform"}, n=1),
        request("c.example.com", meta={"kind": "restart"}, n=1.0),
    )
    daemon = site.start(handlers=restart_host(when={"meta.kind": "restart", "n": 1}))
    site.wait_drained()
    until(lambda: daemon.metrics().get(SUPPRESSED) == 2)
    assert daemon.metrics()['ackd_messages_finished_total{result="accepted"}'] == 3
    assert daemon.stop() == 0
    assert site.restarter.hosts() == ["a.example.com"]
    assert set(site.saved()) == {yes, no, other}
    assert not site.rejected()
    line = daemon.find(event="message.acked", offset=no[1])[0]
    assert "restart-host=suppressed (not_selected)" in line["msg"]
    check_resolved(site)


def test_the_machine_itself_is_spared(site):
    names = [socket.gethostname(), "localhost", "127.0.0.1", "::1", "127.8.8.8"]
    site.create_topic()
    places = site.produce(*names, "a.example.com")
    daemon = site.start(handlers=restart_host(allow=["*"]))
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.restarter.hosts() == ["a.example.com"]
    rejected = site.rejected()
    for place in places[:-1]:
        assert rejected[place]["reason"] == "self"
        assert rejected[place]["attempts"] == 0
        assert "handlers.restart-host.allow_self" in rejected[place]["detail"]
    said = daemon.find(event="restart.self")[0]["msg"]
    assert socket.gethostname().lower() in said
    check_resolved(site)


def test_the_machine_itself_may_be_allowed(site):
    site.create_topic()
    site.produce("127.0.0.1")
    daemon = site.start(handlers=restart_host(allow_self="true"))
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.restarter.hosts() == ["127.0.0.1"]
    assert not daemon.find(event="restart.self")


def test_a_window_that_opens(site, monkeypatch):
    site.create_topic()
    opens = int(time.time()) + 20
    windows = use_zone(site, monkeypatch, opens)
    daemon = site.start(handlers=restart_host(windows=windows, max_wait="1d"))
    daemon.wait_for(event="windows.shut")
    places = site.produce("a.example.com", "b.example.com")
    until(lambda: set(site.saved()) == set(places))
    until(lambda: daemon.metrics().get(WAITING) == 2)
    metrics = daemon.metrics()
    assert metrics["ackd_waiting_messages"] == 2
    assert metrics["ackd_in_flight_messages"] == metrics["ackd_in_flight_bytes"] == 0
    daemon.send(signal.SIGUSR1)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(opens))
    daemon.wait_for(event="state", msg=re.compile(r"window"))
    status = daemon.status()
    assert status["waits"]["window"] == 2
    assert not status["windows"]["open"] and status["windows"]["until"].startswith(stamp)
    assert {one["handlers"][1]["waits_for"] for one in status["messages"]} == {"window"}
    assert not site.restarter.hosts() and time.time() < opens
    daemon.wait_for(event="windows.open", timeout=60)
    site.wait_drained()
    assert daemon.stop() == 0
    restarts = site.restarter.restarts()
    assert sorted(one.host for one in restarts) == ["a.example.com", "b.example.com"]
    assert all(opens <= one.time_us / 1e6 < opens + 10 for one in restarts)
    check_resolved(site)
    check_fences(site)


def test_a_stop_gives_back_what_waits_for_a_window(site, monkeypatch):
    site.create_topic()
    windows = use_zone(site, monkeypatch)
    daemon = site.start(handlers=restart_host(windows=windows, max_wait="1d"))
    daemon.wait_for(event="windows.shut")
    place, = site.produce("a.example.com")
    until(lambda: daemon.metrics().get(WAITING) == 1)
    assert daemon.stop() == 0
    assert "restart-host=cancelled (window)" in daemon.find(event="message.nacked")[0]["msg"]
    assert not site.restarter.hosts()
    assert site.committed()[0] <= place[1]
    daemon = site.start()  # without windows
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.restarter.hosts() == ["a.example.com"]
    check_resolved(site)


def test_a_wait_that_is_too_long(site, monkeypatch):
    site.create_topic()
    windows = use_zone(site, monkeypatch)
    daemon = site.start(handlers=restart_host(windows=windows, max_wait="2s"))
    daemon.wait_for(event="windows.shut")
    place, = site.produce("a.example.com")
    site.wait_drained()
    assert daemon.stop() == 0
    row = site.rejected()[place]
    assert (row["handler"], row["reason"], row["attempts"]) == ("restart-host", "waited_too_long", 0)
    assert row["handlers_done"] == ["save"]
    assert "2s ago (handlers.restart-host.max_wait)" in row["detail"]
    assert "a window to open" in row["detail"]
    assert not site.restarter.hosts()
    assert daemon.find(level="warning", event="config.warning", msg=re.compile("waited_too_long"))
    check_resolved(site)
