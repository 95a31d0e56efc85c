"""A store in a folder: the embedded default. Safe for many processes on one machine, and across
crashes.

A write goes to a temporary file beside its target, is synced, and gets its name in one step under
an exclusive `flock`: `link` for a new object (the kernel refuses if there is one), `rename` for
compare-and-swap. The folder is synced after that. A crash leaves at most a temporary file and a
lock file, whose names start with a dot: they are never listed, and swept up a day later.

Where the file system refuses hard links (some network and FUSE mounts), new objects are renamed
into place. That is as safe between processes that use this class, whether others have links or not:
all of them hold the same lock.

A folder cannot be an object as well: with `a/b` there, `a` cannot be created. Symbolic links below
the root are not followed: what they lead to is no part of the store.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from titans.errors import (
    AlreadyExists,
    InvalidKeyError,
    NotFound,
    PreconditionFailed,
    StoreError,
)
from titans.store._files import (
    NOTHING,
    Etags,
    check_path,
    content_etag,
    is_file,
    is_text,
    open_no_link,
    shown,
)
from titans.store._folders import NO_OBJECTS, Folders, Listing, walked
from titans.store._local_errors import FULL, failure
from titans.store._locks import exclusive
from titans.store._protocol import Blob, Entry, Page, check_key, check_prefix
from titans.store._writes import Writer, lock_path

__all__ = ["LocalStore"]


class LocalStore:
    """Objects as files below `root`, which is created by the first write. Etags are content
    hashes.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        check_path(root)
        # resolve() would follow links
        self.root = Path(os.path.abspath(os.fspath(root)))  # noqa: PTH100
        self.url = self.root.as_uri()
        self._is_text = is_text(self.root)
        self.parallel = False  # files are mapped, and read in parallel by who maps them
        self._inside: set[Path] = set()
        self._folders = Folders(self.root)
        self._writer = Writer(self.root)
        self._etags = Etags()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.root,)

    def __repr__(self) -> str:
        return f"LocalStore({str(self.root)!r})"

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
        return walked(self._listing, folder, prefix, start_after)

    def local_path(self, key: str) -> Path | None:
        path = self._path(key)
        # Readers of Parquet take paths of text alone; bytes that are none are read here.
        return path if self._is_text else None

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
                self._refuse_taken(path, key)

            temporary = self._writer.write_temporary(path, data)
            try:
                self._writer.link_new(temporary, path, key)
            except FileExistsError:
                self._refuse_taken(path, key)
            finally:
                temporary.unlink(missing_ok=True)

        self._writer.sync_folder(path.parent, key)
        return content_etag(data)

    def replace(self, key: str, data: bytes, etag: str) -> str:
        path = self._path(key)
        with self._writing(key):
            self._check_version(key, etag)

            temporary = self._writer.write_temporary(path, data)
            try:
                with exclusive(lock_path(path)):
                    self._check_version(key, etag)
                    self._writer.rename(temporary, path, key)
            finally:
                temporary.unlink(missing_ok=True)

        self._writer.sync_folder(path.parent, key)
        return self._etags.of(data)[1]

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._writing(key, "delete"):
            if not is_file(path):
                return
            try:
                # The lock keeps a `replace` that has just compared from bringing the object back.
                with exclusive(lock_path(path)):
                    path.unlink(missing_ok=True)
                    lock_path(path).unlink(missing_ok=True)
            except FileNotFoundError:
                return  # somebody else has just deleted it, and its folder
            except OSError as error:
                if error.errno not in FULL:
                    raise
                # A full disk has no room for the lock, and this is how to make some.
                path.unlink(missing_ok=True)

        # Folders of hot files would pile up; one that a writer needs again is made again.
        self._writer.sync_folder(self._writer.prune(path.parent), key)

    # --- inside -----------------------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        path = self.root / check_key(key)
        self._stay_inside(path.parent)
        return path

    def _stay_inside(self, folder: Path) -> None:
        """Raises `InvalidKeyError` where a symbolic link leads out of the store.

        A folder that was inside stays so for this object: the store makes no links. What is
        remembered is one path for each folder; threads and forks may share it.
        """
        if folder in self._inside:
            return

        below_root = folder.relative_to(self.root)
        real = Path(os.path.realpath(self.root), below_root)
        if Path(os.path.realpath(folder)) != real:
            raise InvalidKeyError(
                f"{shown(folder)} leads out of {self.url} through a symbolic link, which a store "
                "does not follow; use a bind mount, or open the folder behind it as a store",
                key=below_root.as_posix(),
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
                raise NotFound(f"no object {key} in {self.url}", key=key) from None
            raise failure("read", key, self.root, error) from error

    @contextlib.contextmanager
    def _writing(self, key: str, verb: str = "write") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise failure(verb, key, self.root, error) from error

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

    def _refuse_taken(self, path: Path, key: str) -> NoReturn:
        """Something has the name of the new object. What the caller relies on from now on has to
        survive a power cut.
        """
        if os.path.lexists(path) and not is_file(path):
            raise StoreError(
                f"cannot create {key} in {shown(self.root)}: something that is no object has this "
                "name; choose another key or remove it",
                key=key,
            )

        self._writer.sync_folder(path.parent, key)
        raise AlreadyExists(f"{key} exists in {self.url}", key=key) from None

    def _check_version(self, key: str, etag: str) -> None:
        """Raises `PreconditionFailed` unless the object has `etag`."""
        try:
            current = self.get(key).etag
        except NotFound:
            raise PreconditionFailed(f"{key} is not in {self.url}", key=key) from None
        if current != etag:
            raise PreconditionFailed(f"{key} in {self.url} is not the version {etag}", key=key)

    def _listing(self, folder: str) -> Listing:
        try:
            return self._folders.listing(folder)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR) and not self._blocked(error):
                return NO_OBJECTS
            raise failure("list", folder, self.root, error) from error


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
