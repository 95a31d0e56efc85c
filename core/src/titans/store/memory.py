"""A store in memory, for tests and examples."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from titans.errors import AlreadyExists, NotFound, PreconditionFailed, StoreError
from titans.store._protocol import Blob, Entry, check_key, check_prefix

__all__ = ["MemoryStore"]


_alive: WeakValueDictionary[str, MemoryStore] = WeakValueDictionary()
"""Stores that were pickled, by their tokens, as long as anybody else holds them. A token means one
store for ever. Threads may share it: an entry is written whole; a fork has copies of the stores."""


def _here(token: str, url: str) -> MemoryStore:
    """A store that was pickled in this process."""
    store = _alive.get(token)
    if store is None:
        raise StoreError(
            f"{url} is in the memory of another process, or gone; use a folder or s3:// for what "
            "several processes share"
        )
    return store


def _now() -> datetime:
    return datetime.now(UTC)


class MemoryStore:
    """Objects in a dict, safe to use from several threads.

    Args:
        name: shown in its URL.
        clock: tells the time of writes; timezone-aware.
    """

    def __init__(self, name: str = "", clock: Callable[[], datetime] = _now) -> None:
        self.url = f"memory://{name}"
        self.parallel = False
        self._clock = clock
        self._objects: dict[str, Blob] = {}
        self._lock = threading.Lock()
        self._token = secrets.token_hex(8)

    def __reduce__(self) -> tuple[Any, ...]:
        _alive[self._token] = self
        return _here, (self._token, self.url)

    def __repr__(self) -> str:
        return f"MemoryStore({self.url!r})"

    def get(self, key: str) -> Blob:
        check_key(key)
        try:
            return self._objects[key]
        except KeyError:
            raise NotFound(f"no object {key} in {self.url}", key=key) from None

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return self.get(key).data[start:end]

    def head(self, key: str) -> Entry:
        return _entry(key, self.get(key))

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        with self._lock:
            keys = [k for k in self._objects if k.startswith(prefix) and k > start_after]
            listed = [(key, self._objects[key]) for key in sorted(keys)]
        return (_entry(key, blob) for key, blob in listed)

    def create(self, key: str, data: bytes) -> str:
        check_key(key)
        with self._lock:
            if key in self._objects:
                raise AlreadyExists(f"{key} exists in {self.url}", key=key)
            return self._put(key, data)

    def replace(self, key: str, data: bytes, etag: str) -> str:
        check_key(key)
        with self._lock:
            current = self._objects.get(key)
            if current is None or current.etag != etag:
                raise PreconditionFailed(f"{key} in {self.url} is not the version {etag}", key=key)
            return self._put(key, data)

    def delete(self, key: str) -> None:
        check_key(key)
        with self._lock:
            self._objects.pop(key, None)

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    def _put(self, key: str, data: bytes) -> str:
        blob = Blob(bytes(data), hashlib.blake2b(data, digest_size=16).hexdigest(), self._clock())
        self._objects[key] = blob
        return blob.etag


def _entry(key: str, blob: Blob) -> Entry:
    return Entry(key, len(blob.data), blob.etag, blob.last_modified)
