"""ackd status: what it prints, and the terminal of --watch. Against a stand-in for the daemon; what a
daemon answers: test_control.py."""

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import termios

import pytest
from harness import ROOT, until
from harness.control import Control
from harness.daemon import BINARY, ENVIRONMENT, command
from harness.terminal import Terminal

DOCUMENTS = ROOT / "tests/unit/status"
MORE = re.compile(r"^… (\d+) more lines?$", re.MULTILINE)


def document(name="trouble"):
    return json.loads((DOCUMENTS / f"{name}.json").read_text())


@pytest.fixture
def folder(tmp_path):
    """With a configuration that no server is needed for."""
    config = {
        "instance": "web1",
        "kafka": {"bootstrap.servers": "localhost:1", "group.id": "ackd"},
        "consume": {"topics": ["host-restarts"]},
        "handlers": {"save": {}},
        "postgres": {"dsn": "host=localhost port=1 dbname=nothing"},
        "control": {"socket": str(tmp_path / "web1.sock")},
    }
    (tmp_path / "ackd.yaml").write_text(json.dumps(config))
    return tmp_path


@pytest.fixture
def control(folder):
    result = Control(folder / "web1.sock", document())
    yield result
    result.stop()


def status(folder, *arguments, **options):
    return command("status", "-c", folder / "ackd.yaml", *arguments, **options)


def watch(folder, *arguments):
    return [BINARY, "status", "-c", folder / "ackd.yaml", "--watch", *arguments]


@pytest.fixture
def terminal():
    """Opens terminals, and closes them."""
    opened = []

    def open_(*arguments, **environment):
        opened.append(Terminal(*arguments, **environment))
        return opened[-1]

    yield open_
    for each in opened:
        each.cleanup()


# --- once ---------------------------------------------------------------------------------------


def test_text(folder, control):
    result = status(folder, env={"LC_ALL": "C"})
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (DOCUMENTS / "trouble.80.txt").read_text()
    assert control.requests == [{"request": "status", "messages": 100}]
    # The width that whoever reads the pipe has, and no colours there.
    narrow = status(folder, env={"COLUMNS": "40", "LC_ALL": "C"})
    assert narrow.stdout == (DOCUMENTS / "trouble.40.txt").read_text()


def test_utf8_only_where_the_locale_has_it(folder, control):
    assert "übergabe \\u202e\\u001b" in status(folder, env={"LC_ALL": "C.UTF-8"}).stdout
    assert "\\u00fcbergabe" in status(folder, env={"LC_ALL": "C"}).stdout


def test_json_is_what_the_daemon_wrote(folder, control):
    # Not as another writer of JSON would: spaces, order, escapes.
    text = '{ "b" :1,"a":"\\u00fc", "troubles":[]}\n'
    control.answer = lambda _: text
    result = status(folder, "--json")
    assert (result.returncode, result.stdout, result.stderr) == (0, text, "")


def test_warnings_are_for_the_daemon(folder, control):
    """A configuration that run and check-config warn of: here they would only hide the screen."""
    restart = {"action": "dry-run", "allow": ["*"], "max_age": 0}
    config = json.loads((folder / "ackd.yaml").read_text())
    config["handlers"]["restart-host"] = restart
    (folder / "ackd.yaml").write_text(json.dumps(config))
    assert "warning: " in command("check-config", "-c", folder / "ackd.yaml").stderr
    for options in ([], ["--json"], ["--health"]):
        result = status(folder, *options)
        assert (result.returncode, result.stderr) == (0, "")


def test_another_instance(folder, control):
    other = Control(folder / "web2.sock", {**document("well"), "instance": "web2"})
    try:
        assert "ackd web2  version" in status(folder, "-i", "web2").stdout
        assert "ackd web1  version" in status(folder).stdout
    finally:
        other.stop()
    missing = status(folder, "-i", "web3")
    assert missing.returncode == 69
    assert "web3.sock" in missing.stderr and "web1, web2" in missing.stderr


def test_health(folder, control):
    """Kafka and PostgreSQL are no fault of the process."""
    control.document["kafka"]["up"] = False
    result = status(folder, "--health")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        "ackd web1 answers: pid 4711, running, up 1d02h; Kafka DOWN, PostgreSQL DOWN\n"
    )
    assert control.requests == [{"request": "status", "messages": 0}]


@pytest.mark.parametrize("option", ["--health", "--json", None])
@pytest.mark.parametrize(
    "answer, said",
    [
        (None, "closed the connection before its answer was whole"),
        ("{", "closed the connection before its answer was whole"),
        ("{\n", "is no JSON object"),
        ("[]\n", "is no JSON object"),
        ("HTTP/1.1 400 Bad Request\n", "is no JSON object"),
        ('{"error":"messages takes 0 to 1000"}\n', "refuses: messages takes 0 to 1000"),
    ],
)
def test_answers_that_are_none(folder, control, answer, said, option):
    control.answer = lambda _: answer
    result = status(folder, *([option] if option else []))
    assert (result.returncode, result.stdout) == (69, "")
    assert said in result.stderr


@pytest.mark.parametrize("option", ["--health", "--json", None])
def test_no_daemon(folder, control, option):
    options = [option] if option else []
    control.silent = True
    silent = status(folder, *options)
    assert (silent.returncode, silent.stdout) == (69, "")
    assert "has not answered within" in silent.stderr
    control.stop()
    dead = status(folder, *options)
    assert (dead.returncode, dead.stdout) == (69, "")
    assert "nobody listens" in dead.stderr
    control.path.unlink()
    absent = status(folder, *options)
    assert (absent.returncode, absent.stdout) == (69, "")
    assert "there is no control socket" in absent.stderr
    control.silent = False
    control.start()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--health", "--json"], "--health stands alone"),
        (["--health", "--watch"], "--health stands alone"),
        (["-i", "a/b"], "not a path"),
        (["-i"], "needs a value"),
        (["--what"], "there is no option --what"),
    ],
)
def test_usage(folder, arguments, said):
    result = status(folder, *arguments)
    assert (result.returncode, result.stdout) == (64, "")
    assert said in result.stderr and "ackd status --help" in result.stderr


def test_a_configuration_that_is_none(folder):
    (folder / "ackd.yaml").write_text("instance: [")
    for option in ("--health", "--json", "--watch"):
        assert status(folder, option).returncode == 78


# --- every second, on a terminal ------------------------------------------------------------------


@pytest.mark.parametrize("columns, rows", [(80, 24), (40, 12), (200, 50), (20, 5)])
def test_watch_fills_the_screen(folder, control, terminal, columns, rows):
    screen = terminal(columns, rows)
    ended = screen.run(*watch(folder))
    text = screen.wait_for(MORE.search)
    assert text.startswith("ackd web1")
    assert screen.modes() == (True, False)
    lines = text.splitlines()
    assert len(lines) == rows and MORE.search(lines[-1])
    # What is missing is what a longer screen has below.
    env = {"COLUMNS": str(columns), "LC_ALL": "C.UTF-8"}
    whole = status(folder, env=env).stdout.splitlines()
    rows_of = [max(1, -(-len(line) // columns)) for line in whole]
    missing = int(MORE.search(lines[-1]).group(1))
    assert sum(rows_of[: len(whole) - missing]) <= rows - 1
    assert sum(rows_of[: len(whole) - missing + 1]) > rows - 1
    screen.key("q")
    assert screen.wait_status(ended) == 0


def test_watch_scrolls(folder, control, terminal):
    screen = terminal(80, 24)
    ended = screen.run(*watch(folder))
    screen.wait_for(MORE.search)
    whole = status(folder, env={"COLUMNS": "80", "LC_ALL": "C.UTF-8"}).stdout.splitlines()

    def begins(line):
        screen.wait_for(lambda text: text.splitlines()[:1] == [whole[line][:80].rstrip()])

    for key, line in [("j", 1), ("Down", 2), ("k", 1), ("Up", 0), ("Up", 0), ("Down", 1)]:
        screen.key(key)
        begins(line)
    screen.key("Home")
    begins(0)
    # To the end, and no further.
    for _ in range(len(whole)):
        screen.key("NPage")
    text = screen.wait_for(lambda text: whole[-1].strip() in text)
    assert not MORE.search(text)
    screen.key("PPage")
    screen.wait_for(MORE.search)
    screen.key("g")
    begins(0)
    screen.key("q")
    assert screen.wait_status(ended) == 0


def test_watch_on_a_window_of_absurd_size(folder, control):
    """More rows than ncurses counts; a program in the window may set any."""

    def size(rows):
        fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))

    leader, follower = os.openpty()
    size(24)
    process = subprocess.Popen(
        watch(folder),
        stdin=follower,
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env={**ENVIRONMENT, "TERM": "xterm"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(follower)
    said = b""

    def painted(text):
        nonlocal said
        while text not in said:
            assert select.select([leader], [], [], 30)[0], said
            said += os.read(leader, 65536)
        said = b""

    try:
        painted(b"more line")
        size(32768)
        painted(b"/etc/ackd/ackd.yaml")  # the last line
        size(65535)
        size(12)
        painted(b"more line")
        os.write(leader, b"q")
        while process.poll() is None:
            try:
                os.read(leader, 65536)
            except OSError:
                break
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def test_watch_shows_all_when_there_is_room(folder, control, terminal):
    screen = terminal(100, 100)
    ended = screen.run(*watch(folder))
    text = screen.wait_for("/etc/ackd/ackd.yaml")
    assert not MORE.search(text)
    # A command that is longer than the line goes on in the next one, without a blank, and whoever
    # copies it gets it whole.
    remedy = document()["troubles"][0]["remedy"]
    assert len(remedy) > 100
    assert remedy in screen.text().replace("\n", "")
    screen.key("q")
    assert screen.wait_status(ended) == 0


def test_watch_follows_the_window_and_the_daemon(folder, control, terminal):
    screen = terminal(80, 24)
    ended = screen.run(*watch(folder))
    screen.wait_for(MORE.search)
    for columns, rows in [(40, 12), (120, 30), (30, 6), (80, 24)]:
        screen.resize(columns, rows)
        screen.wait_for(
            lambda text, rows=rows: len(text.splitlines()) == rows
            and MORE.search(text.splitlines()[-1])
        )
        assert all(len(line) <= columns for line in screen.text().splitlines())
    control.document = document("well")
    screen.wait_for("all is well")
    assert not MORE.search(screen.text())
    screen.key("q")
    assert screen.wait_status(ended) == 0


def pid_of(folder):
    """The command's own, among the children of the terminal's shell."""
    found = subprocess.run(
        ["pgrep", "-f", f"status -c {folder}/ackd.yaml --watch"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(found) == 1
    return int(found[0])


@pytest.mark.parametrize("end", ["q", "C-c", "C-\\", signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("alive", [True, False])
def test_the_terminal_is_as_it_was(folder, control, terminal, end, alive):
    screen = terminal(80, 24)
    before = (screen.settings(), screen.modes())
    ended = screen.run(*watch(folder))
    screen.wait_for(MORE.search)
    assert screen.modes() == (True, False)
    if not alive:
        control.stop()
        screen.wait_for("no answer since")
    if isinstance(end, str):
        screen.key(end)
    else:
        os.kill(pid_of(folder), end)
    assert screen.wait_status(ended) == 0
    assert (screen.settings(), screen.modes()) == before
    assert "ackd web1" not in screen.text()
    if not alive:
        control.start()


def test_the_terminal_of_one_that_is_stopped(folder, control, terminal):
    screen = terminal(80, 24)
    ended = screen.run(*watch(folder))
    screen.wait_for(MORE.search)
    screen.key("C-z")
    screen.wait_for("Stopped")
    assert screen.modes() == (False, True)
    screen.type("fg")
    screen.wait_for(MORE.search)
    assert screen.modes() == (True, False)
    screen.key("q")
    until(lambda: screen.modes() == (False, True))
    assert ended.exists()  # of the command line that was stopped


def test_watch_goes_on_without_a_daemon(folder, control, terminal):
    screen = terminal(80, 30)
    control.stop()
    control.path.unlink()
    ended = screen.run(*watch(folder))
    text = screen.wait_for("no answer since")
    assert "there is no control socket" in text.replace("\n  ", " ")
    assert "The last answer" not in text
    control.start()
    screen.wait_for(lambda text: text.startswith("ackd web1"))
    control.silent = True
    text = screen.wait_for("no answer since")
    assert "has not answered within" in text
    # What was known last is still there, and how old it is.
    assert re.search(r"The last answer, \d+s ago:\nackd web1", text)
    control.silent = False
    screen.wait_for(lambda text: text.startswith("ackd web1"))
    control.answer = lambda _: '{"error":"it stops"}\n'
    screen.wait_for("refuses: it stops")
    control.answer = None
    screen.wait_for(lambda text: text.startswith("ackd web1"))
    screen.key("q")
    assert screen.wait_status(ended) == 0


def test_colours(folder, control, terminal):
    screen = terminal(80, 24)
    screen.run(*watch(folder))
    screen.wait_for(MORE.search)
    assert "\033[31m" in screen.text(colours=True) or "\033[1;31m" in screen.text(colours=True)
    screen.key("q")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "vt100"}])
def test_no_colours(folder, control, terminal, environment):
    screen = terminal(80, 24)
    screen.type("export " + " ".join(f"{k}={v}" for k, v in environment.items()))
    ended = screen.run(*watch(folder))
    screen.wait_for(MORE.search)
    assert not re.search(r"\033\[(\d+;)*3[0-7]", screen.text(colours=True))
    screen.key("q")
    assert screen.wait_status(ended) == 0


def test_no_colours_once(folder, control, terminal):
    screen = terminal(80, 100)
    screen.type("export NO_COLOR=1")
    assert screen.wait_status(screen.run(*watch(folder)[:-1])) == 0
    assert "postgres_read_only" in screen.text()
    assert "\033" not in screen.text(colours=True)


@pytest.mark.parametrize("term", ["dumb", "nonsense"])
def test_a_terminal_that_cannot(folder, control, terminal, term):
    screen = terminal(80, 200)
    screen.type(f"export TERM={term}")
    ended = screen.run(*watch(folder))
    screen.wait_for(lambda text: text.count("ackd web1  version") >= 2)
    assert screen.modes() == (False, True)
    screen.key("C-c")
    assert screen.wait_status(ended) == 0


def test_a_daemon_that_is_killed(site, terminal):
    """And its successor."""
    site.create_topic()
    config = {"control": {"socket": str(site.folder / "c.sock")}}
    daemon = site.start(**config)
    daemon.wait_for(event="partition.started")
    screen = terminal(100, 60)
    before = (screen.settings(), screen.modes())
    ended = screen.run(BINARY, "status", "-c", site.folder / "ackd-1.yaml", "--watch")
    screen.wait_for("all is well")
    daemon.process.send_signal(signal.SIGSTOP)
    screen.wait_for(f"kill -CONT {daemon.process.pid}")
    daemon.process.send_signal(signal.SIGCONT)
    screen.wait_for(lambda text: text.startswith("ackd test"))
    daemon.kill()
    text = screen.wait_for("no answer since")
    assert "nobody listens at the control socket" in text and "The last answer" in text
    successor = site.start(**config)
    screen.wait_for(f"pid {successor.process.pid}", 60)
    assert successor.stop() == 0
    screen.wait_for("there is no control socket")
    screen.key("q")
    assert screen.wait_status(ended) == 0
    assert (screen.settings(), screen.modes()) == before


# --- every second, into a pipe --------------------------------------------------------------------


def piped(folder, *arguments):
    return subprocess.Popen(
        list(map(str, watch(folder, *arguments))),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, "LC_ALL": "C"},
    )


def test_watch_into_a_pipe(folder, control):
    process = piped(folder)
    blocks = []
    while len(blocks) < 2:
        line = process.stdout.readline()
        if re.fullmatch(r"--- \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", line):
            blocks.append("")
        else:
            blocks[-1] += line
    assert blocks[0] == (DOCUMENTS / "trouble.80.txt").read_text() + "\n"
    control.stop()
    while "no answer since" not in process.stdout.readline():
        pass
    control.start()
    while not process.stdout.readline().startswith("ackd web1"):
        pass
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=30)
    assert "\033" not in "".join(blocks) + rest
    assert (process.returncode, errors) == (0, "")


def test_watch_json(folder, control):
    process = piped(folder, "--json")
    assert json.loads(process.stdout.readline()) == document()
    control.stop()
    while "error" not in (line := json.loads(process.stdout.readline())):
        pass
    assert "nobody listens" in line["error"] and line["no_answer_since"].endswith("Z")
    control.start()
    while "error" in json.loads(process.stdout.readline()):
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_watch_whose_reader_leaves(folder, control):
    """It ends with its pipe, and does not go on for nobody."""
    process = piped(folder)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == -signal.SIGPIPE
    process.stderr.close()


def test_a_full_disk(folder, control):
    with open("/dev/full", "w", encoding="utf-8") as full:
        for option in ("--json", "--watch", "--health"):
            result = subprocess.run(
                [BINARY, "status", "-c", folder / "ackd.yaml", option],
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=30,
                env=ENVIRONMENT,
                check=False,
            )
            assert result.returncode == 70
            assert "cannot write the result" in result.stderr
