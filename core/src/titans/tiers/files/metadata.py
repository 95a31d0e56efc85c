"""What a data file says of itself, in its key-value metadata: everything a manifest knows of it.

The archive can be rebuilt from the files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl
from attrs import field, fields, frozen

from titans.changes.digest import digest
from titans.errors import FormatVersionError, ProviderMismatchError
from titans.provider import Provider
from titans.schema import TIME, Schema
from titans.slots import DAY_MINUTES, Month, SlotSet, iso, parse_iso
from titans.tiers.files.claims import Claim, Claims
from titans.tiers.files.reading import foreign, hex_digits, integer, sequence, shown, text
from titans.tiers.files.rewrites import Rewrite, rewrites_from_json, rewrites_to_json
from titans.tiers.files.writers import Writer, writers_from_json, writers_to_json

__all__ = [
    "FORMAT_VERSION",
    "KINDS",
    "UNKNOWN",
    "UNSAID_MINUTES",
    "Contents",
    "FileInfo",
    "FileKind",
    "SlotKind",
    "SlotRecord",
    "check_format_version",
    "check_slot_length",
]

FORMAT_VERSION = 3
"""Of files and manifests. 1 and 2 were never released, and are not read."""

UNSAID_MINUTES = 10
"""The length of a slot where a file or manifest does not say it."""

UNKNOWN = "0" * 16
"""In place of a hash that nobody knows."""

SlotKind = Literal["full", "diff", "changes"]
FileKind = Literal["hot", "correction", "merged", "border", "keyframe", "full", "legacy"]

KINDS: Mapping[SlotKind, str] = {"full": "f", "diff": "d", "changes": "c"}
_KIND_OF: Mapping[str, SlotKind] = {letter: kind for kind, letter in KINDS.items()}
_HASH_DIGITS = 16
_FILE_KINDS = ("hot", "correction", "merged", "border", "keyframe", "full")

_LATEST = 10_000
"""A version beyond that is no version."""


def check_format_version(version: object, key: str) -> None:
    """Raise `FormatVersionError` where what lies under `key` is of another version than this."""
    if type(version) is int and version == FORMAT_VERSION:
        return
    if type(version) is not int or not 0 < version < _LATEST:
        raise FormatVersionError(
            f"{key} has the format version {shown(version)}, which is none", key=key
        )
    hint = "upgrade titans-core"
    if type(version) is int and version < FORMAT_VERSION:
        hint = (
            "that format was never released and is no longer read: ingest its snapshots into a new "
            "archive"
        )
    raise FormatVersionError(
        f"{key} has format version {version!r}, this TITANS reads {FORMAT_VERSION}; {hint}", key=key
    )


def check_slot_length(data: Mapping[str, Any], provider: Provider, key: str) -> None:
    """Raise `ProviderMismatchError` where `data`, read from `key`, has slots of another length."""
    length = data.get("slot_minutes", UNSAID_MINUTES)
    declared = provider.layout.slot_minutes
    if length == declared:
        return
    raise ProviderMismatchError(
        f"{key} has slots of {length!r} minutes, but {provider} declares {declared}; an archive "
        f"keeps the length it began with: declare PathLayout(slot_minutes={length!r}), or begin "
        "another archive (another store, or other prefixes)",
        provider=provider.name,
        key=key,
    )


@frozen
class SlotRecord:
    """What one slot contributed to a file."""

    slot: int
    kind: SlotKind
    """`full`, `diff` (both from a snapshot) or `changes`."""
    hash: str
    """Of the snapshot for `full` and `diff`, of the rows for `changes`."""
    time: datetime
    """When the slot's rows were collected."""
    state: str | None = field(default=None, eq=False)
    """Of a snapshot: the hash of the state that it made, key and values.

    That of the snapshot itself, unless values that it had not observed were carried. `None`:
    unknown.
    """
    claim: Claim = ""
    """Of an upload: what it says beside its rows."""
    writer: Writer | None = field(default=None, eq=False)
    """Who uploaded or ingested it; `None`: unknown."""

    @property
    def is_snapshot(self) -> bool:
        return self.kind != "changes"


@frozen(kw_only=True)
class Contents:
    """What rows a file holds: the part that the file's own metadata and the manifest both state."""

    rows: int
    rows_in: int
    """Rows before duplicates were dropped."""
    hash: str
    """Content hash over all columns (`titans.changes.digest`)."""
    min_key: tuple[str, ...] | None
    """`None`, as the other bounds, where there are no rows."""
    max_key: tuple[str, ...] | None
    min_time: datetime | None
    max_time: datetime | None
    schema_version: int = 1
    """Of the columns it is stored in."""
    cast_from: tuple[int, ...] = ()
    """The earlier schema versions that some of its rows were written with."""

    @property
    def contents(self) -> dict[str, Any]:
        """The fields of this class, by name."""
        return {name: getattr(self, name) for name in _CONTENTS}

    def contents_to_json(self) -> dict[str, Any]:
        data = self.contents
        for name in ("min_time", "max_time"):
            if data[name] is not None:
                data[name] = iso(data[name])
        if not self.cast_from:
            del data["cast_from"]
        return data

    @staticmethod
    def contents_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments for a subclass.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or wrong.
        """
        contents: dict[str, Any] = {
            "rows": integer(data, "rows"),
            "rows_in": integer(data, "rows_in"),
            "hash": hex_digits(data, "hash", _HASH_DIGITS),
            "schema_version": integer(data, "schema_version", 1, _LATEST),
            "cast_from": (),
        }
        if "cast_from" in data:
            contents["cast_from"] = tuple(sequence(data, "cast_from", int))
        for name in ("min_key", "max_key"):
            contents[name] = tuple(sequence(data, name, str)) if data[name] else None
        for name in ("min_time", "max_time"):
            contents[name] = parse_iso(text(data, name)) if data[name] else None
        return contents


_CONTENTS = tuple(f.name for f in fields(Contents))


@frozen(kw_only=True)
class FileInfo(Contents):
    """What a data file says of itself."""

    kind: FileKind
    """`legacy`: it says nothing, this was read from its rows."""
    records: tuple[SlotRecord, ...]
    """Of the slots whose rows are in it, ascending. A correction or keyframe has none."""
    base: int | None
    """Of a `diff`: the slot of the snapshot it was taken against."""
    corrections: tuple[str, ...] = ()
    """Names of the correction files that were merged into it."""
    seen: int = 0
    """Of a `diff`: the number of the last rewrite of the month when its base was read."""
    rewrites: tuple[Rewrite, ...] = ()
    """Those that it is a result of, ascending."""
    size: int = 0
    """Bytes of the object; not part of the metadata."""
    schema: Schema | None = None
    """Of a file that an earlier version of the provider wrote: what it wrote.

    Read from the file's own Parquet schema.
    """

    @property
    def slots(self) -> SlotSet:
        return SlotSet.of(record.slot for record in self.records)

    @property
    def observed(self) -> SlotSet:
        """Its slots of full snapshots."""
        return SlotSet.of(record.slot for record in self.records if record.is_snapshot)

    @property
    def claims(self) -> Claims:
        """What its slots of uploads say beside their rows."""
        return Claims.of((record.slot, record.claim) for record in self.records)

    @property
    def full(self) -> dict[int, datetime]:
        """Its slots that hold every living key → the time from which nothing earlier counts."""
        return {record.slot: record.time for record in self.records if record.kind == "full"}

    @property
    def record(self) -> SlotRecord:
        """Of the one slot of a hot file."""
        (record,) = self.records
        return record

    def to_json(self, provider: Provider) -> dict[str, Any]:
        data: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "provider": provider.name,
        }
        # Parquet would say of these that they are text.
        nested = [name for name, dtype in provider.schema.columns.items() if dtype == "Json"]
        if nested:
            data["json"] = nested
        if provider.layout.slot_minutes != UNSAID_MINUTES:
            data["slot_minutes"] = provider.layout.slot_minutes

        if len(self.records) == 1:
            times: list[Any] = [iso(self.record.time)]
        else:
            times = _offsets(self.records, provider)
        return data | {
            "kind": self.kind,
            "base": self.base,
            "slots": self.slots.to_json(),
            "kinds": "".join(KINDS[record.kind] for record in self.records),
            "hashes": "".join(record.hash for record in self.records),
            "times": times,
            **_states_to_json(self.records),
            **self.claims.to_json(),
            **writers_to_json([record.writer for record in self.records]),
            "corrections": self.corrections,
            **self._seen_to_json(),
            **rewrites_to_json(self.rewrites),
            **self.contents_to_json(),
        }

    def _seen_to_json(self) -> dict[str, int]:
        return {"seen": self.seen} if self.seen else {}

    @classmethod
    def from_json(
        cls, data: Mapping[str, Any], provider: Provider, start: datetime, key: str
    ) -> FileInfo:
        """The inverse of `to_json`; `start` is the first moment of the file's month.

        Raises:
            ForeignObjectError: nothing that TITANS wrote for this provider says such a thing.
            FormatVersionError
            ProviderMismatchError: a newer version of the provider wrote it, or one with slots of
                another length.
        """
        _check_written_by(data, provider, key)
        check_slot_length(data, provider, key)
        try:
            return cls._parsed(data, provider, start)
        # Whatever stands there instead, it was not written here.
        except Exception as error:
            raise foreign(
                key, f"says of itself what cannot be: {shown(error)}", provider.name
            ) from error

    @classmethod
    def _parsed(cls, data: Mapping[str, Any], provider: Provider, start: datetime) -> FileInfo:
        minutes = provider.layout.slot_minutes
        contents = cls.contents_from_json(data)
        for key in (contents["min_key"], contents["max_key"]):
            if key is not None and len(key) != len(provider.key):
                raise ValueError(f"a key of {len(key)} columns")
        base = None
        if data["base"] is not None:
            base = integer(data, "base", 0, Month.of(start).slots(minutes) - 1)
        if data["kind"] not in _FILE_KINDS:
            raise ValueError(f"a file of the kind {shown(data['kind'])}")
        return cls(
            kind=data["kind"],
            records=_records(data, start, timedelta(minutes=minutes)),
            base=base,
            **contents,
            corrections=tuple(sequence(data, "corrections", str)),
            seen=integer(data, "seen", default=0),
            rewrites=rewrites_from_json(data),
        )

    @classmethod
    def describe(
        cls,
        rows: pl.DataFrame,
        provider: Provider,
        kind: FileKind,
        records: tuple[SlotRecord, ...] = (),
        *,
        hash: str | None = None,
    ) -> FileInfo:
        """For `rows` in canonical columns, sorted by key and `Time`."""
        times = rows[TIME]
        min_key = max_key = None
        if rows.height:
            key = rows.select(provider.key)
            min_key, max_key = key.row(0), key.row(-1)

        return cls(
            kind=kind,
            records=records,
            base=None,
            rows=rows.height,
            rows_in=rows.height,
            hash=digest(rows) if hash is None else hash,
            min_key=min_key,
            max_key=max_key,
            min_time=times.min(),  # type: ignore[arg-type]
            max_time=times.max(),  # type: ignore[arg-type]
            schema_version=provider.schema.version,
        )


def _check_written_by(data: Mapping[str, Any], provider: Provider, key: str) -> None:
    """Raise where another provider, a newer TITANS or a newer schema wrote the file."""
    owner, version = data.get("provider"), data.get("format_version")
    length = data.get("slot_minutes", UNSAID_MINUTES)
    schema_version = data.get("schema_version", 1)
    if owner != provider.name:
        raise foreign(
            key, f"belongs to provider {shown(owner)}, not {provider.name!r}", provider.name
        )
    for name, number, most in (
        ("format_version", version, _LATEST),
        ("slot_minutes", length, DAY_MINUTES),
        ("schema_version", schema_version, _LATEST),
    ):
        if type(number) is not int or not 0 < number <= most:
            raise foreign(key, f"says its {name} is {shown(number)}", provider.name)

    check_format_version(version, key)
    if schema_version > provider.schema.version:
        raise ProviderMismatchError(
            f"{key} was written with schema version {schema_version}, but {provider} declares "
            f"version {provider.schema.version} and cannot read or write it; upgrade the package "
            "of the provider",
            provider=provider.name,
            key=key,
        )


def _records(data: Mapping[str, Any], start: datetime, length: timedelta) -> tuple[SlotRecord, ...]:
    """The records in a file's metadata; its month begins at `start`, a slot takes `length`."""
    held = SlotSet.from_intervals(sequence(data, "slots", list))
    if held.last is not None and start + held.last * length >= Month.of(start).end:
        raise ValueError(f"slot {shown(held.last)} of the month")

    slots, times = list(held), sequence(data, "times")
    kinds = text(data, "kinds")
    hashes = hex_digits(data, "hashes", _HASH_DIGITS * len(slots))
    if len(kinds) != len(slots) or len(times) not in (0, len(slots)):
        raise ValueError("slots, kinds and times differ in length")

    states = _states(data, len(slots))
    claims = Claims.from_json(data, held)
    writers = writers_from_json(data, len(slots))
    records = []
    for number, slot in enumerate(slots):
        time = start + slot * length
        if times and len(slots) == 1:
            time = parse_iso(times[0])
        elif times:
            time += timedelta(microseconds=times[number])
        if not start + slot * length <= time < start + (slot + 1) * length:
            raise ValueError(f"slot {slot} was collected at {iso(time)}")
        content = hashes[_HASH_DIGITS * number : _HASH_DIGITS * (number + 1)]
        state = states[number]
        if state == "":
            state = content
        kind, claim = _KIND_OF[kinds[number]], claims.of_slot(slot)
        if claim and kind != "changes":
            raise ValueError(f"slot {slot} is a snapshot, and claims to be {claim}")
        records.append(SlotRecord(slot, kind, content, time, state, claim, writers[number]))
    return tuple(records)


_SAME, _OTHER, _UNSAID = "=", "+", "?"


def _states_to_json(records: tuple[SlotRecord, ...]) -> dict[str, str]:
    """For each slot whether its state has the hash of its snapshot, another one, or none is known;
    and the others. Nothing where none is known.
    """
    signs, others = "", ""
    for record in records:
        if record.state is None:
            signs += _UNSAID
        elif record.state == record.hash:
            signs += _SAME
        else:
            signs += _OTHER
            others += record.state
    if not signs.strip(_UNSAID):
        return {}
    return {"states": signs, "state_hashes": others} if others else {"states": signs}


def _states(data: Mapping[str, Any], slots: int) -> list[str | None]:
    """Of each slot the hash of its state, `""` for that of its snapshot, `None` for unknown."""
    if "states" not in data:
        return [None] * slots
    signs = text(data, "states")
    others = data.get("state_hashes", "")
    if len(signs) != slots or len(others) != _HASH_DIGITS * signs.count(_OTHER):
        raise ValueError("slots and states differ in length")
    states: list[str | None] = []
    for sign in signs:
        if sign == _OTHER:
            states.append(others[:_HASH_DIGITS])
            others = others[_HASH_DIGITS:]
        else:
            states.append({_SAME: "", _UNSAID: None}[sign])
    return states


def _offsets(records: tuple[SlotRecord, ...], provider: Provider) -> list[int]:
    """Microseconds from each slot's start to its collection; empty where all are zero."""
    if not records:
        return []
    length = timedelta(minutes=provider.layout.slot_minutes)
    month = records[0].time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    offsets = [(r.time - month - r.slot * length) // timedelta(microseconds=1) for r in records]
    return offsets if any(offsets) else []
