"""Keys are text, and there is one text per value: `titans.exact.texts` is the rule."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from titans.errors import SchemaError
from titans.exact.texts import examples, texts

__all__ = ["key_texts", "with_key_texts"]


def key_texts(series: pl.Series) -> pl.Series:
    """The values of a key column as text, null where they are null or NaN.

    Raises:
        SchemaError: some have no text: lists, durations, times with nanoseconds, …
    """
    text = texts(series)
    missing = series.is_null()
    if series.dtype.is_float():
        missing |= series.is_nan()

    without = text.is_null() & ~missing
    if without.any():
        raise SchemaError(
            f"{int(without.sum())} value(s) of key column {series.name!r} ({series.dtype}) cannot "
            f"be a key; first: {examples(series, without)}; give text, numbers, booleans or dates"
        )
    return text


def with_key_texts(frame: pl.DataFrame, keys: Iterable[str]) -> pl.DataFrame:
    """`frame` with those of the columns `keys` that it has as text; the others stay.

    Raises:
        SchemaError: as `key_texts`.
    """
    columns = []
    for name in keys:
        if name in frame.columns and frame.schema[name] != pl.String:
            columns.append(key_texts(frame[name]))
    return frame.with_columns(columns) if columns else frame
