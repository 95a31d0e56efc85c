"""Ingesting a full snapshot: what changed since the last one becomes the slot's hot file, which is
adopted at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from titans.changes.conform import conform_snapshot
from titans.changes.differences import in_words
from titans.changes.digest import add, digest, subtract
from titans.changes.state import carried, delta, diff, overlay
from titans.dataset import Dataset
from titans.errors import (
    ConcurrencyConflictError,
    FormatError,
    SuspiciousSnapshotError,
    TitansError,
)
from titans.event import ms_since
from titans.expectations import WHAT_NEXT
from titans.read.reader import Reader, retrying
from titans.refusals import count_refusal
from titans.results import IngestResult
from titans.slots import Slot, iso, to_utc
from titans.tiers.compact.budget import MEMORY, SLOT_SECONDS, Budget
from titans.tiers.files.metadata import SlotKind, SlotRecord
from titans.tiers.manifest.commit import ATTEMPTS, read_head, read_head_to_write, require_known
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.view import Criteria, MonthView
from titans.tiers.write.adopt import Adoption
from titans.tiers.write.hot import (
    NO_BASE,
    Base,
    HotFile,
    HotFiles,
    create_hot,
    list_hot,
    read_adopted_record,
    withdraw_if_adopted,
)

if TYPE_CHECKING:
    import polars as pl

    from titans.tiers.compact.compactor import Notify

__all__ = ["Ingestor"]

log = logging.getLogger("titans.archive")


@frozen(eq=False)
class _Compared:
    """What a snapshot is compared with."""

    base: Base
    state: pl.DataFrame


@define(eq=False)
class Ingestor:
    """Ingests snapshots into a dataset, one after the other."""

    dataset: Dataset
    notify: Notify
    before: pl.DataFrame | None = None
    """The state before the first snapshot of a month, where the caller knows what the archive may
    not know yet: the months before are being written meanwhile.
    """
    _tip: tuple[Slot, _Compared] | None = field(default=None, init=False)
    """The last snapshot slot this object ingested, and the state there, which no later adoption
    changes.
    """

    def ingest(self, snapshot: Any, timestamp: datetime, max_ceased: float | None) -> IngestResult:
        """See `Archive.ingest`."""
        started = time.monotonic()
        provider = self.dataset.provider
        collected = to_utc(timestamp)
        slot = Slot.of(collected, self.dataset.paths.minutes)
        frame, duplicates = conform_snapshot(snapshot, provider)
        share = provider.expectations.share(max_ceased)
        result = IngestResult(
            status="skipped",
            key=self.dataset.paths.hot_key(slot),
            timestamp=collected,
            rows=frame.height,
            duplicates=duplicates,
            hash=digest(frame),
        )

        head = read_head_to_write(self.dataset, slot.month)
        manifest = head.manifest
        if head.blob is None:
            require_known(self.dataset, manifest, slot.index)
        adopted = read_adopted_record(self.dataset, manifest, slot)
        if adopted is None:
            result, adopted = self._store_on_latest(frame, slot, manifest, result, share)

        if result.status == "skipped":
            same = adopted.hash == result.hash and adopted.time == collected
            if adopted.is_snapshot and same:
                result = evolve(result, status="already")
            else:
                said = self._difference(slot, adopted, frame)
                result = evolve(result, difference=said)
                _warn_skipped(provider.name, slot, adopted, result)
        self._tell(result, started)
        return result

    def _store_on_latest(
        self,
        frame: pl.DataFrame,
        slot: Slot,
        manifest: Manifest,
        result: IngestResult,
        max_ceased: float,
    ) -> tuple[IngestResult, SlotRecord]:
        """As `_store`, until what the slot holds is adopted."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.dataset.wait(attempt - 1)
            stored = self._store(frame, slot, manifest, result, max_ceased)
            if stored is not None:
                return stored
            manifest = read_head(self.dataset, slot.month).manifest

        name = self.dataset.provider.name
        raise ConcurrencyConflictError(
            f"provider {name!r}: the snapshot of {slot} was not adopted in {ATTEMPTS} attempts: "
            "what it was compared with was rewritten again and again, or its hot file cannot be "
            "adopted (see titans status); ingest it again",
            provider=name,
            month=str(slot.month),
        )

    def _store(
        self,
        frame: pl.DataFrame,
        slot: Slot,
        manifest: Manifest,
        result: IngestResult,
        max_ceased: float,
    ) -> tuple[IngestResult, SlotRecord] | None:
        """Write and adopt what changed since the last snapshot; what became of it, and what the
        slot holds afterwards. `None` where nothing is adopted for it: what it was compared with
        was rewritten meanwhile, for example.
        """
        provider, collected = self.dataset.provider, result.timestamp
        compared = retrying(lambda: self._read_base(slot, manifest))
        base, old = compared.base, compared.state
        change = diff(old, frame, collected, provider)
        self._refuse_truncated(slot, frame, (old.height, change.ceased), max_ceased)

        kind: SlotKind = "diff"
        rows = change.rows
        if base.slot is None:
            # The first of a month says everything, so that the month needs nothing before it.
            whole = carried(old, frame, provider)
            kind, old = "full", old.clear()
            rows = delta(old, whole, collected, provider).rows
        columns = [*provider.key, *provider.schema.columns]
        after = overlay(old.select(columns), rows, provider)
        made = _state_hash(result.hash, frame, after, provider.schema.passive)
        record = SlotRecord(slot.index, kind, result.hash, collected, made)
        file = HotFile.encoding(self.dataset, slot, rows, lambda _: record, base)
        file, stored = create_hot(self.dataset, file)
        adoption, stored = self._adopt(file, stored)
        if slot.index not in adoption.manifest.adopted:
            return None
        if stored != record or not file.created:
            return result, stored

        self._tip = (slot, _Compared(Base(slot.index, base.seen), after))
        result = evolve(
            result,
            status="ingested" if change.rows.height else "unchanged",
            added=change.added,
            changed=change.changed,
            filled=change.filled,
            ceased=change.ceased,
            corrections=adoption.corrections,
        )
        return result, stored

    def _refuse_truncated(
        self, slot: Slot, snapshot: pl.DataFrame, living: tuple[int, int], max_ceased: float
    ) -> None:
        """Raise where so many keys are missing that it looks like a broken download.

        Args:
            living: how many keys lived before, and how many of them `snapshot` lacks.
        """
        provider = self.dataset.provider
        doubt = provider.expectations.doubt(*living, snapshot.height, max_ceased)
        if not doubt:
            return
        keys = snapshot.select(provider.key)
        row = count_refusal(self.dataset, slot, keys, max_ceased)
        if row.is_enough:
            log.warning("%s: snapshot of %s accepted: %s, but %s", provider.name, slot, doubt, row)
            return

        self.notify("snapshot_refused", slot=str(slot), living=living[0], ceased=living[1])
        raise SuspiciousSnapshotError(
            f"snapshot of provider {provider.name!r} at {slot}: {doubt}; it looks truncated and "
            f"nothing was stored{row}; {WHAT_NEXT}",
            provider=provider.name,
            month=str(slot.month),
        )

    def _read_base(self, slot: Slot, manifest: Manifest) -> _Compared:
        """What a snapshot for `slot` is compared with; `manifest` has just been read.

        For the first of a month, what is known of the time before it: that tells whether it looks
        truncated, and what is carried where it observed nothing.
        """
        base = manifest.observed.before(slot.index)
        if self._tip is not None and base is not None:
            tip, known = self._tip
            same = tip == Slot(slot.month, base, slot.minutes)
            if same and known.base.seen == manifest.last_rewrite:
                return known

        manifest = read_head(self.dataset, slot.month).manifest
        base = manifest.observed.before(slot.index)
        if base is not None:
            view = MonthView.of(manifest, self.dataset)
            state = view.state(view.slot(base).end)
            return _Compared(Base(base, manifest.last_rewrite), state)
        if self.before is not None:
            return _Compared(NO_BASE, self.before)
        reader = Reader(self.dataset)
        try:
            return _Compared(NO_BASE, reader.state_before(slot.start))
        except FormatError as error:
            log.error(
                "%s: snapshot at %s is not compared with the time before it: %s",
                self.dataset.provider.name,
                slot,
                error,
            )
            return _Compared(NO_BASE, reader.empty_state())

    def _adopt(self, file: HotFile, stored: SlotRecord) -> tuple[Adoption, SlotRecord]:
        """Adopt what is there, `file` among it, and compact; and what the slot holds then."""
        from titans.tiers.compact.compactor import Compactor

        month = file.slot.month
        hot = list_hot(self.dataset, month)
        keys = hot.of(month)
        keys[file.slot.index] = file.key  # it has been seen there, though the store's list may lag
        hot = HotFiles({month: keys}, hot.youngest)
        budget = Budget.of(SLOT_SECONDS, MEMORY)
        own = file if file.created else None
        compactor = Compactor(self.dataset, self.notify, budget)
        done, adoption = compactor.compact_month(month, hot, own=own)
        if done.merged and self.before is None:
            # One slot in eight also looks after the month before, if nobody is writing that now.
            try:
                Compactor(self.dataset, self.notify).finish_month_before(file.slot)
            except TitansError as error:
                self.notify(
                    "failed", operation="settle", error=type(error).__name__, reason=str(error)
                )
        if file.slot.index in adoption.slots:
            return adoption, stored
        return adoption, withdraw_if_adopted(self.dataset, file, adoption.manifest) or stored

    def _difference(self, slot: Slot, stored: SlotRecord, frame: pl.DataFrame) -> str:
        """How what a slot holds differs from a snapshot."""
        if stored.claim == "retracted":
            return "the slot was retracted"
        provider = self.dataset.provider
        view = MonthView.of(read_head(self.dataset, slot.month).manifest, self.dataset)
        if not stored.is_snapshot:
            rows = view.rows(Criteria(slot.start, slot.end))
            return f"the slot holds an upload of {rows.height} row(s), no snapshot"
        held = view.state(slot.end).select(frame.columns)
        said = in_words(held, carried(held, frame, provider), provider)
        if not said and provider.schema.passive:
            said = "the time is another, or passive values"
        return said or "the time is another"

    def _tell(self, result: IngestResult, started: float) -> None:
        self.notify(
            "snapshot_ingested",
            status=result.status,
            slot=str(Slot.of(result.timestamp, self.dataset.paths.minutes)),
            key=result.key,
            time=result.timestamp,
            rows=result.rows,
            added=result.added,
            changed=result.changed,
            filled=result.filled,
            ceased=result.ceased,
            ms=ms_since(started),
        )


def _state_hash(
    content: str, snapshot: pl.DataFrame, state: pl.DataFrame, passive: Collection[str]
) -> str:
    """The hash of the state that a snapshot with the hash `content` made: the same keys, and the
    same values, save those that were carried. Only rows with such values are hashed.
    """
    carried: pl.Series | None = None
    for column in snapshot.iter_columns():
        if column.null_count() or column.name in passive:
            differs = column.ne_missing(state[column.name])
            carried = differs if carried is None else carried | differs
    if carried is None or not carried.any():
        return content
    content = subtract(content, digest(snapshot.filter(carried)))
    return add(content, digest(state.filter(carried)))


def _warn_skipped(provider: str, slot: Slot, stored: SlotRecord, result: IngestResult) -> None:
    what = "a snapshot" if stored.is_snapshot else "changes"
    if stored.claim == "retracted":
        what = "what was retracted, the record"
    log.warning(
        "%s: slot %s, of %d minutes, already holds %s of %s; the snapshot of %s is skipped: %s. To "
        "store it instead, amend the slot (Archive.amend, titans amend). To store both, where a "
        "source is looked at irregularly, the provider needs shorter slots: "
        "PathLayout(slot_minutes=1), with Expectations(every=…) for how often it is looked at",
        provider,
        slot,
        slot.minutes,
        what,
        iso(stored.time),
        iso(result.timestamp),
        result.difference,
        extra={"provider": provider, "slot": str(slot)},
    )
