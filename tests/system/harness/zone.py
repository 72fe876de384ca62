"""A zone file of a test's own, so that a window opens when the test wants it."""

import struct
import time

from . import daemon as harness_daemon

DAY = 24 * 3600


def write_zone(path, before, change, after):
    """A zone file (RFC 8536): the offset is `before` seconds, from `change` on `after` seconds."""

    def header(times, types):
        return b"TZif2" + bytes(15) + struct.pack(">6I", 0, 0, 0, times, types, 4)

    first = header(0, 1) + struct.pack(">iBB", 0, 0, 0) + b"ABC\0"
    second = header(1, 2) + struct.pack(">qB", change, 1)
    second += b"".join(struct.pack(">iBB", offset, 0, 0) for offset in (before, after)) + b"ABC\0"
    path.write_bytes(first + second + b"\n\n")


def shows(hour, at):
    """The offset with which a clock shows that hour at that time, in seconds since 1970."""
    offset = (hour * 3600 - int(at)) % DAY
    return offset if offset <= DAY // 2 else offset - DAY


def use_zone(site, monkeypatch, opens_at=None):
    """A zone where it is noon until `opens_at` (None: for ever), and one o'clock from then on;
    returns the windows of its night."""
    now = time.time()
    change = int(now) + 10 * DAY if opens_at is None else int(opens_at)
    write_zone(site.folder / "Night", shows(12, now), change, shows(1, change))
    monkeypatch.setitem(harness_daemon.ENVIRONMENT, "TZDIR", str(site.folder))
    return [{"days": "mon-sun", "from": "00:00", "to": "06:00", "zone": "Night"}]
