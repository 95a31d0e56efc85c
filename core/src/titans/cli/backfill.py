"""The command `backfill`: years of full snapshots, month by month, on processes or an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from titans.cli.options import on_archive, on_engine
from titans.cli.output import printable, progress_bar

if TYPE_CHECKING:
    from titans.backfilling import Backfill

__all__ = ["COMMANDS"]


@click.command()
@click.argument("source", nargs=-1, required=True, metavar="SRC...")
@click.option("--time-column", metavar="COLUMN", help="Says the time in a table. Default: Time.")
@click.option(
    "--time-from-name",
    metavar="PATTERN",
    help="Each file is a snapshot, and its name says when: prices-%Y-%m-%dT%H%M.",
)
@click.option(
    "--format",
    type=click.Choice(("parquet", "csv", "json", "jsonl")),
    help="Default: what the name of a file says.",
)
@click.option("--records", metavar="NAMES", help="Where in JSON the list is, like data.items.")
@click.option(
    "--max-ceased",
    type=click.FloatRange(0, 1),
    help="Share of the living keys that a snapshot may lack. Default: the provider's.",
)
@on_engine
@on_archive
def backfill(source: tuple[str, ...], provider: str, store: str | None, **options: Any) -> None:
    """Ingest years of full snapshots, every month a task of its own.

    SRC is a table of snapshots, or a folder or prefix of its parts, with the column Time; or, with
    --time-from-name, files that are a snapshot each. The archive is the one that `titans ingest`
    makes.

    Stopped anywhere, it goes on when it is run again. What is refused is listed, and the exit code
    is 1.
    """
    from titans.backfilling import backfill as run

    paths = [each if "://" in each or not Path(each).exists() else Path(each) for each in source]
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        done = run(paths, provider=provider, store=store, progress=show, **options)
    _show(done)
    if done.refused:
        raise click.exceptions.Exit(1)


def _show(done: Backfill) -> None:
    for outcome in done.refused:
        when = "" if outcome.timestamp is None else f" {outcome.timestamp:%Y-%m-%dT%H:%M:%SZ}"
        click.echo(printable(f"  {outcome.name}{when}: refused: {outcome.reason}"))
    for month in done.months:
        line = f"{month}, {month.rows:,} rows, {month.change_points:,} change points stored"
        click.echo(f"{line}, {month.seconds:.1f} s")
    if done.in_order:
        click.echo(
            f"note    {len(done.in_order)} month(s) up to {done.in_order[-1]} one after the other: "
            "the archive had later slots in them already"
        )
    points = sum(month.change_points for month in done.months)
    click.echo(f"{len(done.outcomes)} snapshots, {points:,} change points stored")


COMMANDS = (backfill,)
