"""The content of a file as a frame, with values as they are written in it."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from titans.errors import InputError
from titans.loading.records import quoted_values, record_lines
from titans.loading.unpack import unpacked, without_suffix

if TYPE_CHECKING:
    import polars as pl

    from titans.loading.sources import Source
    from titans.provider import Provider

__all__ = ["KINDS", "Reading", "collected", "columns_of", "kind_of", "scan"]

KINDS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
}


def kind_of(name: str) -> str | None:
    """The format that the name of a file says, packed or not."""
    return KINDS.get(Path(without_suffix(name)).suffix.lower())


@frozen
class Reading:
    """How files are read."""

    provider: Provider
    form: str | None = None
    """The format of all of them; `None`: what their names say."""
    records: str | None = None
    """Where in a JSON document its records are, like `data.items`."""

    def __attrs_post_init__(self) -> None:
        if self.form is not None and self.form not in KINDS.values():
            known = ", ".join(dict.fromkeys(KINDS.values()))
            raise InputError(f"the format is one of {known}, not {self.form!r}")

    def table(self, source: Source) -> pl.LazyFrame:
        """The rows of a file.

        Raises:
            InputError: it is not what its name says.
        """
        import polars as pl

        kind = self.form or kind_of(source.name)
        if kind is None:
            endings = ", ".join(KINDS)
            raise InputError(
                f"{source.name}: its name does not end with {endings} (or these and .gz, .bz2, "
                ".zst); say the format"
            )
        if self.records is not None and kind != "json":
            raise InputError(f"{source.name}: {self.records!r} is a place in JSON, this is {kind}")

        if source.path is not None and kind != "json" and _is_plain(source.name):
            return scan(source.path, kind, self.provider, source.name)
        data = unpacked(source.read(), source.name)
        if kind == "json":
            kind = "jsonl"
            data = record_lines(data, self.records, source.name)
        if kind == "jsonl" and not data.strip():
            return pl.LazyFrame()
        return scan(data, kind, self.provider, source.name)


def _is_plain(name: str) -> bool:
    return without_suffix(name) == name


def scan(source: Path | bytes, kind: str, provider: Provider, what: str) -> pl.LazyFrame:
    """Parquet, CSV or JSON lines. Nothing in the name of a file is a pattern.

    Columns of CSV are text, so that `007` and `1.10` stay what they are until the schema says what
    is meant. In JSON values are what they are written as; those of value columns are text, so that
    none is rounded before it is looked at, and those of `Json` columns are the JSON that stands
    there.

    Raises:
        InputError: JSON is not what the name says.
    """
    import polars as pl

    if kind == "parquet":
        return pl.scan_parquet(source, glob=False, hive_partitioning=False)
    if kind == "csv":
        return pl.scan_csv(source, glob=False, infer_schema=False)

    nested = [name for name, dtype in provider.schema.columns.items() if dtype == "Json"]
    if nested:
        data = source.read_bytes() if isinstance(source, Path) else source
        source = quoted_values(data, nested, what)
    literal: str | bytes
    if isinstance(source, Path):
        literal = glob.escape(str(source))  # scan_ndjson takes patterns only
    else:
        literal = source
    inferred = columns_of(pl.scan_ndjson(literal, infer_schema_length=None), what)
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
