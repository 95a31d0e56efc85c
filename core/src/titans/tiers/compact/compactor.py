"""Compaction: adopt what was uploaded, merge what is due, remove what has been replaced long enough
ago, and bring months that are over to their final form.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from attrs import evolve, frozen

from titans.dataset import Dataset
from titans.errors import CorruptFileError, FormatError, InputError, NotFound, TitansError
from titans.event import ms_since
from titans.results import Compaction
from titans.slots import Month, Slot
from titans.tiers.compact.borders import build_border
from titans.tiers.compact.budget import Budget
from titans.tiers.compact.keyframes import build_keyframe
from titans.tiers.compact.merge import merge
from titans.tiers.compact.plan import (
    Merge,
    final_merge,
    missing_borders,
    missing_keyframes,
    next_keyframe,
    next_merge,
)
from titans.tiers.manifest.commit import (
    Head,
    check_agreement,
    commit,
    list_months,
    read_head,
    require_known,
)
from titans.tiers.manifest.deletion import due, remove, stamped
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.model import Manifest
from titans.tiers.write.adopt import Adopter, Adoption
from titans.tiers.write.hot import HotFile, HotFiles, list_hot, list_hot_since

__all__ = ["SEAL_DELAY", "UNLIMITED", "Compactor", "Notify"]

UNLIMITED = Budget()

SEAL_DELAY = timedelta(days=1)
"""How far the archive has to go on after the end of a month before compaction seals that month by
itself.
"""


Build = Callable[[Dataset, Month, int], tuple[Manifest, FileEntry | Keyframe | None]]
"""Writes what is due at a slot; `None` where somebody else did, or the month has changed."""


class Notify(Protocol):
    """Told what happened."""

    def __call__(self, name: str, **fields: object) -> None: ...


@frozen
class Compactor:
    """Compacts a dataset, within a budget.

    Adoption is not held up by the budget; in each month one merge is made even where it is spent,
    so that there is progress.
    """

    dataset: Dataset
    notify: Notify
    budget: Budget = UNLIMITED

    # --- several months ---------------------------------------------------------------------------

    def compact(self, slot: Slot | None = None, written: HotFile | None = None) -> Compaction:
        """Every month that has hot files; with `slot` only its month, and what is left of the one
        before.

        `written` is a file that the caller knows to be there: it is not read.

        Raises:
            NotFound: `slot` has neither been adopted nor has it a hot file.
            FormatError: a manifest or a file is damaged; the other months are done.
        """
        hot = self._list(slot)
        result = Compaction()
        reopened: set[Month] = set()
        failed: list[FormatError] = []
        for month in hot.months:
            try:
                done, adoption = self.compact_month(month, hot, written=written)
            except FormatError as error:
                failed.append(error)
                continue
            result += done
            reopened |= {*adoption.reopened}
            if slot is not None and month == slot.month:
                self._require_adopted(slot, adoption)

        # A collector looks at the month before in one slot of eight.
        months = list(hot.months)
        newest = self._newest(hot)
        if newest is not None and (slot is None or result.merged):
            reopened.add(newest.month.previous())
        months += sorted(reopened.difference(months))
        for month in months:
            over = newest is not None and newest.start >= month.end + SEAL_DELAY
            if over and not failed and not self.budget.spent:
                result += self._seal_further(month)
        if failed:
            raise failed[0]
        if slot is None:
            list(list_months(self.dataset))  # raises where one has lost its manifest
        return result

    def _list(self, slot: Slot | None) -> HotFiles:
        """The hot files of all months; with `slot`, of its month and earlier ones."""
        if slot is None:
            return list_hot_since(self.dataset)

        paths = self.dataset.paths
        hot = list_hot_since(self.dataset, paths.hot_month(slot.month.previous()))
        months = {month: keys for month, keys in hot.months.items() if month < slot.month}
        keys = hot.of(slot.month)
        keys.setdefault(slot.index, paths.hot_key(slot))  # the store's list may lag
        months[slot.month] = keys
        return HotFiles(months, hot.youngest)

    def _newest(self, hot: HotFiles) -> Slot | None:
        newest = None
        for month, keys in hot.months.items():
            if keys and (newest is None or month > newest.month):
                newest = self.dataset.slot(month, max(keys))
        return newest

    def _require_adopted(self, slot: Slot, adoption: Adoption) -> None:
        if slot.index in adoption.manifest.adopted:
            return
        key = self.dataset.paths.hot_key(slot)
        raise NotFound(
            f"{key} was not adopted: it is not there, or unreadable (see the log); upload it first",
            provider=self.dataset.provider.name,
            month=str(slot.month),
            key=key,
        )

    def finish_month_before(self, slot: Slot) -> None:
        """Adopt what is left in the month before that of `slot`, and go on sealing it; nothing
        where it is sealed.
        """
        month = slot.month.previous()
        head = read_head(self.dataset, month)
        if head.blob is None or head.manifest.sealed:
            return
        self.compact_month(month, list_hot(self.dataset, month))
        if slot.start >= month.end + SEAL_DELAY and not self.budget.spent:
            self._seal_further(month)

    # --- one month --------------------------------------------------------------------------------

    def compact_month(
        self,
        month: Month,
        hot: HotFiles,
        *,
        own: HotFile | None = None,
        written: HotFile | None = None,
    ) -> tuple[Compaction, Adoption]:
        """One month, with the hot files that were listed before.

        `written` is a file that is known to be there. `own` is one too, and adopting it is what
        counts: a failing merge is told, not raised.
        """
        keys = hot.of(month)
        head = read_head(self.dataset, month)
        if keys and own is None and head.blob is None:
            check_agreement(self.dataset, month)
        known = own or written
        if known is not None and known.slot.month != month:
            known = None

        removal = remove(self.dataset, head.manifest, due(head, hot.youngest))
        if removal.keys:
            self.notify("files_removed", month=str(month), files=len(removal.keys))
        adopter = Adopter(self.dataset, month, keys, frozenset(removal.done), known)
        adoption = adopter.adopt(head)
        if adoption.slots:
            self.notify(
                "slots_adopted",
                month=str(month),
                slots=len(adoption.slots),
                corrections=adoption.corrections,
            )

        done = Compaction(adopted=len(adoption.slots), removed=len(removal.keys))
        manifest = adoption.manifest
        try:
            manifest, merges = self._merge_due(manifest)
            unfinished = next_merge(manifest) is not None
            done = evolve(done, merged=merges, unfinished=unfinished)
            if not merges or self.budget.until is None:
                manifest, built = self._build_due(manifest, adoption)
                done += built
        except TitansError as error:
            if own is None:
                raise
            self.notify("failed", operation="merge", error=type(error).__name__, reason=str(error))
        return done, evolve(adoption, manifest=manifest)

    def _build_due(self, manifest: Manifest, adoption: Adoption) -> tuple[Manifest, Compaction]:
        """The border or the keyframe that is due.

        A collector's call builds none after a merge: no single call pays for all that may be due.
        """
        borders = missing_borders(manifest)
        if borders:
            manifest, built = self._build_border(manifest.month, borders[0])
            return manifest, Compaction(borders=built)
        slot = next_keyframe(manifest, adoption.slots)
        if slot is None:
            return manifest, Compaction()
        manifest, built = self._build_keyframe(manifest.month, slot)
        return manifest, Compaction(keyframes=built)

    def _merge_due(self, manifest: Manifest) -> tuple[Manifest, int]:
        """Every merge that is due, at least one of them whatever the budget; the manifest after
        that, and how many this process did.
        """
        merges = 0
        plan = next_merge(manifest)
        while plan is not None:
            manifest, merged = self._merge(manifest, plan)
            merges += merged
            plan = next_merge(manifest)
            if merges and self.budget.spent:
                break  # the next run goes on from here
        return manifest, merges

    def _merge(self, manifest: Manifest, plan: Merge) -> tuple[Manifest, int]:
        """One merge; the manifest after that, and 1 if this process did it."""
        started = time.monotonic()
        require_known(self.dataset, manifest)
        try:
            manifest, entry = merge(self.dataset, manifest, plan, self.budget.memory)
        except (NotFound, CorruptFileError):
            newer = read_head(self.dataset, manifest.month).manifest
            if {entry.file for entry in plan.inputs} <= newer.live:
                raise
            # Another process has merged these meanwhile; a slot's name may even be taken again.
            return newer, 0

        if entry is None:
            return manifest, 0
        self.notify(
            "files_merged",
            month=str(manifest.month),
            level=plan.level,
            file=entry.file,
            rows=entry.rows,
            bytes=entry.bytes,
            ms=ms_since(started),
        )
        return manifest, 1

    def _build(self, build: Build, event: str, month: Month, slot: int) -> tuple[Manifest, int]:
        """Write a keyframe or border; the manifest after that, and how many this process did."""
        started = time.monotonic()
        manifest, entry = build(self.dataset, month, slot)
        if entry is None:
            return manifest, 0
        self.notify(
            event,
            month=str(month),
            slot=slot,
            file=entry.file,
            rows=entry.rows,
            bytes=entry.bytes,
            ms=ms_since(started),
        )
        return manifest, 1

    def _build_keyframe(self, month: Month, slot: int) -> tuple[Manifest, int]:
        return self._build(build_keyframe, "keyframe_written", month, slot)

    def _build_border(self, month: Month, slot: int) -> tuple[Manifest, int]:
        return self._build(build_border, "border_written", month, slot)

    # --- sealing ----------------------------------------------------------------------------------

    def seal(self, month: Month) -> Compaction:
        """Bring everything in `month` to its final form: adopt, merge what is left of every level,
        write missing borders and keyframes.

        Raises:
            InputError: there is nothing in the month.
        """
        result, adoption = self.compact_month(month, list_hot(self.dataset, month))
        manifest = adoption.manifest
        if not manifest.files:
            require_known(self.dataset, manifest)
            name = self.dataset.provider.name
            raise InputError(
                f"provider {name!r} has nothing in {month}: there is nothing to seal",
                provider=name,
                month=str(month),
            )

        while not manifest.sealed:
            manifest, done = self._seal_step(manifest)
            result += done

        return result

    def _seal_further(self, month: Month) -> Compaction:
        """One step towards the sealed month: no single call pays for all of it."""
        head = read_head(self.dataset, month)
        if head.blob is None or head.manifest.sealed:
            return Compaction()
        _, done = self._seal_step(head.manifest)
        return done

    def _seal_step(self, manifest: Manifest) -> tuple[Manifest, Compaction]:
        """The next step on the way to the sealed month: a merge, a keyframe, or the seal itself."""
        month = manifest.month
        plan = next_merge(manifest) or final_merge(manifest)
        if plan is not None:
            manifest, merged = self._merge(manifest, plan)
            return manifest, Compaction(merged=merged)

        borders = missing_borders(manifest)
        if borders:
            manifest, written = self._build_border(month, borders[0])
            return manifest, Compaction(borders=written)
        missing = missing_keyframes(manifest)
        if missing:
            manifest, written = self._build_keyframe(month, missing[0])
            return manifest, Compaction(keyframes=written)

        # The month after it stands alone from now on.
        following = read_head(self.dataset, month.next())
        begun = following.blob is not None and not following.manifest.full
        if begun and 0 in missing_keyframes(following.manifest):
            self._build_keyframe(month.next(), 0)

        manifest = commit(self.dataset, month, _sealed)
        if manifest.sealed:
            self.notify(
                "month_sealed",
                month=str(month),
                files=len(manifest.files),
                keyframes=len(manifest.keyframes),
            )
        return manifest, Compaction()


def _sealed(head: Head) -> Manifest | None:
    now = head.manifest
    if now.sealed or final_merge(now) or missing_borders(now) or missing_keyframes(now):
        return None
    return evolve(stamped(head), sealed=True)
