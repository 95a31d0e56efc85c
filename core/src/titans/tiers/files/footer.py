"""Parts of Parquet files: the row groups that may hold a key, and a small file of nothing but
those.

A file that is not on this machine need not be fetched as a whole for a few of its rows. Its footer
(metadata of Parquet, in Thrift's compact protocol; https://github.com/apache/parquet-format,
parquet.thrift) says where each row group lies and between which values; the same footer, with fewer
row groups and other offsets, makes a file of them that any reader reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

__all__ = ["Footer", "Group", "footer_size"]

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

# Fields of FileMetaData, RowGroup, ColumnChunk, ColumnMetaData and Statistics.
_ROWS, _GROUPS = 3, 4
_CHUNKS, _GROUP_ROWS, _GROUP_OFFSET = 1, 3, 5
_CHUNK_OFFSET, _META = 2, 3
_PATH, _SIZE, _DATA, _INDEX, _DICTIONARY, _STATISTICS = 3, 7, 9, 10, 11, 12
_MAX, _MIN = 5, 6
_ELSEWHERE = ((4, 5, 6, 7), (14, 15))
"""Fields of ColumnChunk and ColumnMetaData that point to indexes and Bloom filters, which are left
behind."""


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
    start: int
    """Bytes `[start, end)` of the file."""
    end: int
    bounds: Mapping[str, tuple[bytes, bytes]]
    """Text column → its least and greatest value, as far as they are said."""

    def may_hold(self, key: Mapping[str, str]) -> bool:
        """Whether some of its rows may have these values."""
        for column, value in key.items():
            if column in self.bounds:
                (least, greatest), wanted = self.bounds[column], value.encode()
                # Bounds may be cut short: what starts with the greatest one may still be there.
                if wanted < least or (wanted > greatest and not wanted.startswith(greatest)):
                    return False
        return True


@frozen
class Footer:
    """What the end of a file says."""

    _fields: Struct
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
            _, groups = fields[_GROUPS][1]
            return cls(fields, tuple(_group(number, group) for number, group in enumerate(groups)))
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a footer: {error!r}") from error

    def groups_with(self, key: Mapping[str, str]) -> tuple[Group, ...]:
        """Row groups that stand together, in whose rows alone these values may be."""
        numbers = [group.number for group in self.groups if group.may_hold(key)]
        if not numbers:
            return ()
        return self.groups[numbers[0] : numbers[-1] + 1]

    def file_of(self, groups: Sequence[Group], data: bytes) -> bytes:
        """A Parquet file of row groups that stand together, given with their bytes."""
        _, all_groups = self._fields[_GROUPS][1]
        by = 0
        if groups:
            by = len(_MAGIC) - groups[0].start

        moved = [_moved(all_groups[group.number], by) for group in groups]
        rows = sum(group[_GROUP_ROWS][1] for group in moved)
        fields = {**self._fields, _ROWS: (_I64, rows), _GROUPS: (_LIST, (_STRUCT, moved))}

        writer = _Writer()
        writer.struct(dict(sorted(fields.items())))
        footer = bytes(writer.data)
        return b"".join([_MAGIC, data, footer, len(footer).to_bytes(4, "little"), _MAGIC])


def _group(number: int, group: Struct) -> Group:
    starts, ends, bounds = [], [], {}
    for chunk in group[_CHUNKS][1][1]:
        meta = chunk[_META][1]
        offsets = [_integer(meta, name) for name in (_DATA, _DICTIONARY) if name in meta]
        starts.append(min(offset for offset in offsets if offset > 0))
        ends.append(starts[-1] + _integer(meta, _SIZE))

        statistics = meta.get(_STATISTICS, (_STRUCT, {}))[1]
        least, greatest = statistics.get(_MIN), statistics.get(_MAX)
        if least is not None and greatest is not None and least[0] == greatest[0] == _BINARY:
            bounds[b".".join(meta[_PATH][1][1]).decode()] = (least[1], greatest[1])

    _integer(group, _GROUP_ROWS)  # raises where it is missing
    return Group(number, min(starts), max(ends), bounds)


def _integer(fields: Struct, name: int) -> int:
    kind, value = fields[name]
    if kind not in _INTEGERS:
        raise TypeError(f"field {name} is of type {kind}")
    return int(value)


def _moved(group: Struct, by: int) -> Struct:
    """The row group with its bytes elsewhere."""
    chunks = []
    for chunk in group[_CHUNKS][1][1]:
        meta = _shifted(chunk[_META][1], by, (_DATA, _INDEX, _DICTIONARY), _ELSEWHERE[1])
        shifted = _shifted(chunk, by, (_CHUNK_OFFSET,), _ELSEWHERE[0])
        chunks.append({**shifted, _META: (_STRUCT, meta)})
    return {**_shifted(group, by, (_GROUP_OFFSET,)), _CHUNKS: (_LIST, (_STRUCT, chunks))}


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
