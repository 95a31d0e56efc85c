"""The change points of a month as one moment saw them: the files a manifest names, and what
unadopted hot files add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial

import polars as pl
from attrs import evolve, frozen

from titans.changes.adoption import corrected, restored
from titans.changes.frames import instant
from titans.changes.state import last_rows, overlay, resolve, resolve_last
from titans.layout import Paths
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Month, Slot, SlotSet
from titans.store import ObjectStore
from titans.tiers.files import Source, read_sources, scan_files
from titans.tiers.info import FileInfo
from titans.tiers.manifest import FileEntry, Keyframe, Manifest

__all__ = ["MonthView", "Part", "condition"]


@frozen
class Part:
    """Rows that a view is made of: a file, or a frame."""

    data: Source | pl.DataFrame
    min_time: datetime | None
    """`None` where there are no rows."""
    max_time: datetime | None
    min_key: tuple[str, ...] | None = None
    max_key: tuple[str, ...] | None = None
    is_correction: bool = False

    @property
    def is_merged(self) -> bool:
        """A merged file: its rows may be scanned together with those of others."""
        plain = (
            isinstance(self.data, Source) and self.data.slot is None and self.data.schema is None
        )
        return plain and not self.is_correction

    def overlaps(self, start: datetime | None, end: datetime | None) -> bool:
        if self.min_time is None or self.max_time is None:
            return False
        return (start is None or self.max_time >= start) and (end is None or self.min_time < end)

    def within(self, start: datetime | None, end: datetime | None) -> bool:
        """Whether all rows lie in the range. Asked of parts that overlap it."""
        assert self.min_time is not None
        assert self.max_time is not None
        return (start is None or self.min_time >= start) and (end is None or self.max_time < end)


@frozen
class MonthView:
    """Immutable. `adopt` gives the view that has one file more."""

    manifest: Manifest
    store: ObjectStore
    paths: Paths
    provider: Provider
    adopted: SlotSet
    observed: SlotSet
    full: Mapping[int, datetime]
    keyframes: tuple[Keyframe, ...]
    """Those that may be used, ascending."""
    added: tuple[Part, ...] = ()
    """What `adopt` added to the files of the manifest."""

    @classmethod
    def of(
        cls, manifest: Manifest, store: ObjectStore, paths: Paths, provider: Provider
    ) -> MonthView:
        keyframes = tuple(k for k in manifest.keyframes if not (k.dependent and manifest.dirty))
        return cls(
            manifest,
            store,
            paths,
            provider,
            manifest.adopted,
            manifest.observed,
            manifest.full,
            keyframes,
        )

    @property
    def month(self) -> Month:
        return self.manifest.month

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """In order of adoption."""
        # Higher levels were adopted earlier; within a level the manifest keeps the order.
        files = sorted(self.manifest.files, key=lambda f: -f.level)
        return (*(self._part(entry) for entry in files), *self.added)

    def _part(self, entry: FileEntry) -> Part:
        slot = self.slot(entry.first) if entry.is_hot else None
        key, schema = (
            self.paths.file_key(self.month, entry.file),
            self.manifest.schema(entry.schema_version),
        )
        source = Source(key, entry.bytes, slot, entry.hash, schema)
        return Part(
            source,
            entry.min_time,
            entry.max_time,
            entry.min_key,
            entry.max_key,
            is_correction=entry.is_correction,
        )

    def standing_alone(self) -> MonthView:
        """Without keyframes that hold what earlier months left."""
        return evolve(self, keyframes=tuple(k for k in self.keyframes if not k.dependent))

    def slot(self, index: int) -> Slot:
        return Slot(self.month, index, self.provider.layout.slot_minutes)

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
        lead = None if key is None else key.get(self.provider.key[0])
        return [
            p
            for p in self.parts
            if p.overlaps(start, end)
            and (
                lead is None
                or p.min_key is None
                or p.max_key is None
                or p.min_key[0] <= lead <= p.max_key[0]
            )
        ]

    def _frames(
        self,
        parts: Sequence[Part],
        start: datetime | None,
        end: datetime | None,
        where: pl.Expr | None,
        key: Mapping[str, str] | None,
    ) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
        """Rows of files, and of corrections: one frame for each part that has some, in order of
        adoption.
        """
        conditions = [condition(p, start, end, where) for p in parts]
        return _divided(
            parts, read_sources(self.store, self.provider, [p.data for p in parts], conditions, key)
        )

    def rows(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        where: pl.Expr | None = None,
        key: Mapping[str, str] | None = None,
    ) -> pl.DataFrame:
        """Change points with `start <= Time < end` that satisfy `where`, an expression over key
        columns.

        In canonical columns, sorted by key and `Time`, one row for each.
        """
        wanted = self.parts_in(start, end, key)
        plain = [p for p in wanted if p.is_merged and p.within(start, end)]
        others = [p for p in wanted if p.is_merged and p not in plain]
        entangled = any(p.overlaps(o.min_time, o.max_time) for p in plain for o in others)
        if len(plain) < 2 or entangled or self.store.local_path(plain[0].data.key) is None:  # type: ignore[union-attr]
            return resolve(*self._frames(wanted, start, end, where, key), self.provider)
        # One scan of all files that need no other condition is faster than one of each.
        real, corrections = self._frames(
            [p for p in wanted if p not in plain], start, end, where, key
        )
        paths = [self.store.local_path(p.data.key) for p in plain]  # type: ignore[union-attr]
        lazy = scan_files(paths, self.provider)
        try:
            scanned = (lazy if where is None else lazy.filter(where)).collect()
        except (pl.exceptions.PolarsError, OSError):
            return resolve(*self._frames(wanted, start, end, where, key), self.provider)
        by = [*self.provider.key, TIME]
        return resolve(
            [scanned.sort(by, maintain_order=True), *real],
            corrections,
            self.provider,
            repeated=True,
        )

    # --- states -----------------------------------------------------------------------------------

    def last_full(self, end: datetime) -> datetime | None:
        """The latest time before `end` from which nothing earlier counts."""
        return max((time for time in self.full.values() if time < end), default=None)

    def keyframe(self, end: datetime) -> Keyframe | None:
        """The newest keyframe that may serve for the state after all change points before `end`, if
        that is worth it.
        """
        full = self.last_full(end)
        for keyframe in reversed(self.keyframes):
            start = self.slot(keyframe.slot).start
            if start <= end:
                return keyframe if full is None or start > full else None
        return None

    def stands_alone(self, end: datetime) -> bool:
        """Whether the state after all change points before `end` needs nothing of earlier
        months.
        """
        return self.last_full(end) is not None or self.keyframe(end) is not None

    def state(
        self, end: datetime, earlier: pl.DataFrame | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """The living keys after all change points before `end`: key, `Time`, values; sorted by key.

        `earlier` is the state at the start of the month, for months in which no full snapshot comes
        first.
        """
        keyframe, sources, conditions = (
            self.keyframe(end),
            list[Source | pl.DataFrame](),
            list[pl.Expr | None](),
        )
        start = self.last_full(end)
        if keyframe is not None:
            start = self.slot(keyframe.slot).start
            key, schema = (
                self.paths.file_key(self.month, keyframe.file),
                self.manifest.schema(keyframe.schema_version),
            )
            sources.append(Source(key, keyframe.bytes, None, schema=schema))
            conditions.append(where)
        wanted = self.parts_in(start, end)
        sources += [p.data for p in wanted]
        conditions += [condition(p, start, end, where) for p in wanted]
        frames = read_sources(
            self.store,
            self.provider,
            sources,
            conditions,
            shortened=partial(last_rows, provider=self.provider),
        )
        base = None if start is not None else earlier
        if keyframe is not None:
            base = frames.pop(0).drop(CEASED)
        tail, corrections = _divided(wanted, frames)
        return overlay(base, resolve_last(tail, corrections, self.provider), self.provider)

    # --- adoption ---------------------------------------------------------------------------------

    def adopt(
        self, info: FileInfo, data: Source | pl.DataFrame
    ) -> tuple[MonthView, pl.DataFrame | None]:
        """This view with a hot file more, and the restoring and correcting rows that its adoption
        needs, if any.

        In the ordinary case, the newest slot with nothing unexpected before it, no row is read.
        Keyframes after a slot that comes late are gone, save where a full snapshot lies in between:
        nothing reaches past that.
        """
        source = info.source
        rows = self._corrections(info, data)
        parts = [Part(data, info.min_time, info.max_time, info.min_key, info.max_key)]
        if rows is not None:
            times = rows.select(
                pl.col(TIME).min().alias("min"), pl.col(TIME).max().alias("max")
            ).row(0)
            parts.append(Part(rows, times[0], times[1], is_correction=True))
        barrier = min((f for f in self.full if f > source.slot), default=None)
        view = evolve(
            self,
            added=(*self.added, *parts),
            adopted=self.adopted.add(source.slot),
            observed=self.observed.add(source.slot) if source.is_snapshot else self.observed,
            full={**self.full, source.slot: source.time} if source.kind == "full" else self.full,
            keyframes=tuple(
                k
                for k in self.keyframes
                if k.slot <= source.slot or (barrier is not None and k.slot > barrier)
            ),
        )
        return view, rows

    def _corrections(self, info: FileInfo, data: Source | pl.DataFrame) -> pl.DataFrame | None:
        source, provider = info.source, self.provider
        following = self.observed.after(source.slot)
        if following in self.full:
            following = None  # nothing before a full snapshot reaches past it
        disturbed = source.kind == "diff" and self.adopted.before(source.slot) != info.base
        if following is None and not disturbed:
            return None
        alone = (
            self.standing_alone()
        )  # states are compared: either all of them know earlier months, or none does
        slot, (rows,) = self.slot(source.slot), read_sources(self.store, provider, [data], [None])
        before = alone.state(slot.start)
        found: list[pl.DataFrame] = []
        if source.kind == "full":
            after = rows.filter(~pl.col(CEASED)).drop(CEASED)
        elif disturbed and info.base is not None:
            after, restoring = restored(
                before, alone.state(self.slot(info.base).end), rows, source.time, provider
            )
            found.append(restoring)
        else:
            after = overlay(before, resolve_last([rows], [], provider), provider)
        if following is not None:
            later = self.slot(following)
            between, held = self.rows(slot.end, later.end), alone.state(later.end)
            found.append(corrected(after, between, held, later.start, provider))
        corrections = pl.concat(found).sort([*provider.key, TIME])
        return corrections if corrections.height else None


def _divided(
    parts: Sequence[Part], frames: Sequence[pl.DataFrame]
) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """The frames of files, and those of corrections; without empty ones."""
    found: tuple[list[pl.DataFrame], list[pl.DataFrame]] = ([], [])
    for part, frame in zip(parts, frames, strict=True):
        if frame.height:
            found[part.is_correction].append(frame)
    return found


def condition(
    part: Part, start: datetime | None, end: datetime | None, *wheres: pl.Expr | None
) -> pl.Expr | None:
    """What rows of `part` must satisfy so that `start <= Time < end` and `wheres`, beyond what its
    bounds already say.
    """
    conditions = [where for where in wheres if where is not None]
    if start is not None and not part.within(start, None):
        conditions.append(pl.col(TIME) >= instant(start))
    if end is not None and not part.within(None, end):
        conditions.append(pl.col(TIME) < instant(end))
    return pl.all_horizontal(conditions) if conditions else None
