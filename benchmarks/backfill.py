"""A backfill on one and on two workers, of the AWS history spread over months.

    python benchmarks/backfill.py --data ../shared/data/aws_snapshots.parquet

Every worker has polars with one thread, so that two of them compare with one. The seconds of CPU
are those of this process and of its workers: beside others who want the cores, they say more than
the time.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

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


def cpu_seconds() -> float:
    """Of this process, and of those it has started that are over."""
    found = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        found += used.ru_utime + used.ru_stime
    return found


def measure(table: Path, folder: Path, engine: str, workers: int) -> tuple[float, dict[str, float]]:
    """Seconds in all, and when each stage ended. Starting the engine is part of it."""
    store = folder / f"{engine}-{workers}"
    shutil.rmtree(store, ignore_errors=True)
    started = time.perf_counter()
    ends: dict[str, float] = {}

    def note(stage: str, *_: int) -> None:
        ends[stage] = round(time.perf_counter() - started, 1)

    if workers == 1 and engine == "local":
        titans.backfill(table, provider="aws", store=store, workers=1, progress=note)
        return time.perf_counter() - started, ends
    with engine_of(engine, workers=workers) as running:
        titans.backfill(table, provider="aws", store=store, engine=running, progress=note)
    return time.perf_counter() - started, ends


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
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
        taken = []
        for workers in (1, 2):
            before = cpu_seconds()
            seconds, ends = measure(table, folder, engine, workers)
            used = cpu_seconds() - before
            taken.append(seconds)
            print(f"{engine} x {workers}: {seconds:.1f} s, CPU {used:.1f} s, {ends}", flush=True)
        print(f"{engine}: two are {taken[0] / taken[1]:.2f} times as fast", flush=True)
    if chosen.work is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
