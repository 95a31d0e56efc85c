"""A store over another, which is only read: what is written stays in memory."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import Any

from titans.errors import AlreadyExists, NotFound, PreconditionFailed
from titans.store._protocol import Blob, Entry, ObjectStore
from titans.store.memory import MemoryStore

__all__ = ["Overlay"]


class Overlay:
    """A store over another, which is only read."""

    def __init__(self, below: ObjectStore) -> None:
        self._below = below
        self._above = MemoryStore()
        self._hidden: set[str] = set()
        """Keys of objects below that were replaced or deleted."""
        self.url = below.url
        self.parallel = below.parallel

    def _try(self, method: str, key: str, *arguments: Any) -> Any:
        try:
            return getattr(self._above, method)(key, *arguments)
        except NotFound:
            if key in self._hidden:
                raise
        return getattr(self._below, method)(key, *arguments)

    def get(self, key: str) -> Blob:
        blob: Blob = self._try("get", key)
        return blob

    def get_range(self, key: str, start: int, end: int) -> bytes:
        data: bytes = self._try("get_range", key, start, end)
        return data

    def head(self, key: str) -> Entry:
        entry: Entry = self._try("head", key)
        return entry

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        above = self._above.list(prefix, start_after)
        below = (e for e in self._below.list(prefix, start_after) if e.key not in self._hidden)
        return merge(above, below, key=attrgetter("key"))

    def create(self, key: str, data: bytes) -> str:
        if self._is_below(key):
            raise AlreadyExists(f"{key} exists in {self.url}", key=key)
        return self._above.create(key, data)

    def replace(self, key: str, data: bytes, etag: str) -> str:
        if not self._is_below(key):
            return self._above.replace(key, data, etag)
        if self._below.head(key).etag != etag:
            raise PreconditionFailed(f"{key} in {self.url} is not the version {etag}", key=key)
        self._hidden.add(key)
        return self._above.create(key, data)

    def delete(self, key: str) -> None:
        self._hidden.add(key)
        self._above.delete(key)

    def local_path(self, key: str) -> Path | None:
        try:
            self._above.head(key)
        except NotFound:
            if key not in self._hidden:
                return self._below.local_path(key)
        return None

    def _is_below(self, key: str) -> bool:
        """Whether the object is one of the store below, as it is there."""
        if key in self._hidden:
            return False
        try:
            self._below.head(key)
        except NotFound:
            return False
        return True
