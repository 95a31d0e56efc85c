"""A store over another that keeps account of what is asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from attrs import field, frozen

from titans.store._protocol import Blob, Entry, ObjectStore, Page, get_again, list_pages

__all__ = ["Request", "Watched"]

T = TypeVar("T")


@frozen
class Request:
    """A request that was answered, with an error or without."""

    kind: str
    """`get`, `get_range`, `head` or `list`; a write has the name of its method."""
    key: str
    """Of a listing, the prefix."""
    bytes: int
    """That came. None where the object was the same as before."""
    began: float
    """Seconds, by a clock of no meaning but differences."""
    ended: float


@frozen(eq=False)
class Watched:
    """A store over another. Several threads may ask it at once, where they may ask that one.

    A listing counts as one request, however many pages it has, from its first name to its last.
    """

    below: ObjectStore
    requests: list[Request] = field(factory=list)
    """In the order in which they ended."""

    def __getattr__(self, name: str) -> Any:
        """What a store may have besides."""
        return getattr(self.below, name)

    @property
    def url(self) -> str:
        return self.below.url

    @property
    def parallel(self) -> bool:
        return self.below.parallel

    def get(self, key: str) -> Blob:
        return self._counted("get", key, lambda: self.below.get(key), _size)

    def get_again(self, key: str) -> Blob:
        given: Callable[[str], Blob | None] | None = getattr(self.below, "given", None)
        known = None if given is None else given(key)

        def size(blob: Blob) -> int:
            return 0 if blob is known else _size(blob)

        return self._counted("get", key, lambda: get_again(self.below, key), size)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return self._counted("get_range", key, lambda: self.below.get_range(key, start, end), len)

    def head(self, key: str) -> Entry:
        return self._counted("head", key, lambda: self.below.head(key))

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        return self._listed(prefix, lambda: self.below.list(prefix, start_after))

    def list_pages(self, prefix: str = "", start_after: str = "") -> Iterator[Page]:
        return self._listed(prefix, lambda: list_pages(self.below, prefix, start_after))

    def create(self, key: str, data: bytes) -> str:
        return self._counted("create", key, lambda: self.below.create(key, data))

    def replace(self, key: str, data: bytes, etag: str) -> str:
        return self._counted("replace", key, lambda: self.below.replace(key, data, etag))

    def delete(self, key: str) -> None:
        self._counted("delete", key, lambda: self.below.delete(key))

    def local_path(self, key: str) -> Path | None:
        return self.below.local_path(key)

    def _counted(
        self, kind: str, key: str, ask: Callable[[], T], size: Callable[[T], int] | None = None
    ) -> T:
        began, received = time.perf_counter(), 0
        try:
            answer = ask()
            received = 0 if size is None else size(answer)
            return answer
        finally:
            self.requests.append(Request(kind, key, received, began, time.perf_counter()))

    def _listed(self, prefix: str, ask: Callable[[], Iterator[T]]) -> Iterator[T]:
        began = time.perf_counter()
        try:
            yield from ask()
        finally:
            self.requests.append(Request("list", prefix, 0, began, time.perf_counter()))


def _size(blob: Blob) -> int:
    return len(blob.data)
