"""Merging sorted files range by range: any number of them, of any size, in bounded memory.

From every input one block of rows is in memory. The least of their last rows bounds what can be
merged now: nothing before it is still to come. So a range is a part of the order by key and `Time`,
and a key with more rows than fit is split by time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl
from attrs import define, field, frozen

from titans.changes.state import resolve
from titans.provider import Provider
from titans.schema import TIME
from titans.tiers.compact.budget import MEMORY
from titans.tiers.files.parquet import ROW_GROUP
from titans.tiers.files.reading import reading

__all__ = ["Input", "Range", "merged_ranges", "rows_within"]

_COPIES = 6
"""How often a row is in memory at most, as measured: read, put in order with others, hashed, and
waiting to be encoded."""

_TEXT = 32
"""Bytes of a text value in a frame, about."""

Position = tuple[str | datetime, ...]
"""Key and `Time` of a row."""


@define(eq=False)
class Input:
    """Rows sorted by key and `Time`: a file's, or a frame's, which is in memory anyway and one
    block.
    """

    source: pl.LazyFrame | pl.DataFrame
    height: int
    is_correction: bool = False
    block: pl.DataFrame = field(factory=pl.DataFrame, init=False)
    read: int = field(default=0, init=False)

    @property
    def ended(self) -> bool:
        """Whether there is nothing beyond the block."""
        return self.read >= self.height

    def next_block(self, rows: int) -> pl.LazyFrame:
        """What comes after the block; a frame is one block."""
        if isinstance(self.source, pl.LazyFrame):
            return self.source.slice(self.read, rows)
        return self.source.lazy()

    def take(self, by: list[str], until: Position | None) -> pl.DataFrame:
        """The rows of the block up to `until` (all: `None`), which leave it."""
        count = self.block.height
        if until is not None:
            count = _count_until(self.block, by, until)
        taken = self.block[:count]
        self.block = self.block[count:]
        return taken


@frozen(eq=False)
class Range:
    """Merged rows, and those that became them."""

    rows: pl.DataFrame
    parts: list[pl.DataFrame]

    @property
    def is_complete(self) -> bool:
        """No row was dropped because it repeats another."""
        return self.rows.height == sum(part.height for part in self.parts)


def rows_within(memory: int, provider: Provider) -> int:
    """How many rows may be merged at once."""
    width = 0
    for dtype in provider.schema_dtypes.values():
        width += _TEXT if dtype == pl.String else 8
    return max(1, memory // (width * _COPIES))


def merged_ranges(
    inputs: Sequence[Input], provider: Provider, memory: int = MEMORY
) -> Iterator[Range]:
    """The rows of all inputs as `resolve` gives them, in ascending ranges.

    `inputs` are in the order of their adoption.
    """
    by = [*provider.key, TIME]
    rows = max(1, rows_within(memory, provider) // max(1, len(inputs)))
    if rows > ROW_GROUP:
        rows -= rows % ROW_GROUP  # or the group at the border would be decoded twice

    while True:
        _read_blocks(inputs, rows)
        holding = [each for each in inputs if each.block.height]
        if not holding:
            return

        lasts = [each.block.select(by).row(-1) for each in holding if not each.ended]
        until = min(lasts, default=None)
        real: list[pl.DataFrame] = []
        corrections: list[pl.DataFrame] = []
        for each in holding:
            part = each.take(by, until)
            if not part.height:
                continue
            if each.is_correction:
                corrections.append(part)
            else:
                real.append(part)
        yield Range(resolve(real, corrections, provider), real + corrections)


def _read_blocks(inputs: Sequence[Input], rows: int) -> None:
    """Read the next block of every input that has none."""
    empty = [each for each in inputs if not each.block.height and not each.ended]
    if not empty:
        return
    with reading("a file that is to be merged"):
        blocks = pl.collect_all([each.next_block(rows) for each in empty])

    for each, block in zip(empty, blocks, strict=True):
        each.block = block
        # A file that is shorter than it says ends here; who merges counts the rows.
        each.read = each.read + block.height if block.height else each.height


def _count_until(block: pl.DataFrame, by: list[str], until: Position) -> int:
    """How many rows come before `until`, or are at it."""
    columns = [block[c] for c in by]
    low, high = 0, block.height
    while low < high:
        middle = (low + high) // 2
        if tuple(column[middle] for column in columns) <= until:
            low = middle + 1
        else:
            high = middle
    return low
