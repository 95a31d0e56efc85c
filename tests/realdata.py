"""Real snapshot histories, where they are at hand: a folder beside the project that users do not
have."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"

needs_data = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the real histories (../shared/data) are not here"
)
