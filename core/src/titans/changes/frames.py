"""Frames as callers have them → polars. pandas is never imported here: a caller who has a pandas
frame has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from titans.dtypes import DTYPES
from titans.errors import InputError
from titans.exact.convert import convert
from titans.exact.texts import is_missing, text_of
from titans.exact.times import moments
from titans.schema import TIME

__all__ = [
    "from_pandas_column",
    "instant",
    "is_pandas",
    "is_small",
    "microseconds",
    "to_polars",
    "together",
]

_SMALL = 20_000
"""Rows."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_small(frame: pl.DataFrame) -> bool:
    """Whether one thread is faster than several, which have to be woken first: so it is with the
    rows of most slots.
    """
    return frame.height <= _SMALL


def instant(time: datetime) -> pl.Expr:
    """`time`, which has a timezone, as a literal; `pl.lit` takes twenty times as long to make one
    of a datetime.
    """
    return pl.lit(microseconds(time), dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def microseconds(time: datetime) -> int:
    """Since 1970; `time` has a timezone."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def is_pandas(frame: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(frame, pandas.DataFrame)


def to_polars(frame: Any) -> pl.DataFrame:
    """A polars, pandas or Arrow (PyCapsule) frame as a polars frame, rows in the same order. An
    iterator of such frames, or a list of them, is one frame in parts. Everything is read once.

    pandas is converted column by column, without a Python object per row; NaN, NaT, None and NA
    become null. The index is not looked at.

    Raises:
        InputError: it is none of these, has two columns of the same name, parts of different
            columns, or numbers that no dtype of polars has.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return _collected(frame)
    if is_pandas(frame):
        return _from_pandas(frame)
    if hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__arrow_c_array__"):
        return _from_arrow(frame)
    if isinstance(frame, Iterator) or (isinstance(frame, list | tuple) and _are_frames(frame)):
        return _from_parts(frame)
    raise InputError(
        f"not a frame: {type(frame).__module__}.{type(frame).__qualname__}; "
        "pass polars, pandas, anything with the Arrow PyCapsule interface (__arrow_c_stream__), "
        "or an iterator of these"
    )


def _are_frames(parts: Sequence[Any]) -> bool:
    plain = (dict, list, tuple, str, bytes, int, float)
    return len(parts) > 0 and not any(isinstance(part, plain) or part is None for part in parts)


def _collected(frame: pl.LazyFrame) -> pl.DataFrame:
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"the LazyFrame cannot be collected: {error}") from error


def _from_arrow(frame: Any) -> pl.DataFrame:
    try:
        return pl.DataFrame(frame)
    except pl.exceptions.DuplicateError as error:
        raise InputError(
            "the frame has several columns of one name; rename or drop them"
        ) from error
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise InputError(f"the Arrow data cannot be read as a frame: {error}") from error


def _from_parts(parts: Iterable[Any]) -> pl.DataFrame:
    frames = [to_polars(part) for part in parts]
    for number, frame in enumerate(frames):
        if set(frame.columns) != set(frames[0].columns):
            raise InputError(
                f"part {number} of the frame has the columns {', '.join(frame.columns)}, the first "
                f"has {', '.join(frames[0].columns)}; give all parts the same columns"
            )
    return together(frames)


def together(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all frames, with the columns of any; what a frame lacks is null in its rows.

    A column keeps its dtype where all agree. Otherwise it has the first dtype of a frame in which
    no value is another, else it is text (`titans.exact.texts`).

    Raises:
        InputError: values of one column have different dtypes, and some have no text.
    """
    names = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    columns = []
    for name in names:
        parts = []
        for frame in frames:
            if name in frame.columns:
                parts.append(frame[name])
            else:
                parts.append(pl.Series(name, [None]).new_from_index(0, frame.height))
        columns.append(_joined(parts))
    return pl.DataFrame(columns)


def _joined(parts: list[pl.Series]) -> pl.Series:
    """Columns of one name below each other."""
    dtypes = [part.dtype for part in parts if part.dtype != pl.Null]
    distinct = list(dict.fromkeys(dtypes))
    if len(distinct) < 2:
        dtype = distinct[0] if distinct else pl.Null()
        return pl.concat([_typed(part, dtype) for part in parts])

    if parts[0].name == TIME and all(isinstance(dtype, pl.Datetime) for dtype in distinct):
        return pl.concat([moments(part) for part in parts])
    # Numbers stay numbers; text that looks like one is none.
    numbers = all(dtype.is_integer() or dtype.is_float() for dtype in distinct)
    for dtype in distinct:
        if numbers and str(dtype) in DTYPES:
            done = [convert(part, str(dtype)) for part in parts]
            if all(part.bad is None for part in done):
                return pl.concat([part.values for part in done])

    done = [convert(part, "String") for part in parts]
    if any(part.bad is not None for part in done):
        raise InputError(
            f"column {parts[0].name!r} is {' and '.join(map(str, distinct))} in different frames, "
            "and cannot be one column; give it the same dtype"
        )
    return pl.concat([part.values for part in done])


def _typed(part: pl.Series, dtype: pl.DataType) -> pl.Series:
    if part.dtype == dtype:
        return part
    return pl.Series(part.name, [None], dtype=dtype).new_from_index(0, len(part))


# --- pandas ---------------------------------------------------------------------------------------


def _from_pandas(frame: Any) -> pl.DataFrame:
    names = [str(name) for name in frame.columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"the frame has several columns named {', '.join(map(repr, repeated))}; rename or "
            "drop them"
        )
    return pl.DataFrame(
        [from_pandas_column(name, frame.iloc[:, i]) for i, name in enumerate(names)]
    )


def from_pandas_column(name: str, column: Any) -> pl.Series:
    """One pandas column."""
    kind = column.dtype.kind
    if hasattr(column.dtype, "pyarrow_dtype"):
        return pl.Series(name, column.array.__arrow_array__())
    if kind == "M":
        return _times(name, column)
    if kind in "iufb":
        return _numbers(name, column)

    values = column.to_numpy(dtype=object, na_value=None).tolist()
    first = next((value for value in values if value is not None), None)
    if isinstance(first, dict | list | tuple):
        # As structs they would get each other's fields.
        return pl.Series(name, values, dtype=pl.Object)
    if not isinstance(first, str) and any(isinstance(value, Decimal) for value in values):
        # Of Decimals of different scale polars loses some, and it panics at others.
        return _mixed(name, values)
    types = set(map(type, values)) - {type(None)}
    if bool in types and len(types) > 1:
        # Polars would take true for 1.
        return _mixed(name, values)
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return _mixed(name, values)


def _mixed(name: str, values: list[Any]) -> pl.Series:
    """Values of several types, or too large for their own: as text, so that what is made of the
    column can say which one does not fit.
    """
    texts = [text_of(value) for value in values]
    for text, value in zip(texts, values, strict=True):
        if text is None and not is_missing(value):
            return pl.Series(name, values, dtype=pl.Object)
    return pl.Series(name, texts, dtype=pl.String)


def _times(name: str, column: Any) -> pl.Series:
    if getattr(column.dtype, "tz", None) is not None:
        naive = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return _times(name, naive).dt.replace_time_zone("UTC")

    if column.dt.unit == "s":  # polars has no such unit
        try:
            column = column.dt.as_unit("ms")
        except (OverflowError, ValueError) as error:
            raise InputError(f"column {name!r} has times that are out of range: {error}") from error
    return pl.Series(name, column.to_numpy())


def _numbers(name: str, column: Any) -> pl.Series:
    dtype = column.dtype
    if not type(dtype).__module__.startswith("numpy"):
        # A masked number: the values without their mask, then the mask.
        plain = {"i": "int64", "u": "uint64", "f": "float64", "b": "bool"}[dtype.kind]
        fill = False if dtype.kind == "b" else 0
        series = pl.Series(name, column.to_numpy(dtype=plain, na_value=fill))
        missing = pl.Series(column.isna().to_numpy())
        if missing.any():
            series = series.set(missing, None)
    elif dtype.itemsize > 8:
        series = pl.Series(name, _from_long_double(name, column.to_numpy()))
    else:
        series = pl.Series(name, column.to_numpy())

    if dtype.kind == "f":
        series = series.fill_nan(None)
    return series


def _from_long_double(name: str, values: Any) -> Any:
    doubles = values.astype("float64")
    changed = (doubles != values) & (values == values)
    if changed.any():
        raise InputError(
            f"column {name!r} is a long double, and {int(changed.sum())} value(s) have more digits "
            f"than a Float64; first: {values[changed][0]}; round them with astype('float64')"
        )
    return doubles
