"""What an archive must answer, kept in plain dicts: slow, small, and independent of how the archive
does it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import polars as pl

from titans.provider import Provider
from titans.schema import CEASED, TIME

__all__ = ["Oracle", "difference", "replayed", "rows_of"]

State = dict[tuple[Any, ...], tuple[Any, ...]]


class Oracle:
    """The states after each of a row of full snapshots."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.states: dict[datetime, State] = {}

    def add(self, snapshot: pl.DataFrame, at: datetime) -> None:
        """A snapshot later than all before: what it did not observe of a living key is carried."""
        before = self.states[max(self.states)] if self.states else {}
        state: State = {}
        for key, values in rows_of(self._provider.normalize(snapshot), self._provider):
            known = before.get(key, (None,) * len(values))
            state[key] = tuple(
                old if new is None else new for new, old in zip(values, known, strict=True)
            )
        self.states[at] = state


def rows_of(
    frame: pl.DataFrame, provider: Provider
) -> Iterable[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """(key, values) of every row, as the schema understands them; what was not observed is
    `None`.
    """
    schema = provider.schema
    for row in frame.to_dicts():
        key = tuple(
            None if row.get(column) is None else str(row[column]) for column in provider.key
        )
        yield (
            key,
            tuple(
                _meant(row.get(c), dtype, schema.unobserved.get(c))
                for c, dtype in schema.columns.items()
            ),
        )


def _meant(value: Any, dtype: str, sentinel: float | None) -> Any:
    if value is None:
        return None
    found: Any = value
    if dtype.startswith("Float"):
        found = float(value)
        if dtype == "Float32":
            (found,) = struct.unpack("f", struct.pack("f", found))
    elif dtype.startswith(("Int", "UInt")):
        found = None if value != value else int(value)
    elif dtype == "String":
        found = str(value)
    return None if found == sentinel or found != found else found


def replayed(points: pl.DataFrame, provider: Provider, moment: datetime) -> State:
    """The state that change points lead to, one by one."""
    state: State = {}
    for row in points.sort(TIME, maintain_order=True).to_dicts():
        if row[TIME] <= moment:
            key = tuple(row[column] for column in provider.key)
            state.pop(key, None)
            if not row[CEASED]:
                state[key] = tuple(row[column] for column in provider.schema.columns)
    return state


def difference(found: State, expected: State) -> str:
    """In words, with the first examples; empty if they are equal."""
    parts = []
    if missing := [key for key in expected if key not in found]:
        parts.append(f"{len(missing)} key(s) missing, first {missing[0]}")
    if extra := [key for key in found if key not in expected]:
        parts.append(f"{len(extra)} key(s) too many, first {extra[0]}")
    for key, values in expected.items():
        if key in found and found[key] != values:
            parts.append(f"{key}: {found[key]} instead of {values}")
            break
    return "; ".join(parts)
