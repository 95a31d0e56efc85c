"""Archives of few keys and rare changes: what do they take, and what of it are keyframes?

    make sparse                              # about ten minutes on two cores
    python benchmarks/sparse.py --size tiny  # seconds; the numbers mean little

Each archive is a year of full snapshots, made up and always the same. They go through
`Archive.ingest`, then every month but the last is sealed, and what was replaced removed. The store
is a folder behind `CountedStore`, which hides that the files are on this machine, so that requests
are those that an object store would see, and whose clock is that of the snapshots. States are
compared with the snapshots. Results go to `benchmarks/results/sparse.jsonl`; nothing in them but
`ingest_p50_ms` and `seconds` depends on the machine, unless it is so slow that a call leaves merges
to the next one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from attrs import evolve
from compare import RESULTS, child, machine
from report import sparse as page

from titans import Archive, PathLayout, Provider, Schema
from titans.store import Blob, Entry
from titans.store.local import LocalStore

KEY = ["Site", "Item"]
VALUES = {
    "Status": "String",
    "Level": "Int64",
    "Price": "Float64",
    "Open": "Boolean",
    "Note": "String",
    "Stock": "Int64",
    "Share": "Float64",
    "Listed": "Boolean",
}
STATUSES = pl.Series(["active", "paused", "limited", "retired", "unknown"])
NOTES = pl.Series([f"note {n:03} of the operator" for n in range(200)])
SEED = 11
VANISH = 0.03
"""Of the changes of a living key, the share in which it vanishes; its next change brings it back."""

YEAR = timedelta(days=365)
JANUARY, FEBRUARY = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)
GAPS = (timedelta(minutes=20), timedelta(days=3))
"""Between two irregular snapshots, at least and at most."""
PROBES = 12
"""States of which the files are counted."""
CHECKS = 120
"""Other states that are compared with the snapshots."""
KINDS = {"L": "merged", "B": "border", "C": "correction", "K": "keyframe", "F": "full"}
MACHINE_DEPENDENT = ("ingest_p50_ms", "seconds")


class Shape(NamedTuple):
    """What an archive is fed with."""

    name: str
    keys: int
    snapshots: int
    every: timedelta | None
    """From one snapshot to the next; `None`: irregular, over a year for 600 of them."""
    changes: float
    """Change points of a snapshot after the first, mean."""
    values: int
    """Value columns."""
    slot_minutes: int = 10
    across: bool = False
    """Whether a month ends in the middle, rather than a year begins."""


SHAPES = (
    Shape("A", 600, 600, None, 1.4, 6),
    Shape("B", 500, 365 * 24, timedelta(hours=1), 70, 8),
    Shape("C", 5000, 365 * 4, timedelta(hours=6), 0.5, 4),
    Shape("D10", 600, 20 * 144, timedelta(minutes=10), 1.4, 6, across=True),
    Shape("D1", 600, 20 * 144, timedelta(minutes=10), 1.4, 6, slot_minutes=1, across=True),
)
TINY = {"A": 40, "B": 24, "C": 16, "D10": 30, "D1": 30}
"""Snapshots of the tiny size."""


def shapes(size: str, names: list[str] | None = None) -> list[Shape]:
    """The archives of a size, all or those that are named."""
    chosen = [shape for shape in SHAPES if names is None or shape.name in names]
    if size == "tiny":
        chosen = [s._replace(keys=s.keys // 5, snapshots=TINY[s.name], across=True) for s in chosen]
    return chosen


# --- what is stored -------------------------------------------------------------------------------


def moments(shape: Shape) -> list[datetime]:
    """When the snapshots are collected."""
    if shape.every is None:
        gaps = irregular(shape.snapshots)
    else:
        gaps = [shape.every] * (shape.snapshots - 1)
    length = sum(gaps, timedelta())
    at = JANUARY + timedelta(minutes=7)
    if shape.across:
        at = (FEBRUARY - length / 2).replace(minute=0, second=0, microsecond=0)

    found = [at]
    for gap in gaps:
        at += gap
        found.append(at)
    return found


def irregular(snapshots: int) -> list[timedelta]:
    """Gaps between `GAPS`, short ones as common as long ones on a logarithmic scale; 599 of them
    take a year.
    """
    low, high = (gap.total_seconds() for gap in GAPS)
    random = np.random.default_rng(SEED)
    gaps = np.exp(random.uniform(np.log(low), np.log(high), snapshots - 1))
    wanted = (YEAR - timedelta(hours=1)).total_seconds() * (snapshots - 1) / 599
    for _ in range(50):
        gaps = np.clip(gaps * wanted / gaps.sum(), low, high)
    return [timedelta(seconds=round(gap)) for gap in gaps]


class Items:
    """Keys with values, of which few change at a time, some much more often than others."""

    def __init__(self, shape: Shape) -> None:
        self._random = random = np.random.default_rng(SEED)
        self._mean, self._columns = shape.changes, list(VALUES)[: shape.values]
        number = np.arange(shape.keys)
        self._names = pl.DataFrame(
            {
                "Site": [f"site-{n // 25:03}" for n in number],
                "Item": [f"item-{n:05}" for n in number],
            }
        )
        weights = random.permutation(1 / (number + 10.0) ** 0.9)
        self._weights = weights / weights.sum()
        self._living = np.ones(shape.keys, dtype=bool)
        self._values = {name: self._drawn(name, shape.keys) for name in self._columns}

    def _drawn(self, name: str, count: int) -> np.ndarray:
        """Values of a column; of strings, their numbers."""
        random = self._random
        match name:
            case "Status":
                return random.integers(0, len(STATUSES), count)
            case "Note":
                return random.integers(0, len(NOTES), count)
            case "Level" | "Stock":
                return random.integers(0, 1000, count)
            case "Price" | "Share":
                return np.round(random.lognormal(0, 1, count) + 0.01, 4)
            case _:
                return random.random(count) < 0.5

    def step(self) -> int:
        """Move on to the next snapshot; how many keys changed, came or went."""
        random = self._random
        count = min(random.poisson(self._mean), len(self._weights))
        chosen = random.choice(len(self._weights), count, replace=False, p=self._weights)
        for key in chosen:
            if not self._living[key]:
                self._living[key] = True
            elif random.random() < VANISH:
                self._living[key] = False
                continue
            self._change(key, self._columns[random.integers(len(self._columns))])
        return count

    def _change(self, key: int, name: str) -> None:
        """Another value than it had, and a new price with half of them."""
        values = self._values[name]
        while (new := self._drawn(name, 1)[0]) == values[key]:
            pass
        values[key] = new
        if name != "Price" and self._random.random() < 0.5:
            self._values["Price"][key] = self._drawn("Price", 1)[0]

    def snapshot(self) -> pl.DataFrame:
        """Every living key, sorted."""
        columns = []
        for name, drawn in self._values.items():
            values = pl.Series(name, drawn.copy())  # a series may share the array's memory
            if name == "Status":
                values = STATUSES.gather(values).alias(name)
            elif name == "Note":
                values = NOTES.gather(values).alias(name)
            columns.append(values)
        return self._names.with_columns(columns).filter(pl.Series(self._living))


# --- where it is stored ---------------------------------------------------------------------------


class CountedStore:
    """A folder that looks like a store elsewhere: it counts what is asked of it, and its clock is
    told.
    """

    parallel = False

    def __init__(self, folder: Path) -> None:
        self._store = LocalStore(folder)
        self.url = self._store.url
        self.now = JANUARY
        self._written: dict[str, datetime] = {}
        self.requests = 0
        self.opened: set[str] = set()
        """Data files read since this was last emptied."""

    def _read(self, key: str) -> None:
        self.requests += 1
        if key.endswith(".parquet"):
            self.opened.add(key)

    def get(self, key: str) -> Blob:
        self._read(key)
        return evolve(self._store.get(key), last_modified=self._written[key])

    def get_range(self, key: str, start: int, end: int) -> bytes:
        self._read(key)
        return self._store.get_range(key, start, end)

    def head(self, key: str) -> Entry:
        self.requests += 1
        return evolve(self._store.head(key), last_modified=self._written[key])

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        self.requests += 1
        for entry in self._store.list(prefix, start_after):
            yield evolve(entry, last_modified=self._written[entry.key])

    def create(self, key: str, data: bytes) -> str:
        self.requests += 1
        etag = self._store.create(key, data)
        self._written[key] = self.now
        return etag

    def replace(self, key: str, data: bytes, etag: str) -> str:
        self.requests += 1
        new = self._store.replace(key, data, etag)
        self._written[key] = self.now
        return new

    def delete(self, key: str) -> None:
        self.requests += 1
        self._store.delete(key)

    def local_path(self, key: str) -> Path | None:
        return None


# --- what is measured -----------------------------------------------------------------------------


class Sparse:
    """The archive of a shape, from its first snapshot to its last."""

    def __init__(self, shape: Shape, folder: Path) -> None:
        self.shape, self.store = shape, CountedStore(folder)
        columns = dict(list(VALUES.items())[: shape.values])
        self._provider = Provider(
            "sparse",
            Schema(columns, score="Level"),
            tuple(KEY),
            PathLayout(slot_minutes=shape.slot_minutes),
        )
        count = shape.snapshots
        # One in each twelfth, each time elsewhere in it.
        self._probes = sorted({int(count * (n + n * 0.618 % 1) / PROBES) for n in range(PROBES)})
        self._checks = {*range(0, count, max(1, count // CHECKS)), *self._probes, count - 1}
        self.seen: dict[datetime, pl.DataFrame] = {}
        """Some of the snapshots, by their time."""

    def _new(self) -> Archive:
        """As a new process has it."""
        return Archive(self.store, self._provider)

    def measure(self) -> dict[str, Any]:
        began, shape = time.monotonic(), self.shape
        at = moments(shape)
        found = {
            "kind": "archive",
            "archive": shape.name,
            "keys": shape.keys,
            "snapshots": shape.snapshots,
            "values": shape.values,
            "slot_minutes": shape.slot_minutes,
            "days": (at[-1] - at[0]) / timedelta(days=1),
        }
        found |= self.ingest(at)
        self.finish()
        found |= self.stored(found["change_points"])

        files = [self.opened_by(at[n]) for n in self._probes]
        found |= {"files_a_state": spread(files), "states_checked": self.check_all()}
        return found | {"seconds": time.monotonic() - began}

    def ingest(self, at: list[datetime]) -> dict[str, Any]:
        """Every snapshot, and what that takes."""
        archive, items, store = self._new(), Items(self.shape), self.store
        requests, times, files, points = [], [], [], self.shape.keys
        for number, moment in enumerate(at):
            if number:
                points += items.step()
            snapshot, store.now = items.snapshot(), moment
            before, began = store.requests, time.perf_counter()
            status = archive.ingest(snapshot, moment).status
            times.append((time.perf_counter() - began) * 1e3)
            requests.append(store.requests - before)
            if status not in ("ingested", "unchanged"):
                raise RuntimeError(f"{self.shape.name}: the snapshot of {moment} was {status}")
            if number in self._checks:
                self.seen[moment] = snapshot
            if number in self._probes:
                files.append(self.opened_by(moment))
        return {
            "change_points": points,
            "requests_a_slot": spread(requests),
            "requests": sum(requests),
            "files_a_state_then": spread(files),
            "ingest_p50_ms": statistics.median(times),
        }

    def finish(self) -> None:
        """Seal every month but the last, and remove what was replaced."""
        archive = self._new()
        for month in archive.status()[:-1]:
            archive.seal(str(month.month))
        archive.vacuum("0s")

    def stored(self, points: int) -> dict[str, Any]:
        """What there is, by kind. Raises where it is not `points` change points."""
        archive = self._new()
        rows = archive.changes().height
        if rows != points:
            raise RuntimeError(f"{self.shape.name}: {rows} change points, {points} were made")

        objects: Counter[str] = Counter()
        size: Counter[str] = Counter()
        held: Counter[str] = Counter()
        for entry in self.store.list():
            kind = self.kind(entry.key)
            objects[kind] += 1
            size[kind] += entry.size
            if entry.key.endswith(".parquet"):
                held[kind] += pl.read_parquet(self.store.get(entry.key).data, columns=KEY).height
        return {
            "objects": dict(sorted(objects.items())),
            "bytes": dict(sorted(size.items())),
            "rows": dict(sorted(held.items())),
            "all_objects": objects.total(),
            "all_bytes": size.total(),
            "bytes_without_keyframes": size.total() - size["keyframe"],
            "ratio": size.total() / (size.total() - size["keyframe"]),
        }

    def kind(self, key: str) -> str:
        """What an object is, by its key."""
        name = key.rpartition("/")[2]
        if key.startswith(self._provider.paths().hot_prefix):
            return "hot"
        if name == "manifest.json":
            return "manifest"
        return KINDS[name[0]]

    def opened_by(self, at: datetime) -> int:
        """Data files that the state at `at` opens in a new process."""
        self.store.opened = set()
        self.check(at)
        return len(self.store.opened)

    def check(self, at: datetime) -> None:
        """Raise where the state at `at`, read anew, is not the snapshot of then."""
        wanted = self.seen[at]
        if not self._new().state(at).select(wanted.columns).equals(wanted):
            raise RuntimeError(f"{self.shape.name}: the state at {at} is not the snapshot of then")

    def check_all(self) -> int:
        """Every state that is remembered; how many."""
        for at in self.seen:
            self.check(at)
        return len(self.seen)


def spread(numbers: list[int]) -> dict[str, float]:
    return {
        "min": min(numbers),
        "median": statistics.median(numbers),
        "max": max(numbers),
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Where two archives of the same snapshots differ in what must not depend on the length of a
    slot: anything but bytes, which a slot's number is a part of, and times.
    """
    found = []
    for name, value in one.items():
        if name in ("archive", "slot_minutes", "ratio", *MACHINE_DEPENDENT) or "bytes" in name:
            continue
        if other[name] != value:
            found.append(f"{name}: {value} and {other[name]}")
    return found


def archive(job: dict[str, Any]) -> dict[str, Any]:
    """What the archive of a name and size takes."""
    (shape,) = shapes(job["size"], [job["name"]])
    with tempfile.TemporaryDirectory(prefix="titans-sparse-") as folder:
        return Sparse(shape, Path(folder)).measure()


def main() -> int:
    if "--job" in sys.argv:
        job = json.loads(sys.argv[-1])
        Path(job["answer"]).write_text(json.dumps(archive(job)))
        os._exit(0)

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("tiny", "full"), default="full")
    parser.add_argument(
        "--archive",
        action="append",
        choices=[s.name for s in SHAPES],
        help="only this one, and keep what there is of the others; may be given several times",
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    lines = measured(given)
    print(f"\n{page(given.results)}")
    print_differences({line["archive"]: line for line in lines})
    return 0


def measured(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Each archive, large ones in a process of their own. What there is of the others, of the same
    size, is kept.
    """
    command = "make sparse"
    if given.size != "full":
        command = f"benchmarks/sparse.py --size {given.size}"
    about = machine("titans-core", "polars") | {"command": command, "size": given.size}
    out = given.results / "sparse.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    found = {}
    if given.archive and out.exists():
        before, *there = (json.loads(line) for line in out.read_text().splitlines())
        if before["size"] == given.size:
            found = {line["archive"]: line for line in there}

    for shape in shapes(given.size, given.archive):
        job = {"name": shape.name, "size": given.size}
        if given.size == "tiny":  # a new process would take longer than the archive
            line = archive(job)
        else:
            line = child(Path(__file__), job, POLARS_MAX_THREADS="1")
        print(f"{shape.name}: {line['seconds']:.0f} s, every state right", flush=True)
        found[shape.name] = line

    lines = [found[shape.name] for shape in SHAPES if shape.name in found]
    out.write_text("".join(json.dumps(line) + "\n" for line in (about, *lines)))
    return lines


def print_differences(archives: dict[str, dict[str, Any]]) -> None:
    """What the length of a slot made of the same snapshots."""
    if not {"D10", "D1"} <= archives.keys():
        return
    found = differences(archives["D10"], archives["D1"])
    if not found:
        print("\nD10 and D1: the same numbers, whatever the length of a slot")
        return
    print("\nD10 and D1 differ, and should not:")
    for line in found:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
