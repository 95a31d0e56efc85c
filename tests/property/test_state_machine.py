"""The public API against a dict, in any order of calls, on the memory and the local store."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from oracle import PROVIDER, as_dict, at, changes, replayed, snapshot

from titans import Archive
from titans.errors import SlotConflictError
from titans.slots import Slot
from titans.store import ObjectStore
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

VALUES = st.tuples(st.integers(0, 3), st.sampled_from([0.5, 1.5]))
SLOTS = st.integers(6, 17)  # six slots before the end of a month, six after
SNAPSHOTS = st.dictionaries(st.sampled_from("abcd"), VALUES)
CHANGES = st.dictionaries(st.sampled_from("abcd"), st.none() | VALUES, min_size=1)


class ArchiveMachine(RuleBasedStateMachine):
    """Two archives objects on one store, as two collectors have them; a dict of what was
    acknowledged."""

    def make_store(self) -> ObjectStore:
        return MemoryStore()

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make_store()
        self.archives = [Archive(self.store, PROVIDER) for _ in range(2)]
        self.snapshots: dict[datetime, dict] = {}
        self.uploads: dict[datetime, dict] = {}
        self.dirty = True

    def holds(self, slot: int) -> bool:
        times = [*self.snapshots, *self.uploads]
        return any(Slot.of(t) == Slot.of(at(slot)) for t in times)

    @rule(who=st.integers(0, 1), slot=SLOTS, late=st.sampled_from([0, 4.5]), rows=SNAPSHOTS)
    def ingest(self, who: int, slot: int, late: float, rows: dict) -> None:
        result = self.archives[who].ingest(snapshot(rows), at(slot, late), max_ceased=1.0)
        if self.holds(slot):
            assert result.status == (
                "already" if self.snapshots.get(at(slot, late)) == rows else "skipped"
            )
        else:
            assert result.status in ("ingested", "unchanged")
            self.snapshots[at(slot, late)] = rows
            self.dirty = True

    @rule(who=st.integers(0, 1), slot=SLOTS, rows=CHANGES)
    def upload(self, who: int, slot: int, rows: dict) -> None:
        if self.holds(slot) and self.uploads.get(at(slot)) != rows:
            try:
                self.archives[who].upload(changes(rows), at(slot), on_conflict="error")
            except SlotConflictError:
                return
            raise AssertionError("a conflict was not noticed")
        self.archives[who].upload(changes(rows), at(slot), on_conflict="error")
        self.uploads[at(slot)] = rows
        self.dirty = True

    @rule(who=st.integers(0, 1))
    def compact(self, who: int) -> None:
        self.archives[who].compact()
        self.dirty = True

    @rule(who=st.integers(0, 1), grace=st.sampled_from(["0s", "1h"]))
    def vacuum(self, who: int, grace: str) -> None:
        self.archives[who].vacuum(grace)
        self.dirty = True

    @rule(who=st.integers(0, 1))
    def restart(self, who: int) -> None:
        self.archives[who] = Archive(self.store, PROVIDER)

    @rule(month=st.sampled_from(["2026/01", "2026/02"]))
    def lose_the_manifest(self, month: str) -> None:
        self.store.delete(f"parquet_warm/small/m8/{month}/manifest.json")
        self.archives[0].repair()
        self.dirty = True

    @invariant()
    @precondition(lambda self: self.dirty)
    def everything_acknowledged_is_there(self) -> None:
        self.dirty = False
        archive = self.archives[0]
        if not self.snapshots and not self.uploads:
            return
        points = archive.changes()
        assert not points.select("k", "Time").is_duplicated().any()
        for time, rows in self.snapshots.items():
            assert as_dict(archive.state(time)) == rows
            assert replayed(points, time) == rows
        by_time = {(row["k"], row["Time"]): row for row in points.to_dicts()}
        for time, rows in self.uploads.items():
            for key, values in rows.items():
                found = by_time[key, time]
                assert (found["v"], found["w"], found["Ceased"]) == (
                    *(values or (None, None)),
                    values is None,
                )

    def teardown(self) -> None:
        self.archives[0].compact()
        self.dirty = True
        self.everything_acknowledged_is_there()
        if not self.snapshots and not self.uploads:
            return
        found = self.archives[0].verify(deep=True)
        assert found.passed, [c for c in found.checks if not c.passed]


class LocalArchiveMachine(ArchiveMachine):
    """The same in a folder."""

    def make_store(self) -> ObjectStore:
        self.folder = Path(tempfile.mkdtemp())
        return LocalStore(self.folder)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            shutil.rmtree(self.folder)


TestInMemory = ArchiveMachine.TestCase
TestInMemory.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
TestInAFolder = LocalArchiveMachine.TestCase
TestInAFolder.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)
