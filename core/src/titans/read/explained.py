"""From what a question told while it was asked, what it took: `Recorder` → `Explanation`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from attrs import evolve

from titans.read.explanation import MonthRead, RequestCount, StateBase, WaitingSlot
from titans.read.recorder import Recorder, StateMade, WaitingFound
from titans.store._watched import Request
from titans.tiers.files.selections import StoredFile
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.view import Full, MonthView

__all__ = ["counted", "months_of", "round_trips", "states_of", "waited", "waiting_of"]


# --- requests -------------------------------------------------------------------------------------


def counted(requests: Sequence[Request]) -> tuple[RequestCount, ...]:
    """By kind, in the order of their names."""
    found = []
    for kind in sorted({each.kind for each in requests}):
        some = [each for each in requests if each.kind == kind]
        seconds = sum(each.ended - each.began for each in some)
        size = sum(each.bytes for each in some)
        found.append(RequestCount(kind, len(some), size, 1000 * seconds))
    return tuple(found)


def round_trips(requests: Sequence[Request]) -> int:
    """The longest row of requests of which each began when the one before was answered."""
    count, answered = 0, float("-inf")
    for each in sorted(requests, key=lambda request: request.ended):
        if each.began >= answered:
            count += 1
            answered = each.ended
    return count


def waited(requests: Sequence[Request]) -> float:
    """Milliseconds in which at least one of them was under way."""
    seconds, until = 0.0, float("-inf")
    for each in sorted(requests, key=lambda request: request.began):
        seconds += max(0.0, each.ended - max(each.began, until))
        until = max(until, each.ended)
    return 1000 * seconds


# --- months, states, waiting slots ----------------------------------------------------------------


def months_of(told: Recorder) -> tuple[MonthRead, ...]:
    """As they were seen last, ascending."""
    found = {}
    for month, manifest, is_there in told.months:
        files, keyframes = len(manifest.files), len(manifest.keyframes)
        found[month] = MonthRead(str(month), is_there, manifest.version, files, keyframes)
    return tuple(found[month] for month in sorted(found))


def states_of(told: Recorder) -> tuple[StateBase, ...]:
    """Each once, in the order in which they were made."""
    found = dict.fromkeys(_base(state) for state in told.states)
    return tuple(found)


def _base(state: StateMade) -> StateBase:
    base = _newest_base(state)
    if state.applied is None:
        return base
    why = f"{base.why}; to see what the late slot {state.applied:%Y-%m-%d %H:%M} changes later"
    return evolve(base, why=why)


def _newest_base(state: StateMade) -> StateBase:
    view, end = state.view, state.end
    month = str(view.month)
    keyframe, full = view.keyframe(end), view.last_full(end)
    if keyframe is not None:
        why = "the newest before that" + _passed_over(state, keyframe.slot)
        slot, key = view.slot(keyframe.slot).start, view.dataset.key(view.month, keyframe.file)
        rows, size = keyframe.rows, keyframe.bytes
        return StateBase(month, end, "keyframe", slot, key, rows, size, why)

    if full is not None:
        why = "newer than any keyframe before that" + _passed_over(state, full.slot)
        slot = view.slot(full.slot).start
        key, rows, size = _full_file(view, full)
        return StateBase(month, end, "full snapshot", slot, key, rows, size, why)

    none = f"no keyframe of {month} lies before that" + _passed_over(state, -1)
    if state.has_earlier:
        why = f"{none}; from what earlier months left"
        return StateBase(month, end, "earlier months", None, "", 0, 0, why)
    why = f"{none}, and no earlier month; from the first change point on"
    return StateBase(month, end, "nothing", None, "", 0, 0, why)


def _passed_over(state: StateMade, base: int) -> str:
    """What to say of newer keyframes that may not be used."""
    view = state.view
    newer = []
    for keyframe in view.manifest.keyframes:
        is_before = view.slot(keyframe.slot).start <= state.end
        if base < keyframe.slot and is_before and not keyframe.is_full:
            newer.append(keyframe)
    unused = [each for each in newer if each not in view.keyframes]
    if not unused:
        return ""

    late = [slot for slot in view.records if slot < max(each.slot for each in unused)]
    reason = "earlier months changed since they were made"
    if late:
        slots = ", ".join(f"{view.slot(slot).start:%Y-%m-%d %H:%M}" for slot in sorted(late)[:3])
        reason = f"slots before them are not adopted yet ({slots})"
    return f"; {len(unused)} newer may not be used: {reason}"


def _full_file(view: MonthView, full: Full) -> tuple[str, int, int]:
    """Key, rows and bytes of a full snapshot."""
    file = full.data
    if not isinstance(file, StoredFile):
        return "", file.height, 0
    if file.waiting is not None:
        return file.key, file.waiting.rows, file.size
    rows = 0
    entries: list[FileEntry | Keyframe] = [*view.manifest.files, *view.manifest.keyframes]
    for entry in entries:
        if view.dataset.key(view.month, entry.file) == file.key:
            rows = entry.rows
    return file.key, rows, file.size


def waiting_of(told: Recorder) -> tuple[WaitingSlot, ...]:
    """As they were seen last, ascending."""
    found: dict[datetime, WaitingSlot] = {}
    for each in told.waiting:
        for slot in _waiting_slots(each):
            found[slot.slot] = slot
    return tuple(found[slot] for slot in sorted(found))


def _waiting_slots(found: WaitingFound) -> Iterator[WaitingSlot]:
    view = found.view
    last = view.manifest.adopted.last
    for info in found.applied:
        slot = view.slot(info.record.slot)
        key = view.dataset.paths.hot_key(slot)
        is_late = last is not None and slot.index < last
        yield WaitingSlot(slot.start, key, info.record.kind, info.rows, info.size, is_late, "")
    for left in found.left_out:
        slot = view.slot(left.slot)
        is_late = last is not None and slot.index < last
        yield WaitingSlot(slot.start, left.key, "", 0, 0, is_late, str(left.error))
