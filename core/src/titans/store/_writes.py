"""How bytes become a file of a local store: whole, durable, and visible in one step."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
import time
from pathlib import Path

from attrs import define, field

from titans.errors import OutcomeUnknown
from titans.store._files import PIECE, shown, sync
from titans.store._local_errors import unclear_outcomes
from titans.store._locks import exclusive

__all__ = ["Writer", "lock_path"]

log = logging.getLogger("titans.store")

_NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
"""What file systems without hard links answer."""

_TEMPORARY = ".tmp-"
_LOCK = re.compile(r"\..+\.lock")
_STALE = 86_400
"""Seconds after which a temporary file is what a crash left."""
_RETRIES = 16


def lock_path(path: Path) -> Path:
    """The file that stands for the lock of the object at `path`."""
    return path.with_name(f".{path.name}.lock")


@define
class Writer:
    """Writes below `root`.

    What it remembers, threads and forks may share: both only ever go one way, and who comes too
    early does a harmless step twice.
    """

    root: Path
    links: bool = True
    """Whether the file system is believed to have hard links."""
    swept: set[str] = field(factory=set)
    """Folders in which stale temporary files have been looked for; one text for each folder that
    this process writes to."""

    def write_temporary(self, path: Path, data: bytes | Path) -> Path:
        """A synced file beside `path` with `data`, or what is in the file `data`."""
        temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        try:
            with os.fdopen(self._open_new(temporary), "wb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file, PIECE)

                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            self.prune(path.parent)
            raise

        self._sweep(path.parent)
        return temporary

    def _open_new(self, temporary: Path) -> int:
        for _ in range(_RETRIES):
            try:
                return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileNotFoundError:
                # There is no folder yet, or `delete` has just removed it.
                self._make_folders(temporary.parent)
        raise OSError(errno.ENOENT, "the folder was removed again and again")

    def _make_folders(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent

        for new in reversed(missing):
            with contextlib.suppress(FileNotFoundError):
                _make_folder(new)
                # Also one that another writer made: it may not have come to this yet.
                sync(new.parent)

    def link_new(self, temporary: Path, path: Path, key: str) -> None:
        """Give the temporary file its name, unless that is taken (`FileExistsError`).

        Under the lock also where a link alone would do: a process that has no links, in a container
        or by another mount of the same folder, looks and then renames.
        """
        lock = lock_path(path)
        with exclusive(lock):
            try:
                if self.links and self._linked(temporary, path, key):
                    return
                if os.path.lexists(path):
                    raise FileExistsError(errno.EEXIST, "exists", str(path))
                self.rename(temporary, path, key)
            finally:
                # By who holds it, and at the end, or two could hold two locks of the same name.
                with contextlib.suppress(OSError):
                    lock.unlink(missing_ok=True)

    def _linked(self, temporary: Path, path: Path, key: str) -> bool:
        """Links `path` to the temporary file; false where the file system has no hard links."""
        try:
            with unclear_outcomes(key, self.root):
                os.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            self.links = False
            log.info(
                "%s: no hard links here (%s), locking instead",
                shown(self.root),
                errno.errorcode.get(error.errno),
            )

            return False

        return True

    def rename(self, temporary: Path, path: Path, key: str) -> None:
        """Put the temporary file in the place of the object. Who calls it holds the lock."""
        with unclear_outcomes(key, self.root):
            temporary.replace(path)

    def prune(self, folder: Path) -> Path:
        """Remove `folder` and those above it as far as they are empty; the first one that stays."""
        while folder != self.root:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                break

            folder = folder.parent

        return folder

    def sync_folder(self, folder: Path, key: str) -> None:
        """Make what happened to `key` in `folder` survive a power cut."""
        try:
            sync(folder)
        except FileNotFoundError:
            return  # already deleted again, folder and all
        except OSError as error:
            # It is done, but a power cut may still undo it.
            raise OutcomeUnknown(
                f"{key} in {shown(self.root)} has changed, but the folder could not be "
                f"synced: {error}",
                key=key,
            ) from error

    def _sweep(self, folder: Path) -> None:
        """Remove what a crash left in `folder` over a day ago; looked at once per folder."""
        name = str(folder)
        if name in self.swept:
            return
        self.swept.add(name)

        limit = time.time() - _STALE
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(_TEMPORARY) and not _LOCK.fullmatch(entry.name):
                    continue
                info = entry.stat(follow_symlinks=False)
                if info.st_mtime < limit:
                    _remove_stale(Path(entry), info.st_size)


def _remove_stale(path: Path, size: int) -> None:
    """Remove a temporary file, or a lock file that belongs to no object and that nobody holds."""
    if path.name.startswith(_TEMPORARY):
        path.unlink()
        return

    owner = path.with_name(path.name.removeprefix(".").removesuffix(".lock"))
    if size == 0 and not os.path.lexists(owner):
        with contextlib.suppress(BlockingIOError), exclusive(path, wait=False):
            path.unlink()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir()
    except FileExistsError:
        is_dangling = folder.is_symlink() and not folder.is_dir()
        if folder.is_file() or is_dangling:
            raise NotADirectoryError(
                errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)
            ) from None
