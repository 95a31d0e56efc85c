"""Which names columns can have, so that every question can be asked of them, in SQL too."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from titans.schema import RESERVED

__all__ = ["name_error"]

_PERIODS = ("valid_from", "valid_to")
"""What `intervals` adds to the columns."""
_CHANGE = "change"
"""What `diff` adds to the key."""
_SUFFIXES = ("_old", "_new")
"""Of the two columns that `diff` makes of each value column."""
_ARGUMENTS = (
    "self",
    "start",
    "end",
    "at",
    "t1",
    "t2",
    "where",
    "columns",
    "keys",
    "every",
    "lazy",
)
"""Names that questions have for what they take besides the key."""


def name_error(key: Iterable[str], values: Iterable[str]) -> str | None:
    """What is wrong with the names of the columns, and why; `None` where nothing is."""
    key, values = tuple(key), tuple(values)
    for name in (*key, *values):
        reason = _unusable(name)
        if reason is not None:
            return f"column {name!r} {reason}; choose another name"

    # SQL does not tell names apart that differ in case only.
    seen = dict[str, str]()
    for name in (*RESERVED, *key, *values):
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            return f"columns {other!r} and {name!r} are one name in SQL; choose another"

    made = {f"{value}{suffix}".casefold(): value for value in values for suffix in _SUFFIXES}
    for name in key:
        if name in _ARGUMENTS:
            return (
                f"key column {name!r} is what an argument of history and other questions is "
                "called; choose another name"
            )
        if name.casefold() == _CHANGE:
            return f"key column {name!r} is what diff says happened to the key; choose another name"
        if name.casefold() in made:
            value = made[name.casefold()]
            return f"key column {name!r} is what diff makes of {value!r}; choose another name"
    return None


def _unusable(name: str) -> str | None:
    """Why no question can name a column so."""
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        return "is a pattern to polars, not a name"
    if name.casefold() in _PERIODS:
        return "is what intervals calls the ends of a period"
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return "has control characters or halves of letters"
    return None
