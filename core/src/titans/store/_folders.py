"""What lies in the folders of a local store."""

from __future__ import annotations

import os
import stat
import time
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path

from attrs import define, field, frozen

from titans.errors import InvalidKeyError
from titans.store._protocol import Entry, Page, check_key

__all__ = ["NOTHING_THERE", "Folders", "Listing"]

_MOST = 4096
_FEW = 16
"""Folders that are remembered: settled ones, and those that change."""
_SETTLED = 250_000_000
_SETTLED_COARSE = 2_000_000_000
"""How old, in nanoseconds, a folder's last change must be before what was seen in it is remembered;
longer where the file system counts whole milliseconds or seconds."""


@frozen
class Listing:
    """What is in a folder."""

    found: list[tuple[str, Entry | None]]
    """Full keys in order; folders end with a slash and have no entry."""
    page: Page | None
    """All of it, where there are no folders in it."""

    @classmethod
    def of(cls, found: list[tuple[str, Entry | None]]) -> Listing:
        entries = tuple(entry for _, entry in found if entry is not None)
        return cls(found, Page(entries) if len(entries) == len(found) else None)


_Seen = tuple[tuple[int, int, int], Entry]
"""Time, size and mode of a file, and what follows from them."""

NOTHING_THERE = Listing.of([])


@define
class Folders:
    """Looks through folders, and not again through one that has not changed.

    A folder's own time changes with every file that comes, goes or is replaced. As long as it has
    not, and was not so young when it was looked at that something could have followed within a tick
    of its clock, the answer is the same.
    """

    root: Path
    known: dict[str, tuple[tuple[int, int], Listing]] = field(factory=dict)
    young: dict[str, dict[str, _Seen]] = field(factory=dict)
    """Of folders that change again and again: what was last seen in them, by name."""

    def listing(self, folder: str) -> Listing:
        """The objects and folders in `folder`, a key prefix without its slash; `""` is the root.
        Raises `OSError`.
        """
        path, base = f"{self.root}/{folder}", f"{folder}/" if folder else ""
        info = os.stat(path)  # noqa: PTH116  a Path is dear to make for each folder
        changed = (info.st_mtime_ns, info.st_ctime_ns)
        known = self.known.get(folder)
        if known is not None and known[0] == changed:
            return known[1]
        found: list[tuple[str, Entry | None]] = []
        before, seen = self.young.pop(folder, {}), dict[str, _Seen]()
        with os.scandir(path) as scan:
            for entry in scan:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    # With the slash, "a/…" sorts among "a-b" and "a.b" as the full keys do.
                    found.append((f"{base}{name}/", None))
                elif (there := _seen(base, entry, before.get(name))) is not None:
                    seen[name] = there
                    found.append((there[1].key, there[1]))
        found.sort(key=itemgetter(0))
        listing = Listing.of(found)
        tick = _SETTLED if info.st_mtime_ns % 1_000_000 else _SETTLED_COARSE
        if time.time_ns() - info.st_mtime_ns > tick:
            if len(self.known) >= _MOST:
                self.known.clear()
            self.known[folder] = (changed, listing)
        else:
            if len(self.young) >= _FEW:
                self.young.clear()
            self.young[folder] = seen
        return listing


def _seen(base: str, found: os.DirEntry[str], before: _Seen | None) -> _Seen | None:
    """`None` for what is no object; `before` is what was last seen under the name."""
    try:
        info = found.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    mark = (info.st_mtime_ns, info.st_size, info.st_mode)
    if before is not None and before[0] == mark:
        return before
    if not stat.S_ISREG(info.st_mode) or not _is_key(base + found.name):
        return None
    # Hashing every file for a listing would be dear; who needs an etag asks head.
    return mark, Entry(
        base + found.name, info.st_size, "", datetime.fromtimestamp(info.st_mtime, UTC)
    )


def _is_key(name: str) -> bool:
    """Whether a file that was found is an object; others may keep files of their own beside us."""
    if len(name) <= 256 and name.isprintable() and "\\" not in name:
        # what `check_key` would say at ten times the price, for a name that came from a folder
        return True
    try:
        check_key(name)
    except InvalidKeyError:
        return False
    return True
