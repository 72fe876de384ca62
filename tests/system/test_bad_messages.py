"""Every kind of message that cannot be handled, between good ones."""

import hashlib
import os
import re

import pytest
from harness.kafka import Record
from harness.oracle import check_fences, check_resolved
from harness.site import Site, request

pytestmark = pytest.mark.xdist_group("bad messages")  # they share one run

MESSAGE_BYTES = 256 * 1024


def host(text):
    return b'{"id": "1", "host": ' + text + b"}"


# name: (the value, the reason in `rejected`, what the detail says)
BAD = {
    # 22: not JSON, BOM, trailing bytes
    "not JSON": (b"restart db1 please", "not_json", "byte"),
    "empty": (b"", "empty", None),
    "cut off": (b'{"host": "a.example.com"', "not_json", None),
    "BOM": (b'\xef\xbb\xbf{"host": "a.example.com"}', "not_json", "byte order mark|BOM"),
    "trailing bytes": (b'{"host": "a.example.com"} x', "trailing_bytes", "byte"),
    "two objects": (b'{"host": "a.example.com"}{}', "trailing_bytes", "byte"),
    "Schema Registry framing": (b'\x00\x00\x00\x00\x01{"host": "a"}', "not_json", "Schema Registry"),
    "array": (b'["a.example.com"]', "not_object", None),
    "string": (b'"a.example.com"', "not_object", None),
    "empty object": (b"{}", None, None),
    # 23: huge
    "huge": (request("a.example.com", pad="x" * MESSAGE_BYTES), "too_large", r"^\d+ bytes are over limits.message_bytes \(262144\); the first 65536 are kept"),
    # 24: NUL
    "escaped NUL": (b'{"host": "a.example.com", "why": "a\\u0000b"}', None, "(?i)nul|u0000"),
    "raw NUL": (b'{"host": "a.example.com", "why": "a\x00b"}', None, None),
    # 25: depth
    "depth 100,000": (b'{"host": "a.example.com", "x": ' + b"[" * 100_000, None, None),
    "depth 65": (b'{"host": "a.example.com", "x": ' + b"[" * 64 + b"]" * 64 + b"}", None, "64"),
    # 26: duplicate keys
    "duplicate keys": (b'{"host": "a.example.com", "host": "b.example.com"}', None, "(?i)host"),
    # 27: invalid UTF-8, numbers
    "invalid UTF-8": (b'{"host": "a.example.com", "why": "\xc3("}', None, None),
    "1e999999": (b'{"host": "a.example.com", "n": 1e999999}', None, None),
    # 30: hosts
    "no host": (b'{"id": "7"}', None, "host"),
    "host is a number": (host(b"7"), None, "host"),
    "host is null": (host(b"null"), None, "host"),
    "empty host": (host(b'""'), None, None),
    "option as host": (host(b'"-oProxyCommand=reboot"'), None, None),
    "path as host": (host(b'"../../etc/passwd"'), None, None),
    "newline in host": (host(b'"a.example.com\\nb"'), None, None),
    "NUL in host": (host(b'"a\\u0000.example.com"'), None, None),
    "percent in host": (host(b'"a%2f.example.com"'), None, None),
    "blank in host": (host(b'"a b.example.com"'), None, None),
    "shell in host": (host(b'"$(reboot).example.com"'), None, None),
    "host of 300 characters": (host(b'"' + b"a." * 150 + b'"'), None, None),
    "label of 64 characters": (host(b'"' + b"a" * 64 + b'.example.com"'), None, None),
    "ambiguous address": (host(b'"010.1.1.1"'), None, None),
}

# name: (the value, the host as it is saved)
GOOD = {
    "plain": (request("a.example.com"), "a.example.com"),
    "integer past int64": (
        b'{"host": "b.example.com", "id": 123456789012345678901234567890, "n": 18446744073709551617}',
        "b.example.com",
    ),
    "depth 64": (b'{"host":"c.example.com","id":1,"x":' + b"[" * 63 + b"]" * 63 + b"}", "c.example.com"),
    "odd spacing": (b' {"host"\t:"D.Example.COM.",\n"id":"1"} ', "d.example.com"),
    "nested keys": (b'{"host": "e.example.com", "id": "1", "x": {"host": {"y": null}}}', "e.example.com"),
    "IPv6": (host(b'"2001:DB8:0::1"'), "2001:db8::1"),
    "IPv4": (host(b'"192.0.2.7"'), "192.0.2.7"),
    "just below the limit": (
        request("f.example.com", pad="x" * (MESSAGE_BYTES - 100)),
        "f.example.com",
    ),
}


@pytest.fixture(scope="module")
def run(kafka, tmp_path_factory):
    """One run over a partition in which a good message stands between any two bad ones."""
    site = Site(kafka, os.environ["ACKD_TEST_DSN"], tmp_path_factory.mktemp("bad"))
    try:
        site.create_topic(max_message_bytes=4_000_000)
        site.places = {}
        for number, (name, (value, *_)) in enumerate({**BAD, **GOOD}.items()):
            key = f"key {name}".encode()
            records = [
                Record(value, key=key, headers=((b"trace", b"abc"), (b"raw", b"\xff\x00"), (b"n", None))),
                Record(None, key=key),  # a tombstone (28)
                Record(request(f"n{number}.example.com"), key=key),
            ]
            [site.places[name], *_] = site.produce(*records)
        daemon = site.start(limits={"message_bytes": MESSAGE_BYTES})
        site.wait_drained()
        site.status = daemon.stop()
        site.metrics = daemon.metrics()
        site.all_saved = site.saved()
        site.all_rejected = site.rejected()
        yield site
    finally:
        site.cleanup()


def test_consumption_goes_on_to_the_end(run):
    assert run.status == 0
    check_resolved(run)
    check_fences(run)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_leaves_its_bytes_and_the_reason(run, name):
    value, reason, detail = BAD[name]
    assert run.places[name] not in run.all_saved
    row = run.all_rejected[run.places[name]]
    kept = value[: 64 * 1024] if len(value) > MESSAGE_BYTES else value
    assert row["value"] == kept
    assert row["handler"] is None
    assert re.fullmatch(r"[a-z0-9_]+", row["reason"])
    assert row["detail"]
    assert row["handlers_done"] == []
    if reason:
        assert row["reason"] == reason
    if detail:
        assert re.search(detail, row["detail"])
    if reason == "too_large":
        assert row["detail"].startswith(f"{len(value)} bytes")
        assert row["detail"].endswith(f"the SHA-256 of all is {hashlib.sha256(value).hexdigest()}")


@pytest.mark.parametrize("name", GOOD)
def test_an_odd_but_good_message_is_saved_byte_for_byte(run, name):
    value, host_name = GOOD[name]
    assert run.all_saved[run.places[name]] == (host_name, value)


def test_the_neighbours_are_saved(run):
    neighbours = {f"n{i}.example.com" for i in range(len(BAD) + len(GOOD))}
    assert neighbours <= {host_name for host_name, _ in run.all_saved.values()}


def test_no_bad_host_reached_the_command(run):
    neighbours = {f"n{i}.example.com" for i in range(len(BAD) + len(GOOD))}
    assert set(run.restarter.hosts()) == neighbours | {host_name for _, host_name in GOOD.values()}


def test_tombstones_are_skipped_and_counted(run):
    count = len(BAD) + len(GOOD)
    assert run.metrics['ackd_messages_finished_total{result="tombstone"}'] == count
    assert run.metrics['ackd_messages_finished_total{result="rejected"}'] == len(BAD)
    assert run.metrics['ackd_messages_finished_total{result="accepted"}'] == count + len(GOOD)


def test_keys_and_headers_are_kept(run):
    rows = run.database.rows(
        "SELECT key, headers::text FROM messages UNION ALL SELECT key, headers::text FROM rejected"
    )
    with_headers = [(key, headers) for key, headers in rows if headers]
    assert len(with_headers) == len(BAD) + len(GOOD)
    assert all(key.startswith(b"key ") for key, _ in rows)
    assert {headers.replace(" ", "") for _, headers in with_headers} == {
        '[["trace","abc"],["raw",{"base64":"/wA="}],["n",null]]'
    }
