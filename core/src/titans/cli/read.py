"""Commands that ask: state, latest, history, changes, diff, grid, intervals, coverage, files, sql,
status, freshness.
"""

from __future__ import annotations

import atexit
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from titans.cli.asking import asking
from titans.cli.options import (
    MOMENT,
    choosing,
    completed_providers,
    in_range,
    on_archive,
    open_archive,
)
from titans.cli.output import Target, as_output, printable, without_equal_columns, write
from titans.errors import ArchiveNotFoundError, TitansError
from titans.redaction import redacted
from titans.slots import iso

if TYPE_CHECKING:
    import polars as pl

    from titans.archive import Archive
    from titans.results import MonthStatus

__all__ = ["COMMANDS"]


_AT = click.option(
    "--at", type=MOMENT, required=True, help="The moment; UTC unless it says otherwise."
)
_FIRST = click.option("--from", "first", type=MOMENT, required=True, help="The earlier moment.")
_SECOND = click.option("--to", "second", type=MOMENT, required=True, help="The later moment.")
_EVERY = click.option(
    "--every", default="1h", show_default=True, help="Length of a step, like 10m, 1h, 1d."
)


@asking(_AT, choosing)
def state(archive: Archive, at: datetime, wanted: dict[str, Any]) -> pl.DataFrame:
    """Every key alive at a moment, with its values."""
    return archive.state(at, **wanted)


@asking(choosing)
def latest(archive: Archive, wanted: dict[str, Any]) -> pl.DataFrame:
    """Every key alive after the last change point."""
    return archive.latest(**wanted)


@asking(choosing, in_range)
def history(
    archive: Archive, start: datetime | None, end: datetime | None, wanted: dict[str, Any]
) -> pl.DataFrame:
    """The change points of one key, or of all keys that agree with it."""
    if not wanted.keys() - {"columns"}:
        raise click.UsageError("say of which keys, with --key or --where; `titans changes` has all")
    return archive.history(start, end, **wanted)


@asking(choosing, in_range)
def changes(
    archive: Archive, start: datetime | None, end: datetime | None, wanted: dict[str, Any]
) -> pl.DataFrame:
    """The change points of all keys in a range of time."""
    return archive.changes(start, end, **wanted)


@asking(_FIRST, _SECOND, choosing, shown=without_equal_columns)
def diff(
    archive: Archive, first: datetime, second: datetime, wanted: dict[str, Any]
) -> pl.DataFrame:
    """What is different between two moments: keys added, removed, changed, with old and new
    values.
    """
    return archive.diff(first, second, **wanted)


@asking(_EVERY, choosing, in_range)
def grid(
    archive: Archive,
    every: str,
    start: datetime | None,
    end: datetime | None,
    wanted: dict[str, Any],
) -> pl.LazyFrame:
    """A regular series per key, each value as it holds at that time."""
    return archive.grid(start, end, every, lazy=True, **wanted)


@asking(choosing, in_range)
def intervals(
    archive: Archive, start: datetime | None, end: datetime | None, wanted: dict[str, Any]
) -> pl.LazyFrame:
    """The periods in which values held, with valid_from and valid_to."""
    return archive.intervals(start, end, lazy=True, **wanted)


@asking(in_range)
def coverage(archive: Archive, start: datetime | None, end: datetime | None) -> pl.DataFrame:
    """Slot by slot, whether somebody looked."""
    return archive.coverage(start, end)


@asking(in_range, is_traced=False)
def files(archive: Archive, start: datetime | None, end: datetime | None) -> pl.DataFrame:
    """The objects that hold the change points of a range, for other engines."""
    import polars as pl

    objects = archive.files(start, end)
    times = (
        pl.col("full_snapshots").list.eval(pl.element().dt.to_string("iso:strict")).list.join(" ")
    )
    return objects.with_columns(times)


@asking(click.argument("query"))
def sql(archive: Archive, query: str) -> pl.DataFrame:
    """Ask in SQL: tables changes, latest, intervals, and state(at := '2026-01-15T12:00Z')."""
    frame = archive.sql(query)
    atexit.register(_quiet)
    return frame


def _quiet() -> None:
    """DuckDB 2.0 calls its own objects leaked when the process ends, on thirty lines of stderr."""
    sys.stderr.flush()
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)


@click.command()
@click.option("--writers", is_flag=True, help="Who wrote which slots, instead.")
@click.option("--amendments", is_flag=True, help="What was corrected, instead.")
@click.option(
    "--provider",
    "-p",
    envvar="TITANS_PROVIDER",
    metavar="NAME",
    help="See `titans plugins`. Default: every archive of the store.",
    shell_complete=completed_providers,
)
@click.option(
    "--store",
    metavar="URL",
    help="Folder or URL (file://, s3://). Default: $TITANS_STORE, else ./titans-data.",
)
@as_output
def status(
    provider: str | None, store: str | None, target: Target, writers: bool, amendments: bool
) -> None:
    """What archives consist of, month by month, the newest first."""
    if writers and amendments:
        raise click.UsageError("give either --writers or --amendments")
    if provider is None:
        if writers or amendments:
            raise click.UsageError("say of which archive, with --provider")
        write(_status_of_all(store), target)
        return
    archive = open_archive(provider, store)
    if amendments:
        write(archive.amendments(), target)
    elif writers:
        write(archive.writers(), target)
    else:
        write(_status_frame(archive), target)


def _status_of_all(store: str | None) -> pl.DataFrame:
    import polars as pl

    from titans.holdings.places import find_places, open_place
    from titans.where import resolve_store

    place = resolve_store(store)
    frames = []
    for each in find_places(place):
        try:
            frame = _status_frame(open_place(place, each))
        except TitansError as error:
            click.echo(printable(f"{each.environment}{each.provider}: {error}"), err=True)
            continue
        name = pl.lit(each.environment + each.provider).alias("Archive")
        frames.append(frame.select(name, pl.all()))
    if not frames:
        raise ArchiveNotFoundError(
            f"{redacted(place.url)} holds no archive that can be read; check --store"
        )
    return pl.concat(frames)


def _status_frame(archive: Archive) -> pl.DataFrame:
    import polars as pl

    months = archive.status()
    rows = [_status_row(month) for month in reversed(months)]
    for month in months:
        for reason in month.left_out:
            click.echo(f"left out: {reason}", err=True)

    # Named, because a frame without rows has no other way to know its columns.
    texts = ("Month", "State", "Files")
    schema: dict[str, Any] = dict.fromkeys(_STATUS, pl.Int64) | dict.fromkeys(texts, pl.String)
    return pl.DataFrame(rows, schema=schema)


_STATUS = (
    "Month",
    "State",
    "Files",
    "Change points",
    "KB",
    "Slots",
    "Snapshots",
    "Gaps",
    "Keyframes",
    "Waiting",
    "Pending",
    "Left out",
)


def _status_row(month: MonthStatus) -> dict[str, str | int]:
    return {
        "Month": str(month.month),
        "State": "sealed" if month.sealed else "open",
        "Files": " ".join(f"L{level}:{count}" for level, count in month.levels.items()),
        "Change points": month.rows,
        "KB": round(month.bytes / 1000),
        "Slots": month.adopted,
        "Snapshots": month.observed,
        "Gaps": month.gaps,
        "Keyframes": month.keyframes,
        "Waiting": month.waiting,
        "Pending": month.pending,
        "Left out": len(month.left_out),
    }


@click.command()
@click.option("--now", type=MOMENT, help="Default: what the clock says.")
@on_archive
def freshness(now: datetime | None, provider: str, store: str | None) -> None:
    """How old the newest observation is. Exit code 1 where it should be younger."""
    found = open_archive(provider, store).freshness(now)
    if found.last is None:
        click.echo("nobody has observed anything yet")
    else:
        verdict = "late" if found.is_late else "fresh"
        click.echo(
            f"{verdict}: observed last at {iso(found.last)}, {_rounded(found.age)} ago; expected "
            f"every {found.every}"
        )
    if found.is_late:
        raise click.exceptions.Exit(1)


def _rounded(age: timedelta | None) -> str:
    return str(timedelta(seconds=round((age or timedelta()).total_seconds())))


COMMANDS = (
    state,
    latest,
    history,
    changes,
    diff,
    grid,
    intervals,
    coverage,
    files,
    sql,
    status,
    freshness,
)
