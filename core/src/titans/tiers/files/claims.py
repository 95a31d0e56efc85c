"""What an upload says beside its rows: that they are all that changed, or that nothing did.

It says nothing of the keys that are not among the rows but that they are as they were. So an upload
is no snapshot, whatever it claims: no diff is taken against it, and it corrects nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from attrs import frozen

from titans.slots import NO_SLOTS, SlotSet
from titans.tiers.files.reading import sequence

__all__ = ["NO_CLAIMS", "Claim", "Claims"]

Claim = Literal["", "complete", "empty", "retracted"]
"""Of an upload: nothing beside its rows; that they are all that changed since the uploader's last
look; that it looked, and nothing had changed. Or of a slot, that what it held counts for nothing.
"""


@frozen
class Claims:
    """Of the slots of uploads: those that say more than their rows do."""

    complete: SlotSet = NO_SLOTS
    """What was uploaded is all that changed since the uploader's last look."""
    empty: SlotSet = NO_SLOTS
    """Of these, the slots in which that is nothing."""
    retracted: SlotSet = NO_SLOTS
    """Slots that say nothing any more, as if nobody had looked."""

    @classmethod
    def of(cls, claims: Iterable[tuple[int, Claim]]) -> Claims:
        """From slots and their claims."""
        said = [(slot, claim) for slot, claim in claims if claim]
        return cls(
            SlotSet.of(slot for slot, claim in said if claim != "retracted"),
            SlotSet.of(slot for slot, claim in said if claim == "empty"),
            SlotSet.of(slot for slot, claim in said if claim == "retracted"),
        )

    def __bool__(self) -> bool:
        return bool(self.complete or self.retracted)

    def __or__(self, other: Claims) -> Claims:
        if not other:
            return self
        return Claims(
            self.complete | other.complete,
            self.empty | other.empty,
            self.retracted | other.retracted,
        )

    def without(self, slots: SlotSet) -> Claims:
        """What is said of other slots."""
        return Claims(self.complete - slots, self.empty - slots, self.retracted - slots)

    def of_slot(self, slot: int) -> Claim:
        if slot in self.retracted:
            return "retracted"
        if slot in self.empty:
            return "empty"
        return "complete" if slot in self.complete else ""

    def to_json(self) -> dict[str, Any]:
        """Fields of a file's metadata or a manifest; none where nothing is claimed."""
        data = {}
        if self.complete:
            data["complete"] = self.complete.to_json()
        if self.empty:
            data["empty"] = self.empty.to_json()
        if self.retracted:
            data["retracted"] = self.retracted.to_json()
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any], within: SlotSet) -> Claims:
        """The inverse of `to_json`; `within` are the slots there are.

        Raises:
            TypeError, ValueError: the fields are none, or name slots that are not there.
        """
        complete, empty = _slots(data, "complete"), _slots(data, "empty")
        retracted = _slots(data, "retracted")
        if (complete | retracted) - within or empty - complete or retracted & complete:
            raise ValueError("it claims something of slots that it does not hold")
        return cls(complete, empty, retracted)


NO_CLAIMS = Claims()


def _slots(data: Mapping[str, Any], name: str) -> SlotSet:
    if name not in data:
        return NO_SLOTS
    return SlotSet.from_intervals(sequence(data, name, list))
