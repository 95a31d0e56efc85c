"""Keeping only what is recent: the months before one are removed.

First that month stands alone: a keyframe at its start holds what the earlier ones left. Then these
are given up, one commit for each. Their manifests stay, and say so.
"""

from __future__ import annotations

from attrs import evolve

from titans.changes.digest import digest
from titans.changes.state import as_rows
from titans.dataset import Dataset
from titans.slots import NO_SLOTS, Month
from titans.tiers.compact.basis import read_basis
from titans.tiers.files.claims import NO_CLAIMS
from titans.tiers.manifest.commit import Head, commit
from titans.tiers.manifest.deletion import stamped, without_files, without_keyframes
from titans.tiers.manifest.model import Manifest
from titans.tiers.rewrite.carry import Plan, Request, State, rewrite_of

__all__ = ["begin", "give_up", "plan_beginning"]


def plan_beginning(dataset: Dataset, head: Head, request: Request) -> Plan | None:
    """How a month comes to need no earlier one; `None` where it is so already."""
    manifest = head.manifest
    if manifest.begins:
        return None
    month = manifest.month
    basis = read_basis(dataset, month, 0, month.start)
    rows = as_rows(basis.state).select(dataset.provider.canonical_columns)
    rewrite = rewrite_of(dataset, head, request, None, NO_SLOTS)
    return Plan(
        manifest,
        evolve(rewrite, after=digest(rows)),
        states=(State(0, rows),),
        retired=tuple(k for k in manifest.keyframes if k.slot == 0 and not k.is_full),
        observed=manifest.observed,
        full=manifest.full,
        claims=manifest.claims,
        begins=True,
    )


def begin(dataset: Dataset, month: Month) -> None:
    """Give a month a manifest, where nothing was adopted in it so far.

    Later months may have been built on its being empty: who adopts there has to tell them.
    """

    def begun(head: Head) -> Manifest | None:
        return evolve(head.manifest, built_on=True) if head.blob is None else None

    commit(dataset, month, begun)


def give_up(dataset: Dataset, month: Month) -> int:
    """Remove all that a month holds, after the grace period; how many change points that is."""
    rows = 0

    def mutate(head: Head) -> Manifest | None:
        nonlocal rows
        now = head.manifest
        if now.removed:
            return None
        rows = sum(entry.rows for entry in now.files)
        left = without_files(stamped(head), now.files)
        left = without_keyframes(left, now.keyframes)
        return evolve(
            left,
            adopted=NO_SLOTS,
            observed=NO_SLOTS,
            claims=NO_CLAIMS,
            full={},
            built_from={},
            dirty=(),
            rewrites=(),
            sealed=True,
            removed=True,
            data_version=now.data_version + 1,
            fence=now.fence + 1,
        )

    commit(dataset, month, mutate)
    return rows
