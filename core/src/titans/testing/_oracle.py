"""What an archive must answer, kept in plain dicts: slow, small, and independent of how the archive
does it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from titans.provider import Provider
from titans.schema import CEASED, TIME, Schema

__all__ = ["Oracle", "difference", "replayed", "rows_of"]

State = dict[tuple[Any, ...], tuple[Any, ...]]


class Oracle:
    """The states after each of a row of full snapshots."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.states: dict[datetime, State] = {}

    def add(self, snapshot: pl.DataFrame, moment: datetime) -> None:
        """A snapshot later than all before: what it did not observe of a living key is carried."""
        before = self.states[max(self.states)] if self.states else {}
        state: State = {}
        for key, values in rows_of(self._provider.normalize(snapshot), self._provider):
            state[key] = _carried(before.get(key), values, self._provider.schema)
        self.states[moment] = state


def _carried(
    before: tuple[Any, ...] | None, values: tuple[Any, ...], schema: Schema
) -> tuple[Any, ...]:
    """`values`, those before them where they were not observed; all those before where nothing but
    passive ones is another.
    """
    if before is None:
        return values
    now = list[Any]()
    changed = False
    for column, new, old in zip(schema.columns, values, before, strict=True):
        if new is None and column not in schema.nullable:
            new = old
        now.append(new)
        changed |= new != old and column not in schema.passive
    return tuple(now) if changed else before


def rows_of(
    frame: pl.DataFrame, provider: Provider
) -> Iterable[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """(key, values) of every row, as the schema understands them; what was not observed is
    `None`.
    """
    schema = provider.schema
    for row in frame.to_dicts():
        key = []
        for column in provider.key:
            value = row.get(column)
            key.append(None if value is None else str(value))

        values = []
        for column, dtype in schema.columns.items():
            values.append(_meant(row.get(column), dtype, schema.unobserved.get(column)))
        yield tuple(key), tuple(values)


def _meant(value: Any, dtype: str, sentinel: float | None) -> Any:
    if value is None:
        return None

    meant: Any = value
    if dtype == "String":
        meant = str(value)
    elif value != value:  # NaN is no value
        return None
    elif dtype == "Float64":
        meant = float(value)
    elif dtype == "Float32":
        (meant,) = struct.unpack("f", struct.pack("f", float(value)))
    elif dtype.startswith(("Int", "UInt")):
        meant = int(value)
    elif dtype.startswith("Decimal"):
        meant = Decimal(str(value))
    elif dtype == "Json":
        return _document(value)
    elif dtype == "Binary":
        meant = value.encode() if isinstance(value, str) else bytes(value)

    if meant == sentinel or meant != meant:
        return None
    return meant


def _document(text: str) -> str | None:
    """JSON text as it is stored; numbers in it are integers, or have few digits."""
    document = json.loads(text)
    if document is None:
        return None
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def replayed(points: pl.DataFrame, provider: Provider, moment: datetime) -> State:
    """The state that change points lead to, one by one."""
    state: State = {}
    for row in points.sort(TIME, maintain_order=True).to_dicts():
        if row[TIME] > moment:
            break
        key = tuple(row[column] for column in provider.key)
        state.pop(key, None)
        if not row[CEASED]:
            state[key] = tuple(row[column] for column in provider.schema.columns)

    return state


def difference(state: State, expected: State) -> str:
    """In words, with the first examples; empty if they are equal."""
    parts = []
    missing = [key for key in expected if key not in state]
    if missing:
        parts.append(f"{len(missing)} key(s) missing, first {missing[0]}")
    extra = [key for key in state if key not in expected]
    if extra:
        parts.append(f"{len(extra)} key(s) too many, first {extra[0]}")

    for key, values in expected.items():
        if key in state and state[key] != values:
            parts.append(f"{key}: {state[key]} instead of {values}")
            break

    return "; ".join(parts)
