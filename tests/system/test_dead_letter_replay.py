"""Rejected messages that are replayed while daemons run and die: a short version of the scenario
dead-letters of scripts/chaos."""

import os
import random

from harness.chaos import SCENARIOS, World

SCALE = float(os.environ.get("ACKD_DEAD_LETTERS_SCALE", 0.12))  # of 10,000


def test_each_handler_that_was_not_done_runs_once(site):
    SCENARIOS["dead-letters"](World(site=site, rng=random.Random(1), scale=SCALE))
