"""The snapshots of a backfill, and which months they are of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from attrs import frozen

from titans.errors import InputError
from titans.loading.names import NamePattern
from titans.loading.snapshots import month_of_table, read_snapshots, times_of
from titans.loading.sources import Source, find
from titans.loading.tables import Reading, collected
from titans.results import Outcome
from titans.slots import Month

if TYPE_CHECKING:
    import polars as pl

    from titans.provider import Provider

__all__ = ["File", "MonthInput", "Survey", "by_names", "survey"]


@frozen
class File:
    """A file that any worker can read."""

    name: str
    address: str
    """A URL, or the whole path on this machine, which the workers share."""
    form: str | None = None
    records: str | None = None

    @classmethod
    def of(cls, source: Source, asked: str, form: str | None, records: str | None) -> File:
        """A source that was found by what was `asked` for."""
        if source.path is not None:
            return cls(source.name, str(source.path.resolve()), form, records)
        if "://" not in source.name:
            raise InputError("workers cannot read standard input: write it to a file")
        place, _, key = source.name.partition("://")[2].partition("/")
        parts = urlsplit(asked)
        options = f"?{parts.query}" if parts.query else ""
        return cls(source.name, f"{parts.scheme}://{place}/{quote(key)}{options}", form, records)

    def table(self, provider: Provider) -> pl.LazyFrame:
        """Its rows."""
        where = self.address if "://" in self.address else Path(self.address)
        (source,) = find([where], self.form)
        return Reading(provider, self.form, self.records).table(source)


@frozen
class MonthInput:
    """The snapshots of a month."""

    month: Month
    files: tuple[tuple[File, datetime | None], ...]
    """Each with its time, where its name says it."""
    column: str = ""
    """Says the time, where the names don't."""

    def snapshots(
        self, provider: Provider
    ) -> Iterator[tuple[str, datetime | None, pl.DataFrame | InputError]]:
        """What each stands in, its time, and its rows, or why they cannot be read; by time.

        The table is read once, and the month held in memory.
        """
        if self.column:
            yield from self._of_table(provider)
            return
        for file, time in self.files:
            try:
                frame = collected(file.table(provider), file.name)
            except InputError as error:
                yield file.name, time, error
            else:
                yield file.name, time, frame

    def _of_table(
        self, provider: Provider
    ) -> Iterator[tuple[str, datetime | None, pl.DataFrame | InputError]]:
        tables = [file.table(provider) for file, _ in self.files]
        frame = month_of_table(tables, self.column, self.month)
        name = self.files[0][0].name
        _, snapshots = read_snapshots(frame.lazy(), self.column)
        for time, rows in snapshots:
            yield name, time, rows


@frozen
class Survey:
    """A file whose months nobody knows yet."""

    file: File
    column: str
    provider: Provider


def survey(task: Survey) -> list[Month]:
    """The months that a table has rows of.

    Raises:
        InputError: it cannot be read, or has rows without a time.
    """
    times = times_of(task.file.table(task.provider), task.column)
    firsts = times.dt.truncate("1mo").unique().sort()
    return [Month.of(first) for first in firsts]


def by_names(files: list[File], pattern: NamePattern) -> tuple[list[MonthInput], list[Outcome]]:
    """Files by month, and those whose names say no time."""
    refused: list[Outcome] = []
    dated: list[tuple[datetime, File]] = []
    for file in files:
        try:
            time = pattern.time_of(file.name)
            Month.of(time)
        except InputError as error:
            refused.append(Outcome(file.name, None, "refused", reason=str(error)))
        else:
            dated.append((time, file))

    months: dict[Month, list[tuple[File, datetime | None]]] = {}
    for time, file in sorted(dated, key=lambda each: each[0]):
        months.setdefault(Month.of(time), []).append((file, time))
    return [MonthInput(month, tuple(parts)) for month, parts in months.items()], refused
