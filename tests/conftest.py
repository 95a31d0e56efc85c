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
    "fixtures_explorer",
    "fixtures_plugins",
    "fixtures_stores",
    "pytester",
]

SERVER_FIXTURES = {"seaweed", "seaweed_client", "seaweed_bucket"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a running server, by what they ask for, so that none is forgotten.

    A test that asks for its store while it runs shares the server's xdist group.
    """
    for item in items:
        groups = {mark.args[0] for mark in item.iter_markers("xdist_group") if mark.args}
        fixtures = set(getattr(item, "fixturenames", ()))
        if "seaweedfs" in groups or fixtures & SERVER_FIXTURES:
            item.add_marker("server")


def _quiet() -> None:
    """DuckDB 2.0 calls its own objects leaked when a process ends, which would stand below the
    verdict of the tests."""
    sys.stderr.flush()
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)


atexit.register(_quiet)
