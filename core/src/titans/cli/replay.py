"""The command `replay`: a long table of full snapshots, ingested one after the other."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click

from titans.cli.input import TABLE, scan_table
from titans.cli.options import on_archive, open_archive
from titans.cli.output import printable, progress_bar
from titans.cli.tally import Tally
from titans.errors import SuspiciousSnapshotError
from titans.loading.snapshots import read_snapshots

__all__ = ["COMMANDS", "read_snapshots"]


@click.command()
@click.argument("file", type=TABLE)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many snapshots.")
@click.option(
    "--max-ceased",
    type=click.FloatRange(0, 1),
    help="Share of the living keys that a snapshot may lack. Default: the provider's.",
)
@on_archive
def replay(
    file: Path, limit: int | None, max_ceased: float | None, provider: str, store: str | None
) -> None:
    """Ingest every snapshot in FILE, a table of full snapshots with a column Time.

    Stopped anywhere, it goes on when it is run again: what is in the archive already is recognised.
    Exits with 1 where a snapshot was refused.
    """
    from titans.loading.batch import ingest_snapshot

    archive = open_archive(provider, store)
    tally = Tally()
    count, each = read_snapshots(scan_table(file, archive.provider))
    if limit is not None:
        count = min(count, limit)

    with progress_bar() as bar:
        task = bar.add_task(printable(file.name), total=count)
        for timestamp, frame in islice(each, count):
            snapshot = (file.name, timestamp, frame)
            # A table that does not fit the provider will not fit it in the next snapshot either.
            tally.add(ingest_snapshot(archive, snapshot, max_ceased, SuspiciousSnapshotError))
            bar.advance(task)

    tally.show_notes()
    click.echo(f"{count} snapshots, {tally.rows:,} rows: {tally.summary()}")
    tally.show_stored()
    tally.exit_where_refused()


COMMANDS = (replay,)
