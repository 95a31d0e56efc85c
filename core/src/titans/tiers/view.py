"""The change points of a month as one moment saw them: the files a manifest names, and what unadopted hot files add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

import polars as pl
from attrs import evolve, field, frozen

from titans.changes.adoption import corrected, restored
from titans.changes.state import last_rows, overlay, resolve
from titans.layout import Paths
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Month, Slot, SlotSet
from titans.store import ObjectStore
from titans.tiers.files import read_rows
from titans.tiers.info import FileInfo
from titans.tiers.manifest import FileEntry, Manifest

__all__ = ["Load", "MonthView", "Part", "in_memory"]

Load = Callable[[pl.Expr | None], pl.DataFrame]
"""Reads the rows of a file that satisfy an expression (all without one)."""


def in_memory(rows: pl.DataFrame) -> Load:
    return lambda where: rows if where is None else rows.filter(where)


@frozen
class Part:
    """Rows that a view is made of; loaded when they are needed."""

    load: Load
    min_time: datetime | None
    """`None` where there are no rows."""
    max_time: datetime | None
    is_correction: bool = False


@frozen
class MonthView:
    """Immutable. `adopt` gives the view that has one file more."""

    provider: Provider
    month: Month
    parts: tuple[Part, ...]
    """In order of adoption."""
    adopted: SlotSet
    observed: SlotSet
    full: Mapping[int, datetime] = field(hash=False)

    @classmethod
    def of(cls, manifest: Manifest, store: ObjectStore, paths: Paths, provider: Provider) -> MonthView:
        def part(entry: FileEntry) -> Part:
            key = paths.file_key(manifest.month, entry.file)
            slot = Slot(manifest.month, entry.first, paths.minutes) if entry.is_hot else None
            load = partial(read_rows, store, key, provider, slot)
            return Part(load, entry.min_time, entry.max_time, entry.is_correction)

        # Higher levels were adopted earlier; within a level the manifest keeps the order.
        files = sorted(manifest.files, key=lambda f: -f.level)
        parts = tuple(part(entry) for entry in files)
        return cls(provider, manifest.month, parts, manifest.adopted, manifest.observed, manifest.full)

    def slot(self, index: int) -> Slot:
        return Slot(self.month, index, self.provider.layout.slot_minutes)

    def rows(
        self, start: datetime | None = None, end: datetime | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Change points with `start <= Time < end` that satisfy `where`, an expression over key columns.

        In canonical columns, sorted by key and `Time`, one row for each.
        """
        real: list[pl.DataFrame] = []
        corrections: list[pl.DataFrame] = []
        for part in self.parts:
            if part.min_time is None or part.max_time is None:
                continue
            if (start is not None and part.max_time < start) or (end is not None and part.min_time >= end):
                continue
            conditions = [] if where is None else [where]
            if start is not None and part.min_time < start:
                conditions.append(pl.col(TIME) >= start)
            if end is not None and part.max_time >= end:
                conditions.append(pl.col(TIME) < end)
            frame = part.load(pl.all_horizontal(conditions) if conditions else None)
            (corrections if part.is_correction else real).append(frame)
        return resolve(real, corrections, self.provider)

    def last_full(self, end: datetime) -> datetime | None:
        """The latest time before `end` from which nothing earlier counts."""
        return max((time for time in self.full.values() if time < end), default=None)

    def state(self, end: datetime, earlier: pl.DataFrame | None = None, where: pl.Expr | None = None) -> pl.DataFrame:
        """The living keys after all change points before `end`: key, `Time`, values; not sorted.

        `earlier` is the state at the start of the month, for months in which no full snapshot comes first.
        """
        full = self.last_full(end)
        last = last_rows(self.rows(full, end, where), self.provider)
        living = last.filter(~pl.col(CEASED)).drop(CEASED)
        if full is not None or earlier is None:
            return living
        return overlay(earlier, last, self.provider)

    def adopt(self, info: FileInfo, load: Load) -> tuple[MonthView, pl.DataFrame | None]:
        """This view with a hot file more, and the restoring and correcting rows that its adoption needs, if any.

        In the ordinary case, the newest slot with nothing unexpected before it, no row is read.
        """
        source = info.source
        rows = self._corrections(info, load)
        parts = [Part(load, info.min_time, info.max_time)]
        if rows is not None:
            times = rows.select(pl.col(TIME).min().alias("min"), pl.col(TIME).max().alias("max")).row(0)
            parts.append(Part(in_memory(rows), times[0], times[1], is_correction=True))
        view = evolve(
            self,
            parts=(*self.parts, *parts),
            adopted=self.adopted.add(source.slot),
            observed=self.observed.add(source.slot) if source.is_snapshot else self.observed,
            full={**self.full, source.slot: source.time} if source.kind == "full" else self.full,
        )
        return view, rows

    def _corrections(self, info: FileInfo, load: Load) -> pl.DataFrame | None:
        source, provider = info.source, self.provider
        following = self.observed.after(source.slot)
        if following in self.full:
            following = None  # nothing before a full snapshot reaches past it
        disturbed = source.kind == "diff" and self.adopted.before(source.slot) != info.base
        if following is None and not disturbed:
            return None
        slot, rows = self.slot(source.slot), load(None)
        before = self.state(slot.start)
        found: list[pl.DataFrame] = []
        if source.kind == "full":
            after = rows.filter(~pl.col(CEASED)).drop(CEASED)
        elif disturbed and info.base is not None:
            after, restoring = restored(before, self.state(self.slot(info.base).end), rows, source.time, provider)
            found.append(restoring)
        else:
            after = overlay(before, last_rows(rows, provider), provider)
        if following is not None:
            later = self.slot(following)
            between, held = self.rows(slot.end, later.end), self.state(later.end)
            found.append(corrected(after, between, held, later.start, provider))
        corrections = pl.concat(found).sort([*provider.key, TIME])
        return corrections if corrections.height else None
