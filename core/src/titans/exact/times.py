"""Columns of times as UTC in microseconds, whatever they come in."""

from __future__ import annotations

import polars as pl

from titans.exact.texts import FIRST_DAY, LAST_DAY, texts

__all__ = ["UTC_TIME", "moments"]

UTC_TIME = pl.Datetime("us", "UTC")

_DAY = {"ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}


def moments(series: pl.Series) -> pl.Series:
    """A column of times; null where it is null, or says no time of the years 1 to 9999.

    Datetimes without a timezone are UTC. Nanoseconds are left out, as Python does it: a time is
    the microsecond that it lies in. Text is ISO 8601 with a date and a time of day.
    """
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime):
        return _in_micros(series)
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Object):
        return _parsed(texts(series)).alias(series.name)
    return pl.Series(series.name, [None], dtype=UTC_TIME).new_from_index(0, len(series))


def _in_micros(series: pl.Series) -> pl.Series:
    dtype = series.dtype
    unit: str = dtype.time_unit  # type: ignore[attr-defined]
    if unit != "ns":
        first, last = FIRST_DAY * _DAY[unit], (LAST_DAY + 1) * _DAY[unit]
        physical = series.to_physical()
        low, high = physical.min(), physical.max()
        if low is not None and not (first <= low and high < last):  # type: ignore[operator]
            series = series.set(~physical.is_between(first, last, closed="left"), None)
    if series.dtype == UTC_TIME:
        return series

    micros = series.to_physical()
    if unit == "ns":
        micros = micros // 1000
    elif unit == "ms":
        micros = micros * 1000
    # With a timezone or without, what is stored is the time in UTC.
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _parsed(column: pl.Series) -> pl.Series:
    """Text as UTC times; null where it is no time."""
    text = column.str.strip_chars().str.replace("T", " ", literal=True).str.replace(r"Z$", "+00:00")

    zoned = text.str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False
    )
    with_seconds = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    to_minutes = text.str.to_datetime("%Y-%m-%d %H:%M", time_unit="us", strict=False)

    naive = with_seconds.zip_with(with_seconds.is_not_null(), to_minutes)
    naive_utc = naive.dt.replace_time_zone("UTC")
    return _in_micros(zoned.cast(UTC_TIME).zip_with(zoned.is_not_null(), naive_utc))
