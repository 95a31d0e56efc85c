"""What is wrong with an archive that nobody looks at: in a few requests, for a cron job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from attrs import evolve, field, frozen

from titans.archive import Archive
from titans.dataset import Dataset
from titans.errors import TitansError
from titans.slots import Month, interval_start, iso
from titans.tiers.files.fetch import fetch_all
from titans.tiers.maintain.inventory import Inventory, list_inventory
from titans.tiers.maintain.verified import Verified, read_verified
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.model import Manifest

__all__ = ["Check", "Fault", "check_archive"]

_OLD = timedelta(hours=1)
"""Files younger than this may still be on their way into a manifest."""
_SETTLED = timedelta(days=2)
"""After this a month that is over should have its final form."""
_LOOKED_AT = 2
"""Months, the last ones."""


@frozen
class Fault:
    """Something that somebody should look at."""

    name: str
    """`late`, `gaps`, `waiting`, `unsealed`, `orphans`, `verify` or `unreadable`."""
    text: str


@frozen
class Check:
    """What was found."""

    provider: str
    environment: str
    at: datetime
    faults: tuple[Fault, ...] = ()
    last: datetime | None = None
    """The start of the last slot for which somebody looked."""
    every: timedelta = timedelta()
    is_late: bool = False
    gaps: int = 0
    """Intervals in which nobody looked, since the time that was asked about."""
    waiting: int = 0
    """Hot files that nobody has adopted for an hour."""
    unsealed: int = 0
    """Of the months that were looked at."""
    orphans: int = 0
    """Objects of these months that no manifest names, for an hour."""
    verified: Verified | None = field(default=None)

    @property
    def passed(self) -> bool:
        return not self.faults


def check_archive(archive: Archive, now: datetime, since: datetime) -> Check:
    """Look at the last two months of an archive.

    At most six requests, as long as a listing has one page: three listings, two manifests, and what
    the last verification found.

    Args:
        since: gaps before this are no faults.
    """
    name, environment = archive.provider.name, archive.paths.environment
    dataset = archive._dataset
    try:
        inventory = list_inventory(dataset)
        manifests = _manifests(dataset, inventory)
        verified = read_verified(dataset)
    except TitansError as error:
        fault = Fault("unreadable", str(error))
        return Check(name, environment, now, (fault,), every=archive.provider.every)
    if not manifests and not inventory.hot:
        fault = Fault("late", "there is no archive yet")
        return Check(name, environment, now, (fault,), every=archive.provider.every, is_late=True)

    found = _Found(dataset, inventory, manifests, now, since)
    last = found.last()
    every = archive.provider.every
    is_late = last is None or now >= interval_start(last, every) + 2 * every
    check = Check(
        name,
        environment,
        now,
        (),
        last,
        every,
        is_late,
        found.gaps(),
        found.waiting(),
        found.unsealed(),
        found.orphans(),
        verified,
    )
    return _with_faults(check, since)


def _manifests(dataset: Dataset, inventory: Inventory) -> list[Manifest]:
    """Of the last months that have one, ascending."""
    months = sorted(inventory.manifests)[-_LOOKED_AT:]
    heads = fetch_all(dataset.store, lambda month: read_head(dataset, month), months)
    return [head.manifest for head in heads if head.blob is not None]


@frozen(eq=False)
class _Found:
    dataset: Dataset
    inventory: Inventory
    manifests: list[Manifest]
    now: datetime
    since: datetime

    def last(self) -> datetime | None:
        """The start of the last slot that was looked at, adopted or not."""
        starts = []
        for manifest in self.manifests:
            looked = manifest.observed | manifest.claims.complete | manifest.claims.empty
            if looked.last is not None:
                starts.append(self._start(manifest.month, looked.last))
        # Of what waits, its metadata would have to be read to know more.
        for month, index in self._waiting_slots():
            starts.append(self._start(month, index))
        return max(starts, default=None)

    def _start(self, month: Month, index: int) -> datetime:
        return self.dataset.slot(month, index).start

    def _waiting_slots(self) -> Iterator[tuple[Month, int]]:
        known = {manifest.month: manifest for manifest in self.manifests}
        for month, slots in self.inventory.hot.items():
            manifest = known.get(month)
            if manifest is None and month in self.inventory.manifests:
                continue  # an older month, which was not looked at
            waiting = sorted(slots) if manifest is None else manifest.adopted.missing(slots)
            for index in waiting:
                yield month, index

    def waiting(self) -> int:
        """Hot files that nobody has adopted although there was time."""
        count = 0
        for month, index in self._waiting_slots():
            entry = self.inventory.hot[month][index]
            count += self.now - entry.last_modified > _OLD
        return count

    def gaps(self) -> int:
        """Intervals since the given time in which nobody looked."""
        minutes, every = self.dataset.paths.minutes, self.dataset.provider.every
        count = 0
        for manifest in self.manifests:
            count += sum(start >= self.since for start in manifest.gaps(minutes, every))
        return count

    def unsealed(self) -> int:
        """Months that are over for days and have not their final form."""
        over = [m for m in self.manifests if self.now - m.month.end > _SETTLED]
        return sum(not manifest.sealed and not manifest.removed for manifest in over)

    def orphans(self) -> int:
        """Objects that no manifest names although there was time."""
        until = self.now - _OLD
        count = 0
        for manifest in self.manifests:
            pending = self.inventory.orphans(manifest, until)
            count += len(pending.files) + len(pending.slots)
        return count


def _with_faults(check: Check, since: datetime) -> Check:
    return evolve(check, faults=tuple(_faults(check, since)))


def _faults(check: Check, since: datetime) -> Iterator[Fault]:
    if check.is_late:
        seen = "never" if check.last is None else f"last at {iso(check.last)}"
        yield Fault("late", f"observed {seen}, expected every {check.every}")
    if check.gaps:
        yield Fault(
            "gaps", f"{check.gaps:,} time(s) since {iso(since)} without an observation in between"
        )
    if check.waiting:
        yield Fault(
            "waiting",
            f"{check.waiting:,} hot file(s) that nobody has adopted for an hour; run titans "
            "compact",
        )
    if check.unsealed:
        yield Fault(
            "unsealed",
            f"{check.unsealed:,} month(s) that are over and not sealed; run titans seal, or let a "
            "collector run",
        )
    if check.orphans:
        yield Fault(
            "orphans", f"{check.orphans:,} object(s) that no manifest names; run titans vacuum"
        )
    if check.verified is not None and not check.verified.passed:
        yield Fault(
            "verify",
            f"the verification of {iso(check.verified.at)} failed ({check.verified.failures:,} "
            "failure(s)); run titans verify",
        )
