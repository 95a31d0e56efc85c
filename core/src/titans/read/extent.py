"""What a range of an archive consists of: enough to tell later whether it still says the same.

Merges, seals and vacuums change files, and no answer. What changes the answer for a range is a slot
that came late, or a correction, in the range itself or in what reaches into it: the slots since the
last snapshot before the range. A snapshot says everything, so nothing earlier reaches past it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from attrs import frozen

from titans.read.reader import Reader
from titans.slots import BEGIN, TICK, Month, Slot, SlotSet, iso, parse_iso
from titans.tiers.manifest.view import MonthView

__all__ = ["Extent", "MonthExtent"]


@frozen
class MonthExtent:
    """The slots of a month that a range consists of."""

    month: Month
    slots: SlotSet
    """That hold something, adopted or not."""
    observed: SlotSet
    """Of these, full snapshots."""
    rewrites: int
    """The number of the month's last correction."""

    def to_json(self) -> list[Any]:
        slots, observed = self.slots.to_json(), self.observed.to_json()
        return [str(self.month), slots, observed, self.rewrites]

    @classmethod
    def from_json(cls, data: list[Any]) -> MonthExtent:
        month, slots, observed, rewrites = data
        return cls(
            Month.parse(month),
            SlotSet.from_intervals(slots),
            SlotSet.from_intervals(observed),
            int(rewrites),
        )


@frozen
class Extent:
    """What the change points with `start <= Time < end`, or the state at `end`, consist of."""

    since: datetime
    """What lies before this reaches into no part of the range."""
    end: datetime
    months: tuple[MonthExtent, ...]
    """Those that hold anything between `since` and `end`, ascending."""

    @classmethod
    def of_changes(cls, reader: Reader, start: datetime, end: datetime) -> Extent:
        """Of change points."""
        found = cls._of(reader, start, end)
        if not any(month.observed for month in found.months):
            # Uploads alone are what they are, whatever came before.
            return found
        return cls._of(reader, _last_snapshot(reader, start), end)

    @classmethod
    def of_state(cls, reader: Reader, end: datetime) -> Extent:
        """Of the state after all change points before `end`."""
        return cls._of(reader, _last_snapshot(reader, end), end)

    @classmethod
    def _of(cls, reader: Reader, since: datetime, end: datetime) -> Extent:
        months = []
        for view in _views(reader, since, end):
            extent = _of_month(view, since, end)
            if extent.slots:
                months.append(extent)
        return cls(since, end, tuple(months))

    def still_holds(self, reader: Reader) -> bool:
        """Whether the archive says the same of the range now."""
        now = Extent._of(reader, self.since, self.end)
        if [month.month for month in now.months] != [month.month for month in self.months]:
            return False
        for then, today in zip(self.months, now.months, strict=True):
            if (then.slots, then.observed) != (today.slots, today.observed):
                return False
            if self._is_rewritten(reader, then):
                return False
        return True

    def _is_rewritten(self, reader: Reader, then: MonthExtent) -> bool:
        """Whether a correction since then concerns slots of the range."""
        for rewrite in reader.manifest(then.month).rewrites:
            if rewrite.number <= then.rewrites:
                continue
            if rewrite.slot is None or rewrite.slot in then.slots:
                return True
        return False

    def to_json(self) -> dict[str, Any]:
        return {
            "since": iso(self.since),
            "end": iso(self.end),
            "months": [month.to_json() for month in self.months],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Extent:
        months = tuple(MonthExtent.from_json(month) for month in data["months"])
        return cls(parse_iso(data["since"]), parse_iso(data["end"]), months)


def _views(reader: Reader, since: datetime, end: datetime) -> Iterator[MonthView]:
    """The months of a range that hold anything."""
    for month in reader.months():
        if month.start < end and month.end > since:
            yield reader.view(month)


def _of_month(view: MonthView, since: datetime, end: datetime) -> MonthExtent:
    minutes, month = view.dataset.paths.minutes, view.month
    first = Slot.of(max(since, month.start), minutes).index
    last = Slot.of(min(end, month.end) - TICK, minutes).index
    within = SlotSet(((first, last),))
    slots, observed = view.adopted & within, view.observed & within
    return MonthExtent(month, slots, observed, view.manifest.last_rewrite)


def _last_snapshot(reader: Reader, moment: datetime) -> datetime:
    """The start of the last slot with a snapshot that is over at `moment`; the beginning where
    there is none.
    """
    minutes = reader.dataset.paths.minutes
    for month in reversed(reader.months()):
        if month.start >= moment:
            continue
        view = reader.view(month)
        last = view.observed.last
        if month.end > moment:
            last = view.observed.before(Slot.of(moment, minutes).index)
        if last is not None:
            return view.slot(last).start
    return BEGIN
