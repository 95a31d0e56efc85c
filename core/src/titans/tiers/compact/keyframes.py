"""Keyframes: whole states at the start of a slot, so that reading a state never replays the past.

A keyframe is right by construction: it is committed only if the slots before it are still those it
was made from, and a slot that is adopted late takes the later ones away in its own commit
(`MonthView.adopt`).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

import polars as pl
from attrs import evolve

from titans.dataset import Dataset
from titans.layout import Paths
from titans.schema import CEASED
from titans.slots import NO_SLOTS, Month, SlotSet
from titans.tiers.files.create import create_under_free_name
from titans.tiers.files.fetch import exists
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.parquet import WHOLE, encode
from titans.tiers.manifest.commit import Head, commit, read_head
from titans.tiers.manifest.deletion import stamped, with_pending
from titans.tiers.manifest.entries import Keyframe, Pending
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.view import MonthView
from titans.tiers.write.hot import list_hot_since
from titans.tiers.write.late import clear_marks

__all__ = ["build_keyframe", "read_state_before"]

log = logging.getLogger("titans.keyframes")

_NAMES = 8


def build_keyframe(dataset: Dataset, month: Month, slot: int) -> tuple[Manifest, Keyframe | None]:
    """Write the state at the start of `slot` and commit it; the manifest after that.

    The keyframe is `None` where the month has changed meanwhile, or has it by now; what was written
    is listed for removal.
    """
    start = dataset.slot(month, slot).start
    seen = read_head(dataset, month).manifest
    view = MonthView.of(seen, dataset)
    dependent = view.last_full(start) is None
    if dependent and seen.dirty:
        seen = clear_marks(dataset, seen)
        view = MonthView.of(seen, dataset)

    earlier = None
    if not view.stands_alone(start):
        _fence_unbegun(dataset, month)
        earlier = read_state_before(dataset, month, lambda link: commit(dataset, link, _built_on))
    state = view.state(start, earlier)
    entry = _write(dataset, month, slot, state)
    entry = evolve(entry, dependent=dependent)

    before = SlotSet(((0, slot - 1),)) if slot else NO_SLOTS
    key = dataset.key(month, entry.file)
    committed = False

    def mutate(head: Head) -> Manifest | None:
        nonlocal committed
        now = stamped(head)
        committed = False
        if entry.file in now.pending_files:
            return None
        unmarked = not now.dirty and now.marks == seen.marks
        committed = (
            all(keyframe.slot != slot for keyframe in now.keyframes)
            and now.adopted & before == seen.adopted & before
            and (unmarked or not dependent)
            and exists(dataset.store, key)
        )
        if not committed:
            return with_pending(now, Pending(None, (entry.file,)))
        keyframes = sorted((*now.keyframes, entry), key=lambda keyframe: keyframe.slot)
        return evolve(now, keyframes=tuple(keyframes))

    after = commit(dataset, month, mutate)
    if committed or any(keyframe.file == entry.file for keyframe in after.keyframes):
        return after, entry
    log.info(
        "%s %s: slots before %d changed while their keyframe was written",
        dataset.provider.name,
        month,
        slot,
    )
    return after, None


def _write(dataset: Dataset, month: Month, slot: int, state: pl.DataFrame) -> Keyframe:
    """Write the file of a keyframe; nobody knows it yet."""
    rows = state.with_columns(pl.lit(value=False).alias(CEASED))
    rows = rows.select(dataset.provider.canonical_columns)
    info = FileInfo.describe(rows, dataset.provider, "keyframe")
    data = encode(rows, info, dataset.provider, WHOLE)

    names = (Paths.keyframe_name(slot, secrets.token_hex(8)) for _ in range(_NAMES))
    name = create_under_free_name(
        names, lambda name: dataset.store.create(dataset.key(month, name), data)
    )
    return Keyframe(
        file=name,
        slot=slot,
        rows=rows.height,
        bytes=len(data),
        hash=info.hash,
        dependent=False,
        schema_version=info.schema_version,
    )


# --- what earlier months left ---------------------------------------------------------------------


def read_state_before(
    dataset: Dataset, month: Month, read: Callable[[Month], Manifest] | None = None
) -> pl.DataFrame | None:
    """The adopted state at the start of `month`, from as many earlier months as it takes; `read`
    gives their manifests.
    """
    months = {month.previous()}
    for entry in dataset.store.list(dataset.paths.warm_prefix + "/"):
        earlier = dataset.paths.parse_manifest_key(entry.key)
        if earlier is not None and earlier < month:
            months.add(earlier)

    views: list[MonthView] = []
    for earlier in sorted(months, reverse=True):
        manifest = read(earlier) if read else read_head(dataset, earlier).manifest
        view = MonthView.of(manifest, dataset)
        views.append(view)
        if view.stands_alone(earlier.end):
            break

    state: pl.DataFrame | None = None
    for view in reversed(views):
        state = view.state(view.month.end, state)
    return state


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
    for earlier in list_hot_since(dataset).months:
        if earlier < month:
            commit(dataset, earlier, _begun)


def _begun(head: Head) -> Manifest | None:
    if head.blob is not None:
        return None
    return evolve(stamped(head), built_on=True, fence=head.manifest.fence + 1)
