"""For authors of provider packages: a rule that several markets share, and the parts example data is made of.

`drop_sentinel` is for `titans_normalize`; `draw`, `chosen` and `Presence` are for `titans_example`. Nothing in the core
uses them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    import polars as pl

__all__ = ["Presence", "chosen", "draw", "drop_sentinel"]


def drop_sentinel(frame: pl.DataFrame, column: str, sentinel: float, unless: Sequence[str]) -> pl.DataFrame:
    """`frame` with `sentinel` in `column` made null, except in rows where every column of `unless` was observed.

    For a number that can be an honest value: a spot price 1 % above on-demand is a saving of -1, and -1 is also what a
    collector writes where it saw no price. Not observed is: the column is absent, null, NaN, or the sentinel itself.
    Numbers may come as strings. A frame without `column` is returned as it is, and so is a column that cannot hold numbers.
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
    if suspect is None:
        return frame
    observed = pl.lit(True)
    for name in unless:
        value = number(name)
        observed &= pl.lit(False) if value is None else (value.is_not_nan() & (value != sentinel)).fill_null(False)
    return frame.with_columns(
        pl.when((suspect == sentinel).fill_null(False) & ~observed).then(None).otherwise(pl.col(column)).alias(column)
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
    """Rising indexes below `count`, each with probability `share`. The cost follows the chosen ones, not `count`."""
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
        self, random: Random, count: int, *, late: float, vanish: float, wait: float, gone: float = 0.05
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
        self._away = {i: None if left is None else left - 1 for i, left in self._away.items() if left != 1}
        for index in chosen(self._random, self._count, self._vanish):
            self._leave(index, None if self._random.random() < self._gone else self._pause())

    def there(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of `frame` (one per key, in order) whose keys are there now."""
        if not self._away:
            return frame
        return frame[[i for i in range(self._count) if i not in self._away]]
