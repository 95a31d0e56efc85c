"""Made-up snapshots of the GCP spot market.

Calibrated on 142 real snapshots (2023-05-08 to 2025-06-26): on-demand prices and regions; the
quantiles of spot/on-demand; repricing in bursts that change a third to half of the keys by about 5
% or 15 %, 55 % of them upward, with quiet slots between; on-demand prices change for 0.7 % of the
keys in a burst; m2 has no spot price, 0.4 % of the keys have no on-demand price.

Scaled: real bursts come about monthly; here about daily, so that a day of slots shows one.

Assumed, for want of history: the score, and that 2 % of the keys get a new one every hour; that a
series in a region is repriced as a whole; that keys vanish and return often enough to be seen
within a day.
"""

from __future__ import annotations

from itertools import product
from random import Random
from typing import TYPE_CHECKING

import polars as pl

from titans.provider_tools import Presence, chosen, draw

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIES = {
    "c2": (0.0522, ("standard",), (4, 8, 16, 30, 60)),
    "c2d": (0.0454, ("standard", "highmem", "highcpu"), (2, 4, 8, 16, 32, 56, 112)),
    "c3": (0.0504, ("standard", "highmem", "highcpu"), (4, 8, 22, 44, 88, 176)),
    "c3d": (0.0454, ("standard", "highmem", "highcpu"), (4, 8, 16, 30, 60, 90, 180, 360)),
    "c4": (
        0.0494,
        ("standard", "highmem", "highcpu"),
        (2, 4, 8, 16, 24, 32, 48, 96, 144, 192, 288),
    ),
    "c4a": (0.0449, ("standard", "highmem", "highcpu"), (1, 2, 4, 8, 16, 32, 48, 64, 72)),
    "c4d": (0.0462, ("standard", "highmem", "highcpu"), (2, 4, 8, 16, 32, 48, 64, 96, 192, 384)),
    "e2": (0.0335, ("standard", "highmem", "highcpu"), (2, 4, 8, 16, 32)),
    "g2": (0.1067, ("standard",), (4, 8, 12, 16, 24, 32, 48, 96)),
    "h3": (0.0559, ("standard",), (88,)),
    "m2": (0.2028, ("ultramem",), (208, 416)),
    "m3": (0.1528, ("megamem", "ultramem"), (32, 64, 128)),
    "n1": (0.0475, ("standard", "highmem", "highcpu"), (2, 4, 8, 16, 32, 64, 96)),
    "n2": (0.0486, ("standard", "highmem", "highcpu"), (2, 4, 8, 16, 32, 48, 64, 80, 96, 128)),
    "n2d": (
        0.0422,
        ("standard", "highmem", "highcpu"),
        (2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224),
    ),
    "n4": (0.0474, ("standard", "highmem", "highcpu"), (2, 4, 8, 16, 32, 48, 64, 80)),
    "t2a": (0.0385, ("standard",), (1, 2, 4, 8, 16, 32, 48)),
    "t2d": (0.0422, ("standard",), (1, 2, 4, 8, 16, 32, 48, 60)),
    "z3": (0.1056, ("highmem",), (88, 176)),
}
"""Series → on-demand USD per vCPU and hour (standard, us-central1), kinds, sizes."""

KINDS = {"standard": 1.0, "highmem": 1.32, "highcpu": 0.78, "megamem": 1.0, "ultramem": 1.4}

REGIONS = {
    "africa-south1": 1.31,
    "asia-east1": 1.16,
    "asia-east2": 1.4,
    "asia-northeast1": 1.28,
    "asia-northeast2": 1.28,
    "asia-northeast3": 1.28,
    "asia-south1": 1.2,
    "asia-south2": 1.2,
    "asia-southeast1": 1.23,
    "asia-southeast2": 1.34,
    "australia-southeast1": 1.42,
    "australia-southeast2": 1.21,
    "europe-central2": 1.29,
    "europe-north1": 1.1,
    "europe-southwest1": 1.18,
    "europe-west1": 1.1,
    "europe-west10": 1.54,
    "europe-west12": 1.29,
    "europe-west2": 1.29,
    "europe-west3": 1.29,
    "europe-west4": 1.1,
    "europe-west6": 1.4,
    "europe-west8": 1.16,
    "europe-west9": 1.16,
    "me-central1": 1.22,
    "me-central2": 1.6,
    "me-west1": 1.1,
    "northamerica-northeast1": 1.1,
    "northamerica-northeast2": 1.1,
    "southamerica-east1": 1.59,
    "southamerica-west1": 1.43,
    "us-central1": 1.0,
    "us-east1": 1.0,
    "us-east4": 1.13,
    "us-east5": 1.0,
    "us-south1": 1.18,
    "us-west1": 1.0,
    "us-west2": 1.2,
    "us-west3": 1.2,
    "us-west4": 1.13,
}
"""Region → price relative to us-central1."""

RATIO = (
    (0, 0.09),
    (0.05, 0.11),
    (0.1, 0.15),
    (0.25, 0.23),
    (0.5, 0.3),
    (0.75, 0.4),
    (0.95, 0.401),
    (0.99, 0.45),
    (1, 0.71),
)
NO_SPOT = "m2"
DAY = 144
HOUR = 6
"""In slots."""


def snapshots(seed: int, keys: int, slots: int) -> Iterator[pl.DataFrame]:
    """One full snapshot per slot, the same for the same seed and keys; rows in the order of their
    keys.
    """
    market = _Market(Random(seed), keys)  # noqa: S311 - not for secrets
    for slot in range(slots):
        if slot:
            market.step(slot)
        yield market.snapshot()


class _Market:
    """One list per column, one entry per key; most slots change nothing."""

    def __init__(self, random: Random, keys: int) -> None:
        self.random = random
        self.keys = _keys(random, keys)
        count = len(self.keys)

        # A series in a region is repriced as a whole.
        of_group: dict[tuple[str, str], list[int]] = {}
        for index, (type_, region) in enumerate(self.keys):
            series, _, _ = type_.split("-")
            of_group.setdefault((series, region), []).append(index)
        self.groups = list(of_group.values())

        # Nobody publishes the on-demand price of an unlisted key, but its spot price still follows
        # it.
        self.base = [_ondemand(type_, region) for type_, region in self.keys]
        self.listed = [random.random() >= 0.004 for _ in range(count)]
        self.spot: list[float | None] = [None] * count
        for (series, _), indexes in of_group.items():
            ratio = draw(random, RATIO)
            if series == NO_SPOT:
                continue
            for index in indexes:
                self.spot[index] = round(self.base[index] * ratio, 6)

        self.score = [_score(random) for _ in range(count)]
        self.burst = random.randint(DAY // 6, DAY * 2 // 3)
        columns = ("InstanceType", "Region")
        self.frame = pl.DataFrame(self.keys, schema=dict.fromkeys(columns, pl.String), orient="row")
        self.presence = Presence(random, count, late=0.01, vanish=0.00005, wait=18)

    def step(self, slot: int) -> None:
        random = self.random
        if slot == self.burst:
            self._reprice()
            self.burst += random.randint(DAY * 2 // 3, DAY * 4 // 3)

        if slot % HOUR == 0:
            for index in chosen(random, len(self.keys), 0.02):
                self.score[index] = _score(random)
        self.presence.step()

    def _reprice(self) -> None:
        random = self.random
        for group in chosen(random, len(self.groups), 0.42):
            step = random.choice((0.05, 0.15))
            factor = 1 + step if random.random() < 0.55 else 1 - step
            for index in self.groups[group]:
                self.spot[index] = self._moved(index, factor)

        for index in chosen(random, len(self.keys), 0.007):
            self.base[index] = round(self.base[index] * random.uniform(0.95, 1.08), 6)

    def _moved(self, index: int, factor: float) -> float | None:
        """The next spot price of a key, within the shares of on-demand that were seen."""
        price = self.spot[index]
        if price is None:
            return None
        base = self.base[index]
        return round(min(max(price * factor, base * 0.09), base * 0.71), 6)

    def snapshot(self) -> pl.DataFrame:
        ondemand: list[float | None] = []
        for price, listed in zip(self.base, self.listed, strict=True):
            ondemand.append(price if listed else None)
        savings = list(map(_savings, ondemand, self.spot))

        full = self.frame.with_columns(
            pl.Series("Score", self.score, pl.Float64),
            pl.Series("Savings", savings, pl.Float64),
            pl.Series("OndemandPrice", ondemand, pl.Float64),
            pl.Series("SpotPrice", self.spot, pl.Float64),
        )
        return self.presence.there(full)


def _keys(random: Random, count: int) -> list[tuple[str, str]]:
    """`count` keys, or all there are."""
    types: list[str] = []
    for series, (_, kinds, sizes) in SERIES.items():
        types += [f"{series}-{kind}-{size}" for kind, size in product(kinds, sizes)]
    keys = list(product(types, REGIONS))
    random.shuffle(keys)
    return sorted(keys[:count])


def _savings(ondemand: float | None, spot: float | None) -> float | None:
    """In percent of the on-demand price, to two decimals as it is published."""
    if ondemand is None or spot is None:
        return None
    return round((1 - spot / ondemand) * 100, 2)


def _ondemand(type_: str, region: str) -> float:
    series, kind, size = type_.split("-")
    return round(SERIES[series][0] * KINDS[kind] * int(size) * REGIONS[region], 6)


def _score(random: Random) -> float:
    return random.choices((3.0, 2.0, 1.0), (60, 25, 15))[0]
