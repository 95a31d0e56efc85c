"""What an archive needs of a place that keeps bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from attrs import frozen

from titans.errors import InvalidKeyError

__all__ = [
    "Blob",
    "Entry",
    "ObjectStore",
    "Page",
    "check_key",
    "check_prefix",
    "create_file",
    "get_again",
    "list_pages",
]


@frozen
class Entry:
    """What a store knows of an object without reading it."""

    key: str
    size: int
    """In bytes."""
    etag: str
    """May be empty in a listing."""
    last_modified: datetime
    """By the store's clock, timezone-aware."""


@frozen
class Blob:
    """An object, read whole."""

    data: bytes
    etag: str
    last_modified: datetime


@frozen(eq=False)
class Page:
    """A part of a listing. Where the very same page comes again, nothing in it has changed: what
    was made of it may be kept.
    """

    entries: tuple[Entry, ...]


@runtime_checkable
class ObjectStore(Protocol):
    """Bytes under keys, with conditional writes. Every method may raise `Unavailable`; every write
    also `OutcomeUnknown`.

    Keys are relative paths joined by `/` (see `check_key`); a malformed one raises
    `InvalidKeyError` before anything happens. What a write has acknowledged is durable, and visible
    to every later `get`, `head` and `list`.
    """

    @property
    def url(self) -> str:
        """Names the store for people and logs; no credentials."""

    @property
    def parallel(self) -> bool:
        """Whether requests from several threads at once are safe, and faster than one after the
        other.
        """

    def get(self, key: str) -> Blob:
        """The object whole. Raises `NotFound`."""

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes `[start, end)`, cut at the object's end. Raises `NotFound`."""

    def head(self, key: str) -> Entry:
        """Raises `NotFound`."""

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        """Objects whose key starts with the string `prefix` and is greater than `start_after`.

        In order of their keys (by Unicode code point), and lazy: a page is fetched when it is
        needed.
        """

    def create(self, key: str, data: bytes) -> str:
        """Write a new object and return its etag. Raises `AlreadyExists`, with the object
        untouched.
        """

    def replace(self, key: str, data: bytes, etag: str) -> str:
        """Compare-and-swap: write if the object still has `etag`, and return the new one.

        Raises `PreconditionFailed` if it has another or is not there, with the object untouched.
        """

    def delete(self, key: str) -> None:
        """Remove the object; succeeds if there is none."""

    def local_path(self, key: str) -> Path | None:
        """Where the object lies as a file on this machine, or `None` if it does not: lets readers
        map files.
        """


def get_again(store: ObjectStore, key: str) -> Blob:
    """As `store.get`, of a small object that is read again and again.

    A store that can be asked whether what it gave before is the same still, instead of sending it
    again, has a method `get_again(key)`.
    """
    ask: Callable[[str], Blob] = getattr(store, "get_again", store.get)
    return ask(key)


def create_file(store: ObjectStore, key: str, path: Path) -> str:
    """As `store.create`, of a file on this machine.

    A store that can send it without having it in memory as a whole has a method `create_file(key,
    path)`.
    """
    send: Callable[[str, Path], str] | None = getattr(store, "create_file", None)
    if send is None:
        return store.create(key, path.read_bytes())
    return send(key, path)


def list_pages(store: ObjectStore, prefix: str = "", start_after: str = "") -> Iterator[Page]:
    """As `store.list`, page by page.

    A store that can tell a part of a listing that has not changed, without looking at each object,
    has a method `list_pages(prefix, start_after)`.
    """
    pages: Callable[[str, str], Iterator[Page]] | None = getattr(store, "list_pages", None)
    if pages is None:
        entries = tuple(store.list(prefix, start_after))
        return iter([Page(entries)])
    return pages(prefix, start_after)


_UNFIT = re.compile(r"(?:\A|/)(?:[./]|\Z)|[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")
"""An empty segment, one that starts with a dot, or a character that no key has."""

_MOST_BYTES = 1024


def check_key(key: str) -> str:
    """`key`, if it is one: non-empty segments joined by `/`, none starting with a dot, no backslash
    or control character.

    Raises:
        InvalidKeyError: anything else, `..` and absolute paths included.
    """
    if not isinstance(key, str):
        raise _malformed(key)
    size = len(key.encode("utf-8", "surrogatepass"))
    if not key or size > _MOST_BYTES or _UNFIT.search(key):
        raise _malformed(key)
    return key


def _malformed(key: object) -> InvalidKeyError:
    return InvalidKeyError(
        f"not an object key: {key!r}; a key is a relative path like 'a/b.parquet', without "
        "empty segments, "
        f"segments that start with a dot, backslashes or control characters, at most {_MOST_BYTES} "
        "bytes",
        key=key if isinstance(key, str) else None,
    )


def check_prefix(prefix: str) -> str:
    """`prefix`, if some key could start with it. Raises `InvalidKeyError`."""
    if not prefix:
        return prefix
    check_key(prefix + "x" if prefix.endswith("/") else prefix)
    return prefix
