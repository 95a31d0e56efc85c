"""What the operating system's refusals mean for a store in a folder."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from titans.errors import OutcomeUnknown, StoreError, Unavailable
from titans.store._files import shown

__all__ = ["FULL", "failure", "unclear_outcomes"]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The disk, or the user's share of it, is full."""

_UNCLEAR = (errno.EIO, errno.ETIMEDOUT, errno.ESTALE)
"""A network file system may have done what it answers with these."""

_PASSING = (errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOENT)
"""May be over the next time. `ENOENT`: the folder was removed under a writer."""

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run it again",
    errno.EDQUOT: "the disk quota is used up; free some space and run it again",
    errno.EFBIG: (
        "the file would be larger than this process may write; raise the limit (ulimit -f)"
    ),
    errno.EROFS: "the file system is read-only; choose another folder or mount it writable",
    errno.EACCES: (
        "permission denied; give this user the right to write there, or choose another folder"
    ),
    errno.EPERM: (
        "not permitted; give this user the right to write there, or choose another folder"
    ),
    errno.ENOTDIR: (
        "a file stands where a folder is needed, or a link to nowhere; choose another folder"
    ),
    errno.EISDIR: "a folder stands where the file should be; remove it",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EMFILE: (
        "this process has too many files open; close some, or raise the limit (ulimit -n)"
    ),
    errno.EIO: "the disk or the network failed; look at the system's log, then run it again",
}


def failure(verb: str, key: str, root: Path, error: OSError) -> StoreError:
    """The error to raise where `error` kept the store at `root` from doing `verb` to `key`, a
    folder's key or `""` for the root where it listed.
    """
    number = error.errno or 0
    advice = _ADVICE.get(number, error.strerror or str(error))
    name = errno.errorcode.get(number, "OSError")

    kind = Unavailable if number in _PASSING else StoreError
    what = f"{verb} {key or 'the root'} in {shown(root)}"
    return kind(f"cannot {what}: {advice} ({name})", key=key or None)


@contextlib.contextmanager
def unclear_outcomes(key: str, root: Path) -> Iterator[None]:
    """Around the step that makes a write visible. Raises `OutcomeUnknown` where it may have."""
    try:
        yield
    except OSError as error:
        if error.errno in _UNCLEAR:
            raise OutcomeUnknown(
                f"{key} may or may not have been written to {shown(root)}: {error}", key=key
            ) from error

        raise
