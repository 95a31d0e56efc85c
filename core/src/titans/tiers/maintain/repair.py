"""Repair: a lost, damaged or rolled-back manifest, made again from the files alone.

Merged files say which slots they hold. Those that together hold most are taken, no slot twice, and
what is left of hot files is simply not adopted yet: the next compaction adopts it, with whatever
corrections that needs. Correction files are not needed: the corrections of a slot are merged
together with its file, and made anew when it is adopted again. Nothing is deleted; what is left
over is for vacuum.

Others may go on meanwhile. Whoever commits first wins: the other looks again.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime

from attrs import evolve, field, frozen

from titans.dataset import Dataset
from titans.errors import (
    AlreadyExists,
    ConcurrencyConflictError,
    CorruptFileError,
    ForeignObjectError,
    ManifestError,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    Unavailable,
)
from titans.layout import WarmName
from titans.slots import NO_SLOTS, Month, SlotSet
from titans.store import Blob
from titans.tiers.files.claims import NO_CLAIMS
from titans.tiers.files.fetch import exists, read_whole
from titans.tiers.files.rewrites import Rewrite, merged_rewrites
from titans.tiers.files.writers import writer_of
from titans.tiers.maintain.holders import Holder, choose
from titans.tiers.maintain.inventory import Inventory, find_missing, list_inventory, read_lost
from titans.tiers.manifest.commit import ATTEMPTS, Head, read_head
from titans.tiers.manifest.deletion import with_keyframe
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.lost import may_hold, read_beginnings, read_held
from titans.tiers.manifest.model import Manifest

__all__ = ["Repair", "plan_repairs", "repair"]

log = logging.getLogger("titans.repair")


@frozen
class Repair:
    """What is to be done for one month."""

    month: Month
    reason: str
    manifest: Manifest
    """The manifest as it will be."""
    readopt: SlotSet = NO_SLOTS
    """Slots whose hot files the next compaction will adopt."""
    unused: tuple[str, ...] = ()
    """Files that are not needed."""
    damaged: Blob | None = field(default=None, repr=False)
    """What is there now; `None` where there is nothing."""


# --- planning -------------------------------------------------------------------------------------


def plan_repairs(dataset: Dataset) -> tuple[Repair, ...]:
    """What is wrong with the manifests, and how each would be made again. Changes nothing.

    A month needs it where it has merged files and no manifest, a manifest that cannot be read, one
    that names files or keyframes that are not there, or one that does not know the slots of a
    merged file. Keyframes are not made again here but by the next compaction or sealing.

    Raises:
        FormatVersionError: a manifest was written by a newer TITANS: it is not damaged.
        CorruptFileError: merged files of a month contradict each other, or one cannot be read that
            alone may hold some slots; the message names them.
    """
    inventory = list_inventory(dataset)
    repairs = []
    for month in inventory.months:
        plan = _plan_month(dataset, inventory, month)
        if plan is not None:
            repairs.append(plan)
    return tuple(repairs)


def _plan_month(dataset: Dataset, inventory: Inventory, month: Month) -> Repair | None:
    """`inventory` was made before; a manifest that is read after it knows all that it shows."""
    key = dataset.paths.manifest_key(month)
    try:
        head = read_head(dataset, month)
    except (ManifestError, NotFound) as error:
        try:
            damaged = dataset.store.get(key)
        except NotFound:
            return None  # somebody removed it just now
        return _remade(dataset, inventory, month, str(error), Head(_blank(dataset, month), damaged))

    manifest = head.manifest
    unknown = read_lost(dataset, inventory, manifest)
    if head.blob is None:
        if unknown or _is_given_up(dataset, inventory, month):
            reason = f"{month} has merged files and no manifest"
        elif _beginnings(dataset, inventory, month):
            reason = f"the archive begins with {month}, which has no manifest"
        else:
            return None
        return _remade(dataset, inventory, month, reason, head)

    missing = [each.file for each in find_missing(dataset, inventory, manifest)]
    if missing or unknown:
        if _is_newer(dataset, head):
            return _plan_month(dataset, list_inventory(dataset), month)
        reason = f"the manifest of {month} does not know what {', '.join(sorted(unknown)[:3])} hold"
        if missing:
            reason = f"the manifest of {month} names {', '.join(missing[:3])}, which are not there"
        return _remade(dataset, inventory, month, reason, head)
    return _without_lost_keyframes(dataset, inventory, head)


def _is_newer(dataset: Dataset, head: Head) -> bool:
    """Whether somebody has committed since, so that the files that are there may be others."""
    return read_head(dataset, head.manifest.month).manifest.version != head.manifest.version


def _blank(dataset: Dataset, month: Month) -> Manifest:
    return Manifest.empty(dataset.provider, month)


def _without_lost_keyframes(dataset: Dataset, inventory: Inventory, head: Head) -> Repair | None:
    manifest = head.manifest
    month = manifest.month
    stored = {**inventory.warm.get(month, {}), **inventory.keyframes.get(month, {})}
    named = [k.file for k in manifest.keyframes] + [f.file for f in manifest.files if f.is_border]
    lost = []
    for file in named:
        if file not in stored and not exists(dataset.store, dataset.key(month, file)):
            lost.append(file)
    if not lost or _is_newer(dataset, head):
        return None
    return Repair(
        month,
        f"the manifest of {month} names {lost[0]}, a keyframe or border that is not there",
        evolve(
            manifest,
            keyframes=tuple(k for k in manifest.keyframes if k.file not in lost),
            files=tuple(f for f in manifest.files if f.file not in lost),
            sealed=False,
        ),
        damaged=head.blob,
    )


# --- a manifest from the files --------------------------------------------------------------------


def _remade(
    dataset: Dataset, inventory: Inventory, month: Month, reason: str, head: Head
) -> Repair:
    """The manifest of a month, from the files that hold slots."""
    if _is_given_up(dataset, inventory, month):
        left = evolve(_fresh(head), built_on=False, removed=True, sealed=True)
        return Repair(month, f"{reason}; the month had been removed", left, damaged=head.blob)
    waiting = SlotSet.of(inventory.hot.get(month, {}))
    holders = _read_holders(dataset, inventory, month)
    chosen = choose(holders, waiting)
    if chosen is None:
        named = ", ".join(sorted(each.file for each in holders))
        raise CorruptFileError(
            f"no choice among the files of {month} holds every slot once, so they cannot all have "
            f"been written by compaction: {named}; look at them before going on, and set aside "
            "what does not belong there (titans repair --set-aside)",
            provider=dataset.provider.name,
            month=str(month),
            key=dataset.paths.manifest_key(month),
        )

    manifest = _with_holders(_fresh(head), dataset, chosen)
    manifest = _with_beginning(manifest, dataset, inventory)
    manifest = _with_first_full(manifest, dataset, inventory)
    used = {each.file for each in chosen}
    warm = inventory.warm.get(month, {})
    unused = tuple(dataset.key(month, name) for name in warm if name not in used)
    least = 1 + max((_number(name) for name in warm), default=0)
    least = max(least, manifest.least_file_id, manifest.next_file_id)
    manifest = evolve(manifest, next_file_id=least, least_file_id=least)
    return Repair(month, reason, manifest, waiting - manifest.adopted, unused, head.blob)


def _number(file: str) -> int:
    name = WarmName.parse(file)
    return 0 if name is None else name.id or 0


def _fresh(head: Head) -> Manifest:
    """A manifest without files, in the place of the head's.

    Later months may build on this one, and processes that have read the old manifest may still be
    at work: what they are about to commit must not fit any more.
    """
    known = head.manifest
    blank = evolve(
        known,
        files=(),
        keyframes=(),
        adopted=NO_SLOTS,
        observed=NO_SLOTS,
        claims=NO_CLAIMS,
        rewrites=(),
        full={},
        pending=(),
        dirty=(),
        built_from={},
        begins=False,
        sealed=False,
    )
    return evolve(
        blank,
        built_on=True,
        marks=known.marks + 1 + int(secrets.token_hex(3), 16),
        fence=known.fence + 1 + int(secrets.token_hex(3), 16),
        data_version=known.data_version + 1 + int(secrets.token_hex(3), 16),
    )


def _with_holders(manifest: Manifest, dataset: Dataset, chosen: Sequence[Holder]) -> Manifest:
    """With the files that were chosen."""
    files: list[FileEntry] = []
    keyframes: list[Keyframe] = []
    adopted = observed = NO_SLOTS
    claims = NO_CLAIMS
    full: dict[int, datetime] = {}
    for each in chosen:
        info, name = each.info, WarmName.parse(each.file)
        adopted |= each.slots
        observed |= info.observed
        claims |= info.claims
        full.update(info.full)
        manifest = manifest.knowing(dataset.provider, info.schema)
        if name is None:
            keyframes.append(Keyframe.of(each.file, info.record.slot, info))
        else:
            entry = FileEntry.of(each.file, name.level, name.first, name.last, info)
            files.append(entry)

    rewrites = merged_rewrites(each.info.rewrites for each in chosen)
    newest = rewrites[-1].number if rewrites else 0

    # Older files have smaller ids: that is the order of adoption within a level.
    files.sort(key=lambda entry: (entry.level, entry.number))
    keyframes.sort(key=lambda keyframe: keyframe.slot)
    return evolve(
        manifest,
        files=tuple(files),
        keyframes=tuple(keyframes),
        adopted=adopted,
        observed=observed,
        claims=claims,
        full=full,
        rewrites=rewrites,
        version=max(manifest.version, newest),
    )


def _with_beginning(manifest: Manifest, dataset: Dataset, inventory: Inventory) -> Manifest:
    """With the keyframe at the start of a month before which everything was removed."""
    found = _beginnings(dataset, inventory, manifest.month)
    if not found:
        return manifest
    # A later one was made of the one before, without keys that were erased.
    keyframe, kept = max(found, key=lambda each: each[1][-1].number)
    rewrites = merged_rewrites([manifest.rewrites, kept])
    manifest = with_keyframe(manifest, keyframe)
    newest = max(manifest.version, rewrites[-1].number)
    return evolve(manifest, begins=True, rewrites=rewrites, version=newest)


def _with_first_full(manifest: Manifest, dataset: Dataset, inventory: Inventory) -> Manifest:
    """With the full snapshot that the first diffs were taken against, where that is a hot file.

    It had been adopted before them. Adopted again as if it came late, it would be taken for
    something that the states after it did not know.
    """
    first, month = manifest.observed.first, manifest.month
    if first is None or any(slot <= first for slot in manifest.full):
        return manifest
    for index in sorted(inventory.hot.get(month, {}), reverse=True):
        if index > first:
            continue
        key, slot = inventory.hot[month][index].key, dataset.slot(month, index)
        try:
            info = read_whole(dataset, key, slot)
        except (CorruptFileError, NotFound) as error:
            log.warning("%s", error)
            continue
        if info.record.kind != "full":
            continue
        size = inventory.hot[month][index].size
        entry = FileEntry.of(key, 0, index, index, evolve(info, size=size))
        return evolve(
            manifest.knowing(dataset.provider, info.schema),
            files=(entry, *manifest.files),
            adopted=manifest.adopted.add(index),
            observed=manifest.observed.add(index),
            full={**manifest.full, **info.full},
        )
    return manifest


def _beginnings(
    dataset: Dataset, inventory: Inventory, month: Month
) -> list[tuple[Keyframe, tuple[Rewrite, ...]]]:
    return read_beginnings(dataset, month, inventory.keyframes.get(month, {}).values())


def _is_given_up(dataset: Dataset, inventory: Inventory, month: Month) -> bool:
    """Whether the archive begins in a later month."""
    later = [each for each in inventory.keyframes if each > month]
    return any(_beginnings(dataset, inventory, each) for each in later)


def _read_holders(dataset: Dataset, inventory: Inventory, month: Month) -> list[Holder]:
    """What the files of a month that hold slots say of themselves."""
    holders = []
    unreadable: dict[str, CorruptFileError] = {}
    for file, entry in sorted(inventory.holders(month).items()):
        try:
            info = read_held(dataset, month, entry)
        except NotFound:
            continue
        except ForeignObjectError as error:
            log.warning("%s", error)
        except CorruptFileError as error:
            unreadable[file] = error
        else:
            holders.append(Holder(file, entry.size, info))

    held = SlotSet.of(inventory.hot.get(month, {}))
    for each in holders:
        held |= each.slots
    for file in unreadable:
        if may_hold(file) - held:
            raise unreadable[file]
    return holders


# --- carrying out ---------------------------------------------------------------------------------


def repair(dataset: Dataset) -> tuple[Repair, ...]:
    """Carry out what `plan_repairs` says; what was done. A damaged manifest is kept beside the new
    one as `manifest.damaged-….json`.

    Raises:
        ConcurrencyConflictError: others have won every race; nothing is lost.
        FormatVersionError, CorruptFileError: see `plan_repairs`.
    """
    done: list[Repair] = []
    for month in list_inventory(dataset).months:
        plan = _repair_month(dataset, month)
        if plan is not None:
            done.append(plan)
    return tuple(done)


def _repair_month(dataset: Dataset, month: Month) -> Repair | None:
    """What was done, `None` if nothing was needed."""
    name = dataset.provider.name
    reason: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            dataset.wait(attempt - 1)
        try:
            plan = _plan_month(dataset, list_inventory(dataset), month)
            if plan is None:
                return None
            _execute(dataset, plan)
        except (AlreadyExists, PreconditionFailed, OutcomeUnknown, Unavailable) as error:
            reason = error  # what is there now is looked at again
            continue
        log.warning(
            "%s %s: manifest made again from %d file(s): %s",
            name,
            month,
            len(plan.manifest.files),
            plan.reason,
            extra={"provider": name, "month": str(month)},
        )
        return plan

    raise ConcurrencyConflictError(
        f"the manifest of {month} was written by others {ATTEMPTS} times while it was made again "
        f"(the last time: {reason}); nothing is lost, run it again",
        provider=name,
        month=str(month),
        key=dataset.paths.manifest_key(month),
    )


def _execute(dataset: Dataset, plan: Repair) -> None:
    """Put the manifest of a plan in the place of the one that was there when it was made."""
    key = dataset.paths.manifest_key(plan.month)
    manifest = plan.manifest.committed(secrets.token_hex(8), writer_of(dataset.provider))
    if plan.damaged is None:
        dataset.store.create(key, manifest.dump(dataset.paths))
        return
    copy = key.replace("manifest.json", f"manifest.damaged-{secrets.token_hex(4)}.json")
    dataset.store.create(copy, plan.damaged.data)
    dataset.store.replace(key, manifest.dump(dataset.paths), plan.damaged.etag)
