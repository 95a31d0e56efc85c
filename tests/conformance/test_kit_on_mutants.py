"""The kit is tested itself: every check rejects a mutant that has just the defect the check is
there for."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from titans import plugins
from titans.testing import ProviderConformance, StoreConformance, run

FOLDER = Path(__file__).parents[1] / "mutants"
COMPLETE = "test_no_check_is_missing_or_overridden_without_a_reason"  # see test_suite.py


def words(name):
    """`WrongKey` → `wrong-key`, the name of the mutant's entry point."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


@pytest.fixture
def mutants(site, monkeypatch):
    """The mutants, installed: one distribution has all of the plugins but one."""
    monkeypatch.syspath_prepend(str(FOLDER))
    found = importlib.import_module("titans_mutants")
    importlib.import_module("frame_mutants")  # adds its own to the table
    classes = [found.Healthy, *found.MUTANTS]
    own = found.PackageWithoutBounds
    distributions = {"mutants": [c for c in classes if c is not own], "unbounded": [own]}
    for distribution, members in distributions.items():
        info = site.folder / f"{distribution}-1.0.dist-info"
        info.mkdir(parents=True)
        bounds = ">=0.1,<0.2" if distribution == "mutants" else ""
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nRequires-Dist: titans-core{bounds}\n"
        (info / "METADATA").write_text(metadata)
        lines = [f"{words(c.__name__)} = {c.__module__}:{c.__name__}" for c in members]
        (info / "entry_points.txt").write_text("\n".join(["[titans.providers]", *lines, ""]))
    monkeypatch.syspath_prepend(str(site.folder))
    plugins.clear()
    yield found
    for name in ("titans_mutants", "frame_mutants", "path_mutants", "store_mutants"):
        sys.modules.pop(name, None)


def rejected(capsys, title, cases):
    """Print a table of mutants and checks; the problems there are with it."""
    problems, lines = [], []
    for name, suite, check, saying in cases:
        (outcome,) = run(suite, only=[check])
        caught = outcome.status == "failed" and saying in outcome.message
        lines.append(f"  {name:32} {check:74} {'rejected' if caught else outcome.status.upper()}")
        if not caught:
            problems.append(
                f"{name}: {check} {outcome.status}, {outcome.message!r} instead of a message with "
                f"{saying!r}"
            )
    with capsys.disabled():
        print(f"\n{title}\n" + "\n".join(lines))
    return problems


def suite_of(kit, **declared):
    return type("Suite", (kit,), declared)


def unproven(kit, cases):
    """Checks that have rejected nothing."""
    return set(kit.checks) - {COMPLETE} - {check for _, _, check, _ in cases}


def test_the_healthy_provider_passes_every_check(mutants):
    outcomes = run(suite_of(ProviderConformance, provider="healthy"))
    assert [outcome for outcome in outcomes if outcome.status != "passed"] == []
    assert len(outcomes) >= 50


def test_every_provider_check_rejects_its_mutant(mutants, capsys):
    cases = [
        (cls.__name__, suite_of(ProviderConformance, provider=words(cls.__name__)), check, saying)
        for cls, (check, saying) in mutants.MUTANTS.items()
    ]
    cases += [
        (type(provider).__name__, suite_of(ProviderConformance, provider=provider), check, saying)
        for provider, (check, saying) in importlib.import_module("path_mutants").MUTANTS.items()
    ]
    problems = rejected(capsys, "Providers with one defect, and the check that rejects each", cases)
    assert not problems, "\n".join(problems)
    assert len(cases) >= 12
    assert unproven(ProviderConformance, cases) == set()


def store_suite(cls):
    return suite_of(StoreConformance, make_stores=lambda self, tmp_path: cls.stores(), page=50)


def test_the_healthy_store_passes_every_check(mutants):
    outcomes = run(store_suite(importlib.import_module("store_mutants").Healthy))
    assert [outcome for outcome in outcomes if outcome.status != "passed"] == []
    assert len(outcomes) >= 30


def test_every_store_check_rejects_its_mutant(mutants, capsys):
    found = importlib.import_module("store_mutants").MUTANTS
    cases = [
        (cls.__name__, store_suite(cls), check, saying) for cls, (check, saying) in found.items()
    ]
    problems = rejected(capsys, "Stores with one defect, and the check that rejects each", cases)
    assert not problems, "\n".join(problems)
    assert len(cases) >= 12
    assert unproven(StoreConformance, cases) == set()
