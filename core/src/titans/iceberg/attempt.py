"""An attempt at the next version of a table: what the newest one says, and what the archive is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import define

from titans.iceberg.content import Piece
from titans.iceberg.known import KnownExtra, KnownPart
from titans.iceberg.tables import Look, Table
from titans.iceberg.versions import Place, Release, Removable, Version
from titans.read.reader import Reader, answered

__all__ = ["Attempt"]


@define(eq=False)
class Attempt:
    """An attempt at the version after `newest`."""

    place: Place
    table: Table
    newest: Version
    grace: timedelta
    known: Mapping[str, KnownPart]
    """What the newest version consists of, as far as that can be kept."""
    is_same_table: bool

    @classmethod
    def begun(cls, place: Place, table: Table, newest: Version, grace: timedelta) -> Attempt:
        schema = place.dataset.provider.schema
        same_place = newest.metadata.get("location") == place.location
        same_schema = newest.metadata.get("current-schema-id") == schema.version
        is_same = same_place and same_schema
        known = {}
        if is_same:
            for part, data in (newest.said("months") or {}).items():
                known[part] = KnownPart.from_json(data)
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
                    if self.known_extra(part, piece) is None:
                        piece.extra()
            return look

        return answered(self.place.dataset, question)

    def known_extra(self, part: str, piece: Piece) -> KnownExtra | None:
        if part not in self.known:
            return None
        return self.known[part].extras.get(piece.mark)

    def is_unchanged(self, look: Look) -> bool:
        marks = {part: known.mark for part, known in self.known.items()}
        return self.is_same_table and marks == dict(look.marks)

    # --- what stays of the newest version ---------------------------------------------------------

    @property
    def used(self) -> set[str]:
        """What the newest version refers to, without the prefix."""
        used: set[str] = set()
        for data in (self.newest.said("months") or {}).values():
            used |= KnownPart.from_json(data).names
        listed = self.newest.said("list")
        return used | {listed} if listed else used

    def released(self, parts: Mapping[str, KnownPart], removable: Removable) -> list[Any]:
        """What readers of earlier versions may still use."""
        used: set[str] = set()
        for part in parts.values():
            used |= part.names
        dropped = tuple(sorted(self.used - used))
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
