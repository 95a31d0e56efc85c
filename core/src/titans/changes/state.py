"""States and change points: the algebra everything else stands on.

A *state* is a frame of the living keys: key, `Time` of the key's last change point, values; one row
per key. *Rows* are change points in canonical columns (with `Ceased`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from itertools import pairwise
from operator import or_

import polars as pl
from attrs import frozen

from titans.changes.frames import instant
from titans.provider import Provider
from titans.schema import CEASED, TIME

__all__ = ["Delta", "carried", "delta", "diff", "last_rows", "overlay", "resolve", "resolve_last"]

_OLD = "\x00old"
"""Suffix of columns of the older state in a join; no user's column ends with it."""


@frozen
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

    A null value in `new` was not observed: a key that lives in `old` keeps its value there, and the
    row written for another change carries it. Only key and value columns of both are looked at.
    """
    return _delta(old, new, at, provider, carry=True)


def delta(old: pl.DataFrame, new: pl.DataFrame, at: datetime, provider: Provider) -> Delta:
    """As `diff`, but a null in `new` is a value like any other."""
    return _delta(old, new, at, provider, carry=False)


def _delta(
    old: pl.DataFrame, new: pl.DataFrame, at: datetime, provider: Provider, *, carry: bool
) -> Delta:
    key, values = list(provider.key), provider.value_columns
    gone, before, after, came = _matched(old.select(*key, *values), new.select(*key, *values), key)
    if not (gone.height or came.height) and before.select(values).equals(after.select(values)):
        return Delta(
            pl.DataFrame(schema=dict(provider.schema_dtypes)),
            added=0,
            changed=0,
            filled=0,
            ceased=0,
        )
    both = pl.concat(
        [after, before.select(pl.col(v).alias(v + _OLD) for v in values)], how="horizontal"
    ).lazy()
    if carry:
        both = both.with_columns(pl.coalesce(v, v + _OLD) for v in values)
    differs = {v: pl.col(v).ne_missing(pl.col(v + _OLD)) for v in values}
    is_other = pl.any_horizontal(pl.col(v + _OLD).is_not_null() & differs[v] for v in values)
    moved = (
        both.filter(pl.any_horizontal(*differs.values()))
        .with_columns(is_other.alias(_OLD))
        .collect()
    )
    changed = int(moved[_OLD].sum())
    time = instant(at).alias(TIME)
    living = (
        f.select(*key, time, *values, pl.lit(value=False).alias(CEASED)) for f in (moved, came)
    )
    nothing = (pl.lit(None, dtype=d).alias(v) for v, d in provider.schema.value_dtypes().items())
    tombstones = gone.select(*key, time, *nothing, pl.lit(value=True).alias(CEASED))
    rows = pl.concat([*living, tombstones])
    if came.height or gone.height:
        rows = rows.sort(key)
    return Delta(
        rows, added=came.height, changed=changed, filled=moved.height - changed, ceased=gone.height
    )


def _matched(
    old: pl.DataFrame, new: pl.DataFrame, key: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Rows of `old` whose key is gone; those of both whose key stayed, row by row; and those of
    `new` that came.
    """
    if _same_keys(old, new, key):  # mostly: comparing is many times faster than joining
        return old.clear(), old, new, new.clear()
    rows = old.select(*key, pl.row_index(_OLD))
    at = new.select(key).join(rows, on=key, how="left", maintain_order="left")[_OLD]
    stayed, there = at.is_not_null(), at.drop_nulls()
    gone = old.filter(~pl.row_index().is_in(there.implode()))
    return gone, old[there], new.filter(stayed), new.filter(~stayed)


def _same_keys(one: pl.DataFrame, other: pl.DataFrame, key: list[str]) -> bool:
    return one.height == other.height and all((one[c] == other[c]).all() for c in reversed(key))


def carried(old: pl.DataFrame, new: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """The snapshot `new` with what it did not observe of the keys that live in `old`: key and value
    columns.
    """
    key, values = list(provider.key), provider.value_columns
    before = old.select(*key, *(pl.col(v).alias(v + _OLD) for v in values))
    joined = new.select(*key, *values).join(before, on=key, how="left", maintain_order="left")
    return joined.select(*key, *(pl.coalesce(v, v + _OLD).alias(v) for v in values))


def overlay(state: pl.DataFrame | None, rows: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """The state after `rows` (one per key at most) happened to `state` (`None`: to nothing); all
    three sorted by key.
    """
    columns = [c for c in rows.columns if c != CEASED] if state is None else state.columns
    if state is None or not state.height:
        return rows.filter(~pl.col(CEASED)).select(columns)
    if not rows.height:
        return state
    both = pl.concat(
        [state.with_columns(pl.lit(value=False).alias(CEASED)), rows.select(*columns, CEASED)]
    )
    both = both.sort(provider.key, maintain_order=True)
    return both.filter(_is_last(both, provider) & ~both[CEASED]).drop(CEASED)


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
    spans = [(f[TIME].min(), f[TIME].max(), f) for f in (*real, *corrections) if f.height]
    spans.sort(key=lambda span: span[:2])
    if any(a[1] >= b[0] for a, b in pairwise(spans)):  # type: ignore[operator]
        return last_rows(resolve(real, corrections, provider), provider)
    frames = [last_rows(frame, provider) for _, _, frame in spans]
    if not frames:
        return pl.DataFrame(schema=dict(provider.schema_dtypes))
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
    if corrections:
        correcting = _first_wins(list(corrections), by)
        if rows is None:
            return (
                correcting
                if correcting is not None
                else pl.DataFrame(schema=dict(provider.schema_dtypes))
            )
        if correcting is not None and correcting.height:
            correcting = correcting.join(rows.select(by), on=by, how="anti")
            rows = pl.concat([rows, correcting]).sort(by)
    return rows if rows is not None else pl.DataFrame(schema=dict(provider.schema_dtypes))


def _first_wins(
    frames: list[pl.DataFrame], by: list[str], *, alone: bool = True
) -> pl.DataFrame | None:
    if not frames:
        return None
    if len(frames) == 1 and alone:
        return frames[0]
    rows = frames[0] if len(frames) == 1 else pl.concat(frames).sort(by, maintain_order=True)
    same = pl.all_horizontal(pl.col(c) == pl.col(c).shift(1) for c in by).fill_null(value=False)
    if rows.select(same.any()).item():
        rows = rows.sort([*by, CEASED], maintain_order=True)
        rows = rows.filter(~same)
    return rows
