"""Defects on purpose, planted in memory: each is a mistake that archives of this kind have really
had, or that a mend invites.

A defect is a context manager; while it is open, the archive has the mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import polars as pl
from attrs import evolve, frozen

from simulation.world import (
    AGAIN,
    BUSY,
    CHANGES,
    CORRECTED,
    ERASED,
    LATE,
    LOST,
    READ,
    RETAINED,
    SETBACKS,
    STRANGERS,
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
from titans.ingest import Ingestor
from titans.layout import Paths
from titans.read.reader import Reader
from titans.results import IngestResult
from titans.slots import SlotSet
from titans.tiers.compact.merge import _write as real_write
from titans.tiers.compact.merge import merge as real_merge
from titans.tiers.files.fetch import read_whole
from titans.tiers.maintain import repair as repair_module
from titans.tiers.manifest.commit import commit as real_commit
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.deletion import due as real_due
from titans.tiers.manifest.entries import Keyframe, Pending
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.view import MonthView
from titans.tiers.rewrite import carry as carry_module
from titans.tiers.rewrite import slots as slots_module
from titans.tiers.rewrite.retain import plan_beginning
from titans.tiers.write.adopt import Adopter
from titans.tiers.write.adopt import _stored as stored
from titans.tiers.write.adopt import read_waiting as real_read_waiting
from titans.tiers.write.hot import create_hot as real_create_hot
from titans.tiers.write.hot import list_hot

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

    def commit(dataset, month, mutate, **options):
        first: list[Manifest | None] = []

        def once(head):
            first.append(first[0] if first else mutate(head))
            known = head.manifest
            return first[0] and evolve(first[0], version=known.version, commit_ids=known.commit_ids)

        return real_commit(dataset, month, once, **options)

    with (
        patch("titans.tiers.write.late.commit", commit),
        patch("titans.tiers.compact.merge.commit", commit),
    ):
        yield


@defect(within=300, profile=UNCLEAR)
def _no_commit_id() -> Iterator[None]:
    """no commit ids: a merge takes its own success for a defeat, and rolls back what others build
    on"""

    def committed(self, commit_id, writer):
        return evolve(self, version=self.version + 1)

    def write(dataset, manifest, plan, memory):
        entry = real_write(dataset, manifest, plan, memory)
        written[id(plan)] = dataset.key(manifest.month, entry.file)
        return entry

    def merge(dataset, manifest, plan, memory):
        after, entry = real_merge(dataset, manifest, plan, memory)
        if entry is None:
            dataset.store.delete(written[id(plan)])
        return after, entry

    written = {}
    with (
        patch.object(Manifest, "committed", committed),
        patch("titans.tiers.compact.merge._write", write),
        patch("titans.tiers.compact.compactor.merge", merge),
    ):
        yield


@defect(within=20)
def _unclear_is_done() -> Iterator[None]:
    """a hot file whose write had no clear outcome is taken for written"""

    def create_hot(dataset, file):
        try:
            return real_create_hot(_blunt(dataset), file)
        except _Unclear:
            return evolve(file, created=True), file.info.record

    with (
        patch("titans.archive.create_hot", create_hot),
        patch("titans.ingest.create_hot", create_hot),
    ):
        yield


@defect(within=20, profile=UNCLEAR)
def _unclear_is_undone() -> Iterator[None]:
    """a merge whose commit had no clear outcome removes its output"""
    written = {}

    def write(dataset, manifest, plan, memory):
        entry = real_write(dataset, manifest, plan, memory)
        written[id(plan)] = dataset.key(manifest.month, entry.file)
        return entry

    def commit(dataset, *arguments, **options):
        return real_commit(_blunt(dataset), *arguments, **options)

    def merge(dataset, manifest, plan, memory):
        try:
            return real_merge(dataset, manifest, plan, memory)
        except _Unclear as error:
            dataset.store.delete(written[id(plan)])
            raise OutcomeUnknown(str(error)) from error

    with (
        patch("titans.tiers.compact.merge._write", write),
        patch("titans.tiers.compact.merge.commit", commit),
        patch("titans.tiers.compact.compactor.merge", merge),
    ):
        yield


# --- adoption -------------------------------------------------------------------------------------


@defect(within=20)
def _watermark() -> Iterator[None]:
    """a watermark instead of the set of adopted slots: what comes late is taken for known"""

    def later(keys, manifest):
        last = manifest.adopted.last
        return {index: key for index, key in keys.items() if last is None or index > last}

    def adopter(dataset, month, keys, *arguments):
        known = read_head(dataset, month).manifest
        return Adopter(dataset, month, later(keys, known), *arguments)

    def read_waiting(dataset, manifest, keys):
        return real_read_waiting(dataset, manifest, later(keys, manifest))

    with (
        patch("titans.tiers.compact.compactor.Adopter", adopter),
        patch("titans.read.reader.read_waiting", read_waiting),
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
        "titans.tiers.manifest.view.restored",
        lambda before, base, rows, at, provider: (_after(base, rows, provider), rows.clear()),
    ):
        yield


@defect(within=60, profile=LATE)
def _no_correcting() -> Iterator[None]:
    """no correcting rows: a late slot changes the snapshots after it"""
    with patch(
        "titans.tiers.manifest.view.corrected",
        lambda after, between, held, at, provider: between.clear(),
    ):
        yield


@defect(within=60, profile=LATE)
def _unadopted_base() -> Iterator[None]:
    """the diff is taken against whatever a reader sees, not against the adopted snapshot it names
    as its base"""
    real = Ingestor._read_base

    def read_base(self, slot, manifest):
        compared = real(self, slot, manifest)
        if compared.base.slot is None:
            return compared
        return evolve(compared, state=Reader(self.dataset).state_before(slot.start))

    with patch.object(Ingestor, "_read_base", read_base):
        yield


@defect(within=20)
def _nothing_new() -> Iterator[None]:
    """a snapshot without changes writes no file, though it is an observation"""

    class Unchanged(Exception):
        pass

    real = Archive.ingest

    def create_hot(dataset, file):
        if not file.info.rows and file.info.record.is_snapshot:
            raise Unchanged
        return real_create_hot(dataset, file)

    def ingest(self, snapshot, timestamp, **options):
        try:
            return real(self, snapshot, timestamp, **options)
        except Unchanged:
            return IngestResult("unchanged", "", timestamp, len(snapshot))

    with patch("titans.ingest.create_hot", create_hot), patch.object(Archive, "ingest", ingest):
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

    def write(dataset, *arguments):
        return real_write(evolve(dataset, store=Overwriting(dataset.store)), *arguments)

    with (
        patch("titans.tiers.compact.merge._write", write),
        patch.object(
            Paths, "merged_name", lambda level, *others: f"L{level}_0001_00000-00000.parquet"
        ),
        patch("titans.tiers.compact.merge.with_pending", _listed),
    ):
        yield


@defect(within=20)
def _tombstones_dropped() -> Iterator[None]:
    """a merge leaves out tombstones"""
    from titans.tiers.compact.ranges import resolve

    with patch(
        "titans.tiers.compact.ranges.resolve",
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
        "titans.tiers.compact.compactor.due", lambda head, seen: real_due(head, seen, timedelta(0))
    ):
        yield


@defect(within=20)
def _no_pending() -> Iterator[None]:
    """a merge forgets to list its inputs for removal, and removes them itself"""

    def merge(dataset, manifest, plan, memory):
        after, entry = real_merge(dataset, manifest, plan, memory)
        if entry is not None:
            for one in plan.inputs:
                dataset.store.delete(dataset.key(manifest.month, one.file))
        return after, entry

    def without_files(manifest, entries):
        names = {entry.file for entry in entries}
        return evolve(manifest, files=tuple(f for f in manifest.files if f.file not in names))

    with (
        patch("titans.tiers.compact.compactor.merge", merge),
        patch("titans.tiers.compact.merge.without_files", without_files),
    ):
        yield


@defect(within=300, profile=SWEPT)
def _swept_output() -> Iterator[None]:
    """a merge commits an output that a vacuum has taken for an orphan meanwhile"""
    with (
        patch("titans.tiers.compact.merge.exists", lambda store, key: True),
        patch("titans.tiers.compact.merge.with_pending", _listed),
        patch("titans.tiers.maintain.vacuum.with_pending", _listed),
        patch.object(Manifest, "pending_files", property(lambda self: frozenset())),
    ):
        yield


# --- keyframes ------------------------------------------------------------------------------------


@defect(within=60, profile=evolve(LATE, slots=(8, 9, 10, 12)))
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
    with patch("titans.tiers.compact.basis.SlotSet", lambda intervals=(): SlotSet()):
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
    with patch("titans.tiers.write.adopt._reaches_on", lambda head: False):
        yield


@defect(within=100, profile=CHANGES)
def _untold_keyframe() -> Iterator[None]:
    """a month builds on an earlier one without telling it"""
    with patch("titans.tiers.compact.basis._built_on", lambda head: None):
        yield


@defect(within=100, profile=CHANGES)
def _waiting_before() -> Iterator[None]:
    """readers trust a month's keyframes though earlier months have files that nobody has adopted"""
    with patch.object(Reader, "_is_waiting_before", lambda self, month: False):
        yield


# --- borders --------------------------------------------------------------------------------------


@defect(within=100, profile=LATE)
def _stale_border() -> Iterator[None]:
    """a slot that is adopted late leaves the border of the next full snapshot as it is"""
    real = MonthView.adopt

    def adopt(self, info, data):
        view, rows = real(self, info, data)
        return evolve(view, borders=self.borders), rows

    with patch.object(MonthView, "adopt", adopt):
        yield


@defect(within=100, profile=LATE)
def _border_of_another_month() -> Iterator[None]:
    """a late adoption leaves the borders of later months as they are"""
    with (
        patch.object(Manifest, "is_dependent", lambda self, entry: False),
        patch("titans.tiers.write.adopt._reaches_on", lambda head: False),
    ):
        yield


@defect(within=20)
def _missing_border() -> Iterator[None]:
    """readers do not derive what a full snapshot changed where no file says it"""
    with patch.object(MonthView, "without_border", lambda self, start, end: []):
        yield


@defect(within=20)
def _doubled_border() -> Iterator[None]:
    """a full snapshot that is still a hot file counts as change points too"""
    with patch.object(Manifest, "is_full", lambda self, entry: False):
        yield


@defect(within=20)
def _border_beside_derived() -> Iterator[None]:
    """readers derive what a full snapshot changed though a file says it"""
    real = MonthView.without_border

    def without_border(self, start, end):
        return real(evolve(self, borders=frozenset()), start, end)

    with patch.object(MonthView, "without_border", without_border):
        yield


# --- reading --------------------------------------------------------------------------------------


@defect(within=300, profile=READ)
def _list_after_manifest() -> Iterator[None]:
    """readers list the hot files after they have read the manifest"""

    def read_view(self, month):
        manifest = read_head(self.dataset, month).manifest
        keys = list_hot(self.dataset, month).of(month)
        view = MonthView.of(manifest, self.dataset)
        waiting, _ = real_read_waiting(self.dataset, manifest, keys)
        for info, data in waiting:
            view, _ = view.adopt(info, data)
        return view

    with patch.object(Reader, "_read_view", read_view):
        yield


@defect(within=20)
def _adopted_only() -> Iterator[None]:
    """readers do not look at hot files that nobody has adopted yet"""
    with patch("titans.read.reader.read_waiting", lambda *arguments: ([], [])):
        yield


# --- damage ---------------------------------------------------------------------------------------


@defect(within=60, profile=LOST)
def _begun_anew() -> Iterator[None]:
    """a month whose manifest was lost is begun anew beside its merged files"""
    # The module they all have it from comes last: one that is imported meanwhile would keep it.
    users = ("tiers.compact.compactor", "tiers.write.adopt", "archive", "ingest", "read.reader")
    with ExitStack() as stack:
        for module in (*users, "tiers.manifest.commit"):
            known = f"titans.{module}.require_known"
            stack.enter_context(patch(known, lambda *arguments: None))
        yield


@defect(within=60, profile=SETBACKS)
def _blind_vacuum() -> Iterator[None]:
    """vacuum takes what an earlier manifest does not name for garbage"""
    with patch("titans.tiers.maintain.vacuum.read_lost", lambda *arguments: {}):
        yield


@defect(within=60, profile=SETBACKS)
def _blind_repair() -> Iterator[None]:
    """repair takes any manifest that can be read for the latest"""
    real = repair_module.read_lost

    def read_lost(dataset, inventory, manifest):
        return real(dataset, inventory, manifest) if not manifest.version else {}

    with (
        patch("titans.tiers.maintain.repair.read_lost", read_lost),
        patch("titans.tiers.maintain.repair.find_missing", lambda *arguments: []),
    ):
        yield


@defect(within=60, profile=SETBACKS)
def _repaired_without_full() -> Iterator[None]:
    """repair takes merged files, and forgets the full snapshots that lie elsewhere"""
    real = repair_module._read_holders

    def read_holders(dataset, inventory, month):
        return [each for each in real(dataset, inventory, month) if each.file.startswith("L")]

    with patch("titans.tiers.maintain.repair._read_holders", read_holders):
        yield


@defect(within=60, profile=SETBACKS)
def _largest_is_enough() -> Iterator[None]:
    """repair takes the file that holds most, and nothing else"""

    def disjoint(holders, waiting):
        return sorted(holders, key=lambda holder: holder.order)[:1]

    with patch("titans.tiers.maintain.holders._disjoint", disjoint):
        yield


@defect(within=60, profile=STRANGERS)
def _any_name_will_do() -> Iterator[None]:
    """what a file says of itself is not compared with its name"""
    with patch("titans.tiers.files.parquet._check_place", lambda *arguments: None):
        yield


@defect(within=60, profile=STRANGERS)
def _one_stops_all() -> Iterator[None]:
    """an object that is none of the archive's keeps everything else out"""

    def waiting(self, index):
        slot, key = self.dataset.slot(self.month, index), self.keys[index]
        if self._known.get(index) is None:
            info = read_whole(self.dataset, key, slot)
            self._known[index] = (info, stored(key, slot, info))
        return self._known[index]

    with patch.object(Adopter, "_waiting", waiting):
        yield


@defect(within=60, profile=SETBACKS)
def _blind_verify() -> Iterator[None]:
    """verify takes files that hold what the manifest does not know for garbage"""
    with (
        patch("titans.tiers.maintain.verify.read_lost", lambda *arguments: {}),
        patch("titans.tiers.maintain.checks.MonthChecks._is_there", lambda *arguments: True),
        patch("titans.tiers.maintain.checks.MonthChecks._check_waiting", lambda self: None),
    ):
        yield


# --- corrections ----------------------------------------------------------------------------------


@defect(within=60, profile=CORRECTED)
def _naive_amendment() -> Iterator[None]:
    """other content is put into a slot, and the next snapshot is not put right"""
    with patch("titans.tiers.rewrite.slots._Planner._moved", lambda *_: None):
        yield


@defect(within=150, profile=CORRECTED)
def _untold_keyframes_of_a_rewrite() -> Iterator[None]:
    """a rewrite leaves the keyframes after it as they are"""
    real = slots_module._Planner._retired

    def retired(planner):
        found = real(planner)
        return tuple(e for e in found if not isinstance(e, Keyframe) or e.is_full)

    with patch("titans.tiers.rewrite.slots._Planner._retired", retired):
        yield


@defect(within=150, profile=CORRECTED)
def _outdated_difference() -> Iterator[None]:
    """a difference to a snapshot that was rewritten meanwhile is adopted"""
    with ExitStack() as stack:
        for module in ("write.adopt", "write.hot", "maintain.checks"):
            stack.enter_context(patch(f"titans.tiers.{module}.is_outdated", lambda *_: False))
        yield


@defect(within=150, profile=CORRECTED)
def _unmarked_rewrite() -> Iterator[None]:
    """a rewrite does not tell the later months that build on its own"""
    real = carry_module._Attempt._mutate

    def mutate(attempt, head):
        alone = evolve(head, manifest=evolve(head.manifest, built_on=False))
        changed = real(attempt, alone)
        return changed and evolve(changed, built_on=head.manifest.built_on)

    with patch("titans.tiers.rewrite.carry._Attempt._mutate", mutate):
        yield


@defect(within=150, profile=CORRECTED)
def _rewrite_of_yesterday() -> Iterator[None]:
    """a rewrite is committed though slots were adopted while it was made"""
    real = carry_module._Attempt._mutate

    def mutate(attempt, head):
        known = attempt.plan
        attempt.plan = evolve(known, basis=evolve(known.basis, adopted=head.manifest.adopted))
        try:
            return real(attempt, head)
        finally:
            attempt.plan = known

    with patch("titans.tiers.rewrite.carry._Attempt._mutate", mutate):
        yield


@defect(within=60, profile=CORRECTED)
def _forgotten_retraction() -> Iterator[None]:
    """a retracted slot is no longer adopted, and its hot file comes back"""
    real = carry_module._Attempt._rewritten

    def rewritten(attempt, now):
        manifest = real(attempt, now)
        return evolve(manifest, adopted=manifest.adopted - manifest.claims.retracted)

    with patch("titans.tiers.rewrite.carry._Attempt._rewritten", rewritten):
        yield


@defect(within=60, profile=ERASED)
def _erased_in_changes_only() -> Iterator[None]:
    """erased keys are left in full snapshots and keyframes"""
    with patch("titans.tiers.rewrite.erase._Eraser._rewrite_state", lambda *_: None):
        yield


@defect(within=100, profile=RETAINED)
def _retained_without_a_state() -> Iterator[None]:
    """earlier months are removed, and what they left is forgotten"""
    real = plan_beginning

    def plan(dataset, head, request):
        planned = real(dataset, head, request)
        if planned is None:
            return None
        states = tuple(evolve(state, rows=state.rows.clear()) for state in planned.states)
        return evolve(planned, states=states)

    with patch("titans.amend.plan_beginning", plan):
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


def _blunt(dataset: Any) -> Any:
    """The dataset in a `_Blunt` store."""
    return evolve(dataset, store=_Blunt(dataset.store))


def _listed(manifest: Manifest, pending: Pending) -> Manifest:
    """As in the archive, but the names of what is to be removed stay free for others."""
    return evolve(manifest, pending=(*manifest.pending, pending))


@contextmanager
def _forgetting(but: Callable[[Any], SlotSet]) -> Iterator[None]:
    """Adoption takes every hot file it finds, unless it is live, or its slot among `but(head)`."""
    real = Adopter._plan

    def plan(self, head):
        live = SlotSet.of(f.first for f in head.manifest.files if f.is_hot)
        known = head.manifest.adopted & (live | but(head))
        forgetful = evolve(head.manifest, adopted=known)
        planned = real(self, evolve(head, manifest=forgetful))
        if planned.manifest == forgetful:
            return evolve(planned, manifest=head.manifest)
        adopted = planned.manifest.adopted | head.manifest.adopted
        return evolve(planned, manifest=evolve(planned.manifest, adopted=adopted))

    with patch.object(Adopter, "_plan", plan):
        yield


def _after(base: pl.DataFrame, rows: pl.DataFrame, provider: Any) -> pl.DataFrame:
    from titans.changes.state import overlay

    return overlay(base, last_rows(rows, provider), provider)
