"""A question divided into tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import polars as pl
from attrs import evolve, frozen

from titans.errors import InputError
from titans.read.choice import Choice
from titans.read.extent import Extent
from titans.read.pushdown import is_pushable
from titans.read.reader import Reader
from titans.read.tasks import Asked, Place, ReadTask
from titans.slots import TICK
from titans.tiers.files.read import StoredFile
from titans.tiers.manifest.view import MonthView, Part

__all__ = ["Piece", "plan_changes", "plan_state", "ranges_of_files"]

_BYTES, _ROWS = 8 << 20, 500_000
"""Of files, and of change points, that a task of several files has at most."""

_MOST_PARTS = 10_000


@frozen
class Piece:
    """A range of time of one month, and what its files say of it."""

    start: datetime
    end: datetime
    rows: int
    bytes: int

    def with_next(self, other: Piece) -> Piece:
        end = max(self.end, other.end)
        return Piece(self.start, end, self.rows + other.rows, self.bytes + other.bytes)


def plan_changes(
    reader: Reader, start: datetime | None, end: datetime | None, choice: Choice
) -> list[ReadTask]:
    """See `Archive.plan`."""
    asked, place = Asked.of(choice), Place.of(reader.dataset)
    pieces: list[Piece] = []
    for month, first, last in reader.spans(start, end):
        view = reader.view(month)
        view.require_changes(first, last)
        pieces += ranges_of_files(view, first, last, choice)
    if pieces and not _row_by_row(choice):
        # A condition that looks at other rows needs all of them.
        pieces = [_all_of(pieces)]

    tasks = []
    for piece in pieces:
        extent = Extent.of_changes(reader, piece.start, piece.end)
        tasks.append(
            ReadTask(place, piece.start, piece.end, extent, asked, piece.rows, piece.bytes)
        )
    return tasks


def plan_state(reader: Reader, end: datetime, parts: int, choice: Choice) -> list[ReadTask]:
    """See `Archive.plan_state`."""
    if isinstance(parts, bool) or not isinstance(parts, int) or not 1 <= parts <= _MOST_PARTS:
        raise InputError(f"parts is a whole number from 1 to {_MOST_PARTS:,}, got {parts!r}")
    if not _row_by_row(choice):
        parts = 1
    extent, asked = Extent.of_state(reader, end), Asked.of(choice)
    place = Place.of(reader.dataset)
    key = list(reader.provider.key)
    keys = reader.state_before(end, choice.of_keys).select(key).sort(key)
    if keys.is_empty():
        return []

    size = -(-keys.height // parts)
    firsts = [keys.row(number) for number in range(size, keys.height, size)]
    tasks = []
    for number, (low, high) in enumerate(pairwise([None, *firsts, None])):
        rows = min(size, keys.height - number * size)
        share = evolve(asked, low=low, high=high)
        tasks.append(ReadTask(place, None, end, extent, share, rows, _state_bytes(reader, end)))
    return tasks


def _row_by_row(choice: Choice) -> bool:
    """Whether the condition says the same of a row whatever rows are beside it."""
    columns = choice.provider.canonical_columns
    return choice.where is None or is_pushable(choice.where, columns)


# --- ranges of time -------------------------------------------------------------------------------


def ranges_of_files(view: MonthView, start: datetime, end: datetime, choice: Choice) -> list[Piece]:
    """The parts of a range of a month that are worth a task each, ascending. Outside of them there
    is nothing.
    """
    return _joined(_pieces(view, start, end, choice))


def _pieces(view: MonthView, start: datetime, end: datetime, choice: Choice) -> list[Piece]:
    """The ranges of a month's files, ascending; those that overlap are one."""
    lead = None
    if choice.single is not None:
        lead = choice.single.get(choice.provider.key[0])
    found = []
    for part in view.parts_in(start, end):
        if part.may_hold(lead):
            found.append(_piece(part, view, start, end))
    for full in view.without_border(start, end):
        found.append(Piece(full.time, full.time + TICK, 0, _bytes(full.data)))

    pieces: list[Piece] = []
    for piece in sorted(found, key=lambda piece: (piece.start, piece.end)):
        if pieces and piece.start < pieces[-1].end:
            piece = pieces.pop().with_next(piece)
        pieces.append(piece)
    return pieces


def _piece(part: Part, view: MonthView, start: datetime, end: datetime) -> Piece:
    first = start if part.min_time is None else max(start, part.min_time)
    last = end if part.max_time is None else min(end, part.max_time + TICK)
    return Piece(first, last, _row_count(part, view), _bytes(part.data))


def _row_count(part: Part, view: MonthView) -> int:
    if isinstance(part.data, pl.DataFrame):
        return part.data.height
    if part.data.waiting is not None:
        return part.data.waiting.rows
    name = part.data.key.rpartition("/")[2]
    known = [entry.rows for entry in view.manifest.files if entry.file.rpartition("/")[2] == name]
    return known[0] if known else 0


def _bytes(data: StoredFile | pl.DataFrame) -> int:
    return data.size if isinstance(data, StoredFile) else 0


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Small ranges that follow each other are one."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined:
            both = joined[-1].with_next(piece)
            if both.bytes <= _BYTES and both.rows <= _ROWS:
                joined.pop()
                piece = both
        joined.append(piece)
    return joined


def _all_of(pieces: Sequence[Piece]) -> Piece:
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole.with_next(piece)
    return whole


def _state_bytes(reader: Reader, end: datetime) -> int:
    """Of the files that a state reads."""
    for month in reversed(reader.months()):
        if month.start < end:
            view = reader.view(month)
            keyframe = view.keyframe(end)
            since = None if keyframe is None else view.slot(keyframe.slot).start
            parts = view.parts_in(since, end)
            whole = 0 if keyframe is None else keyframe.bytes
            return whole + sum(_bytes(part.data) for part in parts)
    return 0
