"""Repair: a lost or damaged manifest, made again from the files alone.

Merged files say which slots they hold. Those that hold most are taken, and what is left of hot
files is simply not adopted yet: the next compaction adopts it, with whatever corrections that
needs. Correction files are not needed: the corrections of a slot are merged together with its file,
and made anew when it is adopted again. Nothing is deleted; what is left over is for vacuum.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping

from attrs import evolve, field, frozen

from titans.errors import CorruptFileError, ManifestError
from titans.layout import Paths, WarmName
from titans.provider import Provider
from titans.slots import Month, Slot, SlotSet
from titans.store import Blob, Entry, ObjectStore
from titans.tiers.commit import read_head
from titans.tiers.files import read_info
from titans.tiers.info import FileInfo
from titans.tiers.manifest import FileEntry, Manifest
from titans.tiers.vacuum import inventory

__all__ = ["Repair", "execute", "plan"]

log = logging.getLogger("titans.repair")


@frozen
class Repair:
    """What is to be done for one month."""

    month: Month
    reason: str
    manifest: Manifest
    """The manifest as it will be."""
    readopt: SlotSet
    """Slots whose hot files the next compaction will adopt."""
    unused: tuple[str, ...]
    """Files that are not needed."""
    damaged: Blob | None = field(default=None, repr=False)
    """What is there now; `None` where there is nothing."""


def plan(store: ObjectStore, paths: Paths, provider: Provider) -> tuple[Repair, ...]:
    """What is wrong with the manifests, and how each would be made again. Changes nothing.

    A month needs it where it has merged files and no manifest, a manifest that cannot be read, or
    one that names files or keyframes that are not there. Keyframes are not made again here but by
    the next compaction or sealing.

    Raises:
        FormatVersionError: a manifest was written by a newer TITANS: it is not damaged.
        CorruptFileError: merged files of a month overlap or cannot be read; the message names them.
    """
    found = inventory(store, paths)
    repairs = []
    for month in found.months:
        damaged: Blob | None = None
        warm = found.warm.get(month, {})
        try:
            head = read_head(store, paths, provider, month)
        except ManifestError as error:
            reason, damaged = str(error), store.get(paths.manifest_key(month))
        else:
            missing = [f.file for f in head.manifest.files if not f.is_hot and f.file not in warm]
            if head.blob is None and any(not name.startswith("C_") for name in warm):
                reason = f"{month} has merged files and no manifest"
            elif missing:
                reason, damaged = (
                    f"the manifest of {month} names {', '.join(missing[:3])}, which are not there",
                    head.blob,
                )
            elif lost := [
                k for k in head.manifest.keyframes if k.file not in found.keyframes.get(month, {})
            ]:
                kept = tuple(k for k in head.manifest.keyframes if k not in lost)
                reason = (
                    f"the manifest of {month} names {lost[0].file}, a keyframe that is not there"
                )
                manifest = evolve(head.manifest, keyframes=kept, sealed=False)
                repairs.append(Repair(month, reason, manifest, SlotSet(), (), head.blob))
                continue
            else:
                continue
        hot = {index: entry.key for index, entry in found.hot.get(month, {}).items()}
        repairs.append(_plan(store, paths, provider, month, reason, damaged, warm, hot))
    return tuple(repairs)


def _plan(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    reason: str,
    damaged: Blob | None,
    warm: Mapping[str, Entry],
    hot: Mapping[int, str],
) -> Repair:
    start = Slot(month, 0, paths.minutes)
    known: list[tuple[WarmName, str, FileInfo]] = []
    for name, entry in warm.items():
        parsed = WarmName.parse(name)
        if parsed is not None and parsed.id is not None:
            known.append(
                (
                    parsed,
                    name,
                    read_info(store, paths.file_key(month, name), provider, start, entry.size),
                )
            )
    files: list[FileEntry] = []
    taken = SlotSet()
    manifest = Manifest.empty(provider, month)
    full = {}
    observed = SlotSet()
    for parsed, name, info in sorted(
        known, key=lambda k: (-len(k[2].slots), -k[0].level, k[0].id or 0)
    ):
        if not info.slots or not info.slots - taken:
            continue
        if info.slots & taken:
            raise CorruptFileError(
                f"{paths.file_key(month, name)} holds some slots that a larger file holds too, and "
                "some that none does; "
                "this cannot have been written by compaction: look at both before going on"
            )
        taken |= info.slots
        files.append(FileEntry.of(name, parsed.level, parsed.first, parsed.last, info))
        if info.schema is not None:
            manifest = manifest.knowing(provider, info.schema)
        observed |= SlotSet.of(s.slot for s in info.sources if s.is_snapshot)
        full.update({s.slot: s.time for s in info.sources if s.kind == "full"})
    names = {f.file for f in files}
    ids = [parsed.id for parsed, _, _ in known if parsed.id is not None]
    manifest = evolve(
        manifest,
        # Older files have smaller ids: that is the order of adoption within a level.
        files=tuple(sorted(files, key=lambda f: (f.level, int(f.file.split("_")[1])))),
        next_file_id=max(ids, default=0) + 1,
        least_file_id=max(ids, default=0) + 1,
        adopted=taken,
        observed=observed,
        full=full,
        data_version=len(taken),
    )
    unused = tuple(paths.file_key(month, name) for name in warm if name not in names)
    return Repair(month, reason, manifest, SlotSet.of(hot) - taken, unused, damaged)


def execute(store: ObjectStore, paths: Paths, repair: Repair) -> Manifest:
    """Write the manifest of a plan. A damaged one is kept beside it as `manifest.damaged-….json`.

    Raises:
        AlreadyExists, PreconditionFailed: somebody else has written the manifest since the plan was
            made; nothing changed.
    """
    key = paths.manifest_key(repair.month)
    manifest = repair.manifest.committed(secrets.token_hex(8))
    if repair.damaged is None:
        store.create(key, manifest.dump())
    else:
        store.create(
            key.replace("manifest.json", f"manifest.damaged-{secrets.token_hex(4)}.json"),
            repair.damaged.data,
        )
        store.replace(key, manifest.dump(), repair.damaged.etag)
    log.warning(
        "%s %s: manifest made again from %d file(s)",
        paths.provider,
        repair.month,
        len(manifest.files),
        extra={"provider": paths.provider, "month": str(repair.month)},
    )
    return manifest
