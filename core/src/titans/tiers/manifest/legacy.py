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
from typing import Any

import polars as pl
from attrs import evolve

from titans.dataset import Dataset
from titans.layout import KeyframeName, WarmName
from titans.schema import CEASED, TIME
from titans.slots import Month, Slot, SlotSet
from titans.tiers.files.fetch import read_file, read_info
from titans.tiers.files.metadata import FileInfo, check_format_version
from titans.tiers.files.reading import LARGEST, integer, mapping, text
from titans.tiers.manifest.entries import FileEntry, Keyframe, Pending
from titans.tiers.manifest.model import Manifest, check_provider, reading_manifest

__all__ = ["is_legacy", "live_slots", "read_legacy"]

log = logging.getLogger("titans.legacy")

_HIGHEST = 99
"""No file has a higher level."""


def is_legacy(data: Mapping[str, Any]) -> bool:
    """Whether an original tool wrote it, or wrote over one of ours."""
    if "levels" not in data or "next_file_id" not in data:
        return False
    return "format_version" not in data or _is_saved_over(data["levels"])


def _is_saved_over(levels: Any) -> bool:
    """Whether a tool that keeps what it does not know wrote `levels`: of a file it writes no more
    than name and range.
    """
    if not isinstance(levels, Mapping):
        return False
    for entries in levels.values():
        # What it has added stands at the end of a level.
        newest = entries[-1] if isinstance(entries, list) and entries else None
        if isinstance(newest, Mapping) and newest.keys() == {"file", "hot_range"}:
            return True
    return False


def read_legacy(data: Mapping[str, Any], dataset: Dataset, month: Month) -> Manifest:
    """The manifest that says the same as `data` in today's format.

    Raises:
        ManifestError: it is another provider's or month's, or names files that cannot be its own.
        NotFound: a file it names is not there.
    """
    provider = dataset.provider
    if "format_version" in data:
        check_format_version(data["format_version"], dataset.paths.manifest_key(month))
    with reading_manifest(dataset, month):
        owner = (str(data.get("provider", provider.name)), int(data["year"]), int(data["month"]))
        if owner != (provider.name, month.year, month.month):
            raise ValueError(
                f"it is that of provider {owner[0]!r}, month {owner[1]}-{owner[2]:02d}"
            )
        levels: dict[int, list[str]] = {}
        for level, entries in mapping(data, "levels").items():
            number = integer({"level": int(level)}, "level", most=_HIGHEST)
            levels[number] = [text(entry, "file") for entry in entries]
        next_id = integer(data, "next_file_id", -LARGEST)
        arrivals = int(data.get("last_hot_idx") or 0) + 1
        check_provider(data, provider, dataset.paths.manifest_key(month))

        # What was saved over may have said that later months build on this one.
        empty = evolve(Manifest.empty(provider, month), built_on=True)
        manifest = evolve(empty, next_file_id=max(1, next_id))
        for number in sorted(levels, reverse=True):
            for file in levels[number]:
                manifest = _read_entry(manifest, file, number, dataset)
        manifest = _without_dependent(_read_fulls(manifest, dataset))
        manifest = _with_removals(manifest, data, dataset)
    # Greater than it was before the original adopted more: what later months have from this one
    # is known to be old.
    return evolve(manifest, data_version=max(len(manifest.adopted), arrivals))


def _without_dependent(manifest: Manifest) -> Manifest:
    """Without the border that holds only as long as earlier months are as they were: on what it
    was made is not known any more.
    """
    borders = tuple(entry for entry in manifest.files if manifest.is_dependent(entry))
    if not borders:
        return manifest
    names = tuple(entry.file for entry in borders)
    kept = tuple(entry for entry in manifest.files if entry not in borders)
    return evolve(manifest, files=kept, pending=(*manifest.pending, Pending(None, names)))


def _read_fulls(manifest: Manifest, dataset: Dataset) -> Manifest:
    """With the full snapshots that stand in files of their own, which no original tool knows."""
    month = manifest.month
    for entry in dataset.store.list(dataset.paths.state_month(month)):
        parsed = dataset.paths.parse_keyframe_key(entry.key)
        name = None if parsed is None else KeyframeName.parse(parsed[1])
        if parsed is None or name is None or not name.is_full or name.slot in manifest.adopted:
            continue
        info = read_info(dataset, entry.key, dataset.slot(month, name.slot), entry.size)
        keyframe = Keyframe.of(parsed[1], name.slot, info)
        manifest = evolve(
            manifest.knowing(dataset.provider, info.schema),
            keyframes=(*manifest.keyframes, keyframe),
            adopted=manifest.adopted.add(name.slot),
            observed=manifest.observed.add(name.slot),
            full={**manifest.full, **info.full},
        )
    return manifest


def _read_entry(manifest: Manifest, file: str, level: int, dataset: Dataset) -> Manifest:
    """`manifest` with one file more."""
    month, paths = manifest.month, dataset.paths
    key = dataset.key(month, file)
    hot = "/" in file
    slot = paths.parse_hot_key(file) if hot else dataset.slot(month, 0)
    rows, info = read_file(dataset, key, slot, hot=hot)
    if info.kind != "legacy" or hot:
        slots = info.slots
    else:
        slots = live_slots(rows, dataset, month)
    slots -= manifest.adopted

    name = WarmName.parse(file)
    if name is None or name.id is not None:
        first, last = _bounds(slots, info, dataset)
    else:
        first, last = name.first, name.last
    entry = evolve(FileEntry.of(file, level, first, last, info), slots=slots)

    full = dict(manifest.full)
    full.update(info.full)
    return evolve(
        manifest.knowing(dataset.provider, info.schema),
        files=(*manifest.files, entry),
        adopted=manifest.adopted | slots,
        observed=manifest.observed | info.observed,
        claims=manifest.claims | info.claims,
        full=full,
    )


def _with_removals(manifest: Manifest, data: Mapping[str, Any], dataset: Dataset) -> Manifest:
    """With what was to be deleted, and with the slots that were merged though no live row shows
    it.
    """
    files, slots = _own(data.get("pending_deletions") or (), dataset, manifest.month)
    _, processed = _own(data.get("processed_keys") or (), dataset, manifest.month)
    merged = (slots | processed) - manifest.adopted
    if merged:
        manifest = _with_slots(manifest, merged, dataset)

    live = manifest.file_names
    in_level_0 = SlotSet.of(f.first for f in manifest.files if f.is_hot)
    pending = Pending(
        since=None,
        files=tuple(file for file in files if file not in live),
        slots=(slots & manifest.adopted) - in_level_0,
    )
    if not pending.files and not pending.slots:
        return manifest
    return evolve(manifest, pending=(*manifest.pending, pending))


def _with_slots(manifest: Manifest, slots: SlotSet, dataset: Dataset) -> Manifest:
    """With `slots` held by a merged file, if there is one: the first that does not say itself what
    it holds, as an original tool wrote it.
    """
    others = [e for e in manifest.files if not e.is_hot and not e.is_border]
    merged = [entry for entry in others if not entry.is_correction]
    silent = []
    for entry in merged:
        key, start = dataset.key(manifest.month, entry.file), dataset.slot(manifest.month, 0)
        if read_info(dataset, key, start, entry.bytes).kind == "legacy":
            silent.append(entry)
    chosen = next(iter([*silent, *merged]), None)
    if chosen is None:
        return manifest
    files = list(manifest.files)
    files[files.index(chosen)] = evolve(chosen, slots=chosen.slots | slots)
    return evolve(manifest, files=tuple(files), adopted=manifest.adopted | slots)


def _own(names: Iterable[Any], dataset: Dataset, month: Month) -> tuple[list[str], SlotSet]:
    """Warm file names and hot slots of this month among keys; others are left alone."""
    paths = dataset.paths
    files: list[str] = []
    slots: list[int] = []
    for name in names:
        file = str(name).removeprefix(paths.warm_month(month))
        if WarmName.parse(file) is not None:
            files.append(file)
            continue
        slot = paths.hot_slots()(file)
        if slot is not None and slot.month == month:
            slots.append(slot.index)
        else:
            log.warning(
                "%s names %r, which is not its own; left alone", paths.manifest_key(month), name
            )

    return files, SlotSet.of(slots)


def live_slots(rows: pl.DataFrame, dataset: Dataset, month: Month) -> SlotSet:
    """The slots of `month` in which live rows lie."""
    minutes = dataset.paths.minutes
    times = rows.filter(~pl.col(CEASED))[TIME].dt.truncate(f"{minutes}m").unique()
    return SlotSet.of(Slot.of(t, minutes).index for t in times if Month.of(t) == month)


def _bounds(slots: SlotSet, info: FileInfo, dataset: Dataset) -> tuple[int, int]:
    """First and last slot of a file; of one without live rows, those of its times."""
    if slots.first is not None and slots.last is not None:
        return slots.first, slots.last
    if info.min_time is None or info.max_time is None:
        return 0, 0
    minutes = dataset.paths.minutes
    return Slot.of(info.min_time, minutes).index, Slot.of(info.max_time, minutes).index
