"""Tables that commands read from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TABLE", "scan_table"]

TABLE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""The type of an argument that names such a file."""


def scan_table(path: Path) -> pl.LazyFrame:
    """A Parquet, CSV or JSON-lines file."""
    import polars as pl

    readers: dict[str, Callable[[Path], pl.LazyFrame]] = {
        ".parquet": pl.scan_parquet,
        ".csv": pl.scan_csv,
        ".jsonl": pl.scan_ndjson,
        ".ndjson": pl.scan_ndjson,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise click.UsageError(f"{path} is none of {', '.join(readers)}")
    return reader(path)
