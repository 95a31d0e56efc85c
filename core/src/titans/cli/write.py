"""Commands that change an archive: upload, compact."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from titans.cli.app import MOMENT, on_archive, open_archive

if TYPE_CHECKING:
    import polars as pl

__all__ = ["COMMANDS", "scan_table"]

TABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


def scan_table(path: Path) -> pl.LazyFrame:
    """A Parquet, CSV or JSON-lines file."""
    import polars as pl

    readers: dict[str, Callable[[Path], pl.LazyFrame]] = {
        ".parquet": pl.scan_parquet, ".csv": pl.scan_csv, ".jsonl": pl.scan_ndjson, ".ndjson": pl.scan_ndjson,
    }  # fmt: skip
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise click.UsageError(f"{path} is none of {', '.join(readers)}")
    return reader(path)


@click.command()
@click.argument("file", type=TABLE)
@click.option("--at", type=MOMENT, required=True, help="When the rows were collected.")
@click.option("--removed", type=TABLE, help="A second file: the keys that are gone.")
@click.option("--on-conflict", type=click.Choice(("keep", "error")), default="keep", show_default=True)
@on_archive
def upload(file: Path, at: datetime, removed: Path | None, on_conflict: str, provider: str, store: str | None) -> None:
    """Store the change points in FILE as the hot file of their slot."""
    from titans.changes.prepare import prepare

    frame = scan_table(file).collect()
    if removed is not None:
        frame = prepare(frame, scan_table(removed).collect())
    key = open_archive(provider, store).upload(frame, at, on_conflict=on_conflict)
    click.echo(key or "nothing to store: no rows")


@click.command()
@on_archive
def compact(provider: str, store: str | None) -> None:
    """Adopt what was uploaded, merge what is due, remove what was replaced."""
    done = open_archive(provider, store).compact()
    click.echo(
        f"{done.adopted} slot(s) adopted, {done.merged} merge(s), {done.removed} object(s) removed, {done.seconds:.1f} s"
    )


COMMANDS = (upload, compact)
