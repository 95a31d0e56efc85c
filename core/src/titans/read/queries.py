"""Questions that are answered from states and change points: frame → frame."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl
from attrs import frozen

from titans.changes.state import as_rows
from titans.errors import InputError
from titans.provider import Provider
from titans.schema import CEASED, TIME

__all__ = [
    "CHANGE",
    "VALID_FROM",
    "VALID_TO",
    "Held",
    "check_count",
    "compared",
    "grid_times",
    "gridded",
    "to_intervals",
]

VALID_FROM, VALID_TO, CHANGE = "valid_from", "valid_to", "change"

_UTC = pl.Datetime("us", "UTC")

_MOST = 10_000_000
"""Of slots of ten minutes that is 190 years."""


def to_intervals(state: pl.DataFrame, points: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """Key, values, `valid_from`, `valid_to` of a range: the state before it, and the change points
    in it.

    `valid_to` is null where the values still hold at the end of the range.
    """
    key = list(provider.key)
    rows = pl.concat([as_rows(state).select(points.columns), points]).sort([*key, TIME])

    same = pl.all_horizontal(pl.col(c) == pl.col(c).shift(-1) for c in key)
    until = pl.when(same).then(pl.col(TIME).shift(-1)).otherwise(None)
    live = rows.with_columns(until.alias(VALID_TO)).filter(~pl.col(CEASED))
    return live.select(*key, *provider.value_columns, pl.col(TIME).alias(VALID_FROM), VALID_TO)


def compared(old: pl.DataFrame, new: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """What is different between two states: key, `change` (`added`, `removed`, `changed`), and each
    value `…_old`, `…_new`.

    Sorted by key. Values of the side on which a key does not live are null.
    """
    key, values = list(provider.key), provider.value_columns
    joined = _marked(old, "old", provider).join(
        _marked(new, "new", provider), on=key, how="full", coalesce=True
    )

    was, now = pl.col("\x00old").is_not_null(), pl.col("\x00new").is_not_null()
    one_sided = pl.when(~was).then(pl.lit("added")).when(~now).then(pl.lit("removed"))
    change = one_sided.otherwise(pl.lit("changed")).alias(CHANGE)
    differs = pl.lit(value=False)
    sides: list[str] = []
    for value in values:
        differs |= pl.col(f"{value}_old").ne_missing(pl.col(f"{value}_new"))
        sides += [f"{value}_old", f"{value}_new"]
    return joined.filter(~(was & now) | differs).select(*key, change, *sides).sort(key)


def _marked(state: pl.DataFrame, side: str, provider: Provider) -> pl.DataFrame:
    """Key, values named `…_{side}`, and a mark that the key lives on this side."""
    values = [pl.col(value).alias(f"{value}_{side}") for value in provider.value_columns]
    return state.select(*provider.key, *values, pl.lit(value=True).alias(f"\x00{side}"))


@frozen(eq=False)
class Held:
    """What a range consists of."""

    state: pl.DataFrame
    """Just before it."""
    points: pl.DataFrame
    """Its change points."""


def gridded(
    held: Held, times: pl.Series, columns: Sequence[str], provider: Provider
) -> pl.DataFrame:
    """A regular series per key: key, `Time` (each of `times`), and `columns` as they hold then.

    Keys that live at some moment of the range; null while a key is not there. Sorted by key and
    `Time`.
    """
    key = list(provider.key)
    wanted = [*key, TIME, *columns, CEASED]
    rows = pl.concat([as_rows(held.state).select(wanted), held.points.select(wanted)])
    keys = rows.filter(~pl.col(CEASED)).select(key).unique().sort(key)
    for column in columns:
        rows = rows.with_columns(pl.when(pl.col(CEASED)).then(None).otherwise(column).alias(column))
    rows = rows.drop(CEASED).sort(TIME)

    cells = keys.join(times.to_frame(TIME), how="cross").sort(TIME, maintain_order=True)
    joined = cells.join_asof(rows, on=TIME, by=key, strategy="backward", check_sortedness=False)
    return joined.select(*key, TIME, *columns).sort([*key, TIME])


def check_count(count: int, of_what: str) -> None:
    """Raise `InputError` where an answer would have a row for each of so many."""
    if count > _MOST:
        raise InputError(f"the range has {count:,} {of_what}; ask for at most {_MOST:,}")


def grid_times(start: datetime, end: datetime, every: timedelta) -> pl.Series:
    """`start`, `start + every`, … before `end`, in UTC.

    Raises:
        InputError: `every` is not longer than nothing, or the range has too many times.
    """
    if every <= timedelta(0):
        raise InputError(f"every must be longer than nothing, got {every}")
    check_count((end - start) // every, "times")
    times = pl.datetime_range(
        start, end, every, closed="left", time_unit="us", time_zone="UTC", eager=True
    )
    return times.cast(_UTC)
