"""Deferred deletion. A file leaves the archive by a commit, and the store only after the grace
period.

Time is the store's own, never this machine's: a list of files is stamped with the time at which a
manifest that has it was written, and is due when an object a grace period younger has been seen in
the store.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from attrs import evolve, frozen

from titans.dataset import Dataset
from titans.errors import CorruptFileError, NotFound, RetryableError
from titans.layout import WarmName
from titans.slots import NO_SLOTS, SlotSet
from titans.store import ObjectStore
from titans.tiers.files.fetch import exists, read_info
from titans.tiers.manifest.commit import Head
from titans.tiers.manifest.entries import FileEntry, Keyframe, Pending
from titans.tiers.manifest.lost import may_hold
from titans.tiers.manifest.model import Manifest

__all__ = [
    "GRACE",
    "Removal",
    "due",
    "pending_keys",
    "remove",
    "stamped",
    "with_keyframe",
    "with_pending",
    "without_files",
    "without_keyframes",
]

log = logging.getLogger("titans.deletion")

GRACE = timedelta(hours=1)
"""How long a reader may still use a file after it has left the archive."""


# --- leaving the archive --------------------------------------------------------------------------


def without_files(manifest: Manifest, entries: Iterable[FileEntry]) -> Manifest:
    """`manifest` without some files, which are to be removed after the grace period."""
    retired = tuple(entries)
    names = {entry.file for entry in retired}
    pending = Pending(
        since=None,
        files=tuple(entry.file for entry in retired if not entry.is_hot),
        slots=SlotSet.of(entry.first for entry in retired if entry.is_hot),
    )
    kept = tuple(entry for entry in manifest.files if entry.file not in names)
    return with_pending(evolve(manifest, files=kept), pending)


def without_keyframes(manifest: Manifest, retired: Iterable[Keyframe]) -> Manifest:
    """`manifest` without some keyframes, which are to be removed after the grace period."""
    names = tuple(keyframe.file for keyframe in retired)
    if not names:
        return manifest
    kept = tuple(keyframe for keyframe in manifest.keyframes if keyframe.file not in names)
    return with_pending(evolve(manifest, keyframes=kept), Pending(None, names))


def with_keyframe(manifest: Manifest, keyframe: Keyframe) -> Manifest:
    """`manifest` with one keyframe more."""
    keyframes = sorted((*manifest.keyframes, keyframe), key=lambda each: (each.slot, each.file))
    return evolve(manifest, keyframes=tuple(keyframes))


def with_pending(manifest: Manifest, pending: Pending) -> Manifest:
    """`manifest` with files, of which it names none, that are to be removed.

    No later file may get one of their names, not even from a process that read the manifest long
    ago: a removal that is repeated late would hit it.
    """
    least = manifest.least_file_id
    for file in pending.files:
        name = WarmName.parse(file)
        if name is not None and name.id is not None:
            least = max(least, name.id + 1)

    return evolve(
        manifest,
        pending=(*manifest.pending, pending),
        least_file_id=least,
        next_file_id=max(manifest.next_file_id, least),
    )


def stamped(head: Head, removed: frozenset[Pending] = frozenset()) -> Manifest:
    """The head's manifest without the lists in `removed`, and with a time for every list that has
    none yet.

    Such a list joins the one before, which then waits a little longer, where that got its time in
    the same minute: commits that follow each other closely must not make the manifest long.
    """
    manifest = head.manifest
    if head.blob is None or not manifest.pending:
        return manifest

    now = head.blob.last_modified
    kept: list[Pending] = []
    for pending in manifest.pending:
        if pending in removed:
            continue
        if pending.since is not None:
            kept.append(pending)
        elif kept and _same_minute(kept[-1], now):
            last = kept[-1]
            kept[-1] = Pending(now, last.files + pending.files, last.slots | pending.slots)
        else:
            kept.append(evolve(pending, since=now))
    return evolve(manifest, pending=tuple(kept))


def _same_minute(pending: Pending, now: datetime) -> bool:
    """Whether it got its time in the minute of `now`, and not after it."""
    since = pending.since
    if since is None or since > now:
        return False
    return since.replace(second=0, microsecond=0) == now.replace(second=0, microsecond=0)


def due(head: Head, seen: datetime | None, grace: timedelta = GRACE) -> tuple[Pending, ...]:
    """The lists whose grace period is over.

    What the store's clock shows now is not known, but it shows at least `seen`, the time of its
    youngest object that the caller has come across, and the time at which the manifest was written.
    """
    if head.blob is None:
        return ()
    now = head.blob.last_modified
    if seen is not None:
        now = max(now, seen)
    return tuple(p for p in head.manifest.pending if p.since is not None and now - p.since >= grace)


# --- leaving the store ----------------------------------------------------------------------------


@frozen
class Removal:
    """What became of lists of files that were due."""

    keys: tuple[str, ...] = ()
    """Objects that are removed."""
    done: tuple[Pending, ...] = ()
    """Lists of which nothing is left to do."""


def pending_keys(dataset: Dataset, manifest: Manifest, pending: Pending) -> list[str]:
    """The keys of all objects of a list."""
    month = manifest.month
    warm = [dataset.key(month, file) for file in pending.files]
    hot = [dataset.paths.hot_key(dataset.slot(month, index)) for index in pending.slots]
    return warm + hot


def remove(dataset: Dataset, manifest: Manifest, lists: Iterable[Pending]) -> Removal:
    """Delete the objects of `lists`, by their keys. Where the store does not answer, the list stays
    for the next time.

    What the manifest still (or again) names as live stays. A hot file goes only if its slot was
    adopted and a live file that is there says in its own metadata that it holds the slot; a merged
    file or a full snapshot only if that is so of every adopted slot it may hold, hot files among
    those that hold them.
    """
    chosen = tuple(lists)
    if not chosen:
        return Removal()

    slots = held = NO_SLOTS
    for pending in chosen:
        slots |= pending.slots
        for file in pending.files:
            held |= may_hold(file) & manifest.adopted
    proven = _read_proven(dataset, manifest, slots | held) & manifest.adopted
    if manifest.removed:
        proven = slots  # nothing else has to hold them
    live = manifest.live
    # What was not merged yet when a merge of it was given up.
    kept = held - proven - _find_hot(dataset, manifest, held - proven)

    removed: list[str] = []
    done: list[Pending] = []
    for pending in chosen:
        keys = []
        for file in pending.files:
            if file in live:
                continue
            key = dataset.key(manifest.month, file)
            if may_hold(file) & kept:
                log.error("%s was to be removed, but no other file holds its rows; it stays", key)
            else:
                keys.append(key)
        for index in pending.slots:
            key = dataset.paths.hot_key(dataset.slot(manifest.month, index))
            if key in live:
                continue
            if index in proven:
                keys.append(key)
            else:
                log.error("%s was to be removed, but no merged file holds its rows; it stays", key)
        deleted = [key for key in keys if _try_delete(dataset.store, key)]
        removed += deleted
        if len(deleted) == len(keys):
            done.append(pending)
    return Removal(tuple(removed), tuple(done))


def _try_delete(store: ObjectStore, key: str) -> bool:
    try:
        store.delete(key)
    except RetryableError as error:  # nothing waits for it: adopting and merging go on
        log.warning("%s is not removed this time: %s", key, error)
        return False
    return True


def _find_hot(dataset: Dataset, manifest: Manifest, slots: SlotSet) -> SlotSet:
    """Those of `slots` whose live hot files are there."""
    found = NO_SLOTS
    for entry in manifest.files:
        if entry.is_hot and entry.slots & slots and exists(dataset.store, entry.file):
            found |= entry.slots
    return found


def _read_proven(dataset: Dataset, manifest: Manifest, slots: SlotSet) -> SlotSet:
    """Those of `slots` that a merged file holds, or the file of a full snapshot, by its own
    metadata.
    """
    proven = NO_SLOTS
    for keyframe in manifest.keyframes:
        if keyframe.is_full and keyframe.slot in slots:
            proven |= _read_slots(dataset, manifest, keyframe)
    for entry in manifest.files:
        if entry.is_hot or not entry.slots & slots:
            continue
        proven |= _read_slots(dataset, manifest, entry)
    return proven & slots


def _read_slots(dataset: Dataset, manifest: Manifest, entry: FileEntry | Keyframe) -> SlotSet:
    """The slots that a file says it holds."""
    key = dataset.key(manifest.month, entry.file)
    try:
        info = read_info(dataset, key, dataset.slot(manifest.month, 0), entry.bytes)
    except (NotFound, CorruptFileError) as error:
        log.error("%s proves nothing: %s", key, error)
        return NO_SLOTS
    if info.kind == "legacy" and isinstance(entry, FileEntry):
        return entry.slots  # an earlier writer's file says nothing of itself
    return info.slots
