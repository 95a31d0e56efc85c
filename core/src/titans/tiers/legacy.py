"""Manifests of the original layout, read as what they mean; the next commit stores them in today's
format.

An original manifest has no `format_version`. Its `hot_range` counts arrivals and not slots, so what
a file holds is read from the file: from its metadata where it has any (then an original writer
saved over a manifest of ours), otherwise from the times of its live rows. Tombstones prove nothing,
they kept the time of the row before them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import polars as pl
from attrs import evolve

from titans.errors import InvalidKeyError, ManifestError
from titans.layout import Paths, WarmName
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Month, Slot, SlotSet
from titans.store import ObjectStore
from titans.tiers.files import read_file
from titans.tiers.info import FileInfo
from titans.tiers.manifest import FileEntry, Manifest, Pending, check_provider

__all__ = ["is_legacy", "upgraded"]

log = logging.getLogger("titans.legacy")


def is_legacy(data: Mapping[str, Any]) -> bool:
    return "format_version" not in data and "levels" in data and "next_file_id" in data


def upgraded(
    data: Mapping[str, Any], store: ObjectStore, paths: Paths, provider: Provider, month: Month
) -> Manifest:
    """The manifest that says the same in today's format.

    Raises:
        ManifestError: it is another provider's or month's, or names files that cannot be its own.
        NotFound: a file it names is not there.
    """
    key = paths.manifest_key(month)
    try:
        named = (str(data.get("provider", provider.name)), int(data["year"]), int(data["month"]))
        levels = {
            int(level): [str(entry["file"]) for entry in entries]
            for level, entries in data["levels"].items()
        }
        next_id = int(data["next_file_id"])
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{key} cannot be read: {error!r}; it is left as it is") from error
    if named != (provider.name, month.year, month.month):
        raise ManifestError(
            f"{key} is that of provider {named[0]!r}, month {named[1]}-{named[2]:02d}; it is left "
            "as it is"
        )
    check_provider(data, provider, key)
    manifest = evolve(Manifest.empty(provider, month), next_file_id=max(1, next_id))
    for level in sorted(levels, reverse=True):
        for name in levels[level]:
            manifest = _with(manifest, name, level, store, paths, provider)
    return _settled(manifest, data, paths, month)


def _with(
    manifest: Manifest, name: str, level: int, store: ObjectStore, paths: Paths, provider: Provider
) -> Manifest:
    """`manifest` with one file more."""
    month = manifest.month
    try:
        key = paths.file_key(month, name)
    except InvalidKeyError as error:
        raise ManifestError(
            f"{paths.manifest_key(month)} names a file that cannot be its own: {error}"
        ) from error
    hot = "/" in name
    slot = paths.parse_hot_key(name) if hot else Slot(month, 0, paths.minutes)
    rows, info = read_file(store, key, provider, slot, hot=hot)
    slots = info.slots if info.kind != "legacy" or hot else _live_slots(rows, month, paths)
    slots -= manifest.adopted
    parsed = WarmName.parse(name)
    first, last = (
        _bounds(slots, info, paths)
        if parsed is None or parsed.id is not None
        else (parsed.first, parsed.last)
    )
    entry = evolve(FileEntry.of(name, level, first, last, info), slots=slots)
    return evolve(
        manifest.knowing(provider, info.schema),
        files=(*manifest.files, entry),
        adopted=manifest.adopted | slots,
        observed=manifest.observed | SlotSet.of(s.slot for s in info.sources if s.is_snapshot),
        full={**manifest.full, **{s.slot: s.time for s in info.sources if s.kind == "full"}},
        data_version=manifest.data_version + len(slots),
    )


def _settled(manifest: Manifest, data: Mapping[str, Any], paths: Paths, month: Month) -> Manifest:
    """With what was to be deleted, and with the slots that were merged though no live row shows
    it.
    """
    files, slots = _own(data.get("pending_deletions") or (), paths, month)
    live = {f.file for f in manifest.files}
    _, processed = _own(data.get("processed_keys") or (), paths, month)
    merged = (slots | processed) - manifest.adopted
    holder = next((f for f in manifest.files if not f.is_hot and not f.is_correction), None)
    if holder is not None and merged:
        grown = evolve(holder, slots=holder.slots | merged)
        manifest = evolve(
            manifest,
            files=tuple(grown if f is holder else f for f in manifest.files),
            adopted=manifest.adopted | merged,
        )
    in_level_0 = SlotSet.of(f.first for f in manifest.files if f.is_hot)
    pending = Pending(
        None, tuple(f for f in files if f not in live), (slots & manifest.adopted) - in_level_0
    )
    return evolve(manifest, pending=(pending,) if pending.files or pending.slots else ())


def _own(names: Iterable[Any], paths: Paths, month: Month) -> tuple[list[str], SlotSet]:
    """Warm file names and hot slots of this month among keys; whatever else is there is left
    alone.
    """
    files: list[str] = []
    slots: list[int] = []
    prefix = paths.warm_month(month)
    for given in names:
        name = str(given).removeprefix(prefix)
        if WarmName.parse(name) is not None:
            files.append(name)
            continue
        try:
            slot = paths.parse_hot_key(name)
        except InvalidKeyError:
            slot = None
        if slot is not None and slot.month == month:
            slots.append(slot.index)
        else:
            log.warning(
                "%s names %r, which is not its own; left alone", paths.manifest_key(month), given
            )
    return files, SlotSet.of(slots)


def _live_slots(rows: pl.DataFrame, month: Month, paths: Paths) -> SlotSet:
    times: list[datetime] = (
        rows.filter(~pl.col(CEASED))[TIME].dt.truncate(f"{paths.minutes}m").unique().to_list()
    )
    return SlotSet.of(Slot.of(t, paths.minutes).index for t in times if Month.of(t) == month)


def _bounds(slots: SlotSet, info: FileInfo, paths: Paths) -> tuple[int, int]:
    """First and last slot of a file; of one without live rows, those of its times."""
    if slots.first is not None and slots.last is not None:
        return slots.first, slots.last
    if info.min_time is None or info.max_time is None:
        return 0, 0
    return Slot.of(info.min_time, paths.minutes).index, Slot.of(info.max_time, paths.minutes).index
