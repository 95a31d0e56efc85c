"""Copying archives from one store to another.

A month is copied in the order in which it was written: files first, the manifest that names them
last. Stopped anywhere, a month without its manifest is noticed by whoever reads it, and the copy
goes on when it is made again; what is there already is compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import frozen

from titans.archive import Archive
from titans.dataset import Dataset
from titans.errors import (
    AlreadyExists,
    ArchiveNotFoundError,
    InputError,
    NotFound,
    PreconditionFailed,
    SnapshotExpiredError,
)
from titans.holdings.places import Place, find_places, open_place
from titans.slots import Month
from titans.store import ObjectStore, create_file, open_store
from titans.tiers.files.fetch import fetch_all
from titans.tiers.maintain.verify import Verification, verify
from titans.tiers.manifest.commit import Head, list_months, read_head
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.model import Manifest
from titans.tiers.write.hot import list_hot_since

__all__ = ["Copied", "copy"]

_ATTEMPTS = 5
"""How often a month is begun again, of which files were merged and removed meanwhile."""


@frozen
class Copied:
    """What became of an archive."""

    provider: str
    environment: str
    objects: int
    """That were written; others were there already."""
    bytes: int
    verification: Verification
    """Of what is there now."""


def copy(
    source: ObjectStore | str | Path,
    target: ObjectStore | str | Path,
    *,
    providers: Sequence[str] = (),
    deep: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Copied, ...]:
    """Copy archives to another store, and verify what is there then.

    The source may be written to meanwhile: of each month a moment is copied. The target holds
    nothing of these archives, or an earlier copy of them.

    Args:
        source, target: as for `titans.open`.
        providers: only these; by default all that the source holds, installed or not.
        deep: verify down to every row.
        progress: called with the name of an archive, how many of its months are done, and how many
            there are.

    Raises:
        ArchiveNotFoundError: the source has no such archive.
        InputError: the target holds something else under the same names; what was there stays.
        StoreError: one of the stores does not answer; make the copy again to go on.
    """
    here, there = open_store(source), open_store(target)
    if here is there or here.url == there.url:
        raise InputError(f"{here.url} is both source and target; name another store")
    copied = []
    for place in _wanted(here, providers):
        archive = open_place(here, place)
        twin = Archive(there, archive.provider)
        twin._enter(archive.paths)
        work = _Work(archive._dataset, twin._dataset, _Record.read(twin._dataset))
        objects, size = work.run(partial(_tell, progress, place.environment + place.provider))
        found = verify(twin._dataset, deep=deep)
        copied.append(Copied(place.provider, place.environment, objects, size, found))
    return tuple(copied)


def _tell(
    progress: Callable[[str, int, int], None] | None, name: str, done: int, total: int
) -> None:
    if progress is not None:
        progress(name, done, total)


def _wanted(store: ObjectStore, providers: Sequence[str]) -> list[Place]:
    found = find_places(store)
    places = [place for place in found if not providers or place.provider in providers]
    missing = sorted(set(providers) - {place.provider for place in places})
    if missing or not places:
        names = ", ".join(sorted({place.provider for place in found})) or "no archive"
        wanted = ", ".join(missing) or "anything"
        raise ArchiveNotFoundError(f"{store.url} holds {names}, and not {wanted}")
    return places


@frozen(eq=False)
class _Record:
    """The manifests that were copied to a place, as long as nobody has written to them since."""

    dataset: Dataset
    months: dict[str, str]
    """Month → SHA-256 of its manifest."""

    @classmethod
    def read(cls, dataset: Dataset) -> _Record:
        """What was left there; nothing where it cannot be read."""
        try:
            months = json.loads(dataset.store.get(dataset.paths.copied_key).data)["months"]
            return cls(dataset, {str(month): str(digest) for month, digest in months.items()})
        except (NotFound, ValueError, LookupError, TypeError, AttributeError):
            return cls(dataset, {})

    def holds(self, month: Month, manifest: bytes) -> bool:
        """Whether this is the manifest that was copied."""
        return self.months.get(str(month)) == _digest(manifest)

    def keep(self, month: Month, manifest: bytes) -> None:
        """Remember one more."""
        self.months[str(month)] = _digest(manifest)
        store, key = self.dataset.store, self.dataset.paths.copied_key
        data = (json.dumps({"months": self.months}, indent=1) + "\n").encode()
        # Another copy that is made at the same time leaves its own record; both are true.
        with suppress(AlreadyExists, PreconditionFailed):
            try:
                etag = store.get(key).etag
            except NotFound:
                store.create(key, data)
            else:
                store.replace(key, data, etag)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@frozen(eq=False)
class _Work:
    """An archive, and its copy."""

    source: Dataset
    target: Dataset
    record: _Record

    def run(self, progress: Callable[[int, int], None]) -> tuple[int, int]:
        """How many objects were written, and how many bytes."""
        hot = list_hot_since(self.source).months
        months = sorted({*hot, *list_months(self.source)})
        objects = size = 0
        for number, month in enumerate(months):
            progress(number, len(months))
            for written in self._copy_month(month):
                objects += 1
                size += written
        progress(len(months), len(months))
        return objects, size

    def _copy_month(self, month: Month) -> list[int]:
        """Sizes of the objects that were written."""
        for _ in range(_ATTEMPTS):
            # Hot files are listed first: what is gone by the time the manifest is read is adopted.
            waiting = list_hot_since(self.source).months.get(month, {})
            head = read_head(self.source, month)
            try:
                return self._copy(month, waiting, head)
            except NotFound as error:
                missing = error
        raise SnapshotExpiredError(
            f"files of {month} were removed while they were copied ({missing}); run titans verify "
            "on the source, or copy again",
            key=missing.key,
        ) from missing

    def _copy(self, month: Month, hot: dict[int, str], head: Head) -> list[int]:
        keys = [hot[index] for index in head.manifest.adopted.missing(hot)]
        if head.blob is not None:
            keys += _keys(self.source, head.manifest)
        sizes = fetch_all(self.source.store, self._copy_object, sorted(set(keys)))
        written = [size for size in sizes if size is not None]
        if head.blob is not None and self._copy_manifest(month, head.manifest, head.blob.data):
            written.append(len(head.blob.data))
            self.record.keep(month, head.blob.data)
        return written

    def _copy_object(self, key: str) -> int | None:
        """Its size; `None` where it is there already.

        Raises:
            NotFound: it is gone from the source.
        """
        path = self.source.store.local_path(key)
        try:
            if path is not None and path.exists():
                create_file(self.target.store, key, path)
                return path.stat().st_size
            data = self.source.store.get(key).data
            self.target.store.create(key, data)
            return len(data)
        except AlreadyExists:
            if self.target.store.get(key).data != self.source.store.get(key).data:
                raise _other(self.target, key) from None
            return None

    def _copy_manifest(self, month: Month, manifest: Manifest, data: bytes) -> bool:
        """Whether it had to be written."""
        key = self.source.paths.manifest_key(month)
        there = read_head(self.target, month)
        if there.blob is None:
            try:
                self.target.store.create(key, data)
            except AlreadyExists:
                raise _other(self.target, key) from None
            return True
        if there.blob.data == data:
            return False
        known = self.record.holds(month, there.blob.data)
        if not known and not _is_earlier(there.manifest, manifest):
            raise _other(self.target, key)
        try:
            self.target.store.replace(key, data, there.blob.etag)
        except PreconditionFailed:
            raise _other(self.target, key) from None
        return True


def _keys(dataset: Dataset, manifest: Manifest) -> list[str]:
    """Of all objects that a manifest names."""
    entries: list[FileEntry | Keyframe] = [*manifest.files, *manifest.keyframes]
    return [dataset.key(manifest.month, entry.file) for entry in entries]


def _is_earlier(one: Manifest, other: Manifest) -> bool:
    """Whether `other` came from `one` by commits: it remembers the last of them."""
    last = one.commit_ids[-1:]
    return one.version < other.version and set(last) <= set(other.commit_ids)


def _other(target: Dataset, key: str) -> InputError:
    return InputError(
        f"{target.store.url} holds another {key}: it is no earlier copy of the source, or somebody "
        "writes to it; nothing that was there has changed: copy into an empty place",
        key=key,
    )
