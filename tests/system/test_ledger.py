"""The ledger of restarts, with daemons: each step of a claim (docs/ledger.md), in what the restarter
was asked to do, in ackd.restarts, in the log and in the metrics."""

import re
import time
from datetime import datetime, timezone

import pytest
from harness import until
from harness.chaos import FAST_GROUP, joined
from harness.daemon import at
from harness.kafka import Record
from harness.oracle import check_fences, check_resolved, check_restarts, ledger
from harness.site import merge, request


def start(site, name="one", restart=(), **changes):
    """A daemon with these keys of restart-host."""
    base = {
        "instance": name,
        "metrics": {"textfile": str(site.folder / f"{name}.prom")},
        "handlers": {"restart-host": dict(restart)},
        **FAST_GROUP,
    }
    return site.start(**merge(base, changes))


def pair(site, changes=None, **restart):
    """Two daemons with a partition each: {partition: daemon}"""
    site.create_topic(2)
    daemons = [start(site, name, restart, **(changes or {})) for name in ("one", "two")]
    joined(site, 2)

    def owners():
        label = 'ackd_partition_lag{{topic="{}",partition="{}"}}'
        found = [
            (p, daemon)
            for daemon in daemons
            for p in range(2)
            if label.format(site.topic, p) in daemon.metrics()
        ]
        each = dict(found)
        return each if len(found) == len(each) == len(set(each.values())) == 2 else None

    return until(owners)


def ask(site, host, partition=0, **fields):
    """Produces one request; its place."""
    [place] = site.produce(Record(request(host, **fields), partition=partition))
    return place


def ago(seconds):
    return datetime.fromtimestamp(time.time() - seconds, timezone.utc).isoformat()


def waiting(daemon, reason):
    return daemon.metrics().get(f'ackd_restarts_waiting{{reason="{reason}"}}')


def suppressed(daemon, reason):
    return daemon.metrics().get(f'ackd_restarts_suppressed_total{{reason="{reason}"}}')


def row_of(site, place):
    """The newest of a message; None: there is none."""
    found = [row for row in ledger(site) if row.place == place]
    return max(found, key=lambda row: row.attempt) if found else None


def starts(site, host):
    """When its restarts were started, in seconds since 1970."""
    return [r.time_us / 1e6 for r in site.restarter.restarts() if r.host == host]


def acks(site, place):
    """Each line with which a daemon acked it."""
    partition, offset = place
    return [
        line
        for daemon in site.daemons()
        for line in daemon.find(event="message.acked", partition=partition, offset=offset)
    ]


def is_suppressed(site, daemon, place, reason):
    """It was acked once, as suppressed for that reason, which is in the ledger, counted and said."""
    until(lambda: acks(site, place))
    row = row_of(site, place)
    assert (row.state, row.reason, row.intended_at) == ("suppressed", reason, None)
    [ack] = acks(site, place)
    assert f"restart-host=suppressed ({reason})" in ack["msg"]
    until(lambda: suppressed(daemon, reason) == 1)
    level = "debug" if reason == "not_selected" else "info"
    [line] = daemon.find(event="restart.suppressed", level=level)
    assert line["host"] == row.host
    assert f"suppressed ({reason})" in line["msg"] and "it counts as done" in line["msg"]
    return line["msg"]


def waits(daemon, host, reason):
    """It does, which is counted and said; of several that wait for the same, of the first one only."""
    why = re.compile(rf"waits \({reason}\)")
    line = daemon.wait_for(event="restart.waits", host=host, msg=why)
    assert "no attempt is charged" in line["msg"]
    assert daemon.find(event="restart.waits", msg=why)[0]["level"] == "info"
    until(lambda: waiting(daemon, reason) >= 1)
    return line["msg"]


def stop(site):
    daemons = [daemon for daemon in site.daemons() if daemon.is_alive()]
    assert {daemon.stop() for daemon in daemons} == {0}


def finish(site, rejected=()):
    """Everything is resolved, and each message was acked once."""
    site.wait_drained()
    stop(site)
    check_resolved(site)
    check_fences(site)
    assert site.rejected().keys() == set(rejected)
    for place in site.produced.keys() - set(rejected):
        assert len(acks(site, place)) == 1, place
    assert not [row for row in ledger(site) if row.state in ("intended", "acted")]


def execute(site, statement, *parameters):
    with site.database.connect() as connection:
        connection.execute(statement, parameters)


def hold(site, pattern):
    """As `ackd hold` does."""
    query = "INSERT INTO holds (pattern, why, who) VALUES (%s, 'a test', 'jo')"
    execute(site, query, pattern)


def lift(site):
    """As `ackd unhold` does."""
    execute(site, "UPDATE holds SET lifted_at = now(), lifted_by = 'jo' WHERE lifted_at IS NULL")


# --- one reason, one restart ----------------------------------------------------------------------


def test_requests_for_one_host_at_two_daemons(site):
    """What came while it ran is one more restart: who asks first makes it, for all that wait with it;
    at the other daemon it is superseded."""
    owners = pair(site)
    host = site.restarter.hold("hold-1.example.com")
    first = ask(site, host)
    until(lambda: starts(site, host))
    later = [ask(site, host), ask(site, "HOLD-1.example.com.")]
    other = [ask(site, host, partition=1), ask(site, host, partition=1)]
    said = waits(owners[1], host, "running")
    assert f"intended by {owners[0].instance} since" in said
    until(lambda: waiting(owners[1], "running") == 2 and waiting(owners[0], "host") == 2)
    assert site.committed() == {0: 0, 1: 0}
    site.restarter.release(host)
    finish(site)
    assert len(starts(site, host)) == 2
    made = row_of(site, first)
    assert (made.state, made.shared_with) == ("done", None)
    one, two = ([row_of(site, place) for place in places] for places in (later, other))
    if one[0].state == "suppressed":
        one, two = two, one
    assert [row.state for row in one] == ["done", "done"]
    assert [row.shared_with for row in one] == [None, one[0].id]
    assert [(row.state, row.reason) for row in two] == [("suppressed", "superseded")] * 2
    # Each was acked when the restart had ended that it owes its end to.
    for place, row in [(first, made), *((row.place, one[0]) for row in [*one, *two])]:
        [ack] = acks(site, place)
        assert row.ended_at <= at(ack) + 0.01


def test_the_same_request_again_is_a_duplicate(site):
    """At another daemon, and in another spelling of its host."""
    owners = pair(site)
    ask(site, "a.example.com", id="x7")
    site.wait_drained()
    again = ask(site, "A.Example.com.", partition=1, id="x7")
    said = is_suppressed(site, owners[1], again, "duplicate")
    assert re.search(f"this request was done at 20.* by {owners[0].instance};", said)
    # The same id for another host is another request.
    ask(site, "b.example.com", partition=1, id="x7")
    finish(site)
    assert site.restarter.hosts() == ["a.example.com", "b.example.com"]


def test_what_was_requested_before_a_restart_is_superseded_by_it(site):
    owners = pair(site)
    ask(site, "a.example.com")
    site.wait_drained()
    old = ask(site, "a.example.com", partition=1, requested_at=ago(60))
    is_suppressed(site, owners[1], old, "superseded")
    new = ask(site, "a.example.com", partition=1)
    finish(site)
    assert row_of(site, new).state == "done"
    assert len(starts(site, "a.example.com")) == 2


def test_a_request_that_is_too_old_is_stale(site):
    site.create_topic()
    daemon = start(site, restart={"max_age": "1m"})
    old = ask(site, "a.example.com", requested_at=ago(90))
    is_suppressed(site, daemon, old, "stale")
    ask(site, "b.example.com", requested_at=ago(10))
    finish(site)
    assert site.restarter.hosts() == ["b.example.com"]


def test_a_request_that_when_does_not_select_has_a_row(site):
    site.create_topic()
    daemon = start(site, restart={"when": {"kind": "restart"}})
    no = ask(site, "a.example.com", kind="inform")
    is_suppressed(site, daemon, no, "not_selected")
    ask(site, "a.example.com", kind="restart")
    finish(site)
    assert len(starts(site, "a.example.com")) == 1


def test_a_restart_that_is_done_suppresses_within_the_cooldown(site):
    owners = pair(site, cooldown="1h")
    ask(site, "a.example.com")
    site.wait_drained()
    again = ask(site, "a.example.com", partition=1)
    assert "started at 20" in is_suppressed(site, owners[1], again, "cooldown")
    finish(site)
    assert site.restarter.hosts() == ["a.example.com"]


def test_a_restart_that_failed_is_tried_again_after_the_cooldown(site):
    """And a request at another daemon waits for it as well."""
    owners = pair(site, {"retry": {"attempts": 2}}, cooldown="4s")
    host = "exit3-a.example.com"
    first = ask(site, host)
    until(lambda: (row := row_of(site, first)) and row.state == "failed")
    other = ask(site, host, partition=1)
    assert "started at 20" in waits(owners[1], host, "cooldown")
    assert waiting(owners[0], "retry") == 1
    finish(site, rejected=[first, other])
    times = [restart.forked_us / 1e6 for restart in site.restarter.restarts()]
    assert len(times) == 4
    assert all(b - a > 3.98 for a, b in zip(times, times[1:])), times
    assert {row.state for row in ledger(site)} == {"failed"}
    for row in site.rejected().values():
        assert (row["reason"], row["attempts"]) == ("failed", 2)
    check_restarts(site)


# --- limits ---------------------------------------------------------------------------------------


def test_a_host_that_was_restarted_too_often_is_not_once_more(site):
    owners = pair(site, per_host={"restarts": 2, "period": "1h"})
    for partition in range(2):
        ask(site, "a.example.com", partition=partition)
        site.wait_drained()
    places = [ask(site, "a.example.com", partition=p) for p in range(2)]
    fine = ask(site, "b.example.com")
    finish(site, rejected=places)
    assert len(starts(site, "a.example.com")) == 2
    assert row_of(site, fine).state == "done"
    for place in places:
        row = site.rejected()[place]
        assert (row["handler"], row["reason"]) == ("restart-host", "host_limit")
        assert row["handlers_done"] == ["save"] and row["attempts"] == 0
        assert row["detail"].startswith("2 restarts of this host in ")
        assert row_of(site, place) is None
        [line] = owners[place[0]].find(event="message.rejected")
        assert "host_limit" in line["msg"]


def test_a_group_has_one_at_a_time_and_its_quiet_time(site):
    groups = [{"match": "hold-*", "concurrency": 1, "quiet_time": "3s"}]
    owners = pair(site, groups=groups)
    first, second = (site.restarter.hold(f"hold-{i}.example.com") for i in range(2))
    one = ask(site, first)
    until(lambda: starts(site, first))
    two = ask(site, second, partition=1)
    beside = ask(site, "a.example.com", partition=1)
    assert "1 of 1 of group hold-* run" in waits(owners[1], second, "group")
    until(lambda: acks(site, beside))  # nobody waits for a group that is not his
    site.restarter.release(second)
    assert not starts(site, second)
    site.restarter.release(first)
    assert "the last of group hold-* ended at" in waits(owners[1], second, "quiet_time")
    finish(site)
    assert starts(site, second)[0] - row_of(site, one).ended_at > 2.95
    assert row_of(site, two).state == "done"


def most_at_once(site):
    rows = [row for row in ledger(site) if row.intended_at]
    return max(sum(a.intended_at <= b.intended_at < a.ended_at for a in rows) for b in rows)


def test_the_fleet_has_a_limit_over_daemons(site):
    owners = pair(site, fleet_concurrency=2)
    held = [site.restarter.hold(f"hold-{i}.example.com") for i in range(6)]
    for host in held[:2]:
        ask(site, host)
    until(lambda: set(site.restarter.hosts()) == set(held[:2]))
    for i, host in enumerate(held[2:]):
        ask(site, host, partition=i % 2)
        assert "2 of 2 run" in waits(owners[i % 2], host, "fleet")
    for n in range(6):
        assert len(site.restarter.hosts()) == min(n + 2, 6)
        site.restarter.release(site.restarter.hosts()[n])
        until(lambda n=n: len(site.restarter.hosts()) == min(n + 3, 6))
    finish(site)
    check_restarts(site)
    assert sorted(site.restarter.hosts()) == held
    assert most_at_once(site) == 2


def test_the_fuse_stops_everything_until_a_person_lifts_it(site):
    owners = pair(site, fuse={"restarts": 3, "period": "1h"})
    for i in range(3):
        ask(site, f"n{i}.example.com", partition=i % 2)
        site.wait_drained()
    places = [ask(site, f"m{i}.example.com", partition=i % 2) for i in range(4)]
    until(lambda: sum(waiting(daemon, "fuse") for daemon in owners.values()) == 4)
    until(lambda: site.saved().keys() >= set(places))  # saving goes on
    alarms = [line for d in owners.values() for line in d.find(event="restart.fuse")]
    [alarm] = alarms
    assert alarm["level"] == "error"
    assert "3 restarts in " in alarm["msg"]
    assert "`ackd unhold --fuse` lifts it" in alarm["msg"]
    [(pattern, who, why, fuse)] = site.database.rows("SELECT pattern, who, why, fuse FROM holds")
    assert (pattern, fuse) == ("*", True)
    assert who.startswith("ackd (") and "the fuse: 3 restarts in" in why
    assert len(site.restarter.hosts()) == 3
    for place in places:
        waits(owners[place[0]], f"m{places.index(place)}.example.com", "fuse")
    lift(site)
    # It counts anew: three more, and it blows again.
    until(lambda: len(site.restarter.hosts()) == 6)
    query = "SELECT count(*) FROM holds WHERE fuse AND lifted_at IS NULL"
    until(lambda: site.database.value(query) == 1)
    assert len(site.restarter.hosts()) == 6
    lift(site)
    finish(site)
    check_restarts(site)
    assert len([line for d in owners.values() for line in d.find(event="restart.fuse")]) == 2


def test_a_hold_stops_restarts_within_seconds(site):
    """Under load: what was not started before waits, and is saved all the same."""
    n = 2000
    site.create_topic(2)
    site.produce(*(f"n{i}.example.com" for i in range(n)))
    daemons = [start(site, name, log={"level": "info"}) for name in ("one", "two")]
    until(lambda: len(site.restarter.restarts()) > 100, 60)
    hold(site, "n*.EXAMPLE.com")
    held_at = time.time()
    until(lambda: len(site.saved()) == n)
    until(lambda: sum(waiting(daemon, "hold") for daemon in daemons) > 0)
    until(lambda: not site.restarter.running())
    before = len(site.restarter.restarts())
    assert before < n, "the hold came too late"
    fine = ask(site, "m.example.com")
    until(lambda: starts(site, "m.example.com"))
    restarts = [r for r in site.restarter.restarts() if r.host.startswith("n")]
    # What was granted by then may start for 5 s more.
    assert max(r.time_us for r in restarts) / 1e6 - held_at < 5
    assert max(row.intended_at for row in ledger(site) if row.place != fine) < held_at
    lift(site)
    site.wait_drained(90)
    assert [daemon.stop() for daemon in daemons] == [0, 0]
    check_resolved(site)
    check_restarts(site)
    assert len(site.restarter.hosts()) == n + 1


def test_who_put_the_hold_is_said(site):
    site.create_topic()
    daemon = start(site)
    hold(site, "a*.example.com")
    ask(site, "a1.example.com")
    said = waits(daemon, "a1.example.com", "hold")
    assert "a*.example.com, by jo since 20" in said and ": a test" in said
    assert site.restarter.hosts() == []
    # One that ends by itself.
    execute(site, "UPDATE holds SET until = now() + interval '1 second'")
    until(lambda: site.restarter.hosts())
    finish(site)
    assert waiting(daemon, "hold") == 0


# --- waiting ends ---------------------------------------------------------------------------------


def waited_too_long(site, place):
    """It was rejected, since it waited for a hold. Returns when, and how long after its first receipt."""
    until(lambda: place in site.rejected(), 60)
    row = site.rejected()[place]
    assert (row["handler"], row["reason"], row["attempts"]) == ("restart-host", "waited_too_long", 0)
    assert row["handlers_done"] == ["save"]
    # Whoever saw it first, the ledger or the daemon.
    assert re.search(r"max_wait\) and still waited for a hold|at last for: hold \(\*, by jo", row["detail"])
    assert row_of(site, place) is None
    [(rejected_at, received_at)] = site.database.rows(
        "SELECT extract(epoch FROM r.rejected_at)::float8, extract(epoch FROM m.received_at)::float8"
        ' FROM rejected r JOIN messages m USING (source, "offset")'
    )
    return rejected_at, rejected_at - received_at


def test_a_wait_that_is_too_long_is_a_rejection(site):
    site.create_topic()
    site.init_db()
    hold(site, "*")
    start(site, restart={"max_wait": "3s"})
    place = ask(site, "a.example.com")
    _, waited = waited_too_long(site, place)
    assert 2.9 < waited < 15
    lift(site)
    finish(site, rejected=[place])
    assert site.restarter.hosts() == []


def test_a_wait_goes_on_where_it_was_at_the_next_owner(site):
    """What counts is the first receipt, also when the next owner received it before it was too late."""
    site.create_topic()
    wait = {"max_wait": "12s"}
    site.init_db()
    hold(site, "*")
    daemon = start(site, restart=wait)
    place = ask(site, "a.example.com")
    waits(daemon, "a.example.com", "hold")
    query = "SELECT extract(epoch FROM clock_timestamp() - received_at)::float8 FROM messages"
    until(lambda: site.database.rows(query) and site.database.value(query) > 6)
    assert daemon.stop() == 0
    daemon = start(site, restart=wait)
    again = daemon.wait_for(event="restart.waits", host="a.example.com")
    assert site.rejected() == {}
    rejected_at, waited = waited_too_long(site, place)
    assert waited > 11.9
    assert rejected_at - at(again) < 11, "it was counted from its second receipt"
    lift(site)
    finish(site, rejected=[place])


def test_a_wait_that_became_too_long_while_nobody_owned_it(site):
    site.create_topic()
    site.init_db()
    hold(site, "*")
    wait = {"max_wait": "3s"}
    daemon = start(site, restart={})
    place = ask(site, "a.example.com")
    waits(daemon, "a.example.com", "hold")
    until(lambda: site.saved())
    assert daemon.stop() == 0
    query = "SELECT extract(epoch FROM clock_timestamp() - received_at)::float8 FROM messages"
    until(lambda: site.database.value(query) > 3)
    daemon = start(site, restart=wait)
    waited_too_long(site, place)
    assert daemon.find(event="restart.waits") == []  # it was its first claim
    lift(site)
    finish(site, rejected=[place])


# --- a daemon that dies ---------------------------------------------------------------------------

SHORT = {"exec": {"timeout": "6s"}}  # with 5 s and kill_after (1 s) a host is held for 12 s


@pytest.mark.parametrize("on_unknown", ["reject", "retry", "done"])
def test_on_unknown_decides_when_a_daemon_was_killed_in_the_middle(site, on_unknown):
    site.create_topic()
    restart = {"on_unknown": on_unknown, **SHORT}
    host = site.restarter.hold("hold-1.example.com")
    daemon = start(site, "one", restart)
    place = ask(site, host)
    until(lambda: starts(site, host) and site.saved())
    daemon.kill()
    daemon = start(site, "two", restart)
    # Until nobody can run it any more it waits, whatever is to become of it.
    assert "intended by one since" in waits(daemon, host, "running")
    assert len(starts(site, host)) == 1 and site.rejected() == {}
    site.restarter.release(host)
    finish(site, rejected=[place] if on_unknown == "reject" else [])
    rows = [row for row in ledger(site) if row.place == place]
    first = rows[0]
    assert (first.instance, round(first.held_until - first.intended_at)) == ("one", 12)
    if on_unknown == "reject":
        row = site.rejected()[place]
        assert (row["handler"], row["reason"], row["handlers_done"]) == ("restart-host", "unknown", ["save"])
        assert f"(restarts.id {first.id}) has no known end" in row["detail"]
        assert [(row.state, row.reason) for row in rows] == [("unknown", "no_end")]
        check_restarts(site)
    elif on_unknown == "done":
        assert [(row.state, row.reason) for row in rows] == [("done", "on_unknown")]
    else:
        assert [row.state for row in rows] == ["unknown", "done"]
        assert [row.attempt for row in rows] == [1, 2]
        assert starts(site, host)[1] > first.held_until
    assert len(starts(site, host)) == (2 if on_unknown == "retry" else 1)


def test_nobody_touches_a_host_whose_daemon_died_before_its_time_is_over(site):
    """Nor does an unknown suppress: the request of the other daemon is carried out then. The one of which
    nobody knows waits there by now too: asked for first it is rejected, otherwise it shares that restart."""
    owners = pair(site, **SHORT)
    host = site.restarter.hold("hold-1.example.com")
    lost = ask(site, host)
    until(lambda: starts(site, host) and site.saved())
    other = ask(site, host, partition=1)
    waits(owners[1], host, "running")
    owners[0].kill()
    site.restarter.release(host)
    site.wait_drained()
    rejected = site.rejected()
    finish(site, rejected)
    first, second = starts(site, host)
    [before] = [row for row in ledger(site) if row.state == "unknown"]
    assert (before.place, before.reason) == (lost, "no_end")
    assert second > before.held_until
    done, shared = row_of(site, other), row_of(site, lost)
    assert done.state == "done"
    if rejected:
        assert rejected.keys() == {lost} and rejected[lost]["reason"] == "unknown"
    else:
        assert (shared.state, shared.attempt, shared.shared_with) == ("done", 2, done.id)
    check_restarts(site)


def test_what_is_done_is_not_done_again_after_a_crash(site):
    """It is behind one that runs, so that none of it was committed."""
    site.create_topic()
    host = site.restarter.hold("hold-1.example.com")
    retry = {"attempts": 1}
    daemon = start(site, "one", SHORT, retry=retry)
    pin = ask(site, host)
    done = [ask(site, f"n{i}.example.com") for i in range(20)]
    failed = ask(site, "exit3-1.example.com")
    until(lambda: failed in site.rejected(), 60)
    until(lambda: all((row := row_of(site, place)) and row.state == "done" for place in done))
    daemon.kill()
    site.restarter.release(host)
    daemon = start(site, "two", SHORT, retry=retry)
    site.wait_drained()
    stop(site)
    check_resolved(site)
    check_fences(site)
    assert site.rejected().keys() == {pin, failed}
    assert site.rejected()[pin]["reason"] == "unknown"
    assert not [r for r in site.restarter.restarts() if r.daemon == daemon.process.pid]
    for place in done:
        line = acks(site, place)[-1]
        assert "restart-host=done" in line["msg"]
    check_restarts(site)
