"""What makes a class of checks a suite: checks are counted, and none is lost without a reason."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

import pytest
from attrs import frozen

__all__ = ["ConformanceError", "Nonconformance", "Outcome", "Suite", "expect", "overrides", "run"]

_REASON = "__titans_override__"
_LOSING_MARKS = ("skip", "skipif", "xfail")

Function = TypeVar("Function", bound=Callable[..., Any])


class ConformanceError(TypeError):
    """A test class is no whole suite: it lacks what it must declare, or a check was deleted or
    overridden in silence.
    """


class Nonconformance(AssertionError):
    """A check failed. The message says what was found, what is expected, and how to mend it."""


def expect(condition: object, message: str) -> None:
    """Raise `Nonconformance(message)` unless `condition`. Not an assert: it also holds under
    `python -O`.
    """
    __tracebackhide__ = True
    if not condition:
        raise Nonconformance(message)


def overrides(reason: str) -> Callable[[Function], Function]:
    """Put another check in the place of one of the kit, and say why. The reason is shown at the end
    of the test run.

        @overrides("keys of this market are numbers, so text with slashes is refused")
        def test_any_text_can_be_a_key(self): ...

    Raises:
        ConformanceError: the reason is empty.
    """
    if not isinstance(reason, str) or not reason.strip():
        raise ConformanceError(
            'an override needs a reason: write @overrides("why this check does not apply") above '
            "the method"
        )

    def mark(function: Function) -> Function:
        setattr(function, _REASON, reason.strip())
        return function

    return mark


class Suite:
    """A class of checks. A class of the kit declares its own with `kit=True`; any other class is
    held to them.
    """

    checks: ClassVar[Mapping[str, Callable[..., Any]]] = MappingProxyType({})
    """Every check by name, as the kit has it. Do not set it."""

    _titans_checks: ClassVar[Mapping[str, Callable[..., Any]]] = MappingProxyType({})

    def __init_subclass__(cls, kit: bool = False, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if kit:
            names = [
                name
                for base in reversed(cls.__mro__)
                for name in vars(base)
                if name.startswith("test_")
            ]
            found = {name: inspect.getattr_static(cls, name) for name in dict.fromkeys(names)}
            cls.checks = cls._titans_checks = MappingProxyType(found)
            return
        if problems := [*incomplete(cls), *cls._undeclared()]:
            raise ConformanceError(f"{cls.__qualname__}: " + "; ".join(problems))

    def _fixture(self, name: str, folder: Path) -> Any:
        """What a check gets for an argument of this name, where pytest does not run it."""
        if name == "tmp_path":
            return folder
        raise ConformanceError(
            f"only pytest can give a check the fixture {name}; run this suite with pytest"
        )

    @classmethod
    def _undeclared(cls) -> Iterator[str]:
        """What a test class must declare and does not."""
        return iter(())

    def test_no_check_is_missing_or_overridden_without_a_reason(self) -> None:
        """The class has every check of the kit; what is overridden, skipped or expected to fail
        says why.
        """
        problems = [*incomplete(type(self)), *unexplained(type(self))]
        expect(not problems, "; ".join(problems))


def _kit_checks(cls: type[Suite]) -> Mapping[str, Callable[..., Any]]:
    # Asked of the kit's own class: a subclass that sets `checks` to something else changes nothing
    # here.
    for base in cls.__mro__:
        found: Mapping[str, Callable[..., Any]] | None = vars(base).get("_titans_checks")
        if found and base.__module__.startswith("titans.testing."):
            return found
    return {}


def overridden(cls: type[Suite]) -> dict[str, str]:
    """Check → the reason why the class has another one in its place."""
    found = {
        name: getattr(inspect.getattr_static(cls, name, None), _REASON, None)
        for name in _kit_checks(cls)
    }
    return {name: reason for name, reason in found.items() if reason is not None}


def incomplete(cls: type[Suite]) -> Iterator[str]:
    """What is wrong with the checks of a class: deleted, or overridden in silence, or an override
    of nothing.
    """
    checks = _kit_checks(cls)
    for name, original in checks.items():
        current = inspect.getattr_static(cls, name, None)
        if current is original:
            continue
        if not inspect.isroutine(current):
            yield (
                f"the check {name} was deleted; restore it, or put another one in its place with "
                f'@titans.testing.overrides("why")'
            )
        elif getattr(current, _REASON, None) is None:
            yield (
                f"the check {name} is overridden without a reason; rename the method, or put "
                f'@titans.testing.overrides("why") above it'
            )
    for name in dir(cls):
        if name not in checks and hasattr(inspect.getattr_static(cls, name), _REASON):
            meant = get_close_matches(name, checks, n=1)
            yield f"{name} overrides no check" + (
                f"; did you mean {meant[0]}?" if meant else "; remove @overrides"
            )
    for name in ("__init__", "__new__", "__test__"):
        if any(name in vars(base) for base in cls.__mro__ if issubclass(base, Suite)):
            yield f"with {name} pytest collects none of its checks; remove it (a shared base needs no Test in its name)"


def unexplained(cls: type[Suite]) -> Iterator[str]:
    """Marks on the class or its checks that lose a check without saying why."""
    for mark in _marks(cls):
        if (problem := silent(mark)) is not None:
            yield f"{cls.__qualname__} is marked with {problem}"
    for name in _kit_checks(cls):
        for mark in getattr(inspect.getattr_static(cls, name, None), "pytestmark", ()):
            if (problem := silent(mark)) is not None:
                yield f"the check {name} is marked with {problem}"


def _marks(cls: type) -> list[pytest.Mark]:
    marks: Any = getattr(cls, "pytestmark", ())
    given: list[Any] = list(marks) if isinstance(marks, list | tuple) else [marks]
    return [getattr(mark, "mark", mark) for mark in given]


def silent(mark: pytest.Mark) -> str | None:
    """What to say of a mark that skips a check, or lets it fail, without a reason."""
    if mark.name not in _LOSING_MARKS:
        return None
    reason = mark.kwargs.get("reason") or (
        mark.args[0] if mark.name == "skip" and mark.args else ""
    )
    return (
        None
        if str(reason).strip()
        else f'pytest.mark.{mark.name} without a reason; add reason="why"'
    )


@frozen
class Outcome:
    """What became of one check."""

    check: str
    status: Literal["passed", "failed", "error", "skipped"]
    """`failed`: the check found something. `error`: something else was raised, as a rule by what is
    checked."""
    message: str = ""
    override: str = ""
    """The reason, where the class has a check of its own in this one's place."""


def run(suite: type[Suite], only: Collection[str] | None = None) -> tuple[Outcome, ...]:
    """Run the checks of a suite without pytest, as `titans plugins doctor` does.

    Args:
        suite: a class like those that pytest collects.
        only: names of checks; by default all of them.

    Raises:
        ConformanceError: `only` names a check that there is not.
    """
    checks = _kit_checks(suite)
    if unknown := sorted(set(only or ()) - set(checks)):
        raise ConformanceError(
            f"no such check: {', '.join(unknown)}; there are {', '.join(sorted(checks))}"
        )
    reasons = overridden(suite)
    return tuple(
        _outcome(suite, name, reasons.get(name, ""))
        for name in checks
        if only is None or name in only
    )


def _outcome(suite: type[Suite], name: str, override: str) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        instance = suite()
        try:
            method = getattr(instance, name)
            fixtures = {
                wanted: instance._fixture(wanted, Path(folder))
                for wanted in inspect.signature(method).parameters
            }
            method(**fixtures)
        except pytest.skip.Exception as skipped:
            return Outcome(name, "skipped", str(skipped), override)
        except Nonconformance as failure:
            return Outcome(name, "failed", _said(failure), override)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
            return Outcome(name, "error", f"{type(error).__name__}: {_said(error)}", override)
    return Outcome(name, "passed", "", override)


def _said(failure: BaseException) -> str:
    """With the example that Hypothesis found."""
    return "\n".join([str(failure), *getattr(failure, "__notes__", ())])
