"""What a data file says of itself, in its key-value metadata: everything a manifest knows of it.

The archive can be rebuilt from the files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from attrs import fields, frozen

from titans.changes.digest import digest
from titans.errors import CorruptFileError, FormatVersionError, ProviderMismatchError
from titans.provider import Provider
from titans.schema import TIME, Schema
from titans.slots import SlotSet, iso, parse_iso

__all__ = [
    "FORMAT_VERSION",
    "KINDS",
    "UNKNOWN",
    "UNSAID_MINUTES",
    "Contents",
    "FileInfo",
    "Source",
    "check_slot_length",
    "format_version",
]

FORMAT_VERSION = 2
"""What this TITANS reads. It writes 1 where only the first version of a schema is in use, and 2
otherwise: a TITANS that knows nothing of schema evolution must not merge such files."""

UNSAID_MINUTES = 10
"""The length of a slot where a file or manifest does not say it."""

UNKNOWN = "0" * 16
"""In place of a hash that nobody knows."""

KINDS = {"full": "f", "diff": "d", "changes": "c"}
_KIND_OF = {letter: kind for kind, letter in KINDS.items()}


def format_version(schema_version: int) -> int:
    """The lowest format version that says what has to be said."""
    return 1 if schema_version == 1 else FORMAT_VERSION


def check_slot_length(data: Mapping[str, Any], provider: Provider, key: str) -> None:
    """Raise `ProviderMismatchError` where `data`, found under `key`, counts in slots of another
    length.
    """
    length, declared = data.get("slot_minutes", UNSAID_MINUTES), provider.layout.slot_minutes
    if length != declared:
        raise ProviderMismatchError(
            f"{key} has slots of {length!r} minutes, but {provider} declares {declared}; an "
            "archive keeps the length it began "
            f"with: declare PathLayout(slot_minutes={length!r}), or begin another archive (another "
            "store, or other prefixes)"
        )


@frozen
class Source:
    """What one slot contributed to a file."""

    slot: int
    kind: str
    """`full`, `diff` (both from a snapshot) or `changes`."""
    hash: str
    """Of the snapshot for `full` and `diff`, of the rows for `changes`."""
    time: datetime
    """When the slot's rows were collected."""

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
        times = {
            name: iso(t) if (t := getattr(self, name)) else None
            for name in ("min_time", "max_time")
        }
        said = self.contents | times
        if not self.cast_from:
            del said["cast_from"]
        return said

    @staticmethod
    def contents_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments for a subclass. Raises `KeyError`, `TypeError` or `ValueError` where a field is
        missing or wrong.
        """
        found = {name: data[name] for name in _CONTENTS if name != "cast_from"}
        found["cast_from"] = tuple(data.get("cast_from", ()))
        keys = {name: tuple(data[name]) if data[name] else None for name in ("min_key", "max_key")}
        times = {
            name: parse_iso(data[name]) if data[name] else None for name in ("min_time", "max_time")
        }
        return found | keys | times


_CONTENTS = tuple(f.name for f in fields(Contents))


@frozen(kw_only=True)
class FileInfo(Contents):
    """What a data file says of itself."""

    kind: str
    """`hot`, `correction`, `merged`, or `legacy`: it says nothing, this was read from its rows."""
    sources: tuple[Source, ...]
    """The slots whose rows are in it, ascending. A correction has none."""
    base: int | None
    """Of a `diff`: the slot of the snapshot it was taken against."""
    corrections: tuple[str, ...] = ()
    """Names of the correction files that were merged into it."""
    size: int = 0
    """Bytes of the object; not part of the metadata."""
    schema: Schema | None = None
    """Of a file that an earlier version of the provider wrote: what it wrote. Read from the file's
    own Parquet schema."""

    @property
    def slots(self) -> SlotSet:
        return SlotSet.of(source.slot for source in self.sources)

    @property
    def source(self) -> Source:
        """The one slot of a hot file."""
        (source,) = self.sources
        return source

    def to_json(self, provider: Provider) -> dict[str, Any]:
        starts = self.sources
        minutes = provider.layout.slot_minutes
        return {
            "format_version": format_version(self.schema_version),
            "provider": provider.name,
            **({} if minutes == UNSAID_MINUTES else {"slot_minutes": minutes}),
            "kind": self.kind,
            "base": self.base,
            "slots": self.slots.to_json(),
            "kinds": "".join(KINDS[s.kind] for s in starts),
            "hashes": "".join(s.hash for s in starts),
            "times": [iso(s.time) for s in starts]
            if len(starts) == 1
            else _offsets(starts, provider),
            "corrections": self.corrections,
            **self.contents_to_json(),
        }

    @classmethod
    def from_json(
        cls, data: Mapping[str, Any], provider: Provider, start: datetime, key: str
    ) -> FileInfo:
        """`start` is the first moment of the file's month.

        Raises:
            CorruptFileError, FormatVersionError
            ProviderMismatchError: a newer version of the provider wrote it, or one with slots of
                another length.
        """
        version = data.get("format_version")
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise FormatVersionError(
                f"{key} has format version {version!r}, this TITANS reads up to {FORMAT_VERSION}; "
                "upgrade titans-core"
            )
        if data.get("provider") != provider.name:
            raise CorruptFileError(
                f"{key} belongs to provider {data.get('provider')!r}, not {provider.name!r}"
            )
        check_slot_length(data, provider, key)
        written = data.get("schema_version")
        if isinstance(written, int) and written > provider.schema.version:
            raise ProviderMismatchError(
                f"{key} was written with schema version {written}, but {provider} declares version "
                f"{provider.schema.version} "
                "and cannot read or write it; upgrade the package of the provider"
            )
        try:
            slots = list(SlotSet.from_intervals(data["slots"]))
            kinds, hashes, times = data["kinds"], data["hashes"], data["times"]
            if len(kinds) != len(slots) or len(hashes) != 16 * len(slots):
                raise ValueError("slots, kinds and hashes differ in length")
            sources = []
            for at, slot in enumerate(slots):
                opens = start + timedelta(minutes=slot * provider.layout.slot_minutes)
                if len(slots) == 1 and times:
                    time = parse_iso(times[0])
                else:
                    time = opens + timedelta(microseconds=times[at]) if times else opens
                sources.append(
                    Source(slot, _KIND_OF[kinds[at]], hashes[16 * at : 16 * at + 16], time)
                )
            return cls(
                kind=data["kind"],
                sources=tuple(sources),
                base=data["base"],
                **cls.contents_from_json(data),
                corrections=tuple(data["corrections"]),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CorruptFileError(f"{key}: its metadata cannot be read: {error!r}") from error

    @classmethod
    def describe(
        cls,
        rows: pl.DataFrame,
        provider: Provider,
        kind: str,
        sources: tuple[Source, ...],
        *,
        base: int | None = None,
        hash: str | None = None,
    ) -> FileInfo:
        """For `rows` in canonical columns, sorted by key and `Time`."""
        times, key = rows[TIME], rows.select(provider.key)
        return cls(
            kind=kind,
            sources=sources,
            base=base,
            rows=rows.height,
            rows_in=rows.height,
            hash=digest(rows) if hash is None else hash,
            min_key=key.row(0) if rows.height else None,
            max_key=key.row(-1) if rows.height else None,
            min_time=times.min(),  # type: ignore[arg-type]
            max_time=times.max(),  # type: ignore[arg-type]
            schema_version=provider.schema.version,
        )


def _offsets(sources: tuple[Source, ...], provider: Provider) -> list[int]:
    """Microseconds from each slot's start to its collection; empty where all are zero."""
    length = timedelta(minutes=provider.layout.slot_minutes)
    month = (
        sources[0].time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        if sources
        else None
    )
    offsets = [
        round((s.time - month - s.slot * length) / timedelta(microseconds=1))
        for s in sources
        if month
    ]
    return offsets if any(offsets) else []
