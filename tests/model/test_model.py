"""The rules keep their promise in every run of the model, and every part of them is needed."""

import pytest

from model.model import SCENARIOS, VARIANTS, Rules, run

RUNS = 400


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_rules_keep_their_promise(scenario):
    for seed in range(RUNS):
        assert run(seed, Rules(), SCENARIOS[scenario]) is None


@pytest.mark.parametrize("part", VARIANTS)
def test_every_part_of_the_rules_is_needed(part):
    broken = [
        name
        for name, scenario in SCENARIOS.items()
        if any(run(seed, VARIANTS[part], scenario) for seed in range(RUNS))
    ]
    assert broken
