"""How a manifest that was lost, or of which an earlier version was put back, is noticed.

Merged files and full snapshots say which slots they hold, and what was adopted once stays adopted.
One that holds slots its manifest does not know was written by a later version of it.

List first, then read the manifest: whatever was listed was made of slots that had been adopted by
then. A merge that has not committed its output yet is no exception, for the manifest knows the
slots of its inputs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from attrs import evolve

from titans.dataset import Dataset
from titans.errors import CorruptFileError, ForeignObjectError, ManifestError, NotFound
from titans.layout import KeyframeName, WarmName
from titans.slots import NO_SLOTS, Month, SlotSet
from titans.store import Entry
from titans.tiers.files.fetch import read_file, read_info
from titans.tiers.files.metadata import FileInfo, SlotRecord
from titans.tiers.files.rewrites import Rewrite
from titans.tiers.manifest.entries import Keyframe
from titans.tiers.manifest.legacy import live_slots
from titans.tiers.manifest.model import Manifest

__all__ = [
    "holds_slots",
    "list_files",
    "lost_beginning",
    "lost_slots",
    "may_hold",
    "read_beginnings",
    "read_held",
    "read_unknown",
]

log = logging.getLogger("titans.lost")


def holds_slots(file: str) -> bool:
    """Whether a file of this name holds slots: a merged one, or a full snapshot."""
    name, state = WarmName.parse(file), KeyframeName.parse(file)
    if name is not None:
        return name.id is not None
    return state is not None and state.is_full


def list_files(dataset: Dataset, month: Month) -> dict[str, Entry]:
    """The merged files and keyframes of a month, by name, whether a manifest names them or not."""
    paths = dataset.paths
    files = {}
    for prefix in (paths.warm_month(month), paths.state_month(month)):
        for entry in dataset.store.list(prefix):
            files[entry.key.removeprefix(prefix)] = entry
    return files


def read_beginnings(
    dataset: Dataset, month: Month, entries: Iterable[Entry]
) -> list[tuple[Keyframe, tuple[Rewrite, ...]]]:
    """Of objects beside the keyframes of a month, those that say what removed months left (`titans
    retain`), and the rewrites that made them.
    """
    found = []
    for entry in entries:
        file = entry.key.rpartition("/")[2]
        name = KeyframeName.parse(file)
        if name is None or name.is_full or name.slot:
            continue
        try:
            info = read_info(dataset, entry.key, dataset.slot(month, 0), entry.size)
        except (CorruptFileError, NotFound) as error:
            log.warning("%s", error)
            continue
        if any(rewrite.operation == "retain" for rewrite in info.rewrites):
            found.append((Keyframe.of(file, 0, info), info.rewrites))
    return found


def may_hold(file: str) -> SlotSet:
    """The slots that a file may hold, by its name."""
    if not holds_slots(file):
        return NO_SLOTS
    name, state = WarmName.parse(file), KeyframeName.parse(file)
    if name is not None:
        return SlotSet(((name.first, max(name.first, name.last)),))
    if state is not None:
        return SlotSet(((state.slot, state.slot),))
    return NO_SLOTS


def read_held(dataset: Dataset, month: Month, entry: Entry) -> FileInfo:
    """What a file that holds slots says of itself; of an earlier writer's, by its live rows.

    Raises:
        NotFound, CorruptFileError, FormatVersionError, ProviderMismatchError
    """
    start = dataset.slot(month, 0)
    info = read_info(dataset, entry.key, start, entry.size)
    if info.kind != "legacy":
        return info
    rows, _ = read_file(dataset, entry.key, start, hot=False)
    records = []
    for index in live_slots(rows, dataset, month):
        records.append(SlotRecord(index, "changes", info.hash, dataset.slot(month, index).start))
    return evolve(info, records=tuple(records))


def read_unknown(
    dataset: Dataset,
    manifest: Manifest,
    listed: Mapping[str, Entry],
    known: SlotSet | None = None,
    *,
    ask: bool = False,
) -> dict[str, SlotSet]:
    """Of files that were listed before the manifest was read, those that hold slots it does not
    know (what is adopted, unless `known` says otherwise): name → such slots.

    Only files are read whose names do not rule it out; with `ask`, all that the manifest does not
    name. One that cannot be read any more holds what its name says; a foreign one, nothing.
    """
    if manifest.removed:
        return {}
    named = manifest.live
    if known is None or known == manifest.adopted:
        known = manifest.adopted
        named |= manifest.pending_files  # replaced by files that are there
    unknown = {}
    for file, entry in listed.items():
        possible = may_hold(file) - known
        if file in named or not (possible or ask):
            continue
        try:
            held = read_held(dataset, manifest.month, entry).slots
        except NotFound:
            continue
        except ForeignObjectError as error:
            log.warning("%s", error)
            continue
        except CorruptFileError as error:
            log.error("%s", error)
            held = possible
        if held - known:
            unknown[file] = held - known
    return unknown


def lost_beginning(dataset: Dataset, month: Month, keyframe: Keyframe) -> ManifestError:
    """The error for a month without a manifest that an archive begins with."""
    key = dataset.paths.manifest_key(month)
    return ManifestError(
        f"{key} was lost: {keyframe.file} says that the archive begins with {month}. Nothing was "
        "changed; run titans repair, which makes it again from the files",
        provider=dataset.provider.name,
        month=str(month),
        key=key,
    )


def lost_slots(dataset: Dataset, month: Month, unknown: Mapping[str, SlotSet]) -> ManifestError:
    """The error for a month whose files hold slots that its manifest does not know."""
    return ManifestError(
        f"{dataset.paths.manifest_key(month)} does not know what {_named(unknown)} there: it was "
        "lost, or an earlier version of it was put back. Nothing was changed; run titans repair, "
        "which makes it again from the files",
        provider=dataset.provider.name,
        month=str(month),
        key=dataset.paths.manifest_key(month),
    )


def _named(unknown: Mapping[str, SlotSet]) -> str:
    files: Iterable[str] = sorted(unknown)[:3]
    slots = sum(len(each) for each in unknown.values())
    more = " and others hold" if len(unknown) > 3 else " hold(s)"
    return f"{', '.join(files)}{more} ({slots} slot(s))"
