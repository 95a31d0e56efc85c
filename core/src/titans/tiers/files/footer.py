"""Parts of Parquet files: the row groups that may hold what is looked for, of them the columns that
are needed, and a small file of nothing but those.

A file that is not on this machine need not be fetched as a whole for a few of its rows. Its footer
(metadata of Parquet, in Thrift's compact protocol; https://github.com/apache/parquet-format,
parquet.thrift) says where each column of a row group lies and between which values; the same
footer, with fewer row groups and columns and other offsets, makes a file of them that any reader
reads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl
from attrs import define, field, frozen

from titans.tiers.files.skipping import Bounds, Part, may_hold

__all__ = ["NEAR", "Footer", "Group", "footer_size"]

_MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _STRUCT = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    12,
)
_INTEGERS = (_I16, _I32, _I64)

Struct = dict[int, tuple[int, Any]]
"""Field id → its type, and its value: an int, a bool, bytes, another struct, or a list as (type of
its elements, elements)."""

Span = tuple[int, int]
"""Bytes `[start, end)` of a file."""

# Fields of FileMetaData, SchemaElement, KeyValue, RowGroup, ColumnChunk, ColumnMetaData and
# Statistics.
_SCHEMA, _ROWS, _GROUPS, _TEXTS, _ORDERS = 2, 3, 4, 5, 7
_NAME, _CHILDREN = 4, 5
_TEXT_KEY = 1
_CHUNKS, _GROUP_ROWS, _SORTING, _GROUP_OFFSET, _GROUP_SIZE = 1, 3, 4, 5, 6
_CHUNK_OFFSET, _META = 2, 3
_TYPE, _PATH, _SIZE, _DATA, _INDEX, _DICTIONARY, _STATISTICS = 1, 3, 7, 9, 10, 11, 12
_NULLS, _MAX, _MIN = 3, 5, 6
_ELSEWHERE = ((4, 5, 6, 7), (14, 15))
"""Fields of ColumnChunk and ColumnMetaData that point to indexes and Bloom filters, which are left
behind."""

_ALL_COLUMNS = b"ARROW:schema"
"""Among the texts of a file: what Arrow says of its columns, of all of them."""

_BYTES = 6
"""The type of a column of texts or bytes."""

NEAR = 128 << 10
"""Bytes between two parts that are fetched with them: another request would cost more."""


def footer_size(tail: bytes) -> int:
    """How many bytes at the end of a file are its footer, by the last 8 of them. Raises
    `ValueError` where it is no Parquet.
    """
    if len(tail) < 8 or tail[-4:] != _MAGIC:
        raise ValueError("not the end of a Parquet file")
    return int.from_bytes(tail[-8:-4], "little") + 8


@frozen
class Group:
    """A row group."""

    number: int
    part: Part
    chunks: tuple[Span, ...]
    """Where each column lies, in the order of the file's columns."""

    @property
    def size(self) -> int:
        """Bytes of all its columns."""
        return sum(end - start for start, end in self.chunks)


@frozen
class Footer:
    """What the end of a file says."""

    _fields: Struct
    columns: tuple[str, ...]
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, tail: bytes) -> Footer:
        """From the last bytes of a file, at least `footer_size` of them.

        Raises:
            ValueError: it is no footer, or one with something that is not understood.
        """
        size = footer_size(tail)
        if size > len(tail):
            raise ValueError("a part of a footer")
        try:
            fields = _Reader(tail[-size:-8]).struct()
            columns = _columns(fields)
            _, groups = fields[_GROUPS][1]
            read = [_group(number, group, columns) for number, group in enumerate(groups)]
            return cls(fields, columns, tuple(read))
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a footer: {error!r}") from error

    def groups_with(
        self, where: pl.Expr | None, schema: Mapping[str, pl.DataType]
    ) -> tuple[Group, ...]:
        """The row groups that may have rows for which `where`, a condition over the columns of
        `schema`, holds.
        """
        if where is None:
            return self.groups
        kept = may_hold(where, schema, [group.part for group in self.groups])
        return tuple(group for group, keep in zip(self.groups, kept, strict=True) if keep)

    def spans(self, groups: Sequence[Group], columns: Collection[str] | None) -> list[Span]:
        """Which bytes of the file have these columns of row groups (`None`: all), ascending. What
        lies near each other is one span.
        """
        chunks = [group.chunks[place] for group in groups for place in self._places(columns)]
        spans: list[Span] = []
        for start, end in sorted(chunks):
            if spans and start - spans[-1][1] <= NEAR:
                start, before = spans.pop()[0], end
                end = max(end, before)
            spans.append((start, end))
        return spans

    def file_of(
        self,
        groups: Sequence[Group],
        columns: Collection[str] | None,
        parts: Mapping[Span, bytes],
    ) -> bytes:
        """A Parquet file of these columns of row groups (`None`: all), given with the bytes of
        their `spans`.
        """
        places = self._places(columns)
        moves: list[tuple[Span, int]] = []
        size = len(_MAGIC)
        for span in sorted(parts):
            moves.append((span, size - span[0]))
            size += len(parts[span])

        _, all_groups = self._fields[_GROUPS][1]
        moved = [_moved(all_groups[group.number], places, moves) for group in groups]
        rows = sum(group.part.rows for group in groups)
        fields = {**self._fields, _ROWS: (_I64, rows), _GROUPS: (_LIST, (_STRUCT, moved))}
        if columns is not None:
            fields = _narrowed(fields, places)

        writer = _Writer()
        writer.struct(dict(sorted(fields.items())))
        footer = bytes(writer.data)
        data = [parts[span] for span in sorted(parts)]
        return b"".join([_MAGIC, *data, footer, len(footer).to_bytes(4, "little"), _MAGIC])

    def _places(self, columns: Collection[str] | None) -> list[int]:
        """Which of the file's columns are wanted."""
        if columns is None:
            return list(range(len(self.columns)))
        return [place for place, name in enumerate(self.columns) if name in columns]


def _columns(fields: Struct) -> tuple[str, ...]:
    """The names of a file's columns. Raises `ValueError` where one has columns in it."""
    root, *elements = fields[_SCHEMA][1][1]
    if _integer(root, _CHILDREN) != len(elements) or any(_CHILDREN in each for each in elements):
        raise ValueError("columns within columns")
    return tuple(each[_NAME][1].decode() for each in elements)


def _group(number: int, group: Struct, columns: Sequence[str]) -> Group:
    chunks, bounds = [], {}
    for name, chunk in zip(columns, group[_CHUNKS][1][1], strict=True):
        meta = chunk[_META][1]
        offsets = [_integer(meta, field) for field in (_DATA, _DICTIONARY) if field in meta]
        start = min(offset for offset in offsets if offset > 0)
        chunks.append((start, start + _integer(meta, _SIZE)))
        if meta[_PATH][1][1] != [name.encode()]:
            raise ValueError("columns in another order")

        if _integer(meta, _TYPE) == _BYTES:
            known = _bounds(meta.get(_STATISTICS, (_STRUCT, {}))[1])
            if known is not None:
                bounds[name] = known
    return Group(number, Part(_integer(group, _GROUP_ROWS), bounds), tuple(chunks))


def _bounds(statistics: Struct) -> Bounds | None:
    """What statistics say, if they say all of a column of text."""
    if not {_NULLS, _MIN, _MAX} <= statistics.keys():
        return None
    (kind, least), (other, greatest) = statistics[_MIN], statistics[_MAX]
    if not kind == other == _BINARY:
        return None
    try:
        return Bounds(least.decode(), greatest.decode(), _integer(statistics, _NULLS))
    except UnicodeDecodeError:
        return None  # not text, or cut within a letter


def _integer(fields: Struct, name: int) -> int:
    kind, value = fields[name]
    if kind not in _INTEGERS:
        raise TypeError(f"field {name} is of type {kind}")
    return int(value)


def _moved(group: Struct, places: Sequence[int], moves: Sequence[tuple[Span, int]]) -> Struct:
    """The row group with some of its columns, and its bytes elsewhere."""
    _, all_chunks = group[_CHUNKS][1]
    chunks = []
    for place in places:
        chunk = all_chunks[place]
        meta = chunk[_META][1]
        offsets = [meta[name][1] for name in (_DATA, _DICTIONARY) if name in meta]
        start = min(offset for offset in offsets if offset > 0)
        by = next(by for (low, high), by in moves if low <= start < high)
        meta = _shifted(meta, by, (_DATA, _INDEX, _DICTIONARY), _ELSEWHERE[1])
        shifted = _shifted(chunk, by, (_CHUNK_OFFSET,), _ELSEWHERE[0])
        chunks.append({**shifted, _META: (_STRUCT, meta)})

    # What is left out may be left out, and says something of the columns that are not there.
    rest = {name: f for name, f in group.items() if name not in _OF_ALL}
    return {**rest, _CHUNKS: (_LIST, (_STRUCT, chunks))}


_OF_ALL = (_SORTING, _GROUP_OFFSET, _GROUP_SIZE)


def _narrowed(fields: Struct, places: Sequence[int]) -> Struct:
    """What a footer says of all columns, of some of them."""
    _, (root, *elements) = fields[_SCHEMA][1]
    root = {**root, _CHILDREN: (root[_CHILDREN][0], len(places))}
    schema = [root, *(elements[place] for place in places)]
    narrowed = {**fields, _SCHEMA: (_LIST, (_STRUCT, schema))}

    if _ORDERS in fields:
        element, orders = fields[_ORDERS][1]
        narrowed[_ORDERS] = (_LIST, (element, [orders[place] for place in places]))
    if _TEXTS in fields:
        element, texts = fields[_TEXTS][1]
        kept = [text for text in texts if text[_TEXT_KEY][1] != _ALL_COLUMNS]
        narrowed[_TEXTS] = (_LIST, (element, kept))
    return narrowed


def _shifted(
    fields: Struct, by: int, offsets: tuple[int, ...], without: tuple[int, ...] = ()
) -> Struct:
    """`fields` with `by` added to those that are `offsets`, and without some."""
    shifted: Struct = {}
    for name, (kind, value) in fields.items():
        if name in without:
            continue
        if name in offsets and kind in _INTEGERS and value > 0:
            value += by
        shifted[name] = (kind, value)
    return shifted


@define
class _Reader:
    """Thrift's compact protocol, as far as footers use it."""

    data: bytes
    position: int = 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def integer(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def bytes(self, length: int) -> bytes:
        self.position += length
        if self.position > len(self.data):
            raise ValueError("a footer that breaks off")
        return self.data[self.position - length : self.position]

    def struct(self) -> Struct:
        fields: Struct = {}
        last = 0
        while header := self.bytes(1)[0]:
            kind, step = header & 0x0F, header >> 4
            # Field ids are counted on, unless the step is too large for four bits.
            last = last + step if step else self.integer()
            if kind in (_TRUE, _FALSE):
                fields[last] = (kind, kind == _TRUE)
            else:
                fields[last] = (kind, self.value(kind))

        return fields

    def value(self, kind: int) -> Any:
        if kind in _INTEGERS:
            return self.integer()
        if kind == _BINARY:
            return self.bytes(self.varint())
        if kind == _STRUCT:
            return self.struct()
        if kind == _LIST:
            header = self.bytes(1)[0]
            count, element = header >> 4, header & 0x0F
            count = self.varint() if count == 15 else count
            return element, [self.value(element) for _ in range(count)]

        if kind in (_BYTE, _DOUBLE):
            return self.bytes(1 if kind == _BYTE else 8)
        raise ValueError(f"a footer with something of type {kind}")


@define
class _Writer:
    """What `_Reader` reads."""

    data: bytearray = field(factory=bytearray)

    def varint(self, value: int) -> None:
        while value >= 0x80:
            self.data.append(value & 0x7F | 0x80)
            value >>= 7
        self.data.append(value)

    def integer(self, value: int) -> None:
        self.varint(value << 1 if value >= 0 else ~value << 1 | 1)

    def struct(self, fields: Struct) -> None:
        last = 0
        for name, (kind, value) in fields.items():
            step = name - last
            self.data.append((step << 4 if 0 < step < 16 else 0) | kind)
            if not 0 < step < 16:
                self.integer(name)
            last = name
            if kind not in (_TRUE, _FALSE):
                self.value(kind, value)

        self.data.append(0)

    def value(self, kind: int, value: Any) -> None:
        if kind in _INTEGERS:
            self.integer(value)
        elif kind == _BINARY:
            self.varint(len(value))
            self.data += value
        elif kind == _STRUCT:
            self.struct(value)
        elif kind == _LIST:
            element, items = value
            self.data.append((min(len(items), 15) << 4) | element)
            if len(items) >= 15:
                self.varint(len(items))
            for item in items:
                self.value(element, item)
        else:
            self.data += value
