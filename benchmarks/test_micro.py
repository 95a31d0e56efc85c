"""What each step costs alone: `make bench-micro`.

Without `make`: `pytest benchmarks/test_micro.py`. `TITANS_BENCH_KEYS` says how many keys there are
(60,000), `TITANS_BENCH_ROUNDS` how often each step is measured (10). `make test` runs all of it
once with few keys, and measures nothing.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import NamedTuple
from unittest.mock import patch

import polars as pl
import pytest
from workload import COLUMNS, DAY, KEY, KEYS, VALUES, Market, moment

from titans import Archive, plugins
from titans.changes.conform import conform_snapshot
from titans.changes.state import diff
from titans.dataset import Dataset
from titans.layout import FANOUT
from titans.slots import Month, Slot
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.tiers.compact.merge import merge
from titans.tiers.compact.plan import FANOUTS, Merge, next_merge
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.model import Manifest
from titans.tiers.write.adopt import Adopter
from titans.tiers.write.hot import list_hot

COUNT = int(os.environ.get("TITANS_BENCH_KEYS", KEYS))
ROUNDS = int(os.environ.get("TITANS_BENCH_ROUNDS", "10"))
JANUARY = Month.parse("2026-01")
SLOTS = 192
"""After so many a merge is due at every level."""


class Filled(NamedTuple):
    """`SLOTS` slots in memory, and the archive before each of the merges that were due at the last
    of them."""

    market: Market
    archive: Archive
    merges: dict[int, tuple[MemoryStore, Manifest, Merge]]


def copied(store: MemoryStore) -> MemoryStore:
    copy = MemoryStore()
    copy._objects.update(store._objects)
    return copy


@pytest.fixture(scope="session")
def provider():
    return plugins.load("aws")


@pytest.fixture(scope="session")
def filled(provider) -> Filled:
    # Or with few keys all files would be small, and of level 1.
    with patch("titans.tiers.compact.plan.SMALL_ROWS", -1):
        return fill(provider)


def fill(provider) -> Filled:
    market, archive = Market(COUNT), Archive(MemoryStore(), provider)
    for slot in range(SLOTS - 1):
        key = archive.upload(market.step(), moment(slot))
        archive.compact(key)
    archive.upload(market.step(), moment(SLOTS - 1))
    dataset = Dataset(archive.store, archive.paths, provider)
    keys = list_hot(dataset, JANUARY).of(JANUARY)
    manifest = Adopter(dataset, JANUARY, keys).adopt(read_head(dataset, JANUARY)).manifest
    merges = {}
    while plan := next_merge(manifest):
        merges[plan.level] = (copied(dataset.store), manifest, plan)
        manifest, _ = merge(dataset, manifest, plan)
    assert sorted(merges) == [1, 2, 3]
    return Filled(market, archive, merges)


@pytest.fixture
def uploads(provider, tmp_path) -> Callable[[], tuple[Archive, pl.DataFrame, int]]:
    """Archive, change points and number of the next slot: a folder of its own for every six, so
    that no merge is ever due."""
    numbers, held = itertools.count(), {}

    def following():
        number = next(numbers)
        if number % (FANOUT - 2) == 0:
            archive, market = Archive(LocalStore(tmp_path / str(number)), provider), Market(COUNT)
            archive.compact(archive.upload(market.step(), moment(0)))
            held.update(archive=archive, market=market)
        rows = held["market"].step()
        return held["archive"], rows, held["market"].slot

    return following


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_upload(benchmark, uploads, library):
    """Check, sort, encode, hash, sync: the change points of one slot."""
    benchmark.group = "one slot, on disk"

    def setup():
        archive, rows, slot = uploads()
        return (archive, pd(rows) if library == "pandas" else rows, moment(slot)), {}

    def pd(rows: pl.DataFrame):
        import pandas

        return pandas.DataFrame({c: rows[c].to_numpy(writable=True) for c in COLUMNS})

    keys = []
    benchmark.pedantic(
        lambda a, rows, at: keys.append(a.upload(rows, at)), setup=setup, rounds=ROUNDS
    )
    assert all(key.endswith(".parquet") for key in keys)


def test_adopt(benchmark, uploads):
    """Take one uploaded slot into the manifest; no merge."""
    benchmark.group = "one slot, on disk"

    def setup():
        archive, rows, slot = uploads()
        return (archive, archive.upload(rows, moment(slot))), {}

    done = []
    benchmark.pedantic(
        lambda archive, key: done.append(archive.compact(key)), setup=setup, rounds=ROUNDS
    )
    assert {(d.adopted, d.merged) for d in done} == {(1, 0)}


def test_ingest(benchmark, provider, tmp_path):
    """A full snapshot, all that `ingest` does; the merges that fall into these slots included."""
    benchmark.group = "one slot, on disk"
    market, archive = Market(COUNT), Archive(LocalStore(tmp_path), provider)
    market.step()
    archive.ingest(market.snapshot(), moment(0))

    def setup():
        market.step()
        return (market.snapshot(), moment(market.slot)), {}

    done = []
    benchmark.pedantic(
        lambda *given: done.append(archive.ingest(*given)), setup=setup, rounds=ROUNDS
    )
    assert {d.status for d in done} == {"ingested"}


@pytest.mark.parametrize("level", [1, 2, 3])
def test_merge(benchmark, filled, provider, level):
    """The files of one level into one of the next, in memory: 8, 64, 192 slots of rows."""
    benchmark.group = "merge"
    store, manifest, plan = filled.merges[level]
    assert len(plan.inputs) == FANOUTS[level - 1]
    benchmark.extra_info["rows"] = sum(f.rows for f in plan.inputs)

    def setup():
        return (Dataset(copied(store), filled.archive.paths, provider), manifest, plan), {}

    done = []
    benchmark.pedantic(
        lambda *given: done.append(merge(*given)), setup=setup, rounds=max(1, ROUNDS // 2)
    )
    assert all(entry is not None and entry.level == level for _, entry in done)


QUESTIONS = {
    "state": lambda a, market: a.state(moment(SLOTS // 2)),
    "latest": lambda a, market: a.latest(),
    "history": lambda a, market: a.history(
        **market.snapshot().select(KEY).row(COUNT // 2, named=True)
    ),
    "changes of one hour": lambda a, market: a.changes(moment(DAY - 6), moment(DAY)),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_read(benchmark, filled, provider, question):
    """A question to an archive object that has seen nothing yet."""
    benchmark.group = "read"
    answers = []

    def asked():
        answers.append(QUESTIONS[question](Archive(filled.archive.store, provider), filled.market))

    benchmark.pedantic(asked, rounds=ROUNDS)
    assert all(answer.height for answer in answers)


class Snapshots(NamedTuple):
    """An archive, the snapshot after what it holds, and the two frames an anti-join would
    compare."""

    archive: Archive
    slot: int
    before: pl.DataFrame
    after: pl.DataFrame


@pytest.fixture(scope="session")
def snapshots(provider) -> Snapshots:
    market, archive = Market(COUNT), Archive(MemoryStore(), provider)
    before = pl.DataFrame()
    for slot in range(20):
        market.step()
        before = market.snapshot()
        archive.ingest(before, moment(slot))
    market.step()
    after, _ = conform_snapshot(market.snapshot(), provider)
    return Snapshots(archive, market.slot, before.select(after.columns), after)


@pytest.mark.parametrize(
    "what", ["anti-join", "diff", "state read + diff", "state read + diff, new process"]
)
def test_diff(benchmark, snapshots, provider, what):
    """Which rows of a snapshot are new: one polars anti-join, and what `ingest` does; the ratio
    stands in brackets."""
    benchmark.group = "diff"
    archive, at = snapshots.archive, moment(snapshots.slot)
    slot = Slot.of(at, archive.paths.minutes)
    fresh = Archive(archive.store, provider)

    def anti_join():
        return snapshots.after.join(
            snapshots.before, on=[*KEY, *VALUES], how="anti", nulls_equal=True
        ).height

    def read_and_diff(asked: Archive):
        manifest = read_head(asked._ingestor.dataset, slot.month).manifest
        compared = asked._ingestor._read_base(slot, manifest)
        return (
            diff(compared.state, snapshots.after, at, provider)
            .rows.filter(~pl.col("Ceased"))
            .height
        )

    def only_diff():
        return (
            diff(snapshots.before, snapshots.after, at, provider)
            .rows.filter(~pl.col("Ceased"))
            .height
        )

    ways = {
        "anti-join": anti_join,
        "diff": only_diff,
        "state read + diff": lambda: read_and_diff(archive),
        "state read + diff, new process": lambda: read_and_diff(fresh),
    }
    found = benchmark.pedantic(ways[what], rounds=3 * ROUNDS, warmup_rounds=1)
    assert found == anti_join()


def test_discovery(benchmark):
    """Look at every installed distribution for providers, importing none."""
    benchmark.group = "plugins"
    found = benchmark.pedantic(lambda: plugins.installed(refresh=True), rounds=ROUNDS)
    assert "aws" in {info.name for info in found}


def test_loading_a_provider(benchmark):
    """The same, then one provider validated (its module is imported already)."""
    benchmark.group = "plugins"
    loaded = benchmark.pedantic(plugins.load, args=("aws",), setup=plugins.clear, rounds=ROUNDS)
    assert loaded.name == "aws"
