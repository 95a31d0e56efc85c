"""Commands that ask: state, latest, history, changes, status."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from titans.cli.app import MOMENT, on_archive, open_archive, parse_pairs
from titans.cli.output import as_output, write

__all__ = ["COMMANDS"]


@click.command()
@click.option("--at", type=MOMENT, required=True, help="The moment; UTC unless it says otherwise.")
@on_archive
@as_output
def state(at: datetime, provider: str, store: str | None, form: str | None, out: Path | None) -> None:
    """Every key alive at a moment, with its values."""
    write(open_archive(provider, store).state(at), form, out)


@click.command()
@on_archive
@as_output
def latest(provider: str, store: str | None, form: str | None, out: Path | None) -> None:
    """Every key alive after the last change point."""
    write(open_archive(provider, store).latest(), form, out)


def _range(command: click.decorators.FC) -> click.decorators.FC:
    start = click.option("--from", "start", type=MOMENT, help="From this moment on.")
    end = click.option("--to", "end", type=MOMENT, help="Before this moment.")
    return start(end(command))


@click.command()
@click.option("--key", "pairs", multiple=True, required=True, metavar="COLUMN=VALUE", help="Repeat for more columns.")
@_range
@on_archive
@as_output
def history(
    pairs: tuple[str, ...], start: datetime | None, end: datetime | None, provider: str, store: str | None,
    form: str | None, out: Path | None,
) -> None:  # fmt: skip
    """The change points of one key, or of all keys that agree with it."""
    archive = open_archive(provider, store)
    write(archive.history(start, end, **parse_pairs(pairs)), form, out)


@click.command()
@_range
@on_archive
@as_output
def changes(
    start: datetime | None, end: datetime | None, provider: str, store: str | None, form: str | None, out: Path | None
) -> None:
    """The change points of all keys in a range of time."""
    write(open_archive(provider, store).changes(start, end), form, out)


@click.command()
@on_archive
@as_output
def status(provider: str, store: str | None, form: str | None, out: Path | None) -> None:
    """What the archive consists of, month by month."""
    import polars as pl

    rows = [
        {
            "Month": str(m.month),
            "Files": " ".join(f"L{level}:{count}" for level, count in m.levels.items()),
            "Change points": m.rows,
            "KB": round(m.bytes / 1000),
            "Slots": m.adopted,
            "Snapshots": m.observed,
            "Waiting": m.waiting,
            "Pending": m.pending,
        }
        for m in open_archive(provider, store).status()
    ]
    schema = dict.fromkeys(("Month", "Files"), pl.String) | dict.fromkeys(
        ("Change points", "KB", "Slots", "Snapshots", "Waiting", "Pending"), pl.Int64
    )
    write(pl.DataFrame(rows, schema=schema), form, out)


COMMANDS = (state, latest, history, changes, status)
