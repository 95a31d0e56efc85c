"""Change points as a LazyFrame: predicates and columns reach the files, which are chosen when the
frame is collected.

Files that are alone in their time are scanned as they are. Where files overlap in time (late
slots), or a full snapshot restates what was there before, the reader answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
from attrs import frozen
from polars.io.plugins import register_io_source

from titans.changes.frames import instant
from titans.errors import NotFound, TitansError
from titans.provider import Provider
from titans.read.reader import TICK, Reader, bounds, expired, retrying
from titans.schema import TIME
from titans.tiers.files import Source, read_sources, scan_files, scan_source
from titans.tiers.view import MonthView, Part, condition

__all__ = ["scan"]

_FETCHED = 8
"""Files of a remote store that are in memory at once."""

Range = tuple[datetime, datetime]
Narrow = Callable[[pl.LazyFrame], pl.LazyFrame]
"""Applies a query's predicate and columns."""
_Rows = tuple[Source | pl.DataFrame, pl.Expr | None]
"""A file, and which of its rows belong to the scan."""
_Scan = tuple[pl.LazyFrame, list[_Rows]]
"""Files on this machine, and what they are."""


def scan(
    look: Callable[[], Reader],
    provider: Provider,
    start: datetime | None,
    end: datetime | None,
    failed: Callable[[TitansError], None] | None = None,
) -> pl.LazyFrame:
    """The rows that `Reader.changes` gives, in no order that may be relied upon.

    `look` is called when the frame is collected, and again where a file is gone before any row was
    given out. `failed` is told of an error, for whom it would reach as text only.
    """
    since, until = bounds(start, end)

    def source(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        _batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        def narrow(rows: pl.LazyFrame) -> pl.LazyFrame:
            rows = rows if predicate is None else rows.filter(predicate)
            return rows if columns is None else rows.select(columns)

        left = n_rows
        try:
            for batch in _batches(look, since, until, narrow):
                yield batch if left is None else batch.head(left)
                if left is not None:
                    left = max(0, left - batch.height)
                    if not left:
                        return
        except TitansError as error:
            if failed is not None:
                failed(error)
            raise

    return register_io_source(source, schema=dict(provider.schema_dtypes))


def _batches(
    look: Callable[[], Reader], start: datetime | None, end: datetime | None, narrow: Narrow
) -> Iterator[pl.DataFrame]:
    def begin() -> tuple[pl.DataFrame, Iterator[pl.DataFrame]]:
        batches = _Plan.of(look(), start, end).batches(narrow)
        return next(batches), batches

    first, rest = retrying(begin)
    yield first
    try:
        yield from rest
    except NotFound as error:
        raise expired(error) from error


@frozen
class _Plan:
    """What a scan consists of."""

    reader: Reader
    scans: list[_Scan]
    parts: list[_Rows]
    """What is not on this machine, and hot files."""
    asked: list[tuple[MonthView, Range]]
    """Ranges that only the reader can answer."""

    @classmethod
    def of(cls, reader: Reader, start: datetime | None, end: datetime | None) -> _Plan:
        plan = cls(reader, [], [], [])
        whole: dict[Path, Source] = {}
        for month, first, last in reader.spans(start, end):
            view = reader.view(month)
            alone, unclear = _divided(view, first, last)
            restated = [time for time in view.full.values() if first <= time < last]
            for part in alone:
                again = [
                    pl.col(TIME) != instant(time)
                    for time in restated
                    if part.overlaps(time, time + TICK)
                ]
                where = condition(part, first, last, *again)
                path = _path(reader, part)
                if path is None:
                    plan.parts.append((part.data, where))
                    continue
                assert isinstance(part.data, Source)
                if where is None and part.data.schema is None:
                    whole[path] = part.data
                else:
                    rows = scan_source(part.data, path, reader.provider)
                    plan.scans.append(
                        (rows if where is None else rows.filter(where), [(part.data, where)])
                    )
            others = [(time, time + TICK) for time in restated if not _in(time, unclear)]
            plan.asked.extend((view, span) for span in unclear + others)
        if whole:  # one scan of all these is faster than one of each
            plan.scans.append(
                (scan_files(list(whole), reader.provider), [(s, None) for s in whole.values()])
            )
        return plan

    def batches(self, narrow: Narrow) -> Iterator[pl.DataFrame]:
        """At least one frame."""
        for rows, files in self.scans:
            yield from self._scanned(narrow(rows), files, narrow)
        for at in range(0, len(self.parts), _FETCHED):
            yield from self._read(self.parts[at : at + _FETCHED], narrow)
        for view, (low, high) in self.asked:
            yield narrow(self.reader.changes_of(view.month, low, high).lazy()).collect()
        yield narrow(pl.LazyFrame(schema=dict(self.reader.provider.schema_dtypes))).collect()

    def _scanned(
        self, rows: pl.LazyFrame, files: list[_Rows], narrow: Narrow
    ) -> Iterator[pl.DataFrame]:
        begun = False
        try:
            for batch in rows.collect_batches(maintain_order=False):
                begun = True
                yield batch
        except FileNotFoundError as error:
            raise NotFound(str(error)) from error
        except pl.exceptions.PolarsError:
            if begun:
                raise
            for each in files:  # one of an earlier writer, to be read as what it means
                yield from self._read([each], narrow)

    def _read(self, some: list[_Rows], narrow: Narrow) -> Iterator[pl.DataFrame]:
        sources, wheres = zip(*some, strict=True)
        for frame in read_sources(self.reader.store, self.reader.provider, sources, wheres):
            yield narrow(frame.lazy()).collect()


def _divided(view: MonthView, start: datetime, end: datetime) -> tuple[list[Part], list[Range]]:
    """Files that overlap no other in time, and the ranges of the others."""
    parts = sorted(view.parts_in(start, end), key=lambda p: (p.min_time, p.max_time))
    groups: list[list[Part]] = []
    reach: datetime | None = None
    for part in parts:
        assert part.min_time is not None
        assert part.max_time is not None
        if reach is not None and part.min_time <= reach:
            groups[-1].append(part)
        else:
            groups.append([part])
        reach = part.max_time if reach is None else max(reach, part.max_time)
    unclear = [
        (
            max(start, min(p.min_time for p in g if p.min_time)),
            min(end, max(p.max_time for p in g if p.max_time) + TICK),
        )
        for g in groups
        if len(g) > 1
    ]
    return [g[0] for g in groups if len(g) == 1], unclear


def _in(time: datetime, ranges: list[Range]) -> bool:
    return any(low <= time < high for low, high in ranges)


def _path(reader: Reader, part: Part) -> Path | None:
    """Where a merged file lies on this machine."""
    source = part.data
    return (
        reader.store.local_path(source.key)
        if isinstance(source, Source) and source.slot is None
        else None
    )
