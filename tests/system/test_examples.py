"""Every example configuration is one that ackd takes."""

import pytest
from harness import ROOT
from harness.daemon import command

EXAMPLES = sorted((ROOT / "config").glob("**/*.yaml"))


def test_they_are_found():
    names = {path.name for path in EXAMPLES}
    assert {"ackd.yaml", "redfish.yaml", "ssh.yaml", "ipmitool.yaml"} <= names


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_check_config(path):
    result = command("check-config", "-c", path)
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr
    # What is not on this machine is a warning, and nothing else is.
    for line in result.stderr.splitlines():
        assert line.startswith("warning: ") and "No such file" in line, line
