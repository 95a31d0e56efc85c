"""The command `replay`: a long table of full snapshots, ingested one after the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import define, field

from titans.cli.input import TABLE, collected, columns_of, scan_table
from titans.cli.options import on_archive, open_archive
from titans.cli.output import printable, progress_bar
from titans.errors import SchemaError, SuspiciousSnapshotError
from titans.schema import TIME
from titans.slots import iso

if TYPE_CHECKING:
    import polars as pl

    from titans.archive import Archive

__all__ = ["COMMANDS", "read_snapshots"]


def read_snapshots(table: pl.LazyFrame) -> tuple[int, Iterator[tuple[datetime, pl.DataFrame]]]:
    """How many snapshots a table has, and each with its `Time`, in order. Only one is held in
    memory at a time.

    Raises:
        SchemaError: no column `Time`, or one that is null or not of dates and times.
    """
    times = _times(table)
    table = table.with_columns(_in_utc())
    if times.is_sorted():
        runs = times.rle().struct.unnest()
        return runs.height, _read_sorted(table, runs)

    # Each snapshot costs a pass over the table, but none of it has to be sorted in memory.
    distinct = times.unique().sort()
    return len(distinct), _read_unsorted(table, distinct)


def _times(table: pl.LazyFrame) -> pl.Series:
    """The column `Time` in UTC."""
    from titans.exact.convert import convert
    from titans.exact.times import UTC_TIME

    schema = columns_of(table)
    if TIME not in schema:
        raise SchemaError(f"the table has no column {TIME!r}; it has {', '.join(schema)}")

    done = convert(collected(table.select(TIME))[TIME], UTC_TIME)
    if done.bad is not None:
        raise SchemaError(
            f"{int(done.bad.sum())} value(s) of column {TIME!r} ({schema[TIME]}) are no times; "
            f"first: {done.examples()}; write them like 2026-01-23 14:20:00 (UTC)"
        )
    if done.values.null_count():
        raise SchemaError(f"column {TIME!r} is null in {done.values.null_count()} row(s)")
    return done.values


def _in_utc() -> pl.Expr:
    import polars as pl

    from titans.exact.times import UTC_TIME, moments

    return pl.col(TIME).map_batches(moments, return_dtype=UTC_TIME, is_elementwise=True)


def _read_unsorted(
    table: pl.LazyFrame, timestamps: pl.Series
) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """The snapshots of a table in whatever order."""
    import polars as pl

    for timestamp in timestamps:
        yield timestamp, collected(table.filter(pl.col(TIME) == timestamp).drop(TIME))


def _read_sorted(
    table: pl.LazyFrame, runs: pl.DataFrame
) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """The snapshots of a table sorted by time, from its runs of equal times."""
    offset = 0
    for length, timestamp in runs.iter_rows():
        yield timestamp, collected(table.slice(offset, length).drop(TIME))
        offset += length


@define
class _Tally:
    """What became of the snapshots."""

    statuses: Counter[str] = field(factory=Counter)
    rows: int = 0
    change_points: int = 0
    notes: list[str] = field(factory=list)

    def ingest(
        self, archive: Archive, timestamp: datetime, snapshot: pl.DataFrame, max_ceased: float
    ) -> None:
        self.rows += snapshot.height
        try:
            result = archive.ingest(snapshot, timestamp, max_ceased=max_ceased)
        except SuspiciousSnapshotError as error:
            self.statuses["refused"] += 1
            self.notes.append(str(error))
            return

        self.statuses[result.status] += 1
        self.change_points += result.change_points
        if result.status == "skipped":
            self.notes.append(
                f"{iso(timestamp)}: skipped, its slot holds another snapshot ({result.key})"
            )

    def summary(self) -> str:
        """How many snapshots got which status."""
        order = ("ingested", "unchanged", "already", "skipped", "refused")
        parts = [f"{self.statuses[s]} {s}" for s in order if self.statuses[s]]
        return ", ".join(parts) or "nothing"


@click.command()
@click.argument("file", type=TABLE)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many snapshots.")
@click.option(
    "--max-ceased",
    type=click.FloatRange(0, 1),
    help="Refuse a snapshot that lacks more than this share of the living keys. Default: 0.5.",
)
@on_archive
def replay(
    file: Path, limit: int | None, max_ceased: float | None, provider: str, store: str | None
) -> None:
    """Ingest every snapshot in FILE, a table of full snapshots with a column Time.

    Stopped anywhere, it goes on when it is run again: what is in the archive already is recognised.
    Exits with 1 where a snapshot was refused.
    """
    from titans.archive import MAX_CEASED

    if max_ceased is None:
        max_ceased = MAX_CEASED
    archive = open_archive(provider, store)
    tally = _Tally()
    started = time.monotonic()
    count, each = read_snapshots(scan_table(file, archive.provider))
    if limit is not None:
        count = min(count, limit)

    with progress_bar() as bar:
        task = bar.add_task(printable(file.name), total=count)
        for timestamp, snapshot in islice(each, count):
            tally.ingest(archive, timestamp, snapshot, max_ceased)
            bar.advance(task)

    for note in tally.notes:
        click.echo(f"  {printable(note)}")
    click.echo(f"{count} snapshots, {tally.rows:,} rows: {tally.summary()}")
    if tally.statuses["ingested"] or tally.statuses["unchanged"]:
        seconds = time.monotonic() - started
        click.echo(f"{tally.change_points:,} change points stored in {seconds:.1f} s")
    else:
        click.echo("nothing new: the archive is as it was")
    if tally.statuses["refused"]:
        raise click.exceptions.Exit(1)


COMMANDS = (replay,)
