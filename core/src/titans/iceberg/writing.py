"""Writing what a version of a table consists of."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from attrs import define, field

from titans.iceberg.attempt import Attempt
from titans.iceberg.content import Extra, Piece
from titans.iceberg.known import KnownExtra, KnownPart, RowFile
from titans.iceberg.memory import Written
from titans.iceberg.metadata import (
    Entry,
    ManifestFile,
    Shape,
    Snapshot,
    listed_manifests,
    new_snapshot_id,
)
from titans.iceberg.tables import Look
from titans.iceberg.versions import Names, Place, Removable
from titans.schema import TIME
from titans.slots import iso, parse_iso
from titans.tiers.files.parquet import encode_plain

__all__ = ["Writer"]

_STEP = timedelta(milliseconds=1)


@define(eq=False)
class Writer:
    """Writes what a version consists of."""

    begun: Attempt
    names: Names
    shape: Shape
    snapshot: int
    _manifests: list[ManifestFile] = field(factory=list, init=False)
    """Of the version."""

    @classmethod
    def of(cls, begun: Attempt, names: Names) -> Writer:
        shape = Shape.of(begun.place.dataset.provider, is_state=begun.table.is_state)
        return cls(begun, names, shape, new_snapshot_id())

    @property
    def place(self) -> Place:
        return self.begun.place

    def _create(self, key: str, data: bytes) -> str:
        """Its name, without the prefix of the table."""
        self.place.dataset.store.create(key, data)
        return key.removeprefix(self.place.prefix)

    def parts(self, look: Look) -> dict[str, KnownPart]:
        """Write the manifests of what has changed, and what these need beside the files."""
        known = self.begun.known
        parts: dict[str, KnownPart] = {}
        kept: set[str] = set()
        for part, mark in look.marks.items():
            if part in look.pieces:
                parts[part] = self._part(part, mark, look.pieces[part])
            else:
                parts[part] = known[part]
                kept.update(known[part].manifests)
        self._manifests = [*self._kept(kept), *self._manifests]
        return parts

    def _kept(self, names: set[str]) -> list[ManifestFile]:
        """Manifests of the newest version that stay."""
        if not names:
            return []
        urls = {self.place.url(self.place.prefix + name) for name in names}
        listed = self.begun.newest.said("list")
        data = self.place.dataset.store.get(self.place.prefix + listed).data
        return [each for each in listed_manifests(data) if each.manifest_path in urls]

    def _part(self, part: str, mark: str, pieces: list[Piece]) -> KnownPart:
        entries: list[Entry] = []
        extras: dict[str, KnownExtra] = {}
        for number, piece in enumerate(pieces):
            if piece.is_plain:
                entries += self._files(piece)
                continue
            done = self.begun.known_extra(part, piece)
            if done is None:
                done = self._extras(f"{part}-{number}", piece.extra())
            extras[piece.mark] = done
            if not done.is_all:
                entries += self._files(piece)
            entries += self._rows(done)

        if not entries:
            return KnownPart(mark, (), extras)
        key = self.names.avro(part)
        written = Written(self.place.url(key))
        month = self.begun.table.month(part)
        self._manifests.append(self.shape.manifest(written, self.snapshot, month, entries))
        return KnownPart(mark, (self._create(key, written.data),), extras)

    def _files(self, piece: Piece) -> list[Entry]:
        entries = []
        for file in piece.files:
            bounds = (file.min_time, file.max_time, file.min_key, file.max_key)
            entries.append(Entry(self.place.url(file.key), file.size, file.rows, *bounds))
        return entries

    def _extras(self, what: str, extra: Extra) -> KnownExtra:
        """Write what a piece needs."""
        rows = None
        if extra.rows is not None and extra.rows.height:
            rows = self._row_file(what, extra.rows)
        return KnownExtra(rows, extra.is_all)

    def _row_file(self, what: str, rows: pl.DataFrame) -> RowFile:
        key = list(self.shape.provider.key)
        wanted = [name for name in self.shape.ids if name in self.shape.schema.column_names]
        frame = rows.select(name for name in rows.columns if name in wanted).sort([*key, TIME])
        data = encode_plain(frame, self.shape.ids)
        name = self._create(self.names.parquet(what), data)
        first, last = frame[TIME].min(), frame[TIME].max()
        if not isinstance(first, datetime) or not isinstance(last, datetime):
            raise AssertionError("a change point without a time")
        keys = frame.select(key)
        return RowFile(
            name,
            len(data),
            frame.height,
            iso(first),
            iso(last),
            list(keys.row(0)),
            list(keys.row(-1)),
        )

    def _rows(self, extras: KnownExtra) -> list[Entry]:
        rows = extras.rows
        if rows is None:
            return []
        url = self.place.url(self.place.prefix + rows.name)
        times = (parse_iso(rows.min_time), parse_iso(rows.max_time))
        keys = (tuple(rows.min_key), tuple(rows.max_key))
        return [Entry(url, rows.size, rows.rows, *times, *keys)]

    # --- the metadata file ------------------------------------------------------------------------

    def metadata(
        self,
        look: Look,
        parts: Mapping[str, KnownPart],
        removable: Removable,
    ) -> bytes:
        """The metadata file of the version; the list of its manifests is written."""
        newest, made = self.begun.newest, self._made()
        earlier = self.begun.snapshots(made)
        parent = earlier[-1]["snapshot-id"] if earlier else None
        snapshot = Snapshot(self.snapshot, newest.number + 1, made, parent)
        key = self.names.avro("snapshot")
        written = Written(self.place.url(key))
        self.shape.manifest_list(written, snapshot, self._manifests)
        listed = self._create(key, written.data)

        current = snapshot.to_json(written.location, self.shape.schema.schema_id, self._manifests)
        said: dict[str, Any] = {
            "commit": self.names.begins,
            "list": listed,
            "months": {part: known.to_json() for part, known in parts.items()},
            "released": self.begun.released(parts, removable),
        }
        properties = {}
        for name, value in said.items():
            properties[f"titans.{name}"] = json.dumps(value, separators=(",", ":"))
        properties["titans.provider"] = self.shape.provider.name
        if look.at is not None:
            properties["titans.at"] = iso(look.at)
        return self.shape.metadata(
            self.place.location,
            newest.metadata.get("table-uuid") or str(uuid.uuid4()),
            [*earlier, current],
            properties,
        )

    def _made(self) -> datetime:
        """Now, and after the version before."""
        now = datetime.now(UTC)
        before = self.begun.newest.metadata.get("last-updated-ms", 0)
        least = datetime.fromtimestamp(before / 1000, UTC) + _STEP
        return max(now, least)
