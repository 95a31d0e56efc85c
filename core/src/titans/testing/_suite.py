"""What makes a class of checks a suite: checks are counted, and none is lost without a reason."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
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
    """A check failed. The message says what was found, what is expected, and how to fix it."""


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
            cls._titans_checks = MappingProxyType(_declared(cls))
            cls.checks = cls._titans_checks
            return

        problems = [*incomplete(cls), *cls._undeclared()]
        if problems:
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


def _declared(cls: type) -> dict[str, Callable[..., Any]]:
    """Every check of the class and its bases, those of the first base first."""
    checks = dict[str, Callable[..., Any]]()
    for base in reversed(cls.__mro__):
        for name in vars(base):
            if name.startswith("test_"):
                checks.setdefault(name, inspect.getattr_static(cls, name))
    return checks


def _kit_checks(cls: type[Suite]) -> Mapping[str, Callable[..., Any]]:
    # Asked of the kit's own class: a subclass that sets `checks` to something else changes nothing
    # here.
    for base in cls.__mro__:
        checks: Mapping[str, Callable[..., Any]] | None = vars(base).get("_titans_checks")
        if checks and base.__module__.startswith("titans.testing."):
            return checks
    return {}


def overridden(cls: type[Suite]) -> dict[str, str]:
    """Check → the reason why the class has another one in its place."""
    reasons = {}
    for name in _kit_checks(cls):
        reason = getattr(inspect.getattr_static(cls, name, None), _REASON, None)
        if reason is not None:
            reasons[name] = reason
    return reasons


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
            yield f"{name} overrides no check; {_hint(name, checks)}"

    bases = [base for base in cls.__mro__ if issubclass(base, Suite)]
    for name in ("__init__", "__new__", "__test__"):
        if any(name in vars(base) for base in bases):
            yield (
                f"with {name} pytest collects none of its checks; remove it (a shared base needs "
                "no Test in its name)"
            )


def _hint(name: str, checks: Iterable[str]) -> str:
    meant = get_close_matches(name, checks, n=1)
    if meant:
        return f"did you mean {meant[0]}?"
    return "remove @overrides"


def unexplained(cls: type[Suite]) -> Iterator[str]:
    """Marks on the class or its checks that lose a check without saying why."""
    for mark in _marks(cls):
        problem = silent(mark)
        if problem is not None:
            yield f"{cls.__qualname__} is marked with {problem}"

    for name in _kit_checks(cls):
        for mark in getattr(inspect.getattr_static(cls, name, None), "pytestmark", ()):
            problem = silent(mark)
            if problem is not None:
                yield f"the check {name} is marked with {problem}"


def _marks(cls: type) -> list[pytest.Mark]:
    marks: Any = getattr(cls, "pytestmark", ())
    if not isinstance(marks, list | tuple):
        marks = [marks]
    return [getattr(mark, "mark", mark) for mark in marks]


def silent(mark: pytest.Mark) -> str | None:
    """What to say of a mark that skips a check, or lets it fail, without a reason."""
    if mark.name not in _LOSING_MARKS:
        return None

    reason = mark.kwargs.get("reason") or ""
    if not reason and mark.name == "skip" and mark.args:
        reason = mark.args[0]
    if str(reason).strip():
        return None
    return f'pytest.mark.{mark.name} without a reason; add reason="why"'


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
    unknown = sorted(set(only or ()) - set(checks))
    if unknown:
        raise ConformanceError(
            f"no such check: {', '.join(unknown)}; there are {', '.join(sorted(checks))}"
        )

    reasons = overridden(suite)
    chosen = [name for name in checks if only is None or name in only]
    return tuple(_run_check(suite, name, reasons.get(name, "")) for name in chosen)


def _run_check(suite: type[Suite], name: str, override: str) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        instance = suite()
        try:
            method = getattr(instance, name)
            wanted = inspect.signature(method).parameters
            method(**{argument: instance._fixture(argument, Path(folder)) for argument in wanted})
        except pytest.skip.Exception as skipped:
            return Outcome(name, "skipped", str(skipped), override)
        except Nonconformance as failure:
            return Outcome(name, "failed", _message(failure), override)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
            message = f"{type(error).__name__}: {_message(error)}"
            return Outcome(name, "error", message, override)

    return Outcome(name, "passed", "", override)


def _message(failure: BaseException) -> str:
    """With the example that Hypothesis found."""
    return "\n".join([str(failure), *getattr(failure, "__notes__", ())])
