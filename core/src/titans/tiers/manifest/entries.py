"""What a manifest lists: files of change points, keyframes, and files that wait for removal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property, partial
from typing import Any

from attrs import fields, frozen

from titans.layout import KeyframeName, WarmName
from titans.slots import DAY_MINUTES, NO_SLOTS, SlotSet, iso, parse_iso
from titans.tiers.files.metadata import Contents, FileInfo
from titans.tiers.files.reading import flag, hex_digits, integer, sequence, shown, text

__all__ = ["FileEntry", "Keyframe", "Pending", "dump_json", "slots"]

MOST_SLOTS = 31 * DAY_MINUTES
"""No month has more slots."""

dump_json = partial(json.dumps, separators=(",", ":"))


@frozen(kw_only=True)
class FileEntry(Contents):
    """A live file of the month."""

    file: str
    """Bare name of a warm file, full key of a hot file."""
    level: int
    first: int
    """First and last slot its rows belong to."""
    last: int
    slots: SlotSet
    """The slots whose observations it holds (none for a correction)."""
    bytes: int

    @property
    def is_correction(self) -> bool:
        return self.file.startswith("C_")

    @property
    def is_border(self) -> bool:
        """It holds what the full snapshot of its slot changes against the state before it."""
        return self.file.startswith("B_")

    @property
    def is_hot(self) -> bool:
        return "/" in self.file

    @property
    def number(self) -> int:
        """The number in the name of a merged file; 0 for others."""
        name = WarmName.parse(self.file)
        if name is None or name.id is None:
            return 0
        return name.id

    @classmethod
    def of(cls, file: str, level: int, first: int, last: int, info: FileInfo) -> FileEntry:
        return cls(
            file=file,
            level=level,
            first=first,
            last=last,
            slots=info.slots,
            bytes=info.size,
            **info.contents,
        )

    @cached_property
    def text(self) -> str:
        """As it stands in the manifest, after its name."""
        data = {
            "hot_range": [self.first, self.last],
            "slots": self.slots.to_json(),
            "bytes": self.bytes,
        }
        return dump_json(data | self.contents_to_json())

    @classmethod
    def from_json(cls, data: Mapping[str, Any], level: int) -> FileEntry:
        """Raises `KeyError`, `TypeError`, `ValueError` where a field is missing or wrong."""
        first, last = sequence(data, "hot_range", int)
        if not 0 <= first <= MOST_SLOTS > last >= 0:
            raise ValueError(f"hot_range is {shown(first)} to {shown(last)}")
        return cls(
            file=text(data, "file"),
            level=level,
            first=first,
            last=last,
            slots=slots(data, "slots"),
            bytes=integer(data, "bytes"),
            **cls.contents_from_json(data),
        )


@frozen
class Keyframe:
    """A file with a whole state: at the start of a slot, every key alive just before it, with its
    last change point; or the full snapshot of a slot.
    """

    file: str
    slot: int
    rows: int
    bytes: int
    hash: str
    """Content hash over all columns (`titans.changes.digest`)."""
    dependent: bool
    """No full snapshot of the month comes before it: it holds what earlier months left."""
    schema_version: int = 1

    @classmethod
    def of(cls, file: str, slot: int, info: FileInfo, *, dependent: bool = False) -> Keyframe:
        return cls(file, slot, info.rows, info.size, info.hash, dependent, info.schema_version)

    @property
    def is_full(self) -> bool:
        """It is a full snapshot: the state at the end of its slot, and no file but this says it."""
        return self.file.startswith("F_")

    @property
    def slots(self) -> SlotSet:
        """The slots whose observations it holds: its own, if it is a full snapshot."""
        return SlotSet(((self.slot, self.slot),)) if self.is_full else NO_SLOTS

    @cached_property
    def text(self) -> str:
        """As it stands in the manifest."""
        return dump_json({f.name: getattr(self, f.name) for f in fields(Keyframe)})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Keyframe:
        """Raises `KeyError`, `TypeError`, `ValueError` where a field is missing or wrong."""
        file, slot = text(data, "file"), integer(data, "slot", most=MOST_SLOTS)
        name = KeyframeName.parse(file)
        if name is None or name.slot != slot:
            raise ValueError(f"{file!r} is no keyframe of slot {slot}")
        return cls(
            file=file,
            slot=slot,
            rows=integer(data, "rows"),
            bytes=integer(data, "bytes"),
            hash=hex_digits(data, "hash", 16),
            dependent=flag(data, "dependent"),
            schema_version=integer(data, "schema_version", 1, default=1),
        )


@frozen
class Pending:
    """Files that no longer belong to the archive, to be removed once the grace period is over."""

    since: datetime | None
    """By the store's clock; `None` until the first commit after the one that put it here."""
    files: tuple[str, ...] = ()
    """Warm files by name."""
    slots: SlotSet = NO_SLOTS
    """Hot files by slot."""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest; the keys of its files are in a list of their own."""
        since = iso(self.since) if self.since else None
        return {"since": since, "files": len(self.files), "slots": self.slots.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], files: tuple[str, ...]) -> Pending:
        """Raises `KeyError`, `TypeError`, `ValueError` where a field is missing or wrong."""
        since = parse_iso(text(data, "since")) if data["since"] else None
        return cls(since, files, slots(data, "slots"))


def slots(data: Mapping[str, Any], name: str) -> SlotSet:
    """A list of intervals of slots, as many as a month may have.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    found = SlotSet.from_intervals(sequence(data, name, list))
    if found.last is not None and found.last >= MOST_SLOTS:
        raise ValueError(f"{name} has slot {shown(found.last)} in it")
    return found
