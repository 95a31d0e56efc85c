"""A store in memory, for tests and examples."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from titans.errors import AlreadyExists, NotFound, PreconditionFailed
from titans.store._protocol import Blob, Entry, check_key, check_prefix

__all__ = ["MemoryStore"]


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
