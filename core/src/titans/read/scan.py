"""Change points as a LazyFrame: predicates and columns reach the files, which are chosen when the
frame is collected.

Files that are alone in their time are scanned as they are. Where files overlap in time (late
slots), or no file says what a full snapshot changed, the reader answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
from attrs import field, frozen
from polars.io.plugins import register_io_source

from titans.errors import NotFound, TitansError
from titans.provider import Provider
from titans.read.overlaps import overlapping
from titans.read.reader import Reader, bounds, expired, retrying
from titans.slots import TICK, Month
from titans.tiers.files.parquet import scan_files
from titans.tiers.files.read import (
    Selection,
    StoredFile,
    read_selections,
    scan_stored,
    tell_opened,
)
from titans.tiers.files.selections import Narrow
from titans.tiers.files.stream import stream
from titans.tiers.manifest.view import Criteria, MonthView, Part

__all__ = ["Narrow", "Plan", "of_one_look", "scan", "source_of"]

Range = tuple[datetime, datetime]


def scan(
    look: Callable[[], Reader],
    provider: Provider,
    start: datetime | None,
    end: datetime | None,
    report: Callable[[TitansError], None] | None = None,
) -> pl.LazyFrame:
    """The rows that `Reader.changes` gives, in no order that may be relied upon.

    `look` is called when the frame is collected, and again where a file is gone before any row was
    given out. `report` is told of an error, for whom it would reach as text only.
    """
    since, until = bounds(start, end)

    def batches(narrow: Narrow) -> Iterator[pl.DataFrame]:
        return of_one_look(look, lambda reader: Plan.of(reader, since, until).batches(narrow))

    return source_of(batches, dict(provider.schema_dtypes), report)


def source_of(
    batches: Callable[[Narrow], Iterator[pl.DataFrame]],
    schema: dict[str, pl.DataType],
    report: Callable[[TitansError], None] | None = None,
) -> pl.LazyFrame:
    """The rows that `batches` gives, narrowed by the predicate and the columns of a query."""

    def source(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        _batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        narrow = Narrow(predicate, None if columns is None else tuple(columns))
        try:
            yield from _limited(batches(narrow), n_rows)
        except TitansError as error:
            if report is not None:
                report(error)
            raise

    return register_io_source(source, schema=schema)


def _limited(batches: Iterator[pl.DataFrame], rows: int | None) -> Iterator[pl.DataFrame]:
    """The first `rows` rows; `None`: all."""
    if rows is None:
        yield from batches
        return
    left = rows
    for batch in batches:
        yield batch.head(left)
        left -= batch.height
        if left <= 0:
            return


def of_one_look(
    look: Callable[[], Reader], batches: Callable[[Reader], Iterator[pl.DataFrame]]
) -> Iterator[pl.DataFrame]:
    """What `batches` gives, at least one frame, all of it from what one reader sees; of another one
    where a file is gone before the first frame was given out.

    Raises:
        SnapshotExpiredError: a file is gone after that.
    """

    def begin() -> tuple[pl.DataFrame, Iterator[pl.DataFrame]]:
        reader = look()
        try:
            first, rest = begun(reader)
        except NotFound:
            raise
        except TitansError:
            if not reader.is_overtaken():
                raise
            return begun(reader.in_order())
        if reader.is_overtaken():
            return begun(reader.in_order())
        return first, rest

    def begun(reader: Reader) -> tuple[pl.DataFrame, Iterator[pl.DataFrame]]:
        rest = batches(reader)
        first = next(rest)
        reader.check_exists()
        return first, rest

    first, rest = retrying(begin)
    yield first
    try:
        yield from rest
    except NotFound as error:
        raise expired(error) from error


@frozen(eq=False)
class _Scan:
    """Rows that polars reads from files on this machine, and what they are."""

    rows: pl.LazyFrame
    selections: Sequence[Selection]


@frozen(eq=False)
class Plan:
    """What a scan consists of."""

    reader: Reader
    whole: dict[Path, Selection] = field(factory=dict)
    """Files on this machine, of today's schema, of which all rows belong to it."""
    scans: list[_Scan] = field(factory=list)
    selections: list[Selection] = field(factory=list)
    """What is not on this machine, and hot files."""
    asked: list[tuple[Month, Range]] = field(factory=list)
    """Ranges that only the reader can answer."""

    @classmethod
    def of(cls, reader: Reader, start: datetime | None, end: datetime | None) -> Plan:
        plan = cls(reader)
        for month, first, last in reader.spans(start, end):
            view = reader.view(month)
            view.require_changes(first, last)
            alone, unclear = _divided(view, first, last)
            for part in alone:
                plan._add(part.selection(first, last))
            for full in view.without_border(first, last):
                if not any(low <= full.time < high for low, high in unclear):
                    plan.asked.append((month, (full.time, full.time + TICK)))
            plan.asked.extend((month, span) for span in unclear)
        return plan

    def _add(self, selection: Selection) -> None:
        """A part of the scan."""
        file = selection.source
        path = None
        if isinstance(file, StoredFile) and file.slot is None:
            path = self.reader.dataset.store.local_path(file.key)
        if path is None or not isinstance(file, StoredFile):
            self.selections.append(selection)
        elif selection.where is None and file.schema is None:
            self.whole[path] = selection
        else:
            rows = selection.of(scan_stored(file, path, self.reader.provider))
            self.scans.append(_Scan(rows, [selection]))

    def batches(self, narrow: Narrow) -> Iterator[pl.DataFrame]:
        """At least one frame."""
        if self.whole:
            # One scan of all these is faster than one of each.
            rows = scan_files(list(self.whole), self.reader.provider)
            yield from self._read_scan(_Scan(rows, list(self.whole.values())), narrow)
        yield from self.others(narrow)

    def others(self, narrow: Narrow) -> Iterator[pl.DataFrame]:
        """The rows that are not in `whole`; at least one frame."""
        for each in self.scans:
            yield from self._read_scan(each, narrow)
        yield from self._read(self.selections, narrow)
        for month, (low, high) in self.asked:
            rows = self.reader.changes_of(month, Criteria(low, high))
            yield narrow(rows.lazy()).collect()
        nothing = pl.LazyFrame(schema=dict(self.reader.provider.schema_dtypes))
        yield narrow(nothing).collect()

    def _read_scan(self, each: _Scan, narrow: Narrow) -> Iterator[pl.DataFrame]:
        dataset, begun = self.reader.dataset, False
        tell_opened(dataset, each.selections, narrow)
        if not dataset.reads_rows:
            return
        try:
            for batch in narrow(each.rows).collect_batches(maintain_order=False):
                begun = True
                yield batch
        except FileNotFoundError as error:
            raise NotFound(str(error)) from error
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            if begun:
                for selection in each.selections:  # raises where it is the file
                    read_selections(dataset, [Selection(selection.source)])
                raise
            # One of an earlier writer, to be read as what it means.
            for selection in each.selections:
                yield from self._read([selection], narrow)

    def _read(self, some: list[Selection], narrow: Narrow) -> Iterator[pl.DataFrame]:
        for _, frame in stream(self.reader.dataset, some, narrow):
            yield frame


def _divided(view: MonthView, start: datetime, end: datetime) -> tuple[list[Part], list[Range]]:
    """Files that overlap no other in time, and the ranges of the others."""
    alone: list[Part] = []
    unclear: list[Range] = []
    for group in overlapping(view.parts_in(start, end)):
        if len(group.parts) == 1:
            alone += group.parts
        else:
            unclear.append((max(start, group.first), min(end, group.last + TICK)))
    return alone, unclear
