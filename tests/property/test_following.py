"""Who looks again and again is told every change point once, however late it came, whatever was
merged, sealed and removed in between, and from an offset that went through JSON."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import polars as pl
import pytest
from archive_steps import (
    SLOTS,
    done,
    early_merges,
    ingests,
    states,
    uploads,
    waiting,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import PROVIDER, as_dict, at, changes, replayed, snapshot

from titans import Archive
from titans.errors import InputError
from titans.read.following import NOTHING, Adopted, adopted, plan_new
from titans.store.memory import MemoryStore

keeping = st.sampled_from([("compact",), ("seal", "2026-01"), ("vacuum",)])
looks = st.just(("look",))
steps = st.one_of(ingests, ingests, uploads, waiting, keeping, looks, looks)


@pytest.fixture(scope="module", autouse=True)
def early():
    with early_merges():
        yield


class Follower:
    """Keeps what it was told, and the last offset as text."""

    def __init__(self, archive):
        self.archive = archive
        self.offset = json.dumps(NOTHING.to_json())
        self.told = archive._reader().empty_changes()
        self.batches = []

    def look(self, span=(None, None)):
        if not self.archive.store._objects:
            return
        before = Adopted.from_json(json.loads(self.offset))
        now = Adopted.from_json(json.loads(json.dumps(adopted(self.archive, before).to_json())))
        tasks = plan_new(self.archive, before, now, span)
        rows = [pickle.loads(pickle.dumps(task)).read(self.archive) for task in tasks]
        self.batches.append(pl.concat([self.told.clear(), *rows]))
        self.told = pl.concat([self.told, *rows])
        self.offset = json.dumps(now.to_json())


def followed(steps):
    archive = Archive(MemoryStore(), PROVIDER)
    follower = Follower(archive)
    for step in steps:
        if step[0] == "look":
            follower.look()
        else:
            done(archive, step)
    done(archive, ("compact",))
    follower.look()
    return archive, follower


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=2, max_size=16))
def test_nothing_is_lost_and_every_state_follows_from_what_was_told(steps):
    archive, follower = followed(steps)
    if not archive.store._objects:
        return
    expected, told = archive.changes(), follower.told
    assert expected.join(told, on=expected.columns, how="anti", nulls_equal=True).is_empty()
    # One value for a key and a Time, however often it was told.
    assert told.unique().height == told.unique(["k", "Time"]).height
    for slot in SLOTS:
        moment = at(slot, 9)
        assert replayed(told.unique(), moment) == as_dict(archive.state(moment))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(ingests, uploads, waiting, keeping), min_size=1, max_size=14))
def test_one_look_tells_exactly_the_changes(steps):
    archive, follower = followed(steps)
    if archive.store._objects:
        assert follower.told.sort("k", "Time").equals(archive.changes())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(range(11)), states), min_size=2, max_size=10),
    st.data(),
)
def test_within_a_month_everything_is_told_once_where_late_slots_do_not_neighbour(given_to, data):
    """Of two slots that follow each other at most one comes late."""
    archive = Archive(MemoryStore(), PROVIDER)
    follower = Follower(archive)
    by_slot = dict(given_to)
    order = sorted(by_slot)
    late: set[int] = set()
    for previous, slot in pairwise(order):
        if previous not in late and data.draw(st.booleans()):
            late.add(slot)
    order = [s for s in order if s not in late] + data.draw(st.permutations(sorted(late)))
    for slot in order:
        done(archive, ("ingest", slot, by_slot[slot]))
        follower.look()
        if data.draw(st.booleans()):
            done(archive, data.draw(keeping))
    assert follower.told.sort("k", "Time").equals(archive.changes())


def test_where_two_late_slots_follow_each_other_a_row_may_come_again_the_same():
    archive = Archive(MemoryStore(), PROVIDER)
    follower = Follower(archive)
    for slot, value in ((0, 1), (3, 2), (1, 2), (2, 1)):
        archive.ingest(snapshot({"a": (value, 0.5)}), at(slot))
        follower.look()
    assert follower.told.unique().sort("k", "Time").equals(archive.changes())
    assert follower.told.filter(pl.col("Time") == at(3)).height == 2


def test_a_late_slot_in_the_month_before_takes_from_a_full_snapshot_what_it_restates():
    archive = Archive(MemoryStore(), PROVIDER)
    follower = Follower(archive)
    archive.ingest(snapshot({"a": (1, 0.5)}), at(10))
    archive.ingest(snapshot({"a": (2, 0.5)}), at(12))
    follower.look()
    archive.ingest(snapshot({"a": (2, 0.5)}), at(11))
    follower.look()
    assert archive.changes()["Time"].to_list() == [at(10), at(11)]
    assert follower.told["Time"].to_list() == [at(10), at(12), at(11)]


def test_a_late_slot_brings_its_correcting_rows_and_nothing_else():
    archive = Archive(MemoryStore(), PROVIDER)
    follower = Follower(archive)
    for slot in (0, 2, 3):
        archive.ingest(snapshot({"a": (1, 0.5), "b": (slot, 0.5)}), at(slot))
    follower.look()
    archive.ingest(snapshot({"a": (2, 0.5), "b": (0, 0.5)}), at(1))
    follower.look()
    told = follower.batches[1].select("k", "Time", "v").sort("k", "Time").rows()
    assert told == [("a", at(1), 2), ("a", at(2), 1)]
    follower.look()
    assert follower.batches[2].is_empty()


def test_what_waits_is_told_once_it_is_adopted():
    archive = Archive(MemoryStore(), PROVIDER)
    follower = Follower(archive)
    archive.ingest(snapshot({"a": (1, 0.5)}), at(0))
    archive.ingest(snapshot({"a": (1, 0.5)}), at(2))
    archive.upload(changes({"a": (5, 0.5)}), at(1))
    follower.look()
    assert follower.told["Time"].to_list() == [at(0)]
    archive.compact()
    follower.look()
    assert follower.told.sort("k", "Time").equals(archive.changes())


def test_a_batch_that_is_made_again_later_is_the_same():
    archive = Archive(MemoryStore(), PROVIDER)
    for slot, value in ((0, 1), (2, 1)):
        archive.ingest(snapshot({"a": (value, 0.5)}), at(slot))
    now = adopted(archive)
    first = [task.read(archive) for task in plan_new(archive, NOTHING, now)]
    archive.ingest(snapshot({"a": (2, 0.5)}), at(1))
    archive.ingest(snapshot({"a": (3, 0.5)}), at(3))
    again = [task.read(archive) for task in plan_new(archive, NOTHING, now)]
    assert pl.concat(again).equals(pl.concat(first))


def test_a_correction_of_what_was_told_is_an_error_unless_it_is_to_be_ignored():
    archive = Archive(MemoryStore(), PROVIDER)
    for slot in range(3):
        archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot))
    before = adopted(archive)
    archive.ingest(snapshot({"a": (7, 0.5)}), at(3))
    archive.amend(snapshot({"a": (8, 0.5)}), at(3), reason="not told yet")
    now = adopted(archive, before)
    (rows,) = [task.read(archive) for task in plan_new(archive, before, now)]
    assert rows["v"].to_list() == [8]

    archive.amend(snapshot({"a": (9, 0.5)}), at(1), reason="a typing error")
    with pytest.raises(InputError, match="amend, 'a typing error'.*checkpoint.*ignore"):
        adopted(archive, before)
    with pytest.raises(InputError, match="typing error"):
        plan_new(archive, before, now)
    later = adopted(archive, before, any_corrections=True)
    tasks = plan_new(archive, before, later, any_corrections=True)
    assert [task.read(archive)["v"].to_list() for task in tasks] == [[8]]


def test_another_archive_and_other_offsets_are_noticed():
    archive = Archive(MemoryStore(), PROVIDER)
    archive.ingest(snapshot({"a": (1, 0.5)}), at(0))
    before = adopted(archive)
    other = Archive(MemoryStore("other"), PROVIDER)
    other.ingest(snapshot({"a": (1, 0.5)}), at(1))
    with pytest.raises(InputError, match="another archive"):
        adopted(other, before)
    for wrong in ({}, {"version": 1, "months": {"x": [[], 0]}}, {"version": 2, "months": {}}):
        with pytest.raises(InputError, match="adopted slots"):
            Adopted.from_json(wrong)


def test_what_was_removed_is_not_missed():
    archive = Archive(MemoryStore(), PROVIDER)
    for slot in range(9, 16):
        archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot))
    before = adopted(archive)
    archive.retain(since="2026-02", reason="old")
    archive.ingest(snapshot({"a": (99, 0.5)}), at(16))
    now = adopted(archive, before)
    (rows,) = [task.read(archive) for task in plan_new(archive, before, now)]
    assert rows["v"].to_list() == [99]


def test_an_offset_is_small():
    archive = Archive(MemoryStore(), PROVIDER)
    for slot in (*range(6), *range(8, 20)):
        archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot))
    text = json.dumps(adopted(archive).to_json())
    assert len(text) < 120, text


def test_of_a_span_only_its_times_are_told_whatever_came_before_it():
    archive = Archive(MemoryStore(), PROVIDER)
    follower = Follower(archive)
    for slot in (0, 2, 3, 1, 5):
        archive.ingest(snapshot({"a": (slot, 0.5), "b": (slot % 2, 0.5)}), at(slot))
        follower.look((at(2), at(5)))
    assert follower.told.sort("k", "Time").equals(archive.changes(at(2), at(5)))
