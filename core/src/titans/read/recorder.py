"""What a question tells while it is asked: see `titans.dataset.Trace`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import define, field, frozen

from titans.slots import TICK, Month
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.parts import FilePart, Needed
from titans.tiers.files.selections import StoredFile
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.view import MonthView, Part
from titans.tiers.write.adopt import LeftOut

__all__ = ["Opened", "Picked", "Recorder", "StateMade", "WaitingFound"]

Span = tuple[datetime | None, datetime | None]


@frozen(eq=False)
class WaitingFound:
    """Hot files that nobody has adopted yet, in the view of a month."""

    view: MonthView
    applied: tuple[FileInfo, ...]
    left_out: tuple[LeftOut, ...]


@frozen(eq=False)
class StateMade:
    """A state that was made of a month."""

    view: MonthView
    end: datetime
    """It is after all change points before this."""
    has_earlier: bool
    """What earlier months left was there to begin with."""
    applied: datetime | None
    """The slot that was put into the view meanwhile, to see which rows it needs corrected."""

    @property
    def since(self) -> datetime | None:
        """No earlier change point of the month is read for it; `None`: all of them are."""
        keyframe, full = self.view.keyframe(self.end), self.view.last_full(self.end)
        if keyframe is not None:
            return self.view.slot(keyframe.slot).start
        return None if full is None else full.time + TICK


@frozen(eq=False)
class Picked:
    """The parts of a month that may have rows in a span of time."""

    view: MonthView
    parts: tuple[Part, ...]
    span: Span
    lead: str | None
    """The value of the first key column that they may have; `None`: any."""


@frozen(eq=False)
class Opened:
    """A file of which rows are read."""

    file: StoredFile
    needed: Needed | None
    """`None`: whoever reads it decides that."""
    part: FilePart | None
    """`None`: all of the file is fetched, or it lies on this machine."""
    is_kept: bool


@define(eq=False)
class Recorder:
    """Keeps what it is told, in lists that only grow: threads may tell it at once."""

    reads_rows: bool = True
    looks: list[None] = field(factory=list)
    months: list[tuple[Month, Manifest, bool]] = field(factory=list)
    """With whether there is a manifest."""
    waiting: list[WaitingFound] = field(factory=list)
    states: list[StateMade] = field(factory=list)
    picks: list[Picked] = field(factory=list)
    opened: list[Opened] = field(factory=list)
    _applied: datetime | None = field(default=None, init=False)

    def looked(self) -> None:
        self.looks.append(None)

    def read_month(self, month: Month, manifest: Manifest, is_there: bool) -> None:
        self.months.append((month, manifest, is_there))

    def applies(self, slot: datetime) -> None:
        self._applied = slot

    def found_waiting(
        self, view: MonthView, applied: Sequence[FileInfo], left_out: Sequence[LeftOut]
    ) -> None:
        self._applied = None
        self.waiting.append(WaitingFound(view, tuple(applied), tuple(left_out)))

    def began_state(self, view: MonthView, end: datetime, has_earlier: bool) -> None:
        self.states.append(StateMade(view, end, has_earlier, self._applied))

    def picked(self, view: MonthView, parts: Sequence[Part], span: Span, lead: str | None) -> None:
        self.picks.append(Picked(view, tuple(parts), span, lead))

    def opens(
        self,
        file: StoredFile,
        needed: Needed | None,
        part: FilePart | None = None,
        is_kept: bool = False,
    ) -> None:
        self.opened.append(Opened(file, needed, part, is_kept))
