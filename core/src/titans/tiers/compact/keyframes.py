"""Keyframes: whole states at the start of a slot, so that reading a state never replays the past.

A keyframe is right by construction: it is committed only if the slots before it are still those it
was made from, and a slot that is adopted late takes the later ones away in its own commit
(`MonthView.adopt`).
"""

from __future__ import annotations

import logging
import secrets

import polars as pl
from attrs import evolve

from titans.dataset import Dataset
from titans.layout import Paths
from titans.schema import CEASED
from titans.slots import Month
from titans.tiers.compact.basis import Basis, read_basis
from titans.tiers.files.create import create_under_free_name
from titans.tiers.files.fetch import exists
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.parquet import WHOLE, encode
from titans.tiers.manifest.commit import Head, commit
from titans.tiers.manifest.deletion import stamped, with_keyframe, with_pending
from titans.tiers.manifest.entries import Keyframe, Pending
from titans.tiers.manifest.model import Manifest

__all__ = ["build_keyframe"]

log = logging.getLogger("titans.keyframes")

_NAMES = 8


def build_keyframe(dataset: Dataset, month: Month, slot: int) -> tuple[Manifest, Keyframe | None]:
    """Write the state at the start of `slot` and commit it; the manifest after that.

    The keyframe is `None` where the month has changed meanwhile, or has it by now; what was written
    is listed for removal.
    """
    basis = read_basis(dataset, month, slot, dataset.slot(month, slot).start)
    entry = _write(dataset, month, basis)
    key = dataset.key(month, entry.file)
    committed = False

    def mutate(head: Head) -> Manifest | None:
        nonlocal committed
        now = stamped(head)
        committed = False
        if entry.file in now.pending_files:
            return None
        taken = any(k.slot == slot and not k.is_full for k in now.keyframes)
        committed = not taken and basis.holds(now) and exists(dataset.store, key)
        if committed:
            return with_keyframe(now, entry)
        return with_pending(now, Pending(None, (entry.file,)))

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


def _write(dataset: Dataset, month: Month, basis: Basis) -> Keyframe:
    """Write the file of a keyframe; nobody knows it yet."""
    rows = basis.state.with_columns(pl.lit(value=False).alias(CEASED))
    rows = rows.select(dataset.provider.canonical_columns)
    info = FileInfo.describe(rows, dataset.provider, "keyframe")
    data = encode(rows, info, dataset.provider, WHOLE)

    names = (Paths.keyframe_name(basis.slot, secrets.token_hex(8)) for _ in range(_NAMES))
    name = create_under_free_name(
        names, lambda name: dataset.store.create(dataset.key(month, name), data)
    )
    written = evolve(info, size=len(data))
    return Keyframe.of(name, basis.slot, written, dependent=basis.dependent)
