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

from titans.errors import CorruptFileError, NotFound, RetryableError
from titans.layout import Paths, WarmName
from titans.provider import Provider
from titans.slots import Slot, SlotSet
from titans.store import ObjectStore
from titans.tiers.commit import Head
from titans.tiers.files import read_info
from titans.tiers.manifest import FileEntry, Manifest, Pending

__all__ = ["GRACE", "Removal", "due", "exists", "listed", "remove", "retire", "stamped"]

log = logging.getLogger("titans.deletion")

GRACE = timedelta(hours=1)
"""How long a reader may still use a file after it has left the archive."""


def exists(store: ObjectStore, key: str) -> bool:
    """Whether there is such an object now; one byte is read."""
    try:
        store.get_range(key, 0, 1)
    except NotFound:
        return False
    return True


def retire(manifest: Manifest, entries: Iterable[FileEntry]) -> Manifest:
    """`manifest` without `entries`, which are to be removed after the grace period."""
    gone = tuple(entries)
    names = {e.file for e in gone}
    pending = Pending(
        since=None,
        files=tuple(e.file for e in gone if not e.is_hot),
        slots=SlotSet.of(e.first for e in gone if e.is_hot),
    )
    return listed(
        evolve(manifest, files=tuple(f for f in manifest.files if f.file not in names)), pending
    )


def listed(manifest: Manifest, pending: Pending) -> Manifest:
    """`manifest` with files, of which it names none, listed for removal.

    No later file may get one of their names, not even from a process that read the manifest long
    ago: a removal that is repeated late would hit it.
    """
    ids = [parsed.id or 0 for name in pending.files if (parsed := WarmName.parse(name))]
    least = max([manifest.least_file_id, *(number + 1 for number in ids)])
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
        last = kept[-1] if kept else None
        if pending.since is not None:
            kept.append(pending)
        elif (
            last is not None
            and last.since is not None
            and _minute(last.since) == _minute(now)
            and last.since <= now
        ):
            kept[-1] = Pending(now, last.files + pending.files, last.slots | pending.slots)
        else:
            kept.append(evolve(pending, since=now))
    return evolve(manifest, pending=tuple(kept))


def _minute(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)


def due(head: Head, seen: datetime | None, grace: timedelta = GRACE) -> tuple[Pending, ...]:
    """The lists whose grace period is over.

    What the store's clock shows now is not known, but it shows at least `seen`, the time of its
    youngest object that the caller has come across, and the time at which the manifest was written.
    """
    if head.blob is None:
        return ()
    now = head.blob.last_modified if seen is None else max(seen, head.blob.last_modified)
    return tuple(p for p in head.manifest.pending if p.since is not None and now - p.since >= grace)


@frozen
class Removal:
    """What became of lists of files that were due."""

    keys: tuple[str, ...] = ()
    """Objects that are gone."""
    done: tuple[Pending, ...] = ()
    """Lists of which nothing is left to do."""


def remove(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    lists: Iterable[Pending],
) -> Removal:
    """Delete the objects of `lists`, by their keys. Where the store does not answer, the list stays
    for the next time.

    What the manifest still (or again) names as live stays. A hot file goes only if its slot was
    adopted and a live file that is there says in its own metadata that it holds the slot.
    """
    chosen = tuple(lists)
    if not chosen:
        return Removal()
    month, live = manifest.month, {f.file for f in manifest.files}
    slots = SlotSet()
    for pending in chosen:
        slots |= pending.slots
    proven = _proven(store, paths, provider, manifest, slots)
    gone: list[str] = []
    done: list[Pending] = []
    for pending in chosen:
        keys = [paths.file_key(month, name) for name in pending.files if name not in live]
        for index in pending.slots:
            key = paths.hot_key(Slot(month, index, paths.minutes))
            if key in live or index not in proven or index not in manifest.adopted:
                log.error("%s was to be removed, but no merged file holds its rows; it stays", key)
            else:
                keys.append(key)
        removed = [key for key in keys if _deleted(store, key)]
        gone += removed
        if len(removed) == len(keys):
            done.append(pending)
    return Removal(tuple(gone), tuple(done))


def _deleted(store: ObjectStore, key: str) -> bool:
    try:
        store.delete(key)
    except RetryableError as error:  # nothing waits for it: adopting and merging go on
        log.warning("%s is not removed this time: %s", key, error)
        return False
    return True


def _proven(
    store: ObjectStore, paths: Paths, provider: Provider, manifest: Manifest, slots: SlotSet
) -> SlotSet:
    """Those of `slots` that a merged file holds, by its own metadata."""
    proven = SlotSet()
    for entry in manifest.files:
        if entry.is_hot or not entry.slots & slots:
            continue
        start, key = (
            Slot(manifest.month, entry.first, paths.minutes),
            paths.file_key(manifest.month, entry.file),
        )
        try:
            info = read_info(store, key, provider, start, entry.bytes)
        except (NotFound, CorruptFileError) as error:
            log.error("%s proves nothing: %s", key, error)
            continue
        proven |= (
            info.slots if info.kind == "merged" else entry.slots
        )  # an earlier writer's file says nothing of itself
    return proven & slots
