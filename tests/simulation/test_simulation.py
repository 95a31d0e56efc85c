"""A few hundred worlds in which everything goes wrong: all promises are kept in each of them."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from simulation.store import FAULTS
from simulation.world import simulate

BATCHES, RUNS = 24, 10


@pytest.fixture(autouse=True)
def quiet():
    """What the archive logs about all these faults would drown what matters."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_all_promises_are_kept_whatever_goes_wrong(batch):
    for seed in range(batch * RUNS, (batch + 1) * RUNS):
        outcome = simulate(seed)
        assert outcome.failure is None, f"{outcome}\nrerun it with: python tests/simulation/soak.py --seed {seed}"


def test_every_kind_of_fault_happens():
    """A fault that never fires tests nothing."""
    fired: Counter[str] = Counter()
    for seed in range(9_000, 9_060):
        fired += simulate(seed).fired
        if set(FAULTS) <= set(fired):
            break
    for fault, what in FAULTS.items():
        print(f"{fired[fault]:6,}  {fault}: {what}")
    assert [fault for fault in FAULTS if not fired[fault]] == []


def test_a_seed_decides_everything():
    once, again = simulate(17), simulate(17)
    assert once.trace == again.trace
    assert once.fired == again.fired
    assert simulate(18).trace != once.trace
