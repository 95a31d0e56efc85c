"""What an archive tells: observers through events, people through the log. The names are those in
docs/operations.md."""

import logging
import re
from pathlib import Path

import pytest
from attrs import evolve
from oracle import PROVIDER, at, changes, snapshot

from titans import Archive
from titans.errors import (
    ConcurrencyConflictError,
    PreconditionFailed,
    StoreError,
    SuspiciousSnapshotError,
)
from titans.store.memory import MemoryStore

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


class Hooks:
    """In place of a plugin."""

    def __init__(self):
        self.events = []

    def titans_normalize(self, frame):
        return frame

    def titans_event(self, event):
        self.events.append(event)


@pytest.fixture
def hooks():
    return Hooks()


@pytest.fixture
def archive(hooks):
    return Archive(MemoryStore(), evolve(PROVIDER, hooks=hooks), wait=lambda attempt: None)


def story(archive, monkeypatch):
    """Everything that can be told, once."""
    monkeypatch.setattr("titans.tiers.compact.plan.is_worth_a_keyframe", lambda rows, keys: True)
    monkeypatch.setattr("titans.tiers.compact.plan.FANOUTS", (4,))
    monkeypatch.setattr("titans.tiers.compact.plan.TOP", 1)
    for n in range(8):
        archive.ingest(snapshot({"a": (n, 0.5), "b": (1, 0.5), "c": (1, 0.5)}), at(n))
    with pytest.raises(SuspiciousSnapshotError):
        archive.ingest(snapshot({}), at(8))
    archive.compact()
    archive.upload(changes({"a": (9, 0.5)}), at(9))
    archive.upload(changes({"a": (8, 0.5)}), at(9))
    archive.vacuum("0s")
    archive.store.delete("parquet_warm/small/m8/2026/01/manifest.json")
    archive.repair()
    with monkeypatch.context() as patched:

        def lost(key, data, etag):
            raise PreconditionFailed("somebody else was faster")

        patched.setattr(archive.store, "replace", lost)
        with pytest.raises(ConcurrencyConflictError, match="nothing is lost"):
            archive.compact()
    archive.seal("2026-01")


def test_every_step_is_an_event(archive, hooks, monkeypatch):
    story(archive, monkeypatch)
    names = {event.name for event in hooks.events}
    assert names == {
        "snapshot_ingested",
        "snapshot_refused",
        "slots_adopted",
        "files_merged",
        "hot_created",
        "slot_conflict",
        "vacuumed",
        "repaired",
        "failed",
        "border_written",
        "keyframe_written",
        "month_sealed",
    }
    failed = next(e for e in hooks.events if e.name == "failed")
    assert failed.fields["operation"] == "compact"
    assert failed.fields["error"] == "ConcurrencyConflictError"
    merged = next(e for e in hooks.events if e.name == "files_merged")
    assert {"month", "level", "file", "rows", "bytes", "ms"} <= set(merged.fields)


def test_every_event_is_documented_with_what_an_operator_does(archive, hooks, monkeypatch):
    story(archive, monkeypatch)
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", OPERATIONS.read_text(), flags=re.MULTILINE))
    assert {event.name for event in hooks.events} | {"files_removed", "published"} == documented


def test_every_step_is_logged_with_its_fields(archive, caplog):
    caplog.set_level(logging.INFO, logger="titans")
    archive.upload(changes({"a": (1, 0.5)}), at(0))
    archive.compact()
    created = next(r for r in caplog.records if "hot_created" in r.message)
    assert (created.provider, created.slot, created.rows) == ("small", "2026-01-31T22:00:00Z", 1)
    assert created.bytes > 0
    assert created.complete is False
    adopted = next(r for r in caplog.records if "slots_adopted" in r.message)
    assert (adopted.provider, adopted.month, adopted.slots) == ("small", "2026-01", 1)


def test_events_of_observations_say_their_slot(archive, hooks):
    archive.ingest(snapshot({"a": (1, 0.5)}), at(3, minutes=7))
    archive.upload(changes({}), at(4), complete=True)
    ingested = next(e for e in hooks.events if e.name == "snapshot_ingested")
    created = next(e for e in hooks.events if e.name == "hot_created")
    assert ingested.fields["slot"] == "2026-01-31T22:30:00Z"
    assert (created.fields["slot"], created.fields["complete"]) == ("2026-01-31T22:40:00Z", True)


def test_an_observer_that_raises_changes_nothing(archive, hooks, caplog, monkeypatch):
    def broken(event):
        raise RuntimeError("observer down")

    monkeypatch.setattr(hooks, "titans_event", broken)
    archive.ingest(snapshot({"a": (1, 0.5)}), at(0))
    assert archive.latest().height == 1
    assert "observer down" in caplog.text


def test_the_stores_own_failures_are_told_and_raised(archive, hooks, monkeypatch):
    def full(key, data):
        raise StoreError("cannot write: the disk is full")

    monkeypatch.setattr(archive.store, "create", full)
    with pytest.raises(StoreError, match="disk is full"):
        archive.upload(changes({"a": (1, 0.5)}), at(0))
    assert [(e.name, e.fields["operation"]) for e in hooks.events] == [("failed", "upload")]
    assert list(archive.store.list()) == []
