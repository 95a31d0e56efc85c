"""Files, or the versions of one, as snapshots; and ingesting them one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from attrs import frozen

from titans.errors import InputError, TimestampError
from titans.loading.names import NamePattern
from titans.loading.snapshots import Snapshots, read_snapshots
from titans.loading.sources import Source
from titans.loading.tables import Reading, collected
from titans.results import Outcome

if TYPE_CHECKING:
    import polars as pl

    from titans.archive import Archive
    from titans.loading.git import FileHistory, Version

__all__ = ["Item", "Timing", "file_items", "ingest_item", "ingest_snapshot", "version_items"]


@frozen(eq=False)
class Item:
    """Something that holds snapshots."""

    name: str
    open: Callable[[], tuple[int, Snapshots]]
    """How many snapshots it has, and each. Raises `InputError` where it cannot be read."""


@frozen
class Timing:
    """What says when the snapshots of files were collected: one of three."""

    at: datetime | None = None
    """It is the same for all."""
    pattern: NamePattern | None = None
    """The name of each file."""
    column: str | None = None
    """A column of it, so that a file may hold many snapshots."""

    def __attrs_post_init__(self) -> None:
        given = [each for each in (self.at, self.pattern, self.column) if each is not None]
        if len(given) != 1:
            raise InputError(
                "one thing says when a snapshot was collected: a time, a pattern for the names of "
                f"the files, or a column; {len(given)} are given"
            )

    def check_fits(self, sources: list[Source]) -> None:
        """Raise `InputError` where the files cannot have times in this way."""
        if self.at is not None and len(sources) > 1:
            raise InputError(
                f"one time for {len(sources)} files: each is a snapshot of its own; take the time "
                "from their names or from a column"
            )


def file_items(sources: list[Source], timing: Timing, reading: Reading) -> list[Item]:
    """The files, by their times where their names say them.

    Raises:
        InputError: the files cannot have times in this way.
    """
    timing.check_fits(sources)
    column = timing.column
    if column is not None:
        return [_table_item(source, column, reading) for source in sources]

    refused: list[Item] = []
    dated: list[tuple[datetime, Item]] = []
    for source in sources:
        try:
            time = _time_of(source, timing)
        except InputError as error:
            refused.append(Item(source.name, _raising(error)))
        else:
            dated.append((time, _dated_item(source, time, reading)))
    dated.sort(key=lambda each: each[0])
    return refused + [item for _, item in dated]


def _time_of(source: Source, timing: Timing) -> datetime:
    if timing.pattern is not None:
        return timing.pattern.time_of(source.name)
    if timing.at is None:
        raise TimestampError(f"{source.name}: nothing says when it was collected")
    return timing.at


def _raising(error: InputError) -> Callable[[], tuple[int, Snapshots]]:
    def open_() -> tuple[int, Snapshots]:
        raise error

    return open_


def _table_item(source: Source, column: str, reading: Reading) -> Item:
    return Item(source.name, lambda: read_snapshots(reading.table(source), column))


def _dated_item(source: Source, time: datetime, reading: Reading) -> Item:
    def open_() -> tuple[int, Snapshots]:
        frame = collected(reading.table(source), source.name)
        return 1, iter([(time, frame)])

    return Item(source.name, open_)


def version_items(
    history: FileHistory, versions: Iterable[Version], reading: Reading
) -> Iterator[Item]:
    """The versions of a file in a repository; one that removed it has no snapshot."""
    for version in versions:
        yield _version_item(history, version, reading)


def _version_item(history: FileHistory, version: Version, reading: Reading) -> Item:
    def open_() -> tuple[int, Snapshots]:
        data = history.content(version)
        if data is None:
            return 0, iter(())
        frame = collected(reading.table(Source(history.path, lambda: data)), history.path)
        return 1, iter([(version.time, frame)])

    return Item(f"{history.path}@{version.commit[:12]}", open_)


def ingest_item(archive: Archive, item: Item, max_ceased: float | None) -> Iterator[Outcome]:
    """What becomes of each snapshot. A file that cannot be read, or a snapshot that is not
    acceptable, is refused, and the next one gets its turn.

    Raises:
        TitansError: anything else, such as a store that does not answer.
    """
    try:
        _, each = item.open()
        for time, frame in each:
            yield ingest_snapshot(archive, (item.name, time, frame), max_ceased)
    except InputError as error:
        yield Outcome(item.name, None, "refused", reason=str(error))


def ingest_snapshot(
    archive: Archive,
    snapshot: tuple[str, datetime, pl.DataFrame],
    max_ceased: float | None,
    refusals: type[InputError] = InputError,
) -> Outcome:
    """What becomes of a snapshot.

    Args:
        snapshot: what it stands in, when it was collected, and its rows.
        refusals: the errors that mean that it is refused; others are raised.
    """
    name, time, frame = snapshot
    try:
        result = archive.ingest(frame, time, max_ceased=max_ceased)
    except refusals as error:
        return Outcome(name, time, "refused", frame.height, reason=str(error))
    return Outcome(name, time, result.status, frame.height, result)
