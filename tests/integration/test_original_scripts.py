"""What the two maintenance scripts of the original do to an archive that TITANS writes: as
docs/migration.md says."""

from datetime import UTC, datetime

import polars as pl
import pytest
from oracle import PROVIDER, as_dict, at, changes, snapshot
from original import Collector, clean_orphans, clean_sentinels

from titans import Archive, Provider, Schema
from titans.store.memory import MemoryStore

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
SLOTS = range(12, 40)
SAVINGS = Provider("small", Schema({"v": "Int64", "w": "Float64"}), ("k",))
"""With a -1 that is an honest value."""


@pytest.fixture
def archive():
    made = Archive(MemoryStore(), PROVIDER)
    for slot in SLOTS:
        made.ingest(snapshot({"a": (slot, 0.5), "b": (slot // 5, 0.5)}), at(slot))
        made.compact()
    return made


def answers(archive):
    return [as_dict(archive.state(at(slot))) for slot in SLOTS], archive.changes().rows()


def test_cleanup_orphans_takes_nothing_that_the_manifest_lists(archive):
    before = answers(archive)
    removed = clean_orphans(archive.store, "small", FEBRUARY)
    assert removed, "what waits for its grace period is gone at once"
    assert answers(archive) == before
    assert archive.verify(deep=True).passed
    archive.compact()
    archive.vacuum("0s")
    assert answers(archive) == before
    assert archive.verify(deep=True).passed


def test_cleanup_orphans_deletes_a_late_slot_that_is_not_adopted(archive):
    late = MemoryStore()
    writer = Archive(late, PROVIDER)
    for slot in (12, 14):
        writer.upload(changes({"a": (slot, 0.5)}), at(slot))
        writer.compact()
    key = writer.upload(changes({"b": (7, 0.5)}), at(13))
    assert clean_orphans(late, "small", FEBRUARY) == [key]
    assert "b" not in as_dict(writer.latest())

    writer.upload(changes({"b": (7, 0.5)}), at(13))
    writer.compact()  # what the page says to run first
    assert key not in clean_orphans(late, "small", FEBRUARY)
    assert as_dict(writer.latest())["b"] == (7, 0.5)


def test_clean_sentinel_data_finds_nothing_where_titans_has_written(archive):
    archive.ingest(snapshot({"a": (-1, 0.5), "b": (-1, 0.75)}), at(40))
    archive.compact()
    assert clean_sentinels(archive.store, "small", FEBRUARY, ["v", "w"]) == []


@pytest.mark.parametrize("slots", [3, 20], ids=["hot files", "merged files"])
def test_clean_sentinel_data_takes_honest_values_and_verify_says_so(slots):
    archive = Archive(MemoryStore(), SAVINGS)
    for slot in range(12, 12 + slots):
        archive.upload(changes({"a": (slot, -1.0), "b": (slot, 0.5)}), at(slot))
        archive.compact()
    assert archive.verify(deep=True).passed
    changed = clean_sentinels(archive.store, "small", FEBRUARY, ["v", "w"])
    assert changed
    found = archive.verify(deep=True)
    assert not found.passed
    failures = " ".join(text for check in found.checks for text in check.failures)
    assert any(key.rpartition("/")[2] in failures for key in changed)


def test_clean_sentinel_data_before_moving_in_is_read_as_it_leaves_it():
    collector = Collector(MemoryStore(), "small", ("k",), dict(PROVIDER.schema_dtypes))
    for slot in range(12, 32):
        rows = [("a", at(slot), slot, 0.5, False), ("b", at(slot), -1, 0.5, False)]
        frame = pl.DataFrame(rows, schema=dict(PROVIDER.schema_dtypes), orient="row")
        collector.run(frame, at(slot))
    assert clean_sentinels(collector.store, "small", FEBRUARY, ["v", "w"])
    archive = Archive(collector.store, PROVIDER)
    archive.compact()
    assert archive.changes()["k"].unique().to_list() == ["a"]
    assert archive.changes().height == 20
    assert archive.verify(deep=True).passed
