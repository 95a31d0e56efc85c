"""What a version remembers of itself, in the properties of the table: enough to tell what the next
one has to write anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

__all__ = ["KnownExtra", "KnownPart", "RowFile"]


@frozen
class RowFile:
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
class KnownExtra:
    """What was written for a piece."""

    rows: RowFile | None
    is_all: bool

    @property
    def names(self) -> list[str]:
        return [] if self.rows is None else [self.rows.name]

    def to_json(self) -> list[Any]:
        rows = None if self.rows is None else self.rows.to_json()
        return [rows, self.is_all]

    @classmethod
    def from_json(cls, data: list[Any]) -> KnownExtra:
        rows, is_all = data
        return cls(None if rows is None else RowFile(*rows), is_all)


@frozen(eq=False)
class KnownPart:
    """A part of a version, as it remembers it."""

    mark: str
    manifests: tuple[str, ...]
    """Names of these, without the prefix of the table."""
    extras: Mapping[str, KnownExtra] = field(factory=dict)
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
    def from_json(cls, data: Mapping[str, Any]) -> KnownPart:
        extras = {mark: KnownExtra.from_json(each) for mark, each in data["extras"].items()}
        return cls(data["mark"], tuple(data["manifests"]), extras)
