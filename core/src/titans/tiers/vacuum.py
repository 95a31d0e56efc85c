"""Vacuum: find what no manifest names, list it for removal, and remove what has been listed for a
grace period.

Nothing is removed that was not listed by a commit before. Orphans are: warm files and keyframes no
manifest names (of processes that lost a race or crashed), and hot files of adopted slots that are
neither live nor listed (a slot uploaded again). Hot files that nobody has adopted are data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from attrs import field, frozen

from titans.layout import Paths, WarmName
from titans.provider import Provider
from titans.slots import Month, Slot, SlotSet
from titans.store import Entry, ObjectStore
from titans.tiers.commit import Head, agree, commit, pause, read_head
from titans.tiers.deletion import GRACE, due, listed, remove, stamped
from titans.tiers.manifest import Manifest, Pending

__all__ = ["Inventory", "Vacuumed", "inventory", "vacuum"]

log = logging.getLogger("titans.vacuum")


@frozen
class Inventory:
    """The objects of a provider by month."""

    warm: Mapping[Month, Mapping[str, Entry]] = field(factory=dict)
    """File name → entry; manifests are not among them."""
    keyframes: Mapping[Month, Mapping[str, Entry]] = field(factory=dict)
    """File name → entry."""
    hot: Mapping[Month, Mapping[int, Entry]] = field(factory=dict)
    """Slot → entry."""
    manifests: frozenset[Month] = frozenset()
    youngest: datetime | None = None
    """When the latest of all was written: the store's clock shows at least this."""

    @property
    def months(self) -> tuple[Month, ...]:
        return tuple(sorted({*self.warm, *self.keyframes, *self.hot, *self.manifests}))


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
            self.removed + other.removed, self.listed + other.listed, self.waiting + other.waiting
        )


def inventory(store: ObjectStore, paths: Paths) -> Inventory:
    """Every object below the prefixes of the provider. What does not look like one of its files is
    passed over.
    """
    warm: dict[Month, dict[str, Entry]] = {}
    keyframes: dict[Month, dict[str, Entry]] = {}
    hot: dict[Month, dict[int, Entry]] = {}
    manifests: set[Month] = set()
    times: list[datetime] = []
    for entry in store.list(paths.warm_prefix + "/"):
        times.append(entry.last_modified)
        folder, _, name = entry.key.rpartition("/")
        month = paths.parse_manifest_key(f"{folder}/manifest.json")
        if month is not None and name == "manifest.json":
            manifests.add(month)
        elif month is not None and WarmName.parse(name) is not None:
            warm.setdefault(month, {})[name] = entry
    for entry in store.list(paths.state_prefix + "/"):
        times.append(entry.last_modified)
        if (parsed := paths.parse_keyframe_key(entry.key)) is not None:
            keyframes.setdefault(parsed[0], {})[parsed[1]] = entry
    for entry in store.list(paths.hot_prefix + "/"):
        times.append(entry.last_modified)
        try:
            slot = paths.parse_hot_key(entry.key)
        except ValueError:
            continue
        hot.setdefault(slot.month, {})[slot.index] = entry
    return Inventory(warm, keyframes, hot, frozenset(manifests), max(times, default=None))


def vacuum(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    *,
    grace: timedelta = GRACE,
    dry_run: bool = False,
    wait: Callable[[int], None] = pause,
) -> Vacuumed:
    """List orphans older than `grace` for removal, and remove what was listed `grace` ago; all
    months.

    With `dry_run`, nothing changes and the result says what would be listed and removed.

    Raises:
        ManifestError, FormatVersionError: some manifest cannot be read; nothing was listed or
            removed anywhere.
        CorruptFileError: a file that is to replace others is not what its manifest says; nothing of
            that month was removed.
    """
    found = inventory(store, paths)
    heads = {month: read_head(store, paths, provider, month) for month in found.months}
    result = Vacuumed()
    for head in heads.values():
        result += _month(store, paths, provider, found, head, grace, dry_run=dry_run, wait=wait)
    return result


def _month(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    found: Inventory,
    head: Head,
    grace: timedelta,
    *,
    dry_run: bool,
    wait: Callable[[int], None],
) -> Vacuumed:
    month = head.manifest.month
    orphans = _orphans(found, head.manifest, grace)
    if dry_run:
        ready = due(head, found.youngest, grace)
        return Vacuumed(
            tuple(k for p in ready for k in _keys(paths, month, p)),
            tuple(_keys(paths, month, orphans)),
            _count(head, ready),
        )

    def found_now(now: Head) -> Manifest | None:
        # Against the manifest as it is now: what has become live or was listed meanwhile is no
        # orphan.
        fresh = _orphans(found, now.manifest, grace)
        manifest = stamped(now)
        if fresh.files or fresh.slots:
            manifest = listed(manifest, fresh)
        return None if manifest == now.manifest else manifest

    if head.blob is None:
        agree(store, paths, provider, month)
    manifest = commit(store, paths, provider, month, found_now, wait=wait)
    if not manifest.pending:
        return Vacuumed()
    # One more commit stamps the new list, and tells by its own time what the store's clock shows.
    touch = commit(store, paths, provider, month, stamped, wait=wait)
    now = read_head(store, paths, provider, month)
    ready = due(now, found.youngest, grace)
    if not ready:
        return Vacuumed((), tuple(_keys(paths, month, orphans)), _count(now, ready))
    removal = remove(store, paths, provider, now.manifest, ready)
    commit(store, paths, provider, month, lambda h: _without(h, removal.done), wait=wait)
    log.info(
        "%s %s: removed %d object(s)",
        provider.name,
        month,
        len(removal.keys),
        extra={
            "provider": provider.name,
            "month": str(month),
            "files": len(removal.keys),
            "version": touch.version,
        },
    )
    return Vacuumed(removal.keys, tuple(_keys(paths, month, orphans)), _count(now, removal.done))


def _without(head: Head, gone: tuple[Pending, ...]) -> Manifest | None:
    manifest = stamped(head, frozenset(gone))
    return None if manifest == head.manifest else manifest


def _orphans(found: Inventory, manifest: Manifest, grace: timedelta) -> Pending:
    """Objects that the manifest neither names nor lists, older than the grace period."""
    old = None if found.youngest is None else found.youngest - grace
    live, listed = manifest.live, manifest.pending_files
    waiting = SlotSet()
    for pending in manifest.pending:
        waiting |= pending.slots

    def aged(entry: Entry) -> bool:
        return old is not None and entry.last_modified <= old

    hot = found.hot.get(manifest.month, {})
    warm = {**found.warm.get(manifest.month, {}), **found.keyframes.get(manifest.month, {})}
    return Pending(
        since=None,
        files=tuple(
            name for name, e in warm.items() if name not in live and name not in listed and aged(e)
        ),
        slots=SlotSet.of(
            i
            for i, e in hot.items()
            if i in manifest.adopted and e.key not in live and i not in waiting and aged(e)
        ),
    )


def _keys(paths: Paths, month: Month, pending: Pending) -> list[str]:
    hot = [paths.hot_key(Slot(month, i, paths.minutes)) for i in pending.slots]
    return [paths.file_key(month, name) for name in pending.files] + hot


def _count(head: Head, without: tuple[Pending, ...]) -> int:
    return sum(len(p.files) + len(p.slots) for p in head.manifest.pending if p not in without)
