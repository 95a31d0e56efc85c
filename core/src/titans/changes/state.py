"""States and change points: the algebra everything else stands on.

A *state* is a frame of the living keys: key, `Time` of the key's last change point, values; one row
per key. *Rows* are change points in canonical columns (with `Ceased`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from itertools import pairwise
from operator import itemgetter, or_
from typing import Any

import polars as pl
from attrs import frozen

from titans.changes.frames import instant
from titans.provider import Provider
from titans.schema import CEASED, TIME, Schema

__all__ = [
    "Delta",
    "as_rows",
    "carried",
    "delta",
    "diff",
    "last_rows",
    "overlay",
    "resolve",
    "resolve_last",
]

_OLD = "\x00old"
"""Suffix of columns of the older state in a join; no user's column ends with it."""


@frozen(eq=False)
class Delta:
    """What leads from one state to another."""

    rows: pl.DataFrame
    """Change points in canonical columns, sorted by key: changed and added rows, tombstones for the
    removed."""
    added: int
    changed: int
    filled: int
    """Keys of which no value is another than before, save where there was none before."""
    ceased: int


def diff(old: pl.DataFrame, new: pl.DataFrame, at: datetime, provider: Provider) -> Delta:
    """The change points, all at `at`, that lead from the state `old` to the snapshot `new`.

    A null value in `new` was not observed, save in nullable columns: a key that lives in `old`
    keeps its value there, and the row written for another change carries it. A passive value makes
    no change point. Only key and value columns of both are looked at.
    """
    return _delta(old, new, at, provider, carry=True)


def delta(old: pl.DataFrame, new: pl.DataFrame, at: datetime, provider: Provider) -> Delta:
    """As `diff`, but every null in `new`, and every passive value, is a value like any other."""
    return _delta(old, new, at, provider, carry=False)


def _delta(
    old: pl.DataFrame, new: pl.DataFrame, at: datetime, provider: Provider, *, carry: bool
) -> Delta:
    key = list(provider.key)
    values = provider.value_columns
    removed, before, after, added = _matched(
        old.select(*key, *values), new.select(*key, *values), key
    )

    same_keys = not removed.height and not added.height
    if same_keys and before.select(values).equals(after.select(values)):
        return Delta(_no_rows(provider), added=0, changed=0, filled=0, ceased=0)

    moved = _moved(before, after, provider.schema, carry=carry)
    changed = int(moved[_OLD].sum())

    time = instant(at).alias(TIME)
    live = pl.lit(value=False).alias(CEASED)
    nothing = [pl.lit(None, dtype=d).alias(v) for v, d in provider.schema.value_dtypes().items()]
    rows = pl.concat(
        [
            moved.select(*key, time, *values, live),
            added.select(*key, time, *values, live),
            removed.select(*key, time, *nothing, pl.lit(value=True).alias(CEASED)),
        ]
    )
    if not same_keys:
        rows = rows.sort(key)

    return Delta(
        rows,
        added=added.height,
        changed=changed,
        filled=moved.height - changed,
        ceased=removed.height,
    )


def _moved(
    before: pl.DataFrame, after: pl.DataFrame, schema: Schema, *, carry: bool
) -> pl.DataFrame:
    """The rows of `after` that differ from the row of `before` beside them.

    The column `_OLD` says whether a value is another than one that was known before.
    """
    old_values = list[pl.Expr]()
    carried_values = list[pl.Expr]()
    differences = list[pl.Expr]()
    replacements = list[pl.Expr]()
    for name in schema.columns:
        old_value = pl.col(name + _OLD)
        old_values.append(pl.col(name).alias(name + _OLD))
        carried_values.append(_observed_or(name, old_value, schema))
        if carry and name in schema.passive:
            continue

        differs = pl.col(name).ne_missing(old_value)
        differences.append(differs)
        if name in schema.nullable:
            replacements.append(differs)
        else:
            replacements.append(old_value.is_not_null() & differs)

    if not differences:  # nothing makes a change point but coming and going
        return after.clear().with_columns(pl.lit(value=False).alias(_OLD))
    both = pl.concat([after, before.select(old_values)], how="horizontal").lazy()
    if carry:
        both = both.with_columns(carried_values)

    return (
        both.filter(pl.any_horizontal(differences))
        .with_columns(pl.any_horizontal(replacements).alias(_OLD))
        .collect()
    )


def _observed_or(name: str, old_value: pl.Expr, schema: Schema) -> pl.Expr:
    """What a snapshot says of a column, else the old value."""
    if name in schema.nullable:
        return pl.col(name)
    return pl.coalesce(name, old_value).alias(name)


def _matched(
    old: pl.DataFrame, new: pl.DataFrame, key: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Rows of `old` whose key `new` lacks; those of `old` and of `new` whose key is in both, row by
    row; and those of `new` whose key `old` lacks.
    """
    # The usual case, and comparing is many times faster than joining.
    if _same_keys(old, new, key):
        return old.clear(), old, new, new.clear()

    rows = old.select(*key, pl.row_index(_OLD))
    positions = new.select(key).join(rows, on=key, how="left", maintain_order="left")[_OLD]
    stayed = positions.is_not_null()
    kept = positions.drop_nulls()

    removed = old.filter(~pl.row_index().is_in(kept.implode()))
    return removed, old[kept], new.filter(stayed), new.filter(~stayed)


def _same_keys(one: pl.DataFrame, other: pl.DataFrame, key: list[str]) -> bool:
    return one.height == other.height and all((one[c] == other[c]).all() for c in reversed(key))


def _no_rows(provider: Provider) -> pl.DataFrame:
    return pl.DataFrame(schema=dict(provider.schema_dtypes))


def carried(old: pl.DataFrame, new: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """The snapshot `new` with what it does not say of the keys that live in `old`: what it did not
    observe, and passive values where no other changed. Key and value columns.
    """
    key, schema = list(provider.key), provider.schema
    old_values = [pl.lit(value=True).alias(_OLD)]
    carried_values = list[pl.Expr]()
    same = pl.col(_OLD).is_not_null()
    for name in schema.columns:
        old_value = pl.col(name + _OLD)
        old_values.append(pl.col(name).alias(name + _OLD))
        carried_values.append(_observed_or(name, old_value, schema))
        if name not in schema.passive:
            same &= pl.col(name).eq_missing(old_value)

    snapshot = new.select(*key, *schema.columns)
    before = old.select(*key, *old_values)
    joined = snapshot.join(before, on=key, how="left", maintain_order="left")
    joined = joined.with_columns(carried_values)
    kept = [pl.when(same).then(name + _OLD).otherwise(name).alias(name) for name in schema.passive]
    return joined.with_columns(kept).select(*key, *schema.columns)


def overlay(state: pl.DataFrame | None, rows: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """The state after `rows` (one per key at most) happened to `state` (`None`: to nothing); all
    three sorted by key.
    """
    if state is None:
        return rows.filter(~pl.col(CEASED)).select(c for c in rows.columns if c != CEASED)
    if not state.height:
        return rows.filter(~pl.col(CEASED)).select(state.columns)
    if not rows.height:
        return state

    both = pl.concat([as_rows(state), rows.select(*state.columns, CEASED)])
    both = both.sort(provider.key, maintain_order=True)
    return both.filter(_is_last(both, provider) & ~both[CEASED]).drop(CEASED)


def as_rows(state: pl.DataFrame) -> pl.DataFrame:
    """The keys of a state as change points: none of them a tombstone."""
    return state.with_columns(pl.lit(value=False).alias(CEASED))


def last_rows(rows: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """The last row of every key, tombstones included, of rows in which those of a key stand
    together, by `Time`.
    """
    if rows.height < 2:
        return rows
    return rows.filter(_is_last(rows, provider))


def _is_last(rows: pl.DataFrame, provider: Provider) -> pl.Series:
    """Whether the next row is of another key."""
    # One expression for each column: they are computed side by side, the parts of a single one
    # would not be.
    differs = rows.select(pl.col(c) != pl.col(c).shift(-1) for c in provider.key)
    return reduce(or_, differs.iter_columns()).fill_null(value=True)


def resolve_last(
    real: Sequence[pl.DataFrame], corrections: Sequence[pl.DataFrame], provider: Provider
) -> pl.DataFrame:
    """`last_rows(resolve(…))`, without sorting all rows where the files follow each other in time;
    sorted by key.
    """
    spans = list[tuple[Any, Any, pl.DataFrame]]()
    for frame in (*real, *corrections):
        if frame.height:
            spans.append((frame[TIME].min(), frame[TIME].max(), frame))

    spans.sort(key=itemgetter(0, 1))

    for (_, end, _), (start, _, _) in pairwise(spans):
        if end >= start:
            return last_rows(resolve(real, corrections, provider), provider)

    frames = [last_rows(frame, provider) for _, _, frame in spans]
    if not frames:
        return _no_rows(provider)
    if len(frames) == 1:
        return frames[0]
    return last_rows(pl.concat(frames).sort(provider.key, maintain_order=True), provider)


def resolve(
    real: Sequence[pl.DataFrame],
    corrections: Sequence[pl.DataFrame],
    provider: Provider,
    *,
    repeated: bool = False,
) -> pl.DataFrame:
    """All rows of files given in order of their adoption, sorted by key and `Time`, one row per key
    and `Time`.

    Where several files have a row for the same key and `Time`, a real row beats a correcting one,
    then a live row beats a tombstone, then the file adopted first wins. With `repeated`, a frame
    may itself come from several files.
    """
    by = [*provider.key, TIME]
    rows = _first_wins(list(real), by, alone=not repeated)
    correcting = _first_wins(list(corrections), by)

    if rows is None:
        return _no_rows(provider) if correcting is None else correcting
    if correcting is None or not correcting.height:
        return rows

    correcting = correcting.join(rows.select(by), on=by, how="anti")
    return pl.concat([rows, correcting]).sort(by)


def _first_wins(
    frames: list[pl.DataFrame], by: list[str], *, alone: bool = True
) -> pl.DataFrame | None:
    """The rows of all frames, sorted by `by`, one row for each `by`: a live one if there is one,
    and of those the first. `alone`: a single frame is so already.
    """
    if not frames:
        return None
    if len(frames) == 1 and alone:
        return frames[0]

    rows = frames[0]
    if len(frames) > 1:
        rows = pl.concat(frames).sort(by, maintain_order=True)

    same = pl.all_horizontal(pl.col(c) == pl.col(c).shift(1) for c in by).fill_null(value=False)
    if rows.select(same.any()).item():
        rows = rows.sort([*by, CEASED], maintain_order=True)
        rows = rows.filter(~same)
    return rows
