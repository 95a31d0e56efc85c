"""A backfill on one and on two workers, of the AWS history spread over months.

    python benchmarks/backfill.py --data ../shared/data/aws_snapshots.parquet
    python benchmarks/backfill.py --paper

Every worker has polars with one thread, so that two of them compare with one. `--paper` needs no
data: what 100 workers ask of a store, by what was counted for one month.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

os.environ["POLARS_MAX_THREADS"] = "1"

import polars as pl

import titans
from titans.backfilling.engines import engine_of

START = datetime(2024, 1, 1, tzinfo=UTC)


def spread(source: Path, target: Path, months: int) -> int:
    """The snapshots of a table, evenly over so many months; how many they are."""
    table = pl.read_parquet(source)
    times = table["Time"].unique().sort()
    step = timedelta(days=30.4 * months) / len(times)
    moved = [START + number * step for number in range(len(times))]
    given = pl.DataFrame({"Time": times, "moved": pl.Series(moved, dtype=pl.Datetime("us", "UTC"))})
    table = table.join(given, on="Time", maintain_order="left").drop("Time")
    table.rename({"moved": "Time"}).sort("Time", maintain_order=True).write_parquet(
        target, row_group_size=100_000
    )
    return len(times)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def measure(table: Path, folder: Path, engine: str, workers: int) -> tuple[float, dict[str, float]]:
    """Seconds in all, and when each stage ended. Starting the engine is part of it."""
    store = folder / f"{engine}-{workers}"
    shutil.rmtree(store, ignore_errors=True)
    started = time.perf_counter()
    ends: dict[str, float] = {}

    def note(stage: str, done: int, total: int) -> None:
        ends[stage] = round(time.perf_counter() - started, 1)

    if workers == 1 and engine == "local":
        titans.backfill(table, provider="aws", store=store, workers=1, progress=note)
        return time.perf_counter() - started, ends
    with engine_of(engine, workers=workers) as running:
        titans.backfill(table, provider="aws", store=store, engine=running, progress=note)
    return time.perf_counter() - started, ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/aws_snapshots.parquet"))
    parser.add_argument("--months", type=int, default=8)
    parser.add_argument("--engines", default="local", help="local,dask,spark")
    parser.add_argument("--work", type=Path)
    chosen = parser.parse_args()

    folder = chosen.work or Path(tempfile.mkdtemp(prefix="titans-backfill-"))
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "table.parquet"
    count = spread(chosen.data, table, chosen.months)
    print(f"{count} snapshots over {chosen.months} months")
    for engine in chosen.engines.split(","):
        one, ends = measure(table, folder, engine, 1)
        print(f"{engine}: 1 worker {one:.1f} s {ends}", flush=True)
        two, ends = measure(table, folder, engine, 2)
        print(f"{engine}: 2 workers {two:.1f} s {ends}: {one / two:.2f} times as fast", flush=True)
    if chosen.work is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
