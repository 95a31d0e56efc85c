"""A made-up spot market: full snapshots, and the change points between them. The same for the same
arguments.

How often a key changes follows a law like Zipf's: a few change in nearly every slot, most of them
rarely. Some keys vanish, and most of those come back. Needs numpy and polars, nothing of TITANS.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

KEY = ["InstanceType", "Region", "AZ"]
VALUES = ["SPS", "T3", "T2", "Savings", "IF", "OndemandPrice", "SpotPrice"]
COLUMNS = [*KEY, "Time", *VALUES, "Ceased"]
DTYPES = pl.Schema(
    {
        **dict.fromkeys(KEY, pl.String()),
        "Time": pl.Datetime("us", "UTC"),
        **dict.fromkeys(["SPS", "T3", "T2", "Savings"], pl.Int64()),
        **dict.fromkeys(["IF", "OndemandPrice", "SpotPrice"], pl.Float64()),
        "Ceased": pl.Boolean(),
    }
)

START = datetime(2026, 1, 1, tzinfo=UTC)
SLOT = timedelta(minutes=10)
DAY = 144
"""Slots of a day."""
SIZES = {"tiny": 30, "small": DAY, "medium": 7 * DAY, "large": 30 * DAY}
"""Slots of each size of the comparison."""
KEYS, CHANGE, SEED = 60_000, 0.04, 11

_BUSIEST = 0.9
"""No key changes with a greater probability per slot."""
_EXPONENT = 0.9
_VANISH, _RETURN = 2e-4, 0.02
"""Probabilities per slot that a living key vanishes, and that one that is gone comes back."""
_FAMILIES = [
    f"{letter}{number}{kind}"
    for letter in "cdgimprtxz"
    for number in range(3, 9)
    for kind in ("", "d", "g", "n", "id")
]
_TYPES = ["large", "xlarge", *(f"{n}xlarge" for n in (2, 4, 8, 12, 16, 24, 48))]
_AREAS = ["us", "eu", "ap", "ca", "sa", "me", "af"]
_SIDES = ["east", "west", "north", "south", "central"]


def moment(slot: int) -> datetime:
    """The start of a slot."""
    return START + slot * SLOT


def change_rates(keys: int, change: float, random: np.random.Generator) -> np.ndarray:
    """For each key the probability that it changes in a slot; their mean is `change`, in no
    particular order.
    """
    weights = np.arange(10.0, 10.0 + keys) ** -_EXPONENT
    low, high = 0.0, 1.0 / weights[-1]
    for _ in range(60):
        scale = (low + high) / 2
        low, high = (
            (scale, high) if np.minimum(_BUSIEST, scale * weights).mean() < change else (low, scale)
        )
    return random.permutation(np.minimum(_BUSIEST, high * weights))


class Market:
    """The market as it is now. `step` moves it on by one slot."""

    def __init__(self, keys: int = KEYS, change: float = CHANGE, seed: int = SEED) -> None:
        self.slot = -1
        self._random = random = np.random.default_rng(seed)
        self._names = _names(keys, random)
        self._rates = change_rates(keys, change, random)
        self._living = np.ones(keys, dtype=bool)
        self._demand = np.round(random.lognormal(-0.5, 1.2, keys) + 0.01, 4)
        self._price = np.round(self._demand * random.uniform(0.1, 0.9, keys), 4)
        self._scores = random.integers(1, 4, (3, keys))
        self._frequency = random.integers(2, 7, keys) / 2

    def step(self) -> pl.DataFrame:
        """The next slot's change points in `COLUMNS`, sorted by key; the first time every key."""
        random, self.slot = self._random, self.slot + 1
        luck = random.random(len(self._rates))
        rhythm = 1 + 0.3 * np.sin(2 * np.pi * self.slot / DAY)
        if self.slot == 0:
            return self._rows(np.arange(len(luck)))
        moved = np.flatnonzero(self._living & (luck < self._rates * rhythm))
        fate = random.random(len(luck))
        gone = self._living & (fate < _VANISH)
        gone[moved] = False
        back = ~self._living & (fate < _RETURN)
        self._living ^= gone | back

        kind = random.random(len(moved))
        priced, scored = moved[kind < 0.6], moved[kind >= 0.55]
        price, demand = (
            np.round(self._price[priced] * random.normal(1, 0.01, len(priced)), 4),
            self._demand[priced],
        )
        price = np.where(price == self._price[priced], price + 0.0001, price)
        self._price[priced] = np.round(
            np.where(price > demand, price - 0.01 * demand - 0.0001, price), 4
        )
        # A score moves on by one or two of three, so it is another one for certain.
        self._scores[0, scored] = (
            self._scores[0, scored] - 1 + random.integers(1, 3, len(scored))
        ) % 3 + 1
        self._scores[1:, scored] = random.integers(1, 4, (2, len(scored)))
        rare = scored[random.random(len(scored)) < 0.02]
        self._frequency[rare] = random.integers(2, 7, len(rare)) / 2
        return self._rows(np.union1d(moved, np.flatnonzero(gone | back)))

    def snapshot(self) -> pl.DataFrame:
        """Key and values of every key that lives now, sorted by key."""
        return self._rows(np.flatnonzero(self._living)).drop("Time", "Ceased")

    def _rows(self, which: np.ndarray) -> pl.DataFrame:
        """The values of these keys; a tombstone has none."""
        savings = np.floor(100 * (1 - self._price[which] / self._demand[which])).astype(np.int64)
        columns = [
            *self._scores[:, which],
            savings,
            self._frequency[which],
            self._demand[which],
            self._price[which],
        ]
        ceased = pl.Series("Ceased", ~self._living[which])
        frame = self._names[which].with_columns(
            pl.lit(moment(self.slot)).alias("Time"),
            *(pl.Series(n, c) for n, c in zip(VALUES, columns, strict=True)),
            ceased,
        )
        if ceased.any():
            frame = frame.with_columns(pl.when(~pl.col("Ceased")).then(pl.col(VALUES)))
        return frame.select(pl.col(name).cast(dtype) for name, dtype in DTYPES.items())


def _names(keys: int, random: np.random.Generator) -> pl.DataFrame:
    """Key columns of `keys` different keys, sorted: a random part of all types in all zones."""
    zones = [
        (f"{a}-{s}-{n}", f"{a[:2]}{s[0]}{n}-az{z}")
        for a in _AREAS
        for s in _SIDES
        for n in (1, 2)
        for z in (1, 2, 3)
    ]
    types = [f"{family}.{size}" for family in _FAMILIES for size in _TYPES]
    more = -(
        -keys // (len(types) * len(zones))
    )  # beyond half a million keys there are types of several generations
    types += [
        f"{name}-v{n}" for n in range(2, more + 1) for name in types[: len(_FAMILIES) * len(_TYPES)]
    ]
    number = random.choice(len(types) * len(zones), keys, replace=False)
    kind, zone = number // len(zones), number % len(zones)
    return pl.DataFrame(
        {
            "InstanceType": pl.Series(types).gather(kind),
            "Region": pl.Series([r for r, _ in zones]).gather(zone),
            "AZ": pl.Series([z for _, z in zones]).gather(zone),
        }
    ).sort(KEY)


def change_points(
    slots: int, keys: int = KEYS, change: float = CHANGE, seed: int = SEED
) -> Iterator[pl.DataFrame]:
    """`Market.step`, `slots` times."""
    market = Market(keys, change, seed)
    return (market.step() for _ in range(slots))
