"""What is due: which files are merged next, and at which slots keyframes are missing. Pure
functions of a manifest.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from attrs import frozen

from titans.layout import FANOUT
from titans.tiers.manifest.entries import FileEntry
from titans.tiers.manifest.model import Manifest

__all__ = [
    "FANOUTS",
    "SPACING",
    "TOP",
    "Merge",
    "final_merge",
    "missing_borders",
    "missing_keyframes",
    "next_keyframe",
    "next_merge",
]

FANOUTS = (FANOUT, FANOUT, 3)
"""How many files of level 0, 1, … become one of the next: 8, 64 and 192 slots (docs/format.md has
the measurements).
"""

TOP = len(FANOUTS)
"""The highest level; its files are final."""

SPACING = 192
"""Slots between two keyframes (docs/format.md has the measurements)."""


# --- merges ---------------------------------------------------------------------------------------


@frozen
class Merge:
    """Inputs of one level, and the level of their output."""

    level: int
    inputs: tuple[FileEntry, ...]

    @property
    def is_final(self) -> bool:
        """Whether its output is merged no further."""
        return self.level >= TOP


def next_merge(manifest: Manifest) -> Merge | None:
    """The merge that is due, lowest level first; always the files adopted first, so that order is
    kept across levels.
    """
    for level in manifest.levels:
        files = [entry for entry in manifest.level(level) if not manifest.is_full(entry)]
        if level >= TOP or not files:
            continue
        count = FANOUTS[level]
        # A full snapshot takes the place of the file that it would be, so that files end where
        # keyframes begin.
        if level == 0 and manifest.adopted.before(files[0].first) in manifest.full:
            count -= 1
        if len(files) < count:
            continue
        # The corrections that an adoption needed stay with the file that was adopted.
        while count < len(files) and files[count].is_correction:
            count += 1
        return Merge(level + 1, tuple(files[:count]))
    return None


def final_merge(manifest: Manifest) -> Merge | None:
    """The merge that brings what is left of all levels to its final form; `None` where there is
    nothing left.

    A final file that is smaller than it could be, of an earlier sealing, is taken in too.
    """
    rows = []
    for entry in manifest.files:
        if not manifest.is_full(entry) and not entry.is_border:
            rows.append(entry)
    inputs = [entry for entry in rows if entry.level < TOP]
    if not inputs:
        return None

    most = prod(FANOUTS)
    count = sum(len(entry.slots) for entry in inputs)
    for entry in reversed(rows):
        if entry.level == TOP and len(entry.slots) < most and count + len(entry.slots) <= most:
            inputs.append(entry)
            count += len(entry.slots)

    # In order of adoption: higher levels first, within a level as the manifest has them.
    ordered = sorted(manifest.files, key=lambda entry: -entry.level)
    return Merge(TOP, tuple(entry for entry in ordered if entry in inputs))


# --- keyframes ------------------------------------------------------------------------------------


def missing_keyframes(manifest: Manifest) -> list[int]:
    """Slots at which a sealed month has keyframes and this one has none, ascending.

    Every `SPACING` slots, if there is anything in the slots since the one before. Before the first
    full snapshot there are none; a month without any has one at its start, with what earlier months
    left, so that it stands alone.
    """
    trusted = set()
    for keyframe in manifest.keyframes:
        if not keyframe.is_full and not (keyframe.dependent and manifest.dirty):
            trusted.add(keyframe.slot)
    return [slot for slot in _wanted(manifest) if slot not in trusted]


def next_keyframe(manifest: Manifest, adopted: Iterable[int]) -> int | None:
    """The keyframe that ordinary compaction writes now: the newest one, unless slots before it came
    just now (`adopted`).

    The one at the start of a month is left to the sealing of the month before.
    """
    newest = max(_wanted(manifest), default=0)
    if newest == 0 or newest not in missing_keyframes(manifest):
        return None
    if any(slot < newest for slot in adopted):
        return None
    return newest


def missing_borders(manifest: Manifest) -> list[int]:
    """Slots of full snapshots that are still hot files, or of which no file that may be used says
    what they changed; ascending.
    """
    done = set()
    moved = {keyframe.slot for keyframe in manifest.keyframes if keyframe.is_full}
    for entry in manifest.files:
        untrusted = manifest.dirty and manifest.is_dependent(entry)
        if entry.is_border and entry.first in moved and not untrusted:
            done.add(entry.first)
    return [slot for slot in sorted(manifest.full) if slot not in done]


def _wanted(manifest: Manifest) -> list[int]:
    """Slots at which a sealed month has keyframes."""
    last, first_full = manifest.adopted.last, min(manifest.full, default=None)
    if last is None:
        return []

    slots: set[int] = set()
    if first_full is None:
        slots.add(0)
    for low, high in manifest.adopted.intervals:
        for number in range(low // SPACING + 1, high // SPACING + 2):
            slot = number * SPACING
            if slot <= last and (first_full is None or slot > first_full):
                slots.add(slot)
    return sorted(slots)
