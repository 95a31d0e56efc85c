"""Compaction: adopt what was uploaded, merge what is due, remove what has been replaced long enough
ago.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from attrs import evolve

from titans.errors import CorruptFileError, InputError, NotFound, TitansError
from titans.layout import Paths
from titans.provider import Provider
from titans.results import Compaction
from titans.slots import Month, Slot
from titans.store import ObjectStore
from titans.tiers.adopt import Adoption, adopt
from titans.tiers.budget import Budget
from titans.tiers.commit import Head, admitted, commit, pause, read_head
from titans.tiers.deletion import due, remove, stamped
from titans.tiers.hot import HotFile, list_all_hot, list_hot
from titans.tiers.keyframes import build_keyframe, missing_keyframes, next_keyframe
from titans.tiers.manifest import Manifest
from titans.tiers.merge import Merge, final_merge, merge, next_merge

__all__ = ["SEAL_DELAY", "Notify", "compact", "compact_month", "seal", "settle"]


UNLIMITED = Budget()

SEAL_DELAY = timedelta(days=1)
"""How far the archive has to go on after the end of a month before compaction seals that month by
itself."""


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
    budget: Budget = UNLIMITED,
    written: HotFile | None = None,
) -> Compaction:
    """Every month that has hot files; with `slot` only its month, and what is left of the one
    before.

    `written` is a file that the caller knows to be there: it is not read. Adoption is not held up
    by the budget; in each month one merge is made even where it is spent, so that there is
    progress.

    Raises:
        NotFound: `slot` has neither been adopted nor has it a hot file.
    """
    result = Compaction()
    months, seen = _listed(store, paths, slot)
    for month, keys in months.items():
        own = slot is not None and month == slot.month
        if slot is not None and own:
            keys.setdefault(slot.index, paths.hot_key(slot))  # the store's list may lag
        known = written if written is not None and written.slot.month == month else None
        done, adoption = compact_month(
            store,
            paths,
            provider,
            month,
            keys,
            seen,
            notify=notify,
            wait=wait,
            budget=budget,
            written=known,
        )
        if slot is not None and own and slot.index not in adoption.manifest.adopted:
            raise NotFound(
                f"{paths.hot_key(slot)} was not adopted: it is not there, or unreadable (see the "
                "log); upload it first"
            )
        result += done
    newest = max(
        (Slot(m, max(keys), paths.minutes).start for m, keys in months.items() if keys),
        default=None,
    )
    if newest is not None and (
        slot is None or result.merged
    ):  # a collector looks at the month before in one slot of eight
        months.setdefault(Month.of(newest).previous(), {})
    for month in months:
        if newest is not None and newest >= month.end + SEAL_DELAY and not budget.spent:
            result += _seal_further(store, paths, provider, month, notify, wait, budget)
    return result


def _seal_further(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    notify: Notify,
    wait: Callable[[int], None],
    budget: Budget,
) -> Compaction:
    """One step towards the sealed month: no single call pays for all of it."""
    head = read_head(store, paths, provider, month)
    if head.blob is None or head.manifest.sealed:
        return Compaction()
    return _seal_step(store, paths, provider, head.manifest, notify, wait, budget)[1]


def settle(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    slot: Slot,
    *,
    notify: Notify,
    wait: Callable[[int], None] = pause,
    budget: Budget = UNLIMITED,
) -> None:
    """Adopt what is left in the month before that of `slot`, and go on sealing it; nothing where it
    is sealed.
    """
    month = slot.month.previous()
    head = read_head(store, paths, provider, month)
    if head.blob is None or head.manifest.sealed:
        return
    keys, seen = list_hot(store, paths, month)
    compact_month(
        store, paths, provider, month, keys, seen, notify=notify, wait=wait, budget=budget
    )
    if slot.start >= month.end + SEAL_DELAY and not budget.spent:
        _seal_further(store, paths, provider, month, notify, wait, budget)


def seal(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    *,
    notify: Notify,
    wait: Callable[[int], None] = pause,
    budget: Budget = UNLIMITED,
) -> Compaction:
    """Bring everything in `month` to its final form: adopt, merge what is left of every level,
    write missing keyframes.

    Raises:
        InputError: there is nothing in the month.
    """
    keys, seen = list_hot(store, paths, month)
    result, adoption = compact_month(
        store, paths, provider, month, keys, seen, notify=notify, wait=wait, budget=budget
    )
    manifest = adoption.manifest
    if not manifest.files:
        raise InputError(
            f"provider {provider.name!r} has nothing in {month}: there is nothing to seal"
        )
    while not manifest.sealed:
        manifest, done = _seal_step(store, paths, provider, manifest, notify, wait, budget)
        result += done
    return result


def _seal_step(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    notify: Notify,
    wait: Callable[[int], None],
    budget: Budget,
) -> tuple[Manifest, Compaction]:
    """The next step on the way to the sealed month: a merge, a keyframe, or the seal itself."""
    month = manifest.month
    plan = next_merge(manifest) or final_merge(manifest)
    if plan is not None:
        manifest, merged = _merged(store, paths, provider, manifest, plan, notify, wait, budget)
        return manifest, Compaction(merged=merged)
    if missing := missing_keyframes(manifest):
        manifest, written = _keyframe(store, paths, provider, month, missing[0], notify, wait)
        return manifest, Compaction(keyframes=written)
    following = read_head(store, paths, provider, month.next())
    if (
        following.blob is not None
        and not following.manifest.full
        and 0 in missing_keyframes(following.manifest)
    ):
        _keyframe(store, paths, provider, month.next(), 0, notify, wait)

    def sealed(head: Head) -> Manifest | None:
        now = head.manifest
        if now.sealed or final_merge(now) or missing_keyframes(now):
            return None
        return evolve(stamped(head), sealed=True)

    manifest = commit(store, paths, provider, month, sealed, wait=wait)
    if manifest.sealed:
        notify(
            "month_sealed",
            month=str(month),
            files=len(manifest.files),
            keyframes=len(manifest.keyframes),
        )
    return manifest, Compaction()


def _keyframe(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    slot: int,
    notify: Notify,
    wait: Callable[[int], None],
) -> tuple[Manifest, int]:
    """Write a keyframe; how many this process did."""
    started = time.monotonic()
    manifest, entry = build_keyframe(store, paths, provider, month, slot, wait)
    if entry is not None:
        ms = round((time.monotonic() - started) * 1000)
        notify(
            "keyframe_written",
            month=str(month),
            slot=slot,
            file=entry.file,
            rows=entry.rows,
            bytes=entry.bytes,
            ms=ms,
        )
    return manifest, int(entry is not None)


def _listed(
    store: ObjectStore, paths: Paths, slot: Slot | None
) -> tuple[dict[Month, dict[int, str]], datetime | None]:
    """Hot files by month, and when the youngest was written."""
    if slot is None:
        return list_all_hot(store, paths)
    found, youngest = list_all_hot(store, paths, paths.hot_month(slot.month.previous()))
    wanted = {month: keys for month, keys in found.items() if month <= slot.month}
    return {**wanted, slot.month: wanted.get(slot.month, {})}, youngest


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
    budget: Budget = UNLIMITED,
    own: HotFile | None = None,
    written: HotFile | None = None,
) -> tuple[Compaction, Adoption]:
    """One month, whose hot files are `keys`, listed before; the youngest was written at `seen`.

    With `own`, a file that the caller has just written, adopting it is what counts: a failing merge
    is told, not raised.
    """
    head = (admitted if keys and own is None else read_head)(store, paths, provider, month)
    ready = due(head, seen)
    removal = remove(store, paths, provider, head.manifest, ready)
    if removal.keys:
        notify("files_removed", month=str(month), files=len(removal.keys))
    adoption = adopt(
        store,
        paths,
        provider,
        month,
        keys,
        head=head,
        own=own or written,
        removed=removal.done,
        wait=wait,
    )
    if adoption.slots:
        notify(
            "slots_adopted",
            month=str(month),
            slots=len(adoption.slots),
            corrections=adoption.corrections,
        )
    done = Compaction(adopted=len(adoption.slots), removed=len(removal.keys))
    try:
        manifest, merges = _merge_due(
            store, paths, provider, adoption.manifest, notify, wait, budget
        )
        done = evolve(done, merged=merges, unfinished=next_merge(manifest) is not None)
        slot = next_keyframe(manifest, adoption.slots)
        if slot is not None:
            manifest, keyframes = _keyframe(store, paths, provider, month, slot, notify, wait)
            done = evolve(done, keyframes=keyframes)
    except TitansError as error:
        if own is None:
            raise
        notify("failed", operation="merge", error=type(error).__name__, reason=str(error))
    return done, evolve(adoption, manifest=manifest) if done.merged or done.keyframes else adoption


def _merge_due(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    notify: Notify,
    wait: Callable[[int], None],
    budget: Budget,
) -> tuple[Manifest, int]:
    """Every merge that is due, at least one of them whatever the budget; the manifest after that,
    and how many this process did.
    """
    merges = 0
    while plan := next_merge(manifest):
        if merges and budget.spent:
            break  # the next run goes on from here
        manifest, merged = _merged(store, paths, provider, manifest, plan, notify, wait, budget)
        merges += merged
    return manifest, merges


def _merged(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    plan: Merge,
    notify: Notify,
    wait: Callable[[int], None],
    budget: Budget,
) -> tuple[Manifest, int]:
    """One merge; the manifest after that, and 1 if this process did it."""
    started = time.monotonic()
    try:
        manifest, entry = merge(store, paths, provider, manifest, plan, wait, budget.memory)
    except (NotFound, CorruptFileError):
        newer = read_head(store, paths, provider, manifest.month).manifest
        if {f.file for f in plan.inputs} <= newer.live:
            raise
        return (
            newer,
            0,
        )  # another process has merged these meanwhile; a slot's name may even be taken again since
    if entry is None:
        return manifest, 0
    ms = round((time.monotonic() - started) * 1000)
    notify(
        "files_merged",
        month=str(manifest.month),
        level=plan.level,
        file=entry.file,
        rows=entry.rows,
        bytes=entry.bytes,
        ms=ms,
    )
    return manifest, 1
