"""Made-up snapshots of the AWS spot market.

Calibrated on 160 real snapshots (2024-04-15 to 2024-05-24, four a day): on-demand prices, regions
and zone ids; the quantiles of spot/on-demand and of the relative size of a move; 60 % of the moves
upward, 2.7 % back to the value before the last; 1.5 % of the spot prices and 0.2 % of the on-demand
prices missing, 2 % of the keys never moving; the shares of the interruption scores (spot advisor,
2025).

Scaled: a spot price moves with probability 0.036 per slot, which makes the 0.51 (3.6 h) to 0.8 (6.5
h) of the keys that were seen to change between real snapshots. Upward moves are a little smaller
than downward ones, or prices would drift.

Assumed, for want of history: the distribution of SPS, T3 and T2 and that 1 % of the keys get new
ones per slot; that a type's interruption score changes once in two weeks; that keys vanish and
return often enough to be seen within a day (in the real data 0.7 % of the keys appeared and hardly
any vanished in 40 days).
"""

from __future__ import annotations

import math
from itertools import product
from random import Random
from typing import TYPE_CHECKING

import polars as pl

from titans.provider_tools import Presence, chosen, draw

if TYPE_CHECKING:
    from collections.abc import Iterator

VCPU_PRICE = {
    "a1": 0.0255,
    "c4": 0.0498,
    "c5": 0.0425,
    "c5a": 0.0385,
    "c5ad": 0.043,
    "c5d": 0.048,
    "c5n": 0.054,
    "c6a": 0.0383,
    "c6g": 0.034,
    "c6gd": 0.0384,
    "c6gn": 0.0432,
    "c6i": 0.0425,
    "c6id": 0.0504,
    "c6in": 0.0567,
    "c7a": 0.0513,
    "c7g": 0.0363,
    "c7gd": 0.0454,
    "c7gn": 0.0624,
    "c7i": 0.0446,
    "d3": 0.1248,
    "d3en": 0.1315,
    "g4ad": 0.0946,
    "g4dn": 0.1315,
    "g5": 0.2515,
    "g6": 0.2012,
    "i3": 0.078,
    "i3en": 0.113,
    "i4g": 0.0772,
    "i4i": 0.0858,
    "im4gn": 0.0909,
    "inf2": 0.1896,
    "is4gen": 0.1441,
    "m4": 0.05,
    "m5": 0.048,
    "m5a": 0.043,
    "m5ad": 0.0515,
    "m5d": 0.0565,
    "m5dn": 0.068,
    "m5n": 0.0595,
    "m5zn": 0.0826,
    "m6a": 0.0432,
    "m6g": 0.0385,
    "m6gd": 0.0452,
    "m6i": 0.048,
    "m6id": 0.0593,
    "m6idn": 0.0796,
    "m6in": 0.0696,
    "m7a": 0.058,
    "m7g": 0.0408,
    "m7gd": 0.0534,
    "m7i": 0.0504,
    "r4": 0.0665,
    "r5": 0.063,
    "r5a": 0.0565,
    "r5ad": 0.0655,
    "r5b": 0.0745,
    "r5d": 0.072,
    "r5dn": 0.0835,
    "r5n": 0.0745,
    "r6a": 0.0567,
    "r6g": 0.0504,
    "r6gd": 0.0576,
    "r6i": 0.063,
    "r6id": 0.0756,
    "r6idn": 0.0977,
    "r6in": 0.0872,
    "r7a": 0.0761,
    "r7g": 0.0536,
    "r7gd": 0.0681,
    "r7i": 0.0662,
    "r7iz": 0.093,
    "x2gd": 0.0835,
    "x2iedn": 0.2084,
    "z1d": 0.093,
}
"""Family → on-demand USD per vCPU and hour in us-east-1."""

VCPUS = {
    "large": 2,
    "xlarge": 4,
    "2xlarge": 8,
    "4xlarge": 16,
    "8xlarge": 32,
    "12xlarge": 48,
    "16xlarge": 64,
    "24xlarge": 96,
}

REGIONS = {
    "af-south-1": (1.32, "afs1", (1, 2, 3)),
    "ap-east-1": (1.38, "ape1", (1, 2, 3)),
    "ap-northeast-1": (1.29, "apne1", (1, 2, 4)),
    "ap-northeast-2": (1.23, "apne2", (1, 2, 3, 4)),
    "ap-northeast-3": (1.29, "apne3", (1, 2, 3)),
    "ap-south-1": (1.05, "aps1", (1, 2, 3)),
    "ap-southeast-1": (1.25, "apse1", (1, 2, 3)),
    "ap-southeast-2": (1.25, "apse2", (1, 2, 3)),
    "ap-southeast-3": (1.25, "apse3", (1, 2, 3)),
    "ca-central-1": (1.11, "cac1", (1, 2, 4)),
    "eu-central-1": (1.2, "euc1", (1, 2, 3)),
    "eu-north-1": (1.06, "eun1", (1, 2, 3)),
    "eu-south-1": (1.17, "eus1", (1, 2, 3)),
    "eu-west-1": (1.11, "euw1", (1, 2, 3)),
    "eu-west-2": (1.16, "euw2", (1, 2, 3)),
    "eu-west-3": (1.17, "euw3", (1, 2, 3)),
    "me-central-1": (1.22, "mec1", (1, 2, 3)),
    "me-south-1": (1.22, "mes1", (1, 2, 3)),
    "us-east-1": (1.0, "use1", (1, 2, 4, 5, 6)),
    "us-east-2": (1.0, "use2", (1, 2, 3)),
    "us-west-1": (1.17, "usw1", (1, 3)),
    "us-west-2": (1.0, "usw2", (1, 2, 3, 4)),
}
"""Region → price relative to us-east-1, prefix of its zone ids, their numbers."""

RATIO = (
    (0, 0.1),
    (0.05, 0.13),
    (0.1, 0.16),
    (0.25, 0.26),
    (0.5, 0.36),
    (0.75, 0.44),
    (0.9, 0.51),
    (0.99, 0.66),
    (1, 1.0),
)
MOVE = (
    (0, 0.0001),
    (0.1, 0.0006),
    (0.25, 0.0011),
    (0.5, 0.002),
    (0.75, 0.0036),
    (0.9, 0.0055),
    (0.99, 0.018),
    (0.9999, 0.056),
    (1, 1.72),
)
COUNTS = (1, *range(5, 51, 5))
"""Numbers of instances for which a placement score is asked."""


def snapshots(seed: int, keys: int, slots: int) -> Iterator[pl.DataFrame]:
    """One full snapshot per slot, the same for the same seed and keys; rows in the order of their
    keys.
    """
    market = _Market(Random(seed), keys)  # noqa: S311 - not for secrets
    for slot in range(slots):
        if slot:
            market.step()
        yield market.snapshot()


class _Market:
    """One list per column, one entry per key; a slot changes few of them."""

    def __init__(self, random: Random, keys: int) -> None:
        self.random = random
        self.keys = _keys(random, keys)
        count = len(self.keys)

        # Keys that differ in the zone only share an on-demand price and an interruption score.
        of_pair: dict[tuple[str, str], list[int]] = {}
        for index, (type_, region, _) in enumerate(self.keys):
            of_pair.setdefault((type_, region), []).append(index)
        self.siblings = list(of_pair.values())
        self.ondemand: list[float | None] = [None] * count
        self.interruption: list[float] = [0.0] * count
        for (type_, region), indexes in of_pair.items():
            price = None if random.random() < 0.002 else _ondemand(type_, region)
            score = _interruption(random)
            for index in indexes:
                self.ondemand[index] = price
                self.interruption[index] = score

        self.spot = [_first_spot(random, price) for price in self.ondemand]
        self.before = list(self.spot)
        self.moves = [random.random() >= 0.022 for _ in range(count)]

        self.sps = [0] * count
        self.t3 = [0] * count
        self.t2 = [0] * count
        for index in range(count):
            self._place(index)

        columns = ("InstanceType", "Region", "AZ")
        self.frame = pl.DataFrame(self.keys, schema=dict.fromkeys(columns, pl.String), orient="row")
        self.presence = Presence(random, count, late=0.007, vanish=0.0001, wait=18)

    def _place(self, index: int) -> None:
        self.sps[index], self.t3[index], self.t2[index] = _placement(self.random)

    def step(self) -> None:
        random = self.random
        count = len(self.keys)
        for index in chosen(random, count, 0.036):
            if self.moves[index]:
                moved = self._moved(index)
                self.before[index] = self.spot[index]
                self.spot[index] = moved

        for index in chosen(random, count, 0.01):
            self._place(index)

        for pair in chosen(random, len(self.siblings), 0.0005):
            score = _interruption(random)
            for index in self.siblings[pair]:
                self.interruption[index] = score

        self.presence.step()

    def _moved(self, index: int) -> float | None:
        """The next spot price of a key."""
        price = self.spot[index]
        limit = self.ondemand[index]
        if price is None or limit is None:
            return price
        if self.random.random() < 0.027:
            return self.before[index]

        size = draw(self.random, MOVE)
        if self.random.random() < 0.6:
            factor = 1 + 0.8 * size
            least = 0.0001
        else:
            factor = 1 / (1 + 1.2 * size)
            least = -0.0001

        moved = round(price * factor, 4)
        if moved == price:
            moved = round(price + least, 4)
        return min(max(moved, 0.0001), limit)

    def snapshot(self) -> pl.DataFrame:
        savings = list(map(_savings, self.ondemand, self.spot))
        full = self.frame.with_columns(
            pl.Series("SPS", self.sps, pl.Int64),
            pl.Series("T3", self.t3, pl.Int64),
            pl.Series("T2", self.t2, pl.Int64),
            pl.Series("Savings", savings, pl.Int64),
            pl.Series("IF", self.interruption, pl.Float64),
            pl.Series("OndemandPrice", self.ondemand, pl.Float64),
            pl.Series("SpotPrice", self.spot, pl.Float64),
        )
        return self.presence.there(full)


def _keys(random: Random, count: int) -> list[tuple[str, str, str]]:
    """`count` keys, or all there are: types of random regions, each in all zones of its region."""
    types = [f"{family}.{size}" for family, size in product(VCPU_PRICE, VCPUS)]
    pairs = list(product(types, REGIONS))
    random.shuffle(pairs)

    keys: list[tuple[str, str, str]] = []
    for type_, region in pairs:
        if len(keys) >= count:
            break
        _, prefix, zones = REGIONS[region]
        keys += [(type_, region, f"{prefix}-az{zone}") for zone in zones]
    return sorted(keys[:count])


def _ondemand(type_: str, region: str) -> float:
    family, size = type_.split(".")
    return round(VCPU_PRICE[family] * VCPUS[size] * REGIONS[region][0], 4)


def _interruption(random: Random) -> float:
    """The score for <5 % (3.0) to >20 % (1.0) interruptions in the trailing month."""
    return random.choices((3.0, 2.5, 2.0, 1.5, 1.0), (22, 19, 14, 13, 33))[0]


def _placement(random: Random) -> tuple[int, int, int]:
    """SPS for one instance, T3 and T2: up to how many instances the score is 3, and at least 2 (0:
    not even for one).
    """
    t3 = 0
    if random.random() < 0.6:
        t3 = random.choice(COUNTS)

    # Where one has a score of 3, there is a number with a score of at least 2.
    t2 = 0
    if t3 or random.random() < 0.4:
        t2 = random.choice([count for count in COUNTS if count >= t3])

    if t3:
        return 3, t3, t2
    if t2:
        return 2, t3, t2
    return 1, t3, t2


def _first_spot(random: Random, ondemand: float | None) -> float | None:
    if ondemand is None or random.random() < 0.013:
        return None
    return max(round(ondemand * draw(random, RATIO), 4), 0.0001)


def _savings(ondemand: float | None, spot: float | None) -> int | None:
    """In percent of the on-demand price."""
    if ondemand is None or spot is None:
        return None
    return math.floor((1 - spot / ondemand) * 100 + 0.5)
