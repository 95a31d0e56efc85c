"""A content hash of rows that depends on neither their order nor their encoding.

Defined by arithmetic on 64-bit words, so that it can be checked in thirty years and without polars:

    word(null) = 0x6e756c6c6e756c6c
    word(integer, boolean, time in microseconds) = its two's complement
    word(float) = its IEEE 754 bits as a double
    word(text)  = the first 8 bytes of BLAKE2b-64 of its UTF-8, little endian
    row  = fold over the columns, from h = 0x9e3779b97f4a7c15:  h = (h xor word) *
    0xff51afd7ed558ccd;  h = h xor (h >> 32) hash = sum of the rows' h, modulo 2**64

A sum of row hashes can be added up over files and checked against their merge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import polars as pl

from titans.changes.frames import is_small

__all__ = ["add", "digest", "subtract"]

_MASK = (1 << 64) - 1
_SEED = 0x9E3779B97F4A7C15
_MULTIPLIER = 0xFF51AFD7ED558CCD
_NULL = 0x6E756C6C6E756C6C
_KNOWN = 1 << 12
"""Texts of a column that are remembered; with many more, looking them up would cost more than it
saves."""
_COLUMNS = 256


def digest(frame: pl.DataFrame, columns: Iterable[str] | None = None) -> str:
    """The hash of the rows over `columns` (all of them by default), as 16 hex digits. No rows: all
    zeros.
    """
    if not frame.height:
        return "0" * 16
    schema = frame.schema
    names = list(schema if columns is None else columns)
    tables = {
        name: _tables.get(name) or _table(name, _NO_TEXT)
        for name in names
        if schema[name] == pl.String
    }
    select = frame.select_seq if is_small(frame) else frame.select
    words = select(
        tables[name][1] if name in tables else _words(name, schema[name]) for name in names
    )
    multiplier, half = (
        pl.Series([_MULTIPLIER], dtype=pl.UInt64),
        pl.Series([1 << 32], dtype=pl.UInt64),
    )
    row = pl.Series([_SEED], dtype=pl.UInt64)
    for word in words.iter_columns():
        if word.name in tables and word.null_count():
            word = _looked_up(frame, word.name, tables[word.name])
        row = (row ^ word) * multiplier
        row = row ^ (row // half)
    return f"{int(row.sum()) & _MASK:016x}"


def add(*digests: str) -> str:
    return f"{sum(int(d, 16) for d in digests) & _MASK:016x}"


def subtract(a: str, b: str) -> str:
    return f"{(int(a, 16) - int(b, 16)) & _MASK:016x}"


@lru_cache
def _words(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_float():
        words = column.cast(pl.Float64).reinterpret(dtype=pl.UInt64)
    elif dtype == pl.UInt64:
        words = column
    else:
        words = column.cast(pl.Int64).reinterpret(dtype=pl.UInt64)
    return words.fill_null(pl.lit(_NULL, dtype=pl.UInt64))


_Table = tuple[pl.Series, pl.Expr]
"""Texts, and a column's words where it has these."""

_NO_TEXT = pl.Series([], dtype=pl.String)

_tables: dict[str, _Table] = {}
"""Of each column the texts that were met last, for the next frame will have the same ones."""


def _table(name: str, texts: pl.Series) -> _Table:
    """Its words are null where the text is null, or not in the table."""
    words = pl.Series([_text(text) for text in texts], dtype=pl.UInt64)
    at = pl.col(name).cast(pl.Enum(texts), strict=False).to_physical()
    return texts, pl.lit(words).gather(at).alias(name)


def _looked_up(frame: pl.DataFrame, name: str, known: _Table) -> pl.Series:
    """The words of a text column that has some that are not `known`, or nulls; they are known from
    now on.
    """
    texts, distinct = known[0], frame[name].unique().drop_nulls()
    if not (new := distinct.filter(~distinct.is_in(texts.implode()))).is_empty():
        texts = pl.concat([texts, new]) if texts.len() + new.len() <= _KNOWN else distinct
        known = _table(name, texts)
        if texts.len() <= _KNOWN:
            if len(_tables) >= _COLUMNS:
                _tables.clear()
            _tables[name] = known
    words = frame.select(known[1]).to_series()
    return words.fill_null(pl.lit(_NULL, dtype=pl.UInt64))


@lru_cache(maxsize=1 << 16)
def _text(value: str) -> int:
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "little")
