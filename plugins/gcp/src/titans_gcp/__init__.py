"""The GCP spot market for TITANS: availability score, savings, and prices per region."""

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
        dict.fromkeys(("Score", "OndemandPrice", "SpotPrice", "Savings"), "Float64"),
        score="Score",
        # Not Savings: spot can cost 1 % more than on-demand. See titans_normalize.
        unobserved=dict.fromkeys(("Score", "OndemandPrice", "SpotPrice"), -1),
        units={"OndemandPrice": "USD/h", "SpotPrice": "USD/h", "Savings": "%"},
        description={
            "Score": "spot placement score",
            "Savings": "of the spot price against on-demand",
        },
    )


@hookimpl
def titans_pk_columns() -> tuple[str, ...]:
    return ("InstanceType", "Region")


@hookimpl
def titans_normalize(frame: pl.DataFrame) -> pl.DataFrame:
    """A Savings of -1 means "not observed" only where a price was not observed either."""
    from titans.provider_tools import drop_sentinel

    return drop_sentinel(frame, "Savings", -1, unless=("OndemandPrice", "SpotPrice"))


@hookimpl
def titans_example(seed: int, keys: int, slots: int) -> Iterator[pl.DataFrame]:
    from titans_gcp._example import snapshots

    return snapshots(seed, keys, slots)
