"""The hot tier: one create-once file per slot."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from queue import SimpleQueue
from threading import Thread
from weakref import WeakKeyDictionary

import polars as pl
from attrs import evolve, field, frozen

from titans.changes.digest import digest
from titans.dataset import Dataset
from titans.errors import (
    AlreadyExists,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    RetryableError,
)
from titans.layout import Paths
from titans.provider import Provider
from titans.slots import Month, Slot
from titans.store import Page, list_pages
from titans.tiers.files.fetch import read_info, read_whole
from titans.tiers.files.metadata import FileInfo, SlotRecord
from titans.tiers.files.parquet import sink
from titans.tiers.files.writers import writer_of
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.model import Manifest

__all__ = [
    "NO_BASE",
    "Base",
    "HotFile",
    "HotFiles",
    "create_hot",
    "is_outdated",
    "list_hot",
    "list_hot_since",
    "read_adopted_record",
    "withdraw_if_adopted",
    "written_etag",
]

log = logging.getLogger("titans.hot")

_ATTEMPTS = 8
_KNOWN = 64


@frozen
class Base:
    """What a snapshot was compared with."""

    slot: int | None
    """Of the snapshot in its month that it follows; `None`: of none."""
    seen: int = 0
    """The number of the month's last rewrite when that was read."""


NO_BASE = Base(None)


@frozen(eq=False)
class HotFile:
    """A hot file for a slot."""

    key: str
    slot: Slot
    info: FileInfo
    rows: pl.DataFrame
    encoded: Callable[[], bytes]
    """Waits for the file's bytes; to be called once."""
    created: bool = False
    """Whether this call wrote the object."""

    @classmethod
    def encoding(
        cls,
        dataset: Dataset,
        slot: Slot,
        rows: pl.DataFrame,
        record: Callable[[str], SlotRecord],
        base: Base = NO_BASE,
    ) -> HotFile:
        """The file of `rows`; `record` is called with their content hash, which is computed while
        they are encoded.
        """
        info = SimpleQueue[FileInfo | None]()
        # A signal's exception may come at any line. Whatever happens, the thread hears of it: one
        # that waited for ever would hold up polars in all of the process.
        try:
            encoded = _encoded(rows, info, dataset.provider)
            content = digest(rows)
            said = evolve(record(content), writer=writer_of(dataset.provider))
            described = FileInfo.describe(rows, dataset.provider, "hot", (said,), hash=content)
            described = evolve(described, base=base.slot, seen=base.seen)
            info.put(described)
            return cls(dataset.paths.hot_key(slot), slot, described, rows, encoded)
        finally:
            info.put(None)


def _encoded(
    rows: pl.DataFrame, info: SimpleQueue[FileInfo | None], provider: Provider
) -> Callable[[], bytes]:
    """The bytes of a file, made in a thread of its own: a pool's is missing after a fork.

    What comes out of `info` describes it; `None` says that it is no longer wanted.
    """
    # Queues in C: those in Python, and futures, keep a lock if a signal's exception comes while it
    # is taken.
    done = SimpleQueue[bytes | BaseException]()

    def described() -> FileInfo:
        found = info.get()
        if found is None:
            raise RuntimeError("what was to be encoded is no longer wanted")
        return found

    def encode() -> None:
        buffer = io.BytesIO()
        try:
            sink(rows.lazy(), buffer, described, provider)
            done.put(buffer.getvalue())
        # Raised where the bytes are asked for.
        except BaseException as error:  # noqa: BLE001
            done.put(error)

    def result() -> bytes:
        data = done.get()
        if isinstance(data, BaseException):
            raise data
        return data

    Thread(target=encode, name="titans-encode", daemon=True).start()
    return result


# --- listing --------------------------------------------------------------------------------------


@frozen
class HotFiles:
    """The hot files of some months, as a listing of the store shows them."""

    months: Mapping[Month, dict[int, str]] = field(factory=dict)
    """Month → slot index → key, ascending."""
    youngest: datetime | None = None
    """When the latest of them was written, by the store's clock."""

    def of(self, month: Month) -> dict[int, str]:
        """Slot index → key; a copy."""
        return dict(self.months.get(month, {}))


def list_hot(dataset: Dataset, month: Month) -> HotFiles:
    """The hot files of a month. Foreign objects are passed over."""
    return _list(dataset, dataset.paths.hot_month(month), "")


def list_hot_since(dataset: Dataset, start_after: str = "") -> HotFiles:
    """The hot files of every month whose keys are greater than `start_after`."""
    return _list(dataset, dataset.paths.hot_prefix + "/", start_after)


def _list(dataset: Dataset, prefix: str, start_after: str) -> HotFiles:
    months: dict[Month, dict[int, str]] = {}
    youngest: datetime | None = None
    for page in list_pages(dataset.store, prefix, start_after):
        part = _parts.get(page)
        if part is None or part.paths != dataset.paths:
            part = _parts[page] = _Part.of(page, dataset.paths)

        for month, keys in part.keys.items():
            months.setdefault(month, {}).update(keys)
        for key in part.others:
            _log_left_alone(dataset.paths, key)
        if part.youngest is not None and (youngest is None or part.youngest > youngest):
            youngest = part.youngest
    return HotFiles(dict(sorted(months.items())), youngest)


@frozen
class _Part:
    """What a page of a listing of the hot tier says."""

    paths: Paths
    keys: dict[Month, dict[int, str]]
    others: list[str]
    youngest: datetime | None

    @classmethod
    def of(cls, page: Page, paths: Paths) -> _Part:
        keys: dict[Month, dict[int, str]] = {}
        others: list[str] = []
        slot_of = paths.hot_slots()
        for entry in page.entries:
            slot = slot_of(entry.key)
            if slot is None:
                others.append(entry.key)
            else:
                keys.setdefault(slot.month, {})[slot.index] = entry.key

        youngest = max((entry.last_modified for entry in page.entries), default=None)
        return cls(paths, keys, others, youngest)


_parts: WeakKeyDictionary[Page, _Part] = WeakKeyDictionary()
"""A store that gives a page again has not changed it: it need not be read again.

Bounded by the pages that stores keep, and removed with them. Threads may share it, at worst one
reads a page twice; a fork begins with a copy.
"""


def _log_left_alone(paths: Paths, key: str) -> None:
    if paths.as_any_hot_key(key) is None:
        log.debug("%s is no hot file; left alone", key)
    else:
        log.warning(
            "%s is not at the start of a slot of %d minutes; it is left alone", key, paths.minutes
        )


# --- writing --------------------------------------------------------------------------------------


def is_outdated(manifest: Manifest, info: FileInfo) -> bool:
    """Whether the snapshot that a hot file was compared with has been rewritten since.

    Such a file is never adopted: what it says would be taken for a difference to something else.
    Whoever wrote it has not been told that it is stored, and compares again.
    """
    base = info.base
    if base is None or info.seen >= manifest.last_rewrite:
        return False
    since = [each for each in manifest.rewrites if each.number > info.seen]
    return any(each.changes_state_at(base) for each in since)


def create_hot(dataset: Dataset, file: HotFile) -> tuple[HotFile, SlotRecord]:
    """Put `file` into its slot unless one is there: the file with what became of it, and what the
    slot holds afterwards.

    An outdated one is replaced.

    A write whose answer got lost is tried again: what is then found there with the same content is
    as good as one's own.
    """
    data = file.encoded()
    for attempt in range(_ATTEMPTS):
        try:
            etag = dataset.store.create(file.key, data)
        except AlreadyExists:
            # It may be just removed: it had been merged, or it lost against a merged one. Or
            # somebody else replaces it.
            with suppress(NotFound, PreconditionFailed):
                etag = dataset.store.head(file.key).etag
                there = read_whole(dataset, file.key, file.slot)
                if not _may_replace(dataset, there, file.slot):
                    return file, there.record
                return _created(dataset, file, data, dataset.store.replace(file.key, data, etag))
        except OutcomeUnknown:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return _created(dataset, file, data, etag)
        dataset.wait(attempt)

    raise OutcomeUnknown(
        f"{file.key} came and went {_ATTEMPTS} times; upload the slot again", key=file.key
    )


def _may_replace(dataset: Dataset, there: FileInfo, slot: Slot) -> bool:
    """Whether the hot file of a slot counts for nothing."""
    if there.base is None:
        return False
    manifest = read_head(dataset, slot.month).manifest
    return slot.index not in manifest.adopted and is_outdated(manifest, there)


def _created(dataset: Dataset, file: HotFile, data: bytes, etag: str) -> tuple[HotFile, SlotRecord]:
    _remember(dataset, file.key, etag)
    written = evolve(file.info, size=len(data))
    return evolve(file, created=True, info=written), file.info.record


_written: dict[tuple[str, str], str] = {}
"""By the store's URL and key, the etag of hot files that this process wrote last.

Bounded to `_KNOWN`, the oldest goes first. Never invalid: an object with another etag is another
one. Threads may share it, at worst a file is read once more; a fork begins with a copy.
"""


def _remember(dataset: Dataset, key: str, etag: str) -> None:
    while len(_written) >= _KNOWN:
        _written.pop(next(iter(_written), ("", "")), None)
    _written[dataset.store.url, key] = etag


def written_etag(dataset: Dataset, key: str) -> str | None:
    """The etag of a hot file that this process wrote; `None` if it did not, or long ago."""
    return _written.get((dataset.store.url, key)) or None


def read_adopted_record(dataset: Dataset, manifest: Manifest, slot: Slot) -> SlotRecord | None:
    """What the archive adopted for `slot`, `None` if nothing (yet)."""
    while slot.index in manifest.adopted:
        record = _read_record(dataset, manifest, slot)
        if record is not None:
            return record
        newer = read_head(dataset, slot.month).manifest
        if newer.version == manifest.version:
            raise NotFound(
                f"slot {slot} is adopted in {dataset.paths.manifest_key(slot.month)}, but no file "
                "there holds it",
                provider=dataset.provider.name,
                month=str(slot.month),
            )
        manifest = newer
    return None


def _read_record(dataset: Dataset, manifest: Manifest, slot: Slot) -> SlotRecord | None:
    """`None` where the file was merged into another one and removed since the manifest was read."""
    entry = manifest.holder(slot.index)
    if entry is None:
        return None
    key = dataset.key(manifest.month, entry.file)
    try:
        info = read_info(dataset, key, slot, entry.bytes)
    except NotFound:
        return None
    return next(record for record in info.records if record.slot == slot.index)


def withdraw_if_adopted(dataset: Dataset, file: HotFile, manifest: Manifest) -> SlotRecord | None:
    """What was adopted for the file's slot, `None` if nothing is.

    A file that this call wrote for a slot whose own had been merged and removed long before is
    deleted again: no manifest names it, and no reader looks at it.
    """
    adopted = read_adopted_record(dataset, manifest, file.slot)
    if adopted is None or not file.created:
        return adopted

    now = read_head(dataset, file.slot.month).manifest
    is_live = file.key in now.file_names
    is_retired = file.slot.index in now.pending_slots
    # What is retired may have readers, and is removed later. And a manifest that does not know the
    # slot was lost meanwhile: the file may be the only one there is.
    if file.slot.index in now.adopted and not is_live and not is_retired:
        with suppress(RetryableError):  # else it is left to vacuum
            dataset.store.delete(file.key)
    return adopted
