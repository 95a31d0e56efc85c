"""The hot tier: one create-once file per slot."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from threading import Thread
from weakref import WeakKeyDictionary

import polars as pl
from attrs import evolve, frozen

from titans.changes.digest import digest
from titans.errors import AlreadyExists, NotFound, OutcomeUnknown, RetryableError
from titans.layout import Paths
from titans.provider import Provider
from titans.slots import Month, Slot
from titans.store import ObjectStore, Page, list_pages
from titans.tiers.commit import pause, read_head
from titans.tiers.files import read_info, sink
from titans.tiers.info import FileInfo, Source
from titans.tiers.manifest import Manifest

__all__ = ["HotFile", "adopted_source", "create_hot", "list_all_hot", "list_hot", "settled"]

log = logging.getLogger("titans.hot")

_ATTEMPTS = 8


@frozen
class HotFile:
    """A hot file for a slot."""

    key: str
    slot: Slot
    info: FileInfo
    rows: pl.DataFrame
    encoded: Future[bytes]
    created: bool = False
    """Whether this call wrote the object."""

    @classmethod
    def of(
        cls,
        key: str,
        slot: Slot,
        rows: pl.DataFrame,
        provider: Provider,
        source: Callable[[str], Source],
        base: int | None = None,
    ) -> HotFile:
        """The file of `rows`; `source` is called with their content hash, which is computed while
        they are encoded.
        """
        info = Future[FileInfo]()
        encoded = _encoded(rows, info, provider)
        try:
            content = digest(rows)
            info.set_result(
                FileInfo.describe(
                    rows, provider, "hot", (source(content),), base=base, hash=content
                )
            )
        except BaseException as error:
            info.set_exception(error)
            raise
        return cls(key, slot, info.result(), rows, encoded)


def _encoded(rows: pl.DataFrame, info: Future[FileInfo], provider: Provider) -> Future[bytes]:
    """The bytes of a file, made in a thread of its own: a pool's would not be there after a
    fork.
    """
    done = Future[bytes]()

    def encode() -> None:
        buffer = io.BytesIO()
        try:
            sink(rows.lazy(), buffer, info.result, provider)
            done.set_result(buffer.getvalue())
        except BaseException as error:  # noqa: BLE001  raised where the bytes are asked for
            done.set_exception(error)

    Thread(target=encode, name="titans-encode", daemon=True).start()
    return done


def list_hot(
    store: ObjectStore, paths: Paths, month: Month
) -> tuple[dict[int, str], datetime | None]:
    """Slot index → key of the hot files of a month, ascending; and when the youngest was written.

    Foreign objects are passed over.
    """
    found, youngest = _listed(store, paths, paths.hot_month(month), "")
    return found.get(month, {}), youngest


def list_all_hot(
    store: ObjectStore, paths: Paths, start_after: str = ""
) -> tuple[dict[Month, dict[int, str]], datetime | None]:
    """As `list_hot` for every month with a hot file whose key is greater than `start_after`,
    ascending.
    """
    found, youngest = _listed(store, paths, paths.hot_prefix + "/", start_after)
    return dict(sorted(found.items())), youngest


def _listed(
    store: ObjectStore, paths: Paths, prefix: str, start_after: str
) -> tuple[dict[Month, dict[int, str]], datetime | None]:
    found: dict[Month, dict[int, str]] = {}
    youngest: datetime | None = None
    for page in list_pages(store, prefix, start_after):
        part = _parts.get(page)
        if part is None or part.paths != paths:
            part = _parts[page] = _Part.of(page, paths)
        for month, keys in part.keys.items():
            found.setdefault(month, {}).update(keys)
        for key in part.others:
            _left_alone(paths, key)
        if part.youngest is not None and (youngest is None or part.youngest > youngest):
            youngest = part.youngest
    return found, youngest


@frozen
class _Part:
    """What a page of a listing of the hot tier says."""

    paths: Paths
    keys: dict[Month, dict[int, str]]
    others: list[str]
    youngest: datetime | None

    @classmethod
    def of(cls, page: Page, paths: Paths) -> _Part:
        keys, others, slot_of = dict[Month, dict[int, str]](), list[str](), paths.hot_slots()
        for entry in page.entries:
            slot = slot_of(entry.key)
            if slot is None:
                others.append(entry.key)
            else:
                keys.setdefault(slot.month, {})[slot.index] = entry.key
        return cls(paths, keys, others, max((e.last_modified for e in page.entries), default=None))


_parts: WeakKeyDictionary[Page, _Part] = WeakKeyDictionary()
"""A store that gives a page again has not changed it: it need not be read again."""


def _left_alone(paths: Paths, key: str) -> None:
    if paths.as_any_hot_key(key) is None:
        log.debug("%s is no hot file; left alone", key)
    else:
        log.warning(
            "%s is not at the start of a slot of %d minutes; it is left alone", key, paths.minutes
        )


def create_hot(
    store: ObjectStore, provider: Provider, file: HotFile, wait: Callable[[int], None] = pause
) -> tuple[HotFile, Source]:
    """Put `file` into its slot unless one is there: the file with what became of it, and what the
    slot holds afterwards.

    A write whose answer got lost is tried again: what is then found there with the same content is
    as good as one's own.
    """
    data = file.encoded.result()
    for attempt in range(_ATTEMPTS):
        try:
            store.create(file.key, data)
        except AlreadyExists:
            try:
                return file, read_info(store, file.key, provider, file.slot).source
            except NotFound:
                pass  # just removed: it had been merged, or it lost against a merged one
        except OutcomeUnknown:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return evolve(
                file, created=True, info=evolve(file.info, size=len(data))
            ), file.info.source
        wait(attempt)
    raise OutcomeUnknown(f"{file.key} came and went {_ATTEMPTS} times; upload the slot again")


def adopted_source(
    store: ObjectStore, paths: Paths, provider: Provider, manifest: Manifest, slot: Slot
) -> Source | None:
    """What the archive adopted for `slot`, `None` if nothing (yet)."""
    while slot.index in manifest.adopted:
        for entry in manifest.files:
            if slot.index in entry.slots:
                try:
                    info = read_info(
                        store,
                        paths.file_key(manifest.month, entry.file),
                        provider,
                        slot,
                        entry.bytes,
                    )
                except NotFound:
                    break  # merged into another file and removed since the manifest was read
                return next(s for s in info.sources if s.slot == slot.index)
        newer = read_head(store, paths, provider, slot.month).manifest
        if newer.version == manifest.version:
            raise NotFound(
                f"slot {slot} is adopted in {paths.manifest_key(slot.month)}, but no file there "
                "holds it"
            )
        manifest = newer
    return None


def settled(
    store: ObjectStore, paths: Paths, provider: Provider, file: HotFile, manifest: Manifest
) -> Source | None:
    """What was adopted for the file's slot, `None` if nothing is.

    A file that this call wrote for a slot whose own had been merged and removed long before is
    taken back: no manifest names it, and no reader looks at it.
    """
    held = adopted_source(store, paths, provider, manifest, file.slot)
    if held is not None and file.created:
        now = read_head(store, paths, provider, file.slot.month).manifest
        retired = any(file.slot.index in p.slots for p in now.pending)
        if not any(e.file == file.key for e in now.files) and (
            held != file.info.source or not retired
        ):
            with suppress(RetryableError):  # else it is left to vacuum
                store.delete(file.key)
    return held
