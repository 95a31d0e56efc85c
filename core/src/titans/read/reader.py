"""Answers about the past. A reader fixes what it reads when it is made: manifests plus hot files nobody has adopted yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import polars as pl
from attrs import define, field

from titans.changes.state import delta, last_rows, overlay
from titans.errors import InputError, NotFound
from titans.layout import Paths
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Month, to_utc
from titans.store import ObjectStore
from titans.tiers.adopt import unadopted
from titans.tiers.commit import read_head
from titans.tiers.hot import list_hot
from titans.tiers.manifest import Manifest
from titans.tiers.view import MonthView

__all__ = ["Reader", "retrying"]

_TICK = timedelta(microseconds=1)
_RETRIES = 4

T = TypeVar("T")


def retrying(attempt: Callable[[], T]) -> T:
    """`attempt`, made again where it met a file that was merged and removed after it had read the manifest."""
    for _ in range(_RETRIES):
        try:
            return attempt()
        except NotFound:
            continue
    return attempt()


@define
class Reader:
    """One consistent look at an archive. Each month is opened once, when it is first needed."""

    store: ObjectStore
    paths: Paths
    provider: Provider
    _views: dict[Month, MonthView] = field(factory=dict, init=False)
    _months: tuple[Month, ...] | None = field(default=None, init=False)

    def months(self) -> tuple[Month, ...]:
        """The months that hold anything, ascending."""
        if self._months is None:
            found: set[Month] = set()
            for entry in self.store.list(self.paths.hot_prefix + "/"):
                try:
                    found.add(self.paths.parse_hot_key(entry.key).month)
                except ValueError:
                    continue
            for entry in self.store.list(self.paths.warm_prefix + "/"):
                month = self.paths.parse_manifest_key(entry.key)
                if month is not None:
                    found.add(month)
            self._months = tuple(sorted(found))
        return self._months

    def view(self, month: Month) -> MonthView:
        """The month with every hot file in it, adopted or not.

        The hot files are listed before the manifest is read: what is not in the list any more has been adopted by then.
        """
        if self._months is not None and month not in self._months:
            # It has begun since the months were listed: what follows from it must not be seen without it.
            return MonthView.of(Manifest.empty(self.provider, month), self.store, self.paths, self.provider)
        if month not in self._views:
            keys, _ = list_hot(self.store, self.paths, month)
            manifest = read_head(self.store, self.paths, self.provider, month).manifest
            view = MonthView.of(manifest, self.store, self.paths, self.provider)
            for _, (info, load) in unadopted(self.store, self.paths, self.provider, month, keys, manifest):
                view, _ = view.adopt(info, load)
            self._views[month] = view
        return self._views[month]

    # --- questions ----------------------------------------------------------------------------------------------------

    def state(self, at: datetime, where: pl.Expr | None = None) -> pl.DataFrame:
        """The living keys at `at`, change points at `at` included: key, `Time`, values; sorted by key."""
        end = to_utc(at, "at") + _TICK
        return self.state_before(end, where).sort(self.provider.key)

    def latest(self) -> pl.DataFrame:
        """The living keys after the last change point there is."""
        months = self.months()
        if not months:
            return self.empty_state()
        return self.state_before(months[-1].end).sort(self.provider.key)

    def state_before(self, end: datetime, where: pl.Expr | None = None) -> pl.DataFrame:
        """The state after all change points before `end`, not sorted. Goes back month by month to the last full snapshot."""
        month = Month.of(end - _TICK)
        chain = [month]
        if self.view(month).last_full(end) is None:
            for earlier in reversed([m for m in self.months() if m < month]):
                chain.append(earlier)
                if self.view(earlier).last_full(earlier.end) is not None:
                    break
        state: pl.DataFrame | None = None
        for link in reversed(chain):
            state = self.view(link).state(min(end, link.end), state, where)
        return self.empty_state() if state is None else state

    def changes(
        self, start: datetime | None = None, end: datetime | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Change points with `start <= Time < end`: canonical columns, sorted by key and `Time`.

        Where a full snapshot restates what was there before, its rows do not count; for a key it no longer has, the tombstone
        that follows from it does.
        """
        since = None if start is None else to_utc(start, "start")
        until = None if end is None else to_utc(end, "end")
        if since is not None and until is not None and since > until:
            raise InputError(f"start {since.isoformat()} lies after end {until.isoformat()}")
        found: list[pl.DataFrame] = []
        for month in self.months():
            first = month.start if since is None else max(since, month.start)
            last = month.end if until is None else min(until, month.end)
            if first < last:
                found.append(self._changes_of(month, first, last, where))
        if not found:
            return pl.DataFrame(schema=dict(self.provider.schema_dtypes))
        return pl.concat(found).sort([*self.provider.key, TIME])

    def history(self, start: datetime | None, end: datetime | None, key: Mapping[str, Any]) -> pl.DataFrame:
        """`changes` of the keys that agree with `key` (some or all key columns)."""
        unknown = [column for column in key if column not in self.provider.key]
        if unknown:
            raise InputError(
                f"{', '.join(unknown)} is no key column of provider {self.provider.name!r}; "
                f"the key is {', '.join(self.provider.key)}"
            )
        where = pl.all_horizontal(pl.col(column) == str(value) for column, value in key.items()) if key else None
        return self.changes(start, end, where)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _changes_of(self, month: Month, start: datetime, end: datetime, where: pl.Expr | None) -> pl.DataFrame:
        view, provider = self.view(month), self.provider
        rows = view.rows(start, end, where)
        fulls = sorted(time for time in view.full.values() if start <= time < end)
        if not fulls:
            return rows
        state = self.state_before(start, where)
        segment = rows.filter(pl.col(TIME) < fulls[0])
        found = [segment]
        for full, until in zip(fulls, [*fulls[1:], end], strict=True):
            state = overlay(state, last_rows(segment, provider), provider)
            restated = pl.col(TIME) == full
            segment = rows.filter(pl.col(TIME).is_between(full, until, closed="left"))
            living = segment.filter(restated & ~pl.col(CEASED)).drop(CEASED)
            segment = segment.filter(~restated)
            found += [delta(state, living, full, provider).rows, segment]
            state = living
        return pl.concat(found)

    def empty_state(self) -> pl.DataFrame:
        """No key at all."""
        dtypes = dict(self.provider.schema_dtypes)
        dtypes.pop(CEASED)
        return pl.DataFrame(schema=dtypes)
