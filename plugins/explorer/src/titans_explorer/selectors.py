r"""What a line shows, as an address names it: a key, `m5.large|us-east-1|use1-az1`, or a group
of keys, `m5.*|us-east-1|*`.

The parts are those of the key columns. `\` stands before a `|`, `*` or `\` that is part of a value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl
from attrs import frozen

from titans.errors import InputError
from titans_explorer.conditions import Condition, all_of, text

__all__ = ["Selector", "written"]

_PIECES = re.compile(r"\\(.)|(\|)|([^\\|]+)|(\\)", re.DOTALL)


@frozen
class Part:
    """What is wanted of one key column."""

    text: str
    is_prefix: bool = False
    """Values that begin with the text; any, where it is empty."""


@frozen
class Selector:
    """A key, or a group of keys."""

    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, written: str, key: Sequence[str]) -> Selector:
        """Raises `InputError` where it is none."""
        parts, current, star = [], "", False
        for escaped, bar, plain, stray in (match.groups() for match in _PIECES.finditer(written)):
            if stray:
                raise InputError(f"{written!r} ends with a backslash")
            if bar:
                parts.append(Part(current, star))
                current, star = "", False
                continue
            if star:
                raise InputError(f"{written!r}: a * stands at the end of a part only")
            if escaped:
                current += escaped
                continue
            star = plain.endswith("*")
            current += plain.removesuffix("*")
            if "*" in plain.removesuffix("*"):
                raise InputError(f"{written!r}: a * stands at the end of a part only")
        parts.append(Part(current, star))
        if len(parts) != len(key):
            raise InputError(
                f"{written!r} has {len(parts)} part(s); a key is {'|'.join(key)}, with * for any"
            )
        return cls(tuple(parts))

    @property
    def is_group(self) -> bool:
        return any(part.is_prefix for part in self.parts)

    def as_key(self, key: Sequence[str]) -> dict[str, str]:
        """Key column → value, of a selector that is no group."""
        return {name: part.text for name, part in zip(key, self.parts, strict=True)}

    def condition(self, key: Sequence[str]) -> Condition | None:
        """On the key columns; `None` for all keys."""
        conditions = []
        for name, part in zip(key, self.parts, strict=True):
            column = f"pl.col({text(name)})"
            if not part.is_prefix:
                code = f"({column} == {text(part.text)})"
                conditions.append(Condition(pl.col(name) == part.text, code))
            elif part.text:
                code = f"{column}.str.starts_with({text(part.text)})"
                conditions.append(Condition(pl.col(name).str.starts_with(part.text), code))
        return all_of(conditions)


def written(values: Sequence[str]) -> str:
    """A key as an address has it."""
    return "|".join(re.sub(r"([\\|*])", r"\\\1", value) for value in values)
