"""What lies in the folders of a local store."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path

from attrs import define, field, frozen

from titans.errors import InvalidKeyError
from titans.store._protocol import Entry, Page, check_key

__all__ = ["NO_OBJECTS", "Folders", "Listing", "walked"]

_MOST = 4096
"""Folders that are remembered."""


@frozen
class Listing:
    """What is in a folder."""

    items: list[tuple[str, Entry | None]]
    """Full keys in order; folders end with a slash and have no entry."""
    page: Page | None
    """All of it, where there are no folders in it."""

    @classmethod
    def of(cls, items: list[tuple[str, Entry | None]]) -> Listing:
        entries = tuple(entry for _, entry in items if entry is not None)
        if len(entries) == len(items):
            return cls(items, Page(entries))
        return cls(items, None)


NO_OBJECTS = Listing.of([])

_FileState = tuple[int, int, int]
"""Time, size and mode of a file."""
_Known = tuple[_FileState, Entry]
"""What a file was like, and what follows from that."""


@define
class Folders:
    """Looks through folders, each time it is asked: a folder's own time says nothing. It may count
    in seconds, so that two changes leave it the same, and no clock of ours tells how old it is.

    What a folder looked like is kept for one purpose: where nothing in it has changed, its listing
    is the same object again.

    It is bounded by `_MOST` folders: one too many, and all are forgotten. Threads may share it
    without a lock, for a listing never changes once it is made, and each step on a dict is a single
    one. A fork begins with a copy.
    """

    root: Path
    seen: dict[str, tuple[Listing, dict[str, _Known]]] = field(factory=dict)
    """By folder: its listing, and its files by name."""

    def listing(self, folder: str) -> Listing:
        """The objects and folders in `folder`, a key prefix without its slash; `""` is the root.
        Raises `OSError`.
        """
        last, before = self.seen.get(folder, (NO_OBJECTS, {}))
        items, files = _read_folder(f"{self.root}/{folder}", folder, before)
        if items == last.items:
            return last

        listing = Listing.of(items)
        if len(self.seen) >= _MOST:
            self.seen.clear()
        self.seen[folder] = (listing, files)
        return listing


def walked(
    listing: Callable[[str], Listing], folder: str, prefix: str, start_after: str
) -> Iterator[Page]:
    """The objects below `folder` in order of their keys; each folder is listed when its turn
    comes.
    """
    open_folders = [iter(listing(folder).items)]
    while open_folders:
        for name, entry in open_folders[-1]:
            wanted = name.startswith(prefix) and name > start_after
            if entry is not None:
                if wanted:
                    yield Page((entry,))
                continue

            may_begin = name.startswith(prefix) or prefix.startswith(name)
            if not may_begin or not (name > start_after or start_after.startswith(name)):
                continue
            inner = listing(name[:-1])
            if wanted and inner.page is not None:
                yield inner.page  # most folders: all of it, and nothing below
            else:
                open_folders.append(iter(inner.items))
                break
        else:
            open_folders.pop()


def _read_folder(
    path: str, folder: str, before: dict[str, _Known]
) -> tuple[list[tuple[str, Entry | None]], dict[str, _Known]]:
    """What is in the folder, in order, and its files by name; `before` is what was last seen."""
    base = f"{folder}/" if folder else ""
    items: list[tuple[str, Entry | None]] = []
    files = dict[str, _Known]()
    with os.scandir(path) as scan:
        for item in scan:
            name = item.name
            if name.startswith("."):
                continue
            if item.is_dir(follow_symlinks=False):
                # With the slash, "a/…" sorts among "a-b" and "a.b" as the full keys do.
                items.append((f"{base}{name}/", None))
                continue

            file = _read_file_state(base, item, before.get(name))
            if file is not None:
                files[name] = file
                items.append((file[1].key, file[1]))

    items.sort(key=itemgetter(0))
    return items, files


def _read_file_state(base: str, item: os.DirEntry[str], before: _Known | None) -> _Known | None:
    """`None` for what is no object; `before` is what was last seen under the name."""
    try:
        info = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None

    state = (info.st_mtime_ns, info.st_size, info.st_mode)
    if before is not None and before[0] == state:
        return before

    key = base + item.name
    if not stat.S_ISREG(info.st_mode) or not _is_key(key):
        return None
    # Hashing every file for a listing would be expensive; who needs an etag asks head.
    return state, Entry(key, info.st_size, "", datetime.fromtimestamp(info.st_mtime, UTC))


def _is_key(key: str) -> bool:
    """Whether a file in the folder is an object; others may keep files of their own beside us."""
    if len(key) <= 256 and key.isprintable() and "\\" not in key:
        # What `check_key` would say at ten times the price, for a name that came from a folder.
        return True
    try:
        check_key(key)
    except InvalidKeyError:
        return False

    return True
