"""An exclusive lock between processes. `flock` queues its waiters; polling for a lock file was
measured to starve some.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from weakref import WeakSet

from titans.errors import UnsupportedStoreError

try:
    import fcntl
except ImportError:  # not on this platform
    fcntl = None  # type: ignore[assignment]

__all__ = ["exclusive"]


def exclusive(path: Path, *, wait: bool = True) -> contextlib.AbstractContextManager[object]:
    """Take the lock that the file `path` stands for, and hold it `with` what is returned. It is
    released when the process ends, however it ends.

    Who holds it may remove the file: the next one in the queue notices, and makes a new one.

    Nothing is kept between two calls. Each opens the file anew, so the threads of a process exclude
    each other as processes do. A process that is forked while the lock is held does not share it.

    Raises:
        BlockingIOError: it is held, and `wait` is false.
        UnsupportedStoreError: the platform has no `fcntl`, and `filelock` is not installed.
    """
    if fcntl is None:
        return _file_lock(path)

    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    while True:
        # Closing it releases the lock. A signal's exception may end any line of Python, but not the
        # steps in C by which `with` closes a file, or by which one that nobody knows is closed.
        lock = io.FileIO(os.fspath(path), "r+", opener=_open)
        _held.add(lock)
        try:
            fcntl.flock(lock, how)
            if _still_named(lock, path):
                return lock
        except BaseException:
            lock.close()
            raise
        lock.close()


def _open(path: str, _flags: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


_held: WeakSet[io.FileIO] = WeakSet()
"""Open lock files. As many as threads write at once: a file that is closed and let go of is in it
no more. Threads share it; a fork closes its copies, or it would share the locks.
"""


def _let_go() -> None:
    for lock in list(_held):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _file_lock(path: Path) -> contextlib.AbstractContextManager[object]:
    try:
        from filelock import FileLock
    except ImportError:
        raise UnsupportedStoreError(
            "a local store needs file locks, and this platform has no fcntl; pip install filelock"
        ) from None
    lock: contextlib.AbstractContextManager[object] = FileLock(path)
    return lock


def _still_named(lock: io.FileIO, path: Path) -> bool:
    """Whether `path` is the file that was locked; another process may have removed it meanwhile."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    locked = os.fstat(lock.fileno())
    return (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino)
