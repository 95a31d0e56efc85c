"""Repair: a lost or damaged manifest, made again from the files alone.

Merged files say which slots they hold. Those that hold most are taken, and what is left of hot
files is simply not adopted yet: the next compaction adopts it, with whatever corrections that
needs. Correction files are not needed: the corrections of a slot are merged together with its file,
and made anew when it is adopted again. Nothing is deleted; what is left over is for vacuum.
"""

from __future__ import annotations

import logging
import secrets
from datetime import datetime

from attrs import evolve, field, frozen

from titans.dataset import Dataset
from titans.errors import CorruptFileError, ManifestError
from titans.layout import KeyframeName, WarmName
from titans.schema import Schema
from titans.slots import NO_SLOTS, Month, SlotSet
from titans.store import Blob
from titans.tiers.files.fetch import read_info
from titans.tiers.files.metadata import FileInfo
from titans.tiers.maintain.inventory import Inventory, list_inventory
from titans.tiers.manifest.commit import Head, read_head
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.model import Manifest

__all__ = ["Repair", "execute", "plan_repairs"]

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

    A month needs it where it has merged files and no manifest, a manifest that cannot be read, or
    one that names files or keyframes that are not there. Keyframes are not made again here but by
    the next compaction or sealing.

    Raises:
        FormatVersionError: a manifest was written by a newer TITANS: it is not damaged.
        CorruptFileError: merged files of a month overlap or cannot be read; the message names them.
    """
    inventory = list_inventory(dataset)
    repairs = []
    for month in inventory.months:
        repair = _plan_month(dataset, inventory, month)
        if repair is not None:
            repairs.append(repair)
    return tuple(repairs)


def _plan_month(dataset: Dataset, inventory: Inventory, month: Month) -> Repair | None:
    warm = inventory.warm.get(month, {})
    try:
        head = read_head(dataset, month)
    except ManifestError as error:
        damaged = dataset.store.get(dataset.paths.manifest_key(month))
        return _remade(dataset, inventory, month, str(error), damaged)

    manifest = head.manifest
    if head.blob is None:
        if not _holds_slots(inventory, month):
            return None
        reason = f"{month} has merged files and no manifest"
        return _remade(dataset, inventory, month, reason, None)

    stored = inventory.keyframes.get(month, {})
    missing = [f.file for f in manifest.files if not f.is_hot and f.file not in warm]
    missing += [k.file for k in manifest.keyframes if k.is_full and k.file not in stored]
    if missing:
        reason = f"the manifest of {month} names {', '.join(missing[:3])}, which are not there"
        return _remade(dataset, inventory, month, reason, head.blob)
    return _without_lost_keyframes(inventory, head)


def _holds_slots(inventory: Inventory, month: Month) -> bool:
    """Whether the month has files that hold slots which no hot file may hold any more."""
    names = [WarmName.parse(file) for file in inventory.warm.get(month, {})]
    full = [KeyframeName.parse(file) for file in inventory.keyframes.get(month, {})]
    return any(name and name.id is not None for name in names) or any(
        name and name.is_full for name in full
    )


def _without_lost_keyframes(inventory: Inventory, head: Head) -> Repair | None:
    manifest = head.manifest
    stored = inventory.keyframes.get(manifest.month, {})
    kept = tuple(keyframe for keyframe in manifest.keyframes if keyframe.file in stored)
    if kept == manifest.keyframes:
        return None
    lost = next(keyframe for keyframe in manifest.keyframes if keyframe not in kept)
    return Repair(
        manifest.month,
        f"the manifest of {manifest.month} names {lost.file}, a keyframe that is not there",
        evolve(manifest, keyframes=kept, sealed=False),
        damaged=head.blob,
    )


def _remade(
    dataset: Dataset, inventory: Inventory, month: Month, reason: str, damaged: Blob | None
) -> Repair:
    """The manifest of a month, from its merged files."""
    warm = inventory.warm.get(month, {})
    merged = _read_merged(dataset, inventory, month)
    keyframes: list[Keyframe] = []
    full: dict[int, datetime] = {}
    schemas: list[Schema | None] = []
    for keyframe, info in _read_fulls(dataset, inventory, month):
        keyframes.append(keyframe)
        full.update(info.full)
        schemas.append(info.schema)

    manifest = Manifest.empty(dataset.provider, month).knowing(dataset.provider, *schemas)
    files: list[FileEntry] = []
    taken = observed = SlotSet.of(full)
    # Those that hold most first; of the same size, the higher level, then the older.
    order = sorted(merged, key=lambda m: (-len(m.info.slots), -m.name.level, m.name.id or 0))
    for each in order:
        slots = each.info.slots
        if not slots - taken:
            continue
        if slots & taken:
            key = dataset.key(month, each.file)
            raise CorruptFileError(
                f"{key} holds some slots that a larger file holds too, and some that none does; "
                "this cannot have been written by compaction: look at both before going on",
                provider=dataset.provider.name,
                month=str(month),
                key=key,
            )
        taken |= slots
        name = each.name
        files.append(FileEntry.of(each.file, name.level, name.first, name.last, each.info))
        if each.info.schema is not None:
            manifest = manifest.knowing(dataset.provider, each.info.schema)
        observed |= each.info.observed
        full.update(each.info.full)

    next_id = max((each.name.id or 0 for each in merged), default=0) + 1
    manifest = evolve(
        manifest,
        # Older files have smaller ids: that is the order of adoption within a level.
        files=tuple(sorted(files, key=lambda entry: (entry.level, entry.number))),
        next_file_id=next_id,
        least_file_id=next_id,
        adopted=taken,
        observed=observed,
        full=full,
        keyframes=tuple(keyframes),
        data_version=len(taken),
    )
    used = {entry.file for entry in files}
    used |= {keyframe.file for keyframe in keyframes}
    unused = tuple(dataset.key(month, name) for name in warm if name not in used)
    readopt = SlotSet.of(inventory.hot.get(month, {})) - taken
    return Repair(month, reason, manifest, readopt, unused, damaged)


def _read_fulls(
    dataset: Dataset, inventory: Inventory, month: Month
) -> list[tuple[Keyframe, FileInfo]]:
    """The files of full snapshots, one for each slot, and what they say of themselves."""
    fulls: dict[int, tuple[Keyframe, FileInfo]] = {}
    for file, entry in sorted(inventory.keyframes.get(month, {}).items()):
        name = KeyframeName.parse(file)
        if name is None or not name.is_full or name.slot in fulls:
            continue
        slot = dataset.slot(month, name.slot)
        info = read_info(dataset, dataset.key(month, file), slot, entry.size)
        fulls[name.slot] = (Keyframe.of(file, name.slot, info), info)
    return [fulls[slot] for slot in sorted(fulls)]


@frozen
class _Merged:
    file: str
    name: WarmName
    info: FileInfo


def _read_merged(dataset: Dataset, inventory: Inventory, month: Month) -> list[_Merged]:
    """What the merged files of a month say of themselves."""
    merged = []
    start = dataset.slot(month, 0)
    for file, entry in inventory.warm.get(month, {}).items():
        name = WarmName.parse(file)
        if name is not None and name.id is not None:
            info = read_info(dataset, dataset.key(month, file), start, entry.size)
            merged.append(_Merged(file, name, info))
    return merged


# --- carrying out ---------------------------------------------------------------------------------


def execute(dataset: Dataset, repair: Repair) -> Manifest:
    """Write the manifest of a plan. A damaged one is kept beside it as `manifest.damaged-….json`.

    Raises:
        AlreadyExists, PreconditionFailed: somebody else has written the manifest since the plan was
            made; nothing changed.
    """
    key = dataset.paths.manifest_key(repair.month)
    manifest = repair.manifest.committed(secrets.token_hex(8))
    if repair.damaged is None:
        dataset.store.create(key, manifest.dump(dataset.paths))
    else:
        copy = key.replace("manifest.json", f"manifest.damaged-{secrets.token_hex(4)}.json")
        dataset.store.create(copy, repair.damaged.data)
        dataset.store.replace(key, manifest.dump(dataset.paths), repair.damaged.etag)

    name, month = dataset.provider.name, str(repair.month)
    log.warning(
        "%s %s: manifest made again from %d file(s)",
        name,
        month,
        len(manifest.files),
        extra={"provider": name, "month": month},
    )
    return manifest
