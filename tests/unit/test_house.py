"""Rules of the house that no linter knows: `python tests/house.py` prints the numbers."""

from __future__ import annotations

import pytest
from house import measure

PUBLIC = (
    "backfilling",
    "cli",
    "testing",
    "scaffold",
    "archive.py",
    "correctable.py",
    "facade.py",
    "hookspecs.py",
    "ingestion.py",
    "provider_tools.py",
)
"""Faces, and what their callers see: they may take as many options as users need."""
QUESTIONS = "read/api.py"
"""They share one shape: what is wanted of the answer."""


@pytest.fixture(scope="module")
def core():
    return measure()


def test_nobody_takes_store_paths_and_provider_apart(core):
    assert list(map(str, core.apart)) == []


def test_functions_take_few_parameters(core):
    wide = []
    for function in core.wide:
        folder = function.path.parts[0]
        is_store = folder == "store" and function.name == "__init__"
        is_question = function.path.as_posix() == QUESTIONS and not function.name.startswith("_")
        if folder not in PUBLIC and not is_store and not is_question:
            wide.append(str(function))
    assert wide == []


def test_a_statement_has_one_conditional_expression_at_most(core):
    assert core.folded == []


def test_the_library_asserts_nothing(core):
    """Under `python -O` an assert does not run; a check that users need raises an error."""
    assert core.asserts == []


def test_the_count_finds_what_it_looks_for(tmp_path):
    (tmp_path / "bad.py").write_text(
        "def apart(store, paths, provider, month, wait, notify):\n"
        "    assert store\n"
        "    return 1 if store else 2 if paths else [x for x in provider]\n"
    )
    house = measure(tmp_path)
    assert [f.name for f in house.apart] == [f.name for f in house.wide] == ["apart"]
    assert (house.asserts, house.folded) == (["bad.py:2"], ["bad.py:3"])
    assert (house.body_lines, house.comprehensions, house.conditionals) == (2, 1, 2)
