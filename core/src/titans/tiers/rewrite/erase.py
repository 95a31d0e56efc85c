"""Erasing keys: no file of a month holds a row of theirs any more, and no bound or hash of a state
speaks of them.
"""

from __future__ import annotations

import polars as pl
from attrs import define, evolve, field

from titans.changes.digest import add, digest, subtract
from titans.dataset import Dataset
from titans.schema import TIME
from titans.slots import NO_SLOTS, Month
from titans.tiers.files.fetch import read_info
from titans.tiers.files.metadata import FileInfo, SlotRecord
from titans.tiers.files.read import read_selections
from titans.tiers.manifest.commit import Head
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.replay import replayed_hashes
from titans.tiers.manifest.view import MonthView, Part, stored_file
from titans.tiers.rewrite.carry import Plan, Request, State, rewrite_of, with_level_zero
from titans.tiers.rewrite.output import Change

__all__ = ["plan_erasure"]


def plan_erasure(dataset: Dataset, head: Head, keys: pl.DataFrame, request: Request) -> Plan | None:
    """How a month comes to hold nothing of `keys`, a frame of some or all key columns; `None` where
    it holds nothing.

    Raises:
        NotFound, CorruptFileError: a file of the month cannot be read.
    """
    eraser = _Eraser(dataset, head, keys)
    eraser.look()
    return eraser.plan(request) if eraser.removed else None


@define(eq=False)
class _Eraser:
    dataset: Dataset
    head: Head
    keys: pl.DataFrame
    removed: int = 0
    """Rows of the keys, in all files."""
    hash: str = "0" * 16
    """Of these."""
    chosen: list[FileEntry] = field(factory=list)
    """Files of change points that hold some."""
    states: list[State] = field(factory=list)
    borders: dict[int, pl.DataFrame] = field(factory=dict)
    retired: list[FileEntry | Keyframe] = field(factory=list)
    records: dict[int, SlotRecord | None] = field(factory=dict)

    @property
    def manifest(self) -> Manifest:
        return self.head.manifest

    @property
    def month(self) -> Month:
        return self.manifest.month

    # --- looking ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Read what every file has of the keys."""
        changes = [e for e in self.manifest.files if not e.is_border and not self._is_full(e)]
        for entry in changes:
            if self._found(entry):
                self.chosen.append(entry)
        for entry in self.manifest.files:
            if entry.is_border and self._found(entry):
                self.borders[entry.first] = self._kept(self._read(entry)).sort(self._by)
                self.retired.append(entry)
        states: list[FileEntry | Keyframe] = [*self.manifest.keyframes]
        states += [entry for entry in self.manifest.files if self._is_full(entry)]
        for each in states:
            if self._found(each):
                self._rewrite_state(each)
        if self.removed:
            self._change_records(changes)

    @property
    def _by(self) -> list[str]:
        return [*self.dataset.provider.key, TIME]

    def _is_full(self, entry: FileEntry) -> bool:
        return self.manifest.is_full(entry)

    def _read(self, entry: FileEntry | Keyframe, where: pl.Expr | None = None) -> pl.DataFrame:
        file = stored_file(entry, self.manifest, self.dataset)
        selection = Part(file, None, None).selection(None, None, where)
        (rows,) = read_selections(self.dataset, [selection])
        return rows

    def _found(self, entry: FileEntry | Keyframe) -> int:
        """How many rows of the keys a file has."""
        where = pl.all_horizontal(
            pl.col(name).is_in(self.keys[name].unique().implode()) for name in self.keys.columns
        )
        rows = self._read(entry, where).join(self.keys, on=self.keys.columns, how="semi")
        self.removed += rows.height
        self.hash = add(self.hash, digest(rows))
        return rows.height

    def _kept(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.join(self.keys, on=self.keys.columns, how="anti", maintain_order="left")

    def _rewrite_state(self, entry: FileEntry | Keyframe) -> None:
        rows = self._kept(self._read(entry)).select(self.dataset.provider.canonical_columns)
        info = self._info(entry)
        self.retired.append(entry)
        if isinstance(entry, Keyframe) and not entry.is_full:
            state = State(entry.slot, rows, None, entry.dependent, info.rewrites)
        else:
            values = [*self.dataset.provider.key, *self.dataset.provider.value_columns]
            record = evolve(info.record, state=digest(rows, values))
            state = State(record.slot, rows, record, rewrites=info.rewrites)
        self.states.append(state)

    def _info(self, entry: FileEntry | Keyframe) -> FileInfo:
        key = self.dataset.key(self.month, entry.file)
        first = entry.first if isinstance(entry, FileEntry) else entry.slot
        return read_info(self.dataset, key, self.dataset.slot(self.month, first), entry.bytes)

    def _change_records(self, entries: list[FileEntry]) -> None:
        """The states at snapshots have other hashes, wherever one of the keys lived."""
        today = self.dataset.provider.schema.version
        records = {}
        known = set()
        for entry in entries:
            info = self._info(entry)
            for record in info.records:
                if record.is_snapshot and record.state is not None:
                    records[record.time] = (entry, record)
            if info.schema_version == today and not info.cast_from:
                known |= {record.slot for record in info.records}
        view = MonthView.of(evolve(self.manifest, dirty=()), self.dataset)
        for time, erased in replayed_hashes(view, records, self.keys):
            entry, record = records[time]
            if not int(erased, 16):
                continue
            state = None
            if record.slot in known and record.state is not None:
                state = subtract(record.state, erased)
            self.records[record.slot] = evolve(record, state=state)
            if entry not in self.chosen:
                self.chosen.append(entry)

    # --- planning ---------------------------------------------------------------------------------

    def plan(self, request: Request) -> Plan:
        manifest = self.manifest
        inputs = with_level_zero(manifest, self.chosen)
        touched = NO_SLOTS
        for entry in (*inputs, *self.retired):
            touched |= entry.slots
        rewrite = rewrite_of(self.dataset, self.head, request, None, touched)
        rewrite = evolve(rewrite, before=self.hash, removed=self.removed)
        change = None
        if inputs:
            nothing = pl.DataFrame(schema=dict(self.dataset.provider.schema_dtypes))
            change = Change(self._kept, nothing, self.records, rewrite)
        return Plan(
            manifest,
            rewrite,
            tuple(inputs),
            change,
            tuple(self.states),
            self.borders,
            tuple(self.retired),
            observed=manifest.observed,
            full=manifest.full,
            claims=manifest.claims,
        )
