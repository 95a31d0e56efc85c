"""Verification: does the store hold what the manifests say, exactly once, unharmed?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from attrs import frozen

from titans.dataset import Dataset
from titans.errors import CorruptFileError, FormatError, NotFound
from titans.html import table
from titans.slots import Month
from titans.tiers.files.fetch import read_info
from titans.tiers.files.kept import KEPT
from titans.tiers.maintain.checks import MonthChecks
from titans.tiers.maintain.inventory import Inventory, list_inventory, read_lost
from titans.tiers.maintain.notes import Check, Notes
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.entries import Pending
from titans.tiers.manifest.model import Manifest

__all__ = ["CHECKS", "Check", "Verification", "together", "verify"]

CHECKS = {
    "manifest": "every manifest can be read and belongs where it lies",
    "existence": "every file that a manifest names is there",
    "size": "and has the size it had",
    "metadata": "and says of itself what the manifest says of it",
    "ledger": "no file has more rows than went into it",
    "exactly once": "every adopted slot is in exactly one file",
    "slots": "observed, full and compared slots are those that the files speak of",
    "unknown": "no file holds slots that its manifest does not know",
    "waiting": "every hot file that nobody has adopted yet can be read",
    "content": "every file holds the rows it was written with (hash, number)",
    "schema": "in the columns and dtypes of its schema version",
    "order": "sorted by key and Time, within the bounds that the manifest names",
    "uniqueness": "and no key has two rows for the same Time, across all files of a month",
    "keyframes": "every keyframe that may be used is the state that the change points lead to",
    "borders": "every border that may be used is what its full snapshot changed",
    "snapshots": "the state at every snapshot is the one that its ingest acknowledged",
}
"""What is checked; the last seven only with `deep`."""

_DEEP = ("content", "schema", "order", "uniqueness", "keyframes", "borders", "snapshots")

_LOOKS = 32
"""How often a month is looked at, at most, that others commit to meanwhile. Something is wrong with
it for sure where two looks in a row find the same."""


@frozen
class Verification:
    """All verdicts."""

    checks: tuple[Check, ...]
    gaps: dict[str, tuple[datetime, ...]]
    """Month → starts of the intervals in which nobody looked, between the first and the last in
    which somebody did: of slots, or of what the provider's `Expectations` say.

    A fact, not a failure.
    """
    orphans: int
    """Objects no manifest names, and that hold nothing else; vacuum removes them."""
    foreign: tuple[str, ...] = ()
    """Keys of objects among those of the archive that are not its own. They count for nothing.

    One under the name of a hot file is a failure too: it takes the place of that.
    """

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def _repr_html_(self) -> str:
        rows = []
        for check in self.checks:
            verdict = "ok" if check.passed else "; ".join(check.failures)
            rows.append([check.name, f"{check.asked:,}", verdict])
        caption = "verified" if self.passed else "the verification failed"
        return table(caption, ["check", "looked at", "verdict"], rows)


def verify(
    dataset: Dataset,
    *,
    deep: bool = False,
    progress: Callable[[int, int], None] | None = None,
    only: Collection[Month] | None = None,
) -> Verification:
    """Check every month, and change nothing. What is wrong with one file keeps no other from being
    looked at.

    Beside writers it may meet a file that has just been replaced; it then looks at the newer
    manifest.

    Args:
        deep: read every row, not only metadata.
        progress: called with how many months are done, and how many there are.
        only: these months.

    Raises:
        ProviderMismatchError: the archive, or a file in it, is not this provider's, or a newer
            version of it wrote it.
    """
    KEPT.clear()  # what was fetched earlier says nothing of what is stored now
    notes, orphans = Notes(), 0
    gaps: dict[str, tuple[datetime, ...]] = {}
    inventory = list_inventory(dataset)
    foreign = list(inventory.foreign)
    months = inventory.months
    if only is not None:
        months = tuple(month for month in months if month in only)
    for number, month in enumerate(months):
        if progress is not None:
            progress(number, len(months))
        manifest = _read_manifest(dataset, month, notes)
        if manifest is None:
            continue

        before: set[str] = set()
        for _ in range(_LOOKS):
            checks = MonthChecks(dataset, inventory, manifest, deep)
            checks.run()
            unnamed = inventory.orphans(manifest, None)
            _check_unknown(dataset, inventory, manifest, checks.notes)
            newer = _read_manifest(dataset, month, Notes())
            found = {line for lines in checks.notes.failures.values() for line in lines}
            # What was wrong at two looks is; what was not there at the first may be of a change
            # that was under way.
            if newer is None or found <= before or newer.version == manifest.version:
                break
            before = found
            manifest, inventory = newer, list_inventory(dataset)
        notes.add(checks.notes)
        foreign += checks.foreign + _list_foreign(dataset, month, unnamed)
        missed = manifest.gaps(dataset.paths.minutes, dataset.provider.every)
        if missed:
            gaps[str(month)] = missed
        orphans += len(unnamed.files) + len(unnamed.slots)

    if progress is not None:
        progress(len(months), len(months))
    names = [name for name in CHECKS if deep or name not in _DEEP]
    checked = tuple(notes.check(name) for name in names)
    return Verification(checked, gaps, orphans, tuple(sorted(foreign)))


def together(parts: Iterable[Verification]) -> Verification:
    """The verdicts on several months as one."""
    asked = Counter[str]()
    failures: dict[str, list[str]] = {}
    gaps: dict[str, tuple[datetime, ...]] = {}
    foreign: set[str] = set()
    orphans = 0
    for part in parts:
        for check in part.checks:
            asked[check.name] += check.asked
            failures.setdefault(check.name, []).extend(check.failures)
        gaps |= part.gaps
        foreign |= set(part.foreign)
        orphans += part.orphans
    checks = []
    for name, lines in failures.items():
        checks.append(Check(name, asked[name], tuple(dict.fromkeys(lines))))
    return Verification(tuple(checks), dict(sorted(gaps.items())), orphans, tuple(sorted(foreign)))


def _read_manifest(dataset: Dataset, month: Month, notes: Notes) -> Manifest | None:
    try:
        manifest = read_head(dataset, month).manifest
    except (FormatError, NotFound) as error:
        notes.say("manifest", False, str(error))
        return None
    notes.say("manifest", True, "")
    return manifest


def _check_unknown(
    dataset: Dataset, inventory: Inventory, manifest: Manifest, notes: Notes
) -> None:
    """A file that holds what the manifest does not know is no orphan: nothing else may hold it."""
    unknown = read_lost(dataset, inventory, manifest)
    for file in inventory.holders(manifest.month):
        slots = unknown.get(file, ())
        key = dataset.key(manifest.month, file)
        named = ", ".join(str(dataset.slot(manifest.month, index)) for index in list(slots)[:3])
        notes.say(
            "unknown",
            not slots,
            f"{key} holds {len(slots)} slot(s) that the manifest does not know, or has lost "
            f"({named}); run titans repair",
        )


def _list_foreign(dataset: Dataset, month: Month, orphans: Pending) -> list[str]:
    """Those of the orphans that are not what their names say."""
    foreign = []
    for file in orphans.files:
        key = dataset.key(month, file)
        try:
            read_info(dataset, key, dataset.slot(month, 0))
        except (CorruptFileError, NotFound):
            foreign.append(key)
    return foreign
