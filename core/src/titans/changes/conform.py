"""Make a frame fit a provider's schema, or say exactly what does not fit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache, reduce
from operator import and_
from typing import Any

import polars as pl

from titans.changes.frames import instant, is_small, to_polars
from titans.errors import SchemaError, TimestampError
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Slot, iso

__all__ = ["conform_changes", "conform_snapshot", "unique_rows"]

log = logging.getLogger("titans.changes")

_SHOWN = 3


def conform_snapshot(snapshot: Any, provider: Provider) -> tuple[pl.DataFrame, int]:
    """A full snapshot as key and value columns, in canonical order and dtypes, sorted by key, one
    row per key.

    The second value is how many rows were dropped because their key came again with other values
    (the last one stays).

    Raises:
        SchemaError: a key column is missing or null, or a value cannot be cast.
    """
    key, columns = list(provider.key), [*provider.key, *provider.schema.columns]
    frame = _cast(_normalized(snapshot, provider), provider, columns)
    return unique_rows(
        frame.select(_stored(frame, provider, columns)).sort(key, maintain_order=True),
        key,
        provider,
    )


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
    timed, ceasing = TIME in frame.columns, CEASED in frame.columns
    times, ceased = instant(timestamp).alias(TIME), pl.lit(value=False).alias(CEASED)
    if timed:
        times = pl.when(CEASED).then(times).otherwise(TIME).alias(TIME) if ceasing else pl.col(TIME)
    if ceasing:
        ceased = pl.col(CEASED).fill_null(value=False)
    frame = _cast(frame, provider, provider.canonical_columns)
    values = _stored(frame, provider, provider.schema.columns)
    order = [*provider.key, TIME, CEASED]
    descending, small = [False] * (len(order) - 1) + [True], is_small(frame)
    frame = (frame.select_seq if small else frame.select)(*provider.key, times, *values, ceased)
    frame = frame.sort(order, descending=descending, maintain_order=True, multithreaded=not small)
    if timed:
        _check_times(frame, provider, slot)
    return unique_rows(frame, [*provider.key, TIME], provider)


def unique_rows(frame: pl.DataFrame, by: list[str], provider: Provider) -> tuple[pl.DataFrame, int]:
    """`frame`, sorted by `by`, with the last of the rows that agree in `by`; and how many others
    differed from it.
    """
    if frame.height < 2:
        return frame, 0
    # Series are compared in this thread; expressions would wake others, which takes longer than
    # most slots do.
    again = reduce(and_, (frame[c][1:] == frame[c][:-1] for c in by))
    if not again.any():
        return frame, 0
    repeated = pl.concat([again.fill_null(value=False), pl.Series([False])])
    dropped = frame.filter(repeated).join(
        frame.filter(~repeated), on=frame.columns, how="anti", nulls_equal=True
    )
    lost = dropped.filter(~pl.col(CEASED)).height if CEASED in frame.columns else dropped.height
    if lost:
        log.warning(
            "%s: %d row(s) repeat a key with other values; the last one of each stays; first: %s",
            provider.name,
            lost,
            _shown(dropped, by),
        )
    return frame.filter(~repeated), lost


def _normalized(frame: Any, provider: Provider) -> pl.DataFrame:
    raw = to_polars(frame)
    result = provider.normalize(raw)
    if not isinstance(result, pl.DataFrame):
        raise SchemaError(
            f"titans_normalize of provider {provider.name!r} must return a polars DataFrame, got "
            f"{type(result).__name__}"
        )
    missing = [column for column in provider.key if column not in result.columns]
    if missing:
        raise SchemaError(
            f"provider {provider.name!r}: key column(s) {', '.join(missing)} missing; "
            f"the key is {', '.join(provider.key)}, the frame has "
            f"{', '.join(result.columns) or 'no columns'}"
        )
    return result


def _cast(frame: pl.DataFrame, provider: Provider, columns: Sequence[str]) -> pl.DataFrame:
    """`frame`, with those of `columns` that it has in the dtypes of the schema."""
    there, dtypes = frame.schema, provider.schema_dtypes
    if extra := [c for c in there if c not in dtypes]:
        log.info(
            "%s: dropped %d column(s) that are not in the schema: %s",
            provider.name,
            len(extra),
            ", ".join(extra),
        )
    cast = [
        _times(frame[name], provider)
        if name == TIME
        else _cast_column(frame[name], dtypes[name], provider)
        for name in columns
        if name in there and there[name] != dtypes[name]
    ]
    given, frame = frame, frame.with_columns(cast) if cast else frame
    for name in provider.key:
        if count := frame[name].null_count():
            rows = given.with_row_index("row").filter(frame[name].is_null())
            raise SchemaError(
                f"provider {provider.name!r}: key column {name!r} is null in {count} of "
                f"{frame.height} row(s); "
                f"first: {_shown(rows, ['row', *provider.key])}; drop or mend them"
            )
    return frame


def _stored(frame: pl.DataFrame, provider: Provider, columns: Iterable[str]) -> list[pl.Expr]:
    """`columns` as they are stored: null where they were not observed, or are not in `frame`."""
    there, dtypes, unobserved = frame.columns, provider.schema_dtypes, provider.schema.unobserved
    return [
        _value(name, dtypes[name].is_float(), unobserved.get(name))
        if name in there
        else pl.lit(None, dtype=dtypes[name]).alias(name)
        for name in columns
    ]


@lru_cache(typed=True)
def _value(name: str, is_float: bool, sentinel: Any) -> pl.Expr:
    """NaN is how pandas says null; and -0.0 equals 0.0, so only one of them may be stored: adding
    zero makes it positive.
    """
    value, there = pl.col(name), list[pl.Expr]()
    if is_float:
        there.append(value.is_not_nan())
    if sentinel is not None:
        there.append(value != pl.lit(sentinel))
    stored = value + 0.0 if is_float else value
    return pl.when(*there).then(stored).alias(name) if there else stored


def _cast_column(column: pl.Series, dtype: pl.DataType, provider: Provider) -> pl.Series:
    if column.dtype.is_float():
        column = column.fill_nan(None)
    try:
        cast = column.cast(dtype, strict=False)
        bad = cast.is_null() & column.is_not_null()
        if column.dtype.is_float() and dtype.is_integer():
            bad |= (cast.cast(column.dtype) != column).fill_null(value=False)
    except pl.exceptions.PolarsError as error:
        raise SchemaError(
            f"provider {provider.name!r}: column {column.name!r} has dtype {column.dtype}, "
            f"which cannot become {dtype}: {error}"
        ) from error
    if bad.any():
        examples = column.filter(bad).head(_SHOWN).to_list()
        raise SchemaError(
            f"provider {provider.name!r}: {int(bad.sum())} value(s) of column {column.name!r} are "
            f"no {dtype}; "
            f"first: {', '.join(map(repr, examples))}; nothing was written"
        )
    return cast


def _times(column: pl.Series, provider: Provider) -> pl.Series:
    """A `Time` column in UTC. Naive times are UTC."""
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        aware = column if dtype.time_zone else column.dt.replace_time_zone("UTC")
        return aware.dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
    if dtype == pl.Null:
        return column.cast(pl.Datetime("us", "UTC"))
    if dtype != pl.String:
        raise SchemaError(
            f"provider {provider.name!r}: column {TIME!r} has dtype {dtype}; give datetimes or ISO "
            "8601 text"
        )
    text = column.str.strip_chars().str.replace("T", " ", literal=True).str.replace(r"Z$", "+00:00")
    utc = pl.Datetime("us", "UTC")
    zoned = text.str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False
    )
    naive = text.str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False
    ).dt.replace_time_zone("UTC")
    short = text.str.to_datetime(
        "%Y-%m-%d %H:%M", time_unit="us", strict=False
    ).dt.replace_time_zone("UTC")
    parsed = zoned.cast(utc).zip_with(
        zoned.is_not_null(), naive.zip_with(naive.is_not_null(), short)
    )
    bad = parsed.is_null() & column.is_not_null()
    if bad.any():
        raise SchemaError(
            f"provider {provider.name!r}: {int(bad.sum())} value(s) of column {TIME!r} are no "
            "times; first: "
            f"{', '.join(map(repr, column.filter(bad).head(_SHOWN).to_list()))}; write them like "
            "'2026-01-23 14:20:00' (UTC)"
        )
    return parsed.alias(column.name)


def _check_times(frame: pl.DataFrame, provider: Provider, slot: Slot) -> None:
    times = frame[TIME]
    low, high = times.min(), times.max()
    if not times.null_count() and (low is None or (slot.start <= low and high < slot.end)):  # type: ignore[operator]
        return
    start, end = instant(slot.start), instant(slot.end)
    outside = frame.filter(
        pl.col(TIME).is_null() | ~pl.col(TIME).is_between(start, end, closed="left")
    )
    if nulls := outside[TIME].null_count():
        raise SchemaError(
            f"provider {provider.name!r}: {TIME!r} is null in {nulls} changed row(s); first: "
            f"{_shown(outside.filter(pl.col(TIME).is_null()), list(provider.key))}"
        )
    raise TimestampError(
        f"provider {provider.name!r}: {outside.height} changed row(s) have a Time outside the slot "
        f"[{iso(slot.start)}, {iso(slot.end)}); first: {_shown(outside, [*provider.key, TIME])}; "
        "upload them with the timestamp of their own collection"
    )


def _shown(frame: pl.DataFrame, columns: list[str]) -> str:
    """The first rows, for a message."""
    rows = frame.select(columns).head(_SHOWN).to_dicts()
    return "; ".join(
        "("
        + ", ".join(f"{k}={iso(v) if isinstance(v, datetime) else v!r}" for k, v in row.items())
        + ")"
        for row in rows
    )
