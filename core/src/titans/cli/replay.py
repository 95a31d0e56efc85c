"""The command `replay`: a long table of full snapshots, ingested one after the other."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import define, field

from titans.cli.app import on_archive, open_archive
from titans.cli.output import console
from titans.cli.write import TABLE, scan_table
from titans.errors import SchemaError, SuspiciousSnapshotError
from titans.schema import TIME
from titans.slots import iso

if TYPE_CHECKING:
    import polars as pl

    from titans.archive import Archive

__all__ = ["COMMANDS", "snapshots"]


def snapshots(table: pl.LazyFrame) -> tuple[int, Iterator[tuple[datetime, pl.DataFrame]]]:
    """How many snapshots a table has, and each with its `Time`, in order. Only one is held in
    memory at a time.

    Raises:
        SchemaError: no column `Time`, or one that is null or not of dates and times.
    """
    import polars as pl

    schema = table.collect_schema()
    if TIME not in schema:
        raise SchemaError(f"the table has no column {TIME!r}; it has {', '.join(schema)}")
    dtype = schema[TIME]
    if dtype == pl.String:
        table = table.with_columns(pl.col(TIME).str.to_datetime(time_unit="us", time_zone="UTC"))
    elif isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        table = table.with_columns(pl.col(TIME).dt.replace_time_zone("UTC"))
    elif not isinstance(dtype, pl.Datetime):
        raise SchemaError(f"column {TIME!r} has dtype {dtype}; it must hold dates with times")
    times = table.select(TIME).collect()[TIME]
    if times.null_count():
        raise SchemaError(f"column {TIME!r} is null in {times.null_count()} row(s)")
    if not times.is_sorted():
        distinct = times.unique().sort()
        return len(distinct), (
            (t, table.filter(pl.col(TIME) == t).drop(TIME).collect()) for t in distinct
        )
    runs = times.rle().struct.unnest()

    def slices() -> Iterator[tuple[datetime, pl.DataFrame]]:
        offset = 0
        for length, at in runs.iter_rows():
            yield at, table.slice(offset, length).drop(TIME).collect()
            offset += length

    return runs.height, slices()


@define
class _Tally:
    """What became of the snapshots."""

    statuses: Counter[str] = field(factory=Counter)
    rows: int = 0
    change_points: int = 0
    notes: list[str] = field(factory=list)

    def ingest(
        self, archive: Archive, at: datetime, snapshot: pl.DataFrame, max_ceased: float
    ) -> None:
        self.rows += snapshot.height
        try:
            result = archive.ingest(snapshot, at, max_ceased=max_ceased)
        except SuspiciousSnapshotError as error:
            self.statuses["refused"] += 1
            self.notes.append(str(error))
            return
        self.statuses[result.status] += 1
        self.change_points += result.change_points
        if result.status == "skipped":
            self.notes.append(f"{iso(at)}: skipped, its slot holds another snapshot ({result.key})")


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
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from titans.archive import MAX_CEASED

    share = MAX_CEASED if max_ceased is None else max_ceased
    archive, tally, started = open_archive(provider, store), _Tally(), time.monotonic()
    count, found = snapshots(scan_table(file))
    count = count if limit is None else min(count, limit)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console(), disable=not sys.stderr.isatty() and not sys.stdout.isatty()
    ) as bar:
        task = bar.add_task(file.name, total=count)
        for _, (at, snapshot) in zip(range(count), found, strict=False):
            tally.ingest(archive, at, snapshot, share)
            bar.advance(task)
    for note in tally.notes:
        click.echo(f"  {note}")
    statuses = tally.statuses
    parts = [
        f"{statuses[s]} {s}"
        for s in ("ingested", "unchanged", "already", "skipped", "refused")
        if statuses[s]
    ]
    click.echo(f"{count} snapshots, {tally.rows:,} rows: {', '.join(parts) or 'nothing'}")
    if statuses["ingested"] or statuses["unchanged"]:
        click.echo(
            f"{tally.change_points:,} change points stored in {time.monotonic() - started:.1f} s"
        )
    else:
        click.echo("nothing new: the archive is as it was")


COMMANDS = (replay,)
