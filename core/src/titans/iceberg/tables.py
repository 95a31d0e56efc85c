"""The tables that are published: all change points, and the newest state that lies in a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from attrs import frozen

from titans.iceberg.columns import is_readable
from titans.iceberg.content import DataFile, Extra, Piece, mark_of, marked, pieces_of
from titans.read.reader import Reader
from titans.slots import TICK, Month, iso
from titans.tiers.files.fetch import read_info
from titans.tiers.files.read import StoredFile
from titans.tiers.manifest.view import Full, MonthView, stored_file

__all__ = ["CHANGES", "LATEST", "Look", "Table"]

_STATE = "state"
"""The one part of a table that is a state."""


@frozen(eq=False)
class Look:
    """What a table consists of at one moment."""

    marks: Mapping[str, str]
    """Part, such as a month → what it follows from."""
    pieces: Mapping[str, list[Piece]]
    """Of the parts that have changed."""
    at: datetime | None = None
    """Of a state: of when it is."""


class Table(Protocol):
    """A kind of table."""

    @property
    def name(self) -> str:
        """As its place is called."""

    @property
    def is_state(self) -> bool:
        """One row a key, without `Ceased`."""

    def look(self, reader: Reader, known: Mapping[str, str]) -> Look:
        """What it consists of; `known` are the marks of what was published last."""

    def month(self, part: str) -> Month | None:
        """The partition that a part is."""


@frozen
class _Changes:
    """All change points, a part for each month."""

    name: str = "changes"
    is_state: bool = False

    def look(self, reader: Reader, known: Mapping[str, str]) -> Look:
        marks, pieces = {}, {}
        if reader.dataset.store.parallel:
            reader.read_manifests(reader.months())
        for month in reader.months():
            part = str(month)
            marks[part] = mark_of(reader, month)
            if known.get(part) != marks[part]:
                pieces[part] = pieces_of(reader, month)
        return Look(marks, pieces)

    def month(self, part: str) -> Month | None:
        return Month.parse(part)


@frozen
class _Latest:
    """The living keys as the newest keyframe or full snapshot has them."""

    name: str = "latest"
    is_state: bool = True

    def look(self, reader: Reader, known: Mapping[str, str]) -> Look:
        for month in reversed(reader.months()):
            view = reader.view(month)
            keyframe, full = view.keyframe(month.end), view.last_full(month.end)
            if keyframe is not None:
                at = view.slot(keyframe.slot).start - TICK
                file = stored_file(keyframe, view.manifest, view.dataset)
                return self._of(view, file, at, known)
            if full is not None and isinstance(full.data, StoredFile):
                return self._of(view, full.data, full.time, known)
            if full is not None:
                return self._rows(reader, full.time, known)
        return self._rows(reader, None, known)

    def _of(
        self, view: MonthView, file: StoredFile, at: datetime, known: Mapping[str, str]
    ) -> Look:
        """The state that a file is."""
        provider = view.dataset.provider
        mark = marked("state", provider.schema.version, file.key, file.hash, iso(at))
        if known.get(_STATE) == mark:
            return Look({_STATE: mark}, {}, at)

        info = read_info(view.dataset, file.key, file.slot or view.slot(0), file.size)
        readable = file.schema is None or is_readable(file.schema, provider)
        if not readable or info.kind == "legacy":
            piece = Piece(mark, (), lambda: Extra(view.read_full(Full(0, at, file))))
        elif info.min_time is None or info.max_time is None:
            piece = Piece(mark)
        else:
            data = DataFile(
                file.key,
                file.size,
                info.rows,
                info.min_time,
                info.max_time,
                info.min_key,
                info.max_key,
            )
            piece = Piece(mark, (data,))
        return Look({_STATE: mark}, {_STATE: [piece]}, at)

    def _rows(self, reader: Reader, at: datetime | None, known: Mapping[str, str]) -> Look:
        """The newest state, where no file is one yet."""
        months = [mark_of(reader, month) for month in reader.months()]
        mark = marked("rows", reader.provider.schema.version, months)
        moment = reader.latest_end() - TICK if at is None else at
        if known.get(_STATE) == mark:
            return Look({_STATE: mark}, {}, moment)
        state = reader.state(moment)
        piece = Piece(mark, (), lambda: Extra(state))
        return Look({_STATE: mark}, {_STATE: [piece]}, moment)

    def month(self, part: str) -> Month | None:  # noqa: ARG002 - it has no partitions
        return None


CHANGES: Table = _Changes()
LATEST: Table = _Latest()
