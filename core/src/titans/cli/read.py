"""Commands that ask: state, latest, history, changes, diff, grid, intervals, coverage, files, sql,
status.
"""

from __future__ import annotations

import atexit
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from titans.cli.options import MOMENT, in_range, on_archive, open_archive, parse_pairs
from titans.cli.output import as_output, write

if TYPE_CHECKING:
    import polars as pl

    from titans.results import MonthStatus

__all__ = ["COMMANDS"]


@click.command()
@click.option("--at", type=MOMENT, required=True, help="The moment; UTC unless it says otherwise.")
@on_archive
@as_output
def state(
    at: datetime, provider: str, store: str | None, form: str | None, out: Path | None
) -> None:
    """Every key alive at a moment, with its values."""
    write(open_archive(provider, store).state(at), form, out)


@click.command()
@on_archive
@as_output
def latest(provider: str, store: str | None, form: str | None, out: Path | None) -> None:
    """Every key alive after the last change point."""
    write(open_archive(provider, store).latest(), form, out)


@click.command()
@click.option(
    "--key",
    "pairs",
    multiple=True,
    required=True,
    metavar="COLUMN=VALUE",
    help="Repeat for more columns.",
)
@in_range
@on_archive
@as_output
def history(
    pairs: tuple[str, ...],
    start: datetime | None,
    end: datetime | None,
    provider: str,
    store: str | None,
    form: str | None,
    out: Path | None,
) -> None:
    """The change points of one key, or of all keys that agree with it."""
    archive = open_archive(provider, store)
    key: dict[str, Any] = {**parse_pairs(pairs)}
    write(archive.history(start, end, **key), form, out)


@click.command()
@in_range
@on_archive
@as_output
def changes(
    start: datetime | None,
    end: datetime | None,
    provider: str,
    store: str | None,
    form: str | None,
    out: Path | None,
) -> None:
    """The change points of all keys in a range of time."""
    write(open_archive(provider, store).changes(start, end), form, out)


@click.command()
@click.option("--from", "first", type=MOMENT, required=True, help="The earlier moment.")
@click.option("--to", "second", type=MOMENT, required=True, help="The later moment.")
@on_archive
@as_output
def diff(
    first: datetime,
    second: datetime,
    provider: str,
    store: str | None,
    form: str | None,
    out: Path | None,
) -> None:
    """What is different between two moments: keys added, removed, changed, with old and new
    values.
    """
    differences = open_archive(provider, store).diff(first, second)

    # A terminal has no room for columns in which nothing differs.
    if form is None and out is None:
        differences = _without_equal_columns(differences)
    write(differences, form, out)


def _without_equal_columns(differences: pl.DataFrame) -> pl.DataFrame:
    equal: list[str] = []
    for old in differences.columns:
        new = f"{old.removesuffix('_old')}_new"
        if not old.endswith("_old"):
            continue
        if differences[old].equals(differences[new], check_names=False):
            equal += [old, new]
    return differences.drop(equal)


@click.command()
@click.option(
    "--every", default="1h", show_default=True, help="Length of a step, like 10m, 1h, 1d."
)
@click.option(
    "--column", "columns", multiple=True, metavar="NAME", help="Only these value columns."
)
@in_range
@on_archive
@as_output
def grid(
    every: str,
    columns: tuple[str, ...],
    start: datetime | None,
    end: datetime | None,
    provider: str,
    store: str | None,
    form: str | None,
    out: Path | None,
) -> None:
    """A regular series per key, each value as it holds at that time."""
    write(open_archive(provider, store).grid(start, end, every, columns or None), form, out)


@click.command()
@in_range
@on_archive
@as_output
def intervals(
    start: datetime | None,
    end: datetime | None,
    provider: str,
    store: str | None,
    form: str | None,
    out: Path | None,
) -> None:
    """The periods in which values held, with valid_from and valid_to."""
    write(open_archive(provider, store).intervals(start, end), form, out)


@click.command()
@in_range
@on_archive
@as_output
def coverage(
    start: datetime | None,
    end: datetime | None,
    provider: str,
    store: str | None,
    form: str | None,
    out: Path | None,
) -> None:
    """Slot by slot, whether somebody looked."""
    write(open_archive(provider, store).coverage(start, end), form, out)


@click.command()
@in_range
@on_archive
@as_output
def files(
    start: datetime | None,
    end: datetime | None,
    provider: str,
    store: str | None,
    form: str | None,
    out: Path | None,
) -> None:
    """The objects that hold the change points of a range, for other engines."""
    import polars as pl

    objects = open_archive(provider, store).files(start, end)
    times = (
        pl.col("full_snapshots").list.eval(pl.element().dt.to_string("iso:strict")).list.join(" ")
    )
    write(objects.with_columns(times), form, out)


@click.command()
@click.argument("query")
@on_archive
@as_output
def sql(query: str, provider: str, store: str | None, form: str | None, out: Path | None) -> None:
    """Ask in SQL: tables changes, latest, intervals, and state(at := '2026-01-15T12:00Z')."""
    write(open_archive(provider, store).sql(query), form, out)
    atexit.register(_quiet)


def _quiet() -> None:
    """DuckDB 2.0 calls its own objects leaked when the process ends, on thirty lines of stderr."""
    sys.stderr.flush()
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)


@click.command()
@on_archive
@as_output
def status(provider: str, store: str | None, form: str | None, out: Path | None) -> None:
    """What the archive consists of, month by month."""
    import polars as pl

    rows = [_status_row(month) for month in open_archive(provider, store).status()]

    # Named, because a frame without rows has no other way to know its columns.
    texts = ("Month", "State", "Files")
    schema: dict[str, Any] = dict.fromkeys(_STATUS, pl.Int64) | dict.fromkeys(texts, pl.String)
    write(pl.DataFrame(rows, schema=schema), form, out)


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
    }


COMMANDS = (state, latest, history, changes, diff, grid, intervals, coverage, files, sql, status)
