"""What lies in the store below the prefixes of a provider, whether a manifest names it or not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from titans.dataset import Dataset
from titans.layout import WarmName
from titans.slots import NO_SLOTS, Month, SlotSet
from titans.store import Entry
from titans.tiers.files.fetch import exists
from titans.tiers.manifest.entries import FileEntry, Keyframe, Pending
from titans.tiers.manifest.lost import holds_slots, may_hold, read_unknown
from titans.tiers.manifest.model import Manifest

__all__ = ["Inventory", "find_missing", "list_inventory", "read_lost"]


_KEPT = re.compile(r"/manifest\.damaged-[0-9a-f]{8}\.json$|\.set-aside-[0-9a-f]{8}$")
"""What repair keeps under another name."""


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
    foreign: tuple[str, ...] = ()
    """Keys of objects that have no name of the archive."""
    youngest: datetime | None = None
    """When the latest of all was written: the store's clock shows at least this."""

    @property
    def months(self) -> tuple[Month, ...]:
        return tuple(sorted({*self.warm, *self.keyframes, *self.hot, *self.manifests}))

    def holders(self, month: Month) -> dict[str, Entry]:
        """The files of a month that hold slots, by name."""
        files = {**self.warm.get(month, {}), **self.keyframes.get(month, {})}
        return {name: entry for name, entry in files.items() if holds_slots(name)}

    def orphans(self, manifest: Manifest, until: datetime | None) -> Pending:
        """Objects of the manifest's month that it neither names nor lists for removal, written at
        `until` or before; `None`: whenever.

        They are warm files and keyframes no manifest names, and hot files of adopted slots that are
        neither live nor listed. Hot files that nobody has adopted are data.
        """
        month, live = manifest.month, manifest.live
        named = live | manifest.pending_files
        files = []
        for name, entry in {**self.warm.get(month, {}), **self.keyframes.get(month, {})}.items():
            if name not in named and (until is None or entry.last_modified <= until):
                files.append(name)

        waiting = manifest.pending_slots
        slots = []
        for index, entry in self.hot.get(month, {}).items():
            unnamed = entry.key not in live and index not in waiting
            old = until is None or entry.last_modified <= until
            known = index in manifest.adopted or manifest.removed
            if known and unnamed and old:
                slots.append(index)
        return Pending(None, tuple(files), SlotSet.of(slots))


def read_lost(dataset: Dataset, inventory: Inventory, manifest: Manifest) -> dict[str, SlotSet]:
    """What files hold that the manifest, read after the inventory, does not name: name → slots it
    does not know, or knows from files that are not there. Every such file is asked.
    """
    holders = inventory.holders(manifest.month)
    unnamed = NO_SLOTS
    for file in holders.keys() - manifest.live - manifest.pending_files:
        unnamed |= may_hold(file)
    missing = NO_SLOTS
    for entry in find_missing(dataset, inventory, manifest, unnamed):
        missing |= entry.slots
    return read_unknown(dataset, manifest, holders, manifest.adopted - missing, ask=True)


def find_missing(
    dataset: Dataset, inventory: Inventory, manifest: Manifest, sure: SlotSet = NO_SLOTS
) -> list[FileEntry | Keyframe]:
    """The files that `manifest` names, that say what no other says, and that are not there.

    Files may have been written since the inventory was made, so those it lacks are looked for; and
    others removed, so those that hold some of the slots `sure` are looked for too.
    """
    month = manifest.month
    stored = {**inventory.warm.get(month, {}), **inventory.keyframes.get(month, {})}
    hot = inventory.hot.get(month, {})
    missing: list[FileEntry | Keyframe] = []
    for entry in manifest.files:
        listed = entry.first in hot if entry.is_hot else entry.file in stored
        if (not listed or entry.slots & sure) and not entry.is_border:
            missing.append(entry)
    for keyframe in manifest.keyframes:
        listed = keyframe.file in stored
        if keyframe.is_full and (not listed or keyframe.slots & sure):
            missing.append(keyframe)
    return [each for each in missing if not exists(dataset.store, dataset.key(month, each.file))]


def list_inventory(dataset: Dataset) -> Inventory:
    """Every object below the prefixes of the provider.

    What does not look like one of its files is passed over.
    """
    store, paths = dataset.store, dataset.paths
    warm: dict[Month, dict[str, Entry]] = {}
    keyframes: dict[Month, dict[str, Entry]] = {}
    hot: dict[Month, dict[int, Entry]] = {}
    manifests: set[Month] = set()
    foreign: list[str] = []
    times: list[datetime] = []

    for entry in store.list(paths.warm_prefix + "/"):
        times.append(entry.last_modified)
        folder, _, name = entry.key.rpartition("/")
        month = paths.parse_manifest_key(f"{folder}/manifest.json")
        if month is not None and name == "manifest.json":
            manifests.add(month)
        elif month is not None and WarmName.parse(name) is not None:
            warm.setdefault(month, {})[name] = entry
        else:
            foreign.append(entry.key)

    beside = (paths.copied_key, paths.refused_key, paths.verified_key)
    for entry in store.list(paths.state_prefix + "/"):
        times.append(entry.last_modified)
        parsed = paths.parse_keyframe_key(entry.key)
        if parsed is not None:
            keyframes.setdefault(parsed[0], {})[parsed[1]] = entry
        elif entry.key not in beside:
            foreign.append(entry.key)

    slot_of = paths.hot_slots()
    for entry in store.list(paths.hot_prefix + "/"):
        times.append(entry.last_modified)
        slot = slot_of(entry.key)
        if slot is not None:
            hot.setdefault(slot.month, {})[slot.index] = entry
        else:
            foreign.append(entry.key)

    youngest = max(times, default=None)
    others = tuple(key for key in foreign if not _KEPT.search(key))
    return Inventory(warm, keyframes, hot, frozenset(manifests), others, youngest)
