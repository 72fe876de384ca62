"""Restarts over HTTP: the example for Redfish, as it is installed, against BMCs that restart nothing."""

import json
import re
import signal
from collections import Counter

import pytest
from harness import ROOT, until
from harness.oracle import check_fences, check_resolved
from harness.redfish import DOMAIN, PATH, Bmcs, make_certificate
from harness.site import request

EXAMPLE = ROOT / "config/examples/redfish.yaml"


@pytest.fixture
def bmcs(tmp_path):
    result = Bmcs(tmp_path)
    yield result
    result.stop()


def url(port):
    """The example's, with the domain and the port of the BMCs here."""
    text = re.search(r'^ +url: "(.*)"', EXAMPLE.read_text(), re.MULTILINE).group(1)
    assert "bmc.mgmt.example.com/" in text
    return text.replace("bmc.mgmt.example.com", f"bmc.{DOMAIN}:{port}")


def start(site, bmcs, port=None, **more):
    """The example file itself; only what names other machines is told otherwise."""
    http = "handlers.restart-host.http."
    return site.start_file(
        EXAMPLE,
        {
            "handlers.restart-host.allow": '["*.prod.example.com", "10.*"]',
            "handlers.restart-host.fleet_concurrency": 0,
            "handlers.restart-host.fuse.restarts": 0,
            "handlers.restart-host.cooldown": 0,
            http + "url": url(port or bmcs.port),
            http + "tls.ca_file": bmcs.ca_file,
            http + "auth.password_file": bmcs.password_file,
            **more,
        },
    )


def names(*labels):
    return [f"{label}.prod.example.com" for label in labels]


def test_redfish_example_restarts_each_host_once(site, bmcs):
    labels = [f"web{i}" for i in range(300)]
    site.create_topic(3)
    site.produce(*names(*labels))
    daemon = start(site, bmcs)
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_fences(site)
    assert site.rejected() == {}
    assert len(site.saved()) == 300
    assert Counter(bmcs.hosts()) == {label: 1 for label in labels}
    post = bmcs.posts()[0]
    assert post.path == PATH
    assert json.loads(post.body) == {"ResetType": "GracefulRestart"}
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["OData-Version"] == "4.0"
    assert "Transfer-Encoding" not in post.headers and "Expect" not in post.headers
    assert daemon.metrics()['ackd_restarts_total{result="done"}'] == 300
    # The secret is nowhere in what the daemon wrote.
    secret = post.headers["Authorization"].split()[1]
    for path in (site.folder / "ackd-1.log", *site.folder.glob("tape.*")):
        assert bmcs.password not in path.read_text() and secret not in path.read_text()


def test_what_a_bmc_answers_decides(site, bmcs):
    site.create_topic(1)
    hosts = names("busy-1", "broken-1", "off-1", "silent-1", "good-1") + ["10.0.0.1"]
    places = dict(zip(hosts, site.produce(*hosts)))
    daemon = start(site, bmcs)
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    times = {"busy-1": 2, "broken-1": 1, "off-1": 5, "silent-1": 1, "good-1": 1}
    assert Counter(bmcs.hosts()) == times
    rejected = {host: site.rejected().get(place) for host, place in places.items()}
    broken, off, silent, good, busy = names("broken-1", "off-1", "silent-1", "good-1", "busy-1")
    assert rejected[good] is None and rejected[busy] is None
    for host, reason, detail in (
        (broken, "unknown", "HTTP 500"),
        (off, "failed", "HTTP 409"),
        (silent, "unknown", "no answer came"),
        ("10.0.0.1", "refused", "{{host.label}}"),
    ):
        assert rejected[host]["reason"] == reason
        assert detail in rejected[host]["detail"]
    (line,) = daemon.find(event="restart.not_started", host=busy)
    assert "HTTP 503, try again after 1 s" in line["msg"]


def test_no_bmc_is_there(site, bmcs):
    site.create_topic(1)
    bmcs.stop()
    (place,) = site.produce(*names("web1"))
    daemon = start(site, bmcs)
    site.wait_drained()
    assert daemon.stop() == 0
    row = site.rejected()[place]
    assert (row["reason"], row["attempts"]) == ("not_started", 5)
    assert "Connection refused" in row["detail"]


def test_a_certificate_of_nobody_we_trust(site, bmcs):
    site.create_topic(1)
    (place,) = site.produce(*names("web1"))
    (bmcs.ca_file.parent / "other").mkdir()
    other, _ = make_certificate(bmcs.ca_file.parent / "other")
    daemon = start(site, bmcs, **{"handlers.restart-host.http.tls.ca_file": other})
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.rejected()[place]["reason"] == "not_started"
    assert bmcs.posts() == []


def test_a_new_password_counts_at_once(site, bmcs):
    site.create_topic(1)
    daemon = start(site, bmcs)
    site.produce(*names("web1"))
    site.wait_drained()
    bmcs.password = "changed"
    bmcs.password_file.write_text("changed\n")
    site.produce(*names("web2"))
    site.wait_drained()
    assert daemon.stop() == 0
    assert bmcs.hosts() == ["web1", "web2"]
    assert site.rejected() == {}


def test_shutdown_waits_for_what_was_sent(site, bmcs):
    site.create_topic(1)
    site.produce(*names("hold-1"))
    daemon = start(site, bmcs)
    until(lambda: bmcs.hosts() == ["hold-1"])
    daemon.send(signal.SIGTERM)
    daemon.wait_for(event="shutdown.grace")
    bmcs.released.set()
    assert daemon.wait_exit() == 0
    assert site.is_drained()
    check_resolved(site)
    assert bmcs.hosts() == ["hold-1"]


def test_shutdown_cuts_off_what_does_not_answer(site, bmcs):
    site.create_topic(1)
    site.produce(*names("hold-1"))
    daemon = start(site, bmcs, **{"shutdown.grace": "500ms"})
    until(lambda: bmcs.hosts() == ["hold-1"])
    assert daemon.stop() == 75
    (line,) = daemon.find(event="restart.unknown")
    assert "stopped; the request was sent" in line["msg"]
    assert bmcs.hosts() == ["hold-1"]
    assert site.committed() == {0: 0}  # never acked


def test_dry_run_says_the_request(site, bmcs):
    site.create_topic(1)
    site.produce(*names("web1"))
    daemon = start(site, bmcs, **{"handlers.restart-host.action": "dry-run"})
    site.wait_drained()
    assert daemon.stop() == 0
    (line,) = daemon.find(event="restart.dry_run")
    assert f"POST https://web1-bmc.{DOMAIN}:{bmcs.port}{PATH} with" in line["msg"]
    assert "Authorization: Basic ******" in line["msg"]
    assert '{"ResetType": "GracefulRestart"}' in line["msg"]
    assert bmcs.posts() == []


def test_message_fields_in_url_and_body(site, bmcs):
    site.create_topic(1)
    value = request("web1.prod.example.com", id="a/b", why='so "that"\n')
    site.produce(value)
    daemon = start(
        site,
        bmcs,
        **{
            "handlers.restart-host.http.url": url(bmcs.port).replace(PATH, "/r/{{id}}"),
            "handlers.restart-host.http.body": '{"why": "{{message.why}}"}',
        },
    )
    site.wait_drained()
    assert daemon.stop() == 0
    (post,) = bmcs.posts()
    assert post.path == "/r/a%2Fb"
    assert json.loads(post.body) == {"why": 'so "that"\n'}
