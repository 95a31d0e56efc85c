"""Corrections of an archive, and telling plugins and observers what happened to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import define

from titans.errors import InputError, TitansError
from titans.events import Event, emit
from titans.read.explain import ExplainedArchive
from titans.slots import Month, to_utc

if TYPE_CHECKING:
    from titans.amend import Amender
    from titans.results import Amendment

__all__ = ["CorrectableArchive"]

log = logging.getLogger("titans.archive")


@define(eq=False, repr=False)
class CorrectableArchive(ExplainedArchive):
    """What can be put right in an archive: see `titans.tiers.rewrite`."""

    def amend(
        self,
        snapshot: Any,
        timestamp: datetime,
        *,
        reason: str,
        max_ceased: float | None = None,
        dry_run: bool = False,
    ) -> Amendment:
        """Put another full snapshot in the place of what a slot holds.

        The archive becomes what it would be had this been ingested instead. The state at every
        other snapshot stays what it is. Files are replaced by one commit; the old ones are removed
        after the grace period.

        Args:
            snapshot: as for `ingest`; what it did not observe is carried from the state before it.
            timestamp: when it was collected; a moment of the slot.
            reason: why. It is kept with the correction, see `amendments`.
            max_ceased: the share of the keys living there that may be missing, by default that of
                the provider's `Expectations`.
            dry_run: change nothing, and say what would be done.

        Returns:
            `status` is `done`, or `already` where the slot holds this very snapshot; `difference`
            is how the state at the slot changes.

        Raises:
            InputError: nothing was ever stored for the slot, or there is no reason.
            TimestampError, SchemaError, SuspiciousSnapshotError: the snapshot is not acceptable;
                nothing changed.
            ConcurrencyConflictError: others wrote to the month again and again; nothing changed.
        """
        with self._noticed("amend"):
            return self._amender(dry_run=dry_run).amend(snapshot, timestamp, reason, max_ceased)

    def amend_changes(
        self,
        changes: Any,
        timestamp: datetime,
        *,
        reason: str,
        complete: bool = False,
        dry_run: bool = False,
    ) -> Amendment:
        """As `amend`, with the changed and removed rows of an upload: see `upload`."""
        with self._noticed("amend"):
            amender = self._amender(dry_run=dry_run)
            return amender.amend_changes(changes, timestamp, reason, complete=complete)

    def retract(self, timestamp: datetime, *, reason: str, dry_run: bool = False) -> Amendment:
        """Take back what a slot holds, as if nobody had looked; `coverage` calls it `missing`.

        The slot stays taken: a snapshot that is ingested for it later is skipped. `amend` puts one
        there.

        Args:
            timestamp: a moment of the slot.
            reason, dry_run: as for `amend`.

        Raises:
            InputError, ConcurrencyConflictError: as for `amend`.
        """
        with self._noticed("retract"):
            return self._amender(dry_run=dry_run).retract(timestamp, reason)

    def erase(self, keys: Any, *, reason: str, dry_run: bool = False) -> Amendment:
        """Remove all that the archive holds of some keys: change points, snapshots, keyframes, and
        what manifests and files say of them.

        The files that held them leave the archive at once and the store after the grace period;
        `vacuum("0s")` removes them now. A source that still has the keys brings them back with the
        next snapshot: take them out there first. What `set_aside` and `repair` keep beside the
        archive is not looked at.

        Args:
            keys: some or all key columns: a frame of polars, pandas or Arrow, or a list of dicts.
                With some columns, every key that has these values.
            reason, dry_run: as for `amend`. The reason is kept: name no key in it.

        Raises:
            InputError: no key, or no reason, was given.
            ConcurrencyConflictError: others wrote again and again; call it once more, it goes on.
        """
        with self._noticed("erase"):
            return self._amender(dry_run=dry_run).erase(keys, reason)

    def retain(self, *, since: str | datetime, reason: str, dry_run: bool = False) -> Amendment:
        """Remove all months before `since`; what follows stands alone first.

        A keyframe at the start of that month holds every key that lives there. The files of the
        earlier months leave the archive at once and the store after the grace period. Nothing is
        stored for those months any more, and questions about them are refused.

        Args:
            since: the first month that stays, like `"2026-01"`, or a moment in it.
            reason, dry_run: as for `amend`.

        Raises:
            InputError: no such month, or nothing would be left.
            ConcurrencyConflictError: others wrote again and again; call it once more, it goes on.
        """
        month = Month.parse(since) if isinstance(since, str) else Month.of(to_utc(since, "since"))
        with self._noticed("retain"):
            return self._amender(dry_run=dry_run).retain(month, reason)

    def _amender(self, *, dry_run: bool) -> Amender:
        from titans.amend import Amender

        amender = Amender(self._dataset, self._event)
        return amender.rehearsed() if dry_run else amender

    # --- events -----------------------------------------------------------------------------------

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

    def _event(self, name: str, **fields: object) -> None:
        """Log a step, and tell the plugin and the observers."""
        text = " ".join(f"{key}={value}" for key, value in fields.items())
        provider = self.provider.name
        log.info("%s %s: %s", provider, name, text, extra={"provider": provider, **fields})
        emit(Event(name, provider, fields), self.provider)
