"""What looks at a mutant: the unit programs of the core, then the simulation. Only the mutated file is
compiled; its object stands before the core's archive, whose own member is then left out."""

import hashlib
import json
import re
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

# The simulation: its program below the build folder, and how often it is asked, cheapest first.
SIMULATION = "tests/sim/sim"
SIMULATION_RUNS = {
    "simulation, 60 seeds": ["--seeds", "60"],
    "simulation, 600 seeds": ["--seeds", "600", "--first", "61"],
}

# What the sanitizers see in the mutated file, and what anybody does with freed memory.
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

CORE = "src/core/libcore.a"
MEMORY = 1 << 30  # bytes of address space, of a detector
OUTPUT = 1 << 24  # bytes that it may write
SLACK_S = 5  # a detector may take ten times what it takes without a mutant, and this
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "MALLOC_PERTURB_": "165",
    "ASAN_OPTIONS": f"hard_rss_limit_mb={MEMORY >> 20}",
}


class Failed(Exception):
    pass


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def is_unit(test):
    return any(suite.split(":")[-1] == "unit" for suite in test["suite"])


@dataclass
class Detector:
    name: str
    program: str
    arguments: list
    link: list = field(default_factory=list)  # the command, without its output
    uses: set = field(default_factory=set)  # the core's files that it has in it
    sanitized: bool = False
    timeout: float = 60


@dataclass
class Verdict:
    """What became of a mutant."""

    mutant: object
    state: str = "survived"  # or "caught", "stillborn" (it does not compile), "equivalent"
    by: str = ""  # the detector that caught it; what else has the same object
    how: str = ""  # the detector ended


class Build:
    """A build folder of its own, and how one file of the core is compiled and linked in it."""

    def __init__(self, root, folder):
        self.root = root
        self.folder = folder
        # Without debug information, an object is equal when its code is.
        setup = ["meson", "setup", folder, root, "--buildtype=plain", "-Doptimization=1"]
        steps = [] if (folder / "build.ninja").is_file() else [setup]
        for command in [*steps, ["ninja", "-C", folder, "build.ninja"]]:
            self.must(command)
        self.compilers = self.read_compilers()

    def must(self, command):
        result = run(command)
        if result.returncode != 0:
            raise Failed(f"{command[0]} failed:\n{result.stdout[-4000:]}{result.stderr[-2000:]}")
        return result.stdout

    def read_compilers(self):
        """file below the root: the command that compiles it from the standard input"""
        compilers = {}
        for entry in json.loads((self.folder / "compile_commands.json").read_text()):
            path = (self.folder / entry["file"]).resolve()
            if path.parent != self.root / "src" / "core":
                continue
            command, words = [], iter(shlex.split(entry["command"]))
            for word in words:
                if word in ("-o", "-c", "-MF", "-MQ"):
                    next(words)
                elif word != "-MD" and not word.startswith("-W"):
                    command.append(word)
            name = str(path.relative_to(self.root))
            compilers[name] = [*command, "-w", "-x", "c", "-c", "-"]
        return compilers

    def options(self, name):
        """What a parser must know of a file's command."""
        words = self.compilers[name]
        return [
            f"-I{self.folder / word[2:]}" if word.startswith("-I") else word
            for word in words
            if word.startswith(("-I", "-D", "-std="))
        ]

    def compile(self, name, source, output, options=()):
        """The object's digest; None: it does not compile."""
        text = f'#line 1 "{name}"\n'.encode() + source
        command = [*self.compilers[name], *options, "-o", output]
        result = subprocess.run(command, cwd=self.folder, input=text, capture_output=True, check=False)
        return hashlib.sha256(output.read_bytes()).digest() if result.returncode == 0 else None

    def link_of(self, program):
        """The command that links a program, without its output; None: it is not one of the core's."""
        lines = self.must(["ninja", "-C", self.folder, "-t", "commands", program]).splitlines()
        words = shlex.split(lines[-1])
        at = words.index("-o")
        words = words[:at] + words[at + 2 :]
        layers = {word.split("/")[1] for word in words if word.startswith("src/")}
        return words if "core" in layers and layers <= {"core", "util"} else None

    def detectors(self, alone):
        """In the order of their costs. @alone: of the simulation only."""
        tests = json.loads(self.must(["meson", "introspect", "--tests", self.folder]))
        units = sorted(
            Path(test["cmd"][0]).relative_to(self.folder) for test in tests if is_unit(test)
        )
        # The engine's program knows most, so it comes before the others.
        units.sort(key=lambda path: path.name != "test-engine")
        found = [Detector(unit.name, str(unit), []) for unit in units if not alone]
        found += [Detector(name, SIMULATION, words) for name, words in SIMULATION_RUNS.items()]
        for one in found:
            one.link = self.link_of(one.program)
        found = [one for one in found if one.link is not None]
        found += [
            Detector(
                f"{one.name}, sanitized", one.program, one.arguments, one.link + SANITIZE, sanitized=True
            )
            for one in found
            if one.name != list(SIMULATION_RUNS)[-1]
        ]
        self.must(["ninja", "-C", self.folder, *sorted({one.program for one in found})])
        for one in found:
            one.uses = self.uses_of(one)
        return found

    def uses_of(self, detector):
        """Which files of the core the linker takes for a program."""
        trace = run([*detector.link, "-Wl,--trace", "-o", "/dev/null"], cwd=self.folder)
        if trace.returncode != 0:
            raise Failed(f"{detector.program} does not link:\n{trace.stderr[-2000:]}")
        members = re.findall(rf"{CORE}\.p/([\w-]+\.c)\.o|{CORE}\(([\w-]+\.c)\.o\)", trace.stdout)
        return {f"src/core/{thin or whole}" for thin, whole in members}


def execute(detector, program, timeout, output=subprocess.DEVNULL):
    """How a detector ended; "" when it found nothing."""
    # A sanitizer takes address space as it likes, and has a limit of its own.
    memory = [] if detector.sanitized else [f"--as={MEMORY}"]
    limits = [*memory, f"--fsize={OUTPUT}", "--core=0"]
    process = subprocess.Popen(
        ["prlimit", *limits, program, *detector.arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired:
        return f"it took more than {timeout:.0f} s"
    finally:
        if process.returncode is None:
            process.kill()  # prlimit has become the program, which starts no other
            process.wait()
    if status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}" if status else ""


class Harness:
    def __init__(self, build, detectors, folder):
        self.build = build
        self.detectors = detectors
        self.folder = folder

    def check(self):
        """Nothing is found where nothing is wrong; sets how long each may take."""
        for detector in self.detectors:
            began = time.monotonic()
            program = self.link(detector, None)
            how = execute(detector, program, 600)
            if how:
                raise Failed(f"{detector.name} finds something without a mutant: {how}")
            detector.timeout = SLACK_S + 10 * (time.monotonic() - began)

    def order(self, name):
        """The detectors of a file: its own unit program is first."""
        own = f"test-{Path(name).stem}"
        mine = [one for one in self.detectors if name in one.uses]
        return sorted(mine, key=lambda one: (one.sanitized, one.name != own))

    def object_of(self, mutant):
        return self.folder / f"{re.sub(r'[^A-Za-z0-9]', '-', mutant.id)}.o"

    def sanitized_object_of(self, mutant):
        path = self.object_of(mutant).with_suffix(".sanitized.o")
        if not path.is_file():
            source = (self.build.root / mutant.file).read_bytes()
            self.build.compile(mutant.file, mutant.apply(source), path, SANITIZE)
        return path

    def compile(self, mutants, workers):
        """A verdict for each, of which those "survived" are to be looked at: one of those that are the
        same to the machine, and none that is what it was made of."""
        sources = {name: (self.build.root / name).read_bytes() for name in {one.file for one in mutants}}
        seen = {}  # file, digest of an object: the mutant that has it; None: the file itself
        for name, source in sources.items():
            original = self.build.compile(name, source, self.folder / "original.o")
            if original is None:
                raise Failed(f"{name} does not compile")
            seen[name, original] = None
        objects = workers.map(
            lambda one: self.build.compile(one.file, one.apply(sources[one.file]), self.object_of(one)),
            mutants,
        )
        for mutant, digest in zip(mutants, objects):
            if digest is None:
                yield Verdict(mutant, "stillborn")
            elif (mutant.file, digest) in seen:
                same = seen[mutant.file, digest]
                yield Verdict(mutant, "equivalent", same.id if same else mutant.file)
            else:
                seen[mutant.file, digest] = mutant
                yield Verdict(mutant)

    def look(self, verdict, output=None):
        """Shows a mutant to each detector until one finds something. @output: a file for what they say,
        and then all of them are asked."""
        linked = {}
        for detector in self.order(verdict.mutant.file):
            which = detector.program, detector.sanitized
            if which not in linked:
                code = self.sanitized_object_of if detector.sanitized else self.object_of
                linked[which] = self.link(detector, code(verdict.mutant))
            if output is not None:
                print(f"--- {detector.name}", file=output, flush=True)
            how = execute(detector, linked[which], detector.timeout, output or subprocess.DEVNULL)
            if output is not None:
                print(f"--- {how or 'nothing'}", file=output, flush=True)
            if how and verdict.state == "survived":
                verdict.state, verdict.by, verdict.how = "caught", detector.name, how
                if output is None:
                    break
        for program in linked.values():
            program.unlink()
        return verdict

    def link(self, detector, code):
        """@code: the mutant's object; None: of the original."""
        name = f"{Path(detector.program).name}{'-sanitized' if detector.sanitized else ''}"
        program = (code or self.folder / "original.o").with_suffix(f".{name}")
        words = list(detector.link)
        if code is not None:
            words.insert(words.index(CORE), str(code))
        result = run([*words, "-o", program], cwd=self.build.folder)
        if result.returncode != 0:
            raise Failed(f"{program.name} does not link:\n{result.stderr[-2000:]}")
        return program
