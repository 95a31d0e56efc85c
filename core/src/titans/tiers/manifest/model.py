"""The manifest: one JSON object per provider and month that says which files are the archive.

It keeps the fields of the original layout (`m`, `provider`, `year`, `month`, `pk_columns`,
`levels`, `next_file_id`, `last_hot_idx`, `pending_deletions`) and adds its own. Values are frozen;
every change is a function manifest → manifest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from attrs import evolve, field, frozen

from titans.dataset import Dataset
from titans.errors import (
    InputError,
    InvalidKeyError,
    ManifestError,
    ProviderMismatchError,
    TitansError,
)
from titans.layout import FANOUT, KeyframeName, Paths, WarmName
from titans.provider import Provider
from titans.schema import Schema
from titans.slots import (
    DAY_MINUTES,
    NO_SLOTS,
    Month,
    Slot,
    SlotSet,
    interval_start,
    iso,
    parse_iso,
)
from titans.tiers.files.claims import NO_CLAIMS, Claims
from titans.tiers.files.metadata import (
    FORMAT_VERSION,
    UNSAID_MINUTES,
    check_format_version,
    check_slot_length,
)
from titans.tiers.files.reading import flag, integer, mapping, sequence, shown, text
from titans.tiers.files.rewrites import Rewrite, rewrites_from_json, rewrites_to_json
from titans.tiers.files.writers import Writer
from titans.tiers.manifest.entries import FileEntry, Keyframe, Pending, dump_json, slots

__all__ = ["COMMIT_IDS", "Manifest", "check_provider", "parse_object", "reading_manifest"]

COMMIT_IDS = 64
"""How many of the latest commit ids a manifest keeps, for writers whose answer got lost."""

_HIGHEST = 99
"""No file has a higher level."""

_MARK = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])/[0-9a-f]{8,32}")


@frozen
class Manifest:
    """The state of a month. `Manifest.empty` is that of a month nobody has written to."""

    provider: str
    month: Month
    key: tuple[str, ...]
    schemas: Mapping[int, Schema] = field(factory=dict)
    """Version → columns and dtypes of every schema that files of the month were, or now are,
    written with.
    """
    casts: tuple[Mapping[str, Any], ...] = ()
    """What each newer version made of the rows of an earlier one (`titans.evolution`)."""
    slot_minutes: int = UNSAID_MINUTES
    files: tuple[FileEntry, ...] = ()
    """Live files in order of adoption within each level."""
    next_file_id: int = 1
    least_file_id: int = 1
    """No merge commits a file with a lower id any more: one of that name may have been removed, or
    is about to be.
    """
    adopted: SlotSet = NO_SLOTS
    observed: SlotSet = NO_SLOTS
    """Adopted slots of full snapshots."""
    claims: Claims = NO_CLAIMS
    """Adopted slots of uploads that say more than their rows do."""
    full: Mapping[int, datetime] = field(factory=dict)
    """Slots of full snapshots, stored whole → the time from which nothing earlier counts."""
    keyframes: tuple[Keyframe, ...] = ()
    """Ascending by slot; full snapshots among them, once they are no hot files any more."""
    begins: bool = False
    """Earlier months were removed: the keyframe at its start says what they left, and nothing else
    does.
    """
    removed: bool = False
    """All that the month held was removed; nothing is stored for it any more."""
    sealed: bool = False
    """The month is over, and everything in it has its final form."""
    built_on: bool = False
    """Keyframes of later months hold what this one left.

    Who adopts here marks them first (`titans.tiers.write.late`).
    """
    built_from: Mapping[Month, int] = field(factory=dict)
    """Earlier month → its `data_version` when the border of the first full snapshot was made."""
    dirty: tuple[str, ...] = ()
    """Marks of late adoptions into earlier months that may be under way.

    Dependent keyframes are not trusted then.
    """
    marks: int = 0
    """Counts the marks ever set."""
    fence: int = 0
    """Raised to make a late adoption that seems to have died set its marks again if it goes on."""
    pending: tuple[Pending, ...] = ()
    version: int = 0
    """Counts commits."""
    data_version: int = 0
    """Counts adoptions."""
    commit_ids: tuple[str, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    """Ascending."""
    writer: Writer | None = None
    """Who made the last commit; `None`: unknown."""

    @classmethod
    def empty(cls, provider: Provider, month: Month) -> Manifest:
        minutes = provider.layout.slot_minutes
        return cls(provider.name, month, provider.key, slot_minutes=minutes).knowing(provider)

    def knowing(self, provider: Provider, *schemas: Schema | None) -> Manifest:
        """This manifest with some earlier schemas, and today's.

        Raises:
            ProviderMismatchError: today's is no later version of one of them.
        """
        today = Schema(provider.schema.columns, version=provider.schema.version)
        known = dict(self.schemas)
        for schema in schemas:
            if schema is not None:
                known[schema.version] = schema
        known[today.version] = today

        casts = [cast for cast in self.casts if cast["to"] < today.version]
        for version in sorted(known):
            if version < today.version:
                casts.append(provider.evolution(known[version], str(self.month)).to_json())
        return evolve(self, schemas=known, casts=tuple(casts))

    def schema(self, version: int) -> Schema | None:
        """What files of this version were written with; `None` for the newest, today's."""
        if version == max(self.schemas, default=version):
            return None
        return self.schemas[version]

    def holder(self, slot: int) -> FileEntry | Keyframe | None:
        """The file that holds what was adopted for a slot."""
        for entry in self.files:
            if slot in entry.slots:
                return entry
        for keyframe in self.keyframes:
            if keyframe.is_full and keyframe.slot == slot:
                return keyframe
        return None

    def is_full(self, entry: FileEntry) -> bool:
        """Whether it is the hot file of a full snapshot, whose rows are no change points."""
        return entry.is_hot and entry.first in self.full

    def is_dependent(self, entry: FileEntry) -> bool:
        """Whether it is a border that holds only as long as earlier months are as they were."""
        first = min(self.full, default=None)
        return entry.is_border and entry.first == first and not self.begins

    def level(self, level: int) -> tuple[FileEntry, ...]:
        return tuple(f for f in self.files if f.level == level)

    @property
    def levels(self) -> tuple[int, ...]:
        return tuple(sorted({f.level for f in self.files}))

    @property
    def looked(self) -> SlotSet:
        """Slots for which somebody looked at all there is.

        Uploads that say that they are complete observe too. Where they alone do, nobody can have
        looked at more than any other upload says, and that counts as well.
        """
        looked = self.observed | self.claims.complete
        if looked and not self.observed:
            looked |= self.adopted - self.claims.retracted
        return looked

    def gaps(self, minutes: int, every: timedelta) -> tuple[datetime, ...]:
        """Starts of the intervals of `every`, between the first and the last observed slot, in
        which nobody looked; slots have `minutes` minutes.
        """
        starts = [Slot(self.month, index, minutes).start for index in self.looked]
        if not starts:
            return ()
        seen = {interval_start(start, every) for start in starts}
        first, last = min(seen), max(seen)
        between = (first + number * every for number in range((last - first) // every))
        return tuple(start for start in between if start not in seen)

    @property
    def last_rewrite(self) -> int:
        """Its number; 0 where there was none."""
        return self.rewrites[-1].number if self.rewrites else 0

    @property
    def file_names(self) -> frozenset[str]:
        """Names of the files of change points."""
        return frozenset(entry.file for entry in self.files)

    @property
    def live(self) -> frozenset[str]:
        """Names of all files that belong to the month, keyframes included."""
        return self.file_names | {keyframe.file for keyframe in self.keyframes}

    @property
    def pending_files(self) -> frozenset[str]:
        """Names of warm files and keyframes that wait for removal."""
        return frozenset(name for pending in self.pending for name in pending.files)

    @property
    def pending_slots(self) -> SlotSet:
        """Slots whose hot files wait for removal."""
        return SlotSet.from_intervals(
            pair for pending in self.pending for pair in pending.slots.intervals
        )

    def committed(self, commit_id: str, writer: Writer) -> Manifest:
        """As it is written, and read again: with a new version, the files level by level."""
        return evolve(
            self,
            files=tuple(sorted(self.files, key=lambda f: f.level)),
            version=self.version + 1,
            commit_ids=(*self.commit_ids, commit_id)[-COMMIT_IDS:],
            writer=writer,
        )

    # --- JSON -------------------------------------------------------------------------------------

    def dump(self, paths: Paths) -> bytes:
        data = {
            "format_version": FORMAT_VERSION,
            "m": FANOUT,
            "provider": self.provider,
            "year": self.month.year,
            "month": self.month.month,
            "pk_columns": self.key,
            "slot_minutes": self.slot_minutes,
            "schemas": {str(v): dict(self.schemas[v].columns) for v in sorted(self.schemas)},
            "casts": self.casts,
            "next_file_id": self.next_file_id,
            "least_file_id": self.least_file_id,
            "last_hot_idx": -1 if self.adopted.last is None else self.adopted.last,
            "last_processed_time": self._last_start(),
            "version": self.version,
            "data_version": self.data_version,
            "commit_ids": self.commit_ids,
            "adopted": self.adopted.to_json(),
            "observed": self.observed.to_json(),
            **self.claims.to_json(),
            **rewrites_to_json(self.rewrites),
            "full": {str(slot): iso(self.full[slot]) for slot in sorted(self.full)},
            **{name: True for name in ("begins", "removed") if getattr(self, name)},
            "sealed": self.sealed,
            "built_on": self.built_on,
            "built_from": {str(month): self.built_from[month] for month in self.built_from},
            "dirty": self.dirty,
            "marks": self.marks,
            "fence": self.fence,
        }
        if self.writer is not None:
            data["writer"] = self.writer.to_json()
        data["pending"] = [pending.to_json() for pending in self.pending]
        removed = [_keys_text(p.files, self.month, paths) for p in self.pending if p.files]

        # Most entries are the same in the next manifest: their texts are kept.
        levels = []
        for level in self.levels:
            entries = [_entry_text(entry, self.month, paths) for entry in self.level(level)]
            levels.append(f'"{level}":[{",".join(entries)}]')
        keyframes = ",".join(keyframe.text for keyframe in self.keyframes)
        lists = f'"levels":{{{",".join(levels)}}},"keyframes":[{keyframes}]'
        lists += f',"pending_deletions":[{",".join(removed)}]'
        return f"{dump_json(data)[:-1]},{lists}}}".encode()

    def _last_start(self) -> str | None:
        """When the last adopted slot began, as tools of the original layout read it."""
        if self.adopted.last is None:
            return None
        return Slot(self.month, self.adopted.last, self.slot_minutes).start.isoformat()

    @classmethod
    def from_json(cls, data: Mapping[str, Any], dataset: Dataset, month: Month) -> Manifest:
        """The inverse of `dump`. Every file name in it is checked before anybody reads or deletes
        it.

        Raises:
            ManifestError: another provider's or month's, or fields that contradict each other.
            FormatVersionError: written by a newer TITANS.
            ProviderMismatchError: see `check_provider`.
        """
        key = dataset.paths.manifest_key(month)
        check_format_version(data.get("format_version"), key)
        with reading_manifest(dataset, month):
            manifest = _parsed(data, dataset.paths, month)
            if (manifest.provider, manifest.month) != (dataset.provider.name, month):
                raise ValueError(
                    f"it is that of provider {manifest.provider!r}, month {manifest.month}"
                )
            schemas = check_provider(data, dataset.provider, key)
            manifest = evolve(manifest, schemas=schemas).knowing(dataset.provider)
            _check(manifest, dataset)
        return manifest


@contextmanager
def reading_manifest(dataset: Dataset, month: Month) -> Iterator[None]:
    """Around everything that reads the manifest of a month, of whatever layout.

    Raises:
        ManifestError: whatever that raised, unless it is one of TITANS' own errors.
    """
    key = dataset.paths.manifest_key(month)
    try:
        yield
    except InvalidKeyError as error:
        why = f"it names a file that cannot be its own ({error}); nothing was read"
        raise unreadable(key, why, dataset.provider.name, month) from error
    except (InputError, ValueError) as error:
        raise unreadable(key, str(error), dataset.provider.name, month) from error
    except (TitansError, MemoryError):
        raise
    except Exception as error:
        raise unreadable(key, shown(error), dataset.provider.name, month) from error


def unreadable(
    key: str, why: str, provider: str | None = None, month: Month | None = None
) -> ManifestError:
    """The error for a manifest that says what cannot be."""
    about = None if month is None else str(month)
    return ManifestError(
        f"{key} cannot be read: {why}; it is left as it is. Run titans repair, which makes it "
        "again from the files",
        provider=provider,
        month=about,
        key=key,
    )


def parse_object(data: bytes, key: str) -> dict[str, Any]:
    """The JSON object in `data`, which lies under `key`.

    Raises:
        ManifestError: it is none.
    """
    try:
        parsed = json.loads(data)
    # Nesting without end, numbers without end, bytes that are no text.
    except (ValueError, RecursionError) as error:
        raise unreadable(key, f"it is not JSON ({shown(error)})") from error
    if not isinstance(parsed, dict):
        raise unreadable(key, f"it is not a JSON object but {shown(parsed)}")
    return parsed


def check_provider(data: Mapping[str, Any], provider: Provider, key: str) -> dict[int, Schema]:
    """The schemas, by version, that the manifest `data` under `key` says its files were written
    with.

    Raises:
        ProviderMismatchError: the provider declares another primary key or slot length, or a schema
            that can be no later one.
        KeyError, TypeError, ValueError: it cannot be read.
    """
    columns = provider.key
    if data.get("pk_columns"):
        columns = tuple(sequence(data, "pk_columns", str))
    integer(data, "slot_minutes", 1, DAY_MINUTES, default=UNSAID_MINUTES)
    if columns != provider.key:
        way_out = "or begin another archive (another store, or other prefixes)"
        if "format_version" not in data:
            way_out = (
                "or rewrite the archive, which is of the original layout, into another store: "
                f"titans convert SRC DST --provider {provider.name}"
            )
        raise ProviderMismatchError(
            f"{key} was written with the primary key {', '.join(columns)}, but {provider} declares "
            f"{', '.join(provider.key)} (schema version {provider.schema.version}); a key cannot "
            f"change: install the release of the provider that wrote it, {way_out}",
            provider=provider.name,
            key=key,
        )
    check_slot_length(data, provider, key)

    schemas = {}
    known = mapping({"schemas": {}, **data}, "schemas")
    for version in known:
        number = integer({"version": int(version)}, "version", 1)
        schemas[number] = Schema(mapping(known, version), version=number)
    for schema in schemas.values():
        provider.evolution(schema, key)
    return schemas


@lru_cache(maxsize=512)
def _keys_text(files: tuple[str, ...], month: Month, paths: Paths) -> str:
    """The keys of files that wait for removal, as they stand in a JSON list.

    At most 512 are kept, and none goes stale: it depends on the arguments alone. Threads and forks
    may share them.
    """
    return ",".join(dump_json(paths.file_key(month, file)) for file in files)


def _entry_text(entry: FileEntry, month: Month, paths: Paths) -> str:
    """In level 0 everything has its full key, as in the original layout."""
    file = paths.file_key(month, entry.file) if entry.is_correction else entry.file
    return f'{{"file":{dump_json(file)},{entry.text[1:]}'


def _parsed(data: Mapping[str, Any], paths: Paths, month: Month) -> Manifest:
    """With the right type in every field."""
    warm, state = paths.warm_month(month), paths.state_month(month)
    levels = mapping(data, "levels")
    files = []
    for level in sorted(levels, key=int):
        number = integer({"level": int(level)}, "level", most=_HIGHEST)
        for entry in sequence(levels, level, dict):
            named = {**entry, "file": text(entry, "file").removeprefix(warm)}
            files.append(FileEntry.from_json(named, number))
    times = mapping(data, "full")
    full = {int(slot): parse_iso(text(times, slot)) for slot in times}
    versions = mapping(data, "built_from")
    built_from = {Month.parse(earlier): integer(versions, earlier) for earlier in versions}
    adopted = slots(data, "adopted")
    writer = None
    if "writer" in data:
        writer = Writer.from_json(mapping(data, "writer"))

    return Manifest(
        provider=text(data, "provider"),
        month=Month(integer(data, "year"), integer(data, "month")),
        key=tuple(sequence(data, "pk_columns", str)),
        casts=tuple(_casts(data)),
        slot_minutes=integer(data, "slot_minutes", 1, DAY_MINUTES, default=UNSAID_MINUTES),
        files=tuple(files),
        next_file_id=integer(data, "next_file_id", 1),
        least_file_id=integer(data, "least_file_id", 1, default=1),
        adopted=adopted,
        observed=slots(data, "observed"),
        claims=Claims.from_json(data, adopted),
        rewrites=rewrites_from_json(data),
        full=full,
        keyframes=tuple(Keyframe.from_json(k) for k in _some(data, "keyframes", dict)),
        begins=flag(data, "begins", default=False),
        removed=flag(data, "removed", default=False),
        sealed=flag(data, "sealed", default=False),
        built_on=flag(data, "built_on", default=False),
        built_from=built_from,
        dirty=tuple(_some(data, "dirty", str)),
        marks=integer(data, "marks", default=0),
        fence=integer(data, "fence", default=0),
        pending=_pending(data, (warm, state)),
        version=integer(data, "version"),
        data_version=integer(data, "data_version"),
        commit_ids=tuple(sequence(data, "commit_ids", str)),
        writer=writer,
    )


def _some(data: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    """A list that may be missing."""
    return sequence(data, name, kind) if name in data else []


def _casts(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    casts = _some(data, "casts", dict)
    for cast in casts:
        integer(cast, "from", 1)
        integer(cast, "to", 1)
    return casts


def _pending(data: Mapping[str, Any], prefixes: tuple[str, str]) -> tuple[Pending, ...]:
    """The lists of files that wait for removal; their keys stand in one list."""
    names = []
    for key in sequence(data, "pending_deletions", str):
        names.append(key.removeprefix(prefixes[0]).removeprefix(prefixes[1]))
    lists = []
    start = 0
    for each in sequence(data, "pending", dict):
        end = start + integer(each, "files")
        lists.append(Pending.from_json(each, tuple(names[start:end])))
        start = end
    if start != len(names):
        raise ValueError(f"pending_deletions has {len(names)} keys, its lists have {start}")
    return tuple(lists)


# --- what a manifest may name ---------------------------------------------------------------------


def _check(manifest: Manifest, dataset: Dataset) -> None:
    """Raise `ValueError` where a manifest names what cannot be its own, or names it twice."""
    month = manifest.month
    most = month.slots(dataset.paths.minutes)
    for numbers in (
        manifest.adopted,
        manifest.observed,
        manifest.pending_slots,
        SlotSet.of(slot for slot in manifest.full if slot >= 0),
        *(f.slots for f in manifest.files),
    ):
        if numbers.last is not None and numbers.last >= most:
            raise ValueError(f"it names slot {numbers.last}, but {month} has {most}")
    if any(slot < 0 for slot in manifest.full):
        raise ValueError("it names a slot below 0")
    for mark in manifest.dirty:
        if not _MARK.fullmatch(mark) or mark[:7] >= str(month):
            raise ValueError(f"it has the mark {mark!r}, which no earlier month sets")

    _check_names(manifest, dataset)
    versions = {f.schema_version for f in manifest.files}
    versions |= {k.schema_version for k in manifest.keyframes}
    unknown = sorted(versions - set(manifest.schemas))
    if unknown:
        raise ValueError(
            f"it has files of schema version {unknown[0]}, of which it does not say the columns"
        )

    names = [f.file for f in manifest.files] + [k.file for k in manifest.keyframes]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"it names {', '.join(twice)} twice")


def _check_names(manifest: Manifest, dataset: Dataset) -> None:
    """Raise `InvalidKeyError` where a name is none of its kind."""
    month = manifest.month
    slots = month.slots(dataset.paths.minutes)
    for entry in manifest.files:
        dataset.key(month, entry.file)
        if KeyframeName.parse(entry.file) is not None:
            raise InvalidKeyError(f"{entry.file!r} is a keyframe, not a file of change points")
        if entry.is_hot and dataset.paths.parse_hot_key(entry.file).index != entry.first:
            raise InvalidKeyError(f"{entry.file!r} is not the hot file of slot {entry.first}")

    for keyframe in manifest.keyframes:
        name = KeyframeName.parse(keyframe.file)
        if name is None or name.slot != keyframe.slot or keyframe.slot >= slots:
            raise InvalidKeyError(
                f"{keyframe.file!r} is no keyframe of slot {keyframe.slot} of {month}"
            )
        if name.is_full and keyframe.slot not in manifest.full:
            raise InvalidKeyError(f"{keyframe.file!r} is no full snapshot of {month}")

    for file in manifest.pending_files:
        if WarmName.parse(file) is None and KeyframeName.parse(file) is None:
            raise InvalidKeyError(f"{file!r} is neither a warm file nor a keyframe")
