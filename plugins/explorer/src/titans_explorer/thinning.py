"""Lines with few points that look like those with all of them.

Per bucket of time the first, the lowest, the highest and the last point stay (Jugel et al., "M4: A
Visualization-Oriented Time Series Data Aggregation", VLDB 2014), and the first gap: what is drawn
with a bucket a pixel is what all points would draw.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

__all__ = ["KEPT", "steps", "thinned"]

KEPT = 5
"""Points of a bucket that stay, at most."""


def steps(periods: pl.DataFrame, column: str, start: datetime) -> pl.DataFrame:
    """The periods of one key as the points of a step line.

    Args:
        periods: `valid_from`, `valid_to`, and the column, ascending, as `Archive.intervals` has
            them.
        start: what holds since earlier begins here.

    Returns:
        `t`, `v`: from `t` on the value is `v`, null while there is none. Neighbours differ.
    """
    begins = pl.max_horizontal("valid_from", pl.lit(start).cast(pl.Datetime("us", "UTC")))
    values = periods.select(t=begins, v=column)
    ceased = pl.col("valid_to") != pl.col("valid_from").shift(-1)
    gaps = periods.filter(pl.col("valid_to").is_not_null() & ceased.fill_null(True)).select(
        t="valid_to", v=pl.lit(None, periods.schema[column])
    )
    points = pl.concat([values, gaps]).sort("t", maintain_order=True)
    is_new = ~pl.col("v").eq_missing(pl.col("v").shift(1))
    return points.filter(is_new | (pl.int_range(pl.len()) == 0))


def thinned(points: pl.DataFrame, limit: int) -> pl.DataFrame:
    """At most `limit` of the points, extremes and gaps among them; all, where they are no more.

    Args:
        points: `t` and a number `v`, ascending.
    """
    if points.height <= limit:
        return points
    buckets = max(limit // KEPT, 1)
    first, last = points["t"][0], points["t"][-1]
    width = max((last - first).total_seconds() * 1e6 / buckets, 1)
    offset = (pl.col("t") - first).dt.total_microseconds()
    bucket = (offset / width).floor().clip(0, buckets - 1).cast(pl.Int64)

    indexed = points.with_columns(bucket=bucket, row=pl.int_range(pl.len()))
    there = pl.col("v").is_not_null()
    row = pl.col("row")
    wanted = indexed.group_by("bucket").agg(
        first=row.first(),
        last=row.last(),
        low=row.filter(there).get(pl.col("v").filter(there).arg_min(), null_on_oob=True),
        high=row.filter(there).get(pl.col("v").filter(there).arg_max(), null_on_oob=True),
        gap=row.filter(~there).first(),
    )
    kept = pl.concat([wanted[name] for name in ("first", "last", "low", "high", "gap")])
    return points[kept.drop_nulls().unique().sort()]
