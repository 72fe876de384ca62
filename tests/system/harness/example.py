"""The example configurations that run a command, with what is a test's own put into the command."""

import json
import re

from . import BUILD, ROOT

EXAMPLES = ROOT / "config/examples"
# Without limits, or tests with few hosts would meet them all the time.
NO_LIMITS = {
    "handlers.restart-host.cooldown": "0s",
    "handlers.restart-host.fleet_concurrency": 0,
    "handlers.restart-host.fuse.restarts": 0,
    "handlers.restart-host.per_host.restarts": 0,
}
NAMES = BUILD / "tests/system/libloopback-names.so"


def argv(path):
    """The command as the file has it."""
    text = path.read_text().partition(" argv:\n")[2]
    items = re.match(r"(?: +- .*\n)+", text).group(0).splitlines()
    plain = [re.sub(r" +#.*", "", item.strip()[2:]) for item in items]
    return [json.loads(item) if item.startswith('"') else item for item in plain]


def changed(path, changes, **inserted):
    """The command as a list in YAML, names resolved by loopback-names.c; changes: {part: what stands
    there instead}, each of which must be there; inserted: {before: [argument, …]}, by its name
    without hyphens."""
    result = ["/usr/bin/env", f"LD_PRELOAD={NAMES}"]
    left = dict(changes)
    for argument in argv(path):
        for part, other in changes.items():
            if part in argument:
                argument = argument.replace(part, str(other))
                left.pop(part, None)
        result += map(str, inserted.pop(argument.strip("-"), []))
        result.append(argument)
    assert not left and not inserted, f"{path.name} has no {left} {inserted}"
    return json.dumps(result)
