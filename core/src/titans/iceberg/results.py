"""What publishing an archive did."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import frozen

from titans.slots import parse_iso

if TYPE_CHECKING:
    from titans.iceberg.versions import Place

__all__ = ["Publication", "PublishedTable"]


@frozen
class PublishedTable:
    """A version of a table."""

    table: str
    """`changes`, or `latest`."""
    version: int
    location: str
    """The URL of the metadata file: what engines are given to read just this version."""
    root: str
    """The URL of the table: what engines are given that look for the newest version."""
    uuid: str
    """Of the table, the same in every version."""
    files: int
    rows: int
    changed: tuple[str, ...] = ()
    """Months that were written anew."""
    removed: int = 0
    """Objects of earlier versions that were removed."""
    at: datetime | None = None
    """Of `latest`: the moment of the state."""
    unchanged: bool = False
    """Nothing was written: the newest version says what the archive says."""

    @classmethod
    def of(
        cls, place: Place, number: int, metadata: Mapping[str, Any], table: str
    ) -> PublishedTable:
        summary = metadata["snapshots"][-1]["summary"]
        at = metadata["properties"].get("titans.at")
        return cls(
            table,
            number,
            place.url(place.metadata_key(number)),
            place.location,
            metadata["table-uuid"],
            int(summary["total-data-files"]),
            int(summary["total-records"]),
            at=None if at is None else parse_iso(at),
        )


@frozen
class Publication:
    """The tables of an archive, as they are published now."""

    changes: PublishedTable
    latest: PublishedTable

    @property
    def unchanged(self) -> bool:
        """Nothing was written."""
        return self.changes.unchanged and self.latest.unchanged
