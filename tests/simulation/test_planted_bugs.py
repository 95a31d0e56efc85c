"""Mistakes planted on purpose: the simulation notices every one of them, or it would notice nothing."""

from __future__ import annotations

import logging

import pytest

from simulation.defects import DEFECTS, Defect
from simulation.world import simulate


@pytest.fixture(autouse=True)
def quiet():
    """The archive's complaints about its own defects."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def noticed(defect: Defect) -> tuple[int, str] | None:
    """After how many seeds the defect was noticed, and by what."""
    with defect.plant():
        for seed in range(defect.within):
            failure = simulate(seed, defect.profile).failure
            if failure is not None:
                return seed + 1, failure.splitlines()[0]
    return None


@pytest.mark.timeout(600)
@pytest.mark.parametrize("defect", DEFECTS, ids=[d.name.split(":")[0] for d in DEFECTS])
def test_a_planted_defect_is_noticed(defect, record_property, capsys):
    found = noticed(defect)
    assert found is not None, f"not noticed within {defect.within} seeds: {defect.name}"
    seeds, how = found
    with capsys.disabled():
        print(f"\n{defect.name}\n    noticed after {seeds} of at most {defect.within} seeds: {how}")
