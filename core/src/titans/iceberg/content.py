"""What a month of the archive consists of, for readers that know nothing of TITANS: its files as
they are, and the few rows that no file holds.

All of a sealed month stands in its files. In an open one, what the adoption of a hot file will
correct, as long as nobody has adopted it, is derived, as is what a full snapshot changed before a
file says it. Files of the original writers are not read as they are, and neither are files that
repeat each other's rows: their rows are written anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

import polars as pl
from attrs import define, field, frozen

from titans.changes.digest import digest
from titans.changes.state import resolve
from titans.dataset import Dataset
from titans.iceberg.columns import is_readable
from titans.read.overlaps import overlapping
from titans.read.reader import Reader
from titans.schema import TIME
from titans.slots import Month, iso
from titans.tiers.files.fetch import fetch_all, read_info
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.read import Selection, StoredFile, read_selections
from titans.tiers.manifest.view import Full, MonthView, Part

__all__ = ["DataFile", "Extra", "Piece", "mark_of", "marked", "pieces_of"]


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
    is_all: bool = False
    """They are all rows of the piece: its files are not used."""


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
        dataset, provider = self.view.dataset, self.view.dataset.provider
        frames = read_selections(dataset, [Selection(part.data) for part in self.parts])
        by = [*provider.key, TIME]
        keys = pl.concat([frame.select(by) for frame in frames])
        if keys.is_duplicated().any():
            return Extra(self._resolved(frames), is_all=True)

        others = []
        for part, frame in zip(self.parts, frames, strict=True):
            if not self._is_readable(part):
                others.append(frame)
        return Extra(pl.concat(others).sort(by) if others else None)

    def _resolved(self, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """The rows that count of all parts."""
        real: list[pl.DataFrame] = []
        corrections: list[pl.DataFrame] = []
        for part, frame in zip(self.parts, frames, strict=True):
            group = corrections if part.is_correction else real
            group.append(frame)
        return resolve(real, corrections, self.view.dataset.provider)

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
