"""A store that is far away, in memory: it is asked in parallel, and its files are so small that a
few bytes of them are already worth a request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest.mock import patch

from titans.store.memory import MemoryStore
from titans.tiers.files import fetch, footer, parts
from titans.tiers.files.kept import KEPT

__all__ = ["Elsewhere", "small_parts"]


class Elsewhere(MemoryStore):
    """As fast in parallel as a store behind a network; counts what is fetched."""

    def __init__(self) -> None:
        super().__init__("elsewhere")
        self.parallel = True
        self.fetched: list[tuple[str, int]] = []

    def get(self, key):
        blob = super().get(key)
        self.fetched.append((key, len(blob.data)))
        return blob

    def get_range(self, key, start, end):
        data = super().get(key).data[start:end]
        self.fetched.append((key, len(data)))
        return data

    def of_merged(self) -> int:
        """Bytes of merged files that were fetched."""
        return sum(size for key, size in self.fetched if "/L" in key)


@contextlib.contextmanager
def small_parts(row_group: int = 10, piece: int = 8 << 20) -> Iterator[None]:
    """Row groups of few rows, which are fetched apart, in parts of so many bytes; none is kept."""
    parts.forget()
    KEPT.clear()
    with (
        patch("titans.tiers.files.parquet.ROW_GROUP", row_group),
        patch.object(fetch, "TAIL", 64),
        patch.object(parts, "_WORTH", 64),
        patch.object(parts, "PIECE", piece),
        patch.object(parts, "NEAR", 128),
        patch.object(footer, "NEAR", 128),
        patch.object(KEPT, "limit", 0),
    ):
        yield
