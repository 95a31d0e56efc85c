"""One provider in one store: everything a collector or a reader does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from attrs import define, evolve, field

from titans.changes.conform import conform_changes
from titans.changes.differences import in_words
from titans.changes.frames import is_pandas, to_polars
from titans.changes.state import last_rows
from titans.correctable import CorrectableArchive
from titans.errors import InputError, SlotConflictError, StoreError, TitansError
from titans.event import ms_since
from titans.expectations import Expectations
from titans.html import table
from titans.iceberg import Publication, publish, publish_if_asked
from titans.ingest import Ingestor
from titans.layout import Paths
from titans.provider import Provider
from titans.redaction import redacted
from titans.results import Compaction, IngestResult
from titans.schema import CEASED
from titans.slots import Month, Slot, parse_duration, to_utc
from titans.store import ObjectStore
from titans.tiers.compact.budget import MEMORY, Budget
from titans.tiers.files.claims import Claim
from titans.tiers.files.metadata import SlotRecord
from titans.tiers.manifest.commit import read_head, read_head_to_write, require_known
from titans.tiers.manifest.deletion import GRACE
from titans.tiers.write.hot import HotFile, create_hot, withdraw_if_adopted

if TYPE_CHECKING:
    from titans.plot import Plots
    from titans.tiers.compact.compactor import Compactor
    from titans.tiers.maintain.repair import Repair
    from titans.tiers.maintain.vacuum import Vacuumed
    from titans.tiers.maintain.verify import Verification

__all__ = ["Archive", "IngestResult", "OnConflict", "open"]

log = logging.getLogger("titans.archive")

OnConflict = Literal["keep", "error"]
"""What to do with rows for a slot that holds other content: `keep` that, or raise an `error`."""


def open(
    store: ObjectStore | str | Path | None = None,
    *,
    provider: str | Provider,
    s3_client: Any = None,
    expectations: Expectations | None = None,
) -> Archive:
    """The archive of `provider` in `store`.

    Args:
        store: a URL (`file:///dir`, `s3://bucket/prefix`, `memory://name`), a folder, or an
            `ObjectStore`. By default what `TITANS_STORE` names, else the folder `./titans-data`.
        provider: the name of an installed provider, or one made by hand.
        s3_client: a boto3 client to use for `s3://`.
        expectations: in the place of the provider's own: how often its source is looked at, and
            how much of it may vanish.

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
    if expectations is not None:
        provider = evolve(provider, expectations=expectations)
    return Archive(resolve_store(store, s3_client=s3_client), provider)


def _held(file: HotFile, stored: SlotRecord) -> str:
    """What a slot holds, to somebody who would have put `file` there."""
    if stored.is_snapshot:
        return "a snapshot"
    if stored.claim == "retracted":
        return "what was retracted"
    if stored.claim == "empty":
        return "an upload that says nothing had changed"
    if stored.hash == file.info.hash:
        return "the same rows, but nobody said that they are complete"
    return "other rows"


def _sent(cls: type[Archive], *parts: Any) -> Archive:
    """An archive in a process to which it was sent, in the environment it was opened in."""
    store, provider, wait, paths = parts
    archive = cls(store, provider, wait=wait)
    archive._enter(paths)
    return archive


@define(eq=False, repr=False)
class Archive(CorrectableArchive):
    """A provider in a store.

    Cheap to make; safe to use from several processes and machines at once, not from threads.
    """

    _ingestor: Ingestor = field(init=False)
    _written: HotFile | None = field(default=None, init=False)
    """The file that was uploaded last and is not adopted yet."""

    def __attrs_post_init__(self) -> None:
        # A class that attrs makes anew, with slots, has no __class__ cell for a bare super().
        CorrectableArchive.__attrs_post_init__(self)
        self._enter(self._dataset.paths)

    def _enter(self, paths: Paths) -> None:
        """Work at these places from now on."""
        self._dataset = evolve(self._dataset, paths=paths)
        self._ingestor = Ingestor(self._dataset, self._event)

    def __reduce__(self) -> tuple[Any, ...]:
        return _sent, (type(self), self.store, self.provider, self.wait, self.paths)

    def __repr__(self) -> str:
        return f"Archive({self.provider.name!r} in {redacted(self.store.url)})"

    def _repr_html_(self) -> str:
        """What a notebook shows. The store is not asked."""
        schema = self.provider.schema
        rows = [[name, "String", "", "key"] for name in self.provider.key]
        for name, dtype in schema.columns.items():
            said = schema.description.get(name, "")
            rows.append([name, str(dtype), schema.units.get(name, ""), said])
        caption = f"{self.provider.name} in {redacted(self.store.url)}"
        return table(caption, ["column", "dtype", "unit", "description"], rows)

    @property
    def plot(self) -> Plots:
        """Charts, through Altair (extra `titans-core[plot]`): `plot.history`, `plot.grid`,
        `plot.coverage`.
        """
        from titans.plot import Plots

        return Plots(self)

    # --- writing ----------------------------------------------------------------------------------

    def ingest(
        self, snapshot: Any, timestamp: datetime, *, max_ceased: float | None = None
    ) -> IngestResult:
        """Archive a full snapshot: store what changed since the last one, adopt it, and compact its
        month.

        Args:
            snapshot: every key there is, with its values; polars, pandas, or Arrow. A null, or the
                provider's sentinel, means "not observed": the last known value of a living key is
                carried.
            timestamp: when it was collected; timezone-aware. It becomes the `Time` of the change
                points.
            max_ceased: the share of the living keys that may be missing, by default that of the
                provider's `Expectations`; 1.0 accepts any snapshot, an empty one too.

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
            done = self._ingestor.ingest(snapshot, timestamp, max_ceased)
        if self._ingestor.before is None:  # else a backfill goes on
            publish_if_asked(self._dataset, self._event)
        return done

    def _following(self, state: pl.DataFrame) -> Archive:
        """This archive, where `state` is what the first snapshot of a month is compared with,
        whatever the archive knows of the months before.
        """
        archive = type(self)(self.store, self.provider, wait=self.wait)
        archive._enter(self.paths)
        archive._ingestor.before = state
        return archive

    def upload(
        self,
        changes: Any,
        timestamp: datetime,
        *,
        on_conflict: OnConflict = "keep",
        complete: bool = False,
    ) -> str:
        """Store changed and removed rows of one collection in the slot of `timestamp`; returns the
        key, `""` for no rows that are not said to be `complete`.

        The file is part of the archive at once (readers apply it); `compact` adopts and merges it.

        Args:
            changes: change points: key, values, optionally `Time` (inside the slot) and `Ceased`;
                see `prepare_for_upload`.
            timestamp: when they were collected; timezone-aware.
            on_conflict: where the slot holds other content: `"keep"` it, warn and return its key,
                or raise an `"error"`.
            complete: the rows are all that changed since the uploader's last look: `coverage` calls
                the slot `observed`. No rows are then a fact too, stored as a file without rows:
                `empty`.

        Raises:
            TimestampError, SchemaError: the rows are not acceptable; nothing changed.
            SlotConflictError: only with `on_conflict="error"`.
        """
        if on_conflict not in ("keep", "error"):
            raise InputError(f"on_conflict is 'keep' or 'error', got {on_conflict!r}")
        with self._noticed("upload"):
            return self._upload(changes, timestamp, on_conflict, complete)

    def _upload(
        self, changes: Any, timestamp: datetime, on_conflict: OnConflict, complete: bool
    ) -> str:
        started = time.monotonic()
        collected = to_utc(timestamp)
        slot = Slot.of(collected, self.paths.minutes)
        frame = changes if is_pandas(changes) else to_polars(changes)
        claim: Claim = "complete" if complete else ""
        if len(frame):
            rows, _ = conform_changes(frame, self.provider, collected, slot)
        elif complete:
            claim, rows = "empty", pl.DataFrame(schema=dict(self.provider.schema_dtypes))
        else:
            return ""

        def record(content: str) -> SlotRecord:
            return SlotRecord(slot.index, "changes", content, collected, claim=claim)

        file = HotFile.encoding(self._dataset, slot, rows, record)
        head = read_head_to_write(self._dataset, slot.month)
        if head.blob is None:
            require_known(self._dataset, head.manifest, slot.index)
        file, stored = create_hot(self._dataset, file)

        # What counts is what was adopted; the file may be a leftover of an attempt that came after
        # that and was cut short.
        manifest = read_head(self._dataset, slot.month).manifest
        stored = withdraw_if_adopted(self._dataset, file, manifest) or stored
        unsaid = stored.claim == "retracted" or (complete and not stored.claim)
        if stored.is_snapshot or stored.hash != file.info.hash or unsaid:
            self._conflict(file, stored, on_conflict)
        elif file.created:
            self._written = file
            self._event(
                "hot_created",
                slot=str(slot),
                key=file.key,
                rows=rows.height,
                bytes=file.info.size,
                complete=complete,
                ms=ms_since(started),
            )
        return file.key

    def _conflict(self, file: HotFile, stored: SlotRecord, on_conflict: OnConflict) -> None:
        """The slot holds something else than the rows of `file`."""
        rows, slot = file.rows.height, str(file.slot)
        difference = self._difference(file)
        message = (
            f"slot {slot} of provider {self.provider.name!r} already holds {_held(file, stored)} "
            f"({file.key}); that stays, and these {rows} row(s) were not stored"
        )
        if difference:
            message += f": {difference}"
        message += ". To store them instead, amend the slot (Archive.amend_changes, titans amend)"
        self._event("slot_conflict", slot=slot, key=file.key, rows=rows, difference=difference)
        if on_conflict == "error":
            raise SlotConflictError(
                message,
                provider=self.provider.name,
                month=str(file.slot.month),
                key=file.key,
            )

        log.warning("%s", message, extra={"provider": self.provider.name, "slot": slot})

    def _difference(self, file: HotFile) -> str:
        """How the change points that a slot holds differ from the rows of `file`."""
        try:
            held = self.changes(file.slot.start, file.slot.end)
        except TitansError as error:
            return f"what it holds cannot be read ({type(error).__name__})"
        columns = [*self.provider.key, *self.provider.value_columns, CEASED]
        last = last_rows(held, self.provider).select(columns)
        return in_words(last, last_rows(file.rows, self.provider).select(columns), self.provider)

    # --- compaction -------------------------------------------------------------------------------

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
        started = time.monotonic()
        budget = Budget.of(budget_seconds, memory_limit)
        slot = None if hot_key is None else self.paths.parse_hot_key(hot_key)
        written, self._written = self._written, None  # the store need not be asked what it is
        with self._noticed("compact"):
            done = self._compactor(budget).compact(slot, written)
        publish_if_asked(self._dataset, self._event)
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
        started = time.monotonic()
        with self._noticed("seal"):
            done = self._compactor(Budget()).seal(Month.parse(month))
        return evolve(done, seconds=time.monotonic() - started)

    def _compactor(self, budget: Budget) -> Compactor:
        from titans.tiers.compact.compactor import Compactor

        return Compactor(self._dataset, self._event, budget)

    # --- for other engines ------------------------------------------------------------------------

    def publish_iceberg(
        self,
        *,
        grace: timedelta | str = GRACE,
        catalog: Any = None,
        namespace: str = "titans",
    ) -> Publication:
        """Write the metadata of two Iceberg tables beside the archive, whose files stay where they
        are: `changes`, all change points, and `latest`, the newest state that lies in a file.

        Any engine that reads Iceberg reads them by the URL of the table, or of a version of it.
        What is published equals `changes()` of one moment, waiting hot files included; where that
        is what the newest version says, nothing is written. Any number of processes may publish at
        once.
        Needs the extra `titans-core[iceberg]`.

        Args:
            grace: how long readers of earlier versions may go on; not longer than that of `vacuum`.
            catalog: where the tables are registered too: the name of a catalog that pyiceberg is
                configured for, or one that was loaded.
            namespace: of the catalog; the tables are `aws_changes` and `aws_latest` there.

        Raises:
            ArchiveNotFoundError: there is nothing to publish.
            InputError: other engines cannot read the store, or Iceberg has no type for a column.
            ConcurrencyConflictError: others published every time.
            PluginError: pyiceberg is not installed.
        """
        period = parse_duration(grace) if isinstance(grace, str) else grace
        started = time.monotonic()
        with self._noticed("publish"):
            done = publish(self._dataset, period, catalog, namespace)
        if not done.unchanged:
            self._event("published", version=done.changes.version, ms=ms_since(started))
        return done

    # --- maintenance ------------------------------------------------------------------------------

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
        from titans.tiers.maintain.vacuum import vacuum

        period = parse_duration(grace) if isinstance(grace, str) else grace
        with self._noticed("vacuum"):
            done = vacuum(self._dataset, period, dry_run=dry_run)
        if not dry_run and (done.removed or done.listed):
            self._event(
                "vacuumed",
                removed=len(done.removed),
                listed=len(done.listed),
                waiting=done.waiting,
            )
        return done

    def verify(
        self,
        *,
        deep: bool = False,
        record: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Verification:
        """Check that the store holds what the manifests say, exactly once; with `deep`, down to
        every row.

        Args:
            record: keep in the store whether it passed, for `titans check`. Nothing else is
                written. Where the store takes no writes, that is logged.
            progress: called with how many months are done, and how many there are.

        Raises:
            ArchiveNotFoundError: there is nothing to check.
        """
        from titans.tiers.maintain.verify import verify

        self._check_exists()
        report = verify(self._dataset, deep=deep, progress=progress)
        if record:
            self._keep_verified(report, deep)
        return report

    def _keep_verified(self, report: Verification, deep: bool) -> None:
        from titans.tiers.maintain.verified import Verified, keep_verified

        failures = sum(len(check.failures) for check in report.checks)
        found = Verified(datetime.now(UTC), deep, report.passed, failures)
        try:
            keep_verified(self._dataset, found)
        except StoreError as error:
            log.warning("what the verification found is not kept: %s", error)

    def repair(self, *, dry_run: bool = False) -> tuple[Repair, ...]:
        """Make lost, damaged or rolled-back manifests again from the files; returns what was (with
        `dry_run`, would be) done.

        Never deletes; what was there is kept under another name. Readers and writers may go on.
        Afterwards run `compact` and `verify`.

        Raises:
            CorruptFileError: the files of a month contradict each other, or one of them cannot be
                read.
            ConcurrencyConflictError: others won every race; nothing is lost.
        """
        from titans.tiers.maintain.repair import plan_repairs, repair

        with self._noticed("repair"):
            if dry_run:
                return plan_repairs(self._dataset)
            repairs = repair(self._dataset)
        for each in repairs:
            self._event("repaired", month=str(each.month), reason=each.reason)
        return repairs

    def set_aside(self, key: str) -> str:
        """Move a data file that is foreign or damaged out of the way; returns where to.

        Nothing is deleted: it lies beside its old place, under a name that nobody reads. Where the
        manifest names it, run `repair` afterwards, which goes on without it.

        Raises:
            InvalidKeyError: it is no data file of this provider.
            InputError: it is sound, and part of the archive.
            NotFound: there is no such object.
        """
        from titans.tiers.maintain.aside import set_aside

        with self._noticed("repair"):
            return set_aside(self._dataset, key)
