"""A schema change in the middle of any history: what version 1 stored and what version 2 adds
answer every question together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import last_state
from polars.testing import assert_frame_equal
from schema_versions import (
    V1,
    V2,
    as_second,
    first,
    first_changes,
    replayed_second,
    second,
    second_changes,
)

from titans import Archive
from titans.errors import ArchiveNotFoundError, InputError
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

TICK = timedelta(minutes=10)
STARTS = [datetime(2026, 1, 31, 23, 20, tzinfo=UTC), datetime(2026, 2, 28, 23, 40, tzinfo=UTC)]
SLOTS = [start + n * TICK for start in STARTS for n in range(6)]
TIMES = sorted(
    {
        t + late
        for t in SLOTS
        for late in (timedelta(minutes=-1), timedelta(0), timedelta(minutes=5))
    }
)
MONTHS = ["2026-01", "2026-02", "2026-03"]

NUMBERS = st.tuples(st.integers(0, 2), st.sampled_from([0.5, 1.5]))
SLOT = st.sampled_from(SLOTS)
INGEST = st.tuples(st.just("ingest"), SLOT, st.dictionaries(st.sampled_from("abc"), NUMBERS))
UPLOAD = st.tuples(
    st.just("upload"),
    SLOT,
    st.dictionaries(st.sampled_from("abc"), st.none() | NUMBERS, min_size=1),
)
UPKEEP = st.one_of(
    st.tuples(st.just("compact"), st.none(), st.none()),
    st.tuples(st.just("seal"), st.sampled_from(MONTHS), st.none()),
    st.tuples(st.just("vacuum"), st.none(), st.none()),
    st.tuples(st.just("lose"), st.sampled_from(MONTHS), st.none()),
)
EVENTS = st.lists(st.one_of(INGEST, UPLOAD, UPKEEP), min_size=1, max_size=9)
ZONES = st.lists(st.sampled_from(["x", "y"]), min_size=9, max_size=9)

SETTINGS = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


pytestmark = pytest.mark.usefixtures("small_files")


class History:
    """What was acknowledged, as version 2 says it: slot → snapshot or changes."""

    def __init__(self, store) -> None:
        self.store, self.snapshots, self.uploads = store, {}, {}

    def happen(self, archive: Archive, what: str, slot, rows, zone: str | None) -> None:
        if what == "compact":
            archive.compact()
        elif what == "vacuum":
            archive.vacuum("0s")
        elif what == "seal":
            try:
                archive.seal(slot)
            except InputError:
                assert not any(f"{time:%Y-%m}" == slot for time in (*self.snapshots, *self.uploads))
        elif what == "lose":
            key = f"parquet_warm/small/m8/{slot.replace('-', '/')}/manifest.json"
            if any(e.key == key for e in self.store.list(key)):
                self.store.delete(key)
                archive.repair()
        elif slot not in self.snapshots and slot not in self.uploads:
            said = {key: values and (*values, zone) for key, values in rows.items()}
            old = archive.provider is V1
            if what == "ingest":
                archive.ingest(first(rows) if old else second(said), slot, max_ceased=1.0)
                self.snapshots[slot] = said
            else:
                archive.upload(first_changes(rows) if old else second_changes(said), slot)
                self.uploads[slot] = said

    def state(self, at: datetime) -> dict:
        return last_state(self.snapshots, self.uploads, at)


def check(history: History) -> None:
    archive = Archive(history.store, V2)
    if not history.snapshots and not history.uploads:
        with pytest.raises(ArchiveNotFoundError):
            archive.changes()
        return
    points = archive.changes()
    assert points.schema == V2.schema_dtypes
    assert not points.select("k", "Time").is_duplicated().any()
    for time in TIMES:
        expected = history.state(time)
        assert as_second(archive.state(time)) == expected, time
        assert replayed_second(points, time) == expected, time
    for start, end in ((None, None), (SLOTS[1], SLOTS[8]), (SLOTS[5], None)):
        within = pl.lit(value=True)
        within = within if start is None else within & (pl.col("Time") >= start)
        within = within if end is None else within & (pl.col("Time") < end)
        expected = points.filter(within)
        assert_frame_equal(archive.changes(start, end), expected)
        assert_frame_equal(archive.history(start, end, k="a"), expected.filter(k="a"))
        for where in (
            pl.col("price") > 1,
            pl.col("n") == 1,
            pl.col("zone").is_null(),
            pl.col("zone") == "x",
        ):
            found = archive.scan(start, end, where=where).collect().sort("k", "Time")
            assert_frame_equal(found, expected.filter(where))


def run(store, before, after, zones) -> None:
    history = History(store)
    old = Archive(store, V1)
    for event in before:
        history.happen(old, *event, zone=None)
    check(history)
    new = Archive(store, V2)
    for zone, event in zip(zones, after, strict=False):
        history.happen(new, *event, zone=zone)
    check(history)
    new.compact()
    check(history)
    for month in MONTHS:
        history.happen(new, "seal", month, None, None)
    new.vacuum("0s")
    check(history)
    if not history.snapshots and not history.uploads:
        return
    found = new.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]


@given(EVENTS, EVENTS, ZONES)
@SETTINGS
def test_a_history_with_a_schema_change_in_it_agrees_with_a_replay(before, after, zones):
    run(MemoryStore(), before, after, zones)


@given(EVENTS, EVENTS, ZONES)
@settings(SETTINGS, max_examples=15)
def test_the_same_in_a_folder(tmp_path_factory, before, after, zones):
    run(LocalStore(tmp_path_factory.mktemp("archive")), before, after, zones)


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.lists(NUMBERS, min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_column_that_nobody_has_values_for_adds_no_change_point(before, after):
    """The same market under version 2 with an all-null column has the change points it would have
    had under version 1."""
    mixed, alone = MemoryStore(), MemoryStore()
    for n, values in enumerate([*before, *after]):
        slot = SLOTS[0] + n * TICK
        plain = Archive(alone, V1).ingest(first({"a": values, "b": (1, 1.0)}), slot)
        if n < len(before):
            result = Archive(mixed, V1).ingest(first({"a": values, "b": (1, 1.0)}), slot)
        else:
            result = Archive(mixed, V2).ingest(
                second({"a": (*values, None), "b": (1, 1.0, None)}), slot
            )
        assert (result.status, result.added, result.changed, result.filled, result.ceased) == (
            plain.status,
            plain.added,
            plain.changed,
            0,
            plain.ceased,
        )
    expected = Archive(alone, V1).changes().rows()
    assert (
        Archive(mixed, V2).changes().select("k", "Time", "n", "price", "Ceased").rows() == expected
    )
