"""Carrying out a rewrite: its files are written first, then one commit puts them in the place of
those they replace, if the month still is what the rewrite was made of.

Of the change points that are touched, all that is new stands in one file. So no half of a rewrite
can be taken for the whole, whatever becomes of the manifest.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime

import polars as pl
from attrs import define, evolve, field, frozen

from titans.dataset import Dataset
from titans.errors import ConcurrencyConflictError, NotFound
from titans.layout import Paths
from titans.slots import NO_SLOTS, Month, SlotSet
from titans.tiers.compact.budget import MEMORY
from titans.tiers.compact.plan import TOP
from titans.tiers.files.claims import Claims
from titans.tiers.files.create import create_for_slot
from titans.tiers.files.fetch import exists
from titans.tiers.files.metadata import FileInfo, SlotRecord
from titans.tiers.files.parquet import FINAL, PASSING, WHOLE, Encoding, encode
from titans.tiers.files.rewrites import Operation, Rewrite, merged_rewrites
from titans.tiers.files.writers import writer_of
from titans.tiers.manifest.commit import ATTEMPTS, Head, commit, read_head, require_known
from titans.tiers.manifest.deletion import (
    stamped,
    with_keyframe,
    with_pending,
    without_files,
    without_keyframes,
)
from titans.tiers.manifest.entries import FileEntry, Keyframe, Pending
from titans.tiers.manifest.model import Manifest
from titans.tiers.rewrite.output import Change, RewrittenOutput
from titans.tiers.write.late import MarkedCommit

__all__ = ["Plan", "Request", "State", "carry_out", "rewrite_of", "with_level_zero"]


@frozen
class Request:
    """Who asks for what."""

    operation: Operation
    reason: str
    id: str = field(factory=lambda: secrets.token_hex(8))


@frozen(eq=False)
class State:
    """A file with a whole state that is to be written."""

    slot: int
    rows: pl.DataFrame
    """Canonical columns, sorted by key."""
    record: SlotRecord | None = None
    """Of the full snapshot that it is; `None`: it is a keyframe at the start of the slot."""
    dependent: bool = False
    rewrites: tuple[Rewrite, ...] = ()
    """Those that the file whose place it takes is a result of."""


@frozen(eq=False)
class Plan:
    """What a rewrite does to a month as it is."""

    basis: Manifest
    rewrite: Rewrite
    inputs: tuple[FileEntry, ...] = ()
    """Files of change points that are replaced."""
    change: Change | None = None
    """What becomes of them; `None`: no change point is touched."""
    states: tuple[State, ...] = ()
    borders: Mapping[int, pl.DataFrame] = field(factory=dict)
    """By slot, the change points of borders that are replaced."""
    retired: tuple[FileEntry | Keyframe, ...] = ()
    """Other files that leave the archive: hot full snapshots, keyframes, borders."""
    observed: SlotSet = NO_SLOTS
    """The slots that are observed afterwards."""
    full: Mapping[int, datetime] = field(factory=dict)
    claims: Claims = field(factory=Claims)
    begins: bool = False
    """Nothing before the month counts from now on."""


def rewrite_of(
    dataset: Dataset, head: Head, request: Request, slot: int | None, touched: SlotSet
) -> Rewrite:
    """What is known of a rewrite before its rows are counted. The manifest has just been written:
    that tells the time.
    """
    if head.blob is None:
        raise NotFound(f"{head.manifest.month} has no manifest")
    return Rewrite(
        number=head.manifest.version + 1,
        id=request.id,
        operation=request.operation,
        slot=slot,
        touched=touched,
        at=head.blob.last_modified,
        writer=writer_of(dataset.provider),
        reason=request.reason,
        before="0" * 16,
        after="0" * 16,
        removed=0,
        added=0,
    )


def with_level_zero(manifest: Manifest, chosen: list[FileEntry]) -> list[FileEntry]:
    """With all of level 0, in the order of adoption.

    Corrections stay with the slots they are for. And should the manifest be lost, hot files would
    be adopted again: those that were compared with what is rewritten now must be merged by then.
    """
    names = {entry.file for entry in chosen}
    names |= {e.file for e in manifest.files if e.level == 0 and not manifest.is_full(e)}
    found = [entry for entry in manifest.files if entry.file in names]
    return sorted(found, key=lambda entry: -entry.level)


def carry_out(
    dataset: Dataset, month: Month, plan_of: Callable[[Head], Plan | None]
) -> tuple[Manifest, Plan | None]:
    """Rewrite a month as `plan_of` says of its manifest; the manifest after that.

    The plan is `None` where there is nothing to rewrite.

    Raises:
        ConcurrencyConflictError: others were faster again and again; nothing was changed.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            dataset.wait(attempt - 1)
        commit(dataset, month, _touched)
        head = read_head(dataset, month)
        plan = plan_of(head)
        if plan is None:
            return head.manifest, None
        require_known(dataset, head.manifest)
        manifest = _Attempt(dataset, plan).run()
        if manifest is not None:
            return manifest, plan

    name = dataset.provider.name
    raise ConcurrencyConflictError(
        f"provider {name!r}, month {month}: it was written to {ATTEMPTS} times while it was being "
        "rewritten; nothing was changed, ask again later",
        provider=name,
        month=str(month),
    )


def _touched(head: Head) -> Manifest | None:
    """Written again, so that its time is that of the store now."""
    return None if head.blob is None else stamped(head)


@define(eq=False)
class _Attempt:
    """One attempt to carry out a plan."""

    dataset: Dataset
    plan: Plan
    entry: FileEntry | None = None
    states: list[Keyframe] = field(factory=list)
    borders: list[FileEntry] = field(factory=list)
    committed: bool = False
    _commit: MarkedCommit = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._commit = MarkedCommit(self.dataset, self.month)

    @property
    def month(self) -> Month:
        return self.plan.basis.month

    @property
    def written(self) -> list[str]:
        files = [keyframe.file for keyframe in self.states]
        files += [border.file for border in self.borders]
        return files if self.entry is None else [self.entry.file, *files]

    def run(self) -> Manifest | None:
        """The manifest with the rewrite; `None` where the month has changed meanwhile."""
        self._write()
        manifest = self._commit.run(self._mutate)
        if manifest is None:
            return None
        done = self.committed or self.plan.rewrite in manifest.rewrites
        return manifest if done else None

    # --- files ------------------------------------------------------------------------------------

    def _write(self) -> None:
        """The change points first: where a full snapshot is there, they are too."""
        plan = self.plan
        if plan.change is not None:
            levels = [entry.level for entry in plan.inputs]
            level = max([1, *levels])
            encoding = FINAL if level >= TOP else PASSING
            output = RewrittenOutput(self.dataset, plan.basis, plan.inputs, change=plan.change)
            self.entry = output.write(level, encoding, MEMORY)
        for state in plan.states:
            self.states.append(self._write_state(state))
        for slot, rows in plan.borders.items():
            self.borders.append(self._write_border(slot, rows))

    def _write_state(self, state: State) -> Keyframe:
        provider, name_of = self.dataset.provider, Paths.keyframe_name
        info = FileInfo.describe(state.rows, provider, "keyframe")
        if state.record is not None:
            info = FileInfo.describe(state.rows, provider, "full", (state.record,))
            name_of = Paths.full_name
        info = evolve(info, rewrites=state.rewrites)
        name, size = self._create(state.slot, name_of, (state.rows, info, WHOLE))
        written = evolve(info, size=size)
        return Keyframe.of(name, state.slot, written, dependent=state.dependent)

    def _write_border(self, slot: int, rows: pl.DataFrame) -> FileEntry:
        info = FileInfo.describe(rows, self.dataset.provider, "border")
        name, size = self._create(slot, Paths.border_name, (rows, info, FINAL))
        return FileEntry.of(name, TOP, slot, slot, evolve(info, size=size))

    def _create(
        self,
        slot: int,
        name_of: Callable[[int, str], str],
        content: tuple[pl.DataFrame, FileInfo, Encoding],
    ) -> tuple[str, int]:
        rows, info, encoding = content
        known = evolve(info, rewrites=merged_rewrites([info.rewrites, [self.plan.rewrite]]))
        data = encode(rows, known, self.dataset.provider, encoding)
        return create_for_slot(self.dataset, self.month, slot, name_of, data), len(data)

    # --- the commit -------------------------------------------------------------------------------

    def _mutate(self, head: Head) -> Manifest | None:
        now, basis = stamped(head), self.plan.basis
        self.committed = False
        # Vacuum took them for orphans, or repair for what a lost manifest had named.
        if (now.pending_files | now.live) & set(self.written):
            return None
        same = now.adopted == basis.adopted and now.last_rewrite == basis.last_rewrite
        names = {each.file for each in (*self.plan.inputs, *self.plan.retired)}
        same &= names <= now.live and self._has_same_states(now) and self._is_there(now)
        if not same:
            return with_pending(now, Pending(None, tuple(self.written)))

        if now.built_on:
            self._commit.require_marks(head)
        self.committed = True
        return self._rewritten(now)

    def _has_same_states(self, now: Manifest) -> bool:
        """Whether no keyframe or border was added that the plan does not know."""
        known = {k.file for k in self.plan.basis.keyframes}
        known |= {entry.file for entry in self.plan.basis.files if entry.is_border}
        found = {k.file for k in now.keyframes}
        found |= {entry.file for entry in now.files if entry.is_border}
        return found <= known

    def _is_there(self, now: Manifest) -> bool:
        if self.entry is not None and self.entry.number < now.least_file_id:
            return False
        keys = [self.dataset.key(self.month, file) for file in self.written]
        return all(exists(self.dataset.store, key) for key in keys)

    def _rewritten(self, now: Manifest) -> Manifest:
        plan = self.plan
        names = {each.file for each in (*plan.inputs, *plan.retired)}
        manifest = without_files(now, [entry for entry in now.files if entry.file in names])
        manifest = without_keyframes(manifest, [k for k in now.keyframes if k.file in names])
        if plan.begins:
            alone = (evolve(keyframe, dependent=False) for keyframe in manifest.keyframes)
            manifest = evolve(manifest, keyframes=tuple(alone), begins=True)
        for keyframe in self.states:
            manifest = with_keyframe(manifest, keyframe)
        files = [*manifest.files, *self.borders]
        next_id = manifest.next_file_id
        if self.entry is not None:
            files.append(self.entry)
            next_id = max(next_id, self.entry.number + 1)
        return evolve(
            manifest,
            files=tuple(files),
            next_file_id=next_id,
            observed=plan.observed,
            full=plan.full,
            claims=plan.claims,
            sealed=False,
            data_version=manifest.data_version + 1,
            rewrites=(*manifest.rewrites, plan.rewrite),
        )
