"""Keyframes and sealing: whole states that are right by construction, and what a late slot does to
them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import polars as pl
import pytest
from oracle import PROVIDER, as_dict, changes, snapshot

from titans import Archive
from titans.errors import InputError, NotFound, SnapshotExpiredError, Unavailable
from titans.slots import Month, SlotSet
from titans.store.memory import MemoryStore
from titans.tiers.manifest.commit import read_head
from titans.tiers.write.late import Marks

JANUARY, FEBRUARY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def at(slot: int, month: datetime = JANUARY) -> datetime:
    return month + timedelta(minutes=10 * slot)


def manifest(archive, month="2026-01"):
    return read_head(archive._dataset, Month.parse(month)).manifest


def keyframes(archive, month="2026-01"):
    return [k.slot for k in manifest(archive, month).keyframes if not k.is_full]


def keys(archive, prefix):
    return [entry.key for entry in archive.store.list(prefix)]


@pytest.fixture(autouse=True)
def spacing():
    with (
        patch("titans.tiers.compact.plan.FANOUTS", (4,)),
        patch("titans.tiers.compact.plan.TOP", 1),
        patch("titans.tiers.compact.plan.FINAL_ROWS", 0),
        patch("titans.tiers.compact.plan.is_worth_a_keyframe", lambda rows, keys: True),
    ):
        yield


@pytest.fixture
def archive():
    return Archive(MemoryStore(), PROVIDER)


def fill(archive, slots, month=JANUARY):
    """Snapshots in which `a` always changes and `b` never does."""
    for slot in slots:
        archive.ingest(snapshot({"a": (slot, 0.5), "b": (0, 0.5)}), at(slot, month))


def upload(archive, slots, month=JANUARY):
    for slot in slots:
        archive.upload(changes({"a": (slot, 0.5)}), at(slot, month))
        archive.compact()


def test_ordinary_work_writes_a_keyframe_every_few_slots(archive):
    fill(archive, range(13))
    assert keyframes(archive) == [4, 8, 12]
    assert len(keys(archive, "parquet_state/small/m8/2026/01/K_")) == 3
    assert archive.verify(deep=True).passed


def test_a_state_reads_one_keyframe_and_what_comes_after_it(archive):
    fill(archive, range(14))
    archive.seal("2026-01")
    read = []
    real = MemoryStore.get

    def get(store, key):
        read.append(key)
        return real(store, key)

    with patch.object(MemoryStore, "get", get):
        assert as_dict(archive.state(at(9, JANUARY))) == {"a": (9, 0.5), "b": (0, 0.5)}
    assert [key.split("/")[-1][:7] for key in read if "state" in key] == ["K_00008"]


def test_a_late_slot_takes_the_keyframes_after_it_away(archive):
    fill(archive, [s for s in range(13) if s != 6])
    assert keyframes(archive) == [4, 9]
    before = manifest(archive)
    archive.ingest(snapshot({"a": (6, 0.5), "b": (0, 0.5)}), at(6))
    after = manifest(archive)
    assert [k.slot for k in after.keyframes] == [0, 4]  # the full snapshot depends on nothing
    assert {k.file for k in before.keyframes} - {
        k.file for k in after.keyframes
    } <= after.pending_files
    fill(archive, [13])
    archive.seal("2026-01")
    assert keyframes(archive)[0] == 4
    assert len(keyframes(archive)) > 1, "there is another one after the late slot"
    assert archive.verify(deep=True).passed


def test_a_keyframe_after_a_later_full_snapshot_outlives_a_late_slot(archive):
    upload(archive, [0])
    fill(archive, range(2, 9))
    assert keyframes(archive)[-1] == 6
    archive.upload(changes({"a": (77, 0.5)}), at(1))
    archive.compact()
    assert 6 in keyframes(archive)
    assert archive.verify(deep=True).passed


def test_nothing_is_sealed_twice_and_a_late_slot_opens_the_month_again(archive):
    fill(archive, range(10))
    done = archive.seal("2026-01")
    assert done.merged
    assert manifest(archive).sealed
    assert archive.status()[0].sealed
    again = archive.seal("2026-01")
    assert (again.merged, again.keyframes, again.adopted) == (0, 0, 0)
    fill(archive, [20])
    assert not manifest(archive).sealed
    archive.seal("2026-01")
    assert manifest(archive).sealed
    (border,) = [f for f in manifest(archive).files if f.is_border]
    finals = [f for f in manifest(archive).files if not f.is_border]
    assert border.first == 0
    assert {f.level for f in finals} == {1}
    assert [f.first for f in finals] == [1, 4, 8]
    assert finals[-1].slots == SlotSet(((8, 9), (20, 20))), "a small final file is taken in"
    assert archive.verify(deep=True).passed


@pytest.mark.parametrize("month", ["2026-02", "2026-13", "January", ""])
def test_a_month_that_cannot_be_sealed(archive, month):
    fill(archive, range(2))
    with pytest.raises(InputError):
        archive.seal(month)


def test_the_month_before_is_sealed_by_itself_a_day_after_its_end(archive):
    fill(archive, range(3))
    fill(archive, range(8), FEBRUARY)
    assert not manifest(archive).sealed
    fill(archive, range(144, 168), FEBRUARY)
    assert manifest(archive).sealed
    assert manifest(archive, "2026-02").sealed is False
    assert archive.verify(deep=True).passed


def test_compact_seals_step_by_step(archive):
    upload(archive, range(9))
    upload(archive, [150], FEBRUARY)
    steps = 1
    while not manifest(archive).sealed:
        archive.compact()
        steps += 1
    assert 3 <= steps <= 8
    assert keyframes(archive, "2026-02") == [0]


def test_a_collector_that_compacts_its_own_slots_seals_the_month_before(archive):
    upload(archive, range(9))
    archive.vacuum("0s")
    for slot in range(144, 144 + 48):
        archive.compact(archive.upload(changes({"a": (slot, 0.5)}), at(slot, FEBRUARY)))
    assert manifest(archive).sealed
    assert archive.verify(deep=True).passed


class TestWithoutSnapshots:
    """Archives that hold only changes: a month builds on the one before."""

    @pytest.fixture(autouse=True)
    def two_months(self, archive):
        archive.upload(changes({"b": (1, 0.5), "c": (2, 0.5)}), at(0))
        archive.compact()
        upload(archive, range(1, 6))
        upload(archive, range(6), FEBRUARY)
        archive.seal("2026-01")

    def test_the_first_keyframe_of_the_next_month_holds_what_the_month_left(self, archive):
        february = manifest(archive, "2026-02").keyframes
        assert [(k.slot, k.rows, k.dependent) for k in february] == [(0, 3, True), (4, 3, True)]
        assert manifest(archive).built_on
        assert as_dict(archive.state(at(2, FEBRUARY))) == {
            "a": (2, 0.5),
            "b": (1, 0.5),
            "c": (2, 0.5),
        }

    def test_a_state_does_not_go_back_further_than_its_month(self, archive):
        archive.vacuum("0s")
        read = []
        real = MemoryStore.get

        def get(store, key):
            read.append(key)
            return real(store, key)

        with patch.object(MemoryStore, "get", get):
            archive.state(at(5, FEBRUARY))
        assert not [key for key in read if "2026/01" in key]

    def test_a_late_slot_in_the_month_before_is_seen_at_once_and_for_ever(self, archive):
        expected = {"a": (5, 0.5), "b": (9, 0.5), "c": (2, 0.5)}
        archive.upload(changes({"b": (9, 0.5)}), at(10))
        assert as_dict(archive.latest()) == expected
        archive.compact(archive.paths.hot_key(_slot(10)))
        assert as_dict(archive.latest()) == expected
        assert keyframes(archive, "2026-02") == []
        assert manifest(archive, "2026-02").dirty == ()
        archive.seal("2026-01")
        archive.seal("2026-02")
        assert keyframes(archive, "2026-02") == [0, 4]
        assert as_dict(archive.latest()) == expected
        assert archive.verify(deep=True).passed

    def test_a_process_that_dies_after_a_late_adoption_leaves_marks_that_keep_reads_right(
        self, archive
    ):
        archive.upload(changes({"b": (9, 0.5)}), at(10))

        def dies(self, *arguments):
            raise Unavailable("gone")

        with patch.object(Marks, "release", dies):
            archive.compact(archive.paths.hot_key(_slot(10)))
        left = manifest(archive, "2026-02")
        assert left.dirty
        assert keyframes(archive, "2026-02") == [0, 4]  # still there, but nobody believes them
        expected = {"a": (5, 0.5), "b": (9, 0.5), "c": (2, 0.5)}
        assert as_dict(archive.latest()) == expected
        fence = manifest(archive).fence
        archive.seal("2026-02")  # writing a keyframe clears them first
        assert manifest(archive, "2026-02").dirty == ()
        assert manifest(archive).fence == fence + 1
        assert as_dict(archive.latest()) == expected
        assert archive.verify(deep=True).passed

    def test_a_late_adoption_whose_marks_were_cleared_sets_them_again(self, archive):
        archive.upload(changes({"b": (9, 0.5)}), at(10))
        other = Archive(archive.store, PROVIDER)
        real, sets = Marks.set.__func__, []

        def set_and_be_slow(cls, *arguments):
            marks = real(cls, *arguments)
            if not sets:
                other.seal(
                    "2026-02"
                )  # takes it for dead: clears its marks, and writes keyframes without it
                other_state = as_dict(other.state(at(5, FEBRUARY)))
                assert other_state["b"] == (9, 0.5)  # a waiting file is seen all the same
            sets.append(marks)
            return marks

        # Sealing February adopts nothing in January; only this compaction does.
        with patch.object(Marks, "set", classmethod(set_and_be_slow)):
            archive.compact(archive.paths.hot_key(_slot(10)))
        assert len(sets) == 2
        assert as_dict(archive.latest()) == {"a": (5, 0.5), "b": (9, 0.5), "c": (2, 0.5)}
        archive.seal("2026-02")
        assert archive.verify(deep=True).passed

    def test_backfilling_a_month_before_the_first_one(self, archive):
        december = datetime(2025, 12, 31, tzinfo=UTC)
        archive.upload(changes({"z": (1, 0.5)}), december)
        assert as_dict(archive.latest())["z"] == (1, 0.5)
        archive.compact()
        assert as_dict(archive.latest())["z"] == (1, 0.5)
        for month in ("2025-12", "2026-01", "2026-02"):
            archive.seal(month)
        assert as_dict(archive.latest())["z"] == (1, 0.5)
        assert archive.verify(deep=True).passed

    def test_an_adoption_that_began_before_the_next_month_did_begins_again(self):
        """January gets its first manifest after February got its own, and a keyframe: the marks of
        before were set on nothing."""
        archive = Archive(MemoryStore(), PROVIDER)
        archive.upload(changes({"b": (9, 0.5)}), at(10))
        archive.upload(changes({"a": (1, 0.5)}), at(0, FEBRUARY))
        other = Archive(archive.store, PROVIDER)
        real, sets = Marks.set.__func__, []

        def set_and_be_slow(cls, *arguments):
            marks = real(cls, *arguments)
            sets.append(marks.month)
            if len(sets) == 1:
                other.seal("2026-02")
                assert keyframes(other, "2026-02")
            return marks

        with patch.object(Marks, "set", classmethod(set_and_be_slow)):
            archive.compact(archive.paths.hot_key(_slot(10)))
        assert [str(month) for month in sets] == ["2026-01", "2026-02", "2026-01"]
        assert as_dict(archive.state(at(3, FEBRUARY))) == {"a": (1, 0.5), "b": (9, 0.5)}
        archive.seal("2026-02")
        assert archive.verify(deep=True).passed


def _slot(index):
    from titans.slots import Slot

    return Slot.of(at(index))


def test_a_wrong_keyframe_is_found_by_verify(archive):
    fill(archive, range(6))
    full, entry = manifest(archive).keyframes
    assert full.is_full
    key = archive.paths.file_key(Month.parse("2026-01"), entry.file)
    blob = archive.store.get(key)
    frame = pl.read_parquet(blob.data).with_columns(v=pl.lit(99, dtype=pl.Int64))
    frame.write_parquet(path := __import__("io").BytesIO())
    archive.store.replace(key, path.getvalue(), blob.etag)
    found = {check.name: check for check in archive.verify(deep=True).checks}
    assert not found["keyframes"].passed
    assert "is not the state" in found["keyframes"].failures[0]


def test_a_lost_keyframe_is_named_and_nothing_else_depends_on_it(archive):
    fill(archive, range(6))
    _, entry = manifest(archive).keyframes
    archive.store.delete(archive.paths.file_key(Month.parse("2026-01"), entry.file))
    found = {check.name: check for check in archive.verify().checks}
    assert not found["existence"].passed
    with pytest.raises(SnapshotExpiredError, match="titans verify"):
        archive.state(at(5))
    (repair,) = archive.repair()
    assert "keyframe" in repair.reason
    assert as_dict(archive.state(at(5))) == {"a": (5, 0.5), "b": (0, 0.5)}


def test_a_file_that_took_the_name_of_a_removed_one_is_not_read_in_its_place(archive):
    archive.upload(changes({"a": (1, 0.5)}), at(0))
    archive.compact()
    reader = archive._reader()
    reader.view(Month.parse("2026-01"))
    other = Archive(MemoryStore(), PROVIDER)
    key = other.upload(changes({"a": (2, 0.5)}), at(0))
    archive.store.delete(key)
    archive.store.create(key, other.store.get(key).data)
    with pytest.raises(NotFound, match="another file by now"):
        reader.changes()
