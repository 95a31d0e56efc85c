"""One provider's data in one store: what every operation below the archive carries with it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from attrs import evolve, field, frozen

from titans.layout import Paths
from titans.provider import Provider
from titans.schema import Schema
from titans.slots import Month, Slot
from titans.store import ObjectStore

__all__ = ["Dataset", "pause"]


def pause(attempt: int) -> None:
    """Wait before the next attempt: a random part of 10 ms, doubling up to 1 s."""
    time.sleep(random.random() * min(1.0, 0.01 * 2**attempt))  # noqa: S311


@frozen
class Dataset:
    """A provider in a store. It decides nothing; what reads or writes takes it as an argument."""

    store: ObjectStore
    paths: Paths
    provider: Provider
    wait: Callable[[int], None] = field(default=pause, eq=False, repr=False)
    """Called between attempts that lost a race, with the number of the attempt, from 0."""

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
