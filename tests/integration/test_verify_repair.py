"""Verification notices every kind of damage, and repair makes a manifest from the files."""

import json
from datetime import UTC, datetime
from io import BytesIO

import polars as pl
import pytest
from oracle import PROVIDER, as_dict, at, changes, snapshot

from titans import Archive
from titans.errors import FormatVersionError
from titans.slots import Month
from titans.store.memory import MemoryStore
from titans.tiers.maintain.verify import CHECKS
from titans.tiers.manifest.commit import read_head

JANUARY = "parquet_warm/small/m8/2026/01/"
MANIFEST = JANUARY + "manifest.json"

pytestmark = pytest.mark.usefixtures("eight_by_eight")


@pytest.fixture
def archive():
    """Snapshots and changes, some of them late, in two levels, with something still waiting."""
    archive = Archive(MemoryStore(), PROVIDER)
    order = [0, 1, 3, 5, 4, 7, 6, 8, 9, 10]
    for n in order:
        archive.ingest(snapshot({"a": (n, 0.5), "b": (n // 3, 1.5)}), at(n), max_ceased=1.0)
        archive.compact()
    archive.upload(changes({"c": (7, 0.5)}), at(2))
    archive.compact()
    archive.upload(changes({"d": (1, 0.5)}), at(11))
    return archive


def failures(archive, deep=True):
    return {c.name: c.failures for c in archive.verify(deep=deep).checks if not c.passed}


def overwrite(archive, key, data):
    archive.store.delete(key)
    archive.store.create(key, data)


def edited(archive, change):
    data = json.loads(archive.store.get(MANIFEST).data)
    change(data)
    overwrite(archive, MANIFEST, json.dumps(data).encode())


def merged(archive):
    return next(e.key for e in archive.store.list(JANUARY + "L1"))


def test_a_sound_archive_passes_every_check(archive):
    found = archive.verify(deep=True)
    assert found.passed, failures(archive)
    assert [c.name for c in found.checks] == list(CHECKS)
    assert all(c.asked for c in found.checks if c.name != "keyframes")  # too few slots for one
    assert [c.name for c in archive.verify().checks] == list(CHECKS)[:9]


def test_gaps_in_coverage_are_told_but_no_failure(archive):
    assert {month: list(gaps) for month, gaps in archive.verify().gaps.items()} == {
        "2026-01": [datetime(2026, 1, 31, 22, 20, tzinfo=UTC)]
    }


def test_a_missing_file_is_noticed(archive):
    archive.store.delete(merged(archive))
    assert set(failures(archive, deep=False)) == {"existence"}


def test_a_truncated_file_is_noticed(archive):
    key = merged(archive)
    overwrite(archive, key, archive.store.get(key).data[:-7])
    assert {"size", "metadata"} <= set(failures(archive, deep=False))


def test_a_changed_value_is_noticed(archive):
    key = merged(archive)
    data = archive.store.get(key).data
    rows = pl.read_parquet(BytesIO(data))
    out = BytesIO()
    rows.with_columns(pl.col("v") + 1).write_parquet(
        out, metadata=pl.read_parquet_metadata(BytesIO(data))
    )
    overwrite(archive, key, out.getvalue())
    assert "content" in failures(archive)


def test_rows_out_of_order_are_noticed(archive):
    key = merged(archive)
    data = archive.store.get(key).data
    out = BytesIO()
    pl.read_parquet(BytesIO(data)).reverse().write_parquet(
        out, metadata=pl.read_parquet_metadata(BytesIO(data))
    )
    overwrite(archive, key, out.getvalue())
    assert set(failures(archive)) == {"size", "order"} or set(failures(archive)) == {"order"}


def test_a_file_named_twice_over_or_not_at_all_is_noticed(archive):
    def forget(data):
        data["levels"]["0"] = [f for f in data["levels"]["0"] if not f["slots"]]

    edited(archive, forget)
    assert "exactly once" in failures(archive, deep=False)


def test_more_rows_out_than_in_are_noticed(archive):
    def inflate(data):
        data["levels"]["1"][0]["rows_in"] = 1

    edited(archive, inflate)
    assert {"ledger", "metadata"} <= set(failures(archive, deep=False))


def test_the_same_row_in_two_files_is_noticed(archive):
    def again(data):
        level = data["levels"]["0"]
        level.append({**level[0], "file": "C_04452_0123456789abcdef.parquet", "slots": []})

    hot = json.loads(archive.store.get(MANIFEST).data)["levels"]["0"][0]["file"]
    archive.store.create(JANUARY + "C_04452_0123456789abcdef.parquet", archive.store.get(hot).data)
    edited(archive, again)
    assert "uniqueness" in failures(archive)


def test_an_unreadable_manifest_is_a_failure_and_the_rest_is_checked(archive):
    archive.ingest(snapshot({"a": (1, 0.5)}), at(12), max_ceased=1.0)
    overwrite(archive, MANIFEST, b"{")
    found = archive.verify()
    assert [c.name for c in found.checks if not c.passed] == ["manifest"]
    # Of February: its full snapshot, and what that changed.
    assert next(c.asked for c in found.checks if c.name == "existence") == 2


def test_an_unreadable_waiting_file_is_noticed_and_keeps_nobody_out(archive):
    overwrite(archive, "parquet_cp_hot/small/2026/01/31/23-50.parquet", b"nonsense")
    archive.ingest(snapshot({"a": (0, 0.5)}), at(12))
    assert set(failures(archive, deep=False)) == {"waiting"}
    assert (
        Archive(archive.store, PROVIDER).compact().adopted == 0
    )  # who uploaded it knows it, and need not look


# --- repair ---------------------------------------------------------------------------------------


def answers(archive):
    return [as_dict(archive.state(at(n))) for n in range(12)], archive.history(k="c").rows()


@pytest.mark.parametrize("damage", ["lost", "damaged", "emptied"])
def test_a_manifest_is_made_again_from_the_files(archive, damage):
    before = answers(archive)
    if damage == "lost":
        archive.store.delete(MANIFEST)
    else:
        overwrite(archive, MANIFEST, b"" if damage == "emptied" else b'{"levels": 3')
    held = {e.key: archive.store.get(e.key).data for e in archive.store.list()}
    (planned,) = archive.repair(dry_run=True)
    assert {e.key: archive.store.get(e.key).data for e in archive.store.list()} == held
    assert planned.month == Month(2026, 1)
    archive.repair()
    assert set(held) <= {e.key for e in archive.store.list()}, "repair deletes nothing"
    assert answers(archive) == before
    archive.compact()
    assert answers(archive) == before
    assert failures(archive) == {}
    assert archive.repair(dry_run=True) == ()
    assert read_head(archive._dataset, Month(2026, 1)).manifest.next_file_id == 2


def test_after_many_merges_the_largest_files_are_taken():
    archive = Archive(MemoryStore(), PROVIDER)
    for n in range(-70, 12):
        archive.upload(changes({"a": (n, 0.5)}), at(n))
        archive.compact()
    before = archive.changes()
    archive.store.delete(MANIFEST)
    (planned,) = archive.repair()
    assert sorted(f.level for f in planned.manifest.files) == [1, 1, 2]
    assert planned.unused, "the inputs of merges that have not been removed yet"
    archive.compact()
    assert archive.changes().equals(before)
    assert failures(archive) == {}
    archive.vacuum("0s")
    assert archive.changes().equals(before)
    assert failures(archive) == {}


def test_a_manifest_that_names_lost_files_is_made_from_what_is_left(archive):
    archive.compact()
    key = merged(archive)
    archive.store.delete(key)
    (planned,) = archive.repair()
    assert planned.manifest.files == ()
    archive.compact()
    assert failures(archive) == {}
    assert answers(archive)[0][10]["a"] == (10, 0.5)


def test_a_sound_archive_needs_no_repair(archive):
    assert archive.repair() == ()


def test_a_newer_manifest_is_not_taken_for_a_damaged_one(archive):
    overwrite(archive, MANIFEST, b'{"format_version": 99}')
    with pytest.raises(FormatVersionError):
        archive.repair()
