"""Vacuum: find what no manifest names, list it for removal, and remove what has been listed for a
grace period.

Nothing is removed that was not listed by a commit before.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from attrs import frozen

from titans.dataset import Dataset
from titans.slots import Month
from titans.tiers.maintain.inventory import Inventory, list_inventory, read_lost
from titans.tiers.manifest.commit import Head, check_agreement, commit, read_head
from titans.tiers.manifest.deletion import (
    GRACE,
    Removal,
    due,
    pending_keys,
    remove,
    stamped,
    with_pending,
)
from titans.tiers.manifest.entries import Pending
from titans.tiers.manifest.lost import lost_beginning, lost_slots, read_beginnings
from titans.tiers.manifest.model import Manifest

__all__ = ["Vacuumed", "vacuum"]

log = logging.getLogger("titans.vacuum")


@frozen
class Vacuumed:
    """What a vacuum did, or would do."""

    removed: tuple[str, ...] = ()
    """Keys of removed objects."""
    listed: tuple[str, ...] = ()
    """Keys of orphans that were listed for removal."""
    waiting: int = 0
    """Objects listed whose grace period is not over."""

    def __add__(self, other: Vacuumed) -> Vacuumed:
        return Vacuumed(
            self.removed + other.removed,
            self.listed + other.listed,
            self.waiting + other.waiting,
        )


def vacuum(dataset: Dataset, grace: timedelta = GRACE, *, dry_run: bool = False) -> Vacuumed:
    """List orphans older than `grace` for removal, and remove what was listed `grace` ago; all
    months.

    With `dry_run`, nothing changes and the result says what would be listed and removed.

    Raises:
        ManifestError, FormatVersionError: some manifest cannot be read, or does not know what
            merged files hold; nothing was listed or removed anywhere.
        CorruptFileError: a file that is to replace others is not what its manifest says; nothing of
            that month was removed.
    """
    inventory = list_inventory(dataset)
    heads = [_read_latest(dataset, inventory, month) for month in inventory.months]
    result = Vacuumed()
    for head in heads:
        if dry_run:
            result += _foreseen(dataset, inventory, head, grace)
        else:
            result += _vacuum_month(dataset, inventory, head, grace)
    return result


def _read_latest(dataset: Dataset, inventory: Inventory, month: Month) -> Head:
    """The manifest of a month, if it is the latest there was: what it does not name may be the only
    copy otherwise.
    """
    head = read_head(dataset, month)
    if read_lost(dataset, inventory, head.manifest):
        head = read_head(dataset, month)  # the inventory may just be newer
        unknown = read_lost(dataset, inventory, head.manifest)
        if unknown:
            raise lost_slots(dataset, month, unknown)
    if head.blob is None:
        beginnings = read_beginnings(dataset, month, inventory.keyframes.get(month, {}).values())
        if beginnings:
            raise lost_beginning(dataset, month, beginnings[-1][0])
    return head


def _foreseen(dataset: Dataset, inventory: Inventory, head: Head, grace: timedelta) -> Vacuumed:
    """What vacuum would do for a month."""
    manifest = head.manifest
    ready = due(head, inventory.youngest, grace)
    removed: list[str] = []
    for pending in ready:
        removed += pending_keys(dataset, manifest, pending)
    orphans = _old_orphans(inventory, manifest, grace)
    listed = pending_keys(dataset, manifest, orphans)
    return Vacuumed(tuple(removed), tuple(listed), _count(manifest, ready))


def _vacuum_month(dataset: Dataset, inventory: Inventory, head: Head, grace: timedelta) -> Vacuumed:
    month = head.manifest.month

    def list_orphans(now: Head) -> Manifest | None:
        # Against the manifest as it is now: what has become live or was listed meanwhile is no
        # orphan. It is newer than the inventory, so it knows what that shows.
        unknown = read_lost(dataset, inventory, now.manifest)
        if unknown and read_head(dataset, month).manifest.version != now.manifest.version:
            # What it names may have been merged and removed while files were looked at; the commit
            # is lost, and made again with the newer one.
            return stamped(now)
        if unknown:
            raise lost_slots(dataset, month, unknown)
        fresh = _old_orphans(inventory, now.manifest, grace)
        manifest = stamped(now)
        if fresh.files or fresh.slots:
            manifest = with_pending(manifest, fresh)
        return None if manifest == now.manifest else manifest

    if head.blob is None:
        check_agreement(dataset, month)
    listed = tuple(
        pending_keys(dataset, head.manifest, _old_orphans(inventory, head.manifest, grace))
    )
    manifest = commit(dataset, month, list_orphans)
    if not manifest.pending:
        return Vacuumed()

    # One more commit stamps the new list, and tells by its own time what the store's clock shows.
    commit(dataset, month, stamped)
    now = read_head(dataset, month)
    ready = due(now, inventory.youngest, grace)
    if not ready:
        return Vacuumed((), listed, _count(now.manifest))

    removal = remove(dataset, now.manifest, ready)
    commit(dataset, month, lambda later: _without(later, removal.done))
    _log_removed(dataset, now.manifest, removal)
    return Vacuumed(removal.keys, listed, _count(now.manifest, removal.done))


def _without(head: Head, removed: tuple[Pending, ...]) -> Manifest | None:
    manifest = stamped(head, frozenset(removed))
    return None if manifest == head.manifest else manifest


def _old_orphans(inventory: Inventory, manifest: Manifest, grace: timedelta) -> Pending:
    """Orphans older than the grace period."""
    if inventory.youngest is None:
        return Pending(None)
    return inventory.orphans(manifest, inventory.youngest - grace)


def _count(manifest: Manifest, without: tuple[Pending, ...] = ()) -> int:
    """How many objects wait for removal."""
    count = 0
    for pending in manifest.pending:
        if pending not in without:
            count += len(pending.files) + len(pending.slots)
    return count


def _log_removed(dataset: Dataset, manifest: Manifest, removal: Removal) -> None:
    name, month = dataset.provider.name, str(manifest.month)
    log.info(
        "%s %s: removed %d object(s)",
        name,
        month,
        len(removal.keys),
        extra={
            "provider": name,
            "month": month,
            "files": len(removal.keys),
            "version": manifest.version,
        },
    )
