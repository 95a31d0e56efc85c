"""Adoption: every hot file of the month that the manifest does not have yet becomes part of it,
oldest first.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import polars as pl
from attrs import evolve, field, frozen

from titans.errors import (
    AlreadyExists,
    ConcurrencyConflictError,
    FormatError,
    NotFound,
    OutcomeUnknown,
    RetryableError,
)
from titans.layout import Paths
from titans.provider import Provider
from titans.slots import Month, Slot
from titans.store import ObjectStore
from titans.tiers.commit import ATTEMPTS, Head, commit, pause
from titans.tiers.deletion import stamped
from titans.tiers.files import Source, encode, read_info
from titans.tiers.hot import HotFile
from titans.tiers.info import FileInfo
from titans.tiers.late import Marks, without_keyframes
from titans.tiers.manifest import FileEntry, Manifest, Pending
from titans.tiers.view import MonthView

__all__ = ["Adoption", "adopt", "unadopted"]

log = logging.getLogger("titans.adopt")

_NAMES = 8

Hot = tuple[FileInfo, Source | pl.DataFrame]


@frozen
class Adoption:
    """What `adopt` did."""

    manifest: Manifest
    slots: tuple[int, ...]
    """Adopted by this call."""
    corrections: int = 0
    """Restoring and correcting rows written."""


@frozen
class _Plan:
    """One attempt at the next manifest."""

    manifest: Manifest
    slots: tuple[int, ...]
    corrections: int


def unadopted(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    keys: Mapping[int, str],
    manifest: Manifest,
) -> list[tuple[int, Hot]]:
    """The hot files among `keys` that `manifest` has not adopted, oldest first, as
    `MonthView.adopt` takes them.
    """
    found: list[tuple[int, Hot]] = []
    for index in manifest.adopted.missing(keys):
        slot = Slot(month, index, paths.minutes)
        found.append((index, _hot(store, keys[index], provider, slot)))
    return found


def _hot(store: ObjectStore, key: str, provider: Provider, slot: Slot) -> Hot:
    info = read_info(store, key, provider, slot)
    return info, Source(key, info.size, slot, info.hash, info.schema)


@frozen
class _Adopter:
    store: ObjectStore
    paths: Paths
    provider: Provider
    month: Month
    keys: Mapping[int, str]
    removed: frozenset[Pending]
    known: dict[int, Hot] = field(factory=dict)

    def hot(self, index: int) -> Hot | None:
        if index not in self.known:
            slot, key = Slot(self.month, index, self.paths.minutes), self.keys[index]
            try:
                self.known[index] = _hot(self.store, key, self.provider, slot)
            except NotFound:
                log.warning("%s vanished before it was adopted", key)
                return None
            except FormatError as error:
                # One bad object must not keep the others out; it stays where it is, and readers
                # name it.
                log.error("%s is not adopted: %s", key, error)
                return None
        return self.known[index]

    def plan(self, head: Head) -> _Plan | None:
        manifest = stamped(head, self.removed)
        slots: list[int] = []
        corrections = 0
        view: MonthView | None = None
        for index in manifest.adopted.missing(self.keys):
            hot = self.hot(index)
            if hot is None:
                continue
            info, data = hot
            if view is None:
                # All keyframes, trusted or not: those that stay must be right once they are trusted
                # again.
                view = evolve(
                    MonthView.of(manifest, self.store, self.paths, self.provider),
                    keyframes=manifest.keyframes,
                )
            view, rows = view.adopt(info, data)
            entries = [FileEntry.of(self.keys[index], 0, index, index, info)]
            if rows is not None:
                corrections += rows.height
                entries.append(self._write_corrections(index, rows))
            slots.append(index)
            if info.schema is not None:
                manifest = manifest.knowing(self.provider, info.schema)
            manifest = evolve(manifest, files=(*manifest.files, *entries))
        if view is not None:
            manifest = evolve(
                manifest,
                adopted=view.adopted,
                observed=view.observed,
                full=view.full,
                sealed=False,
                data_version=manifest.data_version + len(slots),
            )
            kept = view.keyframes
            manifest = without_keyframes(manifest, lambda k: k not in kept)
        return None if manifest == head.manifest else _Plan(manifest, tuple(slots), corrections)

    def _write_corrections(self, index: int, rows: pl.DataFrame) -> FileEntry:
        """Under a name nobody else can have: an attempt that loses its race leaves it to vacuum."""
        info = FileInfo.describe(rows, self.provider, "correction", ())
        data = encode(rows, info, self.provider)
        name = self._create_correction(index, data)
        last = Slot.of(info.max_time, self.paths.minutes).index if info.max_time else index
        return FileEntry.of(name, 0, index, last, evolve(info, size=len(data)))

    def _create_correction(self, index: int, data: bytes) -> str:
        for _ in range(_NAMES):
            name = Paths.correction_name(index, secrets.token_hex(8))
            try:
                self.store.create(self.paths.file_key(self.month, name), data)
            except (AlreadyExists, OutcomeUnknown):
                continue  # perhaps our own, its answer lost: left to vacuum
            return name
        raise OutcomeUnknown(
            f"{_NAMES} attempts to write corrections of {self.month} had no clear outcome; compact "
            "again"
        )


def adopt(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    keys: Mapping[int, str],
    *,
    head: Head | None = None,
    own: HotFile | None = None,
    removed: Iterable[Pending] = (),
    wait: Callable[[int], None] = pause,
) -> Adoption:
    """Commit every hot file of `keys` (slot → key, listed before) that is not adopted; drop
    `removed` from the pending ones.

    `head` is the manifest, if the caller has just read it (after the listing), and `own` a file
    that the caller has just written: neither is read again.
    """
    adopter = _Adopter(store, paths, provider, month, keys, frozenset(removed))
    marks: Marks | None = None
    if own is not None:
        adopter.known[own.slot.index] = (own.info, own.rows)
    done = _Plan(Manifest.empty(provider, month), (), 0)

    def mutate(head: Head) -> Manifest | None:
        nonlocal done
        plan = adopter.plan(head)
        done = plan or _Plan(head.manifest, (), 0)
        if (
            plan
            and plan.slots
            and _reaches_on(head)
            and (marks is None or marks.fence != head.manifest.fence)
        ):
            raise _Unmarked(head.manifest.fence)
        return plan.manifest if plan else None

    for _ in range(ATTEMPTS):
        try:
            manifest = commit(store, paths, provider, month, mutate, head=head, wait=wait)
        except _Unmarked as found:
            marks, head = Marks.set(store, paths, provider, month, found.fence, wait), None
            continue
        if marks is not None:
            with suppress(
                RetryableError
            ):  # else the marks stay, and what they are on is not trusted
                marks.release(store, paths, provider, wait)
        return Adoption(manifest, done.slots, done.corrections)
    raise ConcurrencyConflictError(
        f"provider {provider.name!r}, month {month}: its fence was raised {ATTEMPTS} times; "
        "nothing is lost, compact again"
    )


class _Unmarked(Exception):
    """Later months may build on this one, and have to be marked first."""

    def __init__(self, fence: int) -> None:
        self.fence = fence


def _reaches_on(head: Head) -> bool:
    """Whether what is adopted here may change the keyframes of later months."""
    return head.manifest.built_on or head.blob is None
