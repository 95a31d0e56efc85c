"""For authors of provider packages: a rule that several markets share, and the parts example data
is made of.

`drop_sentinel` is for `titans_normalize`; `made_up`, `draw`, `chosen` and `Presence` are for
`titans_example`. Nothing that reads or writes an archive uses them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import date, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from titans.schema import Schema

__all__ = ["Presence", "chosen", "draw", "drop_sentinel", "made_up"]


def drop_sentinel(
    frame: pl.DataFrame, column: str, sentinel: float, unless: Sequence[str]
) -> pl.DataFrame:
    """`frame` with `sentinel` in `column` made null, except in rows where every column of `unless`
    was observed.

    For a number that can be an honest value: a spot price 1 % above on-demand is a saving of -1,
    and -1 is also what a collector writes where it saw no price. Not observed is: the column is
    absent, null, NaN, or the sentinel itself. Numbers may come as strings. A frame without `column`
    is returned as it is, and so is a column that cannot hold numbers.
    """
    import polars as pl

    def number(name: str) -> pl.Expr | None:
        dtype = frame.schema.get(name)
        if dtype is None:
            return None
        if isinstance(dtype, pl.Categorical | pl.Enum):
            return pl.col(name).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
        if dtype == pl.String:
            return pl.col(name).str.strip_chars().cast(pl.Float64, strict=False)
        return pl.col(name).cast(pl.Float64, strict=False) if dtype.is_numeric() else None

    suspect = number(column)
    if suspect is None or not (frame.select_seq(suspect).to_series() == sentinel).any():
        return frame
    observed = pl.lit(True)
    for name in unless:
        value = number(name)
        observed &= (
            pl.lit(False)
            if value is None
            else (value.is_not_nan() & (value != sentinel)).fill_null(False)
        )
    return frame.with_columns(
        pl.when((suspect == sentinel).fill_null(False) & ~observed)
        .then(None)
        .otherwise(pl.col(column))
        .alias(column)
    )


def draw(random: Random, quantiles: Sequence[tuple[float, float]]) -> float:
    """A number from the distribution with these quantiles, linear between them.

    Args:
        random: where chance comes from.
        quantiles: (share, value) pairs, both rising, from share 0 to share 1.
    """
    at = random.random()
    above = min(max(bisect_right(quantiles, at, key=lambda pair: pair[0]), 1), len(quantiles) - 1)
    (low, a), (high, b) = quantiles[above - 1], quantiles[above]
    return a + (b - a) * (at - low) / (high - low)


def chosen(random: Random, count: int, share: float) -> Iterator[int]:
    """Rising indexes below `count`, each with probability `share`. The cost follows the chosen
    ones, not `count`.
    """
    if share <= 0:
        return
    if share >= 1:
        yield from range(count)
        return
    scale = math.log1p(-share)
    at = -1
    while True:
        gap = math.log(1.0 - random.random()) / scale
        if gap >= count - at - 1:
            return
        at += 1 + int(gap)
        yield at


class Presence:
    """Which of `count` keys are there: some come late, some vanish, most of these return.

    Args:
        random: where chance comes from.
        count: how many keys there are. With fewer than 10 all of them always stay.
        late: share of the keys that are not there at first and appear within about `wait` slots.
        vanish: probability that a key that is there vanishes at a slot.
        wait: how many slots a key stays away on average.
        gone: share of the vanishing ones that never return.

    Never more than a tenth of the keys is away.
    """

    def __init__(
        self,
        random: Random,
        count: int,
        *,
        late: float,
        vanish: float,
        wait: float,
        gone: float = 0.05,
    ) -> None:
        self._random, self._count = random, count
        self._vanish, self._wait, self._gone = vanish, wait, gone
        self._away: dict[int, int | None] = {}
        """Key index → slots until it returns, `None` for ever."""
        for index in chosen(random, count, late):
            self._leave(index, self._pause())

    def _pause(self) -> int:
        return 1 + int(self._random.expovariate(1 / self._wait))

    def _leave(self, index: int, pause: int | None) -> None:
        if len(self._away) < self._count // 10:
            self._away.setdefault(index, pause)

    def step(self) -> None:
        """One slot later."""
        self._away = {
            i: None if left is None else left - 1 for i, left in self._away.items() if left != 1
        }
        for index in chosen(self._random, self._count, self._vanish):
            self._leave(index, None if self._random.random() < self._gone else self._pause())

    def there(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of `frame` (one per key, in order) whose keys are there now."""
        if not self._away:
            return frame
        return frame[[i for i in range(self._count) if i not in self._away]]


def made_up(
    schema: Schema, key: Sequence[str], seed: int, keys: int, slots: int
) -> Iterator[pl.DataFrame]:
    """Full snapshots that fit a schema and a key, and look like no market: something for
    `titans_example` to begin with.

    From slot to slot about one key in 20 changes, some keys vanish and return, and one value in 50
    is not observed (the column's sentinel, where it has one). The other arguments are those of
    `titans_example`.
    """
    import polars as pl

    random = Random(seed)  # noqa: S311 - made-up data
    names = [_key(number, key) for number in range(keys)]
    rows = [[_value(random, schema, column) for column in schema.columns] for _ in names]
    presence = Presence(random, keys, late=0.05, vanish=0.01, wait=3)
    dtypes = {**{name: pl.String() for name in key}, **schema.value_dtypes()}
    for slot in range(slots):
        if slot:
            presence.step()
            for index in chosen(random, keys, 0.05):
                at = random.randrange(len(schema.columns))
                rows[index][at] = _value(random, schema, list(schema.columns)[at])
        data = [(*name, *row) for name, row in zip(names, rows, strict=True)]
        yield presence.there(pl.DataFrame(data, schema=dtypes, orient="row"))


def _key(number: int, key: Sequence[str]) -> tuple[str, ...]:
    """The `number`-th key: the last columns have three values each, the first one has as many as
    are needed.
    """
    rest, parts = number, []
    for column in reversed(key[1:]):
        rest, choice = divmod(rest, 3)
        parts.append(f"{column.lower()}-{'abc'[choice]}")
    return (f"{key[0].lower()}-{rest + 1}", *reversed(parts))


def _value(random: Random, schema: Schema, column: str) -> Any:
    dtype = schema.columns[column]
    if random.random() < 0.02:
        return schema.unobserved.get(column)
    if dtype.startswith("Float"):
        return round(random.uniform(0.01, 10), 4)
    if dtype == "Boolean":
        return random.random() < 0.5
    if dtype == "Date":
        return date(2026, 1, 1) + timedelta(days=random.randrange(365))
    return random.choice(("low", "medium", "high")) if dtype == "String" else random.randrange(100)
