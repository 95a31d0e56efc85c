"""Corrections of what is stored, for `Archive`: see `titans.tiers.rewrite`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from attrs import define

from titans.changes.conform import conform_changes, conform_snapshot
from titans.dataset import Dataset
from titans.errors import InputError, SuspiciousSnapshotError
from titans.expectations import WHAT_NEXT
from titans.read.keys import wanted_keys
from titans.read.queries import compared
from titans.refusals import forget
from titans.results import Amendment
from titans.slots import Month, Slot, to_utc
from titans.store._overlay import Overlay
from titans.tiers.files.claims import Claim
from titans.tiers.files.rewrites import Operation
from titans.tiers.manifest.commit import Head, list_months, read_head, removed_month
from titans.tiers.manifest.model import Manifest
from titans.tiers.rewrite.carry import Plan, Request, carry_out
from titans.tiers.rewrite.erase import plan_erasure
from titans.tiers.rewrite.retain import begin, give_up, plan_beginning
from titans.tiers.rewrite.slots import Content, Outcome, plan_slot
from titans.tiers.write.hot import list_hot, list_hot_since

if TYPE_CHECKING:
    from titans.tiers.compact.compactor import Notify

__all__ = ["Amender"]

_LONGEST = 1_000
"""Characters of a reason."""

_EVENTS = {"amend": "amended", "retract": "retracted", "erase": "erased"}


@define(eq=False)
class Amender:
    """Puts other content in the place of what is stored in a dataset."""

    dataset: Dataset
    notify: Notify

    def rehearsed(self) -> Amender:
        """One of which nothing reaches the store, and nobody hears."""
        store = Overlay(self.dataset.store)
        dataset = Dataset(store, self.dataset.paths, self.dataset.provider, self.dataset.wait)
        return Amender(dataset, _unheard)

    # --- slots ------------------------------------------------------------------------------------

    def amend(
        self, snapshot: Any, timestamp: datetime, reason: str, max_ceased: float | None
    ) -> Amendment:
        """See `Archive.amend`."""
        collected = to_utc(timestamp)
        share = self.dataset.provider.expectations.share(max_ceased)
        frame, _ = conform_snapshot(snapshot, self.dataset.provider)
        content = Content(frame, collected, is_snapshot=True)
        return self._rewrite(content, "amend", reason, share)

    def amend_changes(
        self, changes: Any, timestamp: datetime, reason: str, *, complete: bool
    ) -> Amendment:
        """See `Archive.amend_changes`."""
        collected = to_utc(timestamp)
        slot = Slot.of(collected, self.dataset.paths.minutes)
        rows, _ = conform_changes(changes, self.dataset.provider, collected, slot)
        claim: Claim = "complete" if complete else ""
        if not rows.height:
            if not complete:
                raise InputError(
                    "there are no rows; to say that nothing had changed give complete=True, to "
                    "take back what is stored call retract"
                )
            claim = "empty"
        content = Content(rows, collected, is_snapshot=False, claim=claim)
        return self._rewrite(content, "amend", reason, 1.0)

    def retract(self, timestamp: datetime, reason: str) -> Amendment:
        """See `Archive.retract`."""
        collected = to_utc(timestamp)
        rows = pl.DataFrame(schema=dict(self.dataset.provider.schema_dtypes))
        content = Content(rows, collected, is_snapshot=False, claim="retracted")
        return self._rewrite(content, "retract", reason, 1.0)

    def _rewrite(
        self, content: Content, operation: Operation, reason: str, max_ceased: float
    ) -> Amendment:
        request = Request(operation, checked_reason(reason))
        slot = Slot.of(content.time, self.dataset.paths.minutes)
        outcomes: list[Outcome] = []

        def plan_of(head: Head) -> Plan | None:
            planned = plan_slot(self.dataset, head, slot, content, request)
            if planned is None:
                return None
            plan, outcome = planned
            if content.is_snapshot:
                self._refuse_truncated(slot, content, outcome, max_ceased)
            outcomes.append(outcome)
            return plan

        self._adopt(slot.month)
        manifest, plan = carry_out(self.dataset, slot.month, plan_of)
        if plan is None:
            nothing = compared(self._no_state(), self._no_state(), self.dataset.provider)
            return Amendment("already", operation, slot.start, difference=nothing)
        self._reseal(plan.basis, manifest)

        outcome = outcomes[-1]
        difference = compared(outcome.before, outcome.after, self.dataset.provider)
        done = Amendment(
            "done",
            operation,
            slot.start,
            months=(str(slot.month),),
            removed=plan.rewrite.removed,
            added=plan.rewrite.added,
            difference=difference,
        )
        self.notify(
            _EVENTS[operation],
            slot=str(slot),
            reason=request.reason,
            keys=difference.height,
            removed=done.removed,
            added=done.added,
        )
        return done

    # --- keys -------------------------------------------------------------------------------------

    def erase(self, keys: Any, reason: str) -> Amendment:
        """See `Archive.erase`."""
        wanted = wanted_keys(keys, self.dataset.provider)
        request = Request("erase", checked_reason(reason))
        if not wanted.height:
            raise InputError("no key to erase was given")
        forget(self.dataset)
        months, removed = [], 0
        for month in self._all_months():
            manifest, plan = carry_out(
                self.dataset,
                month,
                lambda head: plan_erasure(self.dataset, head, wanted, request),
            )
            if plan is None:
                continue
            months.append(str(month))
            removed += plan.rewrite.removed
            self._reseal(plan.basis, manifest)
        if not months:
            return Amendment("already", "erase")
        self.notify("erased", keys=wanted.height, reason=request.reason, removed=removed)
        return Amendment("done", "erase", months=tuple(months), removed=removed)

    def retain(self, since: Month, reason: str) -> Amendment:
        """See `Archive.retain`."""
        request = Request("retain", checked_reason(reason))
        months = self._all_months(since)
        earlier = [month for month in months if month < since]
        if months and months[-1] < since:
            raise InputError(
                f"the archive ends in {months[-1]}: nothing would be left; give a month that it has"
            )
        if not earlier:
            return Amendment("already", "retain")
        begin(self.dataset, since)
        _, plan = carry_out(
            self.dataset, since, lambda head: plan_beginning(self.dataset, head, request)
        )
        given_up, removed = [], 0
        for month in reversed(earlier):
            if not read_head(self.dataset, month).manifest.removed:
                removed += give_up(self.dataset, month)
                given_up.append(str(month))
        if plan is None and not given_up:
            return Amendment("already", "retain")
        done = Amendment("done", "retain", months=tuple(sorted(given_up)), removed=removed)
        self.notify(
            "retained",
            since=str(since),
            reason=request.reason,
            months=len(given_up),
            removed=removed,
        )
        return done

    def _all_months(self, until: Month | None = None) -> list[Month]:
        """All there are, with everything adopted (until one)."""
        months = set(list_months(self.dataset))
        for month in list_hot_since(self.dataset).months:
            if (until is None or month <= until) and not self._is_removed(month):
                self._adopt(month)
            months.add(month)
        return sorted(months)

    def _is_removed(self, month: Month) -> bool:
        return read_head(self.dataset, month).manifest.removed

    def _refuse_truncated(
        self, slot: Slot, content: Content, outcome: Outcome, max_ceased: float
    ) -> None:
        living, key = outcome.before, list(self.dataset.provider.key)
        missing = living.join(content.rows, on=key, how="anti").height
        expectations = self.dataset.provider.expectations
        doubt = expectations.doubt(living.height, missing, content.rows.height, max_ceased)
        if not doubt:
            return
        raise SuspiciousSnapshotError(
            f"the snapshot that is to take the place of that of {slot}: {doubt}; nothing was "
            f"changed; {WHAT_NEXT}",
            provider=self.dataset.provider.name,
            month=str(slot.month),
        )

    def _no_state(self) -> pl.DataFrame:
        provider = self.dataset.provider
        columns = [*provider.key, *provider.value_columns]
        return pl.DataFrame(schema=dict(provider.schema_dtypes)).select(columns)

    # --- months -----------------------------------------------------------------------------------

    def _adopt(self, month: Month) -> None:
        """Adopt what was uploaded: only what is adopted can be rewritten."""
        from titans.tiers.compact.compactor import Compactor

        if self._is_removed(month):
            raise removed_month(self.dataset, month)
        hot = list_hot(self.dataset, month)
        Compactor(self.dataset, self.notify).compact_month(month, hot)

    def _reseal(self, before: Manifest, after: Manifest) -> None:
        """A month that was sealed has its final form again."""
        from titans.tiers.compact.compactor import Compactor

        if before.sealed and not after.sealed:
            Compactor(self.dataset, self.notify).seal(after.month)


def checked_reason(reason: str) -> str:
    """A reason as it is stored: one line.

    Raises:
        InputError: it says nothing, or too much.
    """
    if not isinstance(reason, str) or not reason.strip():
        raise InputError(
            "give a reason: it is stored with the correction, for whoever wonders later"
        )
    line = " ".join(reason.encode(errors="replace").decode().split())
    if len(line) > _LONGEST:
        raise InputError(f"the reason has {len(line)} characters; {_LONGEST} are kept")
    return line


def _unheard(name: str, **fields: object) -> None:
    """Nobody hears of what did not happen."""
