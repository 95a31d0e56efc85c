"""Merging: several files of one level become one file of the next, in one commit."""

from __future__ import annotations

import logging

from attrs import evolve

from titans.dataset import Dataset
from titans.tiers.compact.budget import MEMORY
from titans.tiers.compact.output import Output
from titans.tiers.compact.plan import Merge
from titans.tiers.files.fetch import exists
from titans.tiers.files.parquet import FINAL, PASSING
from titans.tiers.manifest.commit import Head, commit
from titans.tiers.manifest.deletion import stamped, with_pending, without_files
from titans.tiers.manifest.entries import FileEntry, Pending
from titans.tiers.manifest.model import Manifest

__all__ = ["merge"]

log = logging.getLogger("titans.merge")


def merge(
    dataset: Dataset, manifest: Manifest, plan: Merge, memory: int = MEMORY
) -> tuple[Manifest, FileEntry | None]:
    """Write the merged file with its rows in `memory` bytes, then swap it for its inputs in one
    commit; the manifest after that, and the new entry.

    The entry is `None` where another process has merged (some of) the inputs meanwhile: the output
    is then listed for removal, as everything is that nobody needs.

    Raises:
        CorruptFileError: an input does not hold what the manifest says; nothing changed.
    """
    entry = _write(dataset, manifest, plan, memory)
    output = dataset.key(manifest.month, entry.file)
    names = {f.file for f in plan.inputs}
    number = entry.number
    committed = False

    def mutate(head: Head) -> Manifest | None:
        nonlocal committed
        now = stamped(head)
        live = now.file_names
        # The output may have been taken for an orphan while this process slept: listed for removal,
        # or removed already. It is looked for after the manifest was read, and vacuum removes
        # before it unlists, so one of the two tells. Below the least id, a file of this name may
        # have been removed before, and that removal may be repeated late.
        ours = entry.file not in live | now.pending_files and number >= now.least_file_id
        committed = ours and names <= live and exists(dataset.store, output)
        if committed:
            rest = without_files(now, (f for f in now.files if f.file in names))
            next_id = max(now.next_file_id, number + 1)
            return evolve(rest, files=(*rest.files, entry), next_file_id=next_id)
        if ours:
            return with_pending(now, Pending(None, (entry.file,)))
        return None

    after = commit(dataset, manifest.month, mutate)
    # It may be committed, and already merged on by somebody else.
    if committed or entry.file in after.file_names:
        return after, entry
    log.info("%s: another process merged the inputs of %s first", dataset.provider.name, entry.file)
    return after, None


def _write(dataset: Dataset, manifest: Manifest, plan: Merge, memory: int) -> FileEntry:
    encoding = FINAL if plan.is_final else PASSING
    return Output(dataset, manifest, plan.inputs).write(plan.level, encoding, memory)
