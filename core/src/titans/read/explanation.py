"""What a question took, and why: values, and how they are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from attrs import asdict, field, frozen

from titans.html import facts, table
from titans.slots import TICK, iso

__all__ = [
    "Explanation",
    "FileUse",
    "Kind",
    "MonthRead",
    "RequestCount",
    "Skipped",
    "Source",
    "StateBase",
    "WaitingSlot",
]

Kind = Literal["merged", "border", "hot", "correction", "keyframe", "full snapshot"]
Source = Literal["store", "kept", "mapped", ""]
Skipped = Literal["", "slots", "keyframe", "key bounds", "row groups", "no rows", "not asked"]

_SHOWN = 20
_SKIPPED = {
    "slots": "outside of the time",
    "keyframe": "in the keyframe or full snapshot already",
    "key bounds": "by their least and greatest key",
    "row groups": "by the statistics of their row groups",
    "no rows": "without rows",
    "not asked": "of whose rows nothing is asked",
}


@frozen
class MonthRead:
    """A month that was looked at."""

    month: str
    """Like `"2026-01"`."""
    has_manifest: bool
    version: int
    """Of the manifest: how often it was written."""
    files: int
    """Of change points, that it names."""
    keyframes: int


@frozen
class StateBase:
    """What a state was made from: where reading began, so that no earlier change point counts."""

    month: str
    end: datetime
    """The state is that after all change points before this."""
    kind: Literal["keyframe", "full snapshot", "earlier months", "nothing"]
    slot: datetime | None
    """The start of its slot; `None` where there is no file of it."""
    key: str
    """Of its file."""
    rows: int
    bytes: int
    why: str
    """In a sentence."""


@frozen
class WaitingSlot:
    """A hot file that nobody has adopted yet. Readers apply it all the same."""

    slot: datetime
    """Its start."""
    key: str
    kind: str
    """`changes`, `diff` or `full`; empty where that is not known."""
    rows: int
    bytes: int
    is_late: bool
    """Something later is adopted already."""
    left_out: str
    """Why it does not count; empty where it does."""


@frozen
class FileUse:
    """A file of change points or of a state, and what was needed of it."""

    key: str
    month: str
    kind: Kind
    level: int | None
    """`None` for keyframes and what is not adopted yet."""
    first: datetime
    """The start of the first slot its rows belong to."""
    last: datetime
    """The start of the last one."""
    rows: int
    bytes: int
    """Of the whole file."""
    source: Source
    """Where its rows come from: the `store`, what was `kept` of an earlier question, or a file on
    this machine that is `mapped`; empty where none are read.
    """
    skipped_by: Skipped
    """What said that it has no rows for the answer; empty where rows are read."""
    row_groups: int | None
    """That are read. `None`: all of them, or whoever reads the file decides that."""
    row_groups_of: int | None
    """That the file has; `None` where it was not asked."""
    needed: int | None
    """Bytes of the row groups and columns that are read, kept ones included; `None` where that is
    not known.
    """
    fetched: int
    """Bytes that requests for it brought, its footer included."""
    requests: int
    """For it."""


@frozen
class RequestCount:
    """Requests of a kind."""

    kind: str
    """`list`, `get`, `get_range`, `head`."""
    count: int
    bytes: int
    ms: float
    """The sum; several may have been under way at once."""


@frozen
class Explanation:
    """What a question took, and why."""

    question: str
    """As it was asked."""
    provider: str
    store: str
    """Its URL, without credentials."""
    ran: bool
    """Whether it was answered; else its files were found, and no rows read."""
    rows: int | None
    """Of the answer; `None` where it was not asked for."""
    ms: float
    """From the question to its answer."""
    waited_ms: float
    """While at least one request was under way."""
    looks: int
    """At the archive: more than one where files changed meanwhile, and the question was asked
    again, or where it is answered in several steps.
    """
    round_trips: int
    """The longest row of requests of which each began when the one before was answered."""
    requests: tuple[RequestCount, ...]
    months: tuple[MonthRead, ...] = field(repr=False)
    states: tuple[StateBase, ...] = field(repr=False)
    waiting: tuple[WaitingSlot, ...] = field(repr=False)
    files: tuple[FileUse, ...] = field(repr=False)
    """Of the months, those that were read before those that were not."""

    @property
    def fetched(self) -> int:
        """Bytes that came from the store."""
        return sum(each.bytes for each in self.requests)

    @property
    def read(self) -> tuple[FileUse, ...]:
        """The files of which rows are read."""
        return tuple(each for each in self.files if each.source)

    def to_json(self) -> dict[str, Any]:
        """As plain data: times as ISO text."""
        return asdict(self, value_serializer=_plain)

    def __str__(self) -> str:
        parts = [_title(self), "\n".join(_sentences(self))]
        for head, rows in (_file_table(self), _request_table(self)):
            if rows:
                parts.append(_aligned(head, rows))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        said = facts(_title(self), _facts(self))
        return said + table("Files", *_file_table(self)) + table("Requests", *_request_table(self))


def _plain(_instance: object, _attribute: object, value: Any) -> Any:
    return iso(value) if isinstance(value, datetime) else value


# --- in words -------------------------------------------------------------------------------------


def _title(found: Explanation) -> str:
    return f"{found.question} of {found.provider} in {found.store}"


def _facts(found: Explanation) -> list[tuple[str, str]]:
    """What is said besides the tables, by what it is about."""
    pairs = [("answer", _answer(found)), ("requests", _requests(found))]
    for month in found.months:
        pairs.append((f"month {month.month}", _month(month)))
    for state in found.states:
        pairs.append((f"state {_until(state.end)}", _state(state)))
    for slot in found.waiting:
        pairs.append((f"waiting {_minute(slot.slot)}", _waiting(slot)))
    skipped = Counter(each.skipped_by for each in found.files if each.skipped_by)
    for reason, count in skipped.most_common():
        pairs.append(("left out", f"{_count(count, 'file')} {_SKIPPED[reason]}"))
    return pairs


def _sentences(found: Explanation) -> list[str]:
    return [f"{about}: {said}" for about, said in _facts(found)]


def _answer(found: Explanation) -> str:
    read = found.read
    of = f"{len(read)} of {_count(len(found.files), 'file')}"
    if found.ran:
        return f"{_count(found.rows or 0, 'row')} in {found.ms:.1f} ms, from {of}"
    needed = sum(each.needed or 0 for each in read if each.source != "kept")
    return f"not asked for; it needs {of}, {_size(needed)} of them"


def _requests(found: Explanation) -> str:
    count = sum(each.count for each in found.requests)
    said = (
        f"{count:,} in {_count(found.round_trips, 'round trip')}, {_size(found.fetched)}, "
        f"{found.waited_ms:.1f} ms of waiting"
    )
    if found.looks > 1:
        said += f", in {found.looks} looks at the archive"
    return said


def _month(month: MonthRead) -> str:
    if not month.has_manifest:
        return "no manifest"
    return (
        f"manifest {month.version}, {_count(month.files, 'file')}, "
        f"{_count(month.keyframes, 'keyframe')}"
    )


def _state(state: StateBase) -> str:
    if state.slot is None:
        return state.why
    size = f"{_count(state.rows, 'row')}, {_size(state.bytes)}"
    return f"{state.kind} of {_minute(state.slot)} ({size}), {state.why}"


def _waiting(slot: WaitingSlot) -> str:
    if slot.left_out:
        return f"left out: {slot.left_out}"
    late = ", came late" if slot.is_late else ""
    return f"{slot.kind}, {_count(slot.rows, 'row')}, {_size(slot.bytes)}{late}; not adopted yet"


def _file_table(found: Explanation) -> tuple[list[str], list[list[str]]]:
    head = ["file", "kind", "slots", "rows", "kB", "row groups", "from", "needed kB", "fetched kB"]
    rows = []
    for each in found.read[:_SHOWN]:
        rows.append(
            [
                each.key.rpartition("/")[2],
                each.kind if each.level is None else f"{each.kind} L{each.level}",
                _slots(each),
                f"{each.rows:,}",
                _kb(each.bytes),
                _row_groups(each),
                each.source,
                _kb(each.needed),
                _kb(each.fetched),
            ]
        )
    if len(found.read) > _SHOWN:
        rows.append([f"… and {len(found.read) - _SHOWN:,} more", *[""] * (len(head) - 1)])
    return head, rows


def _request_table(found: Explanation) -> tuple[list[str], list[list[str]]]:
    rows = []
    for each in found.requests:
        rows.append([each.kind, f"{each.count:,}", _kb(each.bytes), f"{each.ms:.1f}"])
    return ["requests", "count", "kB", "ms"], rows


def _slots(file: FileUse) -> str:
    if file.first == file.last:
        return _minute(file.first)
    until = "%H:%M" if file.first.date() == file.last.date() else "%d %H:%M"
    return f"{_minute(file.first)} to {file.last:{until}}"


def _row_groups(file: FileUse) -> str:
    if file.row_groups is None:
        return "?" if file.needed is None else "all"
    return f"{file.row_groups} of {file.row_groups_of}"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _size(size: int) -> str:
    return f"{size / 1000:,.1f} kB"


def _kb(size: int | None) -> str:
    return "?" if size is None else f"{size / 1000:,.1f}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _until(end: datetime) -> str:
    """A state at a moment is that before the next microsecond."""
    at = end - TICK
    if at.microsecond == 0:
        return f"at {at:%Y-%m-%d %H:%M:%S}"
    return f"before {end:%Y-%m-%d %H:%M:%S}"


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in columns; those of numbers to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = []
        for place, cell in enumerate(row):
            is_number = head[place] in ("rows", "kB", "needed kB", "fetched kB", "count", "ms")
            cells.append(cell.rjust(widths[place]) if is_number else cell.ljust(widths[place]))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
