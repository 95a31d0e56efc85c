"""What a rewrite was: who put other content in the place of what the archive held, when and why.

It stands in the manifest and in the metadata of every file that the rewrite touched. Of files that
hold the same slots, those that know the later rewrite count: that tells `repair` which came after
which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, cast, get_args

from attrs import evolve, frozen

from titans.slots import NO_SLOTS, SlotSet, iso, parse_iso
from titans.tiers.files.reading import hex_digits, integer, mapping, sequence, text
from titans.tiers.files.writers import Writer

__all__ = ["Operation", "Rewrite", "merged_rewrites", "rewrites_from_json", "rewrites_to_json"]

Operation = Literal["amend", "retract", "erase", "retain"]

_LATEST = 1 << 40
"""A version of a manifest beyond that is none."""


@frozen
class Rewrite:
    """One rewrite of a month."""

    number: int
    """The version of the manifest that it made: of two rewrites the later one has the greater."""
    id: str
    """16 hex digits: of one call, however often it had to begin again."""
    operation: Operation
    slot: int | None
    """The slot whose content is another one since; `None`: what all slots say may be."""
    touched: SlotSet
    """The slots of the files that it replaced."""
    at: datetime
    """By the store's clock, before it was committed."""
    writer: Writer
    reason: str
    before: str
    """Hash of the content that was there: of the slot's snapshot or upload; of the erased rows."""
    after: str
    """Hash of the content that took its place; of no rows, where nothing did."""
    removed: int
    """Change points that left the archive."""
    added: int
    """Change points that came."""

    def changes_state_at(self, slot: int) -> bool:
        """Whether the state at the snapshot of `slot` may be another one since."""
        if self.operation == "retain":
            return False
        return self.slot is None or self.slot == slot

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "id": self.id,
            "operation": self.operation,
            "slot": self.slot,
            "touched": self.touched.to_json(),
            "at": iso(self.at),
            "writer": self.writer.to_json(),
            "reason": self.reason,
            "before": self.before,
            "after": self.after,
            "removed": self.removed,
            "added": self.added,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rewrite:
        """Raises `KeyError`, `TypeError`, `ValueError` where a field is missing or wrong."""
        operation = text(data, "operation")
        if operation not in get_args(Operation):
            raise ValueError(f"{operation[:20]!r} is no rewrite")
        return cls(
            number=integer(data, "number", 1, _LATEST),
            id=hex_digits(data, "id", 16),
            operation=cast("Operation", operation),
            slot=None if data["slot"] is None else integer(data, "slot"),
            touched=SlotSet.from_intervals(sequence(data, "touched", list)),
            at=parse_iso(text(data, "at")),
            writer=Writer.from_json(mapping(data, "writer")),
            reason=text(data, "reason"),
            before=hex_digits(data, "before", 16),
            after=hex_digits(data, "after", 16),
            removed=integer(data, "removed"),
            added=integer(data, "added"),
        )


def merged_rewrites(lists: Iterable[Iterable[Rewrite]]) -> tuple[Rewrite, ...]:
    """Each rewrite once, ascending, with all slots that it touched."""
    found: dict[int, Rewrite] = {}
    for rewrites in lists:
        for each in rewrites:
            known = found.get(each.number)
            touched = NO_SLOTS if known is None else known.touched
            found[each.number] = evolve(each, touched=each.touched | touched)
    return tuple(found[number] for number in sorted(found))


def rewrites_to_json(rewrites: Iterable[Rewrite]) -> dict[str, Any]:
    """A field of a file's metadata or a manifest; none where there was no rewrite."""
    listed = [each.to_json() for each in rewrites]
    return {"rewrites": listed} if listed else {}


def rewrites_from_json(data: Mapping[str, Any]) -> tuple[Rewrite, ...]:
    """The inverse of `rewrites_to_json`.

    Raises:
        KeyError, TypeError, ValueError: the field is none.
    """
    if "rewrites" not in data:
        return ()
    found = (Rewrite.from_json(each) for each in sequence(data, "rewrites", dict))
    return merged_rewrites([found])
