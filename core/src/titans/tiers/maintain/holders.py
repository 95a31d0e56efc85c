"""Which of the files that say they hold slots are the archive: every slot once, and of what a
rewrite replaced nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, frozen

from titans.layout import WarmName
from titans.slots import NO_SLOTS, SlotSet
from titans.tiers.files.metadata import FileInfo

__all__ = ["Holder", "choose"]


@frozen
class Holder:
    """A file that says it holds slots."""

    file: str
    size: int
    info: FileInfo

    @property
    def slots(self) -> SlotSet:
        return self.info.slots

    @property
    def rewritten(self) -> dict[int, int]:
        """Slot → the number of the last rewrite that touched it, as far as this file knows."""
        found: dict[int, int] = {}
        for rewrite in self.info.rewrites:
            for slot in rewrite.touched:
                found[slot] = max(rewrite.number, found.get(slot, 0))
        return found

    @property
    def order(self) -> tuple[int, int, int]:
        """Those that hold most come first; of the same size, the higher level, then the older."""
        name = WarmName.parse(self.file)
        if name is None:
            return (0, 0, 0)
        return (-len(self.slots), -name.level, name.id or 0)


def choose(holders: Sequence[Holder], waiting: SlotSet) -> list[Holder] | None:
    """As `_disjoint`, of the files that no rewrite has replaced.

    Of files that hold a slot, those count that know the last rewrite which touched it. Its files
    may be there without ever having been committed: then they do not hold what was merged since,
    and are passed over.
    """
    everything = NO_SLOTS
    for each in holders:
        everything |= each.slots
    numbers = {rewrite.number for each in holders for rewrite in each.info.rewrites}
    for given_up in [0, *sorted(numbers, reverse=True)]:
        kept = [h for h in holders if given_up not in {r.number for r in h.info.rewrites}]
        chosen = _disjoint(_not_replaced(kept), waiting)
        if chosen is None:
            continue
        held = NO_SLOTS
        for each in chosen:
            held |= each.slots
        if not everything - held - waiting:
            return chosen
    return None


def _not_replaced(holders: Sequence[Holder]) -> list[Holder]:
    """Those that know of each of their slots the last rewrite that touched it."""
    last: dict[int, int] = {}
    for each in holders:
        for slot, number in each.rewritten.items():
            last[slot] = max(number, last.get(slot, 0))
    kept = []
    for each in holders:
        if all(each.rewritten.get(slot, 0) == last.get(slot, 0) for slot in each.slots):
            kept.append(each)
    return kept


_STEPS = 100_000
"""So many choices are tried at most."""


def _disjoint(holders: Sequence[Holder], waiting: SlotSet) -> list[Holder] | None:
    """Files that together hold every slot that any of them holds, no slot twice; `None`: there is
    no such choice. Only where there is none otherwise, slots that wait as hot files are left out.

    Mostly the largest ones are right. But a merge that was cut short leaves its output beside its
    inputs, and these may be merged with others afterwards: then two of them overlap.
    """
    by_slot: dict[int, list[Holder]] = {}
    for each in sorted(holders, key=lambda holder: holder.order):
        for slot in each.slots:
            by_slot.setdefault(slot, []).append(each)
    return _Choice(by_slot).found() or _Choice(by_slot, frozenset(waiting)).found()


@define
class _Choice:
    """A search for files that hold every slot once."""

    by_slot: Mapping[int, list[Holder]]
    optional: frozenset[int] = frozenset()
    """Slots that may be left out."""
    steps: int = 0

    def found(self, done: frozenset[int] = frozenset()) -> list[Holder] | None:
        """Files for the slots that are not `done`."""
        self.steps += 1
        slot = min((slot for slot in self.by_slot if slot not in done), default=None)
        if slot is None:
            return []
        if self.steps > _STEPS:
            return None

        candidates = self.by_slot[slot]
        for each in candidates:
            if done.isdisjoint(each.slots):
                rest = self.found(done | {*each.slots})
                if rest is not None:
                    return [each, *rest]

        alike = {other for other in self.optional if self.by_slot.get(other) == candidates}
        return self.found(done | alike) if slot in alike else None
