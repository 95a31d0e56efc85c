"""Defects on purpose, planted in memory: each is a mistake that archives of this kind have really
had, or that a mend invites.

A defect is a context manager; while it is open, the archive has the mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import polars as pl
from attrs import evolve, frozen

from simulation.world import (
    AGAIN,
    BUSY,
    CHANGES,
    LATE,
    READ,
    SWEPT,
    UNCLEAR,
    UPGRADE,
    Profile,
    simulate,
)
from titans import Archive
from titans.changes.state import last_rows
from titans.errors import AlreadyExists, OutcomeUnknown
from titans.evolution import Evolution
from titans.layout import Paths
from titans.results import IngestResult
from titans.slots import SlotSet
from titans.tiers.adopt import _Adopter
from titans.tiers.adopt import adopt as real_adopt
from titans.tiers.adopt import unadopted as real_unadopted
from titans.tiers.commit import commit as real_commit
from titans.tiers.commit import read_head
from titans.tiers.deletion import due as real_due
from titans.tiers.hot import create_hot as real_create_hot
from titans.tiers.hot import list_hot
from titans.tiers.manifest import Manifest, Pending
from titans.tiers.merge import _write as real_write
from titans.tiers.merge import merge as real_merge
from titans.tiers.view import MonthView

__all__ = ["DEFECTS", "Defect", "noticed"]


@frozen
class Defect:
    """A mistake, and how soon it must be noticed."""

    name: str
    plant: Callable[[], Any]
    within: int
    """So many seeds at most."""
    profile: Profile = Profile()
    """Runs in which such a mistake can show."""

    @property
    def id(self) -> str:
        return self.plant.__name__.strip("_")


def noticed(defect: Defect) -> tuple[int, str] | None:
    """The first seed that notices the defect, and how; `None` if none of the first `within`
    does."""
    with defect.plant():
        for seed in range(defect.within):
            failure = simulate(seed, defect.profile).failure
            if failure is not None:
                return seed, failure.splitlines()[0]
    return None


DEFECTS: list[Defect] = []

_ANY = Profile()


def defect(within: int, profile: Profile = _ANY) -> Callable[[Callable[[], Iterator[None]]], None]:
    """Adds the decorated generator to `DEFECTS`; its docstring is the defect's name."""

    def add(function: Callable[[], Iterator[None]]) -> None:
        DEFECTS.append(
            Defect((function.__doc__ or "").strip(), contextmanager(function), within, profile)
        )

    return add


# --- commits --------------------------------------------------------------------------------------


@defect(within=60, profile=BUSY)
def _no_rebase() -> Iterator[None]:
    """a lost race: the first result is sent again, not made anew from what is there now"""

    def commit(store, paths, provider, month, mutate, **options):
        first: list[Manifest | None] = []

        def once(head):
            first.append(first[0] if first else mutate(head))
            known = head.manifest
            return first[0] and evolve(first[0], version=known.version, commit_ids=known.commit_ids)

        return real_commit(store, paths, provider, month, once, **options)

    with patch("titans.tiers.adopt.commit", commit), patch("titans.tiers.merge.commit", commit):
        yield


@defect(within=300, profile=UNCLEAR)
def _no_commit_id() -> Iterator[None]:
    """no commit ids: a merge takes its own success for a defeat, and rolls back what others build
    on"""

    def committed(self, commit_id):
        return evolve(self, version=self.version + 1)

    def write(store, paths, provider, manifest, plan, memory):
        entry = real_write(store, paths, provider, manifest, plan, memory)
        written[id(plan)] = paths.file_key(manifest.month, entry.file)
        return entry

    def merge(store, paths, provider, manifest, plan, wait, memory):
        after, entry = real_merge(store, paths, provider, manifest, plan, wait, memory)
        if entry is None:
            store.delete(written[id(plan)])
        return after, entry

    written = {}
    with (
        patch.object(Manifest, "committed", committed),
        patch("titans.tiers.merge._write", write),
        patch("titans.tiers.compaction.merge", merge),
    ):
        yield


@defect(within=20)
def _unclear_is_done() -> Iterator[None]:
    """a hot file whose write had no clear outcome is taken for written"""

    def create_hot(store, provider, file, wait):
        try:
            return real_create_hot(_Blunt(store), provider, file, wait)
        except _Unclear:
            return evolve(file, created=True), file.info.source

    with patch("titans.archive.create_hot", create_hot):
        yield


@defect(within=20, profile=UNCLEAR)
def _unclear_is_undone() -> Iterator[None]:
    """a merge whose commit had no clear outcome removes its output"""
    written = {}

    def write(store, paths, provider, manifest, plan, memory):
        entry = real_write(store, paths, provider, manifest, plan, memory)
        written[id(plan)] = paths.file_key(manifest.month, entry.file)
        return entry

    def commit(store, *arguments, **options):
        return real_commit(_Blunt(store), *arguments, **options)

    def merge(store, paths, provider, manifest, plan, wait, memory):
        try:
            return real_merge(store, paths, provider, manifest, plan, wait, memory)
        except _Unclear as error:
            store.delete(written[id(plan)])
            raise OutcomeUnknown(str(error)) from error

    with (
        patch("titans.tiers.merge._write", write),
        patch("titans.tiers.merge.commit", commit),
        patch("titans.tiers.compaction.merge", merge),
    ):
        yield


# --- adoption -------------------------------------------------------------------------------------


@defect(within=20)
def _watermark() -> Iterator[None]:
    """a watermark instead of the set of adopted slots: what comes late is taken for known"""

    def later(keys, manifest):
        last = manifest.adopted.last
        return {index: key for index, key in keys.items() if last is None or index > last}

    def adopt(store, paths, provider, month, keys, **options):
        known = read_head(store, paths, provider, month).manifest
        return real_adopt(store, paths, provider, month, later(keys, known), **options)

    def unadopted(store, paths, provider, month, keys, manifest):
        return real_unadopted(store, paths, provider, month, later(keys, manifest), manifest)

    with (
        patch("titans.tiers.compaction.adopt", adopt),
        patch("titans.read.reader.unadopted", unadopted),
    ):
        yield


@defect(within=20)
def _adopted_is_live() -> Iterator[None]:
    """adopted is what the manifest names as a hot file: merged slots are adopted once more"""
    with _forgetting(lambda head: SlotSet()):
        yield


@defect(within=300, profile=AGAIN)
def _adopted_again() -> Iterator[None]:
    """a hot file that comes again after its slot was merged and removed is adopted once more"""
    with _forgetting(
        lambda head: SlotSet.of(slot for pending in head.manifest.pending for slot in pending.slots)
    ):
        yield


@defect(within=60, profile=LATE)
def _no_restoring() -> Iterator[None]:
    """no restoring rows: a diff is applied to whatever came before it"""
    with patch(
        "titans.tiers.view.restored",
        lambda before, base, rows, at, provider: (_after(base, rows, provider), rows.clear()),
    ):
        yield


@defect(within=60, profile=LATE)
def _no_correcting() -> Iterator[None]:
    """no correcting rows: a late slot changes the snapshots after it"""
    with patch(
        "titans.tiers.view.corrected", lambda after, between, held, at, provider: between.clear()
    ):
        yield


@defect(within=60, profile=LATE)
def _unadopted_base() -> Iterator[None]:
    """the diff is taken against whatever a reader sees, not against the adopted snapshot it names
    as its base"""
    real = Archive._state_at

    def state_at(self, slot, base):
        return real(self, slot, base) if base is None else self._reader().state_before(slot.start)

    with patch.object(Archive, "_state_at", state_at):
        yield


@defect(within=20)
def _nothing_new() -> Iterator[None]:
    """a snapshot without changes writes no file, though it is an observation"""

    class Unchanged(Exception):
        pass

    real = Archive.ingest

    def create_hot(store, provider, file, wait):
        if not file.info.rows and file.info.source.is_snapshot:
            raise Unchanged
        return real_create_hot(store, provider, file, wait)

    def ingest(self, snapshot, timestamp, **options):
        try:
            return real(self, snapshot, timestamp, **options)
        except Unchanged:
            return IngestResult("unchanged", "", timestamp, len(snapshot))

    with patch("titans.archive.create_hot", create_hot), patch.object(Archive, "ingest", ingest):
        yield


@defect(within=20)
def _any_file_is_mine() -> Iterator[None]:
    """whatever the slot holds is acknowledged as the caller's own snapshot"""
    real = Archive.ingest

    def ingest(self, snapshot, timestamp, **options):
        result = real(self, snapshot, timestamp, **options)
        return evolve(result, status="already") if result.status == "skipped" else result

    with patch.object(Archive, "ingest", ingest):
        yield


# --- merging --------------------------------------------------------------------------------------


@defect(within=20, profile=BUSY)
def _overwriting() -> Iterator[None]:
    """merged files share a name, and are written over instead of created"""

    class Overwriting(_Through):
        def create(self, key, data):
            try:
                return self._store.create(key, data)
            except AlreadyExists:
                return self._store.replace(key, data, self._store.head(key).etag)

    def write(store, *arguments):
        return real_write(Overwriting(store), *arguments)

    with (
        patch("titans.tiers.merge._write", write),
        patch.object(
            Paths, "merged_name", lambda level, *others: f"L{level}_0001_00000-00000.parquet"
        ),
        patch("titans.tiers.merge.listed", _listed),
    ):
        yield


@defect(within=20)
def _tombstones_dropped() -> Iterator[None]:
    """a merge leaves out tombstones"""
    from titans.tiers.ranges import resolve

    with patch(
        "titans.tiers.ranges.resolve",
        lambda *arguments: resolve(*arguments).filter(~pl.col("Ceased")),
    ):
        yield


@defect(within=20)
def _both_dropped() -> Iterator[None]:
    """of two rows with the same key and time, both are dropped"""

    def unique_rows(frame, by, provider):
        return frame.unique(by, keep="none", maintain_order=True), 0

    with patch("titans.changes.conform.unique_rows", unique_rows):
        yield


# --- deletion -------------------------------------------------------------------------------------


@defect(within=20)
def _no_grace() -> Iterator[None]:
    """compaction removes what was replaced without any grace period"""
    with patch(
        "titans.tiers.compaction.due", lambda head, seen: real_due(head, seen, timedelta(0))
    ):
        yield


@defect(within=20)
def _no_pending() -> Iterator[None]:
    """a merge forgets to list its inputs for removal, and removes them itself"""

    def merge(store, paths, provider, manifest, plan, wait, memory):
        after, entry = real_merge(store, paths, provider, manifest, plan, wait, memory)
        if entry is not None:
            for one in plan.inputs:
                store.delete(paths.file_key(manifest.month, one.file))
        return after, entry

    def retire(manifest, entries):
        names = {entry.file for entry in entries}
        return evolve(manifest, files=tuple(f for f in manifest.files if f.file not in names))

    with patch("titans.tiers.compaction.merge", merge), patch("titans.tiers.merge.retire", retire):
        yield


@defect(within=300, profile=SWEPT)
def _swept_output() -> Iterator[None]:
    """a merge commits an output that a vacuum has taken for an orphan meanwhile"""
    with (
        patch("titans.tiers.merge.exists", lambda store, key: True),
        patch("titans.tiers.merge.listed", _listed),
        patch("titans.tiers.vacuum.listed", _listed),
        patch.object(Manifest, "pending_files", property(lambda self: frozenset())),
    ):
        yield


# --- keyframes ------------------------------------------------------------------------------------


@defect(within=100, profile=LATE)
def _stale_keyframes() -> Iterator[None]:
    """a slot that is adopted late leaves the keyframes after it as they are"""
    real = MonthView.adopt

    def adopt(self, info, data):
        view, rows = real(self, info, data)
        return evolve(view, keyframes=self.keyframes), rows

    with patch.object(MonthView, "adopt", adopt):
        yield


@defect(within=200, profile=evolve(LATE, compactors=(2, 3), sealers=(2,), slots=(6, 7, 8)))
def _unchecked_keyframe() -> Iterator[None]:
    """a keyframe is committed though slots before it were adopted while it was written"""
    with patch("titans.tiers.keyframes.SlotSet", lambda intervals=(): SlotSet()):
        yield


@defect(within=30, profile=UPGRADE)
def _forgotten_column() -> Iterator[None]:
    """rows of an earlier schema version lose a column where they are cast"""
    real = Evolution.apply

    def apply(self, frame, key):
        return real(self, frame, key).with_columns(w=pl.lit(None, dtype=pl.Float64))

    with patch.object(Evolution, "apply", apply):
        yield


@defect(within=30, profile=UPGRADE)
def _taken_for_todays() -> Iterator[None]:
    """files of an earlier schema version are taken for files of today's"""
    with patch.object(Manifest, "schema", lambda self, version: None):
        yield


@defect(within=100, profile=CHANGES)
def _no_marks() -> Iterator[None]:
    """a late adoption does not mark the later months that build on its own"""
    with patch("titans.tiers.adopt._reaches_on", lambda head: False):
        yield


@defect(within=100, profile=CHANGES)
def _untold_keyframe() -> Iterator[None]:
    """a month builds on an earlier one without telling it"""
    with patch("titans.tiers.keyframes._built_on", lambda head: None):
        yield


@defect(within=100, profile=CHANGES)
def _waiting_before() -> Iterator[None]:
    """readers trust a month's keyframes though earlier months have files that nobody has adopted"""
    from titans.read.reader import Reader

    with patch.object(Reader, "_waiting_before", lambda self, month: False):
        yield


# --- reading --------------------------------------------------------------------------------------


@defect(within=300, profile=READ)
def _list_after_manifest() -> Iterator[None]:
    """readers list the hot files after they have read the manifest"""
    from titans.read.reader import Reader

    def view(self, month):
        if month not in self._views:
            manifest = read_head(self.store, self.paths, self.provider, month).manifest
            keys, _ = list_hot(self.store, self.paths, month)
            found = MonthView.of(manifest, self.store, self.paths, self.provider)
            for _, (info, load) in real_unadopted(
                self.store, self.paths, self.provider, month, keys, manifest
            ):
                found, _ = found.adopt(info, load)
            self._views[month] = found
        return self._views[month]

    with patch.object(Reader, "view", view):
        yield


@defect(within=20)
def _adopted_only() -> Iterator[None]:
    """readers do not look at hot files that nobody has adopted yet"""
    with patch("titans.read.reader.unadopted", lambda *arguments: []):
        yield


# --- tools ----------------------------------------------------------------------------------------


class _Unclear(Exception):
    """Not a `TitansError`, so that no loop of the core takes it for a reason to try again."""


class _Through:
    """A store that passes everything on to another one."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Blunt(_Through):
    """Turns an unknown outcome into `_Unclear`."""

    def create(self, key: str, data: bytes) -> str:
        try:
            return self._store.create(key, data)
        except OutcomeUnknown as error:
            raise _Unclear(str(error)) from error

    def replace(self, key: str, data: bytes, etag: str) -> str:
        try:
            return self._store.replace(key, data, etag)
        except OutcomeUnknown as error:
            raise _Unclear(str(error)) from error


def _listed(manifest: Manifest, pending: Pending) -> Manifest:
    """As in the archive, but the names of what is to be removed stay free for others."""
    return evolve(manifest, pending=(*manifest.pending, pending))


@contextmanager
def _forgetting(but: Callable[[Any], SlotSet]) -> Iterator[None]:
    """Adoption takes every hot file it finds, unless it is live, or its slot among `but(head)`."""
    real = _Adopter.plan

    def plan(self, head):
        live = SlotSet.of(f.first for f in head.manifest.files if f.is_hot)
        known = head.manifest.adopted & (live | but(head))
        planned = real(self, evolve(head, manifest=evolve(head.manifest, adopted=known)))
        if planned is None:
            return None
        adopted = planned.manifest.adopted | head.manifest.adopted
        changed = evolve(planned.manifest, adopted=adopted)
        return None if changed == head.manifest else evolve(planned, manifest=changed)

    with patch.object(_Adopter, "plan", plan):
        yield


def _after(base: pl.DataFrame, rows: pl.DataFrame, provider: Any) -> pl.DataFrame:
    from titans.changes.state import overlay

    return overlay(base, last_rows(rows, provider), provider)
