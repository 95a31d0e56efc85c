"""One text per value, whatever dtype it comes in. This is how key columns are stored.

    text, category       as it is: `007` and `7` are two texts
    integer              decimal: `7`
    float                a whole number like the integer (`7.0` → `7`, `-0.0` → `0`), others with
                         the fewest digits that give the number back, without an exponent: `0.1`
    decimal number       without trailing zeros: `1.10` → `1.1`, `100.00` → `100`
    boolean              `true`, `false`
    date, time of day    ISO 8601: `2026-01-23`, `14:20:00`
    date with time       ISO 8601 in UTC, to the microsecond: `2026-01-23T14:20:00Z`
    bytes                the text whose UTF-8 they are

A `Float32` is the number that it is, which `0.1` is not: it has the text of the `Float64` that
equals it. NaN, like null, is no value and has no text. Durations, lists and structs have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import polars as pl

__all__ = ["each", "examples", "is_missing", "text_of", "texts"]

_DAY = 86_400
_FIRST = -719_162 * _DAY
"""0001-01-01 in seconds since 1970."""
_LAST = 2_932_897 * _DAY - 1
"""The last second of 9999."""
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}

_LONG = 1000
"""Decimal places of a number that are written out."""


def texts(series: pl.Series) -> pl.Series:
    """The text of every value, null where there is none: for null, NaN, and what cannot be text."""
    dtype = series.dtype
    if dtype == pl.String:
        return series
    if dtype.is_float():
        return _float_texts(series.cast(pl.Float64).fill_nan(None))
    if isinstance(dtype, pl.Decimal):
        return _decimal_texts(series)
    if dtype.is_integer() or dtype in (pl.Boolean, pl.Categorical, pl.Enum, pl.Null):
        return series.cast(pl.String)

    if dtype == pl.Date:
        outside = ~series.to_physical().is_between(_FIRST // _DAY, _LAST // _DAY)
        return series.set(outside, None).cast(pl.String)
    if isinstance(dtype, pl.Datetime):
        return each(series.set(~_has_micros(series), None), text_of)
    if dtype == pl.Time:
        whole = series.cast(pl.Int64) % 1000 == 0
        return each(series.set(~whole, None), text_of)
    if dtype in (pl.Binary, pl.Object):
        return each(series, text_of)
    return pl.Series(series.name, [None] * len(series), dtype=pl.String)


def each(series: pl.Series, convert: Callable[[Any], str | None]) -> pl.Series:
    """`convert` of every value that is not null; equal ones of a type are converted once."""
    known = dict[tuple[type, Any], str | None]()
    result = list[str | None]()
    for value in series.to_list():
        same = (type(value), value)
        try:
            if same not in known:
                known[same] = None if value is None else convert(value)
            result.append(known[same])
        except TypeError:  # a value without a hash
            result.append(convert(value))
    return pl.Series(series.name, result, dtype=pl.String)


def text_of(value: Any) -> str | None:
    """The text of one value as Python, NumPy and pandas have it, `None` where there is none."""
    text: str | None = None
    if isinstance(value, str):
        text = str(value)
    elif is_missing(value):
        text = None
    elif isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        text = "true" if value else "false"
    elif isinstance(value, Integral):
        text = str(int(value))
    elif isinstance(value, Real):
        text = _float_text(value)
    elif isinstance(value, Decimal):
        text = _decimal_text(value)
    elif isinstance(value, datetime):
        text = _datetime_text(value)
    elif isinstance(value, date):
        text = value.isoformat()
    elif isinstance(value, time):
        text = value.isoformat() if value.tzinfo is None else None
    elif isinstance(value, bytes):
        text = _decoded(value)
    return text


def is_missing(value: Any) -> bool:
    """Whether a value means null: `None`, NaN, `NaT`, `NA`."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, Real) and bool(value != value)


def _float_text(value: Real) -> str | None:
    number = float(value)
    if number != value:
        return None  # more digits than a Float64 has
    if math.isinf(number):
        return str(number)
    if number.is_integer():
        return str(int(number))
    return format(Decimal(repr(number)), "f")


def _decimal_text(value: Decimal) -> str | None:
    if not value.is_finite():
        return str(float(value))
    if not value:
        return "0"
    if abs(value.adjusted()) > _LONG:
        return None
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def _datetime_text(value: datetime) -> str | None:
    if getattr(value, "nanosecond", 0):
        return None
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _float_texts(series: pl.Series) -> pl.Series:
    """Of a `Float64`. Whole numbers, which most keys are, need no Python."""
    whole = series.cast(pl.Int64, strict=False)
    if whole.null_count() == series.null_count() and (whole.cast(pl.Float64) == series).all():
        return whole.cast(pl.String)
    return each(series, text_of)


def _decimal_texts(series: pl.Series) -> pl.Series:
    text = series.cast(pl.String)
    if series.dtype.scale:  # type: ignore[attr-defined]
        text = text.str.replace(r"\.?0+$", "")
    return text


def _has_micros(series: pl.Series) -> pl.Series:
    """Whether times are of Python's calendar, and of whole microseconds."""
    physical = series.to_physical()
    per_second = _PER_SECOND[series.dtype.time_unit]  # type: ignore[attr-defined]
    if per_second == 10**9:
        return physical % 1000 == 0  # the years 1677 to 2262
    return physical.is_between(_FIRST * per_second, _LAST * per_second + per_second - 1)


def examples(series: pl.Series, chosen: pl.Series, count: int = 3) -> str:
    """The first of the chosen values, for a message."""
    values = series.filter(chosen).head(count)
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_unit == "ns":
        return ", ".join(values.cast(pl.String).to_list())
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        # Python cannot name years beyond 9999.
        return ", ".join(text or "a time out of range" for text in texts(values))
    return ", ".join(map(repr, values.to_list()))
