"""Merging: `FANOUT` files of one level become one file of the next."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import prod

from attrs import evolve, frozen

from titans.layout import FANOUT, Paths
from titans.provider import Provider
from titans.store import ObjectStore
from titans.tiers.budget import MEMORY
from titans.tiers.commit import Head, commit, pause
from titans.tiers.deletion import exists, listed, retire, stamped
from titans.tiers.files import FINAL, PASSING
from titans.tiers.manifest import FileEntry, Manifest, Pending
from titans.tiers.output import Output

__all__ = ["FANOUTS", "TOP", "Merge", "final_merge", "merge", "next_merge"]

log = logging.getLogger("titans.merge")

FANOUTS = (FANOUT, FANOUT, 3)
"""How many files of level 0, 1, … become one of the next: 8, 64 and 192 slots (docs/format.md has
the measurements)."""

TOP = len(FANOUTS)
"""The highest level; its files are final."""


@frozen
class Merge:
    """Inputs of one level, and the level of their output."""

    level: int
    inputs: tuple[FileEntry, ...]


def next_merge(manifest: Manifest) -> Merge | None:
    """The merge that is due, lowest level first; always the files adopted first, so that order is
    kept across levels.
    """
    for level in manifest.levels:
        files = manifest.level(level)
        if level >= TOP or len(files) < FANOUTS[level]:
            continue
        count = FANOUTS[level]
        while count < len(files) and files[count].is_correction:
            count += (
                1  # the corrections that an adoption needed stay with the file that was adopted
            )
        return Merge(level + 1, files[:count])
    return None


def final_merge(manifest: Manifest) -> Merge | None:
    """The merge that brings what is left of all levels to its final form; `None` where there is
    nothing left.

    A final file that is smaller than it could be, of an earlier sealing, is taken in too.
    """
    rest = [f for f in manifest.files if f.level < TOP]
    if not rest:
        return None
    most = prod(FANOUTS)
    small = [f for f in manifest.level(TOP) if len(f.slots) < most]
    count = sum(len(f.slots) for f in rest)
    for entry in reversed(small):
        if count + len(entry.slots) <= most:
            rest.append(entry)
            count += len(entry.slots)
    # In order of adoption: higher levels first, within a level as the manifest has them.
    return Merge(TOP, tuple(f for f in sorted(manifest.files, key=lambda f: -f.level) if f in rest))


def merge(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    plan: Merge,
    wait: Callable[[int], None] = pause,
    memory: int = MEMORY,
) -> tuple[Manifest, FileEntry | None]:
    """Write the merged file with its rows in `memory` bytes, then swap it for its inputs in one
    commit; the manifest after that, and the new entry.

    The entry is `None` where another process has merged (some of) the inputs meanwhile: the output
    is then listed for removal, as everything is that nobody needs.

    Raises:
        CorruptFileError: an input does not hold what the manifest says; nothing changed.
    """
    entry = _write(store, paths, provider, manifest, plan, memory)
    output = paths.file_key(manifest.month, entry.file)
    names, number = {f.file for f in plan.inputs}, int(entry.file.split("_")[1])
    committed = False

    def mutate(head: Head) -> Manifest | None:
        nonlocal committed
        now = stamped(head)
        live = {f.file for f in now.files}
        # The output may have been taken for an orphan while this process slept: listed for removal,
        # or removed already. It is looked for after the manifest was read, and vacuum removes
        # before it unlists, so one of the two tells. Below the least id, a file of this name may
        # have been removed before, and that removal may be repeated late.
        ours = entry.file not in live | now.pending_files and number >= now.least_file_id
        committed = ours and names <= live and exists(store, output)
        if not committed:
            return listed(now, Pending(None, (entry.file,))) if ours else None
        retired = retire(now, (f for f in now.files if f.file in names))
        return evolve(
            retired, files=(*retired.files, entry), next_file_id=max(now.next_file_id, number + 1)
        )

    after = commit(store, paths, provider, manifest.month, mutate, wait=wait)
    if any(f.file == entry.file for f in after.files):
        return after, entry
    if not committed:
        log.info("%s: another process merged the inputs of %s first", provider.name, entry.file)
        return after, None
    return after, entry  # committed, and already merged on by somebody else


def _write(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    plan: Merge,
    memory: int,
) -> FileEntry:
    output = Output(store, paths, provider, manifest, plan.inputs)
    return output.write(
        plan.level, manifest.next_file_id, FINAL if plan.level == TOP else PASSING, memory
    )
