"""Questions that are answered from states and change points: frame → frame."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from titans.errors import InputError
from titans.provider import Provider
from titans.schema import CEASED, TIME

__all__ = ["CHANGE", "VALID_FROM", "VALID_TO", "compared", "gridded", "to_intervals"]

VALID_FROM, VALID_TO, CHANGE = "valid_from", "valid_to", "change"

_UTC = pl.Datetime("us", "UTC")


def to_intervals(state: pl.DataFrame, points: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """Key, values, `valid_from`, `valid_to` of a range: the state before it, and the change points
    in it.

    `valid_to` is null where the values still hold at the end of the range.
    """
    key = list(provider.key)
    both = pl.concat(
        [state.with_columns(pl.lit(value=False).alias(CEASED)).select(points.columns), points]
    )
    both = both.sort([*key, TIME])
    same = pl.all_horizontal(pl.col(c) == pl.col(c).shift(-1) for c in key)
    until = pl.when(same).then(pl.col(TIME).shift(-1)).otherwise(None)
    live = both.with_columns(until.alias(VALID_TO)).filter(~pl.col(CEASED))
    return live.select(*key, *provider.value_columns, pl.col(TIME).alias(VALID_FROM), VALID_TO)


def compared(old: pl.DataFrame, new: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """What is different between two states: key, `change` (`added`, `removed`, `changed`), and each
    value `…_old`, `…_new`.

    Sorted by key. Values of the side on which a key does not live are null.
    """
    key, values = list(provider.key), provider.value_columns
    marked = [
        state.select(
            *key,
            *(pl.col(v).alias(f"{v}_{side}") for v in values),
            pl.lit(value=True).alias(f"\x00{side}"),
        )
        for state, side in ((old, "old"), (new, "new"))
    ]
    joined = marked[0].join(marked[1], on=key, how="full", coalesce=True)
    was, now = pl.col("\x00old").is_not_null(), pl.col("\x00new").is_not_null()
    change = (
        pl.when(~was)
        .then(pl.lit("added"))
        .when(~now)
        .then(pl.lit("removed"))
        .otherwise(pl.lit("changed"))
    )
    differs = pl.any_horizontal(
        pl.lit(value=False), *(pl.col(f"{v}_old").ne_missing(pl.col(f"{v}_new")) for v in values)
    )
    sides = [f"{v}_{side}" for v in values for side in ("old", "new")]
    return (
        joined.filter(~(was & now) | differs).select(*key, change.alias(CHANGE), *sides).sort(key)
    )


def gridded(
    state: pl.DataFrame,
    points: pl.DataFrame,
    start: datetime,
    end: datetime,
    every: timedelta,
    columns: Sequence[str],
    provider: Provider,
) -> pl.DataFrame:
    """A regular series per key: key, `Time` (`start`, `start + every`, … before `end`), and
    `columns` as they hold then.

    Keys that live at some moment of the range; null while a key is not there. Sorted by key and
    `Time`.

    Args:
        state: just before `start`.
        points: change points with `start <= Time < end`.
    """
    if every <= timedelta(0):
        raise InputError(f"every must be longer than nothing, got {every}")
    key = list(provider.key)
    times = pl.datetime_range(
        start, end, every, closed="left", time_unit="us", time_zone="UTC", eager=True
    )
    grid = pl.DataFrame({TIME: times.cast(_UTC)})
    wanted = [*key, TIME, *columns, CEASED]
    held = state.with_columns(pl.lit(value=False).alias(CEASED)).select(wanted)
    rows = pl.concat([held, points.select(wanted)])
    keys = rows.filter(~pl.col(CEASED)).select(key).unique().sort(key)
    nothing = [pl.when(pl.col(CEASED)).then(None).otherwise(pl.col(c)).alias(c) for c in columns]
    rows = rows.with_columns(nothing).drop(CEASED).sort(TIME)
    cells = keys.join(grid, how="cross").sort(TIME, maintain_order=True)
    joined = cells.join_asof(rows, on=TIME, by=key, strategy="backward", check_sortedness=False)
    return joined.select(*key, TIME, *columns).sort([*key, TIME])
