"""What is due: which files are merged next, and at which slots keyframes are missing. Pure
functions of a manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from attrs import frozen

from titans.layout import FANOUT
from titans.tiers.manifest.entries import FileEntry
from titans.tiers.manifest.model import Manifest

__all__ = [
    "FANOUTS",
    "FINAL_ROWS",
    "KEYFRAME_LEAST",
    "KEYFRAME_ROWS",
    "LARGE_ROWS",
    "SMALL_FANOUT",
    "SMALL_RATIO",
    "SMALL_ROWS",
    "TOP",
    "Merge",
    "final_merge",
    "is_worth_a_keyframe",
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

LARGE_ROWS = 700_000
"""Files that have so many rows together become a final file at once, so that no merge takes longer
than a few seconds.
"""

FINAL_ROWS = 400_000
"""Final files grow past that many slots while they are small: up to so many rows."""

SMALL_FANOUT = 4
"""So many files of level 0 become one already, while they are small."""

SMALL_ROWS = 1_000
"""Files are small that have no more rows and slots than that, together."""

SMALL_RATIO = 16
"""A merge of small files takes in those before them up to so many times their size: each row is
written some ten times more, and a month of few rows is never more than two merged files.
"""

KEYFRAME_ROWS = 4
"""A keyframe is written where there are so many rows to read for each key of the last state,
"""

KEYFRAME_LEAST = 100_000
"""and so many in all: fewer are read in a few milliseconds."""


# --- merges ---------------------------------------------------------------------------------------


@frozen
class Merge:
    """Inputs, and the level of their output."""

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
    small = _small_merge(manifest)
    if small is not None:
        return small

    ordered = _by_adoption(manifest)
    for level in range(TOP):
        files = [entry for entry in ordered if entry.level == level]
        large = _first_large(files)
        if large:
            # Files of higher levels were adopted before these.
            before = [entry for entry in ordered if level < entry.level < TOP]
            return Merge(TOP, tuple(before or large))
        count = _fanout(manifest, level, files)
        if len(files) >= count:
            return Merge(level + 1, tuple(_with_corrections(files, count)))
    return None


def _fanout(manifest: Manifest, level: int, files: Sequence[FileEntry]) -> int:
    """How many files of a level become one."""
    # A full snapshot takes the place of the file that it would be, so that files end where
    # keyframes begin.
    if level == 0 and files and manifest.adopted.before(files[0].first) in manifest.full:
        return FANOUTS[level] - 1
    return FANOUTS[level]


def _first_large(files: Sequence[FileEntry]) -> Sequence[FileEntry]:
    """As many of the first files, two at least, as have very many rows; none if all have fewer."""
    rows = 0
    for count, entry in enumerate(files, 1):
        rows += entry.rows
        if rows >= LARGE_ROWS and count > 1:
            return _with_corrections(files, count)
    return ()


def _with_corrections(files: Sequence[FileEntry], count: int) -> Sequence[FileEntry]:
    """So many files, and the corrections that the adoption of the last one needed."""
    while count < len(files) and files[count].is_correction:
        count += 1
    return files[:count]


def _small_merge(manifest: Manifest) -> Merge | None:
    """What becomes one file because it is small: hot files, and the last merged files before them.

    None of the merged files that stay is less than `SMALL_RATIO` times all that come after it.
    """
    ordered = _by_adoption(manifest)
    hot = [entry for entry in ordered if entry.level == 0]
    taken = _first_small(hot)
    if len(taken) < SMALL_FANOUT:
        return None

    size = sum(map(_size, taken))
    passing = [entry for entry in ordered if 0 < entry.level < TOP]
    after = size
    first = len(passing)
    for at in reversed(range(len(passing))):
        if _size(passing[at]) <= max(SMALL_ROWS, SMALL_RATIO * after):
            first = at
        after += _size(passing[at])
    inputs = (*passing[first:], *taken)
    return Merge(max(1, inputs[0].level), inputs)


def _first_small(hot: Sequence[FileEntry]) -> list[FileEntry]:
    """As many of the first files of level 0 as are small together.

    The corrections that an adoption needed stay with the file that was adopted.
    """
    taken: list[FileEntry] = []
    size = 0
    for entry in hot:
        size += _size(entry)
        if size > SMALL_ROWS:
            break
        taken.append(entry)
    while taken and len(taken) < len(hot) and hot[len(taken)].is_correction:
        taken.pop()
    return taken


def _size(entry: FileEntry) -> int:
    """Rows, and records of slots, which take about as much."""
    return entry.rows + len(entry.slots)


def final_merge(manifest: Manifest) -> Merge | None:
    """The merge that brings what is left of all levels to its final form; `None` where there is
    nothing left.

    Final files that are smaller than they could be are taken in too, and become one.
    """
    ordered = _by_adoption(manifest)
    inputs = [entry for entry in ordered if entry.level < TOP]
    for entry in reversed(ordered):
        if entry.level < TOP:
            continue
        if not _fits(entry, inputs):
            break
        inputs.append(entry)
    if all(entry.level >= TOP for entry in inputs) and len(inputs) < 2:
        return None
    return Merge(TOP, tuple(entry for entry in ordered if entry in inputs))


def _fits(entry: FileEntry, others: Sequence[FileEntry]) -> bool:
    """Whether a final file and others may become one: they are few slots, or few rows."""
    slots, rows = len(entry.slots), entry.rows
    for other in others:
        slots += len(other.slots)
        rows += other.rows
    if slots <= prod(FANOUTS):
        return rows <= LARGE_ROWS
    return rows <= FINAL_ROWS


def _by_adoption(manifest: Manifest) -> list[FileEntry]:
    """Higher levels first, within a level as the manifest has them."""
    return sorted(_change_files(manifest), key=lambda entry: -entry.level)


def _change_files(manifest: Manifest) -> list[FileEntry]:
    """The files that may be merged: no full snapshots, and no borders."""
    files = []
    for entry in manifest.files:
        if not manifest.is_full(entry) and not entry.is_border:
            files.append(entry)
    return files


# --- keyframes ------------------------------------------------------------------------------------


def missing_keyframes(manifest: Manifest) -> list[int]:
    """Slots at which the month needs keyframes and has none, ascending.

    They stand where a final file ends, if what there is to read since the last whole state is many
    times the keys in it. A month without a full snapshot has one at its start, with what earlier
    months left, so that it stands alone.
    """
    trusted: dict[int, int] = {}
    for keyframe in manifest.keyframes:
        if keyframe.is_full or not (keyframe.dependent and manifest.dirty):
            # A full snapshot is the state at the end of its slot.
            trusted[keyframe.slot + keyframe.is_full] = keyframe.rows

    missing = []
    if manifest.adopted and not manifest.full and 0 not in trusted:
        missing.append(0)
    if manifest.full and not trusted:
        return missing  # the full snapshot is still a hot file, and gets its final form first
    rows = 0
    keys = trusted.get(0, 0)
    for slot, count in _ends(manifest):
        rows += count
        for start in sorted(trusted):
            if start <= slot:
                keys = trusted[start]
        if slot in trusted:
            rows = 0
        elif is_worth_a_keyframe(rows, keys):
            missing.append(slot)
            rows = 0
    missing += [slot for slot in _inside(manifest, trusted) if slot not in trusted]
    return sorted(set(missing))


def _inside(manifest: Manifest, trusted: Mapping[int, int]) -> list[int]:
    """Slots inside final files of very many rows: a state needs but a part of them.

    They are as far apart as the rows of a file say on the average.
    """
    slots: list[int] = []
    for entry in _change_files(manifest):
        before = [start for start in trusted if start <= entry.first]
        if entry.level < TOP or not before:
            continue
        keys = trusted[max(before)]
        apart = 2 * max(KEYFRAME_LEAST, KEYFRAME_ROWS * keys)
        held = list(entry.slots)
        step = max(1, round(len(held) * apart / max(1, entry.rows)))
        # A file that is not much longer than that has one at its end.
        if entry.rows >= 2 * apart:
            slots += held[step::step]
    return slots


def is_worth_a_keyframe(rows: int, keys: int) -> bool:
    """Whether reading on from the last state costs more than another one would.

    Args:
        rows: change points since the last state.
        keys: in that state.
    """
    return rows >= max(KEYFRAME_LEAST, KEYFRAME_ROWS * keys)


def _ends(manifest: Manifest) -> list[tuple[int, int]]:
    """Slots at which a final file ends and something follows, and the rows since the one before."""
    finals = [entry for entry in _change_files(manifest) if entry.level >= TOP]
    last = manifest.adopted.last or 0
    first_full = min(manifest.full, default=-1)
    ends = []
    rows = 0
    for entry in sorted(finals, key=lambda entry: entry.last):
        rows += entry.rows
        end = entry.last + 1
        crossed = any(other.first < end <= other.last for other in finals)
        if first_full < end <= last and not crossed:
            ends.append((end, rows))
            rows = 0
    return ends


def next_keyframe(manifest: Manifest, adopted: Iterable[int]) -> int | None:
    """The keyframe that ordinary compaction writes now: the newest one, unless slots before it came
    just now (`adopted`).

    The one at the start of a month is left to the sealing of the month before.
    """
    newest = max(missing_keyframes(manifest), default=0)
    if newest == 0 or any(slot < newest for slot in adopted):
        return None
    return newest


# --- borders --------------------------------------------------------------------------------------


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
