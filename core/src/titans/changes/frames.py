"""Frames as callers have them → polars. pandas is never imported here: a caller who has a pandas
frame has imported it.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from titans.errors import InputError
from titans.exact.texts import is_missing, text_of

__all__ = ["instant", "is_pandas", "is_small", "to_polars"]

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
    microseconds = (time - _EPOCH) // timedelta(microseconds=1)
    return pl.lit(microseconds, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def is_pandas(frame: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(frame, pandas.DataFrame)


def to_polars(frame: Any) -> pl.DataFrame:
    """A polars, pandas or Arrow (PyCapsule) frame as a polars frame, rows in the same order.

    pandas is converted column by column, without pyarrow and without a Python object per row; NaN,
    NaT, None and NA become null. The index is not looked at.

    Raises:
        InputError: it is none of these, or has two columns of the same name.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if is_pandas(frame):
        return _from_pandas(frame)
    if hasattr(frame, "__arrow_c_stream__"):
        return pl.DataFrame(frame)
    raise InputError(
        f"not a frame: {type(frame).__module__}.{type(frame).__qualname__}; "
        "pass polars, pandas, or anything with the Arrow PyCapsule interface (__arrow_c_stream__)"
    )


def _from_pandas(frame: Any) -> pl.DataFrame:
    names = [str(name) for name in frame.columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"the frame has several columns named {', '.join(map(repr, repeated))}; rename or "
            "drop them"
        )
    return pl.DataFrame([_series(name, frame.iloc[:, i]) for i, name in enumerate(names)])


def _series(name: str, column: Any) -> pl.Series:
    """One pandas column."""
    kind = column.dtype.kind
    if kind == "M":
        return _times(name, column)
    if kind in "iufb":
        return _numbers(name, column)

    values = column.to_numpy(dtype=object, na_value=None).tolist()
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
    if getattr(column.dtype, "tz", None) is None:
        return pl.Series(name, column.to_numpy(dtype="datetime64[us]"))

    naive = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return _times(name, naive).dt.replace_time_zone("UTC")


def _numbers(name: str, column: Any) -> pl.Series:
    dtype = column.dtype
    if type(dtype).__module__.startswith("numpy"):
        series = pl.Series(name, column.to_numpy())
    else:
        # A masked or Arrow-backed number: the values without their mask, then the mask.
        plain = {"i": "int64", "u": "uint64", "f": "float64", "b": "bool"}[dtype.kind]
        series = pl.Series(name, column.to_numpy(dtype=plain, na_value=0))
        missing = pl.Series(column.isna().to_numpy())
        if missing.any():
            series = series.set(missing, None)

    if dtype.kind == "f":
        series = series.fill_nan(None)
    return series
