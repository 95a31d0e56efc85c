"""What is asked of one month: every file by itself, and all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import TypeVar

import polars as pl
from attrs import define, evolve, field

from titans.changes.digest import digest
from titans.changes.state import delta
from titans.dataset import Dataset
from titans.errors import ForeignObjectError, FormatError, NotFound
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Month, SlotSet
from titans.tiers.compact.basis import read_state_before
from titans.tiers.files.fetch import read_info, read_rows, read_whole
from titans.tiers.files.metadata import Contents, FileInfo
from titans.tiers.maintain.inventory import Inventory
from titans.tiers.maintain.notes import Notes
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.replay import replayed_hashes
from titans.tiers.manifest.view import MonthView
from titans.tiers.write.hot import is_outdated

__all__ = ["MonthChecks"]

T = TypeVar("T")


@define
class MonthChecks:
    """One look at one month."""

    dataset: Dataset
    inventory: Inventory
    manifest: Manifest
    deep: bool
    notes: Notes = field(factory=Notes)
    foreign: list[str] = field(factory=list)
    """Keys of hot files that are none."""
    _infos: dict[str, FileInfo] = field(factory=dict)
    """File → what it says of itself."""

    @property
    def month(self) -> Month:
        return self.manifest.month

    def run(self) -> None:
        self._check_files()
        for keyframe in self.manifest.keyframes:
            self._check_keyframe(keyframe)
        self._check_slots()
        self._check_said_slots()
        self._check_waiting()
        if self.deep:
            self._check_derived()

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
        if not self._is_there(key, entry):
            return None
        lost = entry.rows_in - entry.rows
        self.notes.say("ledger", lost >= 0, f"{key} has {-lost} row(s) more than went into it")
        info = self._read_info(key, entry, entry.first)
        if info is not None:
            wrong = [name for name, value in _stated(info) if value != getattr(entry, name)]
            if entry.is_hot and [entry.first, entry.last] != [info.record.slot] * 2:
                wrong.append("hot_range")
            self._say_metadata(key, wrong)
        if not self.deep:
            return None
        rows = self._read_content("content", key, entry)
        if rows is not None:
            written = self.dataset.as_of(self.manifest.schema(entry.schema_version))
            self._check_rows(key, rows, written.provider, entry)
        return rows

    def _is_there(self, key: str, entry: FileEntry | Keyframe) -> bool:
        if isinstance(entry, Keyframe):
            listed = self.inventory.keyframes.get(self.month, {}).get(entry.file)
        elif entry.is_hot:
            listed = self.inventory.hot.get(self.month, {}).get(entry.first)
        else:
            listed = self.inventory.warm.get(self.month, {}).get(entry.file)
        if listed is None:
            try:
                listed = self.dataset.store.head(key)
            except NotFound:
                return self.notes.say("existence", False, f"{key} is missing")
        self.notes.say("existence", True, "")
        self.notes.say(
            "size",
            listed.size == entry.bytes,
            f"{key} has {listed.size} bytes, the manifest says {entry.bytes}",
        )
        return True

    def _read_info(self, key: str, entry: FileEntry | Keyframe, slot: int) -> FileInfo | None:
        """What a file says of itself; `None` where it says nothing, or cannot be read."""
        read = partial(read_info, self.dataset, key, self.dataset.slot(self.month, slot))
        info = self.notes.read("metadata", key, read)
        if info is None:
            return None
        self._infos[entry.file] = info
        return None if info.kind == "legacy" else info

    def _say_metadata(self, key: str, wrong: list[str]) -> None:
        self.notes.say(
            "metadata", not wrong, f"{key} disagrees with the manifest about {', '.join(wrong)}"
        )

    def _read_content(
        self, check: str, key: str, entry: FileEntry | Keyframe
    ) -> pl.DataFrame | None:
        """The rows of a file, which should be those it was written with."""
        written = self.dataset.as_of(self.manifest.schema(entry.schema_version))
        hot = None
        if isinstance(entry, FileEntry) and entry.is_hot:
            hot = self.dataset.slot(self.month, entry.first)
        rows = self.notes.read(check, key, partial(read_rows, written, key, hot))
        if rows is None:
            return None
        same = rows.height == entry.rows and digest(rows) == entry.hash
        self.notes.say(
            check, same, f"{key} does not hold the {entry.rows} rows it was written with"
        )
        return rows

    def _check_rows(
        self, key: str, rows: pl.DataFrame, provider: Provider, entry: Contents
    ) -> None:
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

    def _check_keyframe(self, keyframe: Keyframe) -> None:
        """A whole state by itself."""
        key = self.dataset.key(self.month, keyframe.file)
        if not self._is_there(key, keyframe):
            return
        info = self._read_info(key, keyframe, keyframe.slot)
        if info is not None:
            names = ("rows", "hash", "schema_version")
            wrong = [name for name in names if getattr(info, name) != getattr(keyframe, name)]
            if info.slots != keyframe.slots:
                wrong.append("slot")
            self._say_metadata(key, wrong)
        if self.deep and keyframe.is_full:
            self._read_content("content", key, keyframe)

    # --- slots ------------------------------------------------------------------------------------

    def _check_slots(self) -> None:
        """Every adopted slot is in one file, every observed one is adopted."""
        manifest, month = self.manifest, self.month
        holders: Counter[int] = Counter()
        for entry in manifest.files:
            holders.update(entry.slots)
        for keyframe in manifest.keyframes:
            holders.update(keyframe.slots)
        wrong = sorted(set(manifest.adopted) ^ set(holders))
        wrong += sorted(index for index, count in holders.items() if count > 1)
        self.notes.say(
            "exactly once",
            not wrong,
            f"{month}: {len(wrong)} slot(s) are adopted but not in exactly one file: "
            f"{self._named(wrong)}",
        )

        stray = set(manifest.observed) - set(manifest.adopted)
        stray |= set(manifest.full) - set(manifest.observed)
        self.notes.say(
            "exactly once",
            not stray,
            f"{month}: slots {sorted(stray)[:3]} are observed or full, but not adopted",
        )

    def _named(self, indexes: list[int]) -> str:
        return ", ".join(str(self.dataset.slot(self.month, index)) for index in indexes[:3])

    def _check_said_slots(self) -> None:
        """Observed slots, full snapshots and bases are those that the files speak of."""
        manifest, month = self.manifest, self.month
        entries: list[FileEntry | Keyframe] = [*manifest.files, *manifest.keyframes]
        if any(entry.file not in self._infos for entry in entries):
            return  # which is told by itself
        observed: set[int] = set()
        complete: set[int] = set()
        empty: set[int] = set()
        full = {}
        for info in self._infos.values():
            observed |= set(info.observed)
            full.update(info.full)
            complete |= set(info.claims.complete)
            empty |= set(info.claims.empty)
        claims = manifest.claims
        wrong = sorted(observed ^ set(manifest.observed))
        wrong += sorted((complete ^ set(claims.complete)) | (empty ^ set(claims.empty)))
        self.notes.say(
            "slots", not wrong, f"{month}: the files disagree on who looked: {self._named(wrong)}"
        )
        wrong = [slot for slot in {*full, *manifest.full} if full.get(slot) != self._full(slot)]
        self.notes.say(
            "slots",
            not wrong,
            f"{month}: the files disagree on full snapshots: {self._named(sorted(wrong))}",
        )
        # What was adopted stands for itself, also where its base says something else by now.
        known = manifest.observed | SlotSet.of(
            each.slot for each in manifest.rewrites if each.slot is not None
        )
        for entry in manifest.files:
            base = self._infos[entry.file].base
            self.notes.say(
                "slots",
                base is None or (base < entry.first and base in known),
                f"{entry.file} was compared with a snapshot that the archive does not have",
            )

    def _full(self, slot: int) -> object:
        return self.manifest.full.get(slot)

    def _check_waiting(self) -> None:
        """Hot files that nobody has adopted yet; with `deep`, down to their rows."""
        if self.manifest.removed:
            return
        hot = self.inventory.hot.get(self.month, {})
        read = read_whole if self.deep else read_info
        coming = set(self.manifest.observed)
        for index in self.manifest.adopted.missing(hot):
            key = hot[index].key
            try:
                info = read(self.dataset, key, self.dataset.slot(self.month, index))
            except NotFound:
                continue  # adopted, merged and removed since
            except FormatError as error:
                if isinstance(error, ForeignObjectError):
                    self.foreign.append(key)
                self.notes.say("waiting", False, str(error))
                continue
            if is_outdated(self.manifest, info):
                continue  # it counts for nothing, and the next one for its slot replaces it
            if info.observed:
                coming.add(index)
            self.notes.say(
                "waiting",
                info.base is None or info.base in coming,
                f"{key} was compared with a snapshot that the archive does not have; its manifest "
                "may be an earlier one: see titans repair",
            )

    # --- what is derived --------------------------------------------------------------------------

    def _check_derived(self) -> None:
        """Keyframes, borders and the states at all snapshots, replayed.

        They cannot be judged where files that they follow from are not there, or not whole.
        """
        view = MonthView.of(self.manifest, self.dataset)
        if {"existence", "content"} & set(self.notes.failures):
            self._check_keyframes_alone()
            return
        self.notes.read("snapshots", str(self.month), partial(self._check_snapshots, view))
        earlier: pl.DataFrame | None = None
        if view.is_dependent and not self.manifest.dirty:
            try:
                earlier = read_state_before(self.dataset, self.month)
            except (FormatError, NotFound) as error:
                self.notes.say("keyframes", False, f"what comes before {self.month}: {error}")
                self._check_keyframes_alone()
                return
        if self.manifest.dirty:
            self._check_keyframes_alone()
            return

        if self.manifest.begins:
            earlier = self._read_beginning()
        replayed = evolve(view, keyframes=())
        for keyframe in self.manifest.keyframes:
            if not keyframe.is_full:
                check = partial(self._check_state, keyframe, replayed, earlier)
                self.notes.read("keyframes", keyframe.file, check)
        for slot in sorted(view.borders):
            check = partial(self._check_border, view, slot, replayed, earlier)
            self.notes.read("borders", f"the border of slot {slot} of {self.month}", check)

    def _read_beginning(self) -> pl.DataFrame | None:
        """What earlier months left, which were removed: nothing but a keyframe says it."""
        for keyframe in self.manifest.keyframes:
            if keyframe.slot == 0 and not keyframe.is_full:
                key = self.dataset.key(self.month, keyframe.file)
                if self._read_content("content", key, keyframe) is not None:
                    rows = _read_keyframe(self.dataset, self.manifest, keyframe)
                    return rows.drop(CEASED)
        return None

    def _check_keyframes_alone(self) -> None:
        """Whether they hold at least what they were written with."""
        for keyframe in self.manifest.keyframes:
            if not keyframe.is_full:
                key = self.dataset.key(self.month, keyframe.file)
                self._read_content("keyframes", key, keyframe)

    def _check_state(
        self, keyframe: Keyframe, replayed: MonthView, earlier: pl.DataFrame | None
    ) -> None:
        """A keyframe is the state at its slot."""
        start = self.dataset.slot(self.month, keyframe.slot).start
        state = replayed.state(start, earlier)
        rows = _read_keyframe(self.dataset, self.manifest, keyframe)
        key = self.dataset.key(self.month, keyframe.file)
        self.notes.say(
            "keyframes",
            rows.drop(CEASED).equals(state),
            f"{key} is not the state at the start of slot {keyframe.slot} of {self.month}",
        )

    def _check_border(
        self, view: MonthView, slot: int, replayed: MonthView, earlier: pl.DataFrame | None
    ) -> None:
        """The border of a full snapshot is what leads from the state before to it."""
        full = view.full[slot]
        (entry,) = [e for e in self.manifest.files if e.is_border and e.first == slot]
        before = replayed.state(full.time, earlier)
        expected = delta(before, view.read_full(full), full.time, self.dataset.provider).rows
        self.notes.say(
            "borders",
            view.read_border(full).equals(expected),
            f"{entry.file} is not what the full snapshot of slot {slot} of {self.month} changed",
        )

    def _check_snapshots(self, view: MonthView) -> None:
        """The state at every snapshot has the hash that it had when it was ingested.

        Rows that were cast since have another one, and files of earlier releases do not say whether
        values were carried: these are not asked.
        """
        wanted = {}
        today = self.dataset.provider.schema.version
        for info in self._infos.values():
            if info.schema_version != today or info.cast_from:
                continue
            for record in info.records:
                if record.is_snapshot and record.state is not None:
                    wanted[record.time] = record.state
        for time, state in replayed_hashes(view, wanted):
            self.notes.say(
                "snapshots",
                state == wanted[time],
                f"{self.month}: the state at {time.isoformat()} is not the one that the snapshot "
                "of that time made",
            )


def _stated(info: FileInfo) -> Iterator[tuple[str, object]]:
    """What both a file and the manifest say of it."""
    yield from info.contents.items()
    yield "slots", info.slots


def _read_keyframe(dataset: Dataset, manifest: Manifest, keyframe: Keyframe) -> pl.DataFrame:
    """The rows of a keyframe in today's columns.

    Raises:
        NotFound, CorruptFileError, ProviderMismatchError
    """
    key = dataset.key(manifest.month, keyframe.file)
    schema = manifest.schema(keyframe.schema_version)
    rows = read_rows(dataset.as_of(schema), key)
    if schema is None:
        return rows
    return dataset.provider.evolution(schema, key).apply(rows, dataset.provider.key)
