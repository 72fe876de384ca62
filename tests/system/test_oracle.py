"""What check_restarts has to find is found when it is planted."""

import re

import pytest
from harness.kafka import Record
from harness.oracle import check_restarts
from harness.site import request

DONE = "a.example.com"
FAILED = "exit3-b.example.com"

SET = f"UPDATE restarts SET {{}} WHERE host = '{DONE}' AND shared_with IS NULL AND state = 'done'"

# What is changed in the database, and what is said then.
ROWS = [
    (SET.format("state = 'intended'"), "it was left open"),
    (SET.format("state = 'unknown', reason = 'no_end'"), "nobody was killed in between"),
    (SET.format("state = 'unknown', reason = 'timeout'"), "its daemon did not know"),
    (SET.format("intended_at = intended_at + interval '10 s'"), "started outside of its time"),
    (SET.format("held_until = intended_at"), "started outside of its time"),
    (SET.format("ended_at = intended_at - interval '1 s'"), "ended before it was started"),
    (SET.format("state = 'failed'"), "it shares with"),
    ("UPDATE restarts SET shared_with = 1000000 WHERE shared_with IS NOT NULL", "it shares with None"),
    ("UPDATE restarts SET shared_with = NULL", "0 starts"),
    ("DELETE FROM restarts WHERE shared_with IS NOT NULL", "has 0 ends"),
    (f"DELETE FROM restarts WHERE host = '{FAILED}' AND attempt = 1", "2 starts"),
    (f"UPDATE restarts SET state = 'done' WHERE host = '{FAILED}' AND attempt = 2", "has 1 ends"),
    ("DELETE FROM rejected", "has 0 ends"),
    ("UPDATE rejected SET reason = 'unknown'", "was rejected"),
    ("UPDATE restarts SET request_id = 'x' WHERE shared_with IS NOT NULL", "nobody asked for it"),
]


@pytest.fixture
def ran(site):
    """A run with a restart that is done, one that shares it, and one that failed twice."""
    held = site.restarter.hold("hold-1.example.com")
    site.create_topic()
    site.produce(*(Record(request(host)) for host in (held, DONE, DONE, FAILED)))
    daemon = site.start(retry={"attempts": 2}, handlers={"restart-host": {"concurrency": 1}})
    site.wait_joined()
    daemon.wait_for(event="partition.started")
    site.restarter.release(held)
    site.wait_drained()
    assert daemon.stop() == 0
    found = check_restarts(site)
    assert (found["done"], found["failed"], found["shared"], found["unknown"]) == (3, 2, 1, [])
    return site


def finds(site, what):
    with pytest.raises(AssertionError, match=re.escape(what)):
        check_restarts(site)


def test_rows_that_are_wrong(ran):
    """Each is put back before the next one."""
    with ran.database.connect() as connection:
        for name in ("restarts", "rejected"):
            connection.execute(f"CREATE TABLE {name}_kept AS SELECT * FROM {name}")
        for change, what in ROWS:
            assert connection.execute(change).rowcount > 0, change
            finds(ran, what)
            for name in ("restarts", "rejected"):
                connection.execute(f"DELETE FROM {name}")
                connection.execute(
                    f"INSERT INTO {name} OVERRIDING SYSTEM VALUE SELECT * FROM {name}_kept"
                )
            check_restarts(ran)


def test_starts_that_are_wrong(ran):
    path = ran.restarter.folder / "restarts"
    lines = path.read_text().splitlines(keepends=True)
    [done] = [line for line in lines if line.startswith(DONE)]
    path.write_text("".join([*lines, done]))
    finds(ran, "2 starts")
    path.write_text("".join(line for line in lines if line != done))
    finds(ran, "0 starts")
    words = done.split()
    path.write_text("".join([*lines, " ".join([words[0], "x", *words[2:]]) + "\n"]))
    finds(ran, "nobody asked for it")
    path.write_text("".join(lines))
    check_restarts(ran)
