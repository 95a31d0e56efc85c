"""Made-up snapshots of the Azure spot market.

Calibrated on 82 real snapshots (five European regions, 2026-07-20 to 2026-08-11): the spot price is
0.185 of on-demand for 84 % of the keys, the rest as in the quantiles below; 1 % of the keys have no
spot price, 0.04 % cost as much as on-demand; prices stay for days, then one region is repriced at
once, by 2 to 20 %.

Scaled: that repricing was seen once in three weeks; here it comes about daily, so that a day of
slots shows one.

Assumed, for want of history: on-demand prices per vCPU (rounded from the price list) and the
factors of regions; zones; DesiredCount, Score, T3 and T2 and that 0.8 % of the keys get new ones
per slot; the eviction scores, and that they change once in three weeks; that keys vanish and return
often enough to be seen within a day.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import polars as pl

from titans.provider_tools import Presence, chosen, draw
from titans_azure import NO_ZONE

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (2, 4, 8, 16, 32, 48, 64, 96)
VCPU_PRICE = {
    "D{}_v3": 0.048,
    "D{}s_v3": 0.048,
    "D{}a_v4": 0.048,
    "D{}as_v4": 0.048,
    "D{}ds_v4": 0.0565,
    "D{}s_v5": 0.048,
    "D{}as_v5": 0.043,
    "D{}ads_v5": 0.0515,
    "D{}ds_v5": 0.0565,
    "D{}pds_v5": 0.0452,
    "D{}ps_v5": 0.0385,
    "D{}lds_v5": 0.0482,
    "D{}as_v6": 0.0454,
    "D{}ads_v6": 0.0545,
    "D{}s_v6": 0.0504,
    "D{}ds_v6": 0.0593,
    "E{}_v3": 0.063,
    "E{}s_v3": 0.063,
    "E{}as_v4": 0.063,
    "E{}ds_v4": 0.072,
    "E{}s_v5": 0.063,
    "E{}as_v5": 0.0565,
    "E{}ads_v5": 0.0655,
    "E{}ds_v5": 0.072,
    "E{}bs_v5": 0.0834,
    "E{}ps_v5": 0.0504,
    "E{}as_v6": 0.0596,
    "E{}ads_v6": 0.0692,
    "E{}s_v6": 0.0661,
    "F{}s_v2": 0.0423,
    "F{}as_v6": 0.0435,
    "F{}ams_v6": 0.0577,
    "L{}s_v3": 0.087,
    "L{}as_v3": 0.078,
    "DC{}as_v5": 0.0473,
    "DC{}ads_v5": 0.0567,
    "EC{}as_v5": 0.0622,
    "FX{}mds_v2": 0.0936,
}
"""Name without `Standard_`, with a gap for the vCPUs → on-demand USD per vCPU and hour in
eastus."""

BASIC = {"A0": 0.018, "A1": 0.023, "A2": 0.079, "A3": 0.176, "A4": 0.352}

REGIONS = {
    "australiaeast": (1.25, True),
    "belgiumcentral": (1.2, True),
    "brazilsouth": (1.6, True),
    "canadacentral": (1.11, True),
    "canadaeast": (1.11, False),
    "centralindia": (1.08, True),
    "centralus": (1.2, True),
    "eastasia": (1.4, True),
    "eastus": (1.0, True),
    "eastus2": (1.0, True),
    "francecentral": (1.22, True),
    "germanywestcentral": (1.2, True),
    "italynorth": (1.2, True),
    "japaneast": (1.34, True),
    "japanwest": (1.34, True),
    "koreacentral": (1.2, True),
    "northcentralus": (1.0, False),
    "northeurope": (1.11, True),
    "norwayeast": (1.3, True),
    "polandcentral": (1.2, True),
    "southafricanorth": (1.25, True),
    "southcentralus": (1.2, True),
    "southeastasia": (1.25, True),
    "southindia": (1.3, False),
    "spaincentral": (1.2, True),
    "swedencentral": (1.06, True),
    "switzerlandnorth": (1.3, True),
    "uaenorth": (1.25, True),
    "uksouth": (1.16, True),
    "ukwest": (1.16, False),
    "westcentralus": (1.2, False),
    "westeurope": (1.2, True),
    "westus": (1.17, False),
    "westus2": (1.0, True),
    "westus3": (1.0, True),
}
"""Region → price relative to eastus, whether it has zones."""

RATIO = (
    (0, 0.1),
    (0.004, 0.1846),
    (0.01, 0.1848),
    (0.85, 0.1849),
    (0.9, 0.2),
    (0.95, 0.32),
    (0.985, 0.9),
    (0.9996, 0.9),
    (1, 1.0),
)
COUNTS = (1, *range(5, 51, 5))
"""Numbers of instances for which a placement score is asked."""
DAY = 144
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
    """One list per column, one entry per key; a slot changes few of them."""

    def __init__(self, random: Random, keys: int) -> None:
        self.random = random
        prices = _price_list(random)
        self.keys = _keys(random, keys, list(prices))
        count = len(self.keys)

        of_region: dict[str, list[int]] = {}
        for index, (_, region, _) in enumerate(self.keys):
            of_region.setdefault(region, []).append(index)
        self.regions = list(of_region.values())

        self.ondemand: list[float] = []
        self.spot: list[float | None] = []
        for type_, region, _ in self.keys:
            price, ratio = prices[type_, region]
            self.ondemand.append(price)
            self.spot.append(None if ratio is None else round(price * ratio, 6))

        self.desired = random.choices((1.0, 10.0, 50.0), (90, 5, 5), k=count)
        self.score = [0] * count
        self.t3 = [0] * count
        self.t2 = [0] * count
        for index in range(count):
            self._place(index)
        self.eviction = [_eviction(random) for _ in range(count)]
        self.repricing = random.randint(DAY // 6, DAY * 2 // 3)

        columns = ("InstanceType", "Region", "AvailabilityZone")
        self.frame = pl.DataFrame(self.keys, schema=dict.fromkeys(columns, pl.String), orient="row")
        self.presence = Presence(random, count, late=0.01, vanish=0.0001, wait=18)

    def _place(self, index: int) -> None:
        """T3 and T2: up to how many instances the score is 3, and at least 2; Score: what it is for
        DesiredCount.
        """
        random = self.random
        t3 = 0
        if random.random() < 0.6:
            t3 = random.choice(COUNTS)
        t2 = 0
        if t3 or random.random() < 0.4:
            t2 = random.choice([count for count in COUNTS if count >= t3])
        self.t3[index] = t3
        self.t2[index] = t2

        if t3 >= self.desired[index]:
            self.score[index] = 3
        elif t2 >= self.desired[index]:
            self.score[index] = 2
        else:
            self.score[index] = 1

    def step(self, slot: int) -> None:
        random = self.random
        if slot == self.repricing and self.regions:
            self._reprice(random.choice(self.regions))
            self.repricing += random.randint(DAY * 2 // 3, DAY * 4 // 3)

        for index in chosen(random, len(self.keys), 0.008):
            self._place(index)
        for index in chosen(random, len(self.keys), 0.0003):
            self.eviction[index] = _eviction(random)
        self.presence.step()

    def _reprice(self, indexes: list[int]) -> None:
        factor = 1 + self.random.choice((-1, 1)) * self.random.uniform(0.02, 0.2)
        for index in indexes:
            price = self.spot[index]
            if price is not None:
                self.spot[index] = min(round(price * factor, 6), self.ondemand[index])

    def snapshot(self) -> pl.DataFrame:
        savings = list(map(_savings, self.ondemand, self.spot))
        full = self.frame.with_columns(
            pl.Series("DesiredCount", self.desired, pl.Float64),
            pl.Series("Score", self.score, pl.Int64),
            pl.Series("T3", self.t3, pl.Int64),
            pl.Series("T2", self.t2, pl.Int64),
            pl.Series("Savings", savings, pl.Float64),
            pl.Series("IF", self.eviction, pl.Float64),
            pl.Series("OndemandPrice", self.ondemand, pl.Float64),
            pl.Series("SpotPrice", self.spot, pl.Float64),
        )
        return self.presence.there(full)


def _price_list(random: Random) -> dict[tuple[str, str], tuple[float, float | None]]:
    """(type, region) → on-demand price, and spot as a share of it where there is spot."""
    listed = {f"Basic_{size}": price for size, price in BASIC.items()}
    for name, price in VCPU_PRICE.items():
        for size in SIZES:
            listed[f"Standard_{name.format(size)}"] = price * size

    prices: dict[tuple[str, str], tuple[float, float | None]] = {}
    for type_, price in listed.items():
        for region, (factor, _) in REGIONS.items():
            ratio = None if random.random() < 0.01 else draw(random, RATIO)
            prices[type_, region] = (round(price * factor, 4), ratio)
    return prices


def _keys(random: Random, count: int, pairs: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """`count` keys, or all there are: types of random regions, most of them in all zones of a
    region that has zones.
    """
    random.shuffle(pairs)
    keys: list[tuple[str, str, str]] = []
    for type_, region in pairs:
        if len(keys) >= count:
            break

        zones: tuple[str, ...] = (NO_ZONE,)
        _, has_zones = REGIONS[region]
        if has_zones and not type_.startswith("Basic_") and random.random() < 0.8:
            zones = ("1", "2", "3")
        keys += [(type_, region, zone) for zone in zones]
    return sorted(keys[:count])


def _savings(ondemand: float, spot: float | None) -> float | None:
    """In percent of the on-demand price, to two decimals as it is published."""
    if spot is None:
        return None
    return round((1 - spot / ondemand) * 100, 2)


def _eviction(random: Random) -> float:
    """The score for 0-5 % (3.0) to more than 20 % (1.0) evictions."""
    return random.choices((3.0, 2.5, 2.0, 1.5, 1.0), (50, 20, 12, 8, 10))[0]
