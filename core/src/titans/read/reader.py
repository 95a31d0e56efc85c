"""Answers about the past. A reader fixes what it reads when it is made: manifests plus hot files
nobody has adopted yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import polars as pl
from attrs import define, field

from titans.changes.frames import instant
from titans.changes.state import delta, last_rows, overlay
from titans.errors import InputError, NotFound, SnapshotExpiredError
from titans.layout import Paths
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Month, to_utc
from titans.store import ObjectStore
from titans.tiers.adopt import unadopted
from titans.tiers.commit import read_head
from titans.tiers.hot import list_all_hot
from titans.tiers.manifest import Manifest
from titans.tiers.view import MonthView

__all__ = ["TICK", "Reader", "bounds", "expired", "retrying"]

TICK = timedelta(microseconds=1)
_RETRIES = 4

T = TypeVar("T")

State = Callable[[], pl.DataFrame]
"""Gives a state when it is needed."""


def retrying(attempt: Callable[[], T]) -> T:
    """`attempt`, made again where it met a file that was merged and removed after it had read the
    manifest.

    Raises:
        SnapshotExpiredError: again and again.
    """
    for _ in range(_RETRIES):
        try:
            return attempt()
        except NotFound:
            continue
    try:
        return attempt()
    except NotFound as error:
        raise expired(error) from error


def expired(error: NotFound) -> SnapshotExpiredError:
    """What to say of a file that was removed while it was being read."""
    return SnapshotExpiredError(
        f"files were removed while they were being read ({error}); reads take longer than the "
        "grace period: vacuum with a "
        "longer one, such as grace='6h', or read a copy. If `titans verify` says that the file is "
        "missing, it is lost: restore it"
    )


def bounds(start: datetime | None, end: datetime | None) -> tuple[datetime | None, datetime | None]:
    """A range in UTC. Raises `InputError` where it is upside down, `TimestampError` for naive
    times.
    """
    since = None if start is None else to_utc(start, "start")
    until = None if end is None else to_utc(end, "end")
    if since is not None and until is not None and since > until:
        raise InputError(f"start {since.isoformat()} lies after end {until.isoformat()}")
    return since, until


@define
class Reader:
    """One consistent look at an archive. The hot files are listed first; each month's manifest is
    read when it is needed.
    """

    store: ObjectStore
    paths: Paths
    provider: Provider
    _hot: dict[Month, dict[int, str]] | None = field(default=None, init=False)
    _manifests: dict[Month, Manifest] = field(factory=dict, init=False)
    _views: dict[Month, MonthView] = field(factory=dict, init=False)
    _months: tuple[Month, ...] | None = field(default=None, init=False)

    # --- what there is ----------------------------------------------------------------------------

    @property
    def hot(self) -> dict[Month, dict[int, str]]:
        """Hot files by month and slot. Listed before any manifest is read: what is gone by then has
        been adopted.
        """
        if self._hot is None:
            self._hot, _ = list_all_hot(self.store, self.paths)
        return self._hot

    def months(self) -> tuple[Month, ...]:
        """The months that hold anything, ascending."""
        if self._months is None:
            self._months = tuple(sorted({*self.hot, *self._warm_months()}))
        return self._months

    def newest(self) -> Month | None:
        """The last month that holds anything. The whole archive is listed only where nothing recent
        is there.
        """
        if self._months is not None:
            return self._months[-1] if self._months else None
        known = max(self.hot, default=None)
        since = known or Month.of(datetime.now(UTC)).previous().previous()
        later: list[Month] = [
            *self._warm_months(self.paths.after_warm_month(since)),
            *([known] if known else ()),
        ]
        if later:
            return max(later)
        return self.months()[-1] if self.months() else None

    def _warm_months(self, start_after: str = "") -> Iterable[Month]:
        for entry in self.store.list(self.paths.warm_prefix + "/", start_after):
            month = self.paths.parse_manifest_key(entry.key)
            if month is not None:
                yield month

    def manifest(self, month: Month) -> Manifest:
        assert self.hot is not None  # listed before
        if month not in self._manifests:
            self._manifests[month] = read_head(
                self.store, self.paths, self.provider, month
            ).manifest
        return self._manifests[month]

    def view(self, month: Month) -> MonthView:
        """The month with every hot file in it, adopted or not."""
        if month not in self._views:
            hot = self.hot.get(month, {})
            begun_since = self._months is not None and month not in self._months
            # What follows from a month that began after the months were listed must not be seen
            # without it.
            manifest = Manifest.empty(self.provider, month) if begun_since else self.manifest(month)
            view = MonthView.of(manifest, self.store, self.paths, self.provider)
            for _, (info, data) in unadopted(
                self.store, self.paths, self.provider, month, hot, manifest
            ):
                view, _ = view.adopt(info, data)
            if any(k.dependent for k in view.keyframes) and self._waiting_before(month):
                view = view.standing_alone()
            self._views[month] = view
        return self._views[month]

    def _waiting_before(self, month: Month) -> bool:
        """Whether an earlier month has files that nobody has adopted yet."""
        return any(self.manifest(m).adopted.missing(self.hot[m]) for m in self.hot if m < month)

    # --- states -----------------------------------------------------------------------------------

    def state(
        self, at: datetime, where: pl.Expr | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """The living keys at `at`, change points at `at` included: key, `Time`, values; sorted by
        key.
        """
        return self._chosen(
            self.state_before(to_utc(at, "at") + TICK, self._pushed(where)), where, columns
        )

    def latest(
        self, where: pl.Expr | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """The living keys after the last change point there is."""
        newest = self.newest()
        state = (
            self.empty_state()
            if newest is None
            else self.state_before(newest.end, self._pushed(where))
        )
        return self._chosen(state, where, columns)

    def state_before(self, end: datetime, where: pl.Expr | None = None) -> pl.DataFrame:
        """The state after all change points before `end`. Goes back month by month as far as it
        must.

        `where` is over key columns.
        """
        month = Month.of(end - TICK)
        chain = [month]
        if not self.view(month).stands_alone(end):
            for earlier in reversed([m for m in self.months() if m < month]):
                chain.append(earlier)
                if self.view(earlier).stands_alone(earlier.end):
                    break
        state: pl.DataFrame | None = None
        for link in reversed(chain):
            state = self.view(link).state(min(end, link.end), state, where)
        return self.empty_state() if state is None else state

    def empty_state(self) -> pl.DataFrame:
        """No key at all."""
        dtypes = dict(self.provider.schema_dtypes)
        dtypes.pop(CEASED)
        return pl.DataFrame(schema=dtypes)

    def _pushed(self, where: pl.Expr | None) -> pl.Expr | None:
        """`where`, if it may be applied to change points before the last one of each key is
        known.
        """
        if where is None or not set(where.meta.root_names()) <= set(self.provider.key):
            return None
        return where

    def _chosen(
        self, state: pl.DataFrame, where: pl.Expr | None, columns: Sequence[str] | None
    ) -> pl.DataFrame:
        if where is not None and self._pushed(where) is None:
            state = state.filter(where)
        return state if columns is None else state.select(self.known(columns, state.columns))

    def known(self, columns: Sequence[str], there: Sequence[str]) -> list[str]:
        """`columns`. Raises `InputError` where one is not `there`."""
        if isinstance(columns, str):
            raise InputError(f"columns is a list of names, got the text {columns!r}")
        if unknown := [c for c in columns if c not in there]:
            raise InputError(
                f"no column {', '.join(map(repr, unknown))}; there are {', '.join(there)}"
            )
        return list(columns)

    # --- change points ----------------------------------------------------------------------------

    def changes(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        where: pl.Expr | None = None,
        key: Mapping[str, str] | None = None,
    ) -> pl.DataFrame:
        """Change points with `start <= Time < end`: canonical columns, sorted by key and `Time`.

        Where a full snapshot restates what was there before, its rows do not count; for a key it no
        longer has, the tombstone that follows from it does. `where` is over key columns, and says
        no less than `key`.
        """
        found: list[pl.DataFrame] = []
        before: State | None = None
        for month, first, last in self.spans(*bounds(start, end)):
            rows, before = self._changes_of(month, first, last, where, key, before)
            found.append(rows)
        if not found:
            return pl.DataFrame(schema=dict(self.provider.schema_dtypes))
        return found[0] if len(found) == 1 else pl.concat(found).sort([*self.provider.key, TIME])

    def spans(
        self, start: datetime | None, end: datetime | None
    ) -> list[tuple[Month, datetime, datetime]]:
        """The parts of the range that lie in each month, ascending."""
        months: Sequence[Month]
        if start is not None and end is not None and end - start < timedelta(days=62):
            months, month = [], Month.of(start)  # so few that listing the archive would cost more
            while month.start < end:
                months.append(month)
                month = month.next()
        else:
            months = self.months()
        spans = [
            (
                m,
                m.start if start is None else max(start, m.start),
                m.end if end is None else min(end, m.end),
            )
            for m in months
        ]
        return [span for span in spans if span[1] < span[2]]

    def history(
        self, start: datetime | None, end: datetime | None, key: Mapping[str, Any]
    ) -> pl.DataFrame:
        """`changes` of the keys that agree with `key` (some or all key columns)."""
        self.known_key(key)
        values = {column: str(value) for column, value in key.items()}
        where = pl.all_horizontal(pl.col(c) == v for c, v in values.items()) if values else None
        return self.changes(start, end, where, values)

    def histories(
        self, start: datetime | None, end: datetime | None, keys: pl.DataFrame
    ) -> pl.DataFrame:
        """`changes` of the keys that agree with a row of `keys`."""
        self.known_key(keys.columns)
        if not keys.columns:
            raise InputError(
                f"the frame of keys has no columns; the key is {', '.join(self.provider.key)}"
            )
        wanted = keys.select(pl.all().cast(pl.String)).unique()
        where = pl.all_horizontal(
            pl.col(c).is_in(wanted[c].unique().implode()) for c in wanted.columns
        )
        found = self.changes(start, end, where)
        return found.join(wanted, on=wanted.columns, how="semi", maintain_order="left")

    def known_key(self, names: Iterable[str]) -> None:
        """Raises `InputError` where a name is no key column."""
        if unknown := [column for column in names if column not in self.provider.key]:
            raise InputError(
                f"{', '.join(unknown)} is no key column of provider {self.provider.name!r}; "
                f"the key is {', '.join(self.provider.key)}"
            )

    def changes_of(self, month: Month, start: datetime, end: datetime) -> pl.DataFrame:
        """`changes` of one month."""
        return self._changes_of(month, start, end)[0]

    def _changes_of(
        self,
        month: Month,
        start: datetime,
        end: datetime,
        where: pl.Expr | None = None,
        key: Mapping[str, str] | None = None,
        before: State | None = None,
    ) -> tuple[pl.DataFrame, State]:
        """`changes` of one month, and how to get the state at `end`. `before` gives that at
        `start`; it is asked only if needed.
        """
        view, provider = self.view(month), self.provider
        before = before or (lambda: self.state_before(start, where))
        rows = view.rows(start, end, where, key)
        fulls = sorted(time for time in view.full.values() if start <= time < end)
        if not fulls:
            return rows, partial(_overlaid, before, rows, provider)
        state = before()
        segment = rows.filter(pl.col(TIME) < instant(fulls[0]))
        found = [segment]
        for full, until in zip(fulls, [*fulls[1:], end], strict=True):
            state = overlay(state, last_rows(segment, provider), provider)
            at = instant(full)
            restated = pl.col(TIME) == at
            segment = rows.filter(pl.col(TIME).is_between(at, instant(until), closed="left"))
            living = segment.filter(restated & ~pl.col(CEASED)).drop(CEASED)
            segment = segment.filter(~restated)
            found += [delta(state, living, full, provider).rows, segment]
            state = living
        return pl.concat(found).sort([*provider.key, TIME]), partial(
            _overlaid, lambda: state, segment, provider
        )


def _overlaid(before: State, rows: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    return overlay(before(), last_rows(rows, provider), provider)
