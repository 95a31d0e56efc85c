"""What adopting a file does to the slots around it: a pure function of what is adopted already.

A snapshot was stored as what changed since its base. Where another slot has been adopted in
between, *restoring* rows at the snapshot's own time bring the state there back to what was seen.
Where a later snapshot has been adopted already, *correcting* rows at its time keep the
state there what was seen then. So the state at an adopted snapshot never changes.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from titans.changes.state import delta, last_rows, overlay
from titans.provider import Provider

__all__ = ["corrected", "restored"]


def restored(
    before: pl.DataFrame, base: pl.DataFrame, rows: pl.DataFrame, at: datetime, provider: Provider
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """For a `diff`: the state its snapshot meant, and the restoring rows that make it so.

    Args:
        before: the state just before its slot.
        base: the state at the snapshot it was taken against.
        rows: its change points.
        at: when it was collected.
    """
    seen = overlay(base, rows, provider)
    without = overlay(before, rows, provider)
    return seen, delta(without, seen, at, provider).rows


def corrected(
    after: pl.DataFrame, between: pl.DataFrame, seen: pl.DataFrame, at: datetime, provider: Provider
) -> pl.DataFrame:
    """The correcting rows that keep the state of the next adopted snapshot what it was.

    Args:
        after: the state after the slot that is being adopted.
        between: change points adopted after that slot, up to and including the snapshot's.
        seen: the state at the snapshot so far.
        at: when the snapshot was collected.
    """
    without = overlay(after, last_rows(between, provider), provider)
    return delta(without, seen, at, provider).rows
