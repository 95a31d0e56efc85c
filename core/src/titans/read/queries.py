"""Questions that are answered from states and change points: frame → frame."""

from __future__ import annotations

from collections.abc import Sequence

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
    "to_intervals",
]

VALID_FROM, VALID_TO, CHANGE = "valid_from", "valid_to", "change"

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


def compared(
    old: pl.DataFrame,
    new: pl.DataFrame,
    provider: Provider,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """What is different between two states: key, `change` (`added`, `removed`, `changed`), and each
    value `…_old`, `…_new`. Only `columns` are looked at, by default all.

    Sorted by key. Values of the side on which a key does not live are null.
    """
    key = list(provider.key)
    values = provider.value_columns if columns is None else columns
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


def check_count(count: int, of_what: str) -> None:
    """Raise `InputError` where an answer would have a row for each of so many."""
    if count > _MOST:
        raise InputError(f"the range has {count:,} {of_what}; ask for at most {_MOST:,}")
