"""What became of a backfill."""

from __future__ import annotations

from collections import Counter

from attrs import field, frozen

from titans.results import Outcome

__all__ = ["Backfill", "MonthReport"]

_ORDER = ("ingested", "unchanged", "already", "skipped", "refused")


@frozen
class MonthReport:
    """What became of the snapshots of a month."""

    month: str
    """Like `"2026-01"`; empty for files whose month nobody knows."""
    outcomes: tuple[Outcome, ...] = field(repr=False)
    """Of each snapshot, in the order of their times."""
    seconds: float = 0.0
    """In the worker that ingested them, its last attempt."""
    worker: str = ""
    """Host and process."""

    @property
    def statuses(self) -> dict[str, int]:
        """How many snapshots got which status."""
        found = Counter[str](outcome.status for outcome in self.outcomes)
        return {status: found[status] for status in _ORDER if found[status]}

    @property
    def rows(self) -> int:
        """Of all snapshots."""
        return sum(outcome.rows for outcome in self.outcomes)

    @property
    def change_points(self) -> int:
        """That were stored."""
        return sum(each.result.change_points for each in self.outcomes if each.result is not None)

    def __str__(self) -> str:
        said = ", ".join(f"{count} {status}" for status, count in self.statuses.items())
        return f"{self.month or 'no month'}: {said or 'nothing'}"


@frozen
class Backfill:
    """What became of every month."""

    months: tuple[MonthReport, ...]
    """In order."""
    in_order: tuple[str, ...] = ()
    """Months that had to be ingested one after the other: the archive holds something in them that
    lies between snapshots that it does not have."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Of every snapshot, month by month."""
        found: list[Outcome] = []
        for month in self.months:
            found += month.outcomes
        return tuple(found)

    @property
    def refused(self) -> tuple[Outcome, ...]:
        return tuple(each for each in self.outcomes if each.status == "refused")
