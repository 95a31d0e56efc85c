"""Tables that commands read from files."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

import click

from titans.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from titans.provider import Provider

__all__ = ["TABLE", "collected", "columns_of", "read_table", "scan_table"]

TABLE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""The type of an argument that names such a file."""

_KINDS = (".parquet", ".csv", ".jsonl", ".ndjson")


def read_table(path: Path, provider: Provider) -> pl.DataFrame:
    """As `scan_table`, in memory.

    Raises:
        InputError: the file is not what its name says.
    """
    return collected(scan_table(path, provider), str(path))


def scan_table(path: Path, provider: Provider) -> pl.LazyFrame:
    """A Parquet, CSV or JSON-lines file. Nothing in its name is a pattern.

    Columns of a CSV file are text, so that `007` and `1.10` stay what they are until the schema
    says what is meant. In JSON values are what they are written as; those of value columns are
    text, so that none is rounded before it is looked at.

    Raises:
        InputError: a JSON file is not what its name says.
    """
    import polars as pl

    kind = path.suffix.lower()
    if kind == ".parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    if kind == ".csv":
        return pl.scan_csv(path, glob=False, infer_schema=False)
    if kind not in _KINDS:
        raise click.UsageError(f"{path} is none of {', '.join(_KINDS)}")

    literal = glob.escape(str(path))  # scan_ndjson takes patterns only
    inferred = columns_of(pl.scan_ndjson(literal, infer_schema_length=None), str(path))
    as_text = dict[str, pl.DataType]()
    for name, dtype in inferred.items():
        if name in provider.schema.columns and not dtype.is_nested():
            as_text[name] = pl.String()
    return pl.scan_ndjson(literal, schema={**inferred, **as_text})


def columns_of(table: pl.LazyFrame, what: str = "the table") -> pl.Schema:
    """The columns of a table that comes from a file.

    Raises:
        InputError: the file is not what its name says.
    """
    import polars as pl

    try:
        return table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(what, error) from error


def collected(table: pl.LazyFrame, what: str = "the table") -> pl.DataFrame:
    """The rows of a table that comes from a file.

    Raises:
        InputError: the file is not what its name says.
    """
    import polars as pl

    try:
        return table.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(what, error) from error


def _unreadable(what: str, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{what} cannot be read: {reason}")
