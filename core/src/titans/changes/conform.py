"""Make a frame fit a provider's schema, or say exactly what does not fit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from titans.changes.frames import to_polars
from titans.errors import SchemaError, TimestampError
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Slot, iso

__all__ = ["conform_changes", "conform_snapshot", "unique_rows"]

log = logging.getLogger("titans.changes")

_SHOWN = 3


def conform_snapshot(snapshot: Any, provider: Provider) -> tuple[pl.DataFrame, int]:
    """A full snapshot as key and value columns, in canonical order and dtypes, sorted by key, one row per key.

    The second value is how many rows were dropped because their key came again with other values (the last one stays).

    Raises:
        SchemaError: a key column is missing or null, or a value cannot be cast.
    """
    frame = _cast(_normalized(snapshot, provider), provider, keep=())
    return unique_rows(frame.sort(provider.key, maintain_order=True).collect(), list(provider.key), provider)


def conform_changes(changes: Any, provider: Provider, timestamp: datetime, slot: Slot) -> tuple[pl.DataFrame, int]:
    """Changed and removed rows of one collection in canonical columns and dtypes, sorted by key and `Time`.

    Rows with `Ceased` true are removals: their `Time` becomes `timestamp`. Without a `Time` column, so does that of all
    others. Times without a timezone, as text (ISO 8601) too, are UTC.

    Of rows with the same key and `Time`, a live one beats a removed one, and of two live ones the last one stays; the
    second value is how many rows with other content were dropped by that.

    Raises:
        SchemaError: as `conform_snapshot`; also a `Time` that is null or unreadable.
        TimestampError: a changed row whose `Time` lies outside `slot`.
    """
    frame = _normalized(changes, provider)
    keep = [column for column in (TIME, CEASED) if column in frame.columns]
    at = pl.lit(timestamp).cast(pl.Datetime("us", "UTC"))
    ceased = pl.col(CEASED).fill_null(value=False) if CEASED in keep else pl.lit(value=False)
    time = pl.when(CEASED).then(at).otherwise(TIME) if TIME in keep else at
    order = [*provider.key, TIME, CEASED]
    frame = (
        _cast(frame, provider, keep=keep)
        .with_columns(ceased.alias(CEASED))
        .with_columns(time.alias(TIME))
        .select(provider.canonical_columns)
        .collect()
        .sort(order, descending=[False] * (len(order) - 1) + [True], maintain_order=True)
    )
    if TIME in keep:
        _check_times(frame, provider, slot)
    return unique_rows(frame, [*provider.key, TIME], provider)


def unique_rows(frame: pl.DataFrame, by: list[str], provider: Provider) -> tuple[pl.DataFrame, int]:
    """`frame`, sorted by `by`, with the last of the rows that agree in `by`; and how many others differed from it."""
    if frame.height < 2:
        return frame, 0
    same = pl.all_horizontal(pl.col(c) == pl.col(c).shift(-1) for c in by).fill_null(value=False)
    repeated = frame.select(same.alias("same"))["same"]
    if not repeated.any():
        return frame, 0
    dropped = frame.filter(repeated).join(frame.filter(~repeated), on=frame.columns, how="anti", nulls_equal=True)
    lost = dropped.filter(~pl.col(CEASED)).height if CEASED in frame.columns else dropped.height
    if lost:
        log.warning(
            "%s: %d row(s) repeat a key with other values; the last one of each stays; first: %s",
            provider.name, lost, _shown(dropped, by),
        )  # fmt: skip
    return frame.filter(~repeated), lost


def _normalized(frame: Any, provider: Provider) -> pl.DataFrame:
    raw = to_polars(frame)
    result = provider.normalize(raw)
    if not isinstance(result, pl.DataFrame):
        raise SchemaError(
            f"titans_normalize of provider {provider.name!r} must return a polars DataFrame, got {type(result).__name__}"
        )
    missing = [column for column in provider.key if column not in result.columns]
    if missing:
        raise SchemaError(
            f"provider {provider.name!r}: key column(s) {', '.join(missing)} missing; "
            f"the key is {', '.join(provider.key)}, the frame has {', '.join(result.columns) or 'no columns'}"
        )
    return result


def _cast(frame: pl.DataFrame, provider: Provider, keep: Sequence[str]) -> pl.LazyFrame:
    """Key and value columns (and those of `keep` that are there) in canonical order and dtypes."""
    extra = [c for c in frame.columns if c not in provider.canonical_columns]
    if extra:
        log.info("%s: dropped %d column(s) that are not in the schema: %s", provider.name, len(extra), ", ".join(extra))
    dtypes = provider.schema_dtypes
    wanted = [*provider.key, *(c for c in provider.canonical_columns if c in keep or c in provider.schema.columns)]
    columns: list[pl.Series | pl.Expr] = []
    for name in dict.fromkeys(wanted):
        dtype = dtypes[name]
        if name not in frame.columns:
            columns.append(pl.lit(None, dtype=dtype).alias(name))
        elif frame.schema[name] == dtype:
            columns.append(_one_zero(name) if dtype.is_float() else pl.col(name))
        elif name == TIME:
            columns.append(_times(frame[name], provider))
        else:
            columns.append(_cast_column(frame[name], dtype, provider))
    for name, cast in zip(provider.key, columns, strict=False):
        column = cast if isinstance(cast, pl.Series) else frame[name]
        if count := column.null_count():
            rows = frame.with_row_index("row").filter(column.is_null())
            raise SchemaError(
                f"provider {provider.name!r}: key column {name!r} is null in {count} of {frame.height} row(s); "
                f"first: {_shown(rows, ['row', *provider.key])}; drop or mend them"
            )
    return (
        frame.lazy()
        .select(columns)
        .with_columns(
            pl.when(pl.col(name) != pl.lit(sentinel)).then(name).alias(name)
            for name, sentinel in provider.schema.unobserved.items()
        )
    )


def _one_zero(name: str) -> pl.Expr:
    """NaN is how pandas says null; and -0.0 equals 0.0, so only one of them may be stored."""
    value = pl.col(name)
    return pl.when(value == 0).then(value.abs()).when(value.is_not_nan()).then(value).alias(name)


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
            f"provider {provider.name!r}: {int(bad.sum())} value(s) of column {column.name!r} are no {dtype}; "
            f"first: {', '.join(map(repr, examples))}; nothing was written"
        )
    return cast.to_frame().select(_one_zero(cast.name)).to_series() if dtype.is_float() else cast


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
            f"provider {provider.name!r}: column {TIME!r} has dtype {dtype}; give datetimes or ISO 8601 text"
        )
    text = column.str.strip_chars().str.replace("T", " ", literal=True).str.replace(r"Z$", "+00:00")
    utc = pl.Datetime("us", "UTC")
    zoned = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
    naive = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False).dt.replace_time_zone("UTC")
    short = text.str.to_datetime("%Y-%m-%d %H:%M", time_unit="us", strict=False).dt.replace_time_zone("UTC")
    parsed = zoned.cast(utc).zip_with(zoned.is_not_null(), naive.zip_with(naive.is_not_null(), short))
    bad = parsed.is_null() & column.is_not_null()
    if bad.any():
        raise SchemaError(
            f"provider {provider.name!r}: {int(bad.sum())} value(s) of column {TIME!r} are no times; first: "
            f"{', '.join(map(repr, column.filter(bad).head(_SHOWN).to_list()))}; write them like '2026-01-23 14:20:00' (UTC)"
        )
    return parsed.alias(column.name)


def _check_times(frame: pl.DataFrame, provider: Provider, slot: Slot) -> None:
    times = frame[TIME]
    low, high = times.min(), times.max()
    if not times.null_count() and (low is None or (slot.start <= low and high < slot.end)):  # type: ignore[operator]
        return
    start, end = (pl.lit(t).cast(pl.Datetime("us", "UTC")) for t in (slot.start, slot.end))
    outside = frame.filter(pl.col(TIME).is_null() | ~pl.col(TIME).is_between(start, end, closed="left"))
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
        "(" + ", ".join(f"{k}={iso(v) if isinstance(v, datetime) else v!r}" for k, v in row.items()) + ")"
        for row in rows
    )
