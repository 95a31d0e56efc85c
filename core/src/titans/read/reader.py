"""Answers about the past. A reader fixes what it reads when it is made: manifests plus hot files
nobody has adopted yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import polars as pl
from attrs import define, evolve, field

from titans.changes.state import delta
from titans.dataset import Dataset
from titans.errors import (
    CorruptFileError,
    InputError,
    NotFound,
    SnapshotExpiredError,
    TitansError,
)
from titans.provider import Provider
from titans.read.ahead import Beginning, Confirmation, Seen
from titans.read.missing import missing
from titans.schema import CEASED, TIME
from titans.slots import BEGIN, END, TICK, Moment, Month, to_moment
from titans.tiers.files.fetch import fetch_all
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.reading import ReplacedError, damaged
from titans.tiers.manifest.commit import Head, list_months, read_head, removed_month, require_known
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.view import EVERYTHING, Criteria, Damage, Full, MonthView
from titans.tiers.write.adopt import LeftOut, knows_base, read_waiting, without_base
from titans.tiers.write.hot import list_hot_since

__all__ = ["Reader", "answered", "bounds", "end_of", "expired", "retrying"]

log = logging.getLogger("titans.read")

_RETRIES = 4
_ASK_LATER = "ask for a later time"
_FEW = timedelta(days=62)
"""Ranges so short that listing the archive would cost more than asking for each month."""

T = TypeVar("T")


def retrying(attempt: Callable[[], T]) -> T:
    """`attempt`, made again where it met a file that was merged and removed after it had read the
    manifest.

    Raises:
        SnapshotExpiredError: again and again.
        CorruptFileError: it is there again and again, and is another file.
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


def _months_between(start: datetime, end: datetime) -> list[Month]:
    if start >= end:
        return []
    months = [Month.of(start)]
    while months[-1].end < end:
        months.append(months[-1].next())
    return months


def answered(dataset: Dataset, question: Callable[[Reader], T], seen: Seen | None = None) -> T:
    """The answer of a new reader, which begins with what was `seen` last.

    Where rows of a waiting hot file turn out to be damaged, the question is asked again without
    them: not every answer that reads them depends on them.

    Raises:
        CorruptFileError: this one does.
    """
    bad: dict[str, CorruptFileError] = {}
    while True:
        reader = Reader(dataset, bad, seen)
        try:
            answer = question(reader)
        except CorruptFileError as error:
            key = error.key or ""
            if reader.is_overtaken():
                seen = None
            elif key in bad or dataset.paths.hot_slots()(key) is None:
                raise
            else:
                bad[key] = error
        except TitansError:
            if not reader.is_overtaken():
                raise
            seen = None
        else:
            if not reader.is_overtaken():
                return answer
            seen = None


def expired(error: NotFound) -> TitansError:
    """What to say of a file that was removed while it was being read."""
    if isinstance(error, ReplacedError):
        return damaged(error.key or "", "does not hold the rows it was written with")
    return SnapshotExpiredError(
        f"files were removed while they were being read ({error}); reads take longer than the "
        "grace period: vacuum with a longer one, such as grace='6h', or read a copy. If `titans "
        "verify` says that the file is missing, see what `titans repair` can bring back, or "
        "restore it",
        key=error.key,
    )


def bounds(start: Moment | None, end: Moment | None) -> tuple[datetime | None, datetime | None]:
    """A range in UTC, as far as an archive may reach.

    Raises:
        InputError: it is upside down.
        TimestampError: a time is naive.
    """
    since = None if start is None else to_moment(start, "start")
    until = None if end is None else to_moment(end, "end")
    if since is not None and until is not None and since > until:
        raise InputError(f"start {since.isoformat()} lies after end {until.isoformat()}")
    return _within(since), _within(until)


def _within(moment: datetime | None) -> datetime | None:
    return None if moment is None else min(max(moment, BEGIN), END)


def end_of(at: Moment) -> datetime:
    """The end of all that a state at `at` includes."""
    return min(to_moment(at, "at"), END - TICK) + TICK


@define(eq=False)
class Reader:
    """One consistent look at an archive.

    The hot files are listed first; each month's manifest is read when it is needed. With `seen`,
    both are asked for at once where that is faster: then the answer counts if the look is not
    `is_overtaken`.
    """

    dataset: Dataset
    bad: Mapping[str, CorruptFileError] = field(factory=dict)
    """Waiting hot files whose rows are known to be damaged, and how that showed."""
    seen: Seen | None = None
    _confirmation: Confirmation | None = field(default=None, init=False)
    _hot: Mapping[Month, dict[int, str]] | None = field(default=None, init=False)
    _manifests: dict[Month, Manifest] = field(factory=dict, init=False)
    _views: dict[Month, MonthView] = field(factory=dict, init=False)
    _months: tuple[Month, ...] | None = field(default=None, init=False)
    _has_manifest: bool = field(default=False, init=False)
    """Whether some month that was looked at has one."""

    @property
    def provider(self) -> Provider:
        return self.dataset.provider

    # --- what there is ----------------------------------------------------------------------------

    def list_hot(self) -> Mapping[Month, dict[int, str]]:
        """Hot files by month and slot, listed once.

        It comes before any manifest is read: what is removed by then has been adopted.
        """
        if self._hot is None:
            if self.dataset.trace is not None:
                self.dataset.trace.looked()
            self._hot = list_hot_since(self.dataset).months
        return self._hot

    def _begin(self, months: Iterable[Month], list_after: str | None = None) -> list[Month] | None:
        """List the hot files, read the manifests of `months`, and list the months whose keys are
        greater than `list_after`: at once, where this is the beginning and may be done so.
        """
        if self._hot is not None or self.seen is None or not self.seen.is_worth_it(self.dataset):
            return None
        if self.dataset.trace is not None:
            self.dataset.trace.looked()
        beginning = Beginning.read(self.dataset, list(months), list_after)
        self._confirmation = Confirmation.of(beginning)
        self._hot = beginning.hot
        for month, head in beginning.heads.items():
            self._keep(month, head)
        return list(beginning.listed)

    def is_overtaken(self) -> bool:
        """Whether what was asked for at once had changed before all of it was there."""
        return self._confirmation is not None and not self._confirmation.holds()

    def in_order(self) -> Reader:
        """A new look, for which nothing is asked at once."""
        return Reader(self.dataset, self.bad)

    def months(self, expected: Sequence[Month] = ()) -> tuple[Month, ...]:
        """The months that hold anything, ascending. The manifests of `expected` are read with
        that.
        """
        if self._months is None:
            listed = self._begin(expected, "")
            if listed is None:
                hot = self.list_hot()
                listed = list(list_months(self.dataset))
            else:
                hot = self.list_hot()
            self._months = tuple(sorted({*hot, *listed}))
            if self.seen is not None:
                self.seen.months = self._months
                self.seen.newest = max(self._months, default=None)
        return self._months

    def check_exists(self) -> None:
        """Raise where there is no archive: nothing of it was found.

        The store is asked only where that is not known from what was read.

        Raises:
            ArchiveNotFoundError: nothing was ever written to it.
            ManifestError: there are files of it, and no manifest.
        """
        if not self._has_manifest and not self.list_hot() and not self.months():
            raise missing(self.dataset)

    def newest(self) -> Month | None:
        """The last month that holds anything.

        The whole archive is listed only where nothing recent is there.
        """
        if self._months is None:
            recent = self._list_recent()
            if recent:
                return max(recent)

        months = self.months()
        return months[-1] if months else None

    def _list_recent(self) -> set[Month]:
        """Some of the last months that hold anything, the newest among them; or none."""
        guess = None if self.seen is None else self.seen.newest
        since = (guess or Month.of(datetime.now(UTC)).previous()).previous()
        listed = self._begin([guess] if guess else [], self.dataset.paths.after_warm_month(since))
        last_hot = max(self.list_hot(), default=None)
        if listed is None:
            since = last_hot or since
            listed = list(list_months(self.dataset, self.dataset.paths.after_warm_month(since)))
            recent = {*listed, *([last_hot] if last_hot else [])}
        else:
            # A month with hot files before `since` is not the newest, unless it is known of none.
            recent = {*listed, *([last_hot] if last_hot and last_hot > since else [])}

        if recent and self.seen is not None:
            self.seen.newest = max(recent)
        return recent

    def manifest(self, month: Month) -> Manifest:
        if month not in self._manifests:
            self._begin([month])
        self.read_manifests([month])
        return self._manifests[month]

    def read_manifests(self, months: Iterable[Month]) -> None:
        """Those that were not read yet, all at once."""
        wanted = [month for month in months if month not in self._manifests]
        if not wanted:
            return
        self.list_hot()
        heads = fetch_all(self.dataset.store, partial(read_head, self.dataset), wanted)
        for month, head in zip(wanted, heads, strict=True):
            self._keep(month, head)

    def _keep(self, month: Month, head: Head) -> None:
        if self.dataset.trace is not None:
            self.dataset.trace.read_month(month, head.manifest, head.blob is not None)
        if head.blob is None:
            require_known(self.dataset, head.manifest)
        self._manifests[month] = head.manifest
        self._has_manifest |= head.blob is not None

    def view(self, month: Month) -> MonthView:
        """The month with every hot file in it, adopted or not."""
        if month not in self._views:
            self._views[month] = self._read_view(month)
        return self._views[month]

    def _read_view(self, month: Month) -> MonthView:
        self._begin([month])
        hot = self.list_hot().get(month, {})
        if self._months is not None and month not in self._months:
            # It began after the months were listed, and what follows from it must not be seen
            # without it.
            manifest = Manifest.empty(self.provider, month)
        else:
            manifest = self.manifest(month)

        view = MonthView.of(manifest, self.dataset)
        applied: list[FileInfo] = []
        waiting, left_out = read_waiting(self.dataset, manifest, hot)
        for info, data in waiting:
            key = self.dataset.paths.hot_key(self.dataset.slot(month, info.record.slot))
            if key in self.bad:
                left_out.append(LeftOut(key, info.record.slot, self.bad[key]))
            elif knows_base(view, info):
                if self.dataset.trace is not None:
                    self.dataset.trace.applies(view.slot(info.record.slot).start)
                view, _ = view.adopt(info, data)
                applied.append(info)
            else:
                left_out.append(without_base(self.dataset, month, info))
        damaged = [Damage(each.slot, each.error) for each in left_out if not each.is_foreign]
        view = evolve(view, damaged=tuple(damaged))
        if view.is_dependent and (self._is_waiting_before(month) or self._has_moved(manifest)):
            view = view.standing_alone()
        if self.dataset.trace is not None:
            self.dataset.trace.found_waiting(view, applied, left_out)
        return view

    def _has_moved(self, manifest: Manifest) -> bool:
        """Whether an earlier month that this reader has looked at is not as it was when the border
        of `manifest` was made: late slots were adopted before or since.
        """
        for earlier, version in manifest.built_from.items():
            known = self._manifests.get(earlier)
            if known is not None and known.data_version != version:
                return True
        return False

    def _is_waiting_before(self, month: Month) -> bool:
        """Whether an earlier month has files that nobody has adopted yet and that may reach on to
        this one.
        """
        hot = self.list_hot()
        for earlier in sorted(hot, reverse=True):
            if earlier >= month:
                continue
            manifest = self.manifest(earlier)
            if manifest.adopted.missing(hot[earlier]):
                return True
            if manifest.full:
                break  # nothing before a full snapshot reaches past it
        return False

    # --- states -----------------------------------------------------------------------------------

    def state(self, at: datetime) -> pl.DataFrame:
        """The living keys at `at`, change points at `at` included: key, `Time`, values; sorted by
        key.
        """
        return self.state_before(end_of(at))

    def latest(self) -> pl.DataFrame:
        """The living keys after the last change point there is."""
        return self.state_before(self.latest_end())

    def latest_end(self) -> datetime:
        """A moment after the last change point there is."""
        newest = self.newest()
        return datetime.now(UTC) if newest is None else newest.end

    def state_before(self, end: datetime, where: pl.Expr | None = None) -> pl.DataFrame:
        """The state after all change points before `end`. Goes back month by month as far as it
        must.

        `where` is over key columns.
        """
        if end <= BEGIN:
            return self.empty_state()
        month = Month.of(end - TICK)
        if self._is_removed(month) and end == month.end:
            month = month.next()  # a keyframe at its start says what was left
        if self._is_removed(month):
            raise removed_month(self.dataset, month, _ASK_LATER)
        chain = [month]
        if not self.view(month).stands_alone(end):
            for earlier in reversed([m for m in self.months() if m < month]):
                if self._is_removed(earlier):
                    return self._beginning(month, end, where)
                chain.append(earlier)
                if self.view(earlier).stands_alone(earlier.end):
                    break

        state: pl.DataFrame | None = None
        for link in reversed(chain):
            state = self.view(link).state(min(end, link.end), state, where)
        return self.empty_state() if state is None else state

    def _beginning(self, month: Month, end: datetime, where: pl.Expr | None) -> pl.DataFrame:
        """The state that a keyframe at the end of `month` says, of which nothing else is kept."""
        following = month.next()
        if end == month.end and self.manifest(following).begins:
            return self.view(following).state(end, None, where)
        raise removed_month(self.dataset, month, _ASK_LATER)

    def first_state(self) -> pl.DataFrame:
        """The state before the first change point there is: empty, unless earlier months were
        removed.
        """
        for month in self.months():
            if self.manifest(month).begins:
                return self.state_before(month.start)
            if not self._is_removed(month):
                break
        return self.empty_state()

    def _is_removed(self, month: Month) -> bool:
        if self._months is not None and month not in self._months:
            return False
        return self.manifest(month).removed

    def empty_state(self) -> pl.DataFrame:
        """No key at all."""
        return self.empty_changes().drop(CEASED)

    def empty_changes(self) -> pl.DataFrame:
        """No change point at all."""
        return pl.DataFrame(schema=dict(self.provider.schema_dtypes))

    # --- change points ----------------------------------------------------------------------------

    def changes(self, wanted: Criteria = EVERYTHING) -> pl.DataFrame:
        """The change points that are wanted: canonical columns, sorted by key and `Time`."""
        frames = []
        start, end = bounds(wanted.start, wanted.end)
        for month, first, last in self.spans(start, end):
            frames.append(self.changes_of(month, evolve(wanted, start=first, end=last)))

        if not frames:
            return self.empty_changes()
        if len(frames) == 1:
            return frames[0]
        return pl.concat(frames).sort([*self.provider.key, TIME])

    def changes_of(self, month: Month, wanted: Criteria) -> pl.DataFrame:
        """`changes` of one month; the range lies in it, and has both ends.

        What a full snapshot changed is derived where no file says it.
        """
        view, provider = self.view(month), self.provider
        frames = [view.rows(wanted)]
        start, end = wanted.start or month.start, wanted.end or month.end
        for full in view.without_border(start, end):
            frames.append(self.derived_border(view, full, wanted.where))
        if len(frames) == 1:
            return frames[0]
        return pl.concat(frames).sort([*provider.key, TIME])

    def derived_border(
        self, view: MonthView, full: Full, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """What a full snapshot of a month changed: canonical columns, sorted by key."""
        before = self.state_before(full.time, where)
        living = view.read_full(full, where)
        return delta(before, living, full.time, self.provider).rows

    def spans(
        self, start: datetime | None, end: datetime | None
    ) -> list[tuple[Month, datetime, datetime]]:
        """The parts of the range that lie in each month, ascending."""
        months: Sequence[Month]
        if start is not None and end is not None and end - start < _FEW:
            months = _months_between(start, end)
            self._begin(months)
        else:
            months = self.months(self.seen.few_months if self.seen else ())

        spans = []
        for month in months:
            first = month.start if start is None else max(start, month.start)
            last = month.end if end is None else min(end, month.end)
            if first < last:
                spans.append((month, first, last))
        if start is not None and spans and self._is_removed(spans[0][0]):
            raise removed_month(self.dataset, spans[0][0], _ASK_LATER)
        if self.dataset.store.parallel:
            self.read_manifests(month for month, _, _ in spans)
        return spans
