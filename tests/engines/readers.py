"""Reads an Iceberg table with one engine, in the environment of the engines: `readers.py ENGINE URL
OUT` writes its rows to a Parquet file. URL is that of the table, or of a metadata file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl


def duckdb(url: str) -> pl.DataFrame:
    import duckdb

    connection = duckdb.connect()
    around = Path(duckdb.__file__).parents[1]
    for name in ("json", "icu", "parquet", "httpfs", "avro", "iceberg"):
        (path,) = around.glob(f"duckdb_extension_{name}/extensions/v*/{name}.duckdb_extension")
        connection.execute(f"LOAD '{path}'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection.sql(f"FROM iceberg_scan('{url}')").pl()


def chdb(url: str) -> pl.DataFrame:
    import chdb

    folder = url.removeprefix("file://")
    return pl.from_arrow(chdb.query(f"SELECT * FROM icebergLocal('{folder}')", "ArrowTable"))


def daft(url: str) -> pl.DataFrame:
    import daft
    from pyiceberg.table import StaticTable

    return pl.from_arrow(daft.read_iceberg(StaticTable.from_metadata(url)).to_arrow())


ENGINES: dict[str, Callable[[str], pl.DataFrame]] = {"chdb": chdb, "daft": daft, "duckdb": duckdb}

if __name__ == "__main__":
    engine, url, out = sys.argv[1:]
    ENGINES[engine](url).write_parquet(out)
