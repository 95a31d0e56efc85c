"""The change points of a month as one moment saw them: the files a manifest names, and what
unadopted hot files add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

import polars as pl
from attrs import evolve, field, frozen

from titans.changes.adoption import corrected, restored
from titans.changes.frames import instant
from titans.changes.state import last_rows, overlay, resolve, resolve_last
from titans.dataset import Dataset
from titans.errors import CorruptFileError
from titans.schema import CEASED, TIME
from titans.slots import TICK, Month, Slot, SlotSet
from titans.tiers.files.claims import NO_CLAIMS, Claims
from titans.tiers.files.fetch import read_info
from titans.tiers.files.metadata import FileInfo, SlotRecord
from titans.tiers.files.parquet import scan_files
from titans.tiers.files.read import (
    Selection,
    StoredFile,
    read_by_key,
    read_selections,
    tell_opened,
)
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.model import Manifest

__all__ = ["EVERYTHING", "Criteria", "Damage", "Full", "MonthView", "Part", "stored_file"]


@frozen(eq=False)
class Criteria:
    """Which change points a question needs: `start <= Time < end`, and a condition over key
    columns.
    """

    start: datetime | None = None
    end: datetime | None = None
    where: pl.Expr | None = None
    """Over key columns."""
    key: Mapping[str, str] | None = None
    """Values of key columns. `where` says no less; this lets files be left out."""


EVERYTHING = Criteria()


@frozen(eq=False)
class Part:
    """Rows that a view is made of: a file, or a frame."""

    data: StoredFile | pl.DataFrame
    min_time: datetime | None
    """`None` where there are no rows."""
    max_time: datetime | None
    min_key: tuple[str, ...] | None = None
    max_key: tuple[str, ...] | None = None
    is_correction: bool = False

    @classmethod
    def of(cls, info: FileInfo, data: StoredFile | pl.DataFrame) -> Part:
        """A file that says `info` of itself."""
        return cls(data, info.min_time, info.max_time, info.min_key, info.max_key)

    @property
    def merged_file(self) -> StoredFile | None:
        """A merged file of today's schema: its rows may be scanned with those of others."""
        file = self.data
        if not isinstance(file, StoredFile) or self.is_correction:
            return None
        return file if file.slot is None and file.schema is None else None

    def overlaps(self, start: datetime | None, end: datetime | None) -> bool:
        if self.min_time is None or self.max_time is None:
            return False
        return (start is None or self.max_time >= start) and (end is None or self.min_time < end)

    def within(self, start: datetime | None, end: datetime | None) -> bool:
        """Whether all rows lie in the range."""
        if self.min_time is None or self.max_time is None:
            return True
        return (start is None or self.min_time >= start) and (end is None or self.max_time < end)

    def may_hold(self, column: str | None) -> bool:
        """Whether it may have rows with this value in the first key column; `None`: any value."""
        if column is None or self.min_key is None or self.max_key is None:
            return True
        return self.min_key[0] <= column <= self.max_key[0]

    def selection(
        self, start: datetime | None, end: datetime | None, *wheres: pl.Expr | None
    ) -> Selection:
        """Its rows with `start <= Time < end` that satisfy `wheres`.

        What the bounds of the part already say is not checked row by row.
        """
        conditions = [where for where in wheres if where is not None]
        if start is not None and not self.within(start, None):
            conditions.append(pl.col(TIME) >= instant(start))
        if end is not None and not self.within(None, end):
            conditions.append(pl.col(TIME) < instant(end))
        condition = None
        for each in conditions:
            # Not all_horizontal: of one condition in it polars does not see the statistics.
            condition = each if condition is None else condition & each
        return Selection(self.data, condition)


@frozen(eq=False)
class Full:
    """A full snapshot that is stored whole."""

    slot: int
    time: datetime
    """When it was collected. Nothing earlier counts from then on."""
    data: StoredFile | pl.DataFrame
    """Every living key, with `time` as its `Time`."""


@frozen
class Damage:
    """A hot file that is ours and waits to be adopted, but whose rows cannot be had."""

    slot: int
    error: CorruptFileError


@frozen(eq=False)
class MonthView:
    """Immutable. `adopt` gives the view that has one file more."""

    manifest: Manifest
    dataset: Dataset
    adopted: SlotSet
    observed: SlotSet
    full: Mapping[int, Full]
    """By slot."""
    borders: frozenset[int]
    """Slots of full snapshots of which a file that may be used says what they changed."""
    keyframes: tuple[Keyframe, ...]
    """Those that may be used, ascending; full snapshots are not among them."""
    added: tuple[Part, ...] = ()
    """What `adopt` added to the files of the manifest."""
    records: Mapping[int, SlotRecord] = field(factory=dict)
    """Of the slots that `adopt` added."""
    damaged: tuple[Damage, ...] = ()
    """Questions whose answer needs one of them raise its error."""
    claims: Claims = NO_CLAIMS

    @classmethod
    def of(cls, manifest: Manifest, dataset: Dataset) -> MonthView:
        view = cls(
            manifest,
            dataset,
            manifest.adopted,
            manifest.observed,
            _full_snapshots(manifest, dataset),
            frozenset(entry.first for entry in manifest.files if entry.is_border),
            tuple(keyframe for keyframe in manifest.keyframes if not keyframe.is_full),
            claims=manifest.claims,
        )
        return view.standing_alone() if manifest.dirty else view

    @property
    def month(self) -> Month:
        return self.manifest.month

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """In order of adoption."""
        parts = []
        # Higher levels were adopted earlier; within a level the manifest keeps the order.
        for entry in sorted(self.manifest.files, key=lambda entry: -entry.level):
            unused = entry.is_border and entry.first not in self.borders
            if not unused and not self.manifest.is_full(entry):
                parts.append(self._part(entry))
        return (*parts, *self.added)

    def _part(self, entry: FileEntry) -> Part:
        return Part(
            stored_file(entry, self.manifest, self.dataset),
            entry.min_time,
            entry.max_time,
            entry.min_key,
            entry.max_key,
            is_correction=entry.is_correction,
        )

    def standing_alone(self) -> MonthView:
        """Without keyframes and borders that depend on what earlier months left."""
        first = min(self.full, default=None)
        if self.manifest.begins:
            return self
        return evolve(
            self,
            keyframes=tuple(k for k in self.keyframes if not k.dependent),
            borders=self.borders - {first},
        )

    @property
    def is_dependent(self) -> bool:
        """Whether some of its keyframes and borders depend on what earlier months left."""
        if self.manifest.begins:
            return False
        return min(self.full, default=None) in self.borders or any(
            keyframe.dependent for keyframe in self.keyframes
        )

    def slot(self, index: int) -> Slot:
        return self.dataset.slot(self.month, index)

    # --- rows -------------------------------------------------------------------------------------

    def parts_in(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        key: Mapping[str, str] | None = None,
    ) -> list[Part]:
        """The parts that may have rows with `start <= Time < end`; with `key`, rows whose key
        columns have these values.
        """
        lead = None if key is None else key.get(self.dataset.provider.key[0])
        found = [part for part in self.parts if part.overlaps(start, end) and part.may_hold(lead)]
        if self.dataset.trace is not None:
            self.dataset.trace.picked(self, found, (start, end), lead)
        return found

    def rows(self, wanted: Criteria) -> pl.DataFrame:
        """The change points that are wanted.

        In canonical columns, sorted by key and `Time`, one row for each.
        """
        start, end, provider = wanted.start, wanted.end, self.dataset.provider
        self.require_changes(start, end)
        parts = self.parts_in(start, end, wanted.key)
        plain = [part for part in parts if part.merged_file and part.within(start, end)]
        paths = self._local_paths(plain)
        is_apart = len(plain) > 1 and paths and not _entangled(plain, parts)
        if not is_apart or not self.dataset.reads_rows:
            return resolve(*self._frames(parts, wanted), provider)

        # One scan of all files that need no other condition is faster than one of each.
        rest = [part for part in parts if part not in plain]
        real, corrections = self._frames(rest, wanted)
        lazy = scan_files(paths, provider)
        if wanted.where is not None:
            lazy = lazy.filter(wanted.where)
        try:
            scanned = lazy.collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            return resolve(*self._frames(parts, wanted), provider)
        tell_opened(self.dataset, [part.selection(None, None, wanted.where) for part in plain])
        scanned = scanned.sort([*provider.key, TIME], maintain_order=True)
        return resolve([scanned, *real], corrections, provider, repeated=True)

    def _local_paths(self, parts: Sequence[Part]) -> list[Path]:
        """The paths of merged files, where they lie on this machine."""
        paths = []
        for part in parts:
            file = part.merged_file
            path = None if file is None else self.dataset.store.local_path(file.key)
            if path is not None:
                paths.append(path)
        return paths

    def _frames(
        self, parts: Sequence[Part], wanted: Criteria
    ) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
        """Rows of files, and of corrections: one frame for each part that has some, in order of
        adoption.
        """
        selections = [part.selection(wanted.start, wanted.end, wanted.where) for part in parts]
        return _divided(parts, read_selections(self.dataset, selections))

    # --- states -----------------------------------------------------------------------------------

    def without_border(self, start: datetime, end: datetime) -> list[Full]:
        """The full snapshots of the range of which no file says what they changed, ascending."""
        missing = []
        for slot in sorted(self.full):
            if slot not in self.borders and start <= self.full[slot].time < end:
                missing.append(self.full[slot])
        return missing

    def last_full(self, end: datetime) -> Full | None:
        """The latest full snapshot before `end`."""
        for slot in sorted(self.full, reverse=True):
            if self.full[slot].time < end:
                return self.full[slot]
        return None

    def keyframe(self, end: datetime) -> Keyframe | None:
        """The newest keyframe that may serve for the state after all change points before `end`, if
        that is worth it.
        """
        full = self.last_full(end)
        for keyframe in reversed(self.keyframes):
            start = self.slot(keyframe.slot).start
            if start <= end:
                return keyframe if full is None or start > full.time else None
        return None

    def stands_alone(self, end: datetime) -> bool:
        """Whether the state after all change points before `end` needs no earlier month."""
        return self.last_full(end) is not None or self.keyframe(end) is not None

    def state(
        self,
        end: datetime,
        earlier: pl.DataFrame | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """The living keys after all change points before `end`: key, `Time`, values; sorted by key.

        `earlier` is the state at the start of the month, for months in which no full snapshot comes
        first. `where` is over key columns.
        """
        self._require_state(end)
        if self.dataset.trace is not None:
            self.dataset.trace.began_state(self, end, earlier is not None)
        start: datetime | None = None
        selections = []
        keyframe, full = self.keyframe(end), self.last_full(end)
        if keyframe is not None:
            start = self.slot(keyframe.slot).start
            selections.append(Selection(stored_file(keyframe, self.manifest, self.dataset), where))
        elif full is not None:
            start = full.time + TICK
            selections.append(Selection(full.data, where))
        elif earlier is not None:
            selections.append(Selection(earlier))
        has_base = bool(selections)
        parts = self.parts_in(start, end)
        selections += [part.selection(start, end, where) for part in parts]

        shorten = partial(last_rows, provider=self.dataset.provider)
        states = []
        for frames in read_by_key(self.dataset, selections, shorten):
            base = frames.pop(0).drop(CEASED, strict=False) if has_base else None
            states.append(self._after(base, parts, frames))
        return states[0] if len(states) == 1 else pl.concat(states)

    def _after(
        self, base: pl.DataFrame | None, parts: Sequence[Part], frames: Sequence[pl.DataFrame]
    ) -> pl.DataFrame:
        """The state that the rows of `parts` make of another."""
        tail, corrections = _divided(parts, frames)
        provider = self.dataset.provider
        return overlay(base, resolve_last(tail, corrections, provider), provider)

    def read_full(self, full: Full, where: pl.Expr | None = None) -> pl.DataFrame:
        """The state that a full snapshot is: key, `Time`, values; sorted by key.

        `where` is over key columns.
        """
        (rows,) = read_selections(self.dataset, [Selection(full.data, where)])
        return rows.drop(CEASED)

    def read_border(self, full: Full) -> pl.DataFrame:
        """What the file of a border says: change points in canonical columns, sorted by key."""
        borders = [entry for entry in self.manifest.files if entry.is_border]
        (border,) = [entry for entry in borders if entry.first == full.slot]
        selection = Selection(stored_file(border, self.manifest, self.dataset))
        (rows,) = read_selections(self.dataset, [selection])
        return rows

    # --- what cannot be had -----------------------------------------------------------------------

    def require_changes(self, start: datetime | None, end: datetime | None) -> None:
        """Raise where the change points with `start <= Time < end` need a damaged file.

        It would add rows in its own slot, and correcting ones at the next snapshot.

        Raises:
            CorruptFileError: with the key of the file.
        """
        for damage in self.damaged:
            following = self.observed.after(damage.slot)
            last = damage.slot if following is None else following
            before = end is not None and end <= self.slot(damage.slot).start
            after = start is not None and start >= self.slot(last).end
            if not before and not after:
                raise damage.error

    def _require_state(self, end: datetime) -> None:
        """Raise where the state after all change points before `end` needs a damaged file.

        From the next snapshot on nothing depends on it: a snapshot says everything.
        """
        for damage in self.damaged:
            if end <= self.slot(damage.slot).start:
                continue
            following = self.observed.after(damage.slot)
            if following is None or end <= self.read_collected(following):
                raise damage.error

    # --- adoption ---------------------------------------------------------------------------------

    def adopt(
        self, info: FileInfo, data: StoredFile | pl.DataFrame
    ) -> tuple[MonthView, pl.DataFrame | None]:
        """This view with a hot file more, and the restoring and correcting rows that its adoption
        needs, if any.

        In the ordinary case, the newest slot with nothing unexpected before it, no row is read.
        Keyframes after a slot that comes late are dropped, save where a full snapshot lies in
        between: nothing reaches past that. The border of that snapshot is dropped.
        """
        record = info.record
        parts = []
        if record.kind != "full":
            parts.append(Part.of(info, data))
        rows = self._read_corrections(info, data)
        if rows is not None:
            low, high = rows.select(pl.min(TIME).alias("min"), pl.max(TIME).alias("max")).row(0)
            parts.append(Part(rows, low, high, is_correction=True))

        observed, full = self.observed, self.full
        if record.is_snapshot:
            observed = observed.add(record.slot)
        if record.kind == "full":
            full = {**full, record.slot: Full(record.slot, record.time, data)}

        barrier = min((slot for slot in self.full if slot > record.slot), default=None)
        keyframes = []
        for keyframe in self.keyframes:
            shielded = barrier is not None and keyframe.slot > barrier
            if keyframe.slot <= record.slot or shielded:
                keyframes.append(keyframe)
        view = evolve(
            self,
            added=(*self.added, *parts),
            adopted=self.adopted.add(record.slot),
            observed=observed,
            full=full,
            borders=self.borders - {barrier},
            keyframes=tuple(keyframes),
            records={**self.records, record.slot: record},
            claims=self.claims | info.claims,
        )
        return view, rows

    def _read_corrections(
        self, info: FileInfo, data: StoredFile | pl.DataFrame
    ) -> pl.DataFrame | None:
        """The rows that adopting a hot file needs besides its own."""
        record, provider = info.record, self.dataset.provider
        if not record.is_snapshot and not info.rows:
            return None  # no key is asserted, so none can be wrong later
        following = self.observed.after(record.slot)
        if following in self.full:
            following = None  # nothing before a full snapshot reaches past it
        disturbed = record.kind == "diff" and self.adopted.before(record.slot) != info.base
        if following is None and not disturbed:
            return None

        # States are compared: either all of them know earlier months, or none does.
        alone, slot = self.standing_alone(), self.slot(record.slot)
        (rows,) = read_selections(self.dataset, [Selection(data)])
        before = alone.state(slot.start)
        corrections: list[pl.DataFrame] = []
        if record.kind == "full":
            after = rows.filter(~pl.col(CEASED)).drop(CEASED)
        elif disturbed and info.base is not None:
            base = alone.state(self.slot(info.base).end)
            after, restoring = restored(before, base, rows, record.time, provider)
            corrections.append(restoring)
        else:
            after = overlay(before, resolve_last([rows], [], provider), provider)

        if following is not None:
            later = self.slot(following)
            between = self.rows(Criteria(slot.end, later.end))
            held = alone.state(later.end)
            time = self.read_collected(following)
            corrections.append(corrected(after, between, held, time, provider))
        all_rows = pl.concat(corrections).sort([*provider.key, TIME])
        return all_rows if all_rows.height else None

    def read_collected(self, index: int) -> datetime:
        """When the rows of an adopted slot were collected."""
        record = self.records.get(index)
        if record is not None:
            return record.time
        entry = self.manifest.holder(index)
        if entry is not None:
            key = self.dataset.key(self.month, entry.file)
            info = read_info(self.dataset, key, self.slot(index), entry.bytes)
            for known in info.records:
                if known.slot == index:
                    return known.time
        # Merged by an earlier writer, which did not keep it.
        return self.slot(index).start


def stored_file(entry: FileEntry | Keyframe, manifest: Manifest, dataset: Dataset) -> StoredFile:
    """Where the rows of an entry of `manifest` are."""
    slot = None
    if isinstance(entry, FileEntry) and entry.is_hot:
        slot = dataset.slot(manifest.month, entry.first)
    key = dataset.key(manifest.month, entry.file)
    schema = manifest.schema(entry.schema_version)
    return StoredFile(key, entry.bytes, slot, entry.hash, schema)


def _full_snapshots(manifest: Manifest, dataset: Dataset) -> dict[int, Full]:
    """By slot; each lies in a file of its own, the hot one or what was made of that."""
    full = {}
    for entry in manifest.files:
        if manifest.is_full(entry):
            data = stored_file(entry, manifest, dataset)
            full[entry.first] = Full(entry.first, manifest.full[entry.first], data)
    for keyframe in manifest.keyframes:
        if keyframe.is_full:
            data = stored_file(keyframe, manifest, dataset)
            full[keyframe.slot] = Full(keyframe.slot, manifest.full[keyframe.slot], data)
    return full


def _entangled(plain: Sequence[Part], parts: Sequence[Part]) -> bool:
    """Whether another merged file has rows in the time of one of `plain`."""
    others = [part for part in parts if part.merged_file and part not in plain]
    return any(part.overlaps(o.min_time, o.max_time) for part in plain for o in others)


def _divided(
    parts: Sequence[Part], frames: Sequence[pl.DataFrame]
) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """The frames of files, and those of corrections; without empty ones."""
    real: list[pl.DataFrame] = []
    corrections: list[pl.DataFrame] = []
    for part, frame in zip(parts, frames, strict=True):
        if not frame.height:
            continue
        if part.is_correction:
            corrections.append(frame)
        else:
            real.append(frame)

    return real, corrections
