"""Tables that commands read from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from titans.loading.tables import collected, columns_of, scan

if TYPE_CHECKING:
    import polars as pl

    from titans.provider import Provider

__all__ = ["TABLE", "collected", "columns_of", "read_table", "scan_table"]

TABLE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""The type of an argument that names such a file."""

_KINDS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def read_table(path: Path, provider: Provider) -> pl.DataFrame:
    """As `scan_table`, in memory.

    Raises:
        InputError: the file is not what its name says.
    """
    return collected(scan_table(path, provider), str(path))


def scan_table(path: Path, provider: Provider) -> pl.LazyFrame:
    """A Parquet, CSV or JSON-lines file, see `titans.loading.tables`.

    Raises:
        InputError: a JSON file is not what its name says.
    """
    kind = path.suffix.lower()
    if kind not in _KINDS:
        raise click.UsageError(f"{path} is none of {', '.join(_KINDS)}")
    return scan(path, _KINDS[kind], provider, str(path))
