"""Compaction: adopt what was uploaded, merge what is due, remove what has been replaced long enough ago."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from titans.errors import NotFound, TitansError
from titans.layout import Paths
from titans.provider import Provider
from titans.results import Compaction
from titans.slots import Month, Slot
from titans.store import ObjectStore
from titans.tiers.adopt import Adoption, adopt
from titans.tiers.commit import pause, read_head
from titans.tiers.deletion import due, remove
from titans.tiers.hot import HotFile
from titans.tiers.manifest import Manifest
from titans.tiers.merge import merge, next_merge

__all__ = ["Notify", "compact", "compact_month"]


class Notify(Protocol):
    """Told what happened."""

    def __call__(self, name: str, **fields: object) -> None: ...


def compact(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    slot: Slot | None = None,
    *,
    notify: Notify,
    wait: Callable[[int], None] = pause,
) -> Compaction:
    """Every month that has hot files; with `slot` only its month, and what is left of the one before.

    Raises:
        NotFound: `slot` has neither been adopted nor has it a hot file.
    """
    result = Compaction()
    months, seen = _listed(store, paths, slot)
    for month, keys in months.items():
        own = slot is not None and month == slot.month
        if slot is not None and own:
            keys.setdefault(slot.index, paths.hot_key(slot))  # the store's list may lag
        done, adoption = compact_month(store, paths, provider, month, keys, seen, notify=notify, wait=wait)
        if slot is not None and own and slot.index not in adoption.manifest.adopted:
            raise NotFound(
                f"{paths.hot_key(slot)} was not adopted: it is not there, or unreadable (see the log); upload it first"
            )
        result += done
    return result


def _listed(store: ObjectStore, paths: Paths, slot: Slot | None) -> tuple[dict[Month, dict[int, str]], datetime | None]:
    """Hot files by month, and when the youngest was written."""
    found: dict[Month, dict[int, str]] = {} if slot is None else {slot.month: {}}
    youngest: datetime | None = None
    start_after = "" if slot is None else paths.hot_month(slot.month.previous())
    for entry in store.list(paths.hot_prefix + "/", start_after):
        youngest = entry.last_modified if youngest is None else max(youngest, entry.last_modified)
        try:
            hot = paths.parse_hot_key(entry.key)
        except ValueError:
            continue
        if slot is not None and hot.month > slot.month:
            break
        found.setdefault(hot.month, {})[hot.index] = entry.key
    return dict(sorted(found.items())), youngest


def compact_month(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    keys: Mapping[int, str],
    seen: datetime | None,
    *,
    notify: Notify,
    wait: Callable[[int], None] = pause,
    own: HotFile | None = None,
) -> tuple[Compaction, Adoption]:
    """One month, whose hot files are `keys`, listed before; the youngest was written at `seen`.

    With `own`, a file that the caller has just written, adopting it is what counts: a failing merge is told, not raised.
    """
    head = read_head(store, paths, provider, month)
    ready = due(head, seen)
    removed = remove(store, paths, provider, head.manifest, ready)
    if removed:
        notify("files_removed", month=str(month), files=len(removed))
    adoption = adopt(store, paths, provider, month, keys, head=head, own=own, removed=ready, wait=wait)
    if adoption.slots:
        notify("slots_adopted", month=str(month), slots=len(adoption.slots), corrections=adoption.corrections)
    try:
        merges = _merge_due(store, paths, provider, adoption.manifest, notify, wait)
    except TitansError as error:
        if own is None:
            raise
        merges = 0
        notify("failed", operation="merge", error=type(error).__name__, reason=str(error))
    return Compaction(adopted=len(adoption.slots), merged=merges, removed=len(removed)), adoption


def _merge_due(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    notify: Notify,
    wait: Callable[[int], None],
) -> int:
    """Every merge that is due; how many this process did."""
    merges = 0
    while plan := next_merge(manifest):
        started = time.monotonic()
        try:
            manifest, entry = merge(store, paths, provider, manifest, plan, wait)
        except NotFound:
            newer = read_head(store, paths, provider, manifest.month).manifest
            if newer.version == manifest.version:
                raise
            manifest = newer  # another process has merged these meanwhile
            continue
        if entry is not None:
            merges += 1
            ms = round((time.monotonic() - started) * 1000)
            notify(
                "files_merged", month=str(manifest.month), level=plan.level, file=entry.file, rows=entry.rows,
                bytes=entry.bytes, ms=ms,
            )  # fmt: skip
    return merges
