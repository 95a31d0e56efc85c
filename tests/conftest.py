"""Fixtures for every kind of test."""

import atexit
import os
import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("readme_blocks")
pytest_plugins = [
    "fixtures_archives",
    "fixtures_docs",
    "fixtures_plugins",
    "fixtures_stores",
    "pytester",
]


def _quiet() -> None:
    """DuckDB 2.0 calls its own objects leaked when a process ends, which would stand below the
    verdict of the tests."""
    sys.stderr.flush()
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)


atexit.register(_quiet)
