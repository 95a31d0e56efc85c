"""Files as a local store needs them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

from titans.errors import InputError

__all__ = [
    "NOTHING",
    "PIECE",
    "Etags",
    "check_path",
    "content_etag",
    "is_file",
    "is_text",
    "open_no_link",
    "shown",
    "sync",
]

PIECE = 1 << 20
"""Bytes of a file that are in memory at once."""

NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""No object can be where reading answers with these."""


_SMALL = 1 << 20
"""Bytes of an object that may be kept to be recognised: a manifest's, not a merged file's."""


def content_etag(data: bytes | Path) -> str:
    """The etag of these bytes, or of what is in the file."""
    content = hashlib.blake2b(digest_size=16)
    if isinstance(data, bytes):
        content.update(data)
        return content.hexdigest()

    with data.open("rb") as file:
        while piece := file.read(PIECE):
            content.update(piece)

    return content.hexdigest()


class Etags:
    """Knows the etag of the last object it was asked for: a manifest is read again and again before
    it changes.

    It keeps one object of at most `_SMALL` bytes, and compares all of them, so it never has to be
    invalidated. Threads and forks may share it: what is kept is replaced in a single step.
    """

    def __init__(self) -> None:
        self._last = (b"", content_etag(b""))

    def of(self, data: bytes) -> tuple[bytes, str]:
        """`data` and its etag; equal bytes are the same object again, so that who looks them up
        need not hash them either.
        """
        last = self._last
        if data == last[0]:
            return last

        current = (data, content_etag(data))
        if type(data) is bytes and len(data) <= _SMALL:
            self._last = current
        return current


def open_no_link(path: str, flags: int) -> int:
    """An opener that does not follow a symbolic link."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def is_file(path: Path) -> bool:
    """Whether `path` is a regular file, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError as error:
        if error.errno in NOTHING:
            return False
        raise


def check_path(path: str | os.PathLike[str]) -> None:
    """Raises `InputError` for what can be the path of no folder."""
    try:
        name = os.fsencode(path)
    except (UnicodeEncodeError, TypeError):
        name = b"\0"
    if b"\0" in name:
        raise InputError(f"not a path of a folder: {path!r}")


def is_text(path: Path) -> bool:
    """Whether the path is Unicode text; on most systems, a name may be any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: Path) -> str:
    """The path for a message, which has to be text."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def sync(folder: Path) -> None:
    """Write what the folder lists to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # the file system has no such thing for folders
            raise
    finally:
        os.close(descriptor)
