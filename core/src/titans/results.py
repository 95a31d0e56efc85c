"""What the operations of an archive return."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

from titans.html import facts
from titans.slots import Month

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Amendment",
    "Compaction",
    "Conversion",
    "Freshness",
    "IngestResult",
    "IngestStatus",
    "Ingestion",
    "MonthStatus",
    "Outcome",
]

IngestStatus = Literal["ingested", "unchanged", "already", "skipped"]
"""What became of a snapshot.

`unchanged`: it is stored, nothing had changed. `already`: this snapshot is in. `skipped`: the slot
holds another observation, which stays.
"""


@frozen(eq=False)
class Amendment:
    """What became of a correction."""

    status: Literal["done", "already"]
    """`already`: the archive says so since earlier; nothing was written."""
    operation: str
    """`amend`, `retract`, `erase` or `retain`."""
    slot: datetime | None = None
    """The start of the slot whose content is another one; `None`: of many."""
    months: tuple[str, ...] = ()
    """In which something was rewritten, like `"2026-01"`."""
    removed: int = 0
    """Change points that left the archive."""
    added: int = 0
    """Change points that came."""
    difference: pl.DataFrame | None = field(default=None, repr=False)
    """Of a slot: the state at its end, before and after, as `Archive.diff` says it."""


@frozen
class IngestResult:
    """What became of a snapshot."""

    status: IngestStatus
    """`ingested`, `unchanged` (stored, nothing had changed), `already` (this snapshot is in) or
    `skipped` (the slot holds another observation, which stays).
    """
    key: str
    """Of the slot's hot file."""
    timestamp: datetime
    """When the snapshot was collected, in UTC."""
    rows: int
    """Keys in the snapshot."""
    added: int = 0
    """Keys that were not there (or came back)."""
    changed: int = 0
    """Keys with other values."""
    filled: int = 0
    """Keys of which nothing else is new than values where none had been observed before: in a
    column that a newer version of the schema added, for example.
    """
    ceased: int = 0
    """Keys that vanished."""
    duplicates: int = 0
    """Rows of the snapshot that repeated a key with other values, and were dropped."""
    corrections: int = 0
    """Rows written to keep the states of neighbouring snapshots what they were (late or concurrent
    slots only).
    """
    hash: str = ""
    """Content hash of the snapshot."""
    difference: str = ""
    """Of a skipped one: how what the slot holds differs from it; counts, and the first keys."""

    @property
    def change_points(self) -> int:
        return self.added + self.changed + self.filled + self.ceased

    def _repr_html_(self) -> str:
        counts = ("rows", "added", "changed", "filled", "ceased", "duplicates", "corrections")
        pairs = [(name, f"{getattr(self, name):,}") for name in counts]
        if self.difference:
            pairs.append(("difference", self.difference))
        return facts(f"{self.status}, {self.timestamp:%Y-%m-%d %H:%M}Z", pairs)


@frozen
class Outcome:
    """What became of a snapshot in a file."""

    name: str
    """Of the file."""
    timestamp: datetime | None
    """When it was collected, in UTC; `None` where the file could not be read."""
    status: IngestStatus | Literal["refused"]
    """As of `IngestResult`, or `refused`: nothing of it was stored."""
    rows: int = 0
    """In the file."""
    result: IngestResult | None = None
    """`None` where it was refused."""
    reason: str = ""
    """Why it was refused."""


@frozen
class Freshness:
    """How old the newest observation is."""

    last: datetime | None
    """Start of the last slot for which somebody looked; `None`: nobody ever did."""
    every: timedelta
    """How often the source is to be looked at."""
    now: datetime
    is_late: bool
    """A whole interval has passed since in which nobody looked."""

    @property
    def age(self) -> timedelta | None:
        """Since the start of that slot."""
        return None if self.last is None else self.now - self.last


@frozen
class Ingestion:
    """What became of the snapshots in files."""

    outcomes: tuple[Outcome, ...]
    """One for each snapshot."""

    @property
    def refused(self) -> tuple[Outcome, ...]:
        """The snapshots and files that were refused."""
        return tuple(each for each in self.outcomes if each.status == "refused")

    def count(self, status: IngestStatus | Literal["refused"]) -> int:
        """How many snapshots have this status."""
        return sum(each.status == status for each in self.outcomes)


@frozen
class Compaction:
    """What a compaction did."""

    adopted: int = 0
    """Hot files."""
    merged: int = 0
    """Merges, each of several files into one."""
    removed: int = 0
    """Objects removed from the store."""
    keyframes: int = 0
    """Keyframes written."""
    borders: int = 0
    """Borders written: what a full snapshot changed against the state before it."""
    seconds: float = 0.0
    unfinished: bool = False
    """Merges that are due were left to the next run, because `budget_seconds` were over."""

    def __add__(self, other: Compaction) -> Compaction:
        return Compaction(
            self.adopted + other.adopted,
            self.merged + other.merged,
            self.removed + other.removed,
            self.keyframes + other.keyframes,
            self.borders + other.borders,
            self.seconds + other.seconds,
            self.unfinished or other.unfinished,
        )


@frozen
class Conversion:
    """What a conversion did."""

    key: tuple[str, ...]
    """The primary key of the source."""
    months: int = 0
    slots: int = 0
    """Slots with change points, each of which was compared."""
    rows: int = 0
    """Change points read from the source."""
    change_points: int = 0
    """Change points in the archive made of them."""
    folded: int = 0
    """Keys of the source that share their key in the new archive with others, or change it."""
    states: int = 0
    """Whole states that were compared."""
    already: bool = False
    """It was finished before; nothing was read or written."""


@frozen
class MonthStatus:
    """What a month consists of."""

    month: Month
    levels: dict[int, int]
    """Level → number of files; level 0 holds adopted hot files and corrections."""
    rows: int
    bytes: int
    adopted: int
    """Slots that have been adopted."""
    observed: int
    """Of these, slots of full snapshots."""
    waiting: int
    """Hot files nobody has adopted yet; they count in every read."""
    pending: int
    """Files that wait for their removal."""
    version: int
    """Commits so far."""
    sealed: bool
    """The month is over and has its final form."""
    keyframes: int
    """Whole states that are stored."""
    left_out: tuple[str, ...]
    """Of objects under names of hot files that are not what their names say, or whose rows cannot
    be had: what is wrong with each, its key first. The other waiting ones count."""
    gaps: int
    """Intervals between the first and the last observed one in which nobody looked: slots, or what
    the provider's `Expectations` say."""
