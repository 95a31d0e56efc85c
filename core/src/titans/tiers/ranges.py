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
from titans.errors import CorruptFileError, NotFound
from titans.provider import Provider
from titans.schema import TIME
from titans.tiers.budget import MEMORY
from titans.tiers.files import ROW_GROUP

__all__ = ["Input", "Range", "merged_ranges", "rows_within"]

_COPIES = 6
"""How often a row is in memory at most, as measured: read, put in order with others, hashed, and
waiting to be encoded."""

_TEXT = 32
"""Bytes of a text value in a frame, about."""

Position = tuple[str | datetime, ...]
"""Key and `Time` of a row."""


@define
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


@frozen
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
    width = sum(_TEXT if dtype == pl.String else 8 for dtype in provider.schema_dtypes.values())
    return max(1, memory // (width * _COPIES))


def merged_ranges(
    inputs: Sequence[Input], provider: Provider, memory: int = MEMORY
) -> Iterator[Range]:
    """The rows of all inputs as `resolve` gives them, in ascending ranges. `inputs` are in the
    order of their adoption.
    """
    by = [*provider.key, TIME]
    rows = max(1, rows_within(memory, provider) // max(1, len(inputs)))
    if rows > ROW_GROUP:
        rows -= rows % ROW_GROUP  # or the group at the border would be decoded twice
    while True:
        _fill(inputs, rows)
        holding = [i for i in inputs if i.block.height]
        if not holding:
            return
        until = min((i.block.select(by).row(-1) for i in holding if not i.ended), default=None)
        real: list[pl.DataFrame] = []
        corrections: list[pl.DataFrame] = []
        for i in holding:
            count = i.block.height if until is None else _count_until(i.block, by, until)
            if count:
                (corrections if i.is_correction else real).append(i.block[:count])
                i.block = i.block[count:]
        yield Range(resolve(real, corrections, provider), real + corrections)


def _fill(inputs: Sequence[Input], rows: int) -> None:
    """The next block of every input that has none."""
    empty = [i for i in inputs if not i.block.height and not i.ended]
    scans = [
        i.source.slice(i.read, rows) if isinstance(i.source, pl.LazyFrame) else i.source.lazy()
        for i in empty
    ]
    try:
        blocks = pl.collect_all(scans) if scans else []
    except FileNotFoundError as error:
        raise NotFound(f"a file was removed while it was being merged: {error}") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFileError(
            f"a file that is to be merged cannot be read: {error}; nothing was merged"
        ) from error
    for i, block in zip(empty, blocks, strict=True):
        i.block = block
        # A file that is shorter than it says ends here; who merges counts the rows.
        i.read = i.read + block.height if block.height else i.height


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
