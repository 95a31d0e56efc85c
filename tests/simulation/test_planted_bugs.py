"""Mistakes planted on purpose: the simulation notices every one of them, or it would notice
nothing."""

from __future__ import annotations

import pytest

from simulation.defects import DEFECTS, noticed
from simulation.world import simulate


def test_there_are_enough_of_them():
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= 10


@pytest.mark.parametrize("defect", DEFECTS, ids=[defect.id for defect in DEFECTS])
def test_a_planted_defect_is_noticed(defect, record_property):
    found = noticed(defect)
    assert found is not None, f"not noticed within {defect.within} seeds: {defect.name}"
    seed, how = found
    lines = [f"{seed + 1:4} of {defect.within:3} seeds  {defect.name}", f"{'':18}→ {how}"]
    record_property("table", ("Planted defects", lines))
    healthy = simulate(seed, defect.profile)
    assert healthy.failure is None, f"not the defect's fault, it fails without it too:\n{healthy}"
