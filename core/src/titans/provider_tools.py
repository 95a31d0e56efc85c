"""For authors of provider packages: rules that several markets share, and the parts example data
is made of.

`drop_sentinel`, `rounded` and `localized` are for `titans_normalize`; `made_up`, `draw`, `chosen`
and `Presence` are for `titans_example`. Nothing that reads or writes an archive uses them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from titans.dtypes import decimal_digits
from titans.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from titans.schema import Schema

__all__ = ["Presence", "chosen", "draw", "drop_sentinel", "localized", "made_up", "rounded"]


_MANY = Context(prec=20_000)


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

    from titans.exact.convert import equals

    if column not in frame.columns or not _may_be_number(frame.schema[column]):
        return frame
    sentinels = equals(frame[column], sentinel)
    if not sentinels.any():
        return frame

    observed = pl.repeat(True, frame.height, eager=True)
    for name in unless:
        if name not in frame.columns or not _may_be_number(frame.schema[name]):
            return frame.with_columns(_without(frame[column], sentinels))
        number = _as_number(frame[name])
        observed &= number.is_not_null() & number.is_not_nan() & ~equals(frame[name], sentinel)
    return frame.with_columns(_without(frame[column], sentinels & ~observed))


def rounded(frame: pl.DataFrame, column: str, digits: int) -> pl.DataFrame:
    """`frame` with the numbers in `column` rounded to `digits` decimal places; halves go away from
    zero.

    What is stored is what was given, or nothing is: where a source has more digits than its column
    (a saving of 61.53 % in an `Int64`), rounding is for `titans_normalize` to decide. Numbers may
    come as strings. A frame without `column` is returned as it is; values that are no numbers, and
    a column that cannot hold any, stay as they are.

    Args:
        digits: from 0.

    Raises:
        InputError: `digits` is negative, or no integer.
    """
    import polars as pl

    if type(digits) is not int or digits < 0:
        raise InputError(f"digits is an integer from 0, got {digits!r}")

    if column not in frame.columns or frame.schema[column].is_integer():
        return frame
    given = frame[column]
    if not _may_be_number(given.dtype):
        return frame
    if isinstance(given.dtype, pl.Float32 | pl.Float64):
        return frame.with_columns(given.round(digits, mode="half_away_from_zero"))

    from titans.exact.texts import each, texts

    return frame.with_columns(each(texts(given), partial(_rounded_text, digits)).alias(column))


def _rounded_text(digits: int, text: str) -> str:
    from titans.exact.convert import number_of

    number = number_of(text.strip())
    if number is None:
        return text
    return format(number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, _MANY), "f")


def localized(
    frame: pl.DataFrame, column: str, zone: str, *, ambiguous: str = "raise"
) -> pl.DataFrame:
    """`frame` with the times in `column`, which say no offset, as times in UTC; those that say one
    stay what they are.

    For a `Datetime` column of a source that writes local times: what they mean is for
    `titans_normalize` to say. A frame without `column` is returned as it is, and so are values
    that are no times.

    Args:
        column: text (ISO 8601) or datetimes.
        zone: of the IANA database, like `"Europe/Berlin"`.
        ambiguous: of a time that a clock shows twice, the `"earliest"` or the `"latest"`, or
            `"raise"`.

    Raises:
        InputError: no such zone, or a time that its clocks never show, or show twice.
    """
    import polars as pl

    if column not in frame.columns:
        return frame
    given = frame[column]
    if given.dtype == pl.String:
        times = given.str.strip_chars().str.replace(" ", "T", literal=True)
        naive = times.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        minutes = times.str.to_datetime("%Y-%m-%dT%H:%M", time_unit="us", strict=False)
        naive = naive.zip_with(naive.is_not_null(), minutes)
    elif isinstance(given.dtype, pl.Datetime) and given.dtype.time_zone is None:
        naive = given
    else:
        return frame
    try:
        in_zone = naive.dt.replace_time_zone(zone, ambiguous=ambiguous)  # type: ignore[arg-type]
    except pl.exceptions.ComputeError as error:
        raise InputError(f"column {column!r} in zone {zone!r}: {error}") from error
    utc = in_zone.dt.convert_time_zone("UTC")
    if given.dtype == pl.String:
        said = utc.dt.to_string("iso:strict")
        utc = said.zip_with(utc.is_not_null(), given)
    return frame.with_columns(utc.alias(column))


def _without(column: pl.Series, where: pl.Series) -> pl.Expr:
    import polars as pl

    return pl.when(~where).then(pl.col(column.name)).alias(column.name)


def _may_be_number(dtype: pl.DataType) -> bool:
    import polars as pl

    return dtype.is_numeric() or dtype in (pl.String, pl.Categorical, pl.Enum)


def _as_number(column: pl.Series) -> pl.Series:
    """As `Float64`, null where it is no number."""
    import polars as pl

    if column.dtype.is_numeric():
        return column.cast(pl.Float64, strict=False)
    return column.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)


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


def _decimal(random: Random, dtype: str) -> Decimal:
    digits, behind = decimal_digits(dtype)
    return Decimal(random.randrange(10 ** min(digits, 6))).scaleb(-behind)


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
    if dtype == "Datetime":
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(10**7))
    if dtype == "Json":
        return f'{{"level":{random.randrange(5)},"tags":["a","b"]}}'
    if dtype == "Binary":
        return random.randbytes(4)
    if dtype.startswith("Decimal"):
        return _decimal(random, dtype)
    if dtype == "String":
        return random.choice(("low", "medium", "high"))
    return random.randrange(100)
