"""A process of test_iceberg_races.py: uploads its slots, compacts now and then, and publishes.

    python publishing_worker.py FOLDER NUMBER WORKERS SLOTS

It begins with its first slot every time it is started, and ends when all are published once.
"""

from __future__ import annotations

import sys

import polars as pl
from oracle import PROVIDER, at, changes

from titans import Archive
from titans.errors import RetryableError
from titans.store.local import LocalStore


def rows(slot: int) -> dict[str, tuple]:
    """What is uploaded for a slot."""
    return {f"{slot}-{number}": (slot, number / 2) for number in range(1 + slot % 4)}


def expected(slots: set[int]) -> pl.DataFrame:
    """The change points of some slots."""
    frames = [changes(rows(slot)).with_columns(Time=pl.lit(at(slot, 4))) for slot in sorted(slots)]
    together = pl.concat(frames).with_columns(pl.col("Time").cast(pl.Datetime("us", "UTC")))
    return together.select("k", "Time", "v", "w", "Ceased").sort("k", "Time")


def work(folder: str, number: int, workers: int, slots: int) -> None:
    archive = Archive(LocalStore(folder), PROVIDER)
    for slot in range(number, slots, workers):
        archive.upload(changes(rows(slot)), at(slot, 4))
        try:
            if slot % 3 == 0:
                archive.compact()
            archive.publish_iceberg()
        except RetryableError:
            continue


if __name__ == "__main__":
    work(sys.argv[1], *map(int, sys.argv[2:]))
