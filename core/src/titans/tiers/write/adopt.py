"""Adoption: every hot file of the month that the manifest does not have yet becomes part of it,
oldest first.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import polars as pl
from attrs import define, evolve, field, frozen

from titans.dataset import Dataset
from titans.errors import (
    ConcurrencyConflictError,
    CorruptFileError,
    ForeignObjectError,
    FormatError,
    NotFound,
)
from titans.layout import Paths
from titans.slots import Month, Slot
from titans.tiers.files.create import create_for_slot
from titans.tiers.files.fetch import fetch_all, read_info, read_whole
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.parquet import encode
from titans.tiers.files.read import StoredFile
from titans.tiers.files.reading import damaged
from titans.tiers.manifest.commit import ATTEMPTS, Head, require_known
from titans.tiers.manifest.deletion import stamped, without_files, without_keyframes
from titans.tiers.manifest.entries import FileEntry, Pending
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.view import MonthView
from titans.tiers.write.hot import HotFile, is_outdated, written_etag
from titans.tiers.write.late import MarkedCommit

__all__ = ["Adopter", "Adoption", "LeftOut", "knows_base", "read_waiting", "without_base"]

log = logging.getLogger("titans.adopt")

Waiting = tuple[FileInfo, StoredFile | pl.DataFrame]
"""A hot file that is not adopted yet: what it says of itself, and where its rows are."""


@frozen
class Adoption:
    """What an adoption did, or what one attempt at it would do."""

    manifest: Manifest
    slots: tuple[int, ...] = ()
    """Adopted by this call."""
    corrections: int = 0
    """Restoring and correcting rows written."""
    reopened: tuple[Month, ...] = ()
    """Later months whose keyframes and borders had to be dropped."""


@frozen
class LeftOut:
    """An object under the name of a hot file that cannot be adopted."""

    key: str
    slot: int
    error: CorruptFileError

    @property
    def is_foreign(self) -> bool:
        """It was never part of the archive; else it is damaged."""
        return isinstance(self.error, ForeignObjectError)


def read_waiting(
    dataset: Dataset, manifest: Manifest, keys: Mapping[int, str]
) -> tuple[list[Waiting], list[LeftOut]]:
    """The hot files among `keys` (by slot) that `manifest` has not adopted, oldest first, and what
    is left out. Their rows are looked at when they are read.

    Raises:
        NotFound: one is gone since it was listed.
        FormatVersionError, ProviderMismatchError: a newer TITANS or provider wrote one.
    """
    waiting: list[Waiting] = []
    left_out: list[LeftOut] = []
    if manifest.removed:
        return waiting, left_out

    def described(index: int) -> FileInfo | CorruptFileError:
        try:
            return read_info(dataset, keys[index], dataset.slot(manifest.month, index))
        except CorruptFileError as error:
            return error

    indexes = list(manifest.adopted.missing(keys))
    for index, info in zip(indexes, fetch_all(dataset.store, described, indexes), strict=True):
        key, slot = keys[index], dataset.slot(manifest.month, index)
        if isinstance(info, CorruptFileError):
            log.warning("%s", info)
            left_out.append(LeftOut(key, index, info))
        elif is_outdated(manifest, info):
            log.info("%s counts for nothing: its base has been rewritten since", key)
        else:
            waiting.append((info, _stored(key, slot, info)))
    return waiting, left_out


def _stored(key: str, slot: Slot, info: FileInfo) -> StoredFile:
    return StoredFile(key, info.size, slot, info.hash, info.schema, info)


def knows_base(view: MonthView, info: FileInfo) -> bool:
    """Whether the archive has the snapshot that a hot file was compared with.

    It had it when the file was written, and what is adopted stays: else the manifest is an earlier
    one, or the file comes from elsewhere.
    """
    return info.base is None or info.base in view.observed


def without_base(dataset: Dataset, month: Month, info: FileInfo) -> LeftOut:
    """What `knows_base` says no to."""
    slot = info.record.slot
    key = dataset.paths.hot_key(dataset.slot(month, slot))
    base = dataset.slot(month, info.base or 0)
    error = damaged(
        key,
        f"was compared with the snapshot of {base}, which the archive does not have: its manifest "
        "may be an earlier one (titans repair brings back a newer)",
        dataset.provider.name,
    )
    return LeftOut(key, slot, error)


@define(eq=False)
class Adopter:
    """Adopts the hot files of a month.

    Args:
        keys: of the hot files by slot, listed before.
        removed: lists of files that have been removed; they leave the manifest in the same commit.
        own: a file that the caller has just written; it is not read again.
    """

    dataset: Dataset
    month: Month
    keys: Mapping[int, str]
    removed: frozenset[Pending] = frozenset()
    own: HotFile | None = None
    _known: dict[int, Waiting | None] = field(factory=dict, init=False)
    _commit: MarkedCommit = field(init=False)
    _last: Adoption | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._commit = MarkedCommit(self.dataset, self.month)

    def adopt(self, head: Head | None = None) -> Adoption:
        """Commit every hot file that is not adopted.

        Args:
            head: the manifest, if the caller has just read it (after the listing).

        Raises:
            ConcurrencyConflictError: too many lost races; nothing is lost.
        """
        if self.own is not None:
            self._known[self.own.slot.index] = (self.own.info, self.own.rows)

        manifest = self._commit.run(self._mutate, head)
        if manifest is not None:
            done = self._last or Adoption(manifest)
            marks = self._commit.marks
            reopened = () if marks is None else marks.later
            return evolve(done, manifest=manifest, reopened=reopened)

        name = self.dataset.provider.name
        raise ConcurrencyConflictError(
            f"provider {name!r}, month {self.month}: its fence was raised {ATTEMPTS} times; "
            "nothing is lost, compact again",
            provider=name,
            month=str(self.month),
        )

    def _mutate(self, head: Head) -> Manifest | None:
        self._last = self._plan(head)
        slots = self._last.slots
        foreign = _is_foreign(head)
        if (slots or foreign) and _reaches_on(head):
            self._commit.require_marks(head)
        if self._last.manifest == head.manifest and not foreign:
            return None
        return self._last.manifest

    def _plan(self, head: Head) -> Adoption:
        """What adopting does to the manifest as it is now."""
        manifest = stamped(head, self.removed)
        if manifest.removed:
            return Adoption(manifest)
        view: MonthView | None = None
        slots: list[int] = []
        corrections = 0
        for index in manifest.adopted.missing(self.keys):
            waiting = self._waiting(index)
            if waiting is None:
                continue
            # All keyframes and borders, trusted or not: those that stay must be right once they
            # are trusted again.
            known = view or MonthView.of(evolve(manifest, dirty=()), self.dataset)
            info, data = waiting
            if is_outdated(manifest, info):
                log.info("%s counts for nothing: its base has been rewritten", self.keys[index])
                continue
            if not knows_base(known, info):
                self._refuse_without_base(manifest, info)
                continue
            view, rows = known.adopt(info, data)
            entries = [FileEntry.of(self.keys[index], 0, index, index, info)]
            if rows is not None:
                corrections += rows.height
                entries.append(self._write_corrections(index, rows))
            slots.append(index)
            if info.schema is not None:
                manifest = manifest.knowing(self.dataset.provider, info.schema)
            manifest = evolve(manifest, files=(*manifest.files, *entries))

        if view is None:
            return Adoption(manifest)
        manifest = evolve(
            manifest,
            adopted=view.adopted,
            observed=view.observed,
            claims=view.claims,
            full={slot: full.time for slot, full in view.full.items()},
            sealed=False,
            data_version=manifest.data_version + len(slots),
        )
        manifest = _without_stale(manifest, view)
        return Adoption(manifest, tuple(slots), corrections)

    def _waiting(self, index: int) -> Waiting | None:
        """The hot file of a slot, `None` where it cannot be adopted now."""
        if self._known.get(index) is None:
            slot, key = self.dataset.slot(self.month, index), self.keys[index]
            try:
                info = read_whole(self.dataset, key, slot, written_etag(self.dataset, key))
                self._known[index] = (info, _stored(key, slot, info))
            except NotFound:
                log.warning("%s vanished before it was adopted", key)
                return None
            except FormatError as error:
                # One bad object must not keep the others out; it stays where it is, and readers
                # name it.
                log.error("%s is not adopted: %s", key, error)
                return None
        return self._known[index]

    def _refuse_without_base(self, manifest: Manifest, info: FileInfo) -> None:
        """Raise where the manifest is an earlier one; else the file stays out by itself."""
        require_known(self.dataset, manifest)
        log.error("%s", without_base(self.dataset, self.month, info).error)

    def _write_corrections(self, index: int, rows: pl.DataFrame) -> FileEntry:
        """An attempt that loses its race leaves the file to vacuum."""
        info = FileInfo.describe(rows, self.dataset.provider, "correction")
        data = encode(rows, info, self.dataset.provider)
        name = create_for_slot(self.dataset, self.month, index, Paths.correction_name, data)
        last = index
        if info.max_time is not None:
            last = Slot.of(info.max_time, self.dataset.paths.minutes).index
        return FileEntry.of(name, 0, index, last, evolve(info, size=len(data)))


def _without_stale(manifest: Manifest, view: MonthView) -> Manifest:
    """`manifest` without the keyframes and borders that adopting has made wrong."""
    keyframes = []
    for keyframe in manifest.keyframes:
        if not keyframe.is_full and keyframe not in view.keyframes:
            keyframes.append(keyframe)
    borders = []
    for entry in manifest.files:
        if entry.is_border and entry.first not in view.borders:
            borders.append(entry)
    if borders:
        manifest = without_files(manifest, borders)
    return without_keyframes(manifest, keyframes)


def _is_foreign(head: Head) -> bool:
    """Whether an original tool wrote the manifest: it adopts without telling later months."""
    return head.blob is not None and head.manifest.version == 0


def _reaches_on(head: Head) -> bool:
    """Whether what is adopted here may change the keyframes of later months."""
    return head.manifest.built_on or head.blob is None
