"""Borders: what a full snapshot changes against the state before it.

A full snapshot's rows stand in a file of their own, apart from the change points: it is a keyframe
that depends on nothing. Its border is derived: right as long as what comes before is as it was. It
is committed like a keyframe, dropped by a late adoption like one, and made again.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from attrs import evolve

from titans.changes.state import as_rows, delta
from titans.dataset import Dataset
from titans.layout import Paths
from titans.slots import Month
from titans.tiers.compact.basis import Basis, commit_built, read_basis
from titans.tiers.files.create import create_for_slot
from titans.tiers.files.fetch import read_info
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.parquet import FINAL, WHOLE, Encoding, encode
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.deletion import with_keyframe, without_files
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.model import Manifest

__all__ = ["build_border"]

_LEVEL = 3
"""Where the manifest lists borders: among the files that have their final form."""


def build_border(dataset: Dataset, month: Month, slot: int) -> tuple[Manifest, FileEntry | None]:
    """Write what the full snapshot of `slot` changed, and commit it; the manifest after that.

    A snapshot that is still a hot file gets its final form in the same commit.

    The border is `None` where the month has changed meanwhile, or has it by now; what was written
    is listed for removal.
    """
    seen = read_head(dataset, month).manifest
    if slot not in seen.full:
        return seen, None
    basis = read_basis(dataset, month, slot, seen.full[slot])
    full = basis.view.full.get(slot)
    if full is None:
        return basis.manifest, None

    living = basis.view.read_full(full)
    border = _write_border(dataset, month, basis, living)
    written = [border.file]
    keyframe: Keyframe | None = None
    if _hot_entry(basis.manifest, slot) is not None:
        keyframe = _write_full(dataset, month, basis, living)
        written.append(keyframe.file)

    def add(now: Manifest) -> Manifest | None:
        hot = _hot_entry(now, slot)
        taken = any(entry.is_border and entry.first == slot for entry in now.files)
        moved = (hot is None) != (keyframe is None)  # by somebody else meanwhile
        if slot not in now.full or taken or moved:
            return None
        if hot is not None and keyframe is not None:
            now = with_keyframe(without_files(now, [hot]), keyframe)
        built_from = basis.built_from if basis.dependent else now.built_from
        return evolve(now, files=(*now.files, border), built_from=built_from)

    after, committed = commit_built(dataset, basis, written, add)
    return after, border if committed else None


def _hot_entry(manifest: Manifest, slot: int) -> FileEntry | None:
    """The hot file of a full snapshot, as long as it is one."""
    for entry in manifest.files:
        if entry.first == slot and manifest.is_full(entry):
            return entry
    return None


def _write_border(dataset: Dataset, month: Month, basis: Basis, living: pl.DataFrame) -> FileEntry:
    time = basis.manifest.full[basis.slot]
    rows = delta(basis.state, living, time, dataset.provider).rows
    info = FileInfo.describe(rows, dataset.provider, "border")
    name, size = _write(dataset, month, (rows, info, FINAL), Paths.border_name, basis.slot)
    return FileEntry.of(name, _LEVEL, basis.slot, basis.slot, evolve(info, size=size))


def _write_full(dataset: Dataset, month: Month, basis: Basis, living: pl.DataFrame) -> Keyframe:
    slot = dataset.slot(month, basis.slot)
    hot = read_info(dataset, dataset.paths.hot_key(slot), slot)
    rows = as_rows(living).select(dataset.provider.canonical_columns)
    info = FileInfo.describe(rows, dataset.provider, "full", (hot.record,))
    if hot.schema_version != info.schema_version:
        info = evolve(info, cast_from=(hot.schema_version,))
    name, size = _write(dataset, month, (rows, info, WHOLE), Paths.full_name, basis.slot)
    return Keyframe.of(name, basis.slot, evolve(info, size=size))


def _write(
    dataset: Dataset,
    month: Month,
    content: tuple[pl.DataFrame, FileInfo, Encoding],
    name_of: Callable[[int, str], str],
    slot: int,
) -> tuple[str, int]:
    """Write a file; its name and size."""
    rows, info, encoding = content
    data = encode(rows, info, dataset.provider, encoding)
    return create_for_slot(dataset, month, slot, name_of, data), len(data)
