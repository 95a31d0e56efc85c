"""What is new in an archive since somebody looked last, however late it came.

A look is the set of slots that were adopted then: `Adopted`. What is new at the next one is the
rows of the slots that came since, and the rows at snapshots seen before that follow from them. Rows
do not say which slot they follow from, and merged files hold those of many; but it shows. The state
at a snapshot never changes. So a row at a snapshot was there for somebody who had seen some slots,
unless it restates what held for him, and a slot in between that he had not seen touched its key.

Two things follow from late slots, and no later look can undo them. Both leave every state as it is.

- What a full snapshot changed against the month before may be less, once a slot came late there.
  What was told of it then restates a value.
- A row at a snapshot that restates a value, after a late slot, comes again, the same, where another
  late slot between the two makes it tell something. Who keeps one row for each key and `Time` has
  it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import polars as pl
from attrs import field, frozen

from titans.changes.state import last_rows, overlay
from titans.errors import InputError
from titans.read.choice import Choice
from titans.read.described import DescribedArchive
from titans.read.plan import ranges_of_files
from titans.read.reader import Reader, bounds
from titans.read.tasks import Place
from titans.schema import CEASED, TIME
from titans.slots import NO_SLOTS, Moment, Month, SlotSet
from titans.tiers.manifest.view import Criteria

__all__ = ["NOTHING", "Adopted", "NewRows", "adopted", "plan_new"]

_VERSION = 1
_BEFORE = "\x00before"
"""Suffix of the columns of an earlier state in a join; no user's column ends with it."""


@frozen
class MonthAdopted:
    """What was adopted of a month."""

    slots: SlotSet = NO_SLOTS
    rewrites: int = 0
    """The number of its last correction."""


_NONE_OF_IT = MonthAdopted()


@frozen
class Adopted:
    """The slots that were adopted when somebody looked."""

    months: Mapping[Month, MonthAdopted] = field(factory=dict)

    def slots(self, month: Month) -> SlotSet:
        return self.months.get(month, _NONE_OF_IT).slots

    def to_json(self) -> dict[str, Any]:
        """Plain data: some tens of bytes for each month, and for each gap in it."""
        months = {}
        for month in sorted(self.months):
            known = self.months[month]
            months[str(month)] = [known.slots.to_json(), known.rewrites]
        return {"version": _VERSION, "months": months}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Adopted:
        """The inverse of `to_json`.

        Raises:
            InputError: it is none, or a newer TITANS made it.
        """
        try:
            version, months = data["version"], {}
            for text, (slots, rewrites) in data["months"].items():
                known = MonthAdopted(SlotSet.from_intervals(slots), int(rewrites))
                months[Month.parse(text)] = known
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"not a set of adopted slots: {type(error).__name__}: {error}"
            ) from error
        if version != _VERSION:
            raise InputError(
                f"a set of adopted slots of version {version!r}; this TITANS reads version "
                f"{_VERSION}: upgrade titans-core"
            )
        return cls(months)


NOTHING = Adopted()
"""Of who has not looked yet."""


@frozen
class NewRows:
    """A part of what is new: rows of a range of time of a month. Plain data, it can be pickled."""

    place: Place
    month: Month
    start: datetime
    end: datetime
    before: Adopted
    """What was seen already."""
    now: Adopted
    """And what is to be seen now; nothing that was adopted later counts."""
    any_corrections: bool
    rows: int
    """As the files say it."""

    def read(self, archive: DescribedArchive | None = None) -> pl.DataFrame:
        """The rows, in canonical columns, sorted by key and `Time`.

        Raises:
            InputError: something that was seen was corrected since.
        """
        if archive is None:
            archive = self.place.open()
        self.place.check(archive)
        return archive._ask(self._answer)

    def _answer(self, reader: Reader) -> pl.DataFrame:
        if not self.any_corrections:
            _check(reader, self.month, self.now)
        rows = reader.changes(Criteria(self.start, self.end))
        rows = _rows_for(reader, self.month, rows, self.now)
        seen = _rows_for(reader, self.month, rows, self.before)
        return rows.join(seen, on=[*reader.provider.key, TIME], how="anti", maintain_order="left")


def adopted(
    archive: DescribedArchive, before: Adopted = NOTHING, *, any_corrections: bool = False
) -> Adopted:
    """What is adopted in an archive now.

    Args:
        before: what was seen last.
        any_corrections: go on where something that was seen was corrected since. What the
            correction changed is not told to who saw it before.

    Raises:
        InputError: something that was seen was corrected since, or is not there any more.
    """

    def question(reader: Reader) -> Adopted:
        months = dict(before.months)
        _check_known(reader, before)
        for month in reader.months():
            manifest = reader.manifest(month)
            if manifest.removed:
                continue
            if not any_corrections:
                _check(reader, month, before)
            months[month] = MonthAdopted(manifest.adopted, manifest.last_rewrite)
        return Adopted(months)

    return archive._ask(question)


def plan_new(
    archive: DescribedArchive,
    before: Adopted,
    now: Adopted,
    span: tuple[Moment | None, Moment | None] = (None, None),
    *,
    any_corrections: bool = False,
) -> list[NewRows]:
    """The change points that are new `now` to who has seen `before`, as tasks that other processes
    and machines can do, in any order; of `span`, only those with `start <= Time < end`.

    Raises:
        InputError: something that was seen was corrected since, or the range is upside down.
    """
    since, until = bounds(*span)

    def question(reader: Reader) -> list[NewRows]:
        place, tasks = Place.of(reader.dataset), []
        choice = Choice(reader.provider)
        for month, slots in _concerned(reader, before, now):
            if not any_corrections:
                _check(reader, month, now)
            view = reader.view(month)
            for first, last in slots.intervals:
                begin, stop = view.slot(first).start, view.slot(last).end
                begin = begin if since is None else max(begin, since)
                stop = stop if until is None else min(stop, until)
                if begin >= stop:
                    continue
                for piece in ranges_of_files(view, begin, stop, choice):
                    task = NewRows(
                        place,
                        month,
                        piece.start,
                        piece.end,
                        before,
                        now,
                        any_corrections,
                        piece.rows,
                    )
                    tasks.append(task)
        return tasks

    return archive._ask(question)


# --- what was corrected ---------------------------------------------------------------------------


def _check_known(reader: Reader, before: Adopted) -> None:
    """Raise where something that was seen is not there any more."""
    there = reader.months()
    for month, known in before.months.items():
        manifest = reader.manifest(month) if month in there else None
        if manifest is not None and manifest.removed:
            continue
        lost = known.slots if manifest is None else known.slots - manifest.adopted
        if lost:
            raise InputError(
                f"{len(lost)} slot(s) of {month} that were read before are not in the archive of "
                f"{reader.provider.name!r} any more: it is another archive, or was restored from a "
                "copy; begin again, with a new checkpoint"
            )


def _check(reader: Reader, month: Month, seen: Adopted) -> None:
    """Raise where something that was seen of a month was corrected since."""
    known = seen.months.get(month)
    if known is None or not known.slots:
        return
    for rewrite in reader.manifest(month).rewrites:
        if rewrite.number <= known.rewrites or rewrite.operation == "retain":
            continue
        if rewrite.slot is not None and rewrite.slot not in known.slots:
            continue
        what = "keys" if rewrite.slot is None else str(reader.dataset.slot(month, rewrite.slot))
        raise InputError(
            f"{what} of {month} were corrected ({rewrite.operation}, {rewrite.reason!r}) after "
            "they had been read: begin again, with a new checkpoint; or go on without what the "
            "correction changed (option corrections = ignore)"
        )


# --- what follows from new slots ------------------------------------------------------------------


def _concerned(reader: Reader, before: Adopted, now: Adopted) -> Iterator[tuple[Month, SlotSet]]:
    """By month, the slots with rows that may be new: those that came, and after each of them the
    next snapshot that was seen before.
    """
    is_open = False  # whether a slot came after the last snapshot that was seen
    for month in reader.months():
        manifest = reader.manifest(month)
        if manifest.removed:
            continue
        came = now.slots(month) - before.slots(month)
        known = manifest.observed & before.slots(month)
        slots = came
        if is_open and known.first is not None:
            slots = slots.add(known.first)
            is_open = False
        for _, last in came.intervals:
            following = known.after(last)
            if following is None:
                is_open = True
            else:
                slots = slots.add(following)
        if slots and not before.slots(month):
            # All that is there is new: one range, whatever slots nobody saw.
            slots = SlotSet(((slots.intervals[0][0], slots.intervals[-1][1]),))
        if slots:
            yield month, slots


def _rows_for(reader: Reader, month: Month, rows: pl.DataFrame, seen: Adopted) -> pl.DataFrame:
    """Of the rows of a month, those that are there for who has seen these slots."""
    rows = _of_slots(rows, month, seen.slots(month), reader)
    by = [*reader.provider.key, TIME]
    for slot in _disturbed(reader, month, seen):
        moment = reader.dataset.slot(month, slot)
        here = rows.filter(pl.col(TIME).is_between(moment.start, moment.end, closed="left"))
        if here.height:
            unsaid = _restating(reader, month, slot, here, seen)
            rows = rows.join(unsaid, on=by, how="anti", maintain_order="left")
    return rows


def _of_slots(rows: pl.DataFrame, month: Month, slots: SlotSet, reader: Reader) -> pl.DataFrame:
    minutes = reader.dataset.paths.minutes
    within = (pl.col(TIME) - month.start).dt.total_minutes() // minutes
    numbers = pl.Series(list(slots), dtype=pl.Int64)
    inside = pl.col(TIME).is_between(month.start, month.end, closed="left")
    return rows.filter(inside & within.is_in(numbers.implode()))


def _disturbed(reader: Reader, month: Month, seen: Adopted) -> list[int]:
    """The snapshots that were seen, with a slot before them that was not: after the last snapshot
    that was seen before.
    """
    view = reader.view(month)
    known = view.observed & seen.slots(month)
    found = set()
    for _, last in (view.adopted - seen.slots(month)).intervals:
        found.add(known.after(last))
    if known.first is not None and _is_open_before(reader, month, seen):
        found.add(known.first)
    return sorted(slot for slot in found if slot is not None)


def _is_open_before(reader: Reader, month: Month, seen: Adopted) -> bool:
    """Whether earlier months have slots that were not seen, after the last snapshot that was."""
    for earlier in _back_from(reader, month):
        if earlier == month:
            continue
        view = reader.view(earlier)
        last = (view.observed & seen.slots(earlier)).last
        unseen = (view.adopted - seen.slots(earlier)).last
        if unseen is not None and (last is None or unseen > last):
            return True
        if last is not None:
            break
    return False


def _back_from(reader: Reader, month: Month) -> Iterator[Month]:
    """The months that are there, from this one back."""
    for earlier in reversed(reader.months()):
        if earlier <= month:
            if reader.manifest(earlier).removed:
                break
            yield earlier


def _restating(
    reader: Reader, month: Month, slot: int, rows: pl.DataFrame, seen: Adopted
) -> pl.DataFrame:
    """Of the rows at a snapshot, those that were not there for who has seen these slots: they say
    what held for him before, and their keys were touched by what he has not seen.
    """
    provider = reader.provider
    key = list(provider.key)
    since = _last_snapshot(reader, month, slot, seen)
    between = reader.changes(Criteria(since, reader.dataset.slot(month, slot).start))

    parts = [between.clear()]
    for each in _back_from(reader, month):
        parts.append(_of_slots(between, each, seen.slots(each), reader))
    known = pl.concat(parts).sort([*key, TIME])
    unknown = between.join(known, on=[*key, TIME], how="anti")
    touched = rows.join(unknown, on=key, how="semi")
    if not touched.height:
        return touched

    base = reader.first_state() if since is None else reader.state_before(since)
    state = overlay(base, last_rows(known, provider), provider)
    lives = pl.lit(value=True).alias(_BEFORE)
    earlier = state.select(*key, lives, pl.col(provider.value_columns).name.suffix(_BEFORE))
    both = touched.join(earlier, on=key, how="left")
    same = pl.col(_BEFORE).is_not_null()
    for name in provider.value_columns:
        same &= pl.col(name).eq_missing(pl.col(name + _BEFORE))
    gone = pl.col(CEASED) & pl.col(_BEFORE).is_null()
    return both.filter(gone | (~pl.col(CEASED) & same)).select(rows.columns)


def _last_snapshot(reader: Reader, month: Month, slot: int, seen: Adopted) -> datetime | None:
    """The end of the last slot before with a snapshot that was seen."""
    for earlier in _back_from(reader, month):
        known = reader.view(earlier).observed & seen.slots(earlier)
        last = known.before(slot) if earlier == month else known.last
        if last is not None:
            return reader.dataset.slot(earlier, last).end
    return None
