"""The AWS spot market for TITANS: placement scores, interruption frequency, savings, and prices per
zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from titans import Schema, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

TITANS_API = 1


@hookimpl
def titans_schema() -> Schema:
    return Schema(
        {
            "SPS": "Int64",
            "T3": "Int64",
            "T2": "Int64",
            "IF": "Float64",
            "OndemandPrice": "Float64",
            "SpotPrice": "Float64",
            "Savings": "Int64",
        },
        score="SPS",
        # Not Savings: spot can cost 1 % more than on-demand. See titans_normalize.
        unobserved=dict.fromkeys(("SPS", "T3", "T2", "IF", "OndemandPrice", "SpotPrice"), -1),
        units={"OndemandPrice": "USD/h", "SpotPrice": "USD/h", "Savings": "%"},
        description={
            "SPS": "spot placement score, 1 to 10",
            "T3": "largest number of instances with the score 3",
            "T2": "largest number of instances with the score 2 or more",
            "IF": "class of interruption frequency, 3.0 is the lowest",
            "Savings": "of the spot price against on-demand",
        },
    )


@hookimpl
def titans_pk_columns() -> tuple[str, ...]:
    return ("InstanceType", "Region", "AZ")


@hookimpl
def titans_normalize(frame: pl.DataFrame) -> pl.DataFrame:
    """A Savings of -1 means "not observed" only where a price was not observed either."""
    from titans.provider_tools import drop_sentinel

    return drop_sentinel(frame, "Savings", -1, unless=("OndemandPrice", "SpotPrice"))


@hookimpl
def titans_example(seed: int, keys: int, slots: int) -> Iterator[pl.DataFrame]:
    from titans_aws._example import snapshots

    return snapshots(seed, keys, slots)
