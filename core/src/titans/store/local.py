"""A store in a folder: the embedded default. Safe for many processes on one machine, and across
crashes.

A write goes to a temporary file beside its target, is synced, and gets its name in one step: `link`
for a new object (the kernel refuses if there is one), `rename` under an exclusive `flock` for
compare-and-swap. The folder is synced after that. A crash leaves at most a temporary file, whose
name starts with a dot: it is never listed, and swept up a day later.

Where the file system refuses hard links (some network and FUSE mounts), new objects are renamed
into place under the same lock that compare-and-swap takes; that is as safe between processes that
use this class.

A folder cannot be an object as well: with `a/b` there, `a` cannot be created. Symbolic links below
the root are not followed: what they lead to is no part of the store.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NoReturn

from titans.errors import (
    AlreadyExists,
    InvalidKeyError,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    StoreError,
    Unavailable,
)
from titans.store._files import NOTHING, PIECE, Etags, content_etag, is_file, open_no_link, sync
from titans.store._folders import NOTHING_THERE, Folders, Listing
from titans.store._locks import exclusive
from titans.store._protocol import Blob, Entry, Page, check_key, check_prefix

__all__ = ["LocalStore"]

log = logging.getLogger("titans.store")

_NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_TEMPORARY = ".tmp-"
_STALE = 86_400
_RETRIES = 16

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNCLEAR = (errno.EIO, errno.ETIMEDOUT, errno.ESTALE)
"""A network file system may have done what it answers with these."""
_PASSING = (errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOENT)
"""May be over the next time. `ENOENT`: the folder was removed under a writer."""

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run it again",
    errno.EDQUOT: "the disk quota is used up; free some space and run it again",
    errno.EFBIG: "the file would be larger than this process may write; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another folder or mount it writable",
    errno.EACCES: "permission denied; give this user the right to write there, or choose another folder",
    errno.EPERM: "not permitted; give this user the right to write there, or choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed, or a link to nowhere; choose another folder",
    errno.EISDIR: "a folder stands where the file should be; remove it",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EMFILE: "this process has too many files open; close some, or raise the limit (ulimit -n)",
    errno.EIO: "the disk or the network failed; look at the system's log, then run it again",
}


class LocalStore:
    """Objects as files below `root`, which is created by the first write. Etags are content
    hashes.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        # resolve() would follow links
        self.root = Path(os.path.abspath(os.fspath(root)))  # noqa: PTH100
        self.url = self.root.as_uri()
        self.parallel = False  # files are mapped, and read in parallel by who maps them
        self._links = True
        self._swept: set[str] = set()
        self._inside: set[Path] = set()
        self._folders = Folders(self.root)
        self._etags = Etags()

    # --- reading ----------------------------------------------------------------------------------

    def get(self, key: str) -> Blob:
        with self._reading(key) as file:
            modified = os.fstat(file.fileno()).st_mtime
            data, etag = self._etags.of(file.read())
        return Blob(data, etag, _time(modified))

    def get_range(self, key: str, start: int, end: int) -> bytes:
        with self._reading(key) as file:
            file.seek(start)
            return file.read(max(0, end - start))

    def head(self, key: str) -> Entry:
        blob = self.get(key)
        return Entry(key, len(blob.data), blob.etag, blob.last_modified)

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        pages = self.list_pages(prefix, start_after)
        return (entry for page in pages for entry in page.entries)

    def list_pages(self, prefix: str = "", start_after: str = "") -> Iterator[Page]:
        """As `list`; most pages are folders."""
        folder = check_prefix(prefix).rpartition("/")[0]
        self._stay_inside(self.root / folder)
        return self._walk(folder, prefix, start_after)

    def local_path(self, key: str) -> Path | None:
        return self._path(key)

    # --- writing ----------------------------------------------------------------------------------

    def create(self, key: str, data: bytes) -> str:
        return self._create(key, data)

    def create_file(self, key: str, path: Path) -> str:
        """As `create`, of a file, which is copied."""
        return self._create(key, path)

    def _create(self, key: str, data: bytes | Path) -> str:
        path = self._path(key)
        with self._writing(key):
            if os.path.lexists(path):
                self._occupied(path, key)
            temporary = self._temporary(path, data)
            try:
                self._name(temporary, path)
            except FileExistsError:
                self._occupied(path, key)
            finally:
                temporary.unlink(missing_ok=True)
        self._sync_folder(path.parent, key)
        return content_etag(data)

    def replace(self, key: str, data: bytes, etag: str) -> str:
        path = self._path(key)
        with self._writing(key):
            self._expect(key, etag)
            temporary = self._temporary(path, data)
            try:
                with exclusive(_lock(path)):
                    self._expect(key, etag)
                    with self._naming(key):
                        temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        self._sync_folder(path.parent, key)
        return self._etags.of(data)[1]

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._writing(key, "delete"):
            if not is_file(path):
                return
            try:
                # The lock keeps a `replace` that has just compared from bringing the object back.
                with exclusive(_lock(path)):
                    path.unlink(missing_ok=True)
                    _lock(path).unlink(missing_ok=True)
            except FileNotFoundError:  # somebody else has just deleted it, and its folder
                return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                path.unlink(
                    missing_ok=True
                )  # a full disk has no room for the lock, and this is how to make some
        # Folders of hot files would pile up; one that a writer needs again is made again (see
        # _temporary).
        self._sync_folder(self._prune(path.parent), key)

    # --- inside -----------------------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        path = self.root / check_key(key)
        self._stay_inside(path.parent)
        return path

    def _stay_inside(self, folder: Path) -> None:
        if folder in self._inside:
            return
        real = Path(os.path.realpath(self.root), folder.relative_to(self.root))
        if Path(os.path.realpath(folder)) != real:
            raise InvalidKeyError(
                f"{folder} leads out of {self.url} through a symbolic link, which a store does not "
                "follow; use a bind mount, "
                "or open the folder behind it as a store"
            )
        with contextlib.suppress(OSError):
            if folder.is_dir():
                self._inside.add(folder)

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        try:
            with open(path, "rb", opener=open_no_link) as file:
                yield file
        except OSError as error:
            if error.errno in NOTHING and not self._blocked(error):
                raise NotFound(f"no object {key} in {self.url}") from None
            raise self._failed("read", key, error) from error

    def _blocked(self, error: OSError) -> bool:
        """Whether `error` says that a file stands where the root should be, and not just somewhere
        below it.
        """
        if error.errno != errno.ENOTDIR:
            return False
        try:
            return not stat.S_ISDIR(self.root.stat().st_mode)
        except NotADirectoryError:
            return True
        except OSError:
            return False

    @contextlib.contextmanager
    def _writing(self, key: str, verb: str = "write") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed(verb, key, error) from error

    def _failed(self, verb: str, key: str, error: OSError) -> StoreError:
        advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
        kind = Unavailable if error.errno in _PASSING else StoreError
        return kind(
            f"cannot {verb} {key} in {self.root}: {advice} "
            f"({errno.errorcode.get(error.errno or 0, 'OSError')})"
        )

    @contextlib.contextmanager
    def _naming(self, key: str) -> Iterator[None]:
        """Around the step that makes a write visible."""
        try:
            yield
        except OSError as error:
            if error.errno in _UNCLEAR:
                raise OutcomeUnknown(
                    f"{key} may or may not have been written to {self.root}: {error}"
                ) from error
            raise

    def _occupied(self, path: Path, key: str) -> NoReturn:
        """Something has the name of the new object. What the caller relies on from now on has to
        survive a power cut.
        """
        if os.path.lexists(path) and not is_file(path):
            raise StoreError(
                f"cannot create {key} in {self.root}: something that is no object has this name; "
                "choose another key or remove it"
            )
        self._sync_folder(path.parent, key)
        raise AlreadyExists(f"{key} exists in {self.url}") from None

    def _expect(self, key: str, etag: str) -> None:
        """Raises `PreconditionFailed` unless the object has `etag`."""
        try:
            there = self.get(key).etag
        except NotFound:
            raise PreconditionFailed(f"{key} is not in {self.url}") from None
        if there != etag:
            raise PreconditionFailed(f"{key} in {self.url} is not the version {etag}")

    def _temporary(self, path: Path, data: bytes | Path) -> Path:
        """A synced file beside `path` with `data`, or what is in the file `data`."""
        temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        try:
            with os.fdopen(self._opened(temporary), "wb") as file:
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
            self._prune(path.parent)
            raise
        self._sweep(path.parent)
        return temporary

    def _opened(self, temporary: Path) -> int:
        for _ in range(_RETRIES):
            try:
                return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileNotFoundError:  # no folder yet, or `delete` has just removed it
                self._make_folders(temporary.parent)
        raise OSError(errno.ENOENT, "the folder was removed again and again")

    def _name(self, temporary: Path, path: Path) -> None:
        """Give the temporary file its name, unless that is taken (`FileExistsError`)."""
        if self._links:
            try:
                with self._naming(path.name):
                    os.link(temporary, path)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                self._links = False
                log.info(
                    "%s: no hard links here (%s), locking instead",
                    self.root,
                    errno.errorcode.get(error.errno),
                )
            else:
                return
        with exclusive(_lock(path)):
            try:
                if os.path.lexists(path):
                    raise FileExistsError(errno.EEXIST, "exists", str(path))
                with self._naming(path.name):
                    temporary.replace(path)
            # by who holds it, and at the end, or two could hold two locks of the same name
            finally:
                _lock(path).unlink(missing_ok=True)

    def _make_folders(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            with contextlib.suppress(FileNotFoundError):
                try:
                    new.mkdir()
                except FileExistsError:
                    if new.is_file() or (new.is_symlink() and not new.is_dir()):
                        raise NotADirectoryError(
                            errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(new)
                        ) from None
                sync(new.parent)  # who else has just made it may not have come to this yet

    def _prune(self, folder: Path) -> Path:
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

    def _sync_folder(self, folder: Path, key: str) -> None:
        try:
            sync(folder)
        except FileNotFoundError:
            return  # already deleted again, folder and all
        except OSError as error:
            # It is done, but a power cut may still undo it.
            raise OutcomeUnknown(
                f"{key} in {self.root} has changed, but the folder could not be synced: {error}"
            ) from error

    def _sweep(self, folder: Path) -> None:
        """Remove temporary files that a crash left in `folder` over a day ago; looked at once per
        folder.
        """
        name = str(folder)
        if name in self._swept:
            return
        self._swept.add(name)
        limit = time.time() - _STALE
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            for entry in found:
                if (
                    entry.name.startswith(_TEMPORARY)
                    and entry.stat(follow_symlinks=False).st_mtime < limit
                ):
                    os.unlink(entry.path)  # noqa: PTH108

    def _walk(self, folder: str, prefix: str, start_after: str) -> Iterator[Page]:
        """The objects below `folder` in order of their keys."""
        open_folders = [iter(self._listing(folder).found)]
        while open_folders:
            for name, entry in open_folders[-1]:
                if entry is not None:
                    if name.startswith(prefix) and name > start_after:
                        yield Page((entry,))
                elif (name.startswith(prefix) or prefix.startswith(name)) and (
                    name > start_after or start_after.startswith(name)
                ):
                    there = self._listing(name[:-1])
                    if name.startswith(prefix) and name > start_after and there.page is not None:
                        yield there.page  # most folders: all of it, and nothing below
                    else:
                        open_folders.append(iter(there.found))
                        break
            else:
                open_folders.pop()

    def _listing(self, folder: str) -> Listing:
        try:
            return self._folders.listing(folder)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR) and not self._blocked(error):
                return NOTHING_THERE
            raise self._failed("list", folder or "the root", error) from error


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
