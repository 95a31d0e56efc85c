"""A column in another dtype, as `titans.exact.table` says, and the values that do not fit."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from typing import Any

import polars as pl
from attrs import frozen

from titans.dtypes import MOST_DIGITS, polars_dtype
from titans.exact.json import BAD, canonical
from titans.exact.table import ALWAYS, NEVER, bounds, rule
from titans.exact.texts import FIRST_DAY, LAST_DAY, examples, is_missing, texts
from titans.exact.times import UTC_TIME, moments
from titans.schema import CEASED, TIME

__all__ = ["Converted", "convert", "convert_stored", "equals", "literal_of"]

_WHOLE_DAY = {"ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SURE = {"Float64": (15, 1e-300), "Float32": (6, 1e-30)}
"""Any number of so many digits, and greater than that, can be had back from its nearest float."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?", re.ASCII)
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.]\d{1,6}0*)?)?(Z|[+-]\d{2}:?\d{2})", re.ASCII
)
_BOOLEANS = {"true": True, "false": False}
_NO_NUMBERS = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}
_NO_NUMBERS |= {f"-{name}": -value for name, value in _NO_NUMBERS.items()}

_EXACT = Context(prec=100_000)
_LARGE = 10_000
"""An exponent that no dtype has."""


@frozen(eq=False)
class Converted:
    """A column in another dtype."""

    given: pl.Series
    values: pl.Series
    """Null where the given value is null or NaN, or does not fit."""
    bad: pl.Series | None = None
    """Where it does not; `None`: nowhere."""

    def examples(self) -> str:
        """The first values that do not fit, for a message."""
        return "" if self.bad is None else examples(self.given, self.bad)


def convert(series: pl.Series, column: str) -> Converted:
    """`series` in the dtype of a column (a name of `titans.dtypes`); no value is changed.

    NaN becomes null on its way to anything but a float. Text is read as what it says: numbers,
    `true` and `false` in any case, ISO 8601 dates, and times with their offset.
    """
    if column == "Json":
        return _as_json(series)
    given, dtype = series.dtype, polars_dtype(column)
    if given == dtype and dtype not in (pl.Date, UTC_TIME):
        return Converted(series, series)

    plain = series.fill_nan(None) if given.is_float() else series
    kind = rule(str(given.base_type()), column)
    if kind == NEVER:
        nothing = pl.Series(series.name, [None], dtype=dtype).new_from_index(0, len(series))
        return _checked(series, nothing)
    if dtype == pl.String:
        return _checked(series, texts(series))
    if dtype == pl.Binary:
        return _checked(series, _bytes(series))
    if dtype == UTC_TIME:
        return _checked(series, _datetimes(series))
    if given == pl.Date:
        days = series.to_physical()
        return _checked(series, series.set(~days.is_between(FIRST_DAY, LAST_DAY), None))
    if kind == ALWAYS:
        return Converted(series, plain.cast(dtype))
    if isinstance(dtype, pl.Decimal):
        return _checked(series, _decimals(plain, dtype))
    if given.is_integer() or given.is_float():
        return _checked(series, _numbers(plain, dtype))
    if isinstance(given, pl.Datetime):
        return _checked(series, _midnights(plain))
    return _checked(series, _read(texts(series), dtype))


def convert_stored(series: pl.Series, columns: Mapping[str, str]) -> Converted:
    """As `convert`, for a stored column by its name: a value column (name → dtype in `columns`),
    `Time`, of which nanoseconds are left out (`titans.exact.times`), `Ceased`, or of the key.
    """
    if series.name == TIME:
        return _checked(series, moments(series))
    if series.name == CEASED:
        return convert(series, "Boolean")
    return convert(series, columns.get(series.name, "String"))


def _as_json(series: pl.Series) -> Converted:
    found = canonical(series)
    values = pl.Series(series.name, [None if t == BAD else t for t in found], dtype=pl.String)
    if BAD not in found:
        return Converted(series, values)
    return Converted(series, values, pl.Series([text == BAD for text in found]))


def _checked(given: pl.Series, values: pl.Series) -> Converted:
    """With what is bad: what is null, and should not be."""
    missing = given.is_null()
    if given.dtype.is_float():
        missing |= given.is_nan()
    if given.dtype == pl.Object:
        missing = pl.Series([is_missing(value) for value in given.to_list()], dtype=pl.Boolean)

    if values.null_count() == missing.sum():
        return Converted(given, values)
    return Converted(given, values, values.is_null() & ~missing)


def _numbers(numbers: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Those that survive the way there and back."""
    there = numbers.cast(dtype, strict=False)
    same = there.cast(numbers.dtype, strict=False) == numbers
    if same.all(ignore_nulls=True) and same.null_count() == numbers.null_count():
        return there
    return there.set(~same.fill_null(value=False), None)


def _bytes(series: pl.Series) -> pl.Series:
    """Bytes as they are, and the UTF-8 of texts."""
    if series.dtype != pl.Object:
        return series.cast(pl.String).cast(pl.Binary)
    values = []
    for value in series.to_list():
        if isinstance(value, str):
            value = _utf8(value)
        values.append(bytes(value) if isinstance(value, bytes | bytearray) else None)
    return pl.Series(series.name, values, dtype=pl.Binary)


def _utf8(text: str) -> bytes | None:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None


def _decimals(numbers: pl.Series, dtype: pl.Decimal) -> pl.Series:
    """Those that have no more digits than the dtype; a float is the number that its shortest text
    says.
    """
    digits, behind = dtype.precision or MOST_DIGITS, dtype.scale
    if numbers.dtype == pl.Boolean:
        numbers = numbers.cast(pl.Int8)

    def read(text: str) -> Decimal | None:
        number = number_of(text)
        if number is None or (number and number.adjusted() >= digits - behind):
            return None
        fitting = number.quantize(Decimal(1).scaleb(-behind), context=_EXACT)
        return fitting if fitting == number else None

    return _each(texts(numbers), dtype, read)


def _datetimes(series: pl.Series) -> pl.Series:
    """Times that are whole microseconds. Text has to say its offset."""
    if isinstance(series.dtype, pl.Datetime):
        if series.dtype.time_unit == "ns":
            series = series.set(series.to_physical() % 1000 != 0, None)
        return moments(series)
    return _each(texts(series), UTC_TIME, _datetime)


def _datetime(text: str) -> datetime | None:
    if _INSTANT.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _midnights(times: pl.Series) -> pl.Series:
    """The dates of times that are midnight, UTC."""
    day = _WHOLE_DAY[times.dtype.time_unit]  # type: ignore[attr-defined]
    physical = times.to_physical()
    days = physical // day
    fitting = (physical % day == 0) & days.is_between(FIRST_DAY, LAST_DAY)
    return days.set(~fitting, None).cast(pl.Int32).cast(pl.Date)


# --- text -----------------------------------------------------------------------------------------


def _read(text: pl.Series, dtype: pl.DataType) -> pl.Series:
    """What text says, null where it says no such value."""
    if dtype == pl.Boolean:
        return _each(text, dtype, _boolean)
    if dtype == pl.Date:
        return _each(text, dtype, _date)
    quick = text.cast(dtype, strict=False)
    if dtype.is_integer():
        # What polars cannot read may still be whole: 7.0.
        return _filled(quick, text, _whole)

    digits, least = _SURE[str(dtype)]
    size = quick.abs()
    sure = (text.str.len_bytes() <= digits) & (size > least) & (size < math.inf)
    as_dtype = _single if dtype == pl.Float32 else float
    if not sure.all(ignore_nulls=True):
        quick = quick.set(~sure, None)
    return _filled(quick, text, lambda value: _nearest(value, as_dtype))


def _filled(quick: pl.Series, text: pl.Series, read: Callable[[str], Any]) -> pl.Series:
    """`quick`, with what `read` makes of texts for which it has nothing."""
    if quick.null_count() == text.null_count():
        return quick
    rest = text.set(quick.is_not_null(), None)
    slow = _each(rest, quick.dtype, read)
    return quick.zip_with(quick.is_not_null(), slow)


def _each(text: pl.Series, dtype: pl.DataType, read: Callable[[str], Any]) -> pl.Series:
    """What `read` makes of each text, null where that is no value of the dtype."""
    distinct = text.unique().drop_nulls()
    values = [read(value.strip()) for value in distinct.to_list()]
    if dtype.is_integer():
        lowest, highest = bounds(str(dtype))
        values = [v if v is not None and lowest <= v <= highest else None for v in values]
    made = pl.Series(values, dtype=dtype)
    return text.replace_strict(distinct, made, default=None, return_dtype=dtype)


def number_of(text: str) -> Decimal | None:
    """The number that a text is, without rounding; `None` where it is none."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = Decimal(text)
    if number and abs(number.adjusted()) > _LARGE:
        return None
    return number


def _whole(text: str) -> int | None:
    number = number_of(text)
    if number is None or number != number.to_integral_value():
        return None
    return int(number)


def _boolean(text: str) -> bool | None:
    known = _BOOLEANS.get(text.lower())
    if known is not None:
        return known
    number = number_of(text)
    return bool(number) if number in (0, 1) else None


def _date(text: str) -> date | None:
    if _DATE.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment.date() if moment.time() == time() else None


def _nearest(text: str, as_dtype: Callable[[str], float]) -> float | None:
    """The float nearest to a decimal number, if with as many digits it is the same number again."""
    number = number_of(text)
    if number is None:
        return _NO_NUMBERS.get(text.lower().lstrip("+"))
    nearest = as_dtype(text)
    if math.isinf(nearest):
        return None
    digits = len(number.normalize(_EXACT).as_tuple().digits)
    again = Context(prec=digits).plus(Decimal(nearest))
    return nearest if again == number else None


def _single(text: str) -> float:
    """The nearest `Float32`."""
    try:
        number: float = struct.unpack("f", struct.pack("f", float(text)))[0]
    except OverflowError:
        return math.inf
    return number


# --- numbers that mean something ------------------------------------------------------------------


def equals(series: pl.Series, number: float) -> pl.Series:
    """Which values of a column are this very number, whatever dtype they come in."""
    dtype = series.dtype
    if dtype.is_numeric() and not isinstance(dtype, pl.Decimal):
        same = literal_of(number, dtype)
        if same is None:
            return pl.repeat(False, len(series), eager=True)
        return (series == pl.Series([same], dtype=dtype)).fill_null(value=False)

    wanted = Decimal(repr(number))
    numbers = texts(series)
    return _each(numbers, pl.Boolean(), lambda text: number_of(text) == wanted).fill_null(
        value=False
    )


def _decimal_literal(number: float, dtype: pl.Decimal) -> Decimal | None:
    value: Decimal | None = _decimals(pl.Series([repr(number)]), dtype)[0]
    return value


def literal_of(number: float, dtype: pl.DataType) -> float | Decimal | None:
    """A number as a value of a numeric dtype, `None` where no value of it equals the number.

    In a float dtype it is the nearest one: what that dtype has for it.
    """
    if dtype.is_float():
        return float(number)
    if isinstance(dtype, pl.Decimal):
        return _decimal_literal(number, dtype)
    if not math.isfinite(number) or number != int(number):
        return None
    lowest, highest = bounds(str(dtype))
    return int(number) if lowest <= number <= highest else None
