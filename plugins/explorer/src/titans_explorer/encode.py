"""Frames for a page (JSON) and for a file (CSV, Parquet)."""

from __future__ import annotations

import json
from datetime import datetime
from io import BytesIO
from typing import Any

import polars as pl

from titans.errors import InputError

__all__ = ["FORMATS", "as_file", "kind_of", "millis", "ms", "rows", "table"]

FORMATS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_EXACT = 2**53
"""Integers beyond that are text in JSON, because a page would round them."""


def kind_of(dtype: pl.DataType) -> str:
    """What a page does with a column: `number`, `time`, `boolean` or `text`."""
    if dtype.is_numeric():
        return "number"
    if dtype in (pl.Date, pl.Datetime):
        return "time"
    return "boolean" if dtype == pl.Boolean else "text"


def millis(frame: pl.DataFrame, column: str) -> list[int | None]:
    """The times of a column, in milliseconds since 1970."""
    return frame[column].dt.epoch("ms").to_list()


def ms(moment: datetime) -> int:
    """A time in milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def table(frame: pl.DataFrame) -> dict[str, Any]:
    """Columns with what they are, and rows."""
    columns = [
        {"name": name, "dtype": str(dtype), "kind": kind_of(dtype)}
        for name, dtype in frame.schema.items()
    ]
    return {"columns": columns, "rows": rows(frame)}


def rows(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Rows as JSON has them: times are ISO 8601 text, what JSON cannot hold exactly is text."""
    return frame.select([_plain(column) for column in frame]).rows()


def _plain(column: pl.Series) -> pl.Series:
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        return _time_text(column)
    if dtype == pl.Binary:
        return column.bin.encode("hex")
    if dtype.is_float():
        numbers = column.cast(pl.Float64)
        if numbers.is_finite().all():
            return numbers
        return pl.Series(column.name, [_number(each) for each in numbers], dtype=pl.Object)
    if dtype.is_integer():
        is_exact = (column.cast(pl.Int128).abs() <= _EXACT).all()
        return column if is_exact else column.cast(pl.String)
    if dtype in (pl.String, pl.Boolean, pl.Null):
        return column
    if dtype.is_nested():
        texts = [None if v is None else json.dumps(v, default=str) for v in column.to_list()]
        return pl.Series(column.name, texts, dtype=pl.String)
    return column.cast(pl.String)


def _number(value: float | None) -> float | str | None:
    if value is None or value - value == 0:
        return value
    return str(value)


def _time_text(column: pl.Series) -> pl.Series:
    text = column.dt.to_string("%Y-%m-%dT%H:%M:%S%.f").str.replace(r"\.0+$", "")
    return text + "Z" if getattr(column.dtype, "time_zone", None) else text


def as_file(frame: pl.DataFrame, form: str) -> bytes:
    """The whole frame in one of `FORMATS`. Nothing is rounded; in CSV bytes are hexadecimal digits,
    lists and structs JSON.

    Raises:
        InputError: there is no such format.
    """
    if form not in FORMATS:
        raise InputError(f"no format {form!r}; there are {', '.join(FORMATS)}")
    buffer = BytesIO()
    if form == "parquet":
        frame.write_parquet(buffer, compression="zstd")
    else:
        for column in frame:
            if column.dtype == pl.Binary or column.dtype.is_nested():
                frame = frame.with_columns(_plain(column))
        frame.write_csv(buffer)
    return buffer.getvalue()
