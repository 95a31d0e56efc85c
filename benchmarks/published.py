"""Iceberg tables in place: what publishing costs after each slot, and what four questions on the
table take in each engine, beside TITANS.

    python benchmarks/published.py --data ../shared/data/aws_snapshots.parquet

Engines other than polars and Sail are those of `make engines`. Every number is the best of three;
the first question of each engine is not counted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

ROOT = Path(__file__).resolve().parents[1]
ENGINES = ROOT / ".venv-engines" / "bin" / "python"
QUESTIONS = {
    "count": "count(*) from T",
    "region": "Region, avg(SpotPrice) from T group by Region",
    "key": "count(*) from T where InstanceType = 'm5.large' and Region = 'us-east-1'",
    "day": "count(*) from T where Time >= '2024-05-10' and Time < '2024-05-11'",
}

Ask = Callable[[str], Any]


# --- publishing -----------------------------------------------------------------------------------


def follow(data: Path, folder: Path, snapshots: int) -> None:
    """Publish after each of some snapshots, one of which comes late."""
    import titans

    table = pl.read_parquet(data)
    parts = [
        (time, rows.drop("Time")) for (time,), rows in table.group_by("Time", maintain_order=True)
    ]
    parts = parts[40 : 40 + snapshots]
    late = parts.pop(9)
    archive = titans.open(folder, provider="aws")
    published, unchanged, after_late = [], [], 0.0
    for number, (at, rows) in enumerate(parts):
        archive.ingest(rows, at, max_ceased=1.0)
        if number == snapshots * 3 // 5:
            archive.ingest(late[1], late[0], max_ceased=1.0)
        started = time.perf_counter()
        done = archive.publish_iceberg(grace="0s")
        spent = 1000 * (time.perf_counter() - started)
        if number == snapshots * 3 // 5:
            after_late = spent
        else:
            published.append(spent)
        started = time.perf_counter()
        assert archive.publish_iceberg().unchanged
        unchanged.append(1000 * (time.perf_counter() - started))
    assert done.changes.rows == archive.changes().height
    metadata = sum(entry.size for entry in archive.store.list("iceberg/"))
    whole = sum(entry.size for entry in archive.store.list())
    print(f"the first, with importing pyiceberg: {published[0]:.0f} ms")
    print(
        f"after a slot: {statistics.median(published[1:]):.1f} ms, at most {max(published[1:]):.0f}"
    )
    print(
        f"after a late slot: {after_late:.0f} ms; unchanged: {statistics.median(unchanged):.1f} ms"
    )
    print(f"two versions are {metadata / 1000:,.0f} kB beside {(whole - metadata) / 1e6:,.1f} MB")


# --- asking ---------------------------------------------------------------------------------------


def by_titans(folder: str) -> Ask:
    import titans

    archive = titans.open(folder, provider="aws")
    asked = {
        "count": lambda: archive.scan().select(pl.len()).collect().item(),
        "region": lambda: archive.scan().group_by("Region").agg(pl.mean("SpotPrice")).collect(),
        "key": lambda: archive.scan(InstanceType="m5.large", Region="us-east-1").collect().height,
        "day": lambda: archive.scan("2024-05-10", "2024-05-11").select(pl.len()).collect().item(),
    }
    return lambda name: asked[name]()


def by_polars(folder: str) -> Ask:
    os.environ["POLARS_ICEBERG_PLANNER"] = "pyiceberg"
    location = f"{_table(folder)}/metadata/v1.metadata.json"

    def ask(name: str) -> Any:
        rows = pl.scan_iceberg(location, reader_override="native")
        since = pl.col("Time") >= pl.datetime(2024, 5, 10, time_zone="UTC")
        until = pl.col("Time") < pl.datetime(2024, 5, 11, time_zone="UTC")
        asked = {
            "count": rows.select(pl.len()),
            "region": rows.group_by("Region").agg(pl.mean("SpotPrice")),
            "key": rows.filter(InstanceType="m5.large", Region="us-east-1").select(pl.len()),
            "day": rows.filter(since & until).select(pl.len()),
        }
        return asked[name].collect()

    return ask


def by_pyiceberg(folder: str) -> Ask:
    from pyiceberg.table import StaticTable

    table = StaticTable.from_metadata(f"{_table(folder)}/metadata/v1.metadata.json")
    day = "Time >= '2024-05-10T00:00:00+00:00' and Time < '2024-05-11T00:00:00+00:00'"
    conditions = {"key": "InstanceType == 'm5.large' and Region == 'us-east-1'", "day": day}

    def ask(name: str) -> Any:
        if name == "region":
            raise NotImplementedError
        scan = table.scan(conditions[name]) if name in conditions else table.scan()
        return scan.to_arrow().num_rows

    return ask


def by_duckdb(folder: str) -> Ask:
    import duckdb

    connection = duckdb.connect()
    around = Path(duckdb.__file__).parents[1]
    for name in ("json", "icu", "parquet", "httpfs", "avro", "iceberg"):
        (path,) = around.glob(f"duckdb_extension_{name}/extensions/v*/{name}.duckdb_extension")
        connection.execute(f"LOAD '{path}'")
    connection.execute("SET TimeZone = 'UTC'")
    table = f"iceberg_scan('{_table(folder)}')"
    return lambda name: connection.execute(_sql(name, table)).fetchall()


def by_chdb(folder: str) -> Ask:
    import chdb

    os.chdir(folder)  # it reads nothing outside
    table = f"icebergLocal('{_table(folder).removeprefix('file://')}')"
    return lambda name: str(chdb.query(_sql(name, table)))


def by_daft(folder: str) -> Ask:
    import daft
    from daft import col
    from pyiceberg.table import StaticTable

    table = StaticTable.from_metadata(f"{_table(folder)}/metadata/v1.metadata.json")

    def ask(name: str) -> Any:
        rows = daft.read_iceberg(table)
        if name == "count":
            return rows.count_rows()
        if name == "region":
            return rows.groupby("Region").agg(col("SpotPrice").mean()).to_arrow()
        if name == "key":
            wanted = (col("InstanceType") == "m5.large") & (col("Region") == "us-east-1")
            return rows.where(wanted).count_rows()
        raise NotImplementedError

    return ask


def by_sail(folder: str) -> Ask:
    os.environ["SPARK_HOME"] = sys.prefix
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    _, port = server.listening_address
    spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.read.format("iceberg").load(_table(folder)).createOrReplaceTempView("T")
    return lambda name: spark.sql(_sql(name, "T")).collect()


def _table(folder: str) -> str:
    return f"file://{folder}/iceberg/aws/changes"


def _sql(name: str, table: str) -> str:
    return "select " + QUESTIONS[name].replace("from T", f"from {table}")


ASKED: dict[str, tuple[Callable[[str], Ask], bool]] = {
    "titans": (by_titans, False),
    "polars": (by_polars, False),
    "sail": (by_sail, False),
    "pyiceberg": (by_pyiceberg, True),
    "duckdb": (by_duckdb, True),
    "chdb": (by_chdb, True),
    "daft": (by_daft, True),
}
"""Engine → how it is asked, and whether it is one of `make engines`."""


def ask(engine: str, folder: str) -> None:
    """The four questions, of one engine."""
    warnings.simplefilter("ignore")
    question = ASKED[engine][0](folder)
    cells = []
    for name in QUESTIONS:
        try:
            question(name)
        except NotImplementedError:
            cells.append("")
            continue
        taken = []
        for _ in range(3):
            started = time.perf_counter()
            question(name)
            taken.append(1000 * (time.perf_counter() - started))
        cells.append(f"{min(taken):.0f}")
    print(f"| {engine} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/aws_snapshots.parquet"))
    parser.add_argument("--snapshots", type=int, default=50)
    parser.add_argument("--publish-only", action="store_true", help="ask no engine")
    parser.add_argument("--ask", nargs=2, help="ENGINE FOLDER: this one, in this process")
    chosen = parser.parse_args()
    if chosen.ask:
        ask(*chosen.ask)
        return

    import titans

    folder = Path(tempfile.mkdtemp(prefix="titans-published-"))
    follow(chosen.data, folder / "followed", chosen.snapshots)
    if chosen.publish_only:
        shutil.rmtree(folder)
        return
    archive = titans.open(folder / "whole", provider="aws")
    titans.ingest_files(chosen.data, provider="aws", store=folder / "whole", max_ceased=1.0)
    archive.publish_iceberg()
    print(f"\n| ms | {' | '.join(QUESTIONS)} |")
    for engine, (_, elsewhere) in ASKED.items():
        python = ENGINES if elsewhere else Path(sys.executable)
        if not python.exists():
            print(f"| {engine} | not installed: make engines |")
            continue
        command = [python, __file__, "--ask", engine, folder / "whole"]
        subprocess.run(list(map(str, command)), check=True, cwd=folder)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
