"""What questions cost on a real history, beside DuckDB on one sorted Parquet of the same rows.

    make questions                   # about three minutes on two cores

The AWS history of `../shared/data` (160 snapshots of 32,000 keys) is ingested into a folder, unless
`--archive` names one. Each question is asked in turn with its peer, in one process, and the best of
each counts; so ratios hold on a noisy machine, milliseconds do not. The grid of a month for all keys
runs in a process of its own, which tells its memory. Results go to
`benchmarks/results/questions.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from compare import RESULTS, machine, peak_memory

import titans
from titans import Archive
from titans.loading.snapshots import read_snapshots

HISTORY = Path(__file__).resolve().parents[2] / "shared" / "data" / "aws_snapshots.parquet"
ROUNDS = 5
MONTH = ("2024-05-01", "2024-06-01")
DAYS = ("2024-05-10", "2024-05-12")
FAMILY, REGION = "m5.", "us-east-1"
KEY = ("InstanceType", "Region", "AZ")

ASOF = """
WITH points AS (SELECT * FROM read_parquet('{file}') WHERE {where}),
     keys AS (SELECT DISTINCT {key} FROM points WHERE Time < '{end}'),
     cells AS (SELECT keys.*, Time FROM keys CROSS JOIN (SELECT unnest(generate_series(
         TIMESTAMPTZ '{start}', TIMESTAMPTZ '{end}' - INTERVAL 1 HOUR, INTERVAL 1 HOUR)) AS Time))
SELECT cells.*, points.* EXCLUDE ({key}, Time)
FROM cells ASOF LEFT JOIN points
  ON {same} AND cells.Time >= points.Time
"""


def asof(file: Path, span: tuple[str, str], where: str) -> Any:
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    text = ASOF.format(
        file=file,
        where=where,
        key=", ".join(KEY),
        same=" AND ".join(f"cells.{name} = points.{name}" for name in KEY),
        start=span[0],
        end=span[1],
    )
    return pl.DataFrame(connection.sql(text))


def best(ways: Sequence[Callable[[], pl.DataFrame]]) -> list[tuple[float, int]]:
    """The best time of each way in milliseconds, and how many rows it gives; in turn."""
    times = [float("inf")] * len(ways)
    rows = [0] * len(ways)
    for _ in range(ROUNDS):
        for number, way in enumerate(ways):
            started = time.perf_counter()
            rows[number] = way().height
            times[number] = min(times[number], (time.perf_counter() - started) * 1000)
    return list(zip(times, rows, strict=True))


def questions(
    archive: Archive, file: Path
) -> dict[tuple[str, str], list[Callable[[], pl.DataFrame]]]:
    """The question and what it is measured against: their names, and both."""
    key = archive.latest().select(KEY).row(5000 % archive.latest().height, named=True)
    named = " AND ".join(f"{name} = '{value}'" for name, value in key.items())
    family = pl.col("InstanceType").str.starts_with(FAMILY)
    within = f"Time >= '{MONTH[0]}' AND Time < '{MONTH[1]}'"
    return {
        ("hourly grid of a family, a month", "ASOF"): [
            lambda: archive.grid(*MONTH, where=family),
            lambda: asof(file, MONTH, f"InstanceType LIKE '{FAMILY}%'"),
        ],
        ("hourly grid of all keys, two days", "ASOF"): [
            lambda: archive.grid(*DAYS),
            lambda: asof(file, DAYS, "true"),
        ],
        ("intervals of a key", "history"): [
            lambda: archive.intervals(**key),
            lambda: archive.history(**key),
        ],
        ("a key by SQL", "history"): [
            lambda: archive.sql(f"SELECT * FROM changes WHERE {named}"),
            lambda: archive.history(**key),
        ],
        ("intervals of a key by SQL", "history"): [
            lambda: archive.sql(f"SELECT * FROM intervals WHERE {named}"),
            lambda: archive.history(**key),
        ],
        ("a region's month by SQL", "scan"): [
            lambda: archive.sql(f"SELECT * FROM changes WHERE Region = '{REGION}' AND {within}"),
            lambda: archive.scan(*MONTH, Region=REGION).collect(),
        ],
    }


def ingest(folder: Path, snapshots: int | None) -> Archive:
    archive = titans.open(folder, provider="aws")
    count, each = read_snapshots(pl.scan_parquet(HISTORY))
    for number, (moment, frame) in enumerate(each):
        if number == (snapshots or count):
            break
        archive.ingest(frame, moment, max_ceased=1.0)
    return archive


def stream_month(folder: str, out: str) -> None:
    """Run in a process of its own: the grid of a month for all keys, into a file."""
    archive = titans.open(folder, provider="aws")
    started = time.perf_counter()
    archive.grid(*MONTH, lazy=True).sink_parquet(out)
    seconds = time.perf_counter() - started
    peak = peak_memory() / 2**20
    rows = pl.scan_parquet(out).select(pl.len()).collect().item()
    print(json.dumps({"seconds": round(seconds, 2), "peak_mib": round(peak), "rows": rows}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, help="An archive of the history that is there.")
    parser.add_argument("--snapshots", type=int, help="Only the first so many.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--stream", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stream:
        stream_month(*given.stream)
        return
    if not HISTORY.exists():
        sys.exit(f"the history is not here: {HISTORY}")

    with tempfile.TemporaryDirectory() as scratch:
        folder = given.archive or Path(scratch) / "archive"
        archive = titans.open(folder, provider="aws")
        if given.archive is None:
            archive = ingest(folder, given.snapshots)
        file = Path(scratch) / "sorted.parquet"
        archive.changes().write_parquet(file, row_group_size=40_000)

        about = machine("titans-core", "polars", "duckdb") | {"command": "make questions"}
        lines: list[dict[str, Any]] = [about]
        for (name, against), ways in questions(archive, file).items():
            (mine, rows), (other, _) = best(ways)
            lines.append(
                {
                    "kind": "question",
                    "name": name,
                    "rows": rows,
                    "ms": round(mine, 1),
                    "against": against,
                    "against_ms": round(other, 1),
                    "ratio": round(mine / other, 2),
                }
            )
            print(json.dumps(lines[-1]), flush=True)
        out = str(Path(scratch) / "grid.parquet")
        command = [sys.executable, __file__, "--stream", str(folder), out]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines.append({"kind": "stream", "name": "hourly grid of all keys, a month"})
        lines[-1] |= json.loads(told)
        print(json.dumps(lines[-1]))
    given.results.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (given.results / "questions.jsonl").write_text(text)


if __name__ == "__main__":
    main()
