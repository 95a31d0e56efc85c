"""Snapshots that were refused in a row, so that a source that has really changed gets out of it.

Only providers with `Expectations(accept_after=…)` have the object in which they are kept:
`{state prefix}/refused.parquet`, the keys of the snapshot that was refused last.
"""

from __future__ import annotations

import io
import json
from datetime import datetime

import polars as pl
from attrs import evolve, field, frozen

from titans.dataset import Dataset
from titans.errors import AlreadyExists, NotFound, PreconditionFailed
from titans.expectations import checked_share
from titans.slots import Slot, iso, parse_iso
from titans.store import Blob
from titans.tiers.manifest.commit import ATTEMPTS, read_head

__all__ = ["Refusals", "Row", "count_refusal", "forget"]

_SLOTS = "titans.refused_slots"


@frozen(eq=False)
class Refusals:
    """Snapshots that were refused one after the other, and agree with each other."""

    keys: pl.DataFrame
    """Of the last one."""
    slots: tuple[datetime, ...] = ()
    """Starts of their slots, ascending; each counts once."""
    _etag: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, dataset: Dataset) -> Refusals:
        """Those that are kept; none where there is no such object, or it cannot be read."""
        try:
            blob = dataset.store.get(dataset.paths.refused_key)
        except NotFound:
            return cls(_no_keys(dataset))
        try:
            return cls._parse(blob, dataset)
        except (pl.exceptions.PolarsError, ValueError, KeyError, OSError):
            return evolve(cls(_no_keys(dataset)), etag=blob.etag)

    @classmethod
    def _parse(cls, blob: Blob, dataset: Dataset) -> Refusals:
        slots = json.loads(pl.read_parquet_metadata(io.BytesIO(blob.data))[_SLOTS])
        keys = pl.read_parquet(io.BytesIO(blob.data)).select(dataset.provider.key)
        return cls(keys, tuple(parse_iso(text) for text in slots), blob.etag)

    def agree(self, keys: pl.DataFrame, max_ceased: float) -> bool:
        """Whether a snapshot with these keys looks like the last one: neither lacks more than this
        share of the other's keys.
        """
        share = checked_share(max_ceased)
        names = keys.columns
        lost = self.keys.join(keys, on=names, how="anti").height
        new = keys.join(self.keys, on=names, how="anti").height
        return lost <= share * self.keys.height and new <= share * keys.height

    def are_in_a_row(self, dataset: Dataset, slot: Slot) -> bool:
        """Whether no snapshot was accepted since the first of them, up to `slot` and beyond."""
        if not self.slots:
            return False
        first = Slot.of(self.slots[0], slot.minutes)
        month = first.month
        since = first.index
        while month <= slot.month:
            observed = read_head(dataset, month).manifest.observed
            if since in observed or observed.after(since) is not None:
                return False
            month, since = month.next(), 0
        return True

    def plus(self, slot: Slot, keys: pl.DataFrame) -> Refusals:
        """With one more."""
        return evolve(self, keys=keys, slots=tuple(sorted({*self.slots, slot.start})))

    def only(self, slot: Slot, keys: pl.DataFrame) -> Refusals:
        """As the first of a new row."""
        return evolve(self, keys=keys, slots=(slot.start,))

    def write(self, dataset: Dataset) -> bool:
        """Keep them; `False` where another process has kept others meanwhile."""
        out = io.BytesIO()
        slots = json.dumps([iso(start) for start in self.slots])
        self.keys.write_parquet(out, compression="zstd", metadata={_SLOTS: slots})
        key, data = dataset.paths.refused_key, out.getvalue()
        try:
            if self._etag is None:
                dataset.store.create(key, data)
            else:
                dataset.store.replace(key, data, self._etag)
        except (AlreadyExists, PreconditionFailed, NotFound):
            return False
        return True


@frozen
class Row:
    """How many snapshots that agree with each other were refused one after the other."""

    length: int
    """Before this one."""
    accept_after: int | None

    @property
    def is_enough(self) -> bool:
        """Whether this one is to be accepted."""
        return self.accept_after is not None and self.length >= self.accept_after

    def __str__(self) -> str:
        if self.accept_after is None:
            return ""
        if self.is_enough:
            return f"it agrees with {self.length} that were refused before"
        return (
            f" ({self.length + 1} refused in a row that agree with each other; after "
            f"{self.accept_after} the next one is accepted)"
        )


def count_refusal(dataset: Dataset, slot: Slot, keys: pl.DataFrame, max_ceased: float) -> Row:
    """Keep in mind that the snapshot of a slot, with these keys, looks truncated, where the
    provider wants to know.

    Raises:
        StoreError: the store does not answer.
    """
    after = dataset.provider.expectations.accept_after
    if after is None:
        return Row(0, None)
    for attempt in range(ATTEMPTS):
        known = Refusals.read(dataset)
        becomes = known.only(slot, keys)
        if known.are_in_a_row(dataset, slot) and known.agree(keys, max_ceased):
            becomes = known.plus(slot, keys)
        row = Row(len(becomes.slots) - 1, after)
        if row.is_enough or becomes.write(dataset):
            return row
        dataset.wait(attempt)
    return Row(0, after)


def forget(dataset: Dataset) -> None:
    """Remove what is kept of refused snapshots, their keys."""
    dataset.store.delete(dataset.paths.refused_key)


def _no_keys(dataset: Dataset) -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys(dataset.provider.key, pl.String))
