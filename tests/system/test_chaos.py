"""Short versions of scripts/chaos, those that harm nobody else on the session's servers."""

import random

import pytest
from harness.chaos import SCENARIOS, World

SHORT = {
    "kill": {"kills": 3},
    "backends": {"rounds": 2},
    "frozen-daemon": {},
    "failing": {"scale": 0.01},
    "poison": {},
    "partition": {"scale": 0.2},
    "double-restart": {"scale": 0.12},
}


@pytest.mark.parametrize("name", SHORT)
def test_the_sets_are_right_after(site, name):
    SCENARIOS[name](World(site=site, rng=random.Random(1), **SHORT[name]))
