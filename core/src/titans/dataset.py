"""One provider's data in one store: what every operation below the archive carries with it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from attrs import evolve, field, frozen

from titans.layout import Paths
from titans.provider import Provider
from titans.schema import Schema
from titans.slots import Month, Slot
from titans.store import ObjectStore

__all__ = ["Dataset", "Trace", "pause"]


def pause(attempt: int) -> None:
    """Wait before the next attempt: a random part of 10 ms, doubling up to 1 s."""
    time.sleep(random.random() * min(1.0, 0.01 * 2**attempt))  # noqa: S311


class Trace(Protocol):
    """Is told what a question reads, and why. See `titans.read.recorder`.

    Threads tell it at once. It may keep what it is told, and changes none of it.
    """

    reads_rows: bool
    """Whether rows are read; if not, every file is taken for one without rows."""

    def looked(self) -> None:
        """The hot files were listed: a look at the archive begins."""

    def read_month(self, month: Month, manifest: Any, is_there: bool) -> None:
        """The manifest of a month was asked for."""

    def applies(self, slot: datetime) -> None:
        """The hot file of a slot, which nobody has adopted, is put into a view."""

    def found_waiting(self, view: Any, applied: Any, left_out: Any) -> None:
        """A `MonthView` has hot files in it that nobody has adopted; others cannot be had. No slot
        is put into it any more.
        """

    def began_state(self, view: Any, end: datetime, has_earlier: bool) -> None:
        """A state of a `MonthView` is made, perhaps from what earlier months left."""

    def picked(self, view: Any, parts: Any, span: Any, lead: str | None) -> None:
        """These parts of a `MonthView` may have rows in a span of time, with a value of the first
        key column.
        """

    def opens(self, file: Any, needed: Any, part: Any = None, is_kept: bool = False) -> None:
        """Rows of a `StoredFile` are read: what is `Needed` of it (`None`: whoever reads it
        decides that), of a `FilePart` or of all of it, which is kept from an earlier question.
        """


@frozen
class Dataset:
    """A provider in a store. It decides nothing; what reads or writes takes it as an argument."""

    store: ObjectStore
    paths: Paths
    provider: Provider
    wait: Callable[[int], None] = field(default=pause, eq=False, repr=False)
    """Called between attempts that lost a race, with the number of the attempt, from 0."""
    trace: Trace | None = field(default=None, eq=False, repr=False)
    """Told what is read, where somebody asks for that."""

    @property
    def reads_rows(self) -> bool:
        """Whether rows of files are read, or only what would be is told."""
        return self.trace is None or self.trace.reads_rows

    def key(self, month: Month, file: str) -> str:
        """The object's key of a file that the manifest of `month` names.

        Raises:
            InvalidKeyError: it names something that cannot belong to this provider and month.
        """
        return self.paths.file_key(month, file)

    def slot(self, month: Month, index: int) -> Slot:
        """The `index`-th slot of `month`."""
        return Slot(month, index, self.paths.minutes)

    def as_of(self, schema: Schema | None) -> Dataset:
        """This dataset with an earlier schema of its provider; `None` stands for today's."""
        if schema is None:
            return self
        return evolve(self, provider=self.provider.as_of(schema))
