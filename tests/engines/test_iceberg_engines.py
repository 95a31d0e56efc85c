"""What is published is read by engines that know nothing of TITANS, row for row as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from realdata import FOLDER, needs_data

import titans

pytestmark = needs_data
PYTHON = Path(__file__).parents[2] / ".venv-engines" / "bin" / "python"
READERS = Path(__file__).with_name("readers.py")

SAIL = """
import os, sys, warnings
warnings.simplefilter("ignore")
os.environ["SPARK_HOME"] = sys.prefix  # pyspark-client 4.2 looks for one that it does not need
from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession
import polars as pl

server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
_, port = server.listening_address
spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
spark.conf.set("spark.sql.session.timeZone", "UTC")
url, out = sys.argv[1:]
pl.DataFrame(spark.read.format("iceberg").load(url).toArrow()).write_parquet(out)
spark.stop()
server.stop()
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two months, one of them sealed, with a slot that came late and one that waits."""
    rows = pl.read_parquet(FOLDER / "aws_snapshots.parquet").filter(
        pl.col("InstanceType").str.starts_with("m5.")
    )
    parts = [
        (time, part.drop("Time")) for (time,), part in rows.group_by("Time", maintain_order=True)
    ]
    archive = titans.open(tmp_path_factory.mktemp("store"), provider="aws")
    late = parts.pop(60)
    for number, (time, part) in enumerate(parts):
        archive.ingest(part, time, max_ceased=1.0)
        if number == 100:
            archive.ingest(late[1], late[0], max_ceased=1.0)
    time, part = parts[-1]
    archive.upload(part.head(20).with_columns(SPS=pl.lit(7)), time + timedelta(minutes=30))
    return archive


@pytest.fixture(scope="module")
def published(archive):
    return archive.publish_iceberg()


def same(found: pl.DataFrame, expected: pl.DataFrame, by: list[str]) -> bool:
    """Row for row, whatever an engine calls UTC and integers."""
    columns = []
    for name, dtype in expected.schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.Datetime) and found.schema[name].time_zone is None:
            column = column.dt.replace_time_zone("UTC")
        elif isinstance(dtype, pl.Datetime):
            column = column.dt.convert_time_zone("UTC")
        columns.append(column.cast(dtype))
    return found.select(columns).sort(by).equals(expected)


def check(archive, published, read):
    key = [*archive.provider.key]
    changes = archive.changes()
    state = archive.state(published.latest.at)
    assert same(read(published.changes), changes, [*key, "Time"])
    assert same(read(published.latest), state, key)


@pytest.mark.parametrize(
    ("engine", "by"),
    [("chdb", "root"), ("daft", "location"), ("duckdb", "root"), ("duckdb", "location")],
)
def test_an_engine_of_the_environment(archive, published, tmp_path, engine, by):
    if not PYTHON.exists():
        pytest.skip("the engines are not installed: make engines")

    def read(table):
        out = tmp_path / f"{table.table}.parquet"
        command = [PYTHON, READERS, engine, getattr(table, by), out]
        environment = {**os.environ, "DAFT_PROGRESS_BAR": "0"}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            cwd=archive.store.root,  # chdb reads nothing outside
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return pl.read_parquet(out)

    check(archive, published, read)


def test_sail(archive, published, tmp_path):
    pytest.importorskip("pysail", reason="pysail is not installed")

    def read(table):
        out = tmp_path / f"{table.table}.parquet"
        command = [sys.executable, "-c", SAIL, table.root, out]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return pl.read_parquet(out)

    check(archive, published, read)
