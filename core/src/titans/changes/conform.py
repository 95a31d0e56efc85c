"""Make a frame fit a provider's schema, or say exactly what does not fit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import polars as pl

from titans.changes.frames import instant, is_small, microseconds, to_polars
from titans.changes.keys import key_texts
from titans.errors import SchemaError, TimestampError
from titans.exact.convert import convert_stored, equals, literal_of
from titans.exact.texts import examples
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Slot, iso

__all__ = ["conform_changes", "conform_snapshot", "unique_rows"]

log = logging.getLogger("titans.changes")

_SHOWN = 3
"""Rows or values that a message shows."""


def conform_snapshot(snapshot: Any, provider: Provider) -> tuple[pl.DataFrame, int]:
    """A full snapshot as key and value columns, in canonical order and dtypes, sorted by key, one
    row per key. `Time` and `Ceased`, which frames read from an archive have, are left out and
    logged. A frame without columns is a snapshot without rows.

    The second value is how many rows were dropped because their key came again with other values
    (the last one stays).

    Raises:
        SchemaError: a key column is missing or null, a value is none of its column, or a row is
            `Ceased`.
    """
    key = list(provider.key)
    columns = [*provider.key, *provider.schema.columns]
    given = to_polars(snapshot)
    if not given.columns:
        # A source that has nothing has no columns either.
        return pl.DataFrame(schema=dict(provider.schema_dtypes)).select(columns), 0
    frame = _without_times(_normalized(given, provider), provider)
    frame = _cast(frame, provider, columns)

    stored = frame.select(_stored(frame, provider, columns))
    return unique_rows(stored.sort(key, maintain_order=True), key, provider)


def conform_changes(
    changes: Any, provider: Provider, timestamp: datetime, slot: Slot
) -> tuple[pl.DataFrame, int]:
    """Changed and removed rows of one collection in canonical columns and dtypes, sorted by key and
    `Time`.

    Rows with `Ceased` true are removals: their `Time` becomes `timestamp`. Without a `Time` column,
    so does that of all others. Times without a timezone, as text (ISO 8601) too, are UTC.

    Of rows with the same key and `Time`, a live one beats a removed one, and of two live ones the
    last one stays; the second value is how many rows with other content were dropped by that.

    Raises:
        SchemaError: as `conform_snapshot`; also a `Time` that is null or unreadable.
        TimestampError: a changed row whose `Time` lies outside `slot`.
    """
    frame = _normalized(changes, provider)
    has_times = TIME in frame.columns
    has_ceased = CEASED in frame.columns

    times = instant(timestamp).alias(TIME)
    if has_times and has_ceased:
        times = pl.when(CEASED).then(times).otherwise(TIME).alias(TIME)
    elif has_times:
        times = pl.col(TIME)

    ceased = pl.lit(value=False).alias(CEASED)
    if has_ceased:
        ceased = pl.col(CEASED).fill_null(value=False)

    frame = _cast(frame, provider, provider.canonical_columns)
    values = _stored(frame, provider, provider.schema.columns)
    small = is_small(frame)
    select = frame.select_seq if small else frame.select
    frame = select(*provider.key, times, *values, ceased)

    # Of rows with the same key and time the live one comes last, and so is the one that stays.
    order = [*provider.key, TIME, CEASED]
    descending = [False] * (len(order) - 1) + [True]
    frame = frame.sort(order, descending=descending, maintain_order=True, multithreaded=not small)

    if has_times:
        _check_times(frame, provider, slot)
    return unique_rows(frame, [*provider.key, TIME], provider)


def _without_times(frame: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """A snapshot without `Time` and `Ceased`: all its rows live, and at the same time."""
    given = [name for name in (TIME, CEASED) if name in frame.columns]
    if not given:
        return frame

    if CEASED in given:
        ceased = _cast_column(frame[CEASED], provider).fill_null(value=False)
        if ceased.any():
            raise SchemaError(
                f"provider {provider.name!r}: {int(ceased.sum())} row(s) of a full snapshot are "
                "Ceased; a snapshot has the living keys only: leave these rows out, or store them "
                "as changes with upload",
                provider=provider.name,
            )
    log.info(
        "%s: left out the column(s) %s of a full snapshot, whose time is that of the call",
        provider.name,
        ", ".join(given),
    )
    return frame.drop(given)


def unique_rows(frame: pl.DataFrame, by: list[str], provider: Provider) -> tuple[pl.DataFrame, int]:
    """`frame`, sorted by `by`, with the last of the rows that agree in `by`; and how many others
    differed from it.
    """
    if frame.height < 2:
        return frame, 0

    # Series are compared in this thread; expressions would wake others, which takes longer than
    # most slots do.
    again = frame[by[0]][1:] == frame[by[0]][:-1]
    for name in by[1:]:
        again = again & (frame[name][1:] == frame[name][:-1])
    if not again.any():
        return frame, 0

    repeated = pl.concat([again.fill_null(value=False), pl.Series([False])])
    kept = frame.filter(~repeated)
    dropped = frame.filter(repeated).join(kept, on=frame.columns, how="anti", nulls_equal=True)

    # A removed row that a live one beats is no loss.
    lost = dropped.height
    if CEASED in frame.columns:
        lost = dropped.filter(~pl.col(CEASED)).height
    if lost:
        log.warning(
            "%s: %d row(s) repeat a key with other values; the last one of each stays; first: %s",
            provider.name,
            lost,
            _shown(dropped, by),
        )

    return kept, lost


def _normalized(frame: Any, provider: Provider) -> pl.DataFrame:
    result = provider.normalize(to_polars(frame))
    if not isinstance(result, pl.DataFrame):
        raise SchemaError(
            f"titans_normalize of provider {provider.name!r} must return a polars DataFrame, got "
            f"{type(result).__name__}",
            provider=provider.name,
        )

    missing = [column for column in provider.key if column not in result.columns]
    if missing:
        raise SchemaError(
            f"provider {provider.name!r}: key column(s) {', '.join(missing)} missing; "
            f"the key is {', '.join(provider.key)}, the frame has "
            f"{', '.join(result.columns) or 'no columns'}",
            provider=provider.name,
        )

    return result


def _cast(frame: pl.DataFrame, provider: Provider, columns: Sequence[str]) -> pl.DataFrame:
    """`frame`, with those of `columns` that it has in the dtypes of the schema."""
    frame_dtypes = frame.schema
    dtypes = provider.schema_dtypes

    extra = [name for name in frame_dtypes if name not in dtypes]
    if extra:
        log.info(
            "%s: dropped %d column(s) that are not in the schema: %s",
            provider.name,
            len(extra),
            ", ".join(extra),
        )

    cast_columns = []
    for name in columns:
        if name not in frame_dtypes:
            continue
        if frame_dtypes[name] == dtypes[name] and not _has_bad_values(name, provider):
            continue
        if name in provider.key:
            cast_columns.append(_key_texts(frame[name], provider))
        else:
            cast_columns.append(_cast_column(frame[name], provider))

    cast = frame
    if cast_columns:
        cast = frame.with_columns(cast_columns)
    for name in provider.key:
        if cast[name].null_count():
            _refuse_null_keys(frame, cast[name], provider)

    return cast


def _has_bad_values(name: str, provider: Provider) -> bool:
    """Whether a column that comes in its dtype may hold what is no value of it."""
    return name == TIME or provider.schema.columns.get(name) in ("Date", "Datetime", "Json")


def _key_texts(column: pl.Series, provider: Provider) -> pl.Series:
    try:
        return key_texts(column)
    except SchemaError as error:
        message = f"provider {provider.name!r}: {error}"
        raise SchemaError(message, provider=provider.name) from error


def _refuse_null_keys(frame: pl.DataFrame, key_column: pl.Series, provider: Provider) -> NoReturn:
    names = list(provider.key)
    if "row" not in names:
        names.insert(0, "row")
        frame = frame.drop("row", strict=False).with_row_index("row")
    rows = frame.filter(key_column.is_null())
    raise SchemaError(
        f"provider {provider.name!r}: key column {key_column.name!r} is null in {rows.height} of "
        f"{frame.height} row(s); "
        f"first: {_shown(rows, names)}; drop or fix them",
        provider=provider.name,
    )


def _stored(frame: pl.DataFrame, provider: Provider, columns: Iterable[str]) -> list[pl.Expr]:
    """`columns` as they are stored: null where they were not observed, or are not in `frame`."""
    frame_columns = frame.columns
    dtypes = provider.schema_dtypes
    unobserved = provider.schema.unobserved

    stored = []
    for name in columns:
        if name in frame_columns:
            stored.append(_value(name, dtypes[name], unobserved.get(name)))
        else:
            stored.append(pl.lit(None, dtype=dtypes[name]).alias(name))

    return stored


@lru_cache(typed=True)
def _value(name: str, dtype: pl.DataType, sentinel: Any) -> pl.Expr:
    """The column `name`, of this dtype, as it is stored.

    NaN is how pandas says null; and -0.0 equals 0.0, so only one of them may be stored: adding zero
    makes it positive.

    At most 128 expressions are kept, and none goes stale: each depends on the arguments alone.
    Threads and forks may share them, for an expression never changes.
    """
    value = pl.col(name)
    stored = value
    conditions = list[pl.Expr]()
    if dtype.is_float():
        stored = value + 0.0
        conditions.append(value.is_not_nan())
    if sentinel is not None:
        literal = literal_of(sentinel, dtype)
        if literal is not None:
            conditions.append(value != pl.lit(literal, dtype=dtype))

    if not conditions:
        return stored
    return pl.when(*conditions).then(stored).alias(name)


def _cast_column(column: pl.Series, provider: Provider) -> pl.Series:
    """`column` in the dtype of the schema; null where it has the sentinel, which need not be a
    value of that dtype.
    """
    done = convert_stored(column, provider.schema.columns)
    if done.bad is None:
        return done.values

    bad = done.bad
    sentinel = provider.schema.unobserved.get(column.name)
    if sentinel is not None:
        bad = bad & ~equals(column, sentinel)
    if not bad.any():
        return done.values

    dtype = provider.schema.columns.get(column.name, done.values.dtype)
    what_next = (
        "nothing is rounded or cut off, and nothing was written; let titans_normalize change the "
        "values, or declare another dtype"
    )
    if column.name == TIME:
        what_next = "give datetimes, or text like '2026-01-23 14:20:00' (UTC)"
    elif dtype == "Datetime":
        what_next = (
            "text has to say its offset, like '2026-01-23T14:20:00Z', or titans_normalize its zone "
            "(provider_tools.localized); nothing was written"
        )
    raise SchemaError(
        f"provider {provider.name!r}: {int(bad.sum())} value(s) of column {column.name!r} "
        f"({column.dtype}) are no {dtype}; first: {examples(column, bad)}; {what_next}",
        provider=provider.name,
    )


def _check_times(frame: pl.DataFrame, provider: Provider, slot: Slot) -> None:
    times = frame[TIME].to_physical()
    if not times.null_count():
        first, last = microseconds(slot.start), microseconds(slot.end)
        low: Any = times.min()
        high: Any = times.max()
        if low is None or (first <= low and high < last):
            return

    _cast_column(frame[TIME], provider)  # before any is shown
    start, end = instant(slot.start), instant(slot.end)
    inside = pl.col(TIME).is_between(start, end, closed="left")
    outside = frame.filter(pl.col(TIME).is_null() | ~inside)

    nulls = outside[TIME].null_count()
    if nulls:
        raise SchemaError(
            f"provider {provider.name!r}: {TIME!r} is null in {nulls} changed row(s); first: "
            f"{_shown(outside.filter(pl.col(TIME).is_null()), list(provider.key))}",
            provider=provider.name,
        )

    raise TimestampError(
        f"provider {provider.name!r}: {outside.height} changed row(s) have a Time outside the slot "
        f"[{iso(slot.start)}, {iso(slot.end)}); first: {_shown(outside, [*provider.key, TIME])}; "
        "upload them with the timestamp of their own collection",
        provider=provider.name,
        month=str(slot.month),
    )


def _shown(frame: pl.DataFrame, columns: list[str]) -> str:
    """The first rows, for a message."""
    rows = frame.select(columns).head(_SHOWN).to_dicts()
    return "; ".join(map(_row_text, rows))


def _row_text(row: dict[str, Any]) -> str:
    parts = []
    for name, value in row.items():
        text = iso(value) if isinstance(value, datetime) else repr(value)
        parts.append(f"{name}={text}")
    return f"({', '.join(parts)})"
