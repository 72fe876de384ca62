"""Every host of tests/hurtful-hosts.json, through a daemon, to a command and to an endpoint.

Each is refused, or one name; and a name is one argument, one part of a URL, one value of a header, one
string of JSON, in exactly its bytes.
"""

import json
import struct
from ipaddress import ip_address

from harness import BUILD, ROOT
from harness.endpoint import Endpoint, split
from harness.oracle import check_fences, check_resolved

ENTRIES = json.loads((ROOT / "tests/hurtful-hosts.json").read_text())
RECORDER = BUILD / "tests/system/recorder"


def message(number, entry):
    value = bytes.fromhex(entry["bytes"]) if "bytes" in entry else entry["value"].encode()
    return b'{"id": "%d", "host": %s}' % (number, value)


def is_address(host):
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def run(site, **restart_host):
    """All of them through one daemon; returns the hosts that were to be restarted."""
    site.create_topic()
    places = site.produce(*(message(n, entry) for n, entry in enumerate(ENTRIES)))
    daemon = site.start(handlers={"restart-host": {"allow": ["*"], **restart_host}})
    site.wait_drained()
    assert daemon.stop() == 0
    check_resolved(site)
    check_fences(site)
    saved, rejected = site.saved(), site.rejected()
    for place, entry in zip(places, ENTRIES):
        row = rejected.get(place)
        if "host" not in entry:
            assert place not in saved, entry
            assert (row["handler"], row["reason"]) == (None, entry["reason"]), entry
            assert entry["says"] in row["detail"], entry
            continue
        # One name for all its spellings, in every table.
        assert saved[place][0] == entry["host"], entry
        assert row is None or row["host"] == entry["host"], entry
        if entry.get("self"):
            assert (row["handler"], row["reason"]) == ("restart-host", "self"), entry
    hosts = {entry["host"] for entry in ENTRIES if "host" in entry and not entry.get("self")}
    assert {host for (host,) in site.database.rows("SELECT host FROM hosts")} == hosts
    assert {host for (host,) in site.database.rows("SELECT host FROM restarts")} == hosts
    return hosts


def rejected_hosts(site, reason):
    return {row["host"] for row in site.rejected().values() if row["reason"] == reason}


def test_there_are_enough_of_them():
    assert len(ENTRIES) >= 90
    assert len({json.dumps(entry) for entry in ENTRIES}) == len(ENTRIES)
    assert sum(entry.get("host") == "web1.example.com" for entry in ENTRIES) >= 5


def records(path):
    """What the recorder was given, each time: (ACKD_HOST, [argument, …]), in bytes."""
    data = path.read_bytes()
    at = 0

    def number():
        nonlocal at
        (result,) = struct.unpack_from("=I", data, at)
        at += 4
        return result

    def text():
        nonlocal at
        size = number()
        at += size
        return data[at - size : at]

    while at < len(data):
        host, *arguments = [text() for _ in range(number())]
        yield host, arguments


def test_a_command_gets_one_inert_argument(site):
    path = site.folder / "records"
    argv = [RECORDER, path, "{{host}}", "--host={{host}}", "--", "[{{host}}]:22", "{{message.host}}"]
    hosts = run(site, exec={"argv": list(map(str, argv))})
    seen = set()
    for environment, arguments in records(path):
        host = environment.decode()
        # As it was written; whatever that is, it is no option.
        spelled = arguments.pop().decode()
        assert not spelled.startswith("-")
        assert arguments == [
            environment,
            b"--host=" + environment,
            b"--",
            b"[" + environment + b"]:22",
        ]
        assert not host.startswith("-")
        seen.add(host)
    assert seen == hosts
    assert rejected_hosts(site, "refused") == set()


def http(url, **more):
    return {"action": "http", "http": {"url": url, "timeout": "5s", **more}}


def parts(request):
    """(request line, {name: value}, body); fails when a header is there twice."""
    line, headers, body = split(request)
    names = [name.lower() for name, _ in headers]
    assert len(set(names)) == len(names), request
    return line, dict(zip(names, (value for _, value in headers))), body


def test_an_endpoint_gets_one_segment_one_value_one_string(site):
    endpoint = Endpoint()
    url = f"http://127.0.0.1:{endpoint.port}" + "/hosts/{{host}}/reset?host={{host}}&id={{id}}"
    body = '{"host": "{{host}}", "of": ["{{host}}", {"{{host}}": 1}]}'
    hosts = run(site, **http(url, headers={"X-Host": "{{host}}"}, body=body))
    endpoint.stop()
    seen = set()
    for request in endpoint.requests:
        line, headers, content = parts(request)
        value = headers[b"x-host"]
        host = value.decode()
        seen.add(host)
        escaped = host.replace(":", "%3A").encode()
        start, number = line.removesuffix(b" HTTP/1.1").split(b"&id=")
        assert start == b"POST /hosts/%s/reset?host=%s" % (escaped, escaped)
        assert ENTRIES[int(number)]["host"] == host
        assert headers[b"host"] == b"127.0.0.1:%d" % endpoint.port
        assert headers.keys() <= {b"host", b"x-host", b"accept", b"user-agent", b"content-type", b"content-length"}
        assert content == b'{"host": "%s", "of": ["%s", {"%s": 1}]}' % (value, value, value)
        assert json.loads(content) == {"host": host, "of": [host, {host: 1}]}
    assert seen == hosts


def test_a_label_stays_below_its_domain(site):
    endpoint = Endpoint()
    domain = f"bmc.localhost:{endpoint.port}"
    hosts = run(site, **http("http://{{host.label}}-bmc." + domain + "/reset"))
    endpoint.stop()
    # An address has no label, and some labels are as long as one may be already.
    refused = {host for host in hosts if is_address(host) or len(host.split(".")[0]) > 59}
    assert rejected_hosts(site, "refused") == refused
    seen = set()
    for request in endpoint.requests:
        line, headers, _ = parts(request)
        assert line == b"POST /reset HTTP/1.1"
        seen.add(headers[b"host"].decode())
    assert seen == {f"{host.split('.')[0]}-bmc.{domain}" for host in hosts - refused}
