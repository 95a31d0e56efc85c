"""States and change points: the algebra everything else stands on.

A *state* is a frame of the living keys: key, `Time` of the key's last change point, values; one row per key. *Rows* are
change points in canonical columns (with `Ceased`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl
from attrs import frozen

from titans.provider import Provider
from titans.schema import CEASED, TIME

__all__ = ["Delta", "carried", "delta", "diff", "last_rows", "overlay", "resolve"]

_OLD = "\x00old"
"""Suffix of columns of the older state in a join; no user's column ends with it."""


@frozen
class Delta:
    """What leads from one state to another."""

    rows: pl.DataFrame
    """Change points in canonical columns, sorted by key: changed and added rows, tombstones for the removed."""
    added: int
    changed: int
    ceased: int


def diff(old: pl.DataFrame, new: pl.DataFrame, at: datetime, provider: Provider) -> Delta:
    """The change points, all at `at`, that lead from the state `old` to the snapshot `new`.

    A null value in `new` was not observed: a key that lives in `old` keeps its value there, and the row written for another
    change carries it. Only key and value columns of both are looked at.
    """
    return _delta(old, new, at, provider, carry=True)


def delta(old: pl.DataFrame, new: pl.DataFrame, at: datetime, provider: Provider) -> Delta:
    """As `diff`, but a null in `new` is a value like any other."""
    return _delta(old, new, at, provider, carry=False)


def _delta(old: pl.DataFrame, new: pl.DataFrame, at: datetime, provider: Provider, *, carry: bool) -> Delta:
    key, values = list(provider.key), provider.value_columns
    time = pl.lit(at).cast(pl.Datetime("us", "UTC")).alias(TIME)
    before = old.select(*key, *(pl.col(v).alias(v + _OLD) for v in values), pl.lit(value=True).alias(_OLD))
    joined = new.select(*key, *values).join(before, on=key, how="left", maintain_order="left")
    if carry:
        joined = joined.with_columns(pl.coalesce(v, v + _OLD) for v in values)
    differs = pl.any_horizontal(pl.col(_OLD).is_null(), *(pl.col(v).ne_missing(pl.col(v + _OLD)) for v in values))
    moved = joined.filter(differs)
    added = moved[_OLD].null_count()
    gone = old.select(key).join(new.select(key), on=key, how="anti")
    rows = moved.select(*key, time, *values, pl.lit(value=False).alias(CEASED))
    if gone.height:
        nothing = (pl.lit(None, dtype=d).alias(v) for v, d in provider.schema.value_dtypes().items())
        tombstones = gone.select(*key, time, *nothing, pl.lit(value=True).alias(CEASED))
        rows = pl.concat([rows, tombstones]).sort(key)
    return Delta(rows, added=added, changed=moved.height - added, ceased=gone.height)


def carried(old: pl.DataFrame, new: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """The snapshot `new` with what it did not observe of the keys that live in `old`: key and value columns."""
    key, values = list(provider.key), provider.value_columns
    before = old.select(*key, *(pl.col(v).alias(v + _OLD) for v in values))
    joined = new.select(*key, *values).join(before, on=key, how="left", maintain_order="left")
    return joined.select(*key, *(pl.coalesce(v, v + _OLD).alias(v) for v in values))


def overlay(state: pl.DataFrame, rows: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """The state after `rows` (one per key at most) happened to `state`; not sorted."""
    if not rows.height:
        return state
    kept = state.join(rows.select(provider.key), on=list(provider.key), how="anti")
    return pl.concat([kept, rows.filter(~pl.col(CEASED)).select(state.columns)])


def last_rows(rows: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """The row with the greatest `Time` of every key, tombstones included; not sorted."""
    key = list(provider.key)
    if not rows.height:
        return rows
    last = rows.group_by(key).agg(pl.col(TIME).max())
    if last.height == rows.height:
        return rows
    return rows.join(last, on=[*key, TIME], how="semi")


def resolve(real: Sequence[pl.DataFrame], corrections: Sequence[pl.DataFrame], provider: Provider) -> pl.DataFrame:
    """All rows of files given in order of their adoption, sorted by key and `Time`, one row per key and `Time`.

    Where several files have a row for the same key and `Time`, a real row beats a correcting one, then a live row beats a
    tombstone, then the file adopted first wins.
    """
    by = [*provider.key, TIME]
    rows = _first_wins(list(real), by)
    if corrections:
        correcting = _first_wins(list(corrections), by)
        if rows is None:
            return correcting if correcting is not None else pl.DataFrame(schema=dict(provider.schema_dtypes))
        if correcting is not None and correcting.height:
            correcting = correcting.join(rows.select(by), on=by, how="anti")
            rows = pl.concat([rows, correcting]).sort(by)
    return rows if rows is not None else pl.DataFrame(schema=dict(provider.schema_dtypes))


def _first_wins(frames: list[pl.DataFrame], by: list[str]) -> pl.DataFrame | None:
    if not frames:
        return None
    if len(frames) == 1:
        return frames[0]
    rows = pl.concat(frames).sort(by, maintain_order=True)
    same = pl.all_horizontal(pl.col(c) == pl.col(c).shift(1) for c in by).fill_null(value=False)
    if rows.select(same.any()).item():
        rows = rows.sort([*by, CEASED], maintain_order=True)
        rows = rows.filter(~same)
    return rows
