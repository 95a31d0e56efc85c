"""Checking and sealing an archive, every month a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import frozen

from titans.archive import Archive
from titans.backfilling.engines import engine_of
from titans.backfilling.tasks import SealTask, seal
from titans.slots import Month
from titans.tiers.maintain.inventory import list_inventory
from titans.tiers.maintain.verify import Verification, together, verify
from titans.tiers.manifest.commit import list_months

if TYPE_CHECKING:
    from titans.results import Compaction

__all__ = ["seal_all", "verify_all"]


@frozen(eq=False)
class _MonthTask:
    archive: Archive
    month: Month
    deep: bool


def _verify_month(task: _MonthTask) -> Verification:
    return verify(task.archive._dataset, deep=task.deep, only=[task.month])


def verify_all(
    archive: Archive,
    *,
    deep: bool = False,
    record: bool = False,
    progress: Callable[[int, int], None] | None = None,
    engine: str = "local",
    scheduler: str | None = None,
    workers: int | None = None,
) -> Verification:
    """As `Archive.verify`, every month a task.

    Raises:
        ArchiveNotFoundError: there is nothing to check.
        RetryableError: the engine is lost.
    """
    archive._check_exists()
    months = list_inventory(archive._dataset).months
    tasks = [_MonthTask(archive, month, deep) for month in months]
    with engine_of(engine, scheduler, workers) as running:
        done = dict[int, Verification]()
        for position, found in running.map(_verify_month, tasks):
            done[position] = found
            if progress is not None:
                progress(len(done), len(tasks))
    report = together(done[position] for position in sorted(done))
    if record:
        archive._keep_verified(report, deep)
    return report


def seal_all(
    archive: Archive,
    *,
    engine: str = "local",
    scheduler: str | None = None,
    workers: int | None = None,
) -> Iterator[tuple[str, Compaction, int]]:
    """Seal every month that is over: each as it is done, what was done, and how many there are.

    Raises:
        ArchiveNotFoundError: there is no archive.
        RetryableError: the engine is lost.
    """
    archive._check_exists()
    now = datetime.now(UTC)
    archive.compact()
    months = [month for month in list_months(archive._dataset) if month.end <= now]
    tasks = [SealTask(archive, str(month)) for month in months]
    with engine_of(engine, scheduler, workers) as running:
        for position, compaction in running.map(seal, tasks):
            yield str(months[position]), compaction, len(months)
