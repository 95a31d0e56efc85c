"""Verification: does the store hold what the manifests say, exactly once, unharmed?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import TypeVar

import polars as pl
from attrs import define, evolve, field, frozen

from titans.changes.digest import digest
from titans.errors import FormatError, NotFound
from titans.layout import Paths
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Month, Slot, SlotSet
from titans.store import ObjectStore
from titans.tiers.commit import read_head
from titans.tiers.deletion import exists
from titans.tiers.entries import read_keyframe
from titans.tiers.files import read_file, read_info
from titans.tiers.info import FileInfo
from titans.tiers.keyframes import state_left_before
from titans.tiers.manifest import FileEntry, Manifest
from titans.tiers.vacuum import Inventory, inventory
from titans.tiers.view import MonthView

__all__ = ["CHECKS", "Check", "Verification", "verify"]

CHECKS = {
    "manifest": "every manifest can be read and belongs where it lies",
    "existence": "every file that a manifest names is there",
    "size": "and has the size it had",
    "metadata": "and says of itself what the manifest says of it",
    "ledger": "no file has more rows than went into it",
    "exactly once": "every adopted slot is in exactly one file",
    "waiting": "every hot file that nobody has adopted yet can be read",
    "content": "every file holds the rows it was written with (hash, number)",
    "schema": "in the columns and dtypes of its schema version",
    "order": "sorted by key and Time, within the bounds that the manifest names",
    "uniqueness": "and no key has two rows for the same Time, across all files of a month",
    "keyframes": "every keyframe that may be used is the state that the change points lead to",
}
"""What is checked; the last five only with `deep`."""

T = TypeVar("T")

_DEEP = ("content", "schema", "order", "uniqueness", "keyframes")


@frozen
class Check:
    """The verdict on one question."""

    name: str
    asked: int
    """How many things were looked at."""
    failures: tuple[str, ...]
    """What is wrong, one line each."""

    @property
    def passed(self) -> bool:
        return not self.failures


@frozen
class Verification:
    """All verdicts."""

    checks: tuple[Check, ...]
    gaps: dict[str, SlotSet]
    """Month → slots between the first and the last observed one for which nobody looked; a fact,
    not a failure."""
    orphans: int
    """Objects no manifest names; vacuum removes them."""

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


@define
class _Notes:
    asked: Counter[str] = field(factory=Counter)
    failures: dict[str, list[str]] = field(factory=dict)

    def say(self, check: str, good: bool, failure: str) -> bool:
        self.asked[check] += 1
        if not good:
            self.failures.setdefault(check, []).append(failure)
        return good


def verify(
    store: ObjectStore, paths: Paths, provider: Provider, *, deep: bool = False
) -> Verification:
    """Check every month, and change nothing.

    Beside writers it may meet a file that has just been replaced; it then looks at the newer
    manifest.

    Args:
        deep: read every row, not only metadata.

    Raises:
        ProviderMismatchError: the archive, or a file in it, is not this provider's, or a newer
            version of it wrote it.
    """
    notes, found, gaps, orphans = _Notes(), inventory(store, paths), {}, 0
    for month in found.months:
        manifest = _manifest(store, paths, provider, month, notes)
        if manifest is None:
            continue
        for _ in range(4):
            attempt = _Notes()
            _month(store, paths, provider, manifest, found, attempt, deep=deep)
            newer = read_head(store, paths, provider, month).manifest
            if not attempt.failures or newer.version == manifest.version:
                break
            manifest, found = newer, inventory(store, paths)
        notes.asked += attempt.asked
        for name, lines in attempt.failures.items():
            notes.failures.setdefault(name, []).extend(lines)
        if manifest.gaps:
            gaps[str(month)] = manifest.gaps
        orphans += _orphans(found, manifest)
    names = [name for name in CHECKS if deep or name not in _DEEP]
    checks = tuple(
        Check(name, notes.asked[name], tuple(notes.failures.get(name, ()))) for name in names
    )
    return Verification(checks, gaps, orphans)


def _manifest(
    store: ObjectStore, paths: Paths, provider: Provider, month: Month, notes: _Notes
) -> Manifest | None:
    try:
        manifest = read_head(store, paths, provider, month).manifest
    except FormatError as error:
        notes.say("manifest", False, str(error))
        return None
    notes.say("manifest", True, "")
    return manifest


def _month(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    found: Inventory,
    notes: _Notes,
    *,
    deep: bool,
) -> None:
    month = manifest.month
    times: list[pl.DataFrame] = []
    holders: Counter[int] = Counter()
    for entry in manifest.files:
        holders.update(entry.slots)
        rows = _file(store, paths, provider, manifest, entry, found, notes, deep=deep)
        if rows is not None:
            times.append(rows.select(*provider.key, TIME))
    wrong = sorted(set(manifest.adopted) ^ set(holders)) + sorted(
        i for i, n in holders.items() if n > 1
    )
    named = ", ".join(str(Slot(month, i, paths.minutes)) for i in wrong[:3])
    notes.say(
        "exactly once",
        not wrong,
        f"{month}: {len(wrong)} slot(s) are adopted but not in exactly one file: {named}",
    )
    stray = set(manifest.observed) - set(manifest.adopted) | set(manifest.full) - set(
        manifest.observed
    )
    notes.say(
        "exactly once",
        not stray,
        f"{month}: slots {sorted(stray)[:3]} are observed or full, but not adopted",
    )
    if times:
        repeated = pl.concat(times).is_duplicated().sum() // 2
        notes.say(
            "uniqueness",
            not repeated,
            f"{month}: {repeated} key(s) have several rows for the same Time",
        )
    _keyframes(store, paths, provider, manifest, found, notes, deep=deep)
    for index, hot in sorted(found.hot.get(month, {}).items()):
        if index not in manifest.adopted:
            slot = Slot(month, index, paths.minutes)
            _tried("waiting", hot.key, notes, partial(read_info, store, hot.key, provider, slot))


def _file(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    entry: FileEntry,
    found: Inventory,
    notes: _Notes,
    *,
    deep: bool,
) -> pl.DataFrame | None:
    month = manifest.month
    key, slot = paths.file_key(month, entry.file), Slot(month, entry.first, paths.minutes)
    there = (
        found.hot.get(month, {}).get(entry.first)
        if entry.is_hot
        else found.warm.get(month, {}).get(entry.file)
    )
    if there is None:
        try:
            there = store.head(key)
        except NotFound:
            notes.say("existence", False, f"{key} is missing")
            return None
    notes.say("existence", True, "")
    notes.say(
        "size",
        there.size == entry.bytes,
        f"{key} has {there.size} bytes, the manifest says {entry.bytes}",
    )
    lost = entry.rows_in - entry.rows
    notes.say("ledger", lost >= 0, f"{key} has {-lost} row(s) more than went into it")
    rows: pl.DataFrame | None = None
    if deep:
        provider = provider.as_of(manifest.schema(entry.schema_version))  # as it was written
        read = _tried(
            "content", key, notes, lambda: read_file(store, key, provider, slot, hot=entry.is_hot)
        )
        info = None if read is None else read[1]
        rows = None if read is None else read[0]
    else:
        info = _tried(
            "metadata", key, notes, lambda: read_info(store, key, provider, slot, entry.bytes)
        )
    if info is not None and info.kind != "legacy":
        wrong = [name for name, value in _said(info) if value != getattr(entry, name)]
        notes.say(
            "metadata", not wrong, f"{key} disagrees with the manifest about {', '.join(wrong)}"
        )
    if rows is not None:
        _rows(rows, provider, key, entry, notes)
    return rows


def _said(info: FileInfo) -> Iterator[tuple[str, object]]:
    for name in (
        "rows",
        "rows_in",
        "hash",
        "slots",
        "min_key",
        "max_key",
        "min_time",
        "max_time",
        "schema_version",
    ):
        yield name, getattr(info, name)


def _rows(
    rows: pl.DataFrame, provider: Provider, key: str, entry: FileEntry, notes: _Notes
) -> None:
    good = rows.height == entry.rows and digest(rows) == entry.hash
    notes.say("content", good, f"{key} does not hold the {entry.rows} rows it was written with")
    notes.say(
        "schema",
        rows.schema == provider.schema_dtypes,
        f"{key} has the columns {dict(rows.schema)}",
    )
    by = [*provider.key, TIME]
    is_sorted = rows.select(by).equals(rows.select(by).sort(by))
    bounds: list[tuple[datetime | None, datetime | None]] = [(rows[TIME].min(), rows[TIME].max())]  # type: ignore[list-item]
    inside = bounds == [(entry.min_time, entry.max_time)]
    keys = rows.select(provider.key)
    inside &= not rows.height or (keys.row(0), keys.row(-1)) == (entry.min_key, entry.max_key)
    notes.say(
        "order", is_sorted and inside, f"{key} is not sorted by key and Time, or leaves its bounds"
    )


def _keyframes(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    found: Inventory,
    notes: _Notes,
    *,
    deep: bool,
) -> None:
    month = manifest.month
    for keyframe in manifest.keyframes:
        key, there = (
            paths.file_key(month, keyframe.file),
            found.keyframes.get(month, {}).get(keyframe.file),
        )
        if there is None and not exists(store, key):
            notes.say("existence", False, f"{key} is missing")
            continue
        notes.say("existence", True, "")
        size = keyframe.bytes if there is None else there.size
        notes.say(
            "size",
            size == keyframe.bytes,
            f"{key} has {size} bytes, the manifest says {keyframe.bytes}",
        )
    if not deep or not manifest.keyframes or manifest.dirty:
        return
    replayed = evolve(MonthView.of(manifest, store, paths, provider), keyframes=())
    earlier: pl.DataFrame | None = None
    if any(k.dependent for k in manifest.keyframes):
        earlier = state_left_before(store, paths, provider, month)
    for keyframe in manifest.keyframes:
        key = paths.file_key(month, keyframe.file)
        read = _tried(
            "keyframes",
            key,
            notes,
            partial(read_keyframe, store, paths, provider, manifest, keyframe),
        )
        if read is None:
            continue
        start = Slot(month, keyframe.slot, paths.minutes).start
        state = replayed.state(start, earlier if keyframe.dependent else None)
        same = read.drop(CEASED).equals(state)
        notes.say(
            "keyframes",
            same,
            f"{key} is not the state at the start of slot {keyframe.slot} of {month}",
        )


def _tried(check: str, key: str, notes: _Notes, read: Callable[[], T]) -> T | None:
    try:
        result = read()
    except (FormatError, NotFound) as error:
        notes.say(check, False, f"{key}: {error}")
        return None
    notes.say(check, True, "")
    return result


def _orphans(found: Inventory, manifest: Manifest) -> int:
    live, listed = manifest.live, manifest.pending_files
    waiting = SlotSet()
    for pending in manifest.pending:
        waiting |= pending.slots
    hot = found.hot.get(manifest.month, {})
    names = [*found.warm.get(manifest.month, {}), *found.keyframes.get(manifest.month, {})]
    return sum(name not in live and name not in listed for name in names) + sum(
        i in manifest.adopted and e.key not in live and i not in waiting for i, e in hot.items()
    )
