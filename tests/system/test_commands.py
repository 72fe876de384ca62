"""The commands: what they print, where, and how they end."""

import json
import re

import pytest
from harness import ROOT
from harness.daemon import command
from harness.site import LIMITS
from psycopg.conninfo import make_conninfo

COMMANDS = "run check-config print-config init-db produce hold unhold holds dead-letter version".split()
UNREACHABLE = {
    "kafka": {"bootstrap.servers": "127.0.0.1:1"},
    "postgres": {"dsn": "host=127.0.0.1 port=1 user=x dbname=x"},
}


def test_version_names_the_libraries():
    result = command("version")
    assert result.returncode == 0
    assert re.search(r"^ackd \d+\.\d+\.\d+", result.stdout)
    for library in ("librdkafka 2.", "libev 4.", "libpq 15", "jansson 2."):
        assert library in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help(name):
    result = command(*filter(None, [name, "--help"]))
    assert result.returncode == 0
    assert result.stderr == ""
    assert f"ackd {name or ''}".strip() in result.stdout
    if name is None:
        assert all(other in result.stdout for other in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [[], ["no-such-command"], ["run", "--no-such-option"], ["run", "extra"], ["run", "-c"], ["produce"]],
    ids=" ".join,
)
def test_wrong_usage_is_64(arguments):
    result = command(*arguments)
    assert result.returncode == 64
    assert result.stdout == ""
    assert "ackd" in result.stderr


# --- configuration ---


def test_check_config_says_ok(site):
    result = command("check-config", "-c", site.write_config())
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_check_config_names_every_error_and_its_place(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "instance: demo\n"
        "consume:\n"
        "  comit_interval: 1s\n"
        "handlers:\n"
        "  restart-host:\n"
        "    exec: {timeout: soon}\n"
        "limits:\n"
        "  in_flight: 0\n"
        "log: {level: loud}\n"
    )
    for name in ("check-config", "run"):
        result = command(name, "-c", path)
        assert result.returncode == 78
        lines = result.stderr.splitlines()

        def line_of(place, lines=lines):
            return next(line for line in lines if f"{path}:{place}:" in line)

        assert "commit_interval" in line_of("3:3")
        assert "duration" in line_of("6:21")
        assert "1 to" in line_of("8:14")
        assert "debug | info | warning | error" in line_of("9:14")
        assert any("action" in line for line in lines)
        assert any("allow" in line for line in lines)


@pytest.mark.parametrize("name", ["check-config", "run"])
def test_a_setting_that_librdkafka_does_not_know_has_its_place(site, name):
    text = site.write_config(kafka={"session.timeout.ms": None}).read_text()
    path = site.folder / "bad.yaml"
    path.write_text(text + "\n")
    lines = text.splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "bootstrap.servers" in line)
    result = command(name, "-c", path, "-o", "kafka.session.timeouts.ms=6000")
    assert result.returncode == 78
    assert "error: -o kafka.session.timeouts.ms: " in result.stderr
    assert 'did you mean "session.timeout.ms"?' in result.stderr
    path.write_text(text.replace("bootstrap.servers", "bootstrap.server"))
    result = command(name, "-c", path)
    assert result.returncode == 78
    assert f"error: {path}:{number}:" in result.stderr
    assert 'did you mean "bootstrap.servers"?' in result.stderr


@pytest.mark.parametrize("name", ["check-config", "run"])
def test_what_the_libraries_refuse_is_said_at_once_and_in_its_place(tmp_path, name):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "handlers: {save: {}}\n"
        "kafka:\n"
        "  session.timeout.ms: 10s\n"
        "  linger.ms: often\n"
        "  bootstrap.server: x\n"
        "consume: {topics: ['^(']}\n"
        "postgres: {dsn: hots=x}\n"
        "retry: {attempts: 0}\n"
    )
    result = command(name, "-c", path, "-o", "kafka.sasl.mechanisms.x=y")
    assert result.returncode == 78
    places = [
        f"error: {path}:3:23: kafka.session.timeout.ms: 10s would be taken as 10",
        f"error: {path}:4:14: kafka.linger.ms: ",
        f"error: {path}:5:21: kafka.bootstrap.server: ",
        f"error: {path}:6:19: consume.topics: ",
        f"error: {path}:7:17: postgres.dsn: ",
        f"error: {path}:8:19: retry.attempts: ",
        "error: -o kafka.sasl.mechanisms.x: ",
    ]
    lines = result.stderr.splitlines()
    assert len(lines) == len(places), result.stderr
    assert all(map(str.startswith, lines, places)), result.stderr


def test_check_config_warns_of_what_is_not_there(site):
    exec_ = {"argv": ["/nope/x", "{{host}}"]}
    path = site.write_config(
        handlers={"restart-host": {"exec": exec_, **LIMITS}},
        postgres={"password_file": "/nope/password"},
        metrics={"textfile": "/nope/folder/ackd.prom"},
    )
    result = command("check-config", "-c", path, env={"ACKD_RETRY__ATTEMPTS": "3"})
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr
    for words in (
        "exec.argv: /nope/x: No such file or directory; no host can be restarted",
        "postgres.password_file: /nope/password: No such file",
        "metrics.textfile: /nope/folder: No such file or directory; no metrics",
        "ACKD_RETRY__ATTEMPTS: is ignored: keys are named with two _, as in ACKD__RETRY__ATTEMPTS",
    ):
        assert words in result.stderr
    assert result.stderr.count("warning: ") == 4


@pytest.mark.parametrize("name", ["check-config", "print-config", "run", "init-db", "produce"])
def test_a_file_that_is_not_there_is_78(name, tmp_path):
    path = tmp_path / "none.yaml"
    result = command(name, "-c", path, *(["host"] if name == "produce" else []))
    assert result.returncode == 78
    assert str(path) in result.stderr


def test_the_environment_and_options_win_in_this_order(site):
    path = site.write_config(retry={"attempts": 2})
    environment = {"ACKD_CONFIG": str(path), "ACKD__RETRY__ATTEMPTS": "3"}
    assert "attempts: 2  # " in command("print-config", "-c", path).stdout
    shown = command("print-config", env=environment).stdout
    assert "attempts: 3  # environment ACKD__RETRY__ATTEMPTS" in shown
    shown = command("print-config", "-o", "retry.attempts=4", env=environment).stdout
    assert re.search(r"attempts: 4  # -o", shown)
    result = command("check-config", env={**environment, "ACKD__RETRY__ATTEMTPS": "3"})
    assert result.returncode == 78
    assert "ACKD__RETRY__ATTEMTPS" in result.stderr and "attempts" in result.stderr.lower()


def test_print_config_masks_secrets_and_can_be_read_again(site):
    secret = "correct-horse"
    path = site.write_config(
        kafka={"sasl.password": secret}, postgres={"dsn": f"host=x password={secret}"}
    )
    result = command("print-config", "-c", path)
    assert result.returncode == 0
    assert secret not in result.stdout + result.stderr
    assert site.kafka.servers in result.stdout
    again = site.folder / "again.yaml"
    again.write_text(result.stdout)
    assert command("check-config", "-c", again).returncode == 0


def test_the_defaults_are_printed_with_help(tmp_path):
    result = command("print-config", "--defaults")
    assert result.returncode == 0
    assert "commit_interval: 1s" in result.stdout
    path = tmp_path / "defaults.yaml"
    path.write_text(result.stdout)
    # Every key is known again; only a handler is still missing.
    assert command("check-config", "-c", path, "-o", "handlers.save={}").returncode == 0


# --- init-db ---


def test_init_db_can_be_repeated_and_printed(site):
    path = site.write_config()
    for _ in range(2):
        result = command("init-db", "-c", path)
        assert result.returncode == 0, result.stderr
    printed = command("init-db", "-c", path, "--print")
    assert printed.returncode == 0
    assert "CREATE TABLE" in printed.stdout and '"ackd"' in printed.stdout
    kinds = site.database.rows("SELECT relkind, relname FROM pg_class WHERE relname = 'messages'")
    assert kinds == [("p", "messages")]
    assert site.database.value("SELECT version FROM schema_version") == 2


def test_every_column_of_what_was_rejected_is_documented(site):
    site.init_db()
    query = "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'rejected_messages'"
    table = (ROOT / "docs/rejected.md").read_text().split("\n\n")[2]
    first_cells = " ".join(line.split("|")[1] for line in table.splitlines()[2:])
    assert sorted(re.findall(r"`(\w+)`", first_cells)) == sorted(n for n, in site.database.rows(query))


def test_init_db_without_a_server_is_69(site):
    result = command("init-db", "-c", site.write_config(postgres=UNREACHABLE["postgres"]))
    assert result.returncode == 69
    assert result.stderr.count("\n") >= 1


@pytest.mark.parametrize("name", ["init-db", "partition"])
@pytest.mark.parametrize(
    "change, remedy",
    [({"user": "nobody-there"}, "check user and password"), ({"dbname": "none-such"}, "createdb")],
    ids=["user", "database"],
)
def test_who_is_refused_by_postgres_gets_the_hint_that_run_gives(site, name, change, remedy):
    site.create_topic()
    dsn = make_conninfo(site.database.dsn, **change)
    place = [f"{site.topic}/0", "--from", 0, "--why", "x"] if name == "partition" else []
    result = command(name, *place, "-c", site.write_config(postgres={"dsn": dsn}))
    assert result.returncode == 69
    assert remedy in result.stderr


def test_init_db_refuses_another_encoding(site):
    name = site.database.name + "_latin1"
    with site.database.connect() as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
        )
    try:
        dsn = site.database.dsn.replace(f"dbname={site.database.name}", f"dbname={name}")
        result = command("init-db", "-c", site.write_config(postgres={"dsn": dsn}))
        assert result.returncode not in (0, 64)
        assert "UTF8" in result.stderr
    finally:
        with site.database.connect() as connection:
            connection.execute(f"DROP DATABASE {name}")


# --- produce ---


def values(site, count):
    """What is in the topic, through the daemon itself."""
    daemon = site.start(handlers={"restart-host": None})
    site.wait_drained()
    assert daemon.stop() == 0
    saved = site.saved()
    assert len(saved) == count
    return [json.loads(payload) for _, payload in saved.values()]


def test_produce_sends_a_request_a_host(site):
    site.create_topic(3)
    result = command("produce", "-c", site.write_config(), "a.example.com", "b.example.com")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"2 requests sent to {site.topic} in ")
    result = command("produce", "-c", site.write_config(), "c.example.com")
    assert result.stdout.startswith("1 request sent to ")
    sent = values(site, 3)
    assert {value["host"] for value in sent} == {
        f"{name}.example.com" for name in "abc"
    }
    assert len({value["id"] for value in sent}) == 3


def test_produce_counts_over_a_pattern(site):
    site.create_topic(3)
    result = command("produce", "-c", site.write_config(), "--count", 1000, "n%d.example.com")
    assert result.returncode == 0, result.stderr
    # The bar is for a terminal; a pipe gets plain lines.
    assert "\r" not in result.stderr and "\x1b" not in result.stderr + result.stdout
    hosts = {value["host"] for value in values(site, 1000)}
    assert len(hosts) == 1000


def test_produce_reads_hosts_and_objects_from_a_file(site):
    site.create_topic()
    path = site.folder / "hosts"
    path.write_text('a.example.com\n{"host": "b.example.com", "id": "x7", "why": ["disk"]}\n')
    result = command("produce", "-c", site.write_config(), "--file", path)
    assert result.returncode == 0, result.stderr
    sent = {value["host"]: value for value in values(site, 2)}
    assert sent["b.example.com"] == {"host": "b.example.com", "id": "x7", "why": ["disk"]}


def test_produce_without_a_broker_is_69(site):
    path = site.write_config(kafka=UNREACHABLE["kafka"])
    result = command("produce", "-c", path, "a.example.com", timeout=100)
    assert result.returncode == 69
    assert "127.0.0.1:1" in result.stderr
