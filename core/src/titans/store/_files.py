"""Files as a local store needs them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

__all__ = ["NOTHING", "PIECE", "content_etag", "is_file", "open_no_link", "sync"]

PIECE = 1 << 20
"""Bytes of a file that are in memory at once."""

NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""No object can be where reading answers with these."""


def content_etag(data: bytes | Path) -> str:
    content = hashlib.blake2b(digest_size=16)
    if isinstance(data, bytes):
        content.update(data)
    else:
        with data.open("rb") as file:
            while piece := file.read(PIECE):
                content.update(piece)
    return content.hexdigest()


def open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError as error:
        if error.errno in NOTHING:
            return False
        raise


def sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # the file system has no such thing for folders
            raise
    finally:
        os.close(descriptor)
