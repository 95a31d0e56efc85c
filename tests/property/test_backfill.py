"""A backfill, month by month in any order, makes the archive that ingesting one after the other
makes: with values that were not observed, passive and nullable columns, truncated snapshots, slots
that are taken, and whatever is in the archive already.
"""

from __future__ import annotations

import contextlib
import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import titans
from titans import Archive, Expectations, Provider, Schema
from titans.backfilling.engines import Engine
from titans.errors import InputError, TitansError
from titans.loading.batch import ingest_snapshot
from titans.loading.snapshots import read_snapshots
from titans.store.memory import MemoryStore

STARTS = [
    datetime(2026, 1, 31, 23, tzinfo=UTC),
    datetime(2026, 2, 28, 23, 30, tzinfo=UTC),
    datetime(2026, 4, 1, tzinfo=UTC),
    datetime(2026, 4, 30, 23, 40, tzinfo=UTC),
]
"""Around ends of months; of March there is nothing."""
DTYPES = {
    "Time": pl.Datetime("us", "UTC"),
    "k": pl.String,
    "v": pl.Int64,
    "w": pl.Float64,
    "n": pl.String,
    "p": pl.Int64,
}
FEW = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


class Backwards(Engine):
    """Does the last task first."""

    def map(self, function, tasks):
        for position in reversed(range(len(tasks))):
            yield position, function(tasks[position])


def made_up(chance: random.Random) -> tuple[Provider, pl.DataFrame]:
    """A provider, and snapshots for it."""
    schema = Schema(
        {"v": "Int64", "w": "Float64", "n": "String", "p": "Int64"},
        score="v",
        unobserved={"v": -1},
        nullable=chance.choice([(), ("n",), ("n", "p")]),
        passive=chance.choice([(), ("p",), ("p", "w")]),
    )
    expectations = Expectations(
        max_ceased=chance.choice([0.3, 0.5, 0.9]),
        min_living=chance.choice([1, 2, 20]),
        accept_after=chance.choice([None, None, 1, 2]),
        allow_empty=chance.random() < 0.3,
    )
    rows = []
    for start in STARTS:
        for late in chance.sample([0, 3, 10, 15, 20, 40, 50], chance.randint(1, 5)):
            rows += some_rows(start + timedelta(minutes=late), chance)
    provider = Provider("small", schema, ("k",), expectations=expectations)
    return provider, pl.DataFrame(rows, schema=DTYPES, orient="row")


def some_rows(time: datetime, chance: random.Random) -> list[tuple]:
    share = chance.choice([0.95, 0.95, 0.3])
    rows = []
    for key in "abcdefg":
        if chance.random() < share:
            values = [chance.choice([-1, None, 1, 1, 2]), chance.choice([None, 0.5, 0.5, 1.5])]
            values += [chance.choice([None, "x", "y"]), chance.choice([None, 1, 2, 3])]
            rows.append((time, key, *values))
    return rows


def one_by_one(archive, snapshots, max_ceased=None):
    return [ingest_snapshot(archive, ("table", *each), max_ceased) for each in snapshots]


def assert_same(archive, other, times):
    assert archive.changes().equals(other.changes())
    assert archive.coverage().equals(other.coverage())
    for time in times:
        assert archive.state(time).equals(other.state(time)), time
    assert other.verify(deep=True).passed


def assert_same_outcomes(ones, others):
    assert [(each.timestamp, each.status) for each in ones] == [
        (each.timestamp, each.status) for each in others
    ]
    for one, other in zip(ones, others, strict=True):
        if one.result is not None and other.result is not None:
            for name in ("rows", "added", "changed", "filled", "ceased", "duplicates"):
                assert getattr(one.result, name) == getattr(other.result, name), name


@FEW
@given(seed=st.integers(0, 2**32))
def test_an_empty_archive(tmp_path_factory, seed):
    provider, table = made_up(random.Random(seed))
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    table.write_parquet(path)
    sequential = titans.open(MemoryStore(), provider=provider)
    _, snapshots = read_snapshots(table.sort("Time", maintain_order=True).lazy())
    outcomes = one_by_one(sequential, snapshots)

    store = MemoryStore()
    done = titans.backfill(path, provider=provider, store=store, engine=Backwards())

    assert_same_outcomes(outcomes, done.outcomes)
    assert not done.in_order
    assert_same(sequential, titans.open(store, provider=provider), table["Time"].unique())


@FEW
@given(seed=st.integers(0, 2**32))
@example(
    seed=205
)  # a keyframe of a month with an upload alone, which the month before makes untrue
def test_an_archive_that_has_something(tmp_path_factory, seed):
    chance = random.Random(seed)
    provider, table = made_up(chance)
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    table.write_parquet(path)
    snapshots = list(read_snapshots(table.sort("Time", maintain_order=True).lazy())[1])
    there = chance.sample(snapshots, chance.randint(1, len(snapshots)))
    if chance.random() < 0.5:
        there.sort(key=lambda each: each[0])
    uploaded = chance.choice(snapshots)[0] + timedelta(minutes=chance.choice([0, 10, 60]))

    archives = []
    for _ in range(2):
        archive = titans.open(MemoryStore(), provider=provider)
        one_by_one(archive, there, 1.0)
        rows = {"k": ["a", "z"], "v": [1, 9], "w": [2.0, 3.0], "n": ["q", None], "p": [7, 7]}
        archive.upload(pl.DataFrame(rows), uploaded)
        archive.compact()
        archives.append(archive)
    outcomes = one_by_one(archives[0], snapshots)
    done = titans.backfill(path, provider=provider, store=archives[1].store, engine=Backwards())

    assert_same_outcomes(outcomes, done.outcomes)
    assert_same(archives[0], archives[1], table["Time"].unique())


def corrected(archive, snapshots, chance: random.Random) -> None:
    """Corrections of what is there; the same ones for the same chance."""
    for _ in range(chance.randint(1, 3)):
        time, rows = chance.choice(snapshots)
        kind = chance.choice(["amend", "amend", "amend changes", "retract", "erase", "retain"])
        with contextlib.suppress(InputError):  # of a slot that holds nothing, for example
            if kind == "amend":
                archive.amend(rows.head(chance.randint(1, 7)), time, reason="test", max_ceased=1.0)
            elif kind == "amend changes":
                changes = pl.DataFrame({"k": ["a", "y"], "v": [5, 6], "w": [0.5, None]})
                archive.amend_changes(changes, time, reason="test")
            elif kind == "retract":
                archive.retract(time, reason="test")
            elif kind == "erase":
                archive.erase([{"k": chance.choice("abcz")}], reason="test")
            elif chance.random() < 0.3:
                archive.retain(since=f"{time:%Y-%m}", reason="test")


def assert_backfilled_as_ingested(path, archives, provider, times) -> None:
    """`archives` hold the same: one is ingested into, one after the other, the second backfilled."""
    ingested, backfilled = (Archive(each.store, provider) for each in archives)
    table = pl.read_parquet(path).sort("Time", maintain_order=True)
    try:
        outcomes = one_by_one(ingested, read_snapshots(table.lazy())[1])
    except TitansError as error:
        with pytest.raises(type(error)):
            titans.backfill(path, provider=provider, store=backfilled.store, engine=Backwards())
        return
    done = titans.backfill(path, provider=provider, store=backfilled.store, engine=Backwards())
    assert_same_outcomes(outcomes, done.outcomes)
    first = ingested.changes()["Time"].min()
    kept = [time for time in times if first is None or time >= first]
    assert_same(ingested, backfilled, kept)


@FEW
@given(seed=st.integers(0, 2**32))
def test_an_archive_that_somebody_has_corrected(tmp_path_factory, seed):
    chance = random.Random(seed)
    provider, table = made_up(chance)
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    table.write_parquet(path)
    snapshots = list(read_snapshots(table.sort("Time", maintain_order=True).lazy())[1])
    there = chance.sample(snapshots, chance.randint(1, len(snapshots)))
    state = chance.getstate()
    archives = []
    for _ in range(2):
        chance.setstate(state)
        archive = titans.open(MemoryStore(), provider=provider)
        one_by_one(archive, there, 1.0)
        corrected(archive, there, chance)
        archives.append(archive)
    assert_backfilled_as_ingested(path, archives, provider, table["Time"].unique())


@FEW
@given(seed=st.integers(0, 2**32))
def test_an_archive_of_an_earlier_schema(tmp_path_factory, seed):
    """What is there was written before a column was added, one widened and one renamed."""
    chance = random.Random(seed)
    provider, table = made_up(chance)
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    snapshots = list(read_snapshots(table.sort("Time", maintain_order=True).lazy())[1])
    there = chance.sample(snapshots, chance.randint(1, len(snapshots)))
    archives = []
    for _ in range(2):
        archive = titans.open(MemoryStore(), provider=provider)
        one_by_one(archive, there, 1.0)
        archives.append(archive)

    def renamed(names):
        return tuple("price" if name == "w" else name for name in names)

    schema = Schema(
        {"x": "String", "v": "Int64", "price": "Float64", "n": "String", "p": "Float64"},
        score="v",
        unobserved={"v": -1},
        nullable=provider.schema.nullable,
        passive=renamed(provider.schema.passive),
        version=2,
        renamed={2: {"w": "price"}},
    )
    upgraded = evolve(provider, schema=schema)
    extra = [chance.choice([None, "x", "y"]) for _ in range(table.height)]
    table.rename({"w": "price"}).with_columns(x=pl.Series(extra, dtype=pl.String)).write_parquet(
        path
    )
    assert_backfilled_as_ingested(path, archives, upgraded, table["Time"].unique())


@FEW
@given(seed=st.integers(0, 2**32))
def test_a_second_time_everything_is_there(tmp_path_factory, seed):
    provider, table = made_up(random.Random(seed))
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    table.write_parquet(path)
    store = MemoryStore()
    archive = titans.open(store, provider=provider)
    first = titans.backfill(path, provider=provider, store=store, engine=Backwards())
    before = archive.changes()
    again = titans.backfill(path, provider=provider, store=store, engine=Backwards())

    for one, other in zip(first.outcomes, again.outcomes, strict=True):
        if one.status in ("ingested", "unchanged"):
            assert other.status == "already"
        else:
            assert other.result is None or other.status in ("already", "skipped")
    assert archive.changes().equals(before)
