"""What is removed, when, and what never is."""

import pytest
from oracle import PROVIDER, Clock, as_dict, at, changes, snapshot

from titans import Archive
from titans.errors import InputError, ManifestError, SlotConflictError, Unavailable
from titans.layout import Paths
from titans.slots import Month, Slot
from titans.store.memory import MemoryStore
from titans.tiers.compact import merge as merging
from titans.tiers.compact.plan import next_merge
from titans.tiers.manifest.commit import read_head

JANUARY = Month(2026, 1)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def archive(clock):
    """Eight slots, merged."""
    archive = Archive(MemoryStore(clock=clock), PROVIDER)
    for n in range(8):
        archive.upload(changes({"a": (n, 0.5)}), at(n))
    archive.compact()
    return archive


def keys(archive, prefix="parquet"):
    return [entry.key for entry in archive.store.list(prefix)]


def manifest(archive):
    return read_head(archive._dataset, JANUARY).manifest


def warm(archive, name):
    return archive.paths.file_key(JANUARY, name)


LIVE = [
    "parquet_warm/small/m8/2026/01/L1_0001_04452-04459.parquet",
    "parquet_warm/small/m8/2026/01/manifest.json",
]


def test_replaced_files_go_after_the_grace_period(archive, clock):
    assert archive.vacuum().removed == ()
    clock.later(minutes=59)
    assert archive.vacuum().removed == ()
    assert len(keys(archive, "parquet_cp_hot")) == 8
    clock.later(minutes=2)
    assert len(archive.vacuum().removed) == 8
    assert keys(archive) == LIVE
    assert archive.history(k="a")["v"].to_list() == list(range(8))


def test_without_grace_they_go_at_once(archive):
    assert len(archive.vacuum("0s").removed) == 8
    assert keys(archive) == LIVE
    assert manifest(archive).pending == ()
    assert archive.vacuum("0s").removed == ()


def test_a_dry_run_changes_nothing_and_tells_what_would_go(archive, clock):
    archive.vacuum()
    clock.later(hours=2)
    archive.upload(changes({"b": (1, 0.5)}), at(9))
    before = {k: archive.store.get(k) for k in keys(archive)}
    would = archive.vacuum(dry_run=True)
    assert {k: archive.store.get(k) for k in keys(archive)} == before
    assert would.removed == archive.vacuum().removed
    assert len(would.removed) == 8


def test_orphans_are_listed_first_and_removed_a_grace_period_later(archive, clock):
    orphan = warm(archive, Paths.merged_name(1, 77, 0, 7))
    archive.store.create(orphan, b"left over from a crash")
    assert archive.vacuum().listed == ()
    clock.later(hours=2)
    archive.upload(changes({"b": (1, 0.5)}), at(9))
    assert archive.vacuum().listed == (orphan,)
    assert orphan in keys(archive)
    clock.later(hours=2)
    assert orphan in archive.vacuum().removed
    assert orphan not in keys(archive)


def test_hot_files_nobody_has_adopted_are_data(archive, clock):
    archive.upload(changes({"b": (1, 0.5)}), at(9))
    clock.later(days=30)
    archive.vacuum("0s")
    assert archive.paths.hot_key(Slot.of(at(9))) in keys(archive)
    assert as_dict(archive.latest())["b"] == (1, 0.5)


def test_foreign_objects_are_left_alone(archive, clock):
    foreign = [
        "parquet_warm/small/m8/2026/01/notes.txt",
        "parquet_warm/other/L1_0001_00000-00007.parquet",
        "parquet_cp_hot/small/README.md",
    ]
    for key in foreign:
        archive.store.create(key, b"mine")
    clock.later(days=30)
    archive.vacuum("0s")
    assert set(foreign) < set(keys(archive))


def test_one_unreadable_manifest_stops_the_removal_everywhere(archive, clock):
    archive.upload(changes({"b": (1, 0.5)}), at(12))
    archive.compact()
    february = "parquet_warm/small/m8/2026/02/manifest.json"
    archive.store.replace(february, b"{", archive.store.get(february).etag)
    before = keys(archive)
    with pytest.raises(ManifestError, match="2026/02"):
        archive.vacuum("0s")
    assert keys(archive) == before


def test_a_hot_file_stays_if_no_merged_file_proves_to_hold_it(archive, caplog):
    name = next(f.file for f in manifest(archive).files)
    key = warm(archive, name)
    archive.store.delete(key)
    archive.vacuum("0s")
    assert len(keys(archive, "parquet_cp_hot")) == 8
    assert "it stays" in caplog.text


def test_a_slot_uploaded_again_after_vacuum_is_not_kept_twice(archive, caplog):
    archive.vacuum("0s")
    key = archive.upload(changes({"a": (3, 0.5)}), at(3))
    assert caplog.text == ""
    assert archive.upload(changes({"a": (99, 0.5)}), at(3)) == key
    assert "already holds other rows" in caplog.text
    assert keys(archive) == LIVE
    assert archive.history(k="a")["v"].to_list() == list(range(8))


def test_an_upload_cut_short_after_vacuum_is_not_taken_for_done_when_it_is_tried_again(
    archive, monkeypatch, caplog
):
    archive.vacuum("0s")
    key = archive.paths.hot_key(Slot.of(at(3)))
    with monkeypatch.context() as patched:
        patched.setattr(
            "titans.archive.read_head", lambda *_: (_ for _ in ()).throw(Unavailable("throttled"))
        )
        with pytest.raises(Unavailable):
            archive.upload(changes({"a": (99, 0.5)}), at(3))
    assert key in keys(archive)
    with pytest.raises(SlotConflictError):
        archive.upload(changes({"a": (99, 0.5)}), at(3), on_conflict="error")
    archive.vacuum("0s")
    assert keys(archive) == LIVE
    assert archive.history(k="a")["v"].to_list() == list(range(8))


def test_a_snapshot_ingested_again_after_vacuum_is_recognised(clock):
    archive = Archive(MemoryStore(clock=clock), PROVIDER)
    for n in range(8):
        archive.ingest(snapshot({"a": (n, 0.5)}), at(n))
    archive.compact()
    archive.vacuum("0s")
    before = keys(archive)
    assert (
        Archive(archive.store, PROVIDER).ingest(snapshot({"a": (3, 0.5)}), at(3)).status
        == "already"
    )
    assert (
        Archive(archive.store, PROVIDER).ingest(snapshot({"a": (9, 0.5)}), at(3)).status
        == "skipped"
    )
    assert keys(archive) == before


@pytest.mark.parametrize("unlisted", [False, True])
def test_a_merge_that_slept_through_the_removal_of_its_output_fails_cleanly(
    clock, unlisted, monkeypatch
):
    archive = Archive(MemoryStore(clock=clock), PROVIDER)
    for n in range(8):
        archive.upload(changes({"a": (n, 0.5)}), at(n))
    monkeypatch.setattr("titans.tiers.compact.compactor.next_merge", lambda manifest: None)
    archive.compact()
    monkeypatch.undo()
    stale = manifest(archive)
    original = merging._write

    def slow(*arguments):
        entry = original(*arguments)
        monkeypatch.setattr(merging, "_write", original)
        clock.later(hours=2)
        archive.upload(changes({"b": (1, 0.5)}), at(9))
        done = archive.vacuum("0s" if unlisted else "1h")
        assert archive.paths.file_key(JANUARY, entry.file) in (
            done.removed if unlisted else done.listed
        )
        return entry

    monkeypatch.setattr(merging, "_write", slow)
    after, entry = merging.merge(archive._dataset, stale, next_merge(stale))
    assert entry is None
    assert [f.level for f in after.files] == [0] * 8
    assert archive.verify(deep=True).passed
    archive.compact()
    assert archive.history(k="a")["v"].to_list() == list(range(8))
    assert archive.verify(deep=True).passed


@pytest.mark.parametrize("grace", ["soon", "1", "-1h", "1 fortnight"])
def test_a_grace_period_is_a_duration(archive, grace):
    with pytest.raises(InputError, match="a duration is written like"):
        archive.vacuum(grace)


def test_a_removal_that_fails_stops_nothing_and_is_made_up_for(archive, clock, monkeypatch):
    real, refused = archive.store.delete, []

    def delete(key):
        if "22-2" in key:
            refused.append(key)
            raise Unavailable("slow down")
        real(key)

    clock.later(hours=2)
    with monkeypatch.context() as patched:
        patched.setattr(archive.store, "delete", delete)
        archive.upload(changes({"a": (100, 0.5)}), at(20))
        done = archive.compact()
        assert done.adopted == 1
        archive.vacuum()
    assert refused
    assert len(keys(archive, "parquet_cp_hot/small/2026/01/31/22-2")) == 1
    clock.later(hours=2)
    archive.vacuum()
    assert keys(archive, "parquet_cp_hot/small/2026/01/31/22-2") == []
    assert archive.verify(deep=True).passed


def test_lists_of_one_minute_are_one_and_none_waits_more_than_a_minute_longer(clock):
    """Or commits in quick succession would make the manifest long; and joined for ever, nothing
    would ever be removed."""
    archive = Archive(MemoryStore(clock=clock), PROVIDER)
    for n in range(64):
        archive.upload(changes({"a": (n, 0.5)}), at(n - 100))
        archive.compact()
        clock.later(seconds=10)
    pending = manifest(archive).pending
    assert len(pending) <= 64 * 10 / 60 + 2
    assert sum(len(p.slots) for p in pending) == 64
    clock.later(hours=1, minutes=1)
    archive.upload(changes({"a": (99, 0.5)}), at(-5))
    removed = archive.compact().removed
    archive.upload(changes({"a": (100, 0.5)}), at(-4))
    merged = sum(len(p.files) for p in pending)
    assert removed + archive.compact().removed == 64 + merged
    assert archive.verify(deep=True).passed
