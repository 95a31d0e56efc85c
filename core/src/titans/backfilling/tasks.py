"""Ingesting a month, in a worker."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from attrs import field, frozen

from titans.archive import Archive
from titans.backfilling.effects import unpacked
from titans.backfilling.report import MonthReport
from titans.backfilling.source import MonthInput
from titans.errors import InputError, RetryableError
from titans.loading.batch import ingest_snapshot
from titans.results import Compaction, Outcome

__all__ = ["FillTask", "SealTask", "fill", "seal"]

_ATTEMPTS = 3
_PAUSE = 2.0

T = TypeVar("T")


@frozen(eq=False)
class FillTask:
    """A month to be ingested."""

    archive: Archive
    input: MonthInput
    max_ceased: float | None
    before: bytes | None = field(default=None, repr=False)
    """The state that its first snapshot is compared with; `None`: what the archive says."""
    refused: Mapping[int, str] = field(factory=dict)
    """Positions of snapshots that are refused, and why."""


def fill(task: FillTask) -> MonthReport:
    """Ingest a month. What is in the archive already is recognised, so this may be done again, and
    by several at once.

    Raises:
        StoreError, FormatError: the store does not answer, or what it has cannot be read. What was
            ingested stays.
    """
    return _again(lambda: _fill(task))


@frozen(eq=False)
class SealTask:
    """A month to be sealed."""

    archive: Archive
    month: str


def seal(task: SealTask) -> Compaction:
    """Bring a month to its final form."""
    return _again(lambda: task.archive.seal(task.month))


def _again(call: Callable[[], T]) -> T:
    """A call that may be made again where others were faster."""
    for attempt in range(_ATTEMPTS - 1):
        try:
            return call()
        except RetryableError:
            time.sleep(_PAUSE * (attempt + 1))
    return call()


def _fill(task: FillTask) -> MonthReport:
    started = time.monotonic()
    outcomes = tuple(_outcomes(task))
    worker = f"{socket.gethostname()}:{os.getpid()}"
    seconds = time.monotonic() - started
    return MonthReport(str(task.input.month), outcomes, seconds, worker)


def _outcomes(task: FillTask) -> Iterator[Outcome]:
    archive, max_ceased = task.archive, task.max_ceased
    if task.before is not None:
        # Which snapshots are refused has been found out, with what was known of the months before.
        archive, max_ceased = archive._following(unpacked(task.before)), 1.0
    snapshots = task.input.snapshots(archive.provider)
    for position, (name, moment, frame) in enumerate(snapshots):
        if isinstance(frame, InputError):
            yield Outcome(name, moment, "refused", reason=str(frame))
        elif position in task.refused:
            reason = task.refused[position]
            yield Outcome(name, moment, "refused", frame.height, reason=reason)
        elif moment is not None:
            yield ingest_snapshot(archive, (name, moment, frame), max_ceased)
