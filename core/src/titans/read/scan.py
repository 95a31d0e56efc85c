"""Change points as a LazyFrame: predicates and columns reach the files.

Files that are alone in their time are scanned as they are. Where files overlap in time (late slots), or a full snapshot restates
what was there before, the reader answers, when the frame is collected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import polars as pl
from polars.io.plugins import register_io_source

from titans.read.reader import TICK, Reader, bounds
from titans.schema import TIME
from titans.tiers.files import Source, read_sources, scan_files, scan_source
from titans.tiers.view import MonthView, Part

__all__ = ["scan"]

Range = tuple[datetime, datetime]
Rows = Callable[[], pl.DataFrame]


def scan(reader: Reader, start: datetime | None, end: datetime | None) -> pl.LazyFrame:
    """The rows that `Reader.changes` gives, in no order that may be relied upon."""
    frames: list[pl.LazyFrame] = []
    whole: list[Source] = []
    for month, first, last in reader.spans(*bounds(start, end)):
        view = reader.view(month)
        alone, unclear = _divided(view, first, last)
        restated = [time for time in view.full.values() if first <= time < last]
        for part in alone:
            within = [time for time in restated if part.overlaps(time, time + TICK)]
            of_today = isinstance(part.data, Source) and part.data.schema is None
            if not within and part.within(first, last) and _on_disk(reader, part) and of_today:
                assert isinstance(part.data, Source)
                whole.append(part.data)
            else:
                frames.append(_part(reader, part, first, last, within))
        for low, high in unclear + [(time, time + TICK) for time in restated if not _in(time, unclear)]:
            frames.append(_later(lambda m=month, a=low, b=high: reader.changes_of(m, a, b), reader))  # type: ignore[misc]
    if whole:
        frames.append(scan_files([reader.store.local_path(s.key) for s in whole], reader.provider))
    if not frames:
        return pl.LazyFrame(schema=dict(reader.provider.schema_dtypes))
    return frames[0] if len(frames) == 1 else pl.concat(frames)


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


def _on_disk(reader: Reader, part: Part) -> bool:
    source = part.data
    return isinstance(source, Source) and source.slot is None and reader.store.local_path(source.key) is not None


def _part(reader: Reader, part: Part, start: datetime, end: datetime, but: list[datetime]) -> pl.LazyFrame:
    """The rows of one file, but for those of some moments."""
    where = [] if part.within(start, end) else [pl.col(TIME) >= start, pl.col(TIME) < end]
    where += [pl.col(TIME) != time for time in but]
    if isinstance(part.data, Source) and _on_disk(reader, part):
        return scan_source(part.data, reader.store.local_path(part.data.key), reader.provider).filter(*where)
    condition = pl.all_horizontal(where) if where else None
    return _later(lambda: read_sources(reader.store, reader.provider, [part.data], [condition])[0], reader)


def _later(rows: Rows, reader: Reader) -> pl.LazyFrame:
    """A frame that is read when it is collected."""

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        frame = rows()
        frame = frame if predicate is None else frame.filter(predicate)
        frame = frame if columns is None else frame.select(columns)
        yield frame if n_rows is None else frame.head(n_rows)

    return register_io_source(source, schema=dict(reader.provider.schema_dtypes))
