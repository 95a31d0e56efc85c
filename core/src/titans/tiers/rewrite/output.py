"""The file that takes the place of others in a rewrite: as a merge of them, with other rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import polars as pl
from attrs import define, field

from titans.schema import TIME
from titans.tiers.compact.output import Output, Seen
from titans.tiers.compact.ranges import Range
from titans.tiers.files.metadata import SlotRecord
from titans.tiers.files.rewrites import Rewrite, merged_rewrites

__all__ = ["Change", "RewrittenOutput"]


@define(eq=False)
class Change:
    """What a rewrite does to the change points of a month."""

    kept: Callable[[pl.DataFrame], pl.DataFrame]
    """Of some rows, those that stay, in their order."""
    plus: pl.DataFrame
    """What comes: canonical columns, sorted by key and `Time`; no row that stays has the same."""
    records: Mapping[int, SlotRecord | None]
    """Of slots that say something else than before; `None`: it is no longer in this file."""
    rewrite: Rewrite


@define(eq=False)
class RewrittenOutput(Output):
    """What becomes of some files; of none, where there were no change points so far."""

    change: Change = field(kw_only=True)
    _result: Seen = field(factory=Seen, init=False)

    @property
    def span(self) -> tuple[int, int]:
        held = [slot for slot, record in self.change.records.items() if record is not None]
        firsts = [entry.first for entry in self.inputs] + held
        return min(firsts), max([entry.last for entry in self.inputs] + held)

    @property
    def written(self) -> Seen:
        return self._result

    @property
    def rows_in(self) -> int:
        return super().rows_in + self.change.plus.height

    def _through(self, ranges: Iterator[Range]) -> Iterator[pl.DataFrame]:
        waiting = self.change.plus
        for rows in super()._through(ranges):
            if not rows.height:
                continue
            now, waiting = _until(rows, waiting, [*self.provider.key, TIME])
            yield self._counted([self.change.kept(rows), now])
        if waiting.height:
            yield self._counted([waiting])

    def _counted(self, parts: list[pl.DataFrame]) -> pl.DataFrame:
        filled = [part for part in parts if part.height]
        if not filled:
            return parts[0].clear()
        rows = filled[0]
        if len(filled) > 1:
            rows = pl.concat(filled).sort([*self.provider.key, TIME])
        self._result.add(Range(rows, [rows]), self.provider)
        return rows

    def _all_records(self) -> tuple[SlotRecord, ...]:
        records = {record.slot: record for record in super()._all_records()}
        for slot, record in self.change.records.items():
            if record is None:
                records.pop(slot, None)
            else:
                records[slot] = record
        return tuple(records[slot] for slot in sorted(records))

    def _all_rewrites(self) -> tuple[Rewrite, ...]:
        return merged_rewrites([super()._all_rewrites(), [self.change.rewrite]])


def _until(
    rows: pl.DataFrame, waiting: pl.DataFrame, by: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Those of `waiting` that come no later than the last of `rows`, and the others."""
    if not waiting.height:
        return waiting, waiting
    last = rows.select(by).tail(1)
    both = pl.concat([waiting.select(by), last]).with_row_index("\x00at")
    position = both.sort(by, maintain_order=True)["\x00at"].index_of(waiting.height) or 0
    return waiting[:position], waiting[position:]
