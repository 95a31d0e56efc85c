"""docs/engines.md: a backfill by numbered processes, one of which is killed and started again, makes
the archive that ingesting makes."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from readme_blocks import blocks

import titans

PAGE = Path(__file__).resolve().parents[2] / "docs/engines.md"
BEGIN = datetime(2026, 1, 31, 23, tzinfo=UTC)


def table():
    frames = []
    for number in range(40):
        rows = {
            "InstanceType": [f"m5.{key}" for key in range(20) if (key + number) % 9],
            "Region": "us-east-1",
            "AZ": "az1",
        }
        frame = pl.DataFrame(rows).with_columns(
            SpotPrice=pl.int_range(pl.len()) * 0.5 + number // 3,
            Time=pl.lit(BEGIN + timedelta(days=4 * number)).cast(pl.Datetime("us", "UTC")),
        )
        frames.append(frame)
    return pl.concat(frames)


def start(folder, *words):
    command = [sys.executable, folder / "numbered.py", folder / "jobs", "run-1", *words]
    return subprocess.Popen(list(map(str, command)), cwd=folder, env={**os.environ})


def test_numbered_processes_of_which_one_is_killed(tmp_path):
    (block,) = [each for each in blocks(PAGE) if "class Numbered" in each.text]
    (tmp_path / "numbered.py").write_text(block.text.replace("PAUSE = 1.0", "PAUSE = 0.05"))
    table().write_parquet(tmp_path / "snapshots.parquet")

    driver = start(tmp_path, "driver", 2, tmp_path / "snapshots.parquet", "aws", tmp_path / "store")
    workers = [start(tmp_path, index, 2) for index in range(2)]
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("jobs/run-1/*/*.done")) and time.monotonic() < deadline:
            time.sleep(0.02)
        workers[0].send_signal(signal.SIGKILL)
        workers[0].wait()
        workers[0] = start(tmp_path, 0, 2)
        assert driver.wait(120) == 0
        assert [worker.wait(60) for worker in workers] == [0, 0]
    finally:
        for process in (driver, *workers):
            process.kill()

    backfilled = titans.open(tmp_path / "store", provider="aws")
    ingested = titans.open(tmp_path / "ingested", provider="aws")
    for (time_,), rows in table().group_by("Time", maintain_order=True):
        ingested.ingest(rows.drop("Time"), time_)
    assert backfilled.changes().equals(ingested.changes())
    assert backfilled.coverage().equals(ingested.coverage())
    assert backfilled.verify(deep=True).passed
