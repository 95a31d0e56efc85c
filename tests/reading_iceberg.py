"""Published tables as others read them, and what a test says of them."""

from __future__ import annotations

import json
import warnings

import polars as pl
from pyiceberg.table import StaticTable

from titans import Archive
from titans.iceberg import Publication

__all__ = ["READERS", "assert_published", "by_polars", "by_pyiceberg", "objects"]


def _typed(rows: pl.DataFrame, schema: pl.Schema, by: list[str]) -> pl.DataFrame:
    """In the columns and dtypes of the archive: Iceberg has fewer integers and another name for
    UTC."""
    columns = []
    for name, dtype in schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.Datetime):
            column = column.dt.convert_time_zone("UTC")
        columns.append(column.cast(dtype))
    return rows.select(columns).sort(by)


def by_pyiceberg(location: str, expected: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    table = StaticTable.from_metadata(location)
    return _typed(pl.from_arrow(table.scan().to_arrow()), expected.schema, by)


def by_polars(location: str, expected: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """With polars' own reader of Parquet."""
    with warnings.catch_warnings(action="ignore"):
        rows = pl.scan_iceberg(location, reader_override="native").collect()
    return _typed(rows, expected.schema, by)


READERS = (by_pyiceberg, by_polars)


def assert_published(archive: Archive, done: Publication) -> None:
    """All readers say of both tables what the archive says."""
    expected, state = archive.changes(), archive.state(done.latest.at)
    by, key = [*archive.provider.key, "Time"], [*archive.provider.key]
    for read in READERS:
        assert read(done.changes.location, expected, by).equals(expected), read.__name__
        assert read(done.latest.location, state, key).equals(state), read.__name__
    assert done.changes.rows == expected.height
    assert done.latest.rows == state.height


def objects(archive: Archive, table: str = "changes") -> set[str]:
    """Names of all that lies below a table."""
    prefix = archive.paths.iceberg_table(table)
    return {entry.key.removeprefix(prefix) for entry in archive.store.list(prefix)}


def referred(archive: Archive, version: int, table: str = "changes") -> set[str]:
    """Names of all that a version needs: of its current snapshot."""
    prefix = archive.paths.iceberg_table(table)
    name = f"metadata/v{version}.metadata.json"
    metadata = json.loads(archive.store.get(prefix + name).data)
    listed = json.loads(metadata["properties"]["titans.list"])
    found = {name, listed}
    for part in json.loads(metadata["properties"]["titans.months"]).values():
        found.update(part["manifests"])
        found.update(rows[0] for rows, _ in part["extras"].values() if rows)
    return found
