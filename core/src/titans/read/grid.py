"""A regular series per key: each value as it holds at each of some times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl
from attrs import frozen

from titans.changes.state import as_rows
from titans.errors import InputError
from titans.provider import Provider
from titans.read.queries import Held, check_count
from titans.schema import CEASED, TIME

__all__ = ["Times", "gridded"]

_FROM, _UNTIL = "\x00from", "\x00until"
"""Numbers of the first time at which a row holds, and of the first at which it no longer does."""


@frozen
class Times:
    """`start`, `start + every`, … before `end`, in UTC.

    Raises:
        InputError: `every` is not longer than nothing, or there are too many.
    """

    start: datetime
    end: datetime
    every: timedelta

    def __attrs_post_init__(self) -> None:
        if self.every <= timedelta(0):
            raise InputError(f"every must be longer than nothing, got {self.every}")
        check_count(len(self), "times")

    def __len__(self) -> int:
        return max(0, -((self.start - self.end) // self.every))


def gridded(held: Held, times: Times, columns: Sequence[str], provider: Provider) -> pl.DataFrame:
    """A regular series per key: key, `Time` (each of `times`), and `columns` as they hold then.

    Keys that live at some moment of the range; null while a key is not there. Sorted by key and
    `Time`. The cost is that of the answer: each row is repeated as often as it holds.
    """
    key = list(provider.key)
    wanted = [*key, TIME, *columns, CEASED]
    rows = pl.concat([as_rows(held.state).select(wanted), held.points.select(wanted)])
    # An uploaded tombstone may still have the values of the row before it.
    gone = [pl.when(~pl.col(CEASED)).then(name).alias(name) for name in columns]
    rows = rows.sort([*key, TIME]).with_columns(gone)
    rows = rows.join(_living(rows, key), on=key, how="semi", maintain_order="left")

    since = (pl.col(TIME) - pl.lit(times.start)).dt.total_microseconds()
    step = times.every // timedelta(microseconds=1)
    first = (-((-since) // step)).clip(0, len(times)).alias(_FROM)
    rows = rows.with_columns(first)
    rows = pl.concat([rows, _before(rows, key)])
    rows = rows.sort([*key, _FROM, TIME], nulls_last=False, maintain_order=True)

    same = pl.all_horizontal(pl.col(c) == pl.col(c).shift(-1) for c in key)
    until = pl.when(same).then(pl.col(_FROM).shift(-1)).otherwise(len(times)).alias(_UNTIL)
    rows = rows.with_columns(until).filter(pl.col(_FROM) < pl.col(_UNTIL))

    cells = rows.select(*key, pl.int_ranges(_FROM, _UNTIL).alias(TIME), *columns).explode(TIME)
    moment = pl.lit(times.start).dt.cast_time_unit("us") + pl.duration(
        microseconds=pl.col(TIME) * step
    )
    return cells.with_columns(moment.alias(TIME))


def _living(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    return rows.filter(~pl.col(CEASED)).select(key).unique()


def _before(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """A row without values for each key that is not there at the first time."""
    differs = pl.any_horizontal(pl.col(c) != pl.col(c).shift(1) for c in key).fill_null(value=True)
    begins = rows.filter(differs & (pl.col(_FROM) > 0))
    nothing = [pl.lit(None).alias(c) for c in begins.columns if c not in (*key, CEASED, _FROM)]
    nothing.append(pl.lit(0, dtype=rows.schema[_FROM]).alias(_FROM))
    return begins.with_columns(nothing).cast(dict(rows.schema))  # type: ignore[arg-type]
