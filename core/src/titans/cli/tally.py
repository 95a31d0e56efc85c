"""What became of many snapshots, in a few lines."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import click
from attrs import define, field

from titans.cli.output import printable
from titans.slots import iso

if TYPE_CHECKING:
    from titans.results import Outcome

__all__ = ["Tally"]


@define
class Tally:
    """What became of the snapshots."""

    named: bool = False
    """Whether notes say which file it was."""
    statuses: Counter[str] = field(factory=Counter)
    rows: int = 0
    change_points: int = 0
    notes: list[str] = field(factory=list)
    _started: float = field(factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Count a snapshot, and note what has to be said of it."""
        self.rows += outcome.rows
        self.statuses[outcome.status] += 1
        if outcome.result is not None:
            self.change_points += outcome.result.change_points

        note = outcome.reason
        if outcome.status == "skipped" and outcome.result is not None:
            when, key = iso(outcome.result.timestamp), outcome.result.key
            note = f"{when}: skipped, its slot holds another snapshot ({key})"
        if note:
            self._note(outcome.name, note)

    def _note(self, name: str, note: str) -> None:
        if self.named and not note.startswith(name):
            note = f"{name}: {note}"
        self.notes.append(note)

    def summary(self) -> str:
        """How many snapshots got which status."""
        order = ("ingested", "unchanged", "already", "skipped", "refused")
        parts = [f"{self.statuses[s]} {s}" for s in order if self.statuses[s]]
        return ", ".join(parts) or "nothing"

    def show_notes(self) -> None:
        for note in self.notes:
            click.echo(f"  {printable(note)}")

    def show_stored(self) -> None:
        """What the archive has more than before."""
        if self.statuses["ingested"] or self.statuses["unchanged"]:
            seconds = time.monotonic() - self._started
            click.echo(f"{self.change_points:,} change points stored in {seconds:.1f} s")
        else:
            click.echo("nothing new: the archive is as it was")

    def exit_where_refused(self) -> None:
        """Exit code 1, where a snapshot was refused."""
        if self.statuses["refused"]:
            raise click.exceptions.Exit(1)
