"""scripts/mutate: what each operator makes of a tiny C file, and what a harness that sees nothing gets."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/sim"))

from mutants import points, survivors  # noqa: E402

# body of int f(int a, int b), operator, what becomes of it
MADE = [
    ("return a < b;", "comparison", ["return a <= b;"]),
    ("return a <= b;", "comparison", ["return a < b;"]),
    ("return a > b;", "comparison", ["return a >= b;"]),
    ("return a >= b;", "comparison", ["return a > b;"]),
    ("return a == b;", "comparison", ["return a != b;"]),
    ("return a != b;", "comparison", ["return a == b;"]),
    ("return a /* < */ < b;", "comparison", ["return a /* < */ <= b;"]),
    ("return TWICE(a) < b;", "comparison", ["return TWICE(a) <= b;"]),
    ("return TWICE(a < b);", "comparison", ["return TWICE(a <= b);"]),
    ("return a && b;", "logic", ["return a || b;"]),
    ("return a || b;", "logic", ["return a && b;"]),
    ("if (a) {} return b;", "negate", ["if (!(a)) {} return b;"]),
    ("if (a == 0) {} return b;", "negate", []),
    ("while (g(a, b)) {} return b;", "negate", ["while (!(g(a, b))) {} return b;"]),
    ("do {} while (a > b); return b;", "negate", ["do {} while (!(a > b)); return b;"]),
    ("for (; a; a--) {} return b;", "negate", ["for (; !(a); a--) {} return b;"]),
    ("for (;;) {} return b;", "negate", []),
    ("return a ? 1 : b;", "negate", ["return !(a) ? 1 : b;"]),
    ("return 0;", "constant", ["return 1;"]),
    ("return 0x1fu;", "constant", ["return 0x20u;"]),
    ("return true;", "constant", ["return false;"]),
    ("bool c = false; return c;", "constant", ["bool c = true; return c;"]),
    ('assert(a < 1 && "x"); return b;', "constant", []),
    ('assert(a < 1 && "x"); return b;', "comparison", []),
    ("return RED;", "enumerator", ["return GREEN;"]),
    ("return GREEN;", "enumerator", ["return RED;"]),
    ("return ONE;", "enumerator", ["return TWO;"]),
    ("a = RED; return a;", "enumerator", ["a = GREEN; return a;"]),
    ("return g(RED, b);", "enumerator", ["return g(GREEN, b);"]),
    ("return a == RED;", "enumerator", []),
    ("switch (a) { case RED: return b; } return a;", "enumerator", []),
    ("g(a, b); return a;", "drop", ["; return a;"]),
    ("a = b; return a;", "drop", ["; return a;"]),
    ("if (a) b++; return b;", "drop", []),
    ("if (a) { b += 1; } return b;", "drop", ["if (a) { ; } return b;"]),
    ("switch (a) { case 1: g(a, b); } return a;", "drop", ["switch (a) { case 1: ; } return a;"]),
    ("assert(a); return b;", "drop", []),
    ("return a + b;", "arithmetic", ["return a - b;"]),
    ("return a - -b;", "arithmetic", ["return a + -b;"]),
    ("a -= b; return a;", "arithmetic", ["a += b; return a;"]),
    ("return a++ + b;", "step", ["return a-- + b;"]),
    ("return --a;", "step", ["return ++a;"]),
]

BEFORE = """\
#include <assert.h>
#include <stdbool.h>
#define TWICE(x) (2 * (x))
typedef enum { RED, GREEN, COLOR_COUNT } Color;
enum { ONE = 1, TWO };
int g(int a, int b);
int f(int a, int b);
int f(int a, int b) { """


@pytest.mark.parametrize("body,operator,expected", MADE)
def test_an_operator(tmp_path, body, operator, expected):
    path = tmp_path / "tiny.c"
    source = f"{BEFORE}{body} }}\n".encode()
    path.write_bytes(source)
    mutants = [
        one
        for one in points.find(path, "tiny.c", ["-std=gnu17"])
        if one.operator == operator and one.function == "f"
    ]
    made = [one.apply(source).decode()[len(BEFORE) :].removesuffix(" }\n") for one in mutants]
    assert made == expected


def test_every_operator_is_shown():
    assert {operator for _, operator, _ in MADE} == set(points.OPERATORS)


def test_a_name_and_a_key(tmp_path):
    path = tmp_path / "tiny.c"
    path.write_text("int f(int a);\nint f(int a) {\n  return (a +\n\n    1);\n}\n")
    found = {one.operator: one for one in points.find(path, "tiny.c", [])}
    assert found["constant"].id == "tiny.c:5:5:constant"
    assert found["constant"].key == "tiny.c f constant: [-1-]{+2+});"
    path.write_text("int f(int a);\nint f(int a) {\n  a =\n    1;\n  return a;\n}\n")
    found = {one.operator: one for one in points.find(path, "tiny.c", [])}
    assert found["drop"].key == "tiny.c f drop: [-a = 1-];"
    assert found["drop"].apply(path.read_bytes()).count(b"\n") == 6


def test_the_table_of_survivors(tmp_path):
    path = tmp_path / "survivors.txt"
    path.write_text("# why\n\nx.c f drop: [-a();-]\n    Nobody\n    cares.\n")
    assert survivors.read(path) == {"x.c f drop: [-a();-]": "Nobody cares."}
    for text in ("    no mutant\n", "x.c\ny.c\n    why\n", "x.c\n", "x.c\n  a\nx.c\n  b\n"):
        path.write_text(text)
        with pytest.raises(survivors.Malformed):
            survivors.read(path)


# --- the whole command on a tree of its own ----------------------------------------------------

TINY = """\
int is_small(int a);
int is_small(int a) {
        return a < 10;
}
"""
TEST = "int is_small(int a); int main(void) { return !is_small(9) || is_small(10); }\n"
SEES_NOTHING = "int is_small(int a); int main(void) { return is_small(1) == 5; }\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that has one file in its core. All tests share its build folder."""
    tmp_path = tmp_path_factory.mktemp("project")
    for name in ("scripts/mutate", "tests/system/harness/__init__.py", "tests/system/harness/evidence.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    ignored = shutil.ignore_patterns("survivors.txt", "__pycache__")
    shutil.copytree(ROOT / "tests/sim/mutants", tmp_path / "tests/sim/mutants", ignore=ignored)
    folders = ["src/core", "tests/unit", "tests/sim"]
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "meson.build").write_text(
        "project('tiny', 'c')\n" + "".join(f"subdir('{folder}')\n" for folder in folders)
    )
    (tmp_path / "src/core/meson.build").write_text("core = static_library('core', 'tiny.c')\n")
    (tmp_path / "src/core/tiny.c").write_text(TINY)
    (tmp_path / "tests/unit/meson.build").write_text(
        "test('tiny', executable('test-tiny', 'test-tiny.c', link_with: core), suite: 'unit')\n"
    )
    from mutants import detectors

    name = Path(detectors.SIMULATION).name
    (tmp_path / "tests/sim/meson.build").write_text(f"executable('{name}', 'sim.c', link_with: core)\n")
    (tmp_path / "tests/sim/sim.c").write_text(SEES_NOTHING)
    return tmp_path


@pytest.fixture
def tree(project):
    (project / "tests/unit/test-tiny.c").write_text(SEES_NOTHING)
    (project / "tests/sim/mutants/survivors.txt").unlink(missing_ok=True)
    return project


def mutate(tree, *options):
    command = [tree / "scripts/mutate", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def evidence(tree, name="mutation"):
    return json.loads((tree / f"docs/evidence/{name}.json").read_text())


def test_a_harness_that_catches_nothing_fails(tree):
    result = mutate(tree)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "FAIL  0 of 1 mutants are caught: 0.0 %" in result.stdout
    assert not evidence(tree)["passed"]
    # Not even when all is argued.
    key = evidence(tree)["survivors"][0]["mutant"]
    (tree / "tests/sim/mutants/survivors.txt").write_text(f"{key}\n        Nobody cares.\n")
    result = mutate(tree)
    assert result.returncode == 1
    assert "1 survivors are argued, 0 are not" in result.stdout


def test_what_is_caught_and_by_whom(tree):
    (tree / "tests/unit/test-tiny.c").write_text(TEST)
    result = mutate(tree)
    assert result.returncode == 0, result.stdout + result.stderr
    found = evidence(tree)
    # a <= 10 and a < 11 are one mutant to the machine.
    assert found["operators"]["comparison"]["caught"] == 1
    assert found["operators"]["constant"]["equivalent"] == 1
    assert found["caught_by"]["test-tiny"] == found["total"]["caught"] == 1
    # What the simulation alone sees is told apart.
    assert mutate(tree, "--sim-only").returncode == 1
    assert evidence(tree, "mutation-simulation")["total"]["caught"] == 0


def test_an_argued_mutant_that_is_none_fails(tree):
    (tree / "tests/unit/test-tiny.c").write_text(TEST)
    (tree / "tests/sim/mutants/survivors.txt").write_text("src/core/tiny.c f drop: x\n        Gone.\n")
    result = mutate(tree)
    assert result.returncode == 1
    assert "has what is no mutant any more" in result.stdout


def test_a_detector_that_complains_without_a_mutant(tree):
    (tree / "tests/unit/test-tiny.c").write_text("int main(void) { return 1; }\n")
    result = mutate(tree)
    assert result.returncode == 1
    assert "test-tiny finds something without a mutant: exit status 1" in result.stderr


def test_list_and_sample(tree):
    names = [line.split("\t")[0] for line in mutate(tree, "--list").stdout.splitlines()]
    assert names == ["src/core/tiny.c:3:18:comparison", "src/core/tiny.c:3:20:constant"]
    one = mutate(tree, "--list", "--sample", "1", "--seed", "3").stdout
    assert one == mutate(tree, "--list", "--sample", "1", "--seed", "3").stdout
    assert one.count("\n") == 1
    assert "no mutant in the files x.c" in mutate(tree, "--files", "x.c").stderr
    shown = mutate(tree, "--id", names[0]).stdout
    assert "+        return a <= 10;" in shown
    assert "survived" in shown
