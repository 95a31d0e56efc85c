"""Make a frame fit a provider's schema, or say exactly what does not fit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import polars as pl

from titans.changes.frames import instant, is_small, to_polars
from titans.changes.keys import key_texts
from titans.errors import SchemaError, TimestampError
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Slot, iso

__all__ = ["conform_changes", "conform_snapshot", "unique_rows"]

log = logging.getLogger("titans.changes")

_SHOWN = 3
"""Rows or values that a message shows."""

_UTC = pl.Datetime("us", "UTC")


def conform_snapshot(snapshot: Any, provider: Provider) -> tuple[pl.DataFrame, int]:
    """A full snapshot as key and value columns, in canonical order and dtypes, sorted by key, one
    row per key.

    The second value is how many rows were dropped because their key came again with other values
    (the last one stays).

    Raises:
        SchemaError: a key column is missing or null, or a value cannot be cast.
    """
    key = list(provider.key)
    columns = [*provider.key, *provider.schema.columns]
    frame = _cast(_normalized(snapshot, provider), provider, columns)

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
        if name not in frame_dtypes or frame_dtypes[name] == dtypes[name]:
            continue
        if name == TIME:
            cast_columns.append(_times(frame[name], provider))
        elif name in provider.key:
            cast_columns.append(_key_texts(frame[name], provider))
        else:
            cast_columns.append(_cast_column(frame[name], dtypes[name], provider))

    cast = frame
    if cast_columns:
        cast = frame.with_columns(cast_columns)
    for name in provider.key:
        if cast[name].null_count():
            _refuse_null_keys(frame, cast[name], provider)

    return cast


def _key_texts(column: pl.Series, provider: Provider) -> pl.Series:
    try:
        return key_texts(column)
    except SchemaError as error:
        message = f"provider {provider.name!r}: {error}"
        raise SchemaError(message, provider=provider.name) from error


def _refuse_null_keys(frame: pl.DataFrame, key_column: pl.Series, provider: Provider) -> NoReturn:
    rows = frame.with_row_index("row").filter(key_column.is_null())
    raise SchemaError(
        f"provider {provider.name!r}: key column {key_column.name!r} is null in {rows.height} of "
        f"{frame.height} row(s); "
        f"first: {_shown(rows, ['row', *provider.key])}; drop or fix them",
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
            stored.append(_value(name, dtypes[name].is_float(), unobserved.get(name)))
        else:
            stored.append(pl.lit(None, dtype=dtypes[name]).alias(name))

    return stored


@lru_cache(typed=True)
def _value(name: str, is_float: bool, sentinel: Any) -> pl.Expr:
    """The column `name` as it is stored.

    NaN is how pandas says null; and -0.0 equals 0.0, so only one of them may be stored: adding zero
    makes it positive.

    At most 128 expressions are kept, and none goes stale: each depends on the arguments alone.
    Threads and forks may share them, for an expression never changes.
    """
    value = pl.col(name)
    stored = value
    conditions = list[pl.Expr]()
    if is_float:
        stored = value + 0.0
        conditions.append(value.is_not_nan())
    if sentinel is not None:
        conditions.append(value != pl.lit(sentinel))

    if not conditions:
        return stored
    return pl.when(*conditions).then(stored).alias(name)


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
            f"which cannot become {dtype}: {error}",
            provider=provider.name,
        ) from error

    if bad.any():
        raise SchemaError(
            f"provider {provider.name!r}: {int(bad.sum())} value(s) of column {column.name!r} are "
            f"no {dtype}; "
            f"first: {_examples(column, bad)}; nothing was written",
            provider=provider.name,
        )

    return cast


def _times(column: pl.Series, provider: Provider) -> pl.Series:
    """A `Time` column in UTC. Naive times are UTC."""
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        aware = column
        if not dtype.time_zone:
            aware = column.dt.replace_time_zone("UTC")
        return aware.dt.convert_time_zone("UTC").cast(_UTC)

    if dtype == pl.Null:
        return column.cast(_UTC)
    if dtype != pl.String:
        raise SchemaError(
            f"provider {provider.name!r}: column {TIME!r} has dtype {dtype}; give datetimes or ISO "
            "8601 text",
            provider=provider.name,
        )

    parsed = _parsed_times(column)
    bad = parsed.is_null() & column.is_not_null()
    if bad.any():
        raise SchemaError(
            f"provider {provider.name!r}: {int(bad.sum())} value(s) of column {TIME!r} are no "
            f"times; first: {_examples(column, bad)}; write them like "
            "'2026-01-23 14:20:00' (UTC)",
            provider=provider.name,
        )

    return parsed.alias(column.name)


def _parsed_times(column: pl.Series) -> pl.Series:
    """Text as UTC times; null where it is no time."""
    text = column.str.strip_chars().str.replace("T", " ", literal=True).str.replace(r"Z$", "+00:00")

    zoned = text.str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False
    )
    with_seconds = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    to_minutes = text.str.to_datetime("%Y-%m-%d %H:%M", time_unit="us", strict=False)

    naive = with_seconds.zip_with(with_seconds.is_not_null(), to_minutes)
    return zoned.cast(_UTC).zip_with(zoned.is_not_null(), naive.dt.replace_time_zone("UTC"))


def _check_times(frame: pl.DataFrame, provider: Provider, slot: Slot) -> None:
    times = frame[TIME]
    if not times.null_count():
        first: Any = times.min()
        last: Any = times.max()
        if first is None or (slot.start <= first and last < slot.end):
            return

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


def _examples(column: pl.Series, bad: pl.Series) -> str:
    """The first bad values, for a message."""
    return ", ".join(map(repr, column.filter(bad).head(_SHOWN).to_list()))


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
