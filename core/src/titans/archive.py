"""One provider in one store: everything a collector or a reader does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from titans.changes.conform import conform_changes, conform_snapshot
from titans.changes.digest import digest
from titans.changes.frames import is_pandas, to_polars
from titans.changes.state import carried, delta, diff, overlay
from titans.errors import (
    FormatError,
    InputError,
    SlotConflictError,
    SuspiciousSnapshotError,
    TitansError,
)
from titans.events import Event, emit
from titans.provider import Provider
from titans.read.api import ReadableArchive
from titans.read.reader import retrying
from titans.results import Compaction, IngestResult
from titans.slots import Month, Slot, iso, parse_duration, to_utc
from titans.store import ObjectStore
from titans.tiers.adopt import Adoption
from titans.tiers.budget import MEMORY, SLOT_SECONDS, Budget
from titans.tiers.commit import admitted, pause, read_head
from titans.tiers.deletion import GRACE
from titans.tiers.hot import HotFile, adopted_source, create_hot, list_hot, settled
from titans.tiers.info import Source
from titans.tiers.view import MonthView

if TYPE_CHECKING:
    import polars as pl

    from titans.tiers.repair import Repair
    from titans.tiers.vacuum import Vacuumed
    from titans.tiers.verify import Verification

__all__ = ["MAX_CEASED", "Archive", "IngestResult", "open"]

log = logging.getLogger("titans.archive")

MAX_CEASED = 0.5
"""Of the living keys, the share that may vanish in one snapshot before it is taken for a truncated
download."""


def open(
    store: ObjectStore | str | Path | None = None,
    *,
    provider: str | Provider,
    s3_client: Any = None,
) -> Archive:
    """The archive of `provider` in `store`.

    Args:
        store: a URL (`file:///dir`, `s3://bucket/prefix`, `memory://name`), a folder, or an
            `ObjectStore`. By default what `TITANS_STORE` names, else the folder `./titans-data`.
        provider: the name of an installed provider, or one made by hand.
        s3_client: a boto3 client to use for `s3://`.

    The store is not looked at yet: an archive that a provider with another key, slot length or
    newer schema wrote is refused (`ProviderMismatchError`) at the first question or write.

    Raises:
        UnknownProviderError, PluginError: see `titans.plugins`.
        UnsupportedStoreError: no store of this URL's scheme.
    """
    from titans.where import resolve_store

    if not isinstance(provider, Provider):
        from titans.plugins import load

        provider = load(provider)
    return Archive(resolve_store(store, s3_client=s3_client), provider)


@define(eq=False, repr=False)
class Archive(ReadableArchive):
    """A provider in a store. Cheap to make; safe to use from several processes and machines at
    once, not from threads.
    """

    wait: Callable[[int], None] = field(default=pause, kw_only=True, repr=False)
    """Called between attempts that lost a race, with the number of the attempt."""
    _written: HotFile | None = field(
        default=None, init=False, repr=False
    )  # uploaded last, not yet adopted
    _tip: tuple[Slot, pl.DataFrame] | None = field(default=None, init=False, repr=False)
    """The last snapshot slot this object ingested, and the state there, which no later adoption
    changes."""

    def __repr__(self) -> str:
        return f"Archive({self.provider.name!r} in {self.store.url})"

    # --- writing ----------------------------------------------------------------------------------

    def ingest(
        self, snapshot: Any, timestamp: datetime, *, max_ceased: float = MAX_CEASED
    ) -> IngestResult:
        """Archive a full snapshot: store what changed since the last one, adopt it, and compact its
        month.

        Args:
            snapshot: every key there is, with its values; polars, pandas, or Arrow. A null, or the
                provider's sentinel, means "not observed": the last known value of a living key is
                carried.
            timestamp: when it was collected; timezone-aware. It becomes the `Time` of the change
                points.
            max_ceased: the share of the living keys that may be missing; 1.0 accepts any snapshot.

        Returns:
            What was stored. `status` is `ingested`, `unchanged` (stored, but nothing had changed),
            `already` (this snapshot is in) or `skipped` (the slot holds another observation, or the
            same one of another time; it stays).

        Raises:
            TimestampError, SchemaError, SuspiciousSnapshotError: the snapshot is not acceptable;
                nothing changed.
            ConcurrencyConflictError: stored, but not adopted yet; the next call or compaction of
                anybody does that.
        """
        with self._noticed("ingest"):
            return self._ingest(snapshot, timestamp, max_ceased)

    def _ingest(self, snapshot: Any, timestamp: datetime, max_ceased: float) -> IngestResult:
        started = time.monotonic()
        collected = to_utc(timestamp)
        slot = Slot.of(collected, self.paths.minutes)
        frame, duplicates = conform_snapshot(snapshot, self.provider)
        content = digest(frame)
        if not 0 <= max_ceased <= 1:
            raise InputError(
                f"max_ceased is a share of the living keys between 0 and 1, got {max_ceased!r}"
            )
        result = IngestResult(
            "skipped",
            self.paths.hot_key(slot),
            collected,
            rows=frame.height,
            duplicates=duplicates,
            hash=content,
        )
        manifest = admitted(self.store, self.paths, self.provider, slot.month).manifest
        held = adopted_source(self.store, self.paths, self.provider, manifest, slot)
        if held is None:
            base = manifest.observed.before(slot.index)
            old = retrying(lambda: self._state_at(slot, base))
            change = diff(old, frame, collected, self.provider)
            self._refuse_truncated(slot, old.height, change.ceased, frame.height, max_ceased)
            kind, rows = "diff", change.rows
            if base is None:
                whole = carried(old, frame, self.provider)
                kind, rows = "full", delta(old.clear(), whole, collected, self.provider).rows
            source = Source(slot.index, kind, content, collected)
            file = HotFile.of(result.key, slot, rows, self.provider, lambda _: source, base)
            file, held = create_hot(self.store, self.provider, file, self.wait)
            adoption, held = self._adopt_own(file, held)
            if held == source and file.created:
                self._tip = (slot, self._after(old if kind == "diff" else old.clear(), rows))
                result = evolve(
                    result,
                    status="ingested" if change.rows.height else "unchanged",
                    added=change.added,
                    changed=change.changed,
                    filled=change.filled,
                    ceased=change.ceased,
                    corrections=adoption.corrections,
                )
                self._ingested(result, started)
                return result
        if held.is_snapshot and held.hash == content and held.time == collected:
            result = evolve(result, status="already")
        else:
            log.warning(
                "%s: slot %s already holds %s of %s; the snapshot of %s is skipped",
                self.provider.name,
                slot,
                "a snapshot" if held.is_snapshot else "changes",
                iso(held.time),
                iso(collected),
                extra={"provider": self.provider.name, "slot": str(slot)},
            )
        self._ingested(result, started)
        return result

    def upload(self, changes: Any, timestamp: datetime, *, on_conflict: str = "keep") -> str:
        """Store changed and removed rows of one collection in the slot of `timestamp`; returns the
        key, `""` for no rows.

        The file is part of the archive at once (readers apply it); `compact` adopts and merges it.

        Args:
            changes: change points: key, values, optionally `Time` (inside the slot) and `Ceased`;
                see `prepare_for_upload`.
            timestamp: when they were collected; timezone-aware.
            on_conflict: where the slot holds other content: `"keep"` it, warn and return its key,
                or raise an `"error"`.

        Raises:
            TimestampError, SchemaError: the rows are not acceptable; nothing changed.
            SlotConflictError: only with `on_conflict="error"`.
        """
        if on_conflict not in ("keep", "error"):
            raise InputError(f"on_conflict is 'keep' or 'error', got {on_conflict!r}")
        with self._noticed("upload"):
            return self._upload(changes, timestamp, on_conflict)

    def _upload(self, changes: Any, timestamp: datetime, on_conflict: str) -> str:
        started = time.monotonic()
        collected = to_utc(timestamp)
        slot = Slot.of(collected, self.paths.minutes)
        given = changes if is_pandas(changes) else to_polars(changes)
        if not len(given):
            return ""
        rows, _ = conform_changes(given, self.provider, collected, slot)
        hot_key = self.paths.hot_key(slot)
        file = HotFile.of(
            hot_key,
            slot,
            rows,
            self.provider,
            lambda content: Source(slot.index, "changes", content, collected),
        )
        admitted(self.store, self.paths, self.provider, slot.month)
        file, held = create_hot(self.store, self.provider, file, self.wait)
        # What counts is what was adopted; the file may be a leftover of an attempt that came after
        # that and was cut short.
        manifest = read_head(self.store, self.paths, self.provider, slot.month).manifest
        held = settled(self.store, self.paths, self.provider, file, manifest) or held
        if held.is_snapshot or held.hash != file.info.hash:
            message = (
                f"slot {slot} of provider {self.provider.name!r} already holds "
                f"{'a snapshot' if held.is_snapshot else 'other rows'}"
                f" ({file.key}); they stay, and these {rows.height} row(s) were not stored"
            )
            self._event("slot_conflict", slot=str(slot), key=file.key, rows=rows.height)
            if on_conflict == "error":
                raise SlotConflictError(message)
            log.warning("%s", message, extra={"provider": self.provider.name, "slot": str(slot)})
        elif file.created:
            self._written = file
            about = {
                "slot": str(slot),
                "key": file.key,
                "rows": rows.height,
                "bytes": file.info.size,
            }
            self._event("hot_created", **about, ms=_ms(started))
        return file.key

    def compact(
        self,
        hot_key: str | None = None,
        *,
        budget_seconds: float | None = None,
        memory_limit: int = MEMORY,
    ) -> Compaction:
        """Adopt every hot file there is, merge what is due, and remove what has been replaced for
        over an hour.

        Any number of processes may do this at once, and beside writers and readers.

        Args:
            hot_key: only the month of this hot file, and the one before.
            budget_seconds: start no further merge after that; the result says `unfinished`, and the
                next run goes on. All is adopted, and one merge made, in any case.
            memory_limit: bytes for the rows of a merge; more of them are merged range by range,
                through a temporary file.

        Raises:
            InvalidKeyError: `hot_key` is not one of this provider and environment; nothing was
                read.
            NotFound: there is no such hot file.
            ConcurrencyConflictError: too many lost races; nothing is lost, the next run goes on.
        """
        from titans.tiers.compaction import compact

        started, budget = time.monotonic(), Budget.of(budget_seconds, memory_limit)
        slot = None if hot_key is None else self.paths.parse_hot_key(hot_key)
        written, self._written = self._written, None  # the store need not be asked what it is
        with self._noticed("compact"):
            done = compact(
                self.store,
                self.paths,
                self.provider,
                slot,
                notify=self._event,
                wait=self.wait,
                budget=budget,
                written=written,
            )
        return evolve(done, seconds=time.monotonic() - started)

    def seal(self, month: str) -> Compaction:
        """Bring a month that is over to its final form: everything adopted and merged, every
        keyframe written.

        Compaction does this by itself, step by step, once the archive has gone on for a day after
        the end of the month. What is ingested into a sealed month later opens it again.

        Args:
            month: like `"2026-01"`.

        Raises:
            InputError: no such month, or there is nothing in it.
            ConcurrencyConflictError: too many lost races; nothing is lost, seal again.
        """
        from titans.tiers.compaction import seal

        started = time.monotonic()
        with self._noticed("seal"):
            done = seal(
                self.store,
                self.paths,
                self.provider,
                Month.parse(month),
                notify=self._event,
                wait=self.wait,
            )
        return evolve(done, seconds=time.monotonic() - started)

    def vacuum(self, grace: timedelta | str = GRACE, *, dry_run: bool = False) -> Vacuumed:
        """Remove what has been out of the archive for `grace`, and list files that no manifest
        names, to be removed later.

        Safe beside writers, compactors and readers; with a grace shorter than their longest call
        they may have to start it again.

        Args:
            grace: a timedelta, or text such as `"1h"`, `"30m"`, `"0s"`.
            dry_run: change nothing, and say what would be done.

        Raises:
            ManifestError: the manifest of some month cannot be read; nothing was removed.
        """
        from titans.tiers.vacuum import vacuum

        period = parse_duration(grace) if isinstance(grace, str) else grace
        with self._noticed("vacuum"):
            done = vacuum(
                self.store, self.paths, self.provider, grace=period, dry_run=dry_run, wait=self.wait
            )
        if not dry_run and (done.removed or done.listed):
            self._event(
                "vacuumed", removed=len(done.removed), listed=len(done.listed), waiting=done.waiting
            )
        return done

    def verify(self, *, deep: bool = False) -> Verification:
        """Check that the store holds what the manifests say, exactly once; with `deep`, down to
        every row.
        """
        from titans.tiers.verify import verify

        return verify(self.store, self.paths, self.provider, deep=deep)

    def repair(self, *, dry_run: bool = False) -> tuple[Repair, ...]:
        """Make lost or damaged manifests again from the files; returns what was (with `dry_run`,
        would be) done.

        Never deletes; a damaged manifest is kept under another name. Afterwards run `compact` and
        `verify`.

        Raises:
            CorruptFileError: the files of a month contradict each other.
        """
        from titans.tiers.repair import execute, plan

        with self._noticed("repair"):
            repairs = plan(self.store, self.paths, self.provider)
            for repair in () if dry_run else repairs:
                execute(self.store, self.paths, repair)
                self._event("repaired", month=str(repair.month), reason=repair.reason)
        return repairs

    # --- inside -----------------------------------------------------------------------------------

    @contextmanager
    def _noticed(self, operation: str) -> Iterator[None]:
        """Tell observers of a failure that is not the caller's."""
        try:
            yield
        except TitansError as error:
            if not isinstance(error, InputError):
                self._event(
                    "failed", operation=operation, error=type(error).__name__, reason=str(error)
                )
            raise

    def _event(self, name: str, **fields: Any) -> None:
        """Log a step, and tell the plugin and the observers."""
        said = " ".join(f"{key}={value}" for key, value in fields.items())
        log.info(
            "%s %s: %s",
            self.provider.name,
            name,
            said,
            extra={"provider": self.provider.name, **fields},
        )
        emit(Event(name, self.provider.name, fields), self.provider)

    def _ingested(self, result: IngestResult, started: float) -> None:
        self._event(
            "snapshot_ingested",
            status=result.status,
            key=result.key,
            time=result.timestamp,
            rows=result.rows,
            added=result.added,
            changed=result.changed,
            filled=result.filled,
            ceased=result.ceased,
            ms=_ms(started),
        )

    def _refuse_truncated(
        self, slot: Slot, living: int, ceased: int, rows: int, max_ceased: float
    ) -> None:
        """Raise where so many keys are missing that it looks like a broken download."""
        if ceased <= max_ceased * living and (rows or max_ceased == 1):
            return
        self._event("snapshot_refused", slot=str(slot), living=living, ceased=ceased)
        missing = f"{ceased} of {living} living keys are missing, more than max_ceased={max_ceased}"
        raise SuspiciousSnapshotError(
            f"snapshot of provider {self.provider.name!r} at {slot}: "
            f"{missing if living else 'it has no rows'}; it looks "
            "truncated and nothing was stored; if it is right, ingest it with max_ceased=1.0"
        )

    def _state_at(self, slot: Slot, base: int | None) -> pl.DataFrame:
        """The state a snapshot for `slot` is compared with: that of the adopted snapshot `base`.

        For the first of a month, what is known of the time before it: that tells whether it looks
        truncated, and what is carried where it observed nothing.
        """
        if base is None:
            try:
                return self._reader().state_before(slot.start)
            except FormatError as error:
                log.error(
                    "%s: snapshot at %s is not compared with the time before it: %s",
                    self.provider.name,
                    slot,
                    error,
                )
                return self._reader().empty_state()
        if self._tip is not None and self._tip[0] == Slot(slot.month, base, slot.minutes):
            return self._tip[1]
        manifest = read_head(self.store, self.paths, self.provider, slot.month).manifest
        view = MonthView.of(manifest, self.store, self.paths, self.provider)
        return view.state(view.slot(base).end)

    def _after(self, old: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """Key and value columns of the state that `rows` make of `old`."""
        columns = [*self.provider.key, *self.provider.schema.columns]
        return overlay(old.select(columns), rows, self.provider)

    def _adopt_own(self, file: HotFile, held: Source) -> tuple[Adoption, Source]:
        """Adopt what is there, `file` among it, and tidy up; and what the slot turned out to
        hold.
        """
        from titans.tiers.compaction import compact_month, settle

        month = file.slot.month
        keys, seen = list_hot(self.store, self.paths, month)
        keys[file.slot.index] = file.key  # it has been seen there, though the store's list may lag
        done, adoption = compact_month(
            self.store,
            self.paths,
            self.provider,
            month,
            keys,
            seen,
            notify=self._event,
            wait=self.wait,
            own=file if file.created else None,
            budget=Budget.of(SLOT_SECONDS, MEMORY),
        )
        if done.merged:  # one slot in eight also looks after the month before
            try:
                settle(
                    self.store,
                    self.paths,
                    self.provider,
                    file.slot,
                    notify=self._event,
                    wait=self.wait,
                )
            except TitansError as error:
                self._event(
                    "failed", operation="settle", error=type(error).__name__, reason=str(error)
                )
        if file.slot.index in adoption.slots:
            return adoption, held
        return adoption, settled(
            self.store, self.paths, self.provider, file, adoption.manifest
        ) or held


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
