"""Publishing an archive as Iceberg tables, beside it and without copying its rows.

The newest version is read first, then the archive: so a version that is published is never of an
earlier moment than the one before, whoever else publishes.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from attrs import define, field, frozen

from titans.dataset import Dataset
from titans.errors import ConcurrencyConflictError, OutcomeUnknown, StoreError, Unavailable
from titans.iceberg.columns import check_columns
from titans.iceberg.content import Extra, Piece
from titans.iceberg.results import PublishedTable
from titans.iceberg.tables import Look, Table
from titans.iceberg.versions import (
    Names,
    Place,
    Release,
    Removable,
    Version,
    create,
    point_at,
)
from titans.read.reader import Reader, answered
from titans.schema import TIME
from titans.slots import iso, parse_iso
from titans.tiers.files.parquet import encode_plain
from titans.tiers.manifest.commit import ATTEMPTS

if TYPE_CHECKING:
    from titans.iceberg.metadata import Delete, Entry, ManifestFile, Shape

__all__ = ["publish_table"]

log = logging.getLogger("titans.iceberg")

_STEP = timedelta(milliseconds=1)


def publish_table(dataset: Dataset, table: Table, grace: timedelta) -> PublishedTable:
    """Publish a version of a table, unless the newest one says the same.

    Args:
        grace: how long what a version no longer refers to stays in the store.

    Raises:
        InputError: other engines cannot read the store, or a column.
        CorruptFileError, FormatError: as reading does.
        FormatError: something else lies where the table belongs.
        ConcurrencyConflictError: others published every time.
    """
    check_columns(dataset.provider)
    place = Place.of(dataset, table.name)
    reason: Exception | None = None
    tried: set[str] = set()
    for attempt in range(ATTEMPTS):
        if attempt:
            dataset.wait(attempt - 1)
        newest = Version.newest(place)
        if newest.said("commit") in tried:
            return _settled(place, newest, table)
        publication = _Publication.begun(place, table, newest, grace)
        look = publication.look()
        if publication.is_unchanged(look):
            return _settled(place, newest, table, unchanged=True)
        names = place.new_names(newest.number + 1)
        tried.add(names.begins)
        try:
            done = publication.write(look, names)
        except (OutcomeUnknown, Unavailable) as error:
            reason = error
            continue
        if done is not None:
            return done

    raise ConcurrencyConflictError(
        f"provider {dataset.provider.name!r}: {ATTEMPTS} attempts to publish the table "
        f"{table.name!r} failed{f', the last with {reason}' if reason else ''}; what is published "
        "stays as it is: publish again later",
        provider=dataset.provider.name,
        key=place.prefix,
    ) from reason


def _settled(
    place: Place, newest: Version, table: Table, *, unchanged: bool = False
) -> PublishedTable:
    """What is published already; the hint says so."""
    if newest.hint is None or newest.hint < newest.number:
        point_at(place, newest.number)
    return PublishedTable.of(place, newest.number, newest.metadata, table.name, unchanged=unchanged)


@frozen
class _Rows:
    """A file of rows that no file of the archive holds, as a version remembers it."""

    name: str
    """Without the prefix of the table."""
    size: int
    rows: int
    min_time: str
    max_time: str
    min_key: list[str]
    max_key: list[str]

    def to_json(self) -> list[Any]:
        times, keys = [self.min_time, self.max_time], [self.min_key, self.max_key]
        return [self.name, self.size, self.rows, *times, *keys]


@frozen
class _Positions:
    """A file of positions, as a version remembers it."""

    of: str
    """The key of the data file."""
    name: str
    size: int
    rows: int

    def to_json(self) -> list[Any]:
        return [self.of, self.name, self.size, self.rows]


@frozen
class _Extras:
    """What was written for a piece."""

    rows: _Rows | None
    positions: tuple[_Positions, ...]

    @property
    def names(self) -> list[str]:
        own = [] if self.rows is None else [self.rows.name]
        return own + [each.name for each in self.positions]

    def to_json(self) -> list[Any]:
        rows = None if self.rows is None else self.rows.to_json()
        return [rows, [each.to_json() for each in self.positions]]

    @classmethod
    def from_json(cls, data: list[Any]) -> _Extras:
        rows, positions = data
        return cls(
            None if rows is None else _Rows(*rows),
            tuple(_Positions(*each) for each in positions),
        )


@frozen(eq=False)
class _Part:
    """A part of a version, as it remembers it."""

    mark: str
    manifests: tuple[str, ...]
    """Names of these, without the prefix of the table."""
    extras: Mapping[str, _Extras] = field(factory=dict)
    """Mark of a piece → what was written for it."""

    @property
    def names(self) -> set[str]:
        found = set(self.manifests)
        for each in self.extras.values():
            found.update(each.names)
        return found

    def to_json(self) -> dict[str, Any]:
        extras = {mark: each.to_json() for mark, each in self.extras.items()}
        return {"mark": self.mark, "manifests": self.manifests, "extras": extras}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> _Part:
        extras = {mark: _Extras.from_json(each) for mark, each in data["extras"].items()}
        return cls(data["mark"], tuple(data["manifests"]), extras)


@define(eq=False)
class _Publication:
    """An attempt at the version after `newest`."""

    place: Place
    table: Table
    newest: Version
    grace: timedelta
    known: Mapping[str, _Part]
    """What the newest version consists of, as far as that can be kept."""
    is_same_table: bool

    @classmethod
    def begun(cls, place: Place, table: Table, newest: Version, grace: timedelta) -> _Publication:
        schema = place.dataset.provider.schema
        same_place = newest.metadata.get("location") == place.location
        same_schema = newest.metadata.get("current-schema-id") == schema.version
        is_same = same_place and same_schema
        known = {}
        if is_same:
            for part, data in (newest.said("months") or {}).items():
                known[part] = _Part.from_json(data)
        return cls(place, table, newest, grace, known, is_same)

    # --- looking ----------------------------------------------------------------------------------

    def look(self) -> Look:
        """The archive as it is now, with what has to be written of it."""
        marks = {part: known.mark for part, known in self.known.items()}

        def question(reader: Reader) -> Look:
            reader.check_exists()
            look = self.table.look(reader, marks)
            for part, pieces in look.pieces.items():
                for piece in pieces:
                    if self._known_extras(part, piece) is None:
                        piece.extra()
            return look

        return answered(self.place.dataset, question)

    def _known_extras(self, part: str, piece: Piece) -> _Extras | None:
        if part not in self.known:
            return None
        return self.known[part].extras.get(piece.mark)

    def is_unchanged(self, look: Look) -> bool:
        marks = {part: known.mark for part, known in self.known.items()}
        return self.is_same_table and marks == dict(look.marks)

    # --- writing ----------------------------------------------------------------------------------

    def write(self, look: Look, names: Names) -> PublishedTable | None:
        """Write all that the version consists of, and publish it; `None`: another one was first.

        Raises:
            OutcomeUnknown, Unavailable: it may be published.
        """
        from titans.iceberg.metadata import Shape, new_snapshot_id

        shape = Shape.of(self.place.dataset.provider, is_state=self.table.is_state)
        snapshot = new_snapshot_id()
        writer = _Writer(self, shape, names, snapshot)
        removable = Removable.of(self.place, self.newest, self._used, self.grace)
        parts, manifests = writer.parts(look)
        data = writer.metadata(look, parts, manifests, removable)

        number = self.newest.number + 1
        if not create(self.place, number, data):
            return None
        self._clean_up(number, removable)
        return PublishedTable.of(
            self.place,
            number,
            json.loads(data),
            self.table.name,
            changed=tuple(look.pieces),
            removed=len(removable.keys),
        )

    @property
    def _used(self) -> set[str]:
        """What the newest version refers to, without the prefix."""
        used: set[str] = set()
        for data in (self.newest.said("months") or {}).values():
            used |= _Part.from_json(data).names
        listed = self.newest.said("list")
        return used | {listed} if listed else used

    def released(self, parts: Mapping[str, _Part], removable: Removable) -> list[Any]:
        """What readers of earlier versions may still use."""
        used: set[str] = set()
        for part in parts.values():
            used |= part.names
        dropped = tuple(sorted(self._used - used))
        releases = list(removable.released)
        if dropped:
            releases.append(Release(self.newest.number + 1, dropped))
        return [[release.version, list(release.keys)] for release in releases]

    def snapshots(self, now: datetime) -> list[Mapping[str, Any]]:
        """Those of earlier versions of which every file is still there: vacuum waits for the grace
        period from when a file left the archive.
        """
        if not self.is_same_table:
            return []
        since = (now - self.grace / 2).timestamp() * 1000
        earlier = self.newest.metadata.get("snapshots", [])
        return [each for each in earlier if each["timestamp-ms"] > since]

    def _clean_up(self, number: int, removable: Removable) -> None:
        """The version is published: what fails here is made good by the next one."""
        try:
            point_at(self.place, number)
            for key in removable.keys:
                self.place.dataset.store.delete(key)
        except StoreError as error:
            log.warning("%s: published, but %s", self.place.prefix, error)


@define(eq=False)
class _Writer:
    """Writes what a version consists of."""

    publication: _Publication
    shape: Shape
    names: Names
    snapshot: int

    @property
    def place(self) -> Place:
        return self.publication.place

    def _create(self, key: str, data: bytes) -> str:
        """Its name, without the prefix of the table."""
        self.place.dataset.store.create(key, data)
        return key.removeprefix(self.place.prefix)

    def parts(self, look: Look) -> tuple[dict[str, _Part], list[ManifestFile]]:
        """The parts of the version, and the manifests of all of them."""
        known = self.publication.known
        parts: dict[str, _Part] = {}
        manifests: list[ManifestFile] = []
        for part, mark in look.marks.items():
            if part in look.pieces:
                parts[part], own = self._part(part, mark, look.pieces[part])
                manifests += own
            else:
                parts[part] = known[part]
        kept = {name for part in parts if part not in look.pieces for name in known[part].manifests}
        return parts, [*self._kept(kept), *manifests]

    def _kept(self, names: set[str]) -> list[ManifestFile]:
        """Manifests of the newest version that stay."""
        from titans.iceberg.metadata import listed_manifests

        if not names:
            return []
        urls = {self.place.url(self.place.prefix + name) for name in names}
        listed = self.publication.newest.said("list")
        data = self.place.dataset.store.get(self.place.prefix + listed).data
        return [each for each in listed_manifests(data) if each.manifest_path in urls]

    def _part(self, part: str, mark: str, pieces: list[Piece]) -> tuple[_Part, list[ManifestFile]]:
        """Write the manifests of a part, and what it needs beside the files."""
        entries: list[Entry] = []
        deletes: list[Delete] = []
        extras: dict[str, _Extras] = {}
        for number, piece in enumerate(pieces):
            entries += self._files(piece)
            if piece.is_plain:
                continue
            done = self.publication._known_extras(part, piece)
            if done is None:
                done = self._extras(f"{part}-{number}", piece.extra())
            extras[piece.mark] = done
            entries += self._rows(done)
            deletes += self._deletes(done)

        month = self.publication.table.month(part)
        names, manifests = [], []
        if entries:
            written = self._new(part)
            manifests.append(self.shape.manifest(written, self.snapshot, month, entries))
            names.append(self._create(self.names.avro(part), written.data))
        if deletes:
            written = self._new(f"{part}-deletes")
            manifest = self.shape.delete_manifest(written, self.snapshot, month, deletes)
            manifests.append(manifest)
            names.append(self._create(self.names.avro(f"{part}-deletes"), written.data))
        return _Part(mark, tuple(names), extras), manifests

    def _new(self, what: str) -> Any:
        from titans.iceberg.memory import Written

        return Written(self.place.url(self.names.avro(what)))

    def _files(self, piece: Piece) -> list[Entry]:
        from titans.iceberg.metadata import Entry

        entries = []
        for file in piece.files:
            bounds = (file.min_time, file.max_time, file.min_key, file.max_key)
            entries.append(Entry(self.place.url(file.key), file.size, file.rows, *bounds))
        return entries

    def _extras(self, what: str, extra: Extra) -> _Extras:
        """Write what a piece needs."""
        from titans.iceberg.metadata import DELETES

        rows = None
        if extra.rows is not None and extra.rows.height:
            rows = self._row_file(what, extra.rows)
        positions = []
        for number, (key, lost) in enumerate(extra.lost.items()):
            url = self.place.url(key)
            frame = pl.DataFrame(
                {"file_path": [url] * len(lost), "pos": lost},
                schema={"file_path": pl.String, "pos": pl.Int64},
            )
            data = encode_plain(frame, DELETES)
            name = self._create(self.names.parquet(f"{what}-deletes-{number}"), data)
            positions.append(_Positions(key, name, len(data), len(lost)))
        return _Extras(rows, tuple(positions))

    def _row_file(self, what: str, rows: pl.DataFrame) -> _Rows:
        key = list(self.shape.provider.key)
        wanted = [name for name in self.shape.ids if name in self.shape.schema.column_names]
        frame = rows.select(name for name in rows.columns if name in wanted).sort([*key, TIME])
        data = encode_plain(frame, self.shape.ids)
        name = self._create(self.names.parquet(what), data)
        first, last = frame[TIME].min(), frame[TIME].max()
        if not isinstance(first, datetime) or not isinstance(last, datetime):
            raise AssertionError("a change point without a time")
        keys = frame.select(key)
        return _Rows(
            name,
            len(data),
            frame.height,
            iso(first),
            iso(last),
            list(keys.row(0)),
            list(keys.row(-1)),
        )

    def _rows(self, extras: _Extras) -> list[Entry]:
        from titans.iceberg.metadata import Entry

        rows = extras.rows
        if rows is None:
            return []
        url = self.place.url(self.place.prefix + rows.name)
        times = (parse_iso(rows.min_time), parse_iso(rows.max_time))
        keys = (tuple(rows.min_key), tuple(rows.max_key))
        return [Entry(url, rows.size, rows.rows, *times, *keys)]

    def _deletes(self, extras: _Extras) -> list[Delete]:
        from titans.iceberg.metadata import Delete

        deletes = []
        for each in extras.positions:
            url = self.place.url(self.place.prefix + each.name)
            deletes.append(Delete(url, each.size, each.rows, self.place.url(each.of)))
        return deletes

    # --- the metadata file ------------------------------------------------------------------------

    def metadata(
        self,
        look: Look,
        parts: Mapping[str, _Part],
        manifests: list[ManifestFile],
        removable: Removable,
    ) -> bytes:
        """The metadata file of the version; the list of its manifests is written."""
        from titans.iceberg.memory import Written
        from titans.iceberg.metadata import snapshot_json

        newest, number = self.publication.newest, self.publication.newest.number + 1
        made = self._made()
        earlier = self.publication.snapshots(made)
        parent = earlier[-1]["snapshot-id"] if earlier else None
        key = self.names.avro("snapshot")
        written = Written(self.place.url(key))
        self.shape.manifest_list(written, self.snapshot, parent, number, manifests)
        listed = self._create(key, written.data)

        current = snapshot_json(
            self.snapshot, parent, number, made, self.place.url(key), self.shape, manifests
        )
        said: dict[str, Any] = {
            "commit": self.names.begins,
            "list": listed,
            "months": {part: known.to_json() for part, known in parts.items()},
            "released": self.publication.released(parts, removable),
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
            number,
            properties,
        )

    def _made(self) -> datetime:
        """Now, and after the version before."""
        now = datetime.now(UTC)
        before = self.publication.newest.metadata.get("last-updated-ms", 0)
        least = datetime.fromtimestamp(before / 1000, UTC) + _STEP
        return max(now, least)
