"""What the address of a question wishes: read from its parameters once, checked, and bounded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen

from titans.errors import InputError
from titans.provider import Provider
from titans.schema import TIME
from titans.slots import Moment, parse_duration, to_moment
from titans_explorer.conditions import Condition, of_value, search
from titans_explorer.conditions import text as quoted
from titans_explorer.limits import Limits
from titans_explorer.selectors import Selector

__all__ = ["Choice", "Page", "Wishes", "arguments"]


@frozen
class Page:
    """The part of a table that is wanted, and its order."""

    sort: str = ""
    """A column; empty: the order of the answer."""
    descending: bool = False
    offset: int = 0
    limit: int = 100


@frozen(eq=False)
class Choice:
    """Which rows of a table are wanted."""

    words: tuple[Condition, ...] = ()
    of_key: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """Key column → values of which any will do."""
    of_values: tuple[Condition, ...] = ()


@frozen(eq=False)
class Wishes:
    """The parameters of a question, and what they may be."""

    given: Mapping[str, tuple[str, ...]]
    provider: Provider
    limits: Limits

    def one(self, name: str, default: str = "") -> str:
        """The value of a parameter that may stand once."""
        values = self.given.get(name, ())
        if len(values) > 1:
            raise InputError(f"{name} is given {len(values)} times")
        value = values[0] if values else default
        if len(value) > self.limits.text and name != "q":
            raise InputError(f"{name} is longer than {self.limits.text} characters")
        return value

    def number(self, name: str, default: int, low: int, high: int) -> int:
        written = self.one(name, str(default))
        if not re.fullmatch(r"\d{1,12}", written) or not low <= int(written) <= high:
            raise InputError(f"{name} is a number from {low} to {high}, got {written!r}")
        return int(written)

    def moment(self, name: str) -> datetime | None:
        """A time; UTC unless it says otherwise."""
        written: Moment = self.one(name)
        return to_moment(written, name) if written else None

    def page(self, columns: list[str]) -> Page:
        """Which rows, of a table with these columns."""
        sort = self.one("sort")
        if sort and sort not in columns:
            raise InputError(f"no column {sort!r} to sort by; there are {', '.join(columns)}")
        limit = self.number("limit", 100, 0, self.limits.page_rows)
        offset = self.number("offset", 0, 0, 10**9)
        return Page(sort, self.one("desc") == "1", offset, limit)

    def selectors(self) -> list[tuple[str, Selector]]:
        """The keys and groups that are wanted, as they are written and as they are."""
        texts = self.given.get("key", ())
        if not texts:
            raise InputError(f"say of which key: key={'|'.join(self.provider.key)}")
        if len(texts) > self.limits.lines:
            raise InputError(f"{len(texts)} keys and groups; at most {self.limits.lines} at once")
        for each in texts:
            if len(each) > 5 * self.limits.text:
                raise InputError("a key is too long")
        unique = dict.fromkeys(texts)
        return [(each, Selector.parse(each, self.provider.key)) for each in unique]

    def value_columns(self) -> list[str]:
        """The value columns that are wanted, all by default."""
        columns = list(self.given.get("column", ())) or list(self.provider.value_columns)
        for column in columns:
            self.value_column(column)
        return list(dict.fromkeys(columns))

    def value_column(self, column: str) -> str:
        if column not in self.provider.schema.columns:
            known = ", ".join(self.provider.value_columns)
            raise InputError(f"no value column {column!r}; there are {known}")
        return column

    def step(self) -> float | None:
        """Seconds from one look of a group's line to the next, where it is given."""
        written = self.one("every")
        return parse_duration(written).total_seconds() if written else None

    def choice(self) -> Choice:
        """Which rows: `q` searches the key, `k.Region` wants values of a key column, `v.Price` is a
        condition on another.
        """
        provider = self.provider
        of_key: dict[str, tuple[str, ...]] = {}
        of_values = []
        for name, values in self.given.items():
            kind, _, column = name.partition(".")
            if kind == "k" and column:
                self._check(column, provider.key)
                of_key[column] = values
            elif kind == "v" and column:
                self._check(column, (TIME, *provider.value_columns))
                dtype: Any = provider.schema_dtypes[column]
                of_values += [of_value(column, dtype, self.one(name))]
        words = self.one("q")
        if len(words) > self.limits.text:
            raise InputError(f"a search has at most {self.limits.text} characters")
        return Choice(tuple(search(provider.key, words)), of_key, tuple(of_values))

    def _check(self, column: str, columns: tuple[str, ...]) -> None:
        if column not in columns:
            raise InputError(f"no column {column!r} here; there are {', '.join(columns)}")


def arguments(choice: Choice) -> list[str]:
    """The key columns of a choice as arguments of a question, in Python."""
    parts = []
    for column, values in choice.of_key.items():
        wanted = f"[{', '.join(map(quoted, values))}]"
        if column.isidentifier():
            parts.append(f"{column}={wanted}")
        else:
            parts.append(f"**{{{quoted(column)}: {wanted}}}")
    return parts
