"""How large should final files, row groups and pages be, how sorted and how compressed, and how far
apart keyframes? The curve behind docs/format.md.

    python benchmarks/layout.py --days 10

Makes change points of a spot market (60,000 keys, 4 % of them change in a slot, a few much more
often than most), stores them in each layout with polars alone, and measures the questions that pull
in different directions. Times are medians, page cache warm.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

KEY = ["InstanceType", "Region", "AZ"]
START = datetime(2026, 1, 1, tzinfo=UTC)
SLOT = timedelta(minutes=10)
RUNS = 31
PASSING = {"compression": "zstd", "compression_level": 3}
LEVELS = (1, 8, 64)
"""Slots of the files that are merged into final ones."""


class Layout(NamedTuple):
    """One way to store a month."""

    slots: int = 192
    """Of a final file."""
    level: int = 12
    """Of zstd."""
    row_group: int = 40_000
    page: int | None = 192
    """KiB; `None`: a megabyte."""
    spacing: int = 192
    """Slots between two keyframes."""
    by_key: bool = True
    """Sorted by key and `Time`, or by `Time` and key."""

    @property
    def order(self) -> list[str]:
        return [*KEY, "Time"] if self.by_key else ["Time", *KEY]


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
    interrupted, on_demand = (
        random.integers(0, 7, keys) / 2,
        np.round(random.lognormal(0, 1, keys), 4),
    )
    frames = []
    for slot in range(slots):
        moved = number if slot == 0 else np.flatnonzero(random.random(keys) < rate)
        half = moved[random.random(len(moved)) < 0.5]
        price[half] = np.round(price[half] * random.normal(1, 0.01, len(half)), 4)
        score[moved] = random.integers(1, 4, len(moved))
        values = {
            "SPS": score[moved],
            "T3": counts[0][moved],
            "T2": counts[1][moved],
            "Savings": savings[moved],
            "IF": interrupted[moved],
            "OndemandPrice": on_demand[moved],
            "SpotPrice": price[moved],
        }
        at = pl.lit(START + slot * SLOT).cast(pl.Datetime("us", "UTC")).alias("Time")
        rows = table[moved].with_columns(
            at, *(pl.Series(k, v) for k, v in values.items()), Ceased=False
        )
        frames.append(rows.with_columns(slot=pl.lit(slot, dtype=pl.Int32)))
    return pl.concat(frames)


def median(question: Callable[[int], object]) -> float:
    times = []
    for run in range(RUNS):
        began = time.perf_counter()
        question(run)
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def last_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The last row of every key, of rows sorted by key and `Time`."""
    return rows.filter(
        pl.any_horizontal(pl.col(c) != pl.col(c).shift(-1) for c in KEY).fill_null(value=True)
    )


def overlay(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """The last row of every key, of frames that follow each other in time."""
    return (
        frames[0]
        if len(frames) == 1
        else last_rows(pl.concat(frames).sort(KEY, maintain_order=True))
    )


def passing(points: pl.DataFrame, slots: int, level: int) -> int:
    """Bytes of all files of so many slots that are soon merged."""
    parts = points.with_columns(pl.col("slot") // level).partition_by("slot", include_key=False)
    assert len(parts) == -(-slots // level)
    return sum(written(part.sort([*KEY, "Time"]), **PASSING) for part in parts)


def written(rows: pl.DataFrame, **options: object) -> int:
    buffer = io.BytesIO()
    rows.write_parquet(buffer, **options)  # type: ignore[arg-type]
    return buffer.tell()


def measure(
    points: pl.DataFrame, slots: int, layout: Layout, merged: dict[int, int], folder: Path
) -> str:
    files, keyframes = [], []
    options = {
        "compression": "zstd",
        "compression_level": layout.level,
        "row_group_size": layout.row_group,
    }
    began = time.perf_counter()
    for first in range(0, slots, layout.slots):
        rows = points.filter(pl.col("slot").is_between(first, first + layout.slots, closed="left"))
        files.append(folder / f"{first:05}.parquet")
        rows.drop("slot").sort(layout.order).write_parquet(
            files[-1], **options, data_page_size=layout.page and layout.page << 10
        )
    took = time.perf_counter() - began
    state = points.clear().drop("slot")
    for first in range(0, slots, layout.spacing):
        keyframes.append(folder / f"K{first:05}.parquet")
        state.write_parquet(keyframes[-1], **options)
        rows = points.filter(
            pl.col("slot").is_between(first, first + layout.spacing, closed="left")
        ).drop("slot")
        state = overlay([state, last_rows(rows.sort([*KEY, "Time"]))])
    chosen = (
        points.select(KEY).unique(maintain_order=True).gather_every(points.height // 2000).rows()
    )
    schema = pl.read_parquet(files[0], n_rows=1).schema

    def near(low: int, high: int) -> list[Path]:
        return files[low // layout.slots : high // layout.slots + 1]

    def history(run: int) -> object:
        wanted = [pl.col(c) == v for c, v in zip(KEY, chosen[run % len(chosen)], strict=True)]
        return pl.scan_parquet(files, schema=schema).filter(*wanted).collect()

    def as_of(run: int) -> object:
        slot = (slots - 1) * (run + 1) // (RUNS + 1)
        first = slot - slot % layout.spacing
        low, high = START + first * SLOT, START + (slot + 1) * SLOT
        within = (pl.col("Time") >= low) & (pl.col("Time") < high)
        scans = [pl.scan_parquet(path, schema=schema).filter(within) for path in near(first, slot)]
        base, *tails = pl.collect_all([pl.scan_parquet(keyframes[first // layout.spacing]), *scans])
        if not layout.by_key:
            tails = [tail.sort([*KEY, "Time"]) for tail in tails]
        return overlay([base, *(last_rows(tail) for tail in tails)])

    def hour(run: int) -> object:
        slot = (slots - 6) * (run + 1) // (RUNS + 1)
        low, high = START + slot * SLOT, START + (slot + 6) * SLOT
        scan = pl.scan_parquet(near(slot, slot + 5), schema=schema)
        return scan.filter(pl.col("Time") >= low, pl.col("Time") < high).collect()

    def month(_: int) -> object:
        return (
            pl.scan_parquet(files, schema=schema)
            .select("Region", "Time", "SpotPrice", "Ceased")
            .collect()
        )

    size, states = (sum(f.stat().st_size for f in found) for found in (files, keyframes))
    all_written = size + states + sum(merged[n] for n in LEVELS if n < layout.slots)
    return (
        f"| {layout.slots} | {'key' if layout.by_key else 'time'} | {layout.level} | "
        f"{layout.row_group // 1000} | "
        f"{layout.page or '1,024'} | {layout.spacing} | {size / 1e6:.1f} + {states / 1e6:.1f} | "
        f"{all_written / (size + states):.1f} | "
        f"{took:.1f} | {median(history):.1f} | {median(as_of):.0f} | {median(hour):.1f} | "
        f"{median(month):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--keys", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    slots = given.days * 144
    points = change_points(given.keys, slots, given.seed)
    print(f"{points.height:,} change points of {given.keys:,} keys in {slots:,} slots\n")
    print(
        "| slots a file | sorted by | zstd | thousand rows a group | page KiB | slots between "
        "keyframes | MB files + keyframes | "
        "written, times that | encode s | history ms | state ms | one hour ms | four columns ms |"
    )
    print("| --- " * 13 + "|")
    layouts = [Layout(slots=n, spacing=n) for n in (64, 128, 192, 256, 512)]
    layouts += [Layout(spacing=n) for n in (64, 96, 384, 768)]
    layouts += [Layout(by_key=False)]
    layouts += [Layout(row_group=n) for n in (20_000, 80_000, 160_000)]
    layouts += [Layout(page=n) for n in (64, 128, 256, None)]
    layouts += [Layout(level=n) for n in (1, 3, 6, 15, 19)]
    merged = {level: passing(points, slots, level) for level in LEVELS}
    for layout in layouts:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(points, slots, layout, merged, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
