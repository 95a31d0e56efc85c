"""What a backfill on a hundred workers would take, on paper: a real one on a store that counts, and
the limits of S3.

    python benchmarks/backfill_paper.py --data ../shared/data/aws_snapshots.parquet

Measured, in this process: requests, bytes and CPU of each task. Reckoned: a request takes 30 ms, a
worker sends and gets 100 MB a second, and S3 answers 3,500 writes and 5,500 reads a second below a
prefix, of which a month of an archive is one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["POLARS_MAX_THREADS"] = "1"

from attrs import define, field, frozen
from backfill import spread

import titans
from titans.store.memory import MemoryStore

LATENCY, BANDWIDTH = 0.030, 100e6
WRITES, READS = 3_500, 5_500
"""A second, below a prefix."""
MONTHS, SNAPSHOTS = 120, 4_320
"""Of what is reckoned: ten years, looked at every ten minutes."""


class Counted(MemoryStore):
    """Counts requests and bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def get(self, key):
        blob = super().get(key)
        self.counts.update(reads=1, bytes=len(blob.data))
        return blob

    def get_range(self, key, start, end):
        data = super().get_range(key, start, end)
        self.counts.update(reads=1, bytes=len(data))
        return data

    def head(self, key):
        self.counts.update(reads=1)
        return super().head(key)

    def list(self, prefix="", start_after=""):
        self.counts.update(lists=1)
        return super().list(prefix, start_after)

    def create(self, key, data):
        self.counts.update(writes=1, bytes=len(data))
        return super().create(key, data)

    def replace(self, key, data, etag):
        self.counts.update(writes=1, bytes=len(data))
        return super().replace(key, data, etag)

    def delete(self, key):
        self.counts.update(writes=1)
        super().delete(key)


@frozen
class Cost:
    """Of one task."""

    stage: str
    cpu: float
    counts: dict[str, int]

    @property
    def requests(self) -> int:
        return sum(number for name, number in self.counts.items() if name != "bytes")


@define
class Watching:
    """An engine that does one task after the other, and notes what each took."""

    store: Counted
    costs: list[Cost] = field(factory=list)

    def map(
        self, function: Callable[[Any], Any], tasks: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]:
        for position, task in enumerate(tasks):
            before, began = self.store.counts.copy(), time.process_time()
            result = function(task)
            spent = time.process_time() - began
            counts = {name: self.store.counts[name] - before[name] for name in self.store.counts}
            self.costs.append(Cost(function.__name__, spent, counts))
            yield position, result


@frozen
class PerSnapshot:
    """Of one stage, for a snapshot."""

    cpu: float
    requests: float
    writes: float
    bytes: float

    @classmethod
    def of(cls, costs: Sequence[Cost], snapshots: int) -> PerSnapshot:
        total: Counter[str] = Counter()
        for cost in costs:
            total.update(cost.counts)
        requests = sum(cost.requests for cost in costs)
        cpu = sum(cost.cpu for cost in costs)
        return cls(
            cpu / snapshots,
            requests / snapshots,
            total["writes"] / snapshots,
            total["bytes"] / snapshots,
        )

    def seconds(self) -> float:
        """What a worker needs for it."""
        return self.cpu + self.requests * LATENCY + self.bytes / BANDWIDTH


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/aws_snapshots.parquet"))
    parser.add_argument("--months", type=int, default=4)
    chosen = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.parquet"
        snapshots = spread(chosen.data, table, chosen.months)
        store = Counted()
        engine = Watching(store)
        began = time.process_time()
        titans.backfill(table, provider="aws", store=store, engine=engine)
        whole = time.process_time() - began
    alone = whole - sum(cost.cpu for cost in engine.costs)
    print(f"{snapshots} snapshots in {chosen.months} months: {whole:.1f} s of CPU")
    print(f"outside of tasks: {alone / chosen.months:.2f} s a month\n")

    stages = {}
    print("stage      CPU ms  requests  writes      kB   a snapshot")
    for stage in dict.fromkeys(cost.stage for cost in engine.costs):
        stages[stage] = PerSnapshot.of(
            [cost for cost in engine.costs if cost.stage == stage], snapshots
        )
        each = stages[stage]
        print(
            f"{stage:10} {1000 * each.cpu:6.0f}  {each.requests:8.1f}  {each.writes:6.1f}  "
            f"{each.bytes / 1000:6.0f}"
        )

    print(f"\n{MONTHS} months of {SNAPSHOTS:,} snapshots")
    print("workers     hours  requests/s  writes/s below the busiest prefix")
    task = sum(each.seconds() for each in stages.values()) * SNAPSHOTS
    for workers in (1, 10, 100):
        rounds = -(-MONTHS // workers)
        seconds = rounds * task + MONTHS * alone / chosen.months
        requests = sum(each.requests for each in stages.values()) * SNAPSHOTS * MONTHS
        busiest = max(each.writes / each.seconds() for each in stages.values())
        print(f"{workers:7,}  {seconds / 3600:8.1f}  {requests / seconds:10.0f}  {busiest:8.1f}")
    print(f"S3 answers {WRITES:,} writes and {READS:,} reads a second below a prefix.")


if __name__ == "__main__":
    main()
