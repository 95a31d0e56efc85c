"""The pytest plugin of the conformance kit: no check of a suite is lost in silence, and overrides
are shown.

A suite itself refuses deleted checks, and overrides without a reason, as soon as its class is
defined. What it cannot see is here: marks that are added from outside, and plugins that take checks
out of the run. It knows suites by an attribute, so that test runs without one import nothing of the
kit.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from titans.testing._suite import Suite

__all__: list[str] = []

_OVERRIDE = "titans override"
_collected = pytest.StashKey[set[str]]()


def _suite_of(item: pytest.Item) -> type[Suite] | None:
    """The suite, if the item is one of its checks."""
    cls: Any = getattr(item, "cls", None)
    if getattr(item, "originalname", item.name) not in getattr(cls, "_titans_checks", ()):
        return None
    suite: type[Suite] = cls
    return suite


def pytest_deselected(items: Iterable[pytest.Item]) -> None:
    """Deselecting (`-k`, `--deselect`, `--lf`) is shown by pytest itself, and so no loss in
    silence.
    """
    for item in items:
        item.config.stash.setdefault(_collected, set()).discard(item.nodeid)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Refuse a run from which some plugin or conftest took checks without saying so."""
    expected = {item.nodeid for item in items if _suite_of(item) is not None}
    config.stash[_collected] = set(expected)
    yield

    lost = sorted(config.stash[_collected] - {item.nodeid for item in items})
    if lost:
        raise pytest.UsageError(
            f"{len(lost)} check(s) of a TITANS conformance suite were taken out of the run by a "
            "conftest or plugin, first "
            f'{lost[0]}; leave them in, or override them with @titans.testing.overrides("why")'
        )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a check that is marked skip or xfail without a reason, wherever the mark comes from."""
    suite = _suite_of(item)
    if suite is None:
        return
    from titans.testing._suite import overridden, silent

    name = getattr(item, "originalname", item.name)
    for mark in item.iter_markers():
        problem = silent(mark)
        if problem is not None:
            pytest.fail(f"the check {name} is marked with {problem}", pytrace=False)

    reason = overridden(suite).get(name)
    if reason:
        item.user_properties.append((_OVERRIDE, f"{suite.__qualname__}.{name}: {reason}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the checks that are overridden, and why."""
    lines = set()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        for kind, text in getattr(report, "user_properties", ()):
            if kind == _OVERRIDE:
                lines.add(text)

    if lines:
        terminalreporter.section("TITANS conformance: overridden checks")
        for line in sorted(lines):
            terminalreporter.write_line(line)
