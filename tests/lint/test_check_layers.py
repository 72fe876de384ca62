"""scripts/check-layers on a copy of src with one violation planted at a time."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def check(root):
    return subprocess.run(
        [ROOT / "scripts/check-layers", root], capture_output=True, text=True, check=False
    )


@pytest.fixture
def tree(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    return tmp_path


def complaints(result, name):
    return [line for line in result.stdout.splitlines() if line.startswith(f"src/{name}:")]


# file, what is written at its end, what the complaint says
VIOLATIONS = [
    ("util/error.c", '#include "core/host.h"\n', "layer util may not use layer core"),
    ("core/outcome.h", '#include "telemetry/log.h"\n', "layer core may not use layer telemetry"),
    ("core/outcome.h", '#include "util/loop.h"\n', 'layer core may not use "util/loop.h"'),
    ("telemetry/log.h", '#include "core/host.h"\n', "layer telemetry may not use layer core"),
    ("kafka/consumer.h", '#include "pg/connection.h"\n', "layer kafka may not use layer pg"),
    ("pg/connection.h", '#include "kafka/consumer.h"\n', "layer pg may not use layer kafka"),
    (
        "handlers/actions/action.h",
        '#include "kafka/consumer.h"\n',
        "layer handlers may not use layer kafka",
    ),
    ("handlers/actions/action.h", '# include "kafka/consumer.h"\n', "may not use layer kafka"),
    ("core/outcome.h", '#include "../pg/connection.h"\n', "is no file below src"),
    ("core/outcome.h", "#include <ev.h>\n", "libev may be included only in"),
    ("core/outcome.h", "#include <jansson.h>\n", "jansson may be included only in"),
    ("util/error.c", "#include <yaml.h>\n", "libyaml may be included only in"),
    ("kafka/consumer.h", "#include <libpq-fe.h>\n", "libpq may be included only in"),
    ("kafka/consumer.h", "#include <postgresql/libpq-fe.h>\n", "libpq may be included only in"),
    ("pg/connection.h", "#include <librdkafka/rdkafka.h>\n", "librdkafka may be included only in"),
    ("core/host.h", "#include <curl/curl.h>\n", "libcurl may be included only in"),
    ("handlers/actions/exec.h", "#include <openssl/ssl.h>\n", "libssl may be included only in"),
    ("handlers/actions/http.c", "#include <openssl/evp.h>\n", "libcrypto may be included only in"),
    ("app/watch.c", "#include <curses.h>\n", "ncurses may be included only in"),
    ("app/watch.c", "void f(void) { endwin(); }\n", "endwin is ncurses's"),
    ("telemetry/log.h", "#include <microhttpd.h>\n", "libmicrohttpd may be included only in"),
    ("pg/connection.h", "int x = rd_kafka_version();\n", "rd_kafka_version is librdkafka's"),
    ("kafka/consumer.h", "void f(PGconn *c);\n", "PGconn is libpq's"),
    ("handlers/actions/action.h", "int x = PQstatus(c);\n", "PQstatus is libpq's"),
    ("telemetry/log.h", "double x = ev_now(l);\n", "ev_now is libev's"),
    ("core/host.h", "int x = curl_global_init(0);\n", "curl_global_init is libcurl's"),
    ("handlers/restart.h", "void f(SSL_CTX *c);\n", "SSL_CTX is libssl's"),
    ("telemetry/log.h", "yaml_parser_t p;\n", "yaml_parser_t is libyaml's"),
    ("util/error.c", '/* */ int x = PQstatus("*/"); // x\n', "PQstatus is libpq's"),
    ("core/outcome.h", None, "the file is empty"),
    ("core/new.h", "int x;\n", "does not say #pragma once"),
    ("extra/new.c", "int x;\n", "extra is no layer"),
    ("new.c", "int x;\n", "new.c is no layer"),
]


@pytest.mark.parametrize("name,planted,complaint", VIOLATIONS)
def test_a_planted_violation_is_caught(tree, name, planted, complaint):
    path = tree / "src" / name
    path.parent.mkdir(exist_ok=True)
    if planted is None:
        path.write_text(" \n")
    else:
        with path.open("a") as file:
            file.write(planted)
    result = check(tree)
    assert result.returncode == 1
    assert any(complaint in line for line in complaints(result, name)), result.stdout


# What looks like a violation and is none.
INNOCENT = [
    ("core/host.h", "/* rd_kafka_version() and\n   PQstatus() */\n"),
    ("core/host.h", "// ev_run\n"),
    ("core/host.h", 'const char *x = "PQstatus \\" rd_kafka_poll";\n'),
    ("core/host.h", "int prev_x, next_ev;\n"),
    ("telemetry/log.h", "int json_object_size;\n"),
]


@pytest.mark.parametrize("name,planted", INNOCENT)
def test_comments_and_strings_name_nothing(tree, name, planted):
    with (tree / "src" / name).open("a") as file:
        file.write(planted)
    assert complaints(check(tree), name) == []


def test_a_tree_without_sources_fails(tmp_path):
    assert check(tmp_path).returncode == 1
