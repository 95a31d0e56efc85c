"""A store in a folder: the embedded default. Safe for many processes on one machine, and across crashes.

A write goes to a temporary file beside its target, is synced, and gets its name in one step: `link` for a new object (the
kernel refuses if there is one), `rename` under an exclusive `flock` for compare-and-swap. The folder is synced after that. A
crash leaves at most a temporary file, whose name starts with a dot: it is never listed, and swept up a day later.

Where the file system refuses hard links (some network and FUSE mounts), new objects are renamed into place under the same lock
that compare-and-swap takes; that is as safe between processes that use this class.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from titans.errors import (
    AlreadyExists,
    InvalidKeyError,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    StoreError,
    Unavailable,
)
from titans.store._locks import exclusive
from titans.store._protocol import Blob, Entry, check_key, check_prefix

__all__ = ["LocalStore"]

log = logging.getLogger("titans.store")

_NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_TEMPORARY = ".tmp-"
_STALE = 86_400
_RETRIES = 16

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run it again",
    errno.EDQUOT: "the disk quota is used up; free some space and run it again",
    errno.EFBIG: "the file would be larger than this process may write; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another folder or mount it writable",
    errno.EACCES: "permission denied; give this user the right to write there, or choose another folder",
    errno.EPERM: "not permitted; give this user the right to write there, or choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another folder",
    errno.EISDIR: "a folder stands where the file should be; remove it",
    errno.ENAMETOOLONG: "the name is too long for this file system",
}


class LocalStore:
    """Objects as files below `root`, which is created by the first write. Etags are content hashes."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.abspath(os.fspath(root)))  # noqa: PTH100  resolve() would follow links
        self.url = self.root.as_uri()
        self._links = True
        self._swept: set[str] = set()

    # --- reading ------------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Blob:
        with self._reading(key) as path, path.open("rb") as file:
            modified = os.fstat(file.fileno()).st_mtime
            data = file.read()
        return Blob(data, _etag(data), _time(modified))

    def get_range(self, key: str, start: int, end: int) -> bytes:
        with self._reading(key) as path, path.open("rb") as file:
            file.seek(start)
            return file.read(max(0, end - start))

    def head(self, key: str) -> Entry:
        blob = self.get(key)
        return Entry(key, len(blob.data), blob.etag, blob.last_modified)

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        return self._walk(prefix.rpartition("/")[0], prefix, start_after)

    def local_path(self, key: str) -> Path | None:
        return self._path(key)

    # --- writing ------------------------------------------------------------------------------------------------------

    def create(self, key: str, data: bytes) -> str:
        path = self._path(key)
        if path.exists():
            raise AlreadyExists(f"{key} exists in {self.url}")
        with self._writing(key):
            temporary = self._temporary(path, data)
            try:
                self._name(temporary, path)
            except FileExistsError:
                raise AlreadyExists(f"{key} exists in {self.url}") from None
            finally:
                temporary.unlink(missing_ok=True)
            self._sync_folder(path.parent, key)
        return _etag(data)

    def replace(self, key: str, data: bytes, etag: str) -> str:
        path = self._path(key)
        with self._writing(key):
            if not path.parent.is_dir():
                raise PreconditionFailed(f"{key} is not in {self.url}")
            temporary = self._temporary(path, data)
            try:
                with exclusive(path.with_name(f".{path.name}.lock")):
                    try:
                        there = _etag(path.read_bytes())
                    except FileNotFoundError:
                        raise PreconditionFailed(f"{key} is not in {self.url}") from None
                    if there != etag:
                        raise PreconditionFailed(f"{key} in {self.url} is not the version {etag}")
                    temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            self._sync_folder(path.parent, key)
        return _etag(data)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._writing(key):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
        # Folders of hot files would pile up; one that a writer needs again is made again (see _temporary).
        for folder in path.parents:
            if folder == self.root:
                return
            try:
                folder.rmdir()
            except OSError:
                return

    # --- inside -------------------------------------------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        path = self.root / check_key(key)
        if not path.is_relative_to(self.root):
            raise InvalidKeyError(f"{key!r} leads out of {self.url}")
        return path

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[Path]:
        try:
            yield self._path(key)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"no object {key} in {self.url}") from None
        except OSError as error:
            raise self._failed("read", key, error) from error

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed("write", key, error) from error

    def _failed(self, verb: str, key: str, error: OSError) -> StoreError:
        advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
        kind = Unavailable if error.errno in (errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE) else StoreError
        return kind(
            f"cannot {verb} {key} in {self.root}: {advice} ({errno.errorcode.get(error.errno or 0, 'OSError')})"
        )

    def _temporary(self, path: Path, data: bytes) -> Path:
        """A synced file with `data` beside `path`."""
        temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        for _ in range(_RETRIES):
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileNotFoundError:  # no folder yet, or `delete` has just removed it
                self._make_folders(path.parent)
            else:
                break
        else:
            raise OSError(errno.ENOENT, "the folder was removed again and again")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._sweep(path.parent)
        return temporary

    def _name(self, temporary: Path, path: Path) -> None:
        """Give the temporary file its name, unless that is taken (`FileExistsError`)."""
        if self._links:
            try:
                os.link(temporary, path)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                self._links = False
                log.info("%s: no hard links here (%s), locking instead", self.root, errno.errorcode.get(error.errno))
            else:
                return
        with exclusive(path.with_name(f".{path.name}.lock")):
            if path.exists():
                raise FileExistsError(errno.EEXIST, "exists", str(path))
            temporary.replace(path)
        path.with_name(f".{path.name}.lock").unlink(missing_ok=True)

    def _make_folders(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                new.mkdir()
                _sync(new.parent)

    def _sync_folder(self, folder: Path, key: str) -> None:
        try:
            _sync(folder)
        except FileNotFoundError:
            return  # already deleted again, folder and all
        except OSError as error:
            # The file has its name, but a power cut may still take it back.
            raise OutcomeUnknown(
                f"{key} was written to {self.root}, but the folder could not be synced: {error}"
            ) from error

    def _sweep(self, folder: Path) -> None:
        """Remove temporary files that a crash left in `folder` over a day ago; looked at once per folder."""
        name = str(folder)
        if name in self._swept:
            return
        self._swept.add(name)
        limit = time.time() - _STALE
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith(_TEMPORARY) and entry.stat(follow_symlinks=False).st_mtime < limit:
                    os.unlink(entry.path)  # noqa: PTH108

    def _walk(self, folder: str, prefix: str, start_after: str) -> Iterator[Entry]:
        """The objects below `folder` in order of their keys."""
        try:
            with os.scandir(self.root / folder) as scan:
                found = [e for e in scan if not e.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._failed("list", folder or "the root", error) from error
        base = f"{folder}/" if folder else ""
        # With the slash, "a/…" sorts among "a-b" and "a.b" as the full keys do.
        for name, entry in sorted((base + e.name + ("/" if e.is_dir() else ""), e) for e in found):
            if name.endswith("/"):
                reachable = name.startswith(prefix) or prefix.startswith(name)
                if reachable and (name > start_after or start_after.startswith(name)):
                    yield from self._walk(name[:-1], prefix, start_after)
            elif name.startswith(prefix) and name > start_after:
                yield from self._listed(name, entry)

    def _listed(self, key: str, entry: Any) -> Iterator[Entry]:
        try:
            info = entry.stat()
        except FileNotFoundError:
            return
        if stat.S_ISREG(info.st_mode):
            # Hashing every file for a listing would be dear; who needs an etag asks head.
            yield Entry(key, info.st_size, "", _time(info.st_mtime))


def _etag(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
