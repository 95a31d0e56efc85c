"""How large should final files, row groups and pages be? The curve behind docs/format.md.

    python benchmarks/layout.py --days 10

Makes change points of a spot market (60,000 keys, 4 % of them change in a slot, a few much more often than most), stores them in each
layout with polars alone, and measures the three questions that pull in different directions. Times are medians, page cache warm.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

KEY = ["InstanceType", "Region", "AZ"]
START = datetime(2026, 1, 1, tzinfo=UTC)
SLOT = timedelta(minutes=10)
RUNS = 31


def change_points(keys: int, slots: int, seed: int) -> pl.DataFrame:
    """Key, `Time`, values, `Ceased` and `slot`, sorted by slot."""
    random = np.random.default_rng(seed)
    number = np.arange(keys)
    table = pl.DataFrame(
        {
            "InstanceType": [f"f{n // 810:02}.{n // 90 % 9}xlarge" for n in number],
            "Region": [f"region-{n % 90 // 3:02}" for n in number],
            "AZ": [f"zone{n % 90 // 3:02}-az{n % 3}" for n in number],
        }
    )
    weight = 1 / (number + 10.0) ** 0.9
    scale = np.geomspace(1, 1e7, 400)
    means = [np.minimum(0.9, c * weight).mean() for c in scale]
    rate = random.permutation(np.minimum(0.9, scale[np.searchsorted(means, 0.04)] * weight))
    price, score = np.round(random.lognormal(-1, 1, keys), 4), random.integers(1, 4, keys)
    savings, counts = random.integers(0, 90, keys), random.integers(0, 51, (2, keys))
    interrupted, on_demand = random.integers(0, 7, keys) / 2, np.round(random.lognormal(0, 1, keys), 4)
    frames = []
    for slot in range(slots):
        moved = number if slot == 0 else np.flatnonzero(random.random(keys) < rate)
        half = moved[random.random(len(moved)) < 0.5]
        price[half] = np.round(price[half] * random.normal(1, 0.01, len(half)), 4)
        score[moved] = random.integers(1, 4, len(moved))
        values = {
            "SPS": score[moved], "T3": counts[0][moved], "T2": counts[1][moved], "Savings": savings[moved],
            "IF": interrupted[moved], "OndemandPrice": on_demand[moved], "SpotPrice": price[moved],
        }  # fmt: skip
        at = pl.lit(START + slot * SLOT).cast(pl.Datetime("us", "UTC")).alias("Time")
        rows = table[moved].with_columns(at, *(pl.Series(k, v) for k, v in values.items()), Ceased=False)
        frames.append(rows.with_columns(slot=pl.lit(slot, dtype=pl.Int32)))
    return pl.concat(frames)


def median(question: Callable[[int], object]) -> float:
    times = []
    for run in range(RUNS):
        began = time.perf_counter()
        question(run)
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def measure(
    points: pl.DataFrame, slots: int, per_file: int, level: int, row_group: int, page: int | None, folder: Path
) -> str:
    files = []
    began = time.perf_counter()
    for first in range(0, slots, per_file):
        rows = points.filter(pl.col("slot").is_between(first, first + per_file, closed="left"))
        path = folder / f"{per_file}-{level}-{row_group}-{page}-{first:05}.parquet"
        rows.drop("slot").sort([*KEY, "Time"]).write_parquet(
            path,
            compression="zstd",
            compression_level=level,
            row_group_size=row_group,
            data_page_size=page and page << 10,
        )
        files.append(path)
    wrote = time.perf_counter() - began
    chosen = points.select(KEY).unique(maintain_order=True).gather_every(points.height // 2000).rows()
    schema = pl.read_parquet(files[0], n_rows=1).schema

    def history(run: int) -> object:
        wanted = [pl.col(c) == v for c, v in zip(KEY, chosen[run % len(chosen)], strict=True)]
        return pl.scan_parquet(files, schema=schema).filter(*wanted).collect()

    def hour(run: int) -> object:
        slot = (slots - 6) * (run + 1) // (RUNS + 1)
        low, high = START + slot * SLOT, START + (slot + 6) * SLOT
        near = files[slot // per_file : (slot + 5) // per_file + 1]
        return pl.scan_parquet(near, schema=schema).filter(pl.col("Time") >= low, pl.col("Time") < high).collect()

    def month(_: int) -> object:
        return pl.scan_parquet(files, schema=schema).select("Region", "Time", "SpotPrice", "Ceased").collect()

    size = sum(f.stat().st_size for f in files) / 1e6
    return (
        f"| {per_file} | {level} | {row_group:,} | {page or '1,024'} | {len(files)} | {size:.1f} | {wrote:.1f} | "
        f"{median(history):.1f} | {median(hour):.1f} | {median(month):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--keys", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    slots = given.days * 144
    points = change_points(given.keys, slots, given.seed)
    print(f"{points.height:,} change points of {given.keys:,} keys in {slots:,} slots\n")
    print(
        "| slots a file | zstd | rows a group | page KiB | files | MB | write s | history ms | one hour ms | four columns ms |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    layouts: list[tuple[int, int, int, int | None]] = [(n, 15, 40_000, 128) for n in (64, 128, 192, 256, 512)]
    layouts += [(192, 15, n, 128) for n in (20_000, 80_000, 160_000)]
    layouts += [(192, 15, 40_000, page) for page in (32, 64, 256, None)]
    layouts += [(192, level, 40_000, 128) for level in (1, 3, 6, 12, 19)]
    with tempfile.TemporaryDirectory() as folder:
        for per_file, level, row_group, page in layouts:
            print(measure(points, slots, per_file, level, row_group, page, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
