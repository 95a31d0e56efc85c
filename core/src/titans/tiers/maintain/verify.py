"""Verification: does the store hold what the manifests say, exactly once, unharmed?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import polars as pl
from attrs import define, evolve, field, frozen

from titans.changes.digest import digest
from titans.changes.state import delta
from titans.dataset import Dataset
from titans.errors import FormatError, NotFound
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Month, SlotSet
from titans.tiers.compact.basis import read_state_before
from titans.tiers.files.fetch import exists, read_file, read_info
from titans.tiers.files.metadata import FileInfo
from titans.tiers.maintain.inventory import Inventory, list_inventory
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.view import MonthView

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
    "borders": "every border that may be used is what its full snapshot changed",
}
"""What is checked; the last six only with `deep`."""

_DEEP = ("content", "schema", "order", "uniqueness", "keyframes", "borders")

_LOOKS = 4
"""How often a month is looked at that others commit to meanwhile."""

T = TypeVar("T")


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
    """Month → slots between the first and the last observed one for which nobody looked.

    A fact, not a failure.
    """
    orphans: int
    """Objects no manifest names; vacuum removes them."""

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def verify(dataset: Dataset, *, deep: bool = False) -> Verification:
    """Check every month, and change nothing.

    Beside writers it may meet a file that has just been replaced; it then looks at the newer
    manifest.

    Args:
        deep: read every row, not only metadata.

    Raises:
        ProviderMismatchError: the archive, or a file in it, is not this provider's, or a newer
            version of it wrote it.
    """
    notes, orphans = _Notes(), 0
    gaps: dict[str, SlotSet] = {}
    inventory = list_inventory(dataset)
    for month in inventory.months:
        manifest = _read_manifest(dataset, month, notes)
        if manifest is None:
            continue

        for _ in range(_LOOKS):
            verifier = _Verifier(dataset, inventory, manifest, deep)
            verifier.check_month()
            newer = read_head(dataset, month).manifest
            if not verifier.notes.failures or newer.version == manifest.version:
                break
            manifest, inventory = newer, list_inventory(dataset)
        notes.add(verifier.notes)
        if manifest.gaps:
            gaps[str(month)] = manifest.gaps
        unnamed = inventory.orphans(manifest, None)
        orphans += len(unnamed.files) + len(unnamed.slots)

    names = [name for name in CHECKS if deep or name not in _DEEP]
    return Verification(tuple(notes.check(name) for name in names), gaps, orphans)


def _read_manifest(dataset: Dataset, month: Month, notes: _Notes) -> Manifest | None:
    try:
        manifest = read_head(dataset, month).manifest
    except FormatError as error:
        notes.say("manifest", False, str(error))
        return None
    notes.say("manifest", True, "")
    return manifest


@define
class _Notes:
    """What was asked, and what is wrong."""

    asked: Counter[str] = field(factory=Counter)
    failures: dict[str, list[str]] = field(factory=dict)

    def say(self, check: str, good: bool, failure: str) -> bool:
        self.asked[check] += 1
        if not good:
            self.failures.setdefault(check, []).append(failure)
        return good

    def add(self, other: _Notes) -> None:
        self.asked += other.asked
        for name, lines in other.failures.items():
            self.failures.setdefault(name, []).extend(lines)

    def check(self, name: str) -> Check:
        return Check(name, self.asked[name], tuple(self.failures.get(name, ())))

    def read(self, check: str, key: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; `None`, and a failure of `check`, where the object is missing or not
        what it should be.
        """
        try:
            result = read()
        except (FormatError, NotFound) as error:
            self.say(check, False, f"{key}: {error}")
            return None
        self.say(check, True, "")
        return result


@define
class _Verifier:
    """One look at one month."""

    dataset: Dataset
    inventory: Inventory
    manifest: Manifest
    deep: bool
    notes: _Notes = field(factory=_Notes)

    @property
    def month(self) -> Month:
        return self.manifest.month

    def check_month(self) -> None:
        self._check_files()
        self._check_slots()
        self._check_keyframes()
        self._check_waiting()

    # --- files ------------------------------------------------------------------------------------

    def _check_files(self) -> None:
        """Every file by itself, and with `deep` that no key and Time is in two of them."""
        keys: list[pl.DataFrame] = []
        for entry in self.manifest.files:
            rows = self._check_file(entry)
            # The rows of a full snapshot are no change points.
            if rows is not None and not self.manifest.is_full(entry):
                keys.append(rows.select(*self.dataset.provider.key, TIME))

        if not keys:
            return
        repeated = pl.concat(keys).is_duplicated().sum() // 2
        self.notes.say(
            "uniqueness",
            not repeated,
            f"{self.month}: {repeated} key(s) have several rows for the same Time",
        )

    def _check_file(self, entry: FileEntry) -> pl.DataFrame | None:
        """The rows of a file, if they are looked at."""
        key = self.dataset.key(self.month, entry.file)
        if entry.is_hot:
            listed = self.inventory.hot.get(self.month, {}).get(entry.first)
        else:
            listed = self.inventory.warm.get(self.month, {}).get(entry.file)
        if listed is None:
            try:
                listed = self.dataset.store.head(key)
            except NotFound:
                self.notes.say("existence", False, f"{key} is missing")
                return None
        self.notes.say("existence", True, "")
        self._check_size(key, listed.size, entry.bytes)
        lost = entry.rows_in - entry.rows
        self.notes.say("ledger", lost >= 0, f"{key} has {-lost} row(s) more than went into it")

        if not self.deep:
            slot = self.dataset.slot(self.month, entry.first)
            info = self.notes.read(
                "metadata", key, partial(read_info, self.dataset, key, slot, entry.bytes)
            )
            self._check_metadata(key, info, entry)
            return None
        return self._check_content(key, entry)

    def _check_content(self, key: str, entry: FileEntry) -> pl.DataFrame | None:
        written = self.dataset.as_of(self.manifest.schema(entry.schema_version))
        slot = self.dataset.slot(self.month, entry.first)
        read = self.notes.read(
            "content", key, partial(read_file, written, key, slot, hot=entry.is_hot)
        )
        if read is None:
            return None
        rows, info = read
        self._check_metadata(key, info, entry)
        self._check_rows(key, rows, written.provider, entry)
        return rows

    def _check_metadata(self, key: str, info: FileInfo | None, entry: FileEntry) -> None:
        if info is None or info.kind == "legacy":
            return
        wrong = [name for name, value in _stated(info) if value != getattr(entry, name)]
        self.notes.say(
            "metadata", not wrong, f"{key} disagrees with the manifest about {', '.join(wrong)}"
        )

    def _check_rows(
        self, key: str, rows: pl.DataFrame, provider: Provider, entry: FileEntry
    ) -> None:
        same = rows.height == entry.rows and digest(rows) == entry.hash
        self.notes.say(
            "content", same, f"{key} does not hold the {entry.rows} rows it was written with"
        )
        in_schema = rows.schema == provider.schema_dtypes
        self.notes.say("schema", in_schema, f"{key} has the columns {dict(rows.schema)}")

        by = [*provider.key, TIME]
        is_sorted = rows.select(by).equals(rows.select(by).sort(by))
        inside = (rows[TIME].min(), rows[TIME].max()) == (entry.min_time, entry.max_time)
        if rows.height:
            keys = rows.select(provider.key)
            inside &= (keys.row(0), keys.row(-1)) == (entry.min_key, entry.max_key)
        self.notes.say(
            "order",
            is_sorted and inside,
            f"{key} is not sorted by key and Time, or leaves its bounds",
        )

    def _check_size(self, key: str, size: int, stated: int) -> None:
        self.notes.say(
            "size", size == stated, f"{key} has {size} bytes, the manifest says {stated}"
        )

    # --- slots ------------------------------------------------------------------------------------

    def _check_slots(self) -> None:
        """Every adopted slot is in one file, every observed one is adopted."""
        manifest, month = self.manifest, self.month
        holders: Counter[int] = Counter()
        for entry in manifest.files:
            holders.update(entry.slots)
        holders.update(keyframe.slot for keyframe in manifest.keyframes if keyframe.is_full)
        wrong = sorted(set(manifest.adopted) ^ set(holders))
        wrong += sorted(index for index, count in holders.items() if count > 1)
        named = ", ".join(str(self.dataset.slot(month, index)) for index in wrong[:3])
        self.notes.say(
            "exactly once",
            not wrong,
            f"{month}: {len(wrong)} slot(s) are adopted but not in exactly one file: {named}",
        )

        stray = set(manifest.observed) - set(manifest.adopted)
        stray |= set(manifest.full) - set(manifest.observed)
        self.notes.say(
            "exactly once",
            not stray,
            f"{month}: slots {sorted(stray)[:3]} are observed or full, but not adopted",
        )

    def _check_waiting(self) -> None:
        for index, entry in sorted(self.inventory.hot.get(self.month, {}).items()):
            if index not in self.manifest.adopted:
                slot = self.dataset.slot(self.month, index)
                read = partial(read_info, self.dataset, entry.key, slot)
                self.notes.read("waiting", entry.key, read)

    # --- keyframes --------------------------------------------------------------------------------

    def _check_keyframes(self) -> None:
        manifest = self.manifest
        for keyframe in manifest.keyframes:
            self._check_keyframe_file(keyframe)
        if not self.deep or manifest.dirty:
            return

        view = MonthView.of(manifest, self.dataset)
        replayed = evolve(view, keyframes=())
        earlier: pl.DataFrame | None = None
        if view.is_dependent:
            earlier = read_state_before(self.dataset, self.month)
        for keyframe in manifest.keyframes:
            start = self.dataset.slot(self.month, keyframe.slot).start
            if keyframe.is_full:
                self._check_full(keyframe)
            else:
                base = earlier if keyframe.dependent else None
                self._check_keyframe_rows(keyframe, replayed.state(start, base))
        for slot in sorted(view.borders):
            before = replayed.state(view.full[slot].time, earlier)
            self._check_border(view, slot, before)

    def _check_full(self, keyframe: Keyframe) -> None:
        """The file of a full snapshot holds the rows it was written with."""
        key = self.dataset.key(self.month, keyframe.file)
        written = self.dataset.as_of(self.manifest.schema(keyframe.schema_version))
        slot = self.dataset.slot(self.month, keyframe.slot)
        read = self.notes.read("content", key, partial(read_file, written, key, slot, hot=False))
        if read is None:
            return
        rows, info = read
        same = rows.height == keyframe.rows and digest(rows) == keyframe.hash == info.hash
        self.notes.say(
            "content", same, f"{key} does not hold the {keyframe.rows} rows it was written with"
        )
        same = info.full == {keyframe.slot: self.manifest.full[keyframe.slot]}
        self.notes.say("metadata", same, f"{key} says it is another snapshot than the manifest")

    def _check_border(self, view: MonthView, slot: int, before: pl.DataFrame) -> None:
        """The border of a full snapshot is what leads from the state before to it."""
        full = view.full[slot]
        name = f"the border of slot {slot} of {self.month}"
        living = self.notes.read("borders", name, partial(view.read_full, full))
        rows = self.notes.read("borders", name, partial(view.read_border, full))
        if living is None or rows is None:
            return
        expected = delta(before, living, full.time, self.dataset.provider).rows
        self.notes.say(
            "borders", rows.equals(expected), f"{name} is not what its full snapshot changed"
        )

    def _check_keyframe_file(self, keyframe: Keyframe) -> None:
        key = self.dataset.key(self.month, keyframe.file)
        listed = self.inventory.keyframes.get(self.month, {}).get(keyframe.file)
        if listed is None and not exists(self.dataset.store, key):
            self.notes.say("existence", False, f"{key} is missing")
            return
        self.notes.say("existence", True, "")
        size = keyframe.bytes if listed is None else listed.size
        self._check_size(key, size, keyframe.bytes)

    def _check_keyframe_rows(self, keyframe: Keyframe, state: pl.DataFrame) -> None:
        key = self.dataset.key(self.month, keyframe.file)
        read = partial(_read_keyframe, self.dataset, self.manifest, keyframe)
        rows = self.notes.read("keyframes", key, read)
        if rows is None:
            return
        self.notes.say(
            "keyframes",
            rows.drop(CEASED).equals(state),
            f"{key} is not the state at the start of slot {keyframe.slot} of {self.month}",
        )


def _stated(info: FileInfo) -> Iterator[tuple[str, object]]:
    """What both a file and the manifest say of it."""
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


def _read_keyframe(dataset: Dataset, manifest: Manifest, keyframe: Keyframe) -> pl.DataFrame:
    """The rows of a keyframe in today's columns.

    Raises:
        NotFound, CorruptFileError, ProviderMismatchError
    """
    key = dataset.key(manifest.month, keyframe.file)
    schema = manifest.schema(keyframe.schema_version)
    slot = dataset.slot(manifest.month, keyframe.slot)
    rows, _ = read_file(dataset.as_of(schema), key, slot, hot=False)
    if schema is None:
        return rows
    return dataset.provider.evolution(schema, key).apply(rows, dataset.provider.key)
