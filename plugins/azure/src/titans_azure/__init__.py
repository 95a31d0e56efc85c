"""The Azure spot market for TITANS: placement scores, eviction rates, savings, and prices per
availability zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from titans import Schema, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

TITANS_API = 1

NO_ZONE = "Single"
"""The `AvailabilityZone` of what is offered for the region as a whole."""


@hookimpl
def titans_schema() -> Schema:
    return Schema(
        {
            "DesiredCount": "Float64",
            "Score": "Int64",
            "T3": "Int64",
            "T2": "Int64",
            "IF": "Float64",
            "OndemandPrice": "Float64",
            "SpotPrice": "Float64",
            "Savings": "Float64",
        },
        score="Score",
        # Not Savings: spot can cost 1 % more than on-demand. See titans_normalize.
        unobserved=dict.fromkeys(
            ("DesiredCount", "Score", "T3", "T2", "IF", "OndemandPrice", "SpotPrice"), -1
        ),
        units={"OndemandPrice": "USD/h", "SpotPrice": "USD/h", "Savings": "%"},
        description={
            "DesiredCount": "number of instances that the score was asked for",
            "Score": "spot placement score, 1 to 3",
            "T3": "largest number of instances with the score 3",
            "T2": "largest number of instances with the score 2 or more",
            "IF": "class of interruption frequency, 3.0 is the lowest",
            "Savings": "of the spot price against on-demand",
        },
    )


@hookimpl
def titans_pk_columns() -> tuple[str, ...]:
    return ("InstanceType", "Region", "AvailabilityZone")


@hookimpl
def titans_normalize(frame: pl.DataFrame) -> pl.DataFrame:
    """Full SKU names, one zone column without gaps, and no Savings where a price was not observed.

    * `InstanceTier` goes into `InstanceType` (`Basic` and `A0` → `Basic_A0`: A0 exists in both
      tiers), unless the type has its tier already, in whatever case; then it is dropped.
    * `AZ` is taken for `AvailabilityZone`; no zone (no column, null, empty) becomes `"Single"`.
    * A Savings of -1 means "not observed" only where a price was not observed either.
    """
    from titans.provider_tools import drop_sentinel

    frame = _with_zone(_with_sku_name(frame))
    return drop_sentinel(frame, "Savings", -1, unless=("OndemandPrice", "SpotPrice"))


@hookimpl
def titans_example(seed: int, keys: int, slots: int) -> Iterator[pl.DataFrame]:
    from titans_azure._example import snapshots

    return snapshots(seed, keys, slots)


def _with_sku_name(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    if not {"InstanceTier", "InstanceType"} <= set(frame.columns):
        return frame

    name = pl.col("InstanceType").cast(pl.String)
    tier = pl.col("InstanceTier").cast(pl.String).str.strip_chars()
    lower = name.str.to_lowercase()
    complete = lower.str.contains("^(standard|basic)_") | lower.str.starts_with(
        tier.str.to_lowercase() + "_"
    )

    # A missing tier makes `complete` null for names without a known one, and there is nothing to
    # fold in.
    fold = (~complete & (tier != "")).fill_null(False)
    # Published once: a tier "FXmds Type1" without a type.
    sku = pl.when(name == "").then(tier).otherwise(tier + "_" + name)
    folded = frame.with_columns(InstanceType=pl.when(fold).then(sku).otherwise(name))
    return folded.drop("InstanceTier")


def _with_zone(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    columns = [name for name in ("AvailabilityZone", "AZ") if name in frame.columns]
    zones = [_zone(name, frame.schema[name]) for name in columns]
    filled = pl.coalesce(*zones, pl.lit(NO_ZONE))
    return frame.with_columns(AvailabilityZone=filled).drop("AZ", strict=False)


def _zone(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column of zones as text, null where there is none."""
    import polars as pl

    column = pl.col(name)
    text = column.cast(pl.String)

    # 1.0, where pandas had a gap among whole numbers
    if dtype.is_float():
        whole = column.cast(pl.Int64, strict=False).cast(pl.String)
        text = pl.when(column == column.round()).then(whole).otherwise(text)

    text = text.str.strip_chars()
    return pl.when(text != "").then(text)
