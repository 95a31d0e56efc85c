"""The manifest: one JSON object per provider and month that says which files are the archive.

It keeps the fields of the original layout (`m`, `provider`, `year`, `month`, `pk_columns`,
`levels`, `next_file_id`, `last_hot_idx`, `pending_deletions`) and adds its own. Values are frozen;
every change is a function manifest → manifest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property, partial
from typing import Any

from attrs import evolve, field, fields, frozen

from titans.errors import FormatVersionError, InvalidKeyError, ManifestError, ProviderMismatchError
from titans.layout import FANOUT, KeyframeName, Paths, WarmName
from titans.provider import Provider
from titans.schema import Schema
from titans.slots import NO_SLOTS, Month, SlotSet, iso, parse_iso
from titans.tiers.info import (
    FORMAT_VERSION,
    UNSAID_MINUTES,
    Contents,
    FileInfo,
    check_slot_length,
    format_version,
)

__all__ = [
    "COMMIT_IDS",
    "FileEntry",
    "Keyframe",
    "Manifest",
    "Pending",
    "check_provider",
    "load_json",
]

COMMIT_IDS = 64
"""How many of the latest commit ids a manifest keeps, for writers whose answer got lost."""

_json = partial(json.dumps, separators=(",", ":"))

_MARK = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])/[0-9a-f]{8,32}")


def load_json(data: bytes, key: str) -> dict[str, Any]:
    """The JSON object in `data`. Raises `ManifestError` where it is none."""
    try:
        found = json.loads(data)
    except ValueError as error:
        raise ManifestError(f"{key} is not JSON ({error}); it is left as it is") from error
    if not isinstance(found, dict):
        raise ManifestError(f"{key} is not a JSON object; it is left as it is")
    return found


def check_provider(found: Mapping[str, Any], provider: Provider, key: str) -> dict[int, Schema]:
    """The schemas, by version, that the manifest `found` under `key` says its files were written
    with.

    Raises:
        ProviderMismatchError: the provider declares another primary key or slot length, or a schema
            that can be no later one.
        KeyError, TypeError, ValueError, AttributeError: it cannot be read.
    """
    columns = tuple(found.get("pk_columns") or provider.key)
    if columns != provider.key:
        raise ProviderMismatchError(
            f"{key} was written with the primary key {', '.join(columns)}, but {provider} declares "
            f"{', '.join(provider.key)} "
            f"(schema version {provider.schema.version}); a key cannot change: install the release "
            "of the provider that wrote "
            "it, or begin another archive (another store, or other prefixes)"
        )
    check_slot_length(found, provider, key)
    schemas = {
        int(v): Schema(columns, version=int(v)) for v, columns in found.get("schemas", {}).items()
    }
    for schema in schemas.values():
        provider.evolution(schema, key)
    return schemas


@frozen(kw_only=True)
class FileEntry(Contents):
    """A live file of the month."""

    file: str
    """Bare name of a warm file, full key of a hot file."""
    level: int
    first: int
    """First and last slot its rows belong to."""
    last: int
    slots: SlotSet
    """The slots whose observations it holds (none for a correction)."""
    bytes: int

    @property
    def is_correction(self) -> bool:
        return self.file.startswith("C_")

    @property
    def is_hot(self) -> bool:
        return "/" in self.file

    @classmethod
    def of(cls, file: str, level: int, first: int, last: int, info: FileInfo) -> FileEntry:
        return cls(
            file=file,
            level=level,
            first=first,
            last=last,
            slots=info.slots,
            bytes=info.size,
            **info.contents,
        )

    @cached_property
    def text(self) -> str:
        said = {
            "file": self.file,
            "hot_range": [self.first, self.last],
            "slots": self.slots.to_json(),
            "bytes": self.bytes,
        }
        return _json(said | self.contents_to_json())

    @classmethod
    def from_json(cls, data: Mapping[str, Any], level: int) -> FileEntry:
        first, last = data["hot_range"]
        return cls(
            file=data["file"],
            level=level,
            first=first,
            last=last,
            slots=SlotSet.from_intervals(data["slots"]),
            bytes=data["bytes"],
            **cls.contents_from_json(data),
        )


@frozen
class Keyframe:
    """A file with the whole state at the start of a slot: every key alive just before it, with its
    last change point.
    """

    file: str
    slot: int
    rows: int
    bytes: int
    hash: str
    """Content hash over all columns (`titans.changes.digest`)."""
    dependent: bool
    """No full snapshot of the month comes before it: it holds what earlier months left."""
    schema_version: int = 1

    @cached_property
    def text(self) -> str:
        return _json({f.name: getattr(self, f.name) for f in fields(Keyframe)})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Keyframe:
        return cls(
            **{"schema_version": 1} | {f.name: data[f.name] for f in fields(cls) if f.name in data}
        )


@frozen
class Pending:
    """Files that no longer belong to the archive and may be removed once the grace period is
    over.
    """

    since: datetime | None
    """By the store's clock; `None` until the first commit after the one that put it here."""
    files: tuple[str, ...] = ()
    """Warm files by name."""
    slots: SlotSet = NO_SLOTS
    """Hot files by slot."""

    @cached_property
    def text(self) -> str:
        since = iso(self.since) if self.since else None
        return _json({"since": since, "files": self.files, "slots": self.slots.to_json()})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pending:
        since = parse_iso(data["since"]) if data["since"] else None
        return cls(since, tuple(data["files"]), SlotSet.from_intervals(data["slots"]))


@frozen
class Manifest:
    """The state of a month. `Manifest.empty` is that of a month nobody has written to."""

    provider: str
    month: Month
    key: tuple[str, ...]
    schemas: Mapping[int, Schema] = field(factory=dict)
    """Version → columns and dtypes of every schema that files of the month were, or now are,
    written with."""
    casts: tuple[Mapping[str, Any], ...] = ()
    """What each newer version made of the rows of an earlier one (`titans.evolution`)."""
    slot_minutes: int = UNSAID_MINUTES
    files: tuple[FileEntry, ...] = ()
    """Live files in order of adoption within each level."""
    next_file_id: int = 1
    least_file_id: int = 1
    """No merge commits a file with a lower id any more: one of that name may have been removed, or
    is about to be."""
    adopted: SlotSet = NO_SLOTS
    observed: SlotSet = NO_SLOTS
    """Adopted slots of full snapshots."""
    full: Mapping[int, datetime] = field(factory=dict)
    """Slots whose file holds every living key → the time from which nothing earlier counts."""
    keyframes: tuple[Keyframe, ...] = ()
    """Ascending by slot."""
    sealed: bool = False
    """The month is over, and everything in it has its final form."""
    built_on: bool = False
    """Keyframes of later months hold what this one left: who adopts here marks them first
    (`titans.tiers.late`)."""
    dirty: tuple[str, ...] = ()
    """Marks of late adoptions into earlier months that may be under way: dependent keyframes are
    not trusted."""
    marks: int = 0
    """Counts the marks ever set."""
    fence: int = 0
    """Raised to make a late adoption that seems to have died set its marks again, should it go
    on."""
    pending: tuple[Pending, ...] = ()
    version: int = 0
    """Counts commits."""
    data_version: int = 0
    """Counts adoptions."""
    commit_ids: tuple[str, ...] = ()

    @classmethod
    def empty(cls, provider: Provider, month: Month) -> Manifest:
        return cls(
            provider.name, month, provider.key, slot_minutes=provider.layout.slot_minutes
        ).knowing(provider)

    def knowing(self, provider: Provider, *schemas: Schema | None) -> Manifest:
        """This manifest with some earlier schemas, and today's.

        Raises:
            ProviderMismatchError: today's is no later version of one of them.
        """
        today = Schema(provider.schema.columns, version=provider.schema.version)
        known = {
            **self.schemas,
            **{s.version: s for s in schemas if s is not None},
            today.version: today,
        }
        evolutions = [
            provider.evolution(known[v], str(self.month))
            for v in sorted(known)
            if v < today.version
        ]
        casts = tuple(c for c in self.casts if c["to"] < today.version) + tuple(
            e.to_json() for e in evolutions
        )
        return evolve(self, schemas=known, casts=casts)

    def schema(self, version: int) -> Schema | None:
        """What files of this version were written with; `None` for the newest, which is today's."""
        return None if version == max(self.schemas, default=version) else self.schemas[version]

    def level(self, level: int) -> tuple[FileEntry, ...]:
        return tuple(f for f in self.files if f.level == level)

    @property
    def levels(self) -> tuple[int, ...]:
        return tuple(sorted({f.level for f in self.files}))

    @property
    def gaps(self) -> SlotSet:
        """Slots between the first and the last observed one for which nobody looked."""
        first, last = self.observed.first, self.observed.last
        return (
            NO_SLOTS if first is None or last is None else SlotSet(((first, last),)) - self.observed
        )

    @property
    def live(self) -> frozenset[str]:
        """Names of all files that belong to the month, keyframes included."""
        return frozenset(f.file for f in self.files) | {k.file for k in self.keyframes}

    @property
    def pending_files(self) -> frozenset[str]:
        return frozenset(name for p in self.pending for name in p.files)

    def committed(self, commit_id: str) -> Manifest:
        """As it is written, and read again: with a new version, the files level by level."""
        return evolve(
            self,
            files=tuple(sorted(self.files, key=lambda f: f.level)),
            version=self.version + 1,
            commit_ids=(*self.commit_ids, commit_id)[-COMMIT_IDS:],
        )

    # --- JSON -------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        levels = ",".join(f'"{level}":{_texts(self.level(level))}' for level in self.levels)
        data = {
            "format_version": format_version(max(self.schemas, default=1)),
            "m": FANOUT,
            "provider": self.provider,
            "year": self.month.year,
            "month": self.month.month,
            "pk_columns": self.key,
            "slot_minutes": self.slot_minutes,
            "schemas": {str(v): dict(schema.columns) for v, schema in sorted(self.schemas.items())},
            "casts": self.casts,
            "next_file_id": self.next_file_id,
            "least_file_id": self.least_file_id,
            "last_hot_idx": -1 if self.adopted.last is None else self.adopted.last,
            "version": self.version,
            "data_version": self.data_version,
            "commit_ids": self.commit_ids,
            "adopted": self.adopted.to_json(),
            "observed": self.observed.to_json(),
            "full": {str(slot): iso(time) for slot, time in sorted(self.full.items())},
            "sealed": self.sealed,
            "built_on": self.built_on,
            "dirty": self.dirty,
            "marks": self.marks,
            "fence": self.fence,
        }
        lists = f'"keyframes":{_texts(self.keyframes)},"pending_deletions":{_texts(self.pending)}'
        return f'{_json(data)[:-1]},"levels":{{{levels}}},{lists}}}'.encode()

    @classmethod
    def from_json(
        cls, found: Mapping[str, Any], provider: Provider, month: Month, paths: Paths
    ) -> Manifest:
        """Every file name in it is checked before anybody reads or deletes it.

        Raises:
            ManifestError: another provider's or month's, or fields that contradict each other.
            FormatVersionError: written by a newer TITANS.
            ProviderMismatchError: see `check_provider`.
        """
        key = paths.manifest_key(month)
        version = found.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise FormatVersionError(
                f"{key} has format version {version}, this TITANS reads up to {FORMAT_VERSION}; "
                "upgrade titans-core"
            )
        try:
            manifest = cls._from_json(found)
            if (manifest.provider, manifest.month) != (provider.name, month):
                raise ManifestError(
                    f"{key} is that of provider {manifest.provider!r}, month {manifest.month}; it "
                    "is left as it is"
                )
            manifest = evolve(manifest, schemas=check_provider(found, provider, key)).knowing(
                provider
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ManifestError(f"{key} cannot be read: {error!r}; it is left as it is") from error
        manifest._check(month, paths, key)
        return manifest

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Manifest:
        files = [
            FileEntry.from_json(entry, int(level))
            for level, entries in sorted(data["levels"].items(), key=lambda item: int(item[0]))
            for entry in entries
        ]
        return cls(
            provider=data["provider"],
            month=Month(data["year"], data["month"]),
            key=tuple(data["pk_columns"]),
            casts=tuple(data.get("casts", ())),
            slot_minutes=data.get("slot_minutes", UNSAID_MINUTES),
            files=tuple(files),
            next_file_id=data["next_file_id"],
            least_file_id=data.get("least_file_id", 1),
            adopted=SlotSet.from_intervals(data["adopted"]),
            observed=SlotSet.from_intervals(data["observed"]),
            full={int(slot): parse_iso(time) for slot, time in data["full"].items()},
            keyframes=tuple(Keyframe.from_json(k) for k in data.get("keyframes", ())),
            sealed=bool(data.get("sealed", False)),
            built_on=bool(data.get("built_on", False)),
            dirty=tuple(data.get("dirty", ())),
            marks=data.get("marks", 0),
            fence=data.get("fence", 0),
            pending=tuple(Pending.from_json(p) for p in data["pending_deletions"]),
            version=data["version"],
            data_version=data["data_version"],
            commit_ids=tuple(data["commit_ids"]),
        )

    def _check(self, month: Month, paths: Paths, key: str) -> None:
        slots = month.slots(paths.minutes)
        for numbers in (
            self.adopted,
            self.observed,
            *(f.slots for f in self.files),
            *(p.slots for p in self.pending),
        ):
            if numbers.last is not None and numbers.last >= slots:
                raise ManifestError(
                    f"{key} names slot {numbers.last}, but {month} has {slots}; it is left as it is"
                )
        for mark in self.dirty:
            if not _MARK.fullmatch(mark) or mark[:7] >= str(month):
                raise ManifestError(
                    f"{key} has the mark {mark!r}, which no earlier month sets; it is left as it is"
                )
        try:
            names = [f.file for f in self.files] + [k.file for k in self.keyframes]
            for entry in self.files:
                paths.file_key(month, entry.file)
                if KeyframeName.parse(entry.file) is not None:
                    raise InvalidKeyError(
                        f"{entry.file!r} is a keyframe, not a file of change points"
                    )
            for keyframe in self.keyframes:
                parsed = KeyframeName.parse(keyframe.file)
                if parsed is None or parsed.slot != keyframe.slot or keyframe.slot >= slots:
                    raise InvalidKeyError(
                        f"{keyframe.file!r} is no keyframe of slot {keyframe.slot} of {month}"
                    )
            for name in self.pending_files:
                if WarmName.parse(name) is None and KeyframeName.parse(name) is None:
                    raise InvalidKeyError(f"{name!r} is neither a warm file nor a keyframe")
        except InvalidKeyError as error:
            raise ManifestError(
                f"{key} names a file that cannot be its own: {error}; nothing was read"
            ) from error
        if len(set(names)) != len(names):
            twice = sorted({n for n in names if names.count(n) > 1})
            raise ManifestError(f"{key} names {', '.join(twice)} twice; it is left as it is")


def _texts(parts: Iterable[FileEntry | Keyframe | Pending]) -> str:
    """A JSON list. Most parts are the same in the next manifest: their texts are kept."""
    return f"[{','.join(part.text for part in parts)}]"
