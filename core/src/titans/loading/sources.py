"""Which files are meant."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from attrs import frozen

from titans.errors import InputError, NotFound
from titans.loading.tables import kind_of
from titans.store import ObjectStore, open_store

__all__ = ["STDIN", "Source", "find"]

STDIN = "-"
_MAGIC = re.compile(r"[*?\[]")


@frozen(eq=False)
class Source:
    """A file that can be read."""

    name: str
    """What the user knows it by; slashes between its parts."""
    read: Callable[[], bytes]
    """Its bytes. Raises `InputError` where it cannot be read."""
    path: Path | None = None
    """Where it lies on this machine."""


def find(files: Iterable[str | Path], form: str | None = None) -> list[Source]:
    """The files that are meant, in the order in which they are named; those of a folder, a prefix
    or a pattern in the order of their names.

    Args:
        files: each a path, a pattern (`*`, `?`, `[…]`, `**` for folders) where there is no such
            path, a folder with all below it, `-` for standard input, or the URL of an object or a
            prefix (with `*` and `**`). A `Path` is no pattern.
        form: the format of all files. Without it, only files in a folder whose name says one count.

    Raises:
        InputError: there is no such file, or none in a folder.
        StoreError: the store cannot be asked.
    """
    found: dict[str, Source] = {}
    for each in files:
        sources = _find_one(each, form)
        if not sources:
            raise InputError(f"{each}: there is no file of snapshots in it, or of this name")
        for source in sources:
            found.setdefault(source.name, source)
    return list(found.values())


def _find_one(file: str | Path, form: str | None) -> list[Source]:
    if isinstance(file, str) and file == STDIN:
        return [Source(STDIN, _read_stdin)]
    if isinstance(file, str) and file.lower().startswith("file://"):
        file = Path(url2pathname(urlsplit(file).path))
    if isinstance(file, str) and "://" in file:
        return _objects(file, form)

    path = Path(file)
    if path.is_dir():
        return [_local(each) for each in sorted(path.rglob("*")) if _counts(each, path, form)]
    if path.exists():
        return [_local(path)]
    if isinstance(file, str) and _MAGIC.search(file):
        names = sorted(glob.glob(file, recursive=True))  # noqa: PTH207 - absolute patterns too
        return [_local(Path(name)) for name in names if Path(name).is_file()]
    raise InputError(f"there is no file {str(file)!r}")


def _counts(path: Path, folder: Path, form: str | None) -> bool:
    """Whether a file in a folder is one of snapshots."""
    below = path.relative_to(folder)
    if any(part.startswith(".") for part in below.parts):
        return False
    return (form is not None or kind_of(path.name) is not None) and path.is_file()


def _local(path: Path) -> Source:
    def read() -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error

    return Source(path.as_posix(), read, path)


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read()


# --- objects of a store ---------------------------------------------------------------------------


def _objects(url: str, form: str | None) -> list[Source]:
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}"
    options = f"?{parts.query}" if parts.query else ""
    store = open_store(place + options)
    key = unquote(parts.path).lstrip("/")

    if "*" in key:
        pattern = _expression(key)
        keys = [each.key for each in store.list(key[: key.index("*")])]
        return [_object(store, place, each) for each in keys if pattern.fullmatch(each)]
    if key and not key.endswith("/"):
        try:
            return [_object(store, place, store.head(key).key)]
        except NotFound:
            key += "/"

    found = []
    for entry in store.list(key):
        if form is not None or kind_of(entry.key) is not None:
            found.append(_object(store, place, entry.key))
    return found


def _object(store: ObjectStore, place: str, key: str) -> Source:
    def read() -> bytes:
        try:
            return store.get(key).data
        except NotFound as error:
            raise InputError(f"{place}/{key} is not there any more") from error

    return Source(f"{place}/{key}", read)


def _expression(pattern: str) -> re.Pattern[str]:
    """`*` stands for anything but a slash, `**` for anything; `**/` also for nothing."""
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    parts = re.split(r"(\*\*/|\*\*|\*)", pattern)
    return re.compile("".join(wild.get(part, re.escape(part)) for part in parts), re.DOTALL)
