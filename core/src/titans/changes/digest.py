"""A content hash of rows that depends on neither their order nor their encoding.

Defined by arithmetic on 64-bit words, so that it can be checked in thirty years and without polars:

    word(null) = 0x6e756c6c6e756c6c
    word(integer, boolean, time in microseconds) = its two's complement
    word(float) = its IEEE 754 bits as a double
    word(text)  = the first 8 bytes of BLAKE2b-64 of its UTF-8, little endian
    word(decimal number) = that of its text without trailing zeros: `1.1`
    word(bytes) = that of their lower-case hexadecimal digits
    row  = fold over the columns, from h = 0x9e3779b97f4a7c15:
           h = (h xor word) * 0xff51afd7ed558ccd;  h = h xor (h >> 32)
    hash = sum of the rows' h, modulo 2**64

A sum of row hashes can be added up over files and checked against their merge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import polars as pl

from titans.changes.frames import is_small
from titans.exact.texts import texts

__all__ = ["add", "digest", "row_hashes", "subtract"]

_MASK = (1 << 64) - 1
_SEED = 0x9E3779B97F4A7C15
_MULTIPLIER = 0xFF51AFD7ED558CCD
_NULL = 0x6E756C6C6E756C6C
_KNOWN = 1 << 12
"""Texts of a column that are remembered; with many more, looking them up would cost more than it
saves."""
_COLUMNS = 256
"""Columns of which texts are remembered."""


def digest(frame: pl.DataFrame, columns: Iterable[str] | None = None) -> str:
    """The hash of the rows over `columns` (all of them by default), as 16 hex digits. No rows: all
    zeros.
    """
    if not frame.height:
        return "0" * 16
    return f"{int(row_hashes(frame, columns).sum()) & _MASK:016x}"


def row_hashes(frame: pl.DataFrame, columns: Iterable[str] | None = None) -> pl.Series:
    """The h of each row, as unsigned 64-bit integers; what `digest` adds up."""
    names = list(frame.columns if columns is None else columns)
    schema = frame.schema
    others = [name for name in names if _has_text(schema[name])]
    if others:
        frame = frame.with_columns(_as_text(frame[name]) for name in others)
        schema = frame.schema

    # Read once: another thread may put another table in its place meanwhile.
    tables = dict[str, _Table]()
    expressions = []
    for name in names:
        if schema[name] == pl.String:
            tables[name] = _tables.get(name) or _table(name, _NO_TEXT)
            expressions.append(tables[name][1])
        else:
            expressions.append(_words(name, schema[name]))

    select = frame.select_seq if is_small(frame) else frame.select
    words = select(expressions)

    multiplier = pl.Series([_MULTIPLIER], dtype=pl.UInt64)
    half = pl.Series([1 << 32], dtype=pl.UInt64)
    row = pl.Series([_SEED], dtype=pl.UInt64)
    for word in words.iter_columns():
        if word.name in tables and word.null_count():
            word = _text_words(frame, word.name, tables[word.name])
        row = (row ^ word) * multiplier
        row = row ^ (row // half)
    return row


def add(*digests: str) -> str:
    return f"{sum(int(d, 16) for d in digests) & _MASK:016x}"


def subtract(a: str, b: str) -> str:
    return f"{(int(a, 16) - int(b, 16)) & _MASK:016x}"


def _has_text(dtype: pl.DataType) -> bool:
    """Whether the word of a value is that of a text."""
    return dtype.is_decimal() or dtype == pl.Binary


def _as_text(column: pl.Series) -> pl.Series:
    """The text whose word is that of the value."""
    if column.dtype == pl.Binary:
        return column.bin.encode("hex")
    return texts(column)


@lru_cache
def _words(name: str, dtype: pl.DataType) -> pl.Expr:
    """The words of a column that is no text.

    At most 128 expressions are kept, and none goes stale: each depends on the arguments alone.
    Threads and forks may share them, for an expression never changes.
    """
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
"""Of each column the texts that were met last, for the next frame will have the same ones.

Bounded by `_COLUMNS` tables of `_KNOWN` texts; all are dropped when there is one column too many. A
table is never wrong, whatever provider or archive has a column of the name: its words depend on the
texts alone, and a text that is not in it is looked up. So nothing has to invalidate it.

Threads share it without a lock. A table never changes once it is made, and getting or setting one
is a single step of the dict. Threads that set the same one, or clear all, only make each other look
texts up again; with many at once there may be a few tables more than `_COLUMNS`. A fork has a copy
of its own.
"""


def _table(name: str, texts: pl.Series) -> _Table:
    """Its words are null where the text is null, or not in the table."""
    words = pl.Series([_word(text) for text in texts], dtype=pl.UInt64)
    position = pl.col(name).cast(pl.Enum(texts), strict=False).to_physical()
    return texts, pl.lit(words).gather(position).alias(name)


def _text_words(frame: pl.DataFrame, name: str, table: _Table) -> pl.Series:
    """The words of a text column that has nulls, or texts that are not in `table`.

    The table that is kept for the column has these texts from now on.
    """
    known = table[0]
    distinct = frame[name].unique().drop_nulls()
    new = distinct.filter(~distinct.is_in(known.implode()))

    if not new.is_empty():
        texts = distinct
        if known.len() + new.len() <= _KNOWN:
            texts = pl.concat([known, new])
        table = _table(name, texts)
        _keep(name, table)

    words = frame.select(table[1]).to_series()
    return words.fill_null(pl.lit(_NULL, dtype=pl.UInt64))


def _keep(name: str, table: _Table) -> None:
    if table[0].len() > _KNOWN:
        return
    if len(_tables) >= _COLUMNS:
        _tables.clear()
    _tables[name] = table


@lru_cache(maxsize=1 << 16)
def _word(text: str) -> int:
    """The word of a text.

    At most 65,536 are kept, and none goes stale: it depends on the text alone. Threads and forks
    may share them.
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
