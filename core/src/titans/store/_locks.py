"""An exclusive lock between processes. `flock` queues its waiters; polling for a lock file was
measured to starve some.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from titans.errors import UnsupportedStoreError

try:
    import fcntl
except ImportError:  # not on this platform
    fcntl = None  # type: ignore[assignment]

__all__ = ["exclusive"]


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock that the file `path` stands for. It is released when the process ends, however
    it ends.

    Who holds it may remove the file: the next one in the queue notices, and makes a new one.

    Nothing is kept between two calls. Each opens the file anew, so the threads of a process exclude
    each other as processes do. A process that is forked while the lock is held shares it, and does
    not keep it longer than the one that took it.

    Raises:
        UnsupportedStoreError: the platform has no `fcntl`, and `filelock` is not installed.
    """
    if fcntl is None:
        with _file_lock(path):
            yield
        return

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                if _still_named(descriptor, path):
                    yield
                    return
            finally:
                # A process forked meanwhile shares the lock: closing alone would leave it with the
                # child.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)


def _file_lock(path: Path) -> contextlib.AbstractContextManager[object]:
    try:
        from filelock import FileLock
    except ImportError:
        raise UnsupportedStoreError(
            "a local store needs file locks, and this platform has no fcntl; pip install filelock"
        ) from None
    lock: contextlib.AbstractContextManager[object] = FileLock(path)
    return lock


def _still_named(descriptor: int, path: Path) -> bool:
    """Whether `path` is the file that was locked; another process may have removed it meanwhile."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    locked = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino)
