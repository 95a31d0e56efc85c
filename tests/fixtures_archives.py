"""Fixtures for tests of archives."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest


@pytest.fixture
def small_files() -> Iterator[None]:
    """Two files to a merge, keyframes every other slot, and states read range by range of keys."""
    with (
        patch("titans.tiers.compact.plan.FANOUTS", (2, 2)),
        patch("titans.tiers.compact.plan.TOP", 2),
        patch("titans.tiers.compact.plan.is_worth_a_keyframe", lambda rows, keys: True),
        patch("titans.tiers.compact.plan.FINAL_ROWS", 0),
        patch("titans.tiers.files.read._RANGE", 4_000),
    ):
        yield


@pytest.fixture
def eight_by_eight() -> Iterator[None]:
    """Files are merged as if none were small."""
    with patch("titans.tiers.compact.plan.SMALL_ROWS", -1):
        yield
