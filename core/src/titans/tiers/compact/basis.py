"""What keyframes and borders are made from: the adopted state just before a time, from as many
earlier months as it takes, and their commit, which makes sure that it still holds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import polars as pl
from attrs import evolve, frozen

from titans.dataset import Dataset
from titans.slots import NO_SLOTS, Month, SlotSet
from titans.tiers.files.fetch import exists
from titans.tiers.manifest.commit import Head, commit, list_months, read_head
from titans.tiers.manifest.deletion import stamped, with_pending
from titans.tiers.manifest.entries import Pending
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.view import MonthView
from titans.tiers.write.hot import list_hot_since
from titans.tiers.write.late import clear_marks

__all__ = ["Basis", "commit_built", "read_basis", "read_state_before"]

log = logging.getLogger("titans.compact")


@frozen(eq=False)
class Basis:
    """The state just before a time in a slot, and the month as it was then."""

    slot: int
    manifest: Manifest
    view: MonthView
    state: pl.DataFrame
    """Key, `Time`, values; sorted by key."""
    dependent: bool
    """It holds what earlier months left."""
    built_from: Mapping[Month, int]
    """Earlier months that it was read from → their `data_version` then."""

    def holds(self, now: Manifest) -> bool:
        """Whether nothing was adopted or rewritten since that changes the state."""
        before = SlotSet(((0, self.slot - 1),)) if self.slot else NO_SLOTS
        unmarked = not now.dirty and now.marks == self.manifest.marks
        same = now.adopted & before == self.manifest.adopted & before
        same &= now.last_rewrite == self.manifest.last_rewrite
        return same and (unmarked or not self.dependent)


def read_basis(dataset: Dataset, month: Month, slot: int, time: datetime) -> Basis:
    """The state just before `time`, which lies in `slot` or is its start.

    Earlier months that it depends on are told: who adopts there marks this month first.
    """
    seen = read_head(dataset, month).manifest
    view = MonthView.of(seen, dataset)
    dependent = view.last_full(time) is None and not seen.begins
    if dependent and seen.dirty:
        seen = clear_marks(dataset, seen)
        view = MonthView.of(seen, dataset)

    earlier = None
    built_from: dict[Month, int] = {}
    if not view.stands_alone(time):
        _fence_unbegun(dataset, month)

        def read(link: Month) -> Manifest:
            manifest = commit(dataset, link, _built_on)
            built_from[link] = manifest.data_version
            return manifest

        earlier = read_state_before(dataset, month, read)
    return Basis(slot, seen, view, view.state(time, earlier), dependent, built_from)


def commit_built(
    dataset: Dataset,
    basis: Basis,
    files: Sequence[str],
    add: Callable[[Manifest], Manifest | None],
) -> tuple[Manifest, bool]:
    """Commit `files`, which were built on `basis`, as long as that holds; the manifest after that,
    and whether they belong to it.

    Else they are listed for removal. `add` puts them into a manifest; `None` where there is no
    place for them by now.
    """
    month = basis.manifest.month
    keys = [dataset.key(month, file) for file in files]
    committed = False

    def mutate(head: Head) -> Manifest | None:
        nonlocal committed
        now = stamped(head)
        committed = False
        # Vacuum took them for orphans, or repair for what a lost manifest had named.
        if (now.pending_files | now.live) & set(files):
            return None
        added = add(now) if basis.holds(now) else None
        if added is None or not all(exists(dataset.store, key) for key in keys):
            return with_pending(now, Pending(None, tuple(files)))
        committed = True
        return added

    after = commit(dataset, month, mutate)
    if committed or files[0] in after.live:
        return after, True
    log.info(
        "%s %s: what %s was built on has changed; it is not used",
        dataset.provider.name,
        month,
        files[0],
    )
    return after, False


def read_state_before(
    dataset: Dataset, month: Month, read: Callable[[Month], Manifest] | None = None
) -> pl.DataFrame | None:
    """The adopted state at the start of `month`, from as many earlier months as it takes; `read`
    gives their manifests.
    """
    views: list[MonthView] = []
    for earlier in sorted({month.previous(), *_list_begun(dataset, month)}, reverse=True):
        manifest = read(earlier) if read else read_head(dataset, earlier).manifest
        view = MonthView.of(manifest, dataset)
        views.append(view)
        if view.stands_alone(earlier.end):
            break

    state: pl.DataFrame | None = None
    for view in reversed(views):
        state = view.state(view.month.end, state)
    return state


def _list_begun(dataset: Dataset, month: Month) -> set[Month]:
    """The months before `month` that have a manifest."""
    return {earlier for earlier in list_months(dataset) if earlier < month}


def _built_on(head: Head) -> Manifest | None:
    """Whoever adopts later in this month will know that another one builds on it."""
    if head.blob is None or head.manifest.built_on:
        return None
    return evolve(stamped(head), built_on=True)


def _fence_unbegun(dataset: Dataset, month: Month) -> None:
    """Give earlier months that only have hot files a manifest, with a fence.

    Who is about to adopt there may have set its marks before `month` had a manifest, so none on it:
    it has to begin again.
    """
    begun = _list_begun(dataset, month)
    for earlier in list_hot_since(dataset).months:
        if earlier < month and earlier not in begun:
            commit(dataset, earlier, _begun)


def _begun(head: Head) -> Manifest | None:
    if head.blob is not None:
        return None
    return evolve(stamped(head), built_on=True, fence=head.manifest.fence + 1)
