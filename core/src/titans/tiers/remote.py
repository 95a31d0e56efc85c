"""Fetching from stores elsewhere: many objects at once, and of large ones only what is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from titans.store import ObjectStore
from titans.tiers.parts import Footer, Group, footer_size

__all__ = ["TAIL", "at_once", "fetch_parts", "tail_of"]

TAIL = 1 << 16
"""Bytes at the end of a file that mostly hold its footer."""

_WORTH = 8 * TAIL
"""Smaller files are fetched whole: another round trip costs more."""
_REQUESTS = 16
_KNOWN = 1024

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")

_File = tuple[str, int, str]
"""Key, size in bytes, content hash."""

_footers: dict[tuple[str, _File], Footer] = {}
"""By store and file. Names of merged files are never used again, so a footer stays what it is."""


def at_once(
    store: ObjectStore, ask: Callable[[_Asked], _Answer], wanted: Sequence[_Asked]
) -> list[_Answer]:
    """What `ask` answers to each; in parallel where the store is the faster for it."""
    if len(wanted) < 2 or not store.parallel:
        return [ask(each) for each in wanted]
    with ThreadPoolExecutor(min(_REQUESTS, len(wanted))) as pool:
        return list(pool.map(ask, wanted))


def tail_of(store: ObjectStore, key: str, size: int) -> bytes:
    """The end of a file of `size` bytes, with all of its footer. Raises `NotFound`; `ValueError`
    where it is no Parquet file.
    """
    tail = store.get_range(key, max(0, size - TAIL), size)
    length = footer_size(tail)
    if length > size:
        raise ValueError(f"a footer of {length} bytes in a file of {size}")
    return tail if length <= len(tail) else store.get_range(key, size - length, size)


def fetch_parts(
    store: ObjectStore, files: Iterable[_File], key: Mapping[str, str]
) -> dict[str, bytes]:
    """Of large merged files: key → a file of those row groups that may have rows with the values of
    `key`.

    Left out, to be fetched whole, are files of which most is needed, that have another size, or
    whose footer is not understood.

    Raises:
        NotFound: one of them is gone.
    """
    large = [file for file in files if file[1] > _WORTH]
    known = zip(large, at_once(store, lambda file: _footer(store, file), large), strict=True)
    footers = {file: footer for file, footer in known if footer is not None}
    groups = {file: footer.groups_with(key) for file, footer in footers.items()}
    wanted = [file for file, found in groups.items() if _length(found) <= file[1] // 2]
    pieces = at_once(store, lambda file: _piece(store, file[0], groups[file]), wanted)
    return {
        file[0]: footers[file].file_of(groups[file], piece)
        for file, piece in zip(wanted, pieces, strict=True)
        if len(piece) == _length(groups[file])
    }


def _length(groups: Sequence[Group]) -> int:
    return groups[-1].end - groups[0].start if groups else 0


def _piece(store: ObjectStore, key: str, groups: Sequence[Group]) -> bytes:
    return store.get_range(key, groups[0].start, groups[-1].end) if groups else b""


def _footer(store: ObjectStore, file: _File) -> Footer | None:
    key, size, _ = file
    known = _footers.get((store.url, file))
    if known is not None:
        return known
    try:
        footer = Footer.of(tail_of(store, key, size))
    except ValueError:
        return None
    while len(_footers) >= _KNOWN:
        _footers.pop(next(iter(_footers)), None)  # the oldest; another thread may have been quicker
    _footers[store.url, file] = footer
    return footer
