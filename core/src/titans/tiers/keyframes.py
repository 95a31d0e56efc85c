"""Keyframes: whole states at the start of a slot, so that reading a state never replays the past.

A keyframe is right by construction: it is committed only if the slots before it are still those it
was made from, and a slot that is adopted late takes the later ones away in its own commit
(`MonthView.adopt`).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable

import polars as pl
from attrs import evolve

from titans.errors import AlreadyExists, OutcomeUnknown
from titans.layout import Paths
from titans.provider import Provider
from titans.schema import CEASED
from titans.slots import Month, Slot, SlotSet
from titans.store import ObjectStore
from titans.tiers.commit import Head, commit, pause, read_head
from titans.tiers.deletion import exists, listed, stamped
from titans.tiers.files import WHOLE, encode
from titans.tiers.hot import list_all_hot
from titans.tiers.info import FileInfo
from titans.tiers.late import clear
from titans.tiers.manifest import Keyframe, Manifest, Pending
from titans.tiers.view import MonthView

__all__ = ["SPACING", "build_keyframe", "missing_keyframes", "next_keyframe", "state_left_before"]

log = logging.getLogger("titans.keyframes")

SPACING = 192
"""Slots between two keyframes (docs/format.md has the measurements)."""

_NAMES = 8


def missing_keyframes(manifest: Manifest) -> list[int]:
    """Slots at which a sealed month has keyframes and this one has none, ascending.

    Every `SPACING` slots, if there is anything in the slots since the one before. Before the first
    full snapshot there are none; a month without any has one at its start, with what earlier months
    left, so that it stands alone.
    """
    there = {k.slot for k in manifest.keyframes if not (k.dependent and manifest.dirty)}
    return [slot for slot in _wanted(manifest) if slot not in there]


def next_keyframe(manifest: Manifest, adopted: Iterable[int]) -> int | None:
    """The keyframe that ordinary compaction writes now: the newest one, unless slots before it came
    just now (`adopted`).

    The one at the start of a month is left to the sealing of the month before.
    """
    newest = max(_wanted(manifest), default=0)
    if (
        newest == 0
        or newest not in missing_keyframes(manifest)
        or any(slot < newest for slot in adopted)
    ):
        return None
    return newest


def _wanted(manifest: Manifest) -> list[int]:
    last, first = manifest.adopted.last, min(manifest.full, default=None)
    if last is None:
        return []
    ends = {
        number * SPACING
        for low, high in manifest.adopted.intervals
        for number in range(low // SPACING + 1, high // SPACING + 2)
    }
    return sorted(
        ({0} if first is None else set())
        | {s for s in ends if s <= last and (first is None or s > first)}
    )


def build_keyframe(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    slot: int,
    wait: Callable[[int], None] = pause,
) -> tuple[Manifest, Keyframe | None]:
    """Write the state at the start of `slot` and commit it; the manifest after that.

    The keyframe is `None` where the month has changed meanwhile, or has it by now; what was written
    is listed for removal.
    """
    start = Slot(month, slot, paths.minutes).start
    seen = read_head(store, paths, provider, month).manifest
    before = SlotSet(((0, slot - 1),)) if slot else SlotSet()
    view = MonthView.of(seen, store, paths, provider)
    dependent = view.last_full(start) is None
    if dependent and seen.dirty:
        seen = clear(store, paths, provider, seen, wait)
        view = MonthView.of(seen, store, paths, provider)
    earlier = None
    if not view.stands_alone(start):
        _fence_unbegun(store, paths, provider, month, wait)
        earlier = state_left_before(
            store,
            paths,
            provider,
            month,
            lambda link: commit(store, paths, provider, link, _built_on, wait=wait),
        )
    state = view.state(start, earlier)
    name, entry = _write(store, paths, provider, month, slot, state, dependent=dependent)
    key = paths.file_key(month, name)
    done = False

    def mutate(head: Head) -> Manifest | None:
        nonlocal done
        now = stamped(head)
        done = False
        if name in now.pending_files:
            return None
        done = (
            all(k.slot != slot for k in now.keyframes)
            and now.adopted & before == seen.adopted & before
            and not (dependent and (now.dirty or now.marks != seen.marks))
            and exists(store, key)
        )
        if not done:
            return listed(now, Pending(None, (name,)))
        return evolve(now, keyframes=tuple(sorted((*now.keyframes, entry), key=lambda k: k.slot)))

    after = commit(store, paths, provider, month, mutate, wait=wait)
    committed = done or any(k.file == name for k in after.keyframes)
    if not committed:
        log.info(
            "%s %s: slots before %d changed while their keyframe was written",
            provider.name,
            month,
            slot,
        )
    return after, entry if committed else None


def _write(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    slot: int,
    state: pl.DataFrame,
    *,
    dependent: bool,
) -> tuple[str, Keyframe]:
    """Under a name nobody else can have."""
    rows = state.with_columns(pl.lit(value=False).alias(CEASED)).select(provider.canonical_columns)
    info = FileInfo.describe(rows, provider, "keyframe", ())
    data = encode(rows, info, provider, WHOLE)
    for _ in range(_NAMES):
        name = Paths.keyframe_name(slot, secrets.token_hex(8))
        try:
            store.create(paths.file_key(month, name), data)
        except (AlreadyExists, OutcomeUnknown):
            continue  # perhaps our own, its answer lost: left to vacuum
        return name, Keyframe(
            name, slot, rows.height, len(data), info.hash, dependent, info.schema_version
        )
    raise OutcomeUnknown(
        f"{_NAMES} attempts to write a keyframe of {month} had no clear outcome; compact again"
    )


def state_left_before(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    read: Callable[[Month], Manifest] | None = None,
) -> pl.DataFrame | None:
    """The adopted state at the start of `month`, from as many earlier months as it takes; `read`
    gives their manifests.
    """
    found = {
        m
        for e in store.list(paths.warm_prefix + "/")
        if (m := paths.parse_manifest_key(e.key)) is not None and m < month
    }
    chain: list[MonthView] = []
    for link in sorted(found | {month.previous()}, reverse=True):
        manifest = read(link) if read else read_head(store, paths, provider, link).manifest
        view = MonthView.of(manifest, store, paths, provider)
        chain.append(view)
        if view.stands_alone(link.end):
            break
    state: pl.DataFrame | None = None
    for view in reversed(chain):
        state = view.state(view.month.end, state)
    return state


def _built_on(head: Head) -> Manifest | None:
    """Whoever adopts later in this month will know that another one builds on it."""
    return (
        None
        if head.blob is None or head.manifest.built_on
        else evolve(stamped(head), built_on=True)
    )


def _fence_unbegun(
    store: ObjectStore, paths: Paths, provider: Provider, month: Month, wait: Callable[[int], None]
) -> None:
    """Give earlier months that only have hot files a manifest, with a fence.

    Who is about to adopt there may have set its marks before `month` had a manifest, so none on it:
    it has to begin again.
    """
    for earlier in list_all_hot(store, paths)[0]:
        if earlier < month:
            commit(store, paths, provider, earlier, _begun, wait=wait)


def _begun(head: Head) -> Manifest | None:
    return (
        None
        if head.blob is not None
        else evolve(stamped(head), built_on=True, fence=head.manifest.fence + 1)
    )
