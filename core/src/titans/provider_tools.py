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

    value = _as_number(frame, column)
    if value is None or not (frame.select_seq(value).to_series() == sentinel).any():
        return frame

    observed = pl.lit(True)
    for name in unless:
        other = _as_number(frame, name)
        if other is None:
            observed &= pl.lit(False)
        else:
            observed &= (other.is_not_nan() & (other != sentinel)).fill_null(False)

    missing = (value == sentinel).fill_null(False) & ~observed
    return frame.with_columns(pl.when(missing).then(None).otherwise(pl.col(column)).alias(column))


def _as_number(frame: pl.DataFrame, column: str) -> pl.Expr | None:
    """A column as `Float64`, null where it is no number; `None` if it cannot hold numbers."""
    import polars as pl

    dtype = frame.schema.get(column)
    if dtype is None:
        return None

    value = pl.col(column)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        value = value.cast(pl.String)
    elif dtype.is_numeric():
        return value.cast(pl.Float64, strict=False)
    elif dtype != pl.String:
        return None
    return value.str.strip_chars().cast(pl.Float64, strict=False)


def draw(random: Random, quantiles: Sequence[tuple[float, float]]) -> float:
    """A number from the distribution with these quantiles, linear between them.

    Args:
        random: where chance comes from.
        quantiles: (share, value) pairs, both rising, from share 0 to share 1.
    """
    share = random.random()
    above = bisect_right(quantiles, share, key=lambda pair: pair[0])
    above = min(max(above, 1), len(quantiles) - 1)

    low, low_value = quantiles[above - 1]
    high, high_value = quantiles[above]
    return low_value + (high_value - low_value) * (share - low) / (high - low)


def chosen(random: Random, count: int, share: float) -> Iterator[int]:
    """Rising indexes below `count`, each with probability `share`. The cost follows the chosen
    ones, not `count`.
    """
    if share <= 0:
        return
    if share >= 1:
        yield from range(count)
        return

    # The gap to the next chosen one is drawn, instead of a number for every index.
    scale = math.log1p(-share)
    index = -1
    while True:
        gap = math.log(1.0 - random.random()) / scale
        if gap >= count - index - 1:
            return
        index += 1 + int(gap)
        yield index


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
        self._random = random
        self._count = count
        self._vanish = vanish
        self._wait = wait
        self._gone = gone
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
        away: dict[int, int | None] = {}
        for index, pause in self._away.items():
            if pause is None:
                away[index] = None
            elif pause > 1:
                away[index] = pause - 1
        self._away = away

        for index in chosen(self._random, self._count, self._vanish):
            if self._random.random() < self._gone:
                self._leave(index, None)
            else:
                self._leave(index, self._pause())

    def there(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of `frame` (one per key, in order) whose keys are there now."""
        if not self._away:
            return frame
        return frame[[index for index in range(self._count) if index not in self._away]]


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
    rows = [_values(random, schema) for _ in names]
    presence = Presence(random, keys, late=0.05, vanish=0.01, wait=3)
    columns = list(schema.columns)
    dtypes = {**dict.fromkeys(key, pl.String()), **schema.value_dtypes()}

    for slot in range(slots):
        if slot:
            presence.step()
            for index in chosen(random, keys, 0.05):
                place = random.randrange(len(columns))
                rows[index][place] = _value(random, schema, columns[place])

        data = [(*name, *row) for name, row in zip(names, rows, strict=True)]
        yield presence.there(pl.DataFrame(data, schema=dtypes, orient="row"))


def _key(number: int, key: Sequence[str]) -> tuple[str, ...]:
    """The `number`-th key: the last columns have three values each, the first one has as many as
    are needed.
    """
    rest = number
    parts: list[str] = []
    for column in reversed(key[1:]):
        rest, choice = divmod(rest, 3)
        parts.append(f"{column.lower()}-{'abc'[choice]}")
    return (f"{key[0].lower()}-{rest + 1}", *reversed(parts))


def _values(random: Random, schema: Schema) -> list[Any]:
    return [_value(random, schema, column) for column in schema.columns]


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
    if dtype == "String":
        return random.choice(("low", "medium", "high"))
    return random.randrange(100)
