"""Keyframes: whole states at the start of a slot, so that reading a state never replays the past.

A keyframe is right by construction: it is committed only if the slots before it are still those it
was made from, and a slot that is adopted late takes the later ones away in its own commit
(`MonthView.adopt`).
"""

from __future__ import annotations

from attrs import evolve

from titans.changes.state import as_rows
from titans.dataset import Dataset
from titans.layout import Paths
from titans.slots import Month
from titans.tiers.compact.basis import Basis, commit_built, read_basis
from titans.tiers.files.create import create_for_slot
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.parquet import WHOLE, encode
from titans.tiers.manifest.deletion import with_keyframe
from titans.tiers.manifest.entries import Keyframe
from titans.tiers.manifest.model import Manifest

__all__ = ["build_keyframe"]


def build_keyframe(dataset: Dataset, month: Month, slot: int) -> tuple[Manifest, Keyframe | None]:
    """Write the state at the start of `slot` and commit it; the manifest after that.

    The keyframe is `None` where the month has changed meanwhile, or has it by now; what was written
    is listed for removal.
    """
    basis = read_basis(dataset, month, slot, dataset.slot(month, slot).start)
    entry = _write(dataset, month, basis)

    def add(now: Manifest) -> Manifest | None:
        taken = any(k.slot == slot and not k.is_full for k in now.keyframes)
        return None if taken else with_keyframe(now, entry)

    after, committed = commit_built(dataset, basis, [entry.file], add)
    return after, entry if committed else None


def _write(dataset: Dataset, month: Month, basis: Basis) -> Keyframe:
    """Write the file of a keyframe; nobody knows it yet."""
    rows = as_rows(basis.state).select(dataset.provider.canonical_columns)
    info = FileInfo.describe(rows, dataset.provider, "keyframe")
    data = encode(rows, info, dataset.provider, WHOLE)
    name = create_for_slot(dataset, month, basis.slot, Paths.keyframe_name, data)
    written = evolve(info, size=len(data))
    return Keyframe.of(name, basis.slot, written, dependent=basis.dependent)
