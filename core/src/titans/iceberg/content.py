"""What a month of the archive consists of, for readers that know nothing of TITANS: its files as
they are, rows of these that do not count, and the few rows that no file holds.

All of a sealed month stands in its files. In an open one, a slot that came late lies in the time of
merged files: the rows that it repeats or that repeat it are named by their position, and what its
adoption corrected, as long as nobody has adopted it, is derived.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any

import polars as pl
from attrs import define, field, frozen

from titans.changes.digest import digest
from titans.dataset import Dataset
from titans.iceberg.columns import is_readable
from titans.read.overlaps import overlapping
from titans.read.reader import Reader
from titans.schema import CEASED, TIME
from titans.slots import Month, iso
from titans.tiers.files.fetch import fetch_all, read_info
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.parquet import scan_files
from titans.tiers.files.read import Selection, StoredFile, read_selections
from titans.tiers.manifest.view import Full, MonthView, Part

__all__ = ["DataFile", "Extra", "Piece", "mark_of", "marked", "pieces_of"]

_POSITION = "\x00position"
_RANK = "\x00rank"
_LATE = "\x00late"


def marked(*said: Any) -> str:
    """A short name for what follows from `said` alone."""
    text = json.dumps(said, default=str, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=8).hexdigest()


@frozen
class DataFile:
    """A file of the archive that is part of the table as it is."""

    key: str
    size: int
    rows: int
    min_time: datetime
    max_time: datetime
    min_key: tuple[str, ...] | None
    max_key: tuple[str, ...] | None


@frozen(eq=False)
class Extra:
    """What has to be written beside the files."""

    rows: pl.DataFrame | None = None
    """Rows that no file holds, or none that can be read as it is: canonical columns."""
    lost: Mapping[str, Sequence[int]] = field(factory=dict)
    """Key of a file → positions of its rows that do not count: another file has the row of that key
    and time."""


@define(eq=False)
class Piece:
    """A part of a month that stands for itself."""

    mark: str
    """What it follows from."""
    files: tuple[DataFile, ...] = ()
    _ask: Callable[[], Extra] | None = None
    _extra: Extra | None = field(default=None, init=False)

    @property
    def is_plain(self) -> bool:
        """Files alone say it."""
        return self._ask is None

    def extra(self) -> Extra:
        """What it needs beside its files; read once."""
        if self._extra is None:
            self._extra = Extra() if self._ask is None else self._ask()
        return self._extra


def pieces_of(reader: Reader, month: Month) -> list[Piece]:
    """All change points of `month`.

    Raises:
        CorruptFileError: a hot file that nobody has adopted is damaged.
        NotFound: a file was merged and removed meanwhile.
    """
    view = reader.view(month)
    view.require_changes(None, None)
    known = _Known.of(view)
    pieces = []
    for group in overlapping(view.parts):
        parts = tuple(sorted(group.parts, key=view.parts.index))
        pieces.append(_Group(view, known, parts).piece)
    for full in _without_border(view):
        pieces.append(_border(reader, view, full))
    return pieces


def mark_of(reader: Reader, month: Month) -> str:
    """What the content of a month follows from. Only manifests are looked at, and what waiting hot
    files say of themselves.
    """
    view = reader.view(month)
    own = [_part_mark(part) for part in view.parts]
    derived = [_border_mark(reader, view, full) for full in _without_border(view)]
    provider = reader.provider
    return marked(provider.schema.version, own, derived)


def _without_border(view: MonthView) -> list[Full]:
    return view.without_border(view.month.start, view.month.end)


def _part_mark(part: Part) -> list[Any]:
    if isinstance(part.data, StoredFile):
        return [part.data.key, part.data.hash, part.data.size]
    return ["rows", part.data.height, digest(part.data)]


def _border(reader: Reader, view: MonthView, full: Full) -> Piece:
    mark = _border_mark(reader, view, full)
    return Piece(mark, (), lambda: Extra(reader.derived_border(view, full)))


def _border_mark(reader: Reader, view: MonthView, full: Full) -> str:
    """What a full snapshot is compared with, back to where nothing earlier reaches."""
    earlier: list[Any] = []
    if not view.stands_alone(full.time):
        for month in reversed([month for month in reader.months() if month < view.month]):
            before = reader.view(month)
            earlier.append([str(month), [_part_mark(part) for part in before.parts]])
            if before.stands_alone(before.month.end):
                break
    parts = [_part_mark(part) for part in view.parts_in(None, full.time)]
    data = full.data
    whole = data.key if isinstance(data, StoredFile) else "rows"
    return marked("border", full.slot, iso(full.time), whole, parts, earlier)


@frozen(eq=False)
class _Known:
    """What the files of a month say of themselves."""

    infos: dict[str, FileInfo]
    """By key."""

    @classmethod
    def of(cls, view: MonthView) -> _Known:
        dataset = view.dataset
        stored = [part.data for part in view.parts if isinstance(part.data, StoredFile)]

        def ask(file: StoredFile) -> FileInfo:
            if file.waiting is not None:
                return file.waiting
            slot = file.slot or view.slot(0)
            return read_info(dataset, file.key, slot, file.size)

        # Nobody has looked at the rows of these yet: it raises where they are damaged.
        read_selections(dataset, [Selection(file) for file in stored if file.waiting is not None])
        infos = fetch_all(dataset.store, ask, stored)
        return cls({file.key: info for file, info in zip(stored, infos, strict=True)})

    def is_readable(self, part: Part, dataset: Dataset) -> bool:
        """Whether other engines read the file as what it means."""
        if not isinstance(part.data, StoredFile):
            return False
        if self.infos[part.data.key].kind == "legacy":
            return False  # an original writer's: dtypes, and times of tombstones, are its own
        schema = part.data.schema
        return schema is None or is_readable(schema, dataset.provider)


@frozen(eq=False)
class _Group:
    """Parts that overlap each other in time, or one alone; in the order of their adoption."""

    view: MonthView
    known: _Known
    parts: tuple[Part, ...]

    @property
    def piece(self) -> Piece:
        version = self.view.dataset.provider.schema.version
        mark = marked("files", version, [_part_mark(part) for part in self.parts])
        readable = [part for part in self.parts if self._is_readable(part)]
        files = tuple(map(self._data_file, readable))
        if len(files) == 1 and len(self.parts) == 1:
            return Piece(mark, files)
        return Piece(mark, files, self._extra)

    def _extra(self) -> Extra:
        lost: dict[str, list[int]] = {}
        for number, positions in self._lost.items():
            data = self.parts[number].data
            if isinstance(data, StoredFile) and self._is_readable(self.parts[number]):
                lost[data.key] = positions
        return Extra(self._others(), lost)

    def _is_readable(self, part: Part) -> bool:
        return self.known.is_readable(part, self.view.dataset)

    def _data_file(self, part: Part) -> DataFile:
        file = part.data
        if not isinstance(file, StoredFile) or part.min_time is None or part.max_time is None:
            raise AssertionError("only files with rows are part of a table")
        rows = self.known.infos[file.key].rows
        return DataFile(
            file.key,
            file.size,
            rows,
            part.min_time,
            part.max_time,
            part.min_key,
            part.max_key,
        )

    def _others(self) -> pl.DataFrame | None:
        """The rows that count of the parts that cannot be read as they are."""
        provider = self.view.dataset.provider
        numbers, sources = [], []
        for number, part in enumerate(self.parts):
            if not self._is_readable(part):
                numbers.append(number)
                sources.append(Selection(part.data))
        if not sources:
            return None
        frames = []
        for number, frame in zip(numbers, read_selections(self.view.dataset, sources), strict=True):
            lost = pl.Series(self._lost.get(number, ()), dtype=pl.UInt32)
            frames.append(frame.filter(~pl.row_index().is_in(lost.implode())))
        return pl.concat(frames).sort([*provider.key, TIME])

    @cached_property
    def _lost(self) -> dict[int, list[int]]:
        """Number of a part → positions of its rows that do not count, by the rule of
        `titans.changes.state.resolve`.
        """
        if len(self.parts) == 1:
            return {}
        by = [*self.view.dataset.provider.key, TIME]
        frames = []
        for number, part in enumerate(self.parts):
            rank, late = pl.lit(number, pl.Int32), pl.lit(part.is_correction)
            frames.append(
                self._keys(part, by).with_columns(rank.alias(_RANK), late.alias(_LATE)).collect()
            )
        rows = pl.concat(frames).filter(pl.len().over(by) > 1)
        rows = rows.sort([*by, _LATE, CEASED, _RANK])
        lost = rows.filter(~pl.struct(by).is_first_distinct())
        found: dict[int, list[int]] = {}
        for number, position in lost.select(_RANK, _POSITION).sort(_RANK, _POSITION).iter_rows():
            found.setdefault(number, []).append(position)
        return found

    def _keys(self, part: Part, by: Sequence[str]) -> pl.LazyFrame:
        """Keys and times, in the order of the file, with their positions."""
        dataset = self.view.dataset
        if isinstance(part.data, StoredFile) and self._is_readable(part):
            key = part.data.key
            path = dataset.store.local_path(key)
            source = dataset.store.get(key).data if path is None else path
            rows = scan_files([source], dataset.as_of(part.data.schema).provider)
        else:
            (frame,) = read_selections(dataset, [Selection(part.data)])
            rows = frame.lazy()
        return rows.select(*by, CEASED).with_row_index(_POSITION)
