"""A year of a small key set, slot by slot: nothing may grow with the age of the archive but the
archive.

    make soak-year                                   # 52,560 slots, about five minutes
    python benchmarks/year.py --slots-a-month 40     # a short one

The store is in memory and its clock is that of the slots, so that replaced files go after an hour,
as they would. Every month is measured in what does not depend on the machine: calls to the store,
files opened by a state, the size of the manifest. States are compared with the snapshots that were
stored.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    os.environ.setdefault(
        "POLARS_MAX_THREADS", "1"
    )  # small frames: half of the time would go into waking threads

import polars as pl
from workload import KEY, SEED, Market

from titans import Archive, plugins
from titans.slots import Month, Slot
from titans.store import Blob, Entry
from titans.store.memory import MemoryStore

MONTHS = tuple(Month.parse(f"2026-{n:02}") for n in range(1, 13))
KEYS, CHANGE = 400, 0.04
PROBES = 9
"""Slots of each month, the same in every month, at which the state is read: just before merges,
when there are most files."""
SHORTEST = 28 * 144
"""Slots of February."""
SLACK = 1.1
"""How far a month may lie above the first three, which differ by their days."""


class MonthCost(NamedTuple):
    """What one month of the archive took."""

    month: str
    slots: int
    calls_a_slot: float
    """Calls to the store, mean."""
    most_calls: int
    """In one slot."""
    files_a_state: int
    """Data files opened by one state, at most."""
    manifest_bytes: int
    """At most."""
    slot_p50_ms: float
    slot_max_ms: float
    state_ms: float


class CountedStore:
    """A store in memory whose clock is told, and which counts what is asked of it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self._store = MemoryStore("year", clock=lambda: self.now)
        self.url, self.parallel = self._store.url, False
        self.calls = 0
        self.read: set[str] = set()
        """Data files read since this was last emptied."""
        self.largest = 0
        """The largest manifest written since this was last zero, in bytes."""

    def _called(self, key: str) -> None:
        self.calls += 1
        if key.endswith(".parquet"):
            self.read.add(key)

    def get(self, key: str) -> Blob:
        self._called(key)
        return self._store.get(key)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        self._called(key)
        return self._store.get_range(key, start, end)

    def head(self, key: str) -> Entry:
        self.calls += 1
        return self._store.head(key)

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        self.calls += 1
        return self._store.list(prefix, start_after)

    def create(self, key: str, data: bytes) -> str:
        self.calls += 1
        return self._store.create(key, data)

    def replace(self, key: str, data: bytes, etag: str) -> str:
        self.calls += 1
        if key.endswith("manifest.json"):
            self.largest = max(self.largest, len(data))
        return self._store.replace(key, data, etag)

    def delete(self, key: str) -> None:
        self.calls += 1
        self._store.delete(key)

    def local_path(self, key: str) -> Path | None:
        return self._store.local_path(key)


class Year:
    """An archive that grows by `step`, one month after the other."""

    def __init__(
        self,
        keys: int = KEYS,
        *,
        snapshots: bool = True,
        seed: int = SEED,
        change: float = CHANGE,
        store: CountedStore | None = None,
    ) -> None:
        self.store = store or CountedStore()
        self.market = Market(keys, change, seed)
        self.snapshots = snapshots
        """Whether full snapshots are ingested, or change points uploaded."""
        self.seen: dict[datetime, pl.DataFrame] = {}
        """What was there at some times: key and values of every living key."""
        self._archive = self._new()

    def _new(self) -> Archive:
        return Archive(self.store, plugins.load("aws"))

    def step(self, month: Month, count: int | None = None) -> MonthCost:
        """Every slot of the month, or `count` of them, equally far apart."""
        store, calls, times, files, states = self.store, [], [], [], []
        total = (month.end - month.start) // timedelta(minutes=10)
        every = 1 if count is None else max(1, SHORTEST // count)
        probes = {(SHORTEST // every * n // PROBES - 2) * every for n in range(1, PROBES + 1)}
        store.largest = 0
        for index in range(0, total, every):
            at = store.now = Slot(month, index, 10).start
            rows = self.market.step().with_columns(
                pl.lit(at).cast(pl.Datetime("us", "UTC")).alias("Time")
            )
            snapshot = self.market.snapshot()
            before, began = store.calls, time.perf_counter()
            if self.snapshots:
                self._archive.ingest(snapshot, at)
            elif key := self._archive.upload(rows, at):
                self._archive.compact(key, budget_seconds=60)
            times.append((time.perf_counter() - began) * 1e3)
            calls.append(store.calls - before)
            if index in probes:
                self.seen[at] = snapshot
                store.read = set()
                began = time.perf_counter()
                self.check(at)
                states.append((time.perf_counter() - began) * 1e3)
                files.append(len(store.read))
        return MonthCost(
            str(month),
            len(times),
            statistics.mean(calls),
            max(calls),
            max(files),
            store.largest,
            statistics.median(times),
            max(times),
            statistics.median(states),
        )

    def check(self, at: datetime) -> None:
        """Raise where the state at `at`, read anew, is not what was there."""
        wanted = self.seen[at]
        got = self._new().state(at).select(wanted.columns)
        assert got.sort(KEY).equals(wanted.sort(KEY)), (
            f"the state at {at} is not what was stored then"
        )

    def check_all(self) -> int:
        """Every state that is remembered; how many."""
        for at in self.seen:
            self.check(at)
        return len(self.seen)


def grown(costs: list[MonthCost]) -> list[str]:
    """What grew with the age of the archive: empty if all is well."""
    found = []
    for name in ("calls_a_slot", "most_calls", "files_a_state", "manifest_bytes"):
        first = max(getattr(c, name) for c in costs[:3])
        # One file more or less depends on where in a month its last slot lies.
        bound = max(SLACK * first, first + 1)
        more = [(c.month, getattr(c, name)) for c in costs[3:] if getattr(c, name) > bound]
        found += [
            f"{name} is {value:,.1f} in {month}, at most {first:,.1f} in the first three"
            for month, value in more
        ]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slots-a-month", type=int, help="by default all")
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument(
        "--uploads", action="store_true", help="upload change points instead of ingesting snapshots"
    )
    given = parser.parse_args()
    began, year, costs = time.monotonic(), Year(given.keys, snapshots=not given.uploads), []
    print(
        "| month | slots | calls a slot | most | files a state | manifest | slot p50 ms | max | "
        "state ms |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for month in MONTHS:
        c = year.step(month, given.slots_a_month)
        costs.append(c)
        print(
            f"| {c.month} | {c.slots:,} | {c.calls_a_slot:.2f} | {c.most_calls} | "
            f"{c.files_a_state} | {c.manifest_bytes:,} | "
            f"{c.slot_p50_ms:.1f} | {c.slot_max_ms:.0f} | {c.state_ms:.1f} |",
            flush=True,
        )
    checked = year.check_all()
    problems = grown(costs)
    print(
        f"\n{sum(c.slots for c in costs):,} slots in {time.monotonic() - began:.0f} s, {checked} "
        "states as they were"
    )
    print("\n".join(problems) or "nothing grew with the age of the archive")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
