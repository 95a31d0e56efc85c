"""Which files a question looked at, and what it needed of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from titans.dataset import Dataset
from titans.read.explanation import FileUse, Kind, Skipped, Source
from titans.read.recorder import Opened, Recorder
from titans.slots import Slot
from titans.store._watched import Request
from titans.tiers.files.footer import Footer, Group, footer_size
from titans.tiers.files.parts import FilePart
from titans.tiers.files.selections import StoredFile
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.view import MonthView, Part

__all__ = ["files_of"]


def files_of(dataset: Dataset, told: Recorder, requests: Sequence[Request]) -> tuple[FileUse, ...]:
    """Those that are read, by time, then those that are not."""
    asked = Counter(each.key for each in requests)
    fetched: Counter[str] = Counter()
    for each in requests:
        fetched[each.key] += each.bytes

    found = []
    for key, file in _known_files(told).items():
        opened = [each for each in told.opened if each.file.key == key]
        use = _use_of(dataset, opened)
        skipped = use.skipped
        if not opened:
            skipped = _skipped_by(file, told)
        found.append(
            FileUse(
                key=key,
                month=str(file.view.month),
                kind=file.kind,
                level=file.level,
                first=file.first.start,
                last=file.last.start,
                rows=file.rows,
                bytes=file.bytes,
                source=use.source,
                skipped_by=skipped,
                row_groups=use.groups,
                row_groups_of=use.groups_of,
                needed=use.needed,
                fetched=fetched[key],
                requests=asked[key],
            )
        )
    return tuple(sorted(found, key=lambda file: (not file.source, file.first, file.key)))


# --- what there is --------------------------------------------------------------------------------


@frozen(eq=False)
class _Described:
    """A file that a question looked at, as the archive knows it."""

    view: MonthView
    kind: Kind
    level: int | None
    first: Slot
    last: Slot
    rows: int
    bytes: int
    part: Part | None = None
    """`None`: a whole state, of which nothing is left out."""


def _known_files(told: Recorder) -> dict[str, _Described]:
    """By key, as they were seen last: the files of change points of the months that were asked for
    some, and what else was opened.
    """
    found: dict[str, _Described] = {}
    views = [pick.view for pick in told.picks] + [state.view for state in told.states]
    views += [each.view for each in told.waiting]
    for view in views:
        entries = _entries(view)
        for part in view.parts:
            if isinstance(part.data, StoredFile):
                key = part.data.key
                found[key] = _known_part(view, part, part.data, entries.get(key))

    for view in views:
        entries = _entries(view)
        for opened in told.opened:
            key = opened.file.key
            if key not in found and (key in entries or _is_waiting_in(opened.file, view)):
                found[key] = _known_state(view, opened.file, entries.get(key))
    return found


def _entries(view: MonthView) -> dict[str, FileEntry | Keyframe]:
    """By key, what the manifest says of its files."""
    entries: list[FileEntry | Keyframe] = [*view.manifest.files, *view.manifest.keyframes]
    return {view.dataset.key(view.month, entry.file): entry for entry in entries}


def _is_waiting_in(file: StoredFile, view: MonthView) -> bool:
    return file.waiting is not None and file.slot is not None and file.slot.month == view.month


def _known_part(
    view: MonthView, part: Part, file: StoredFile, entry: FileEntry | Keyframe | None
) -> _Described:
    if isinstance(entry, FileEntry):
        first, last = view.slot(entry.first), view.slot(entry.last)
        kind = _kind(entry)
        return _Described(view, kind, entry.level, first, last, entry.rows, entry.bytes, part)
    slot, rows = _waiting(file)
    return _Described(view, "hot", None, slot, slot, rows, file.size, part)


def _known_state(
    view: MonthView, file: StoredFile, entry: FileEntry | Keyframe | None
) -> _Described:
    """A keyframe, or a full snapshot."""
    if isinstance(entry, Keyframe):
        kind: Kind = "full snapshot" if entry.is_full else "keyframe"
        slot = view.slot(entry.slot)
        return _Described(view, kind, None, slot, slot, entry.rows, entry.bytes)
    if entry is not None:
        slot = view.slot(entry.first)
        return _Described(view, "full snapshot", entry.level, slot, slot, entry.rows, entry.bytes)
    slot, rows = _waiting(file)
    return _Described(view, "full snapshot", None, slot, slot, rows, file.size)


def _waiting(file: StoredFile) -> tuple[Slot, int]:
    """Slot and rows of a hot file that is not adopted yet."""
    if file.slot is None or file.waiting is None:
        raise LookupError(f"no manifest names {file.key}")
    return file.slot, file.waiting.rows


def _kind(entry: FileEntry) -> Kind:
    if entry.is_correction:
        return "correction"
    if entry.is_border:
        return "border"
    return "hot" if entry.is_hot else "merged"


def _skipped_by(file: _Described, told: Recorder) -> Skipped:
    """What said that a file has nothing for the question."""
    part, month = file.part, file.view.month
    if part is None:
        return ""
    if part.min_time is None or part.max_time is None:
        return "no rows"
    picks = [pick for pick in told.picks if pick.view.month == month]
    if not picks:
        return "not asked"
    if any(part.overlaps(*pick.span) for pick in picks):
        return "key bounds"
    for state in told.states:
        since = state.since
        if state.view.month == month and since is not None and part.max_time < since:
            return "keyframe"
    return "slots"


# --- what is needed of it -------------------------------------------------------------------------


@frozen(eq=False)
class _Use:
    """What is read of a file."""

    source: Source = ""
    skipped: Skipped = ""
    groups: int | None = None
    groups_of: int | None = None
    needed: int | None = None


def _use_of(dataset: Dataset, opened: Sequence[Opened]) -> _Use:
    """What all readings of a file need of it together."""
    if not opened:
        return _Use(needed=0)
    file = opened[0].file
    path = dataset.store.local_path(file.key)
    if path is not None:
        return _use_of_mapped(path, opened)

    source: Source = "kept" if all(each.is_kept for each in opened) else "store"
    parts = [each.part for each in opened if each.part is not None]
    if len(parts) < len(opened):
        return _Use(source, needed=file.size)
    return _use_of_parts(source, parts[0].footer, parts)


def _use_of_mapped(path: Path, opened: Sequence[Opened]) -> _Use:
    """Of a file on this machine: whoever reads it looks at the statistics in the same way."""
    footer = _read_footer(path)
    parts = []
    for each in opened:
        # The columns of an earlier schema have other names.
        if footer is None or each.needed is None or each.file.schema is not None:
            return _Use("mapped")
        groups = footer.groups_with(each.needed.where, each.needed.schema)
        parts.append(FilePart(each.file.remote, footer, groups, each.needed.columns))
    return _Use("mapped") if footer is None else _use_of_parts("mapped", footer, parts)


def _use_of_parts(source: Source, footer: Footer, parts: Sequence[FilePart]) -> _Use:
    groups: dict[int, Group] = {}
    for part in parts:
        groups.update((group.number, group) for group in part.groups)
    if not groups:
        return _Use("", "row groups", 0, len(footer.groups), 0)

    columns: frozenset[str] | None = frozenset()
    for part in parts:
        if columns is not None:
            columns = None if part.columns is None else columns | part.columns
    spans = footer.spans([groups[number] for number in sorted(groups)], columns)
    needed = sum(end - start for start, end in spans)
    return _Use(source, "", len(groups), len(footer.groups), needed)


def _read_footer(path: Path) -> Footer | None:
    """`None` where it is gone, or not understood."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            file.seek(max(0, size - 8))
            length = footer_size(file.read())
            file.seek(max(0, size - length))
            return Footer.of(file.read())
    except (OSError, ValueError):
        return None
