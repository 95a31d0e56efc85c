"""What was looked at, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from attrs import define, field, frozen

from titans.errors import FormatError, NotFound

__all__ = ["Check", "Notes"]

T = TypeVar("T")


@frozen
class Check:
    """The verdict on one question."""

    name: str
    asked: int
    """How many things were looked at."""
    failures: tuple[str, ...]
    """What is wrong, one line each."""

    @property
    def passed(self) -> bool:
        return not self.failures


@define
class Notes:
    """What was asked, and what is wrong."""

    asked: Counter[str] = field(factory=Counter)
    failures: dict[str, list[str]] = field(factory=dict)

    def say(self, check: str, good: bool, failure: str) -> bool:
        self.asked[check] += 1
        if not good:
            self.failures.setdefault(check, []).append(failure)
        return good

    def add(self, other: Notes) -> None:
        self.asked += other.asked
        for name, lines in other.failures.items():
            self.failures.setdefault(name, []).extend(lines)

    def check(self, name: str) -> Check:
        return Check(name, self.asked[name], tuple(self.failures.get(name, ())))

    def read(self, check: str, key: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; `None`, and a failure of `check`, where an object is missing or not
        what it should be.
        """
        try:
            result = read()
        except (FormatError, NotFound) as error:
            text = str(error)
            self.say(check, False, text if key in text else f"{key}: {text}")
            return None
        self.say(check, True, "")
        return result
