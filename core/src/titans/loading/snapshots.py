"""A table that holds many full snapshots, apart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from titans.errors import SchemaError
from titans.loading.tables import collected, columns_of
from titans.schema import TIME

if TYPE_CHECKING:
    import polars as pl

    from titans.slots import Month

__all__ = ["Snapshots", "month_of_table", "read_snapshots", "times_of"]

Snapshots = Iterator[tuple[datetime, "pl.DataFrame"]]
"""Snapshots and when they were collected, in UTC."""


def read_snapshots(table: pl.LazyFrame, column: str = TIME) -> tuple[int, Snapshots]:
    """How many snapshots a table has, and each with its time, in order. Only one is held in memory
    at a time.

    Args:
        table: the rows of all of them.
        column: says when a row was collected; it is no part of the snapshot.

    Raises:
        SchemaError: no such column, or it is null or not of dates and times.
    """
    times = times_of(table, column)
    table = table.with_columns(_in_utc(column))
    if times.is_sorted():
        runs = times.rle().struct.unnest()
        return runs.height, _read_sorted(table, runs, column)

    # Each snapshot costs a pass over the table, but none of it has to be sorted in memory.
    distinct = times.unique().sort()
    return len(distinct), _read_unsorted(table, distinct, column)


def times_of(table: pl.LazyFrame, column: str) -> pl.Series:
    """The column of times in UTC.

    Raises:
        SchemaError: no such column, or it is null or not of dates and times.
    """
    from titans.exact.convert import convert_stored
    from titans.schema import TIME

    schema = columns_of(table)
    if column not in schema:
        raise SchemaError(f"the table has no column {column!r}; it has {', '.join(schema)}")

    done = convert_stored(collected(table.select(column))[column].alias(TIME), {})
    if done.bad is not None:
        raise SchemaError(
            f"{int(done.bad.sum())} value(s) of column {column!r} ({schema[column]}) are no times; "
            f"first: {done.examples()}; write them like 2026-01-23 14:20:00 (UTC)"
        )
    if done.values.null_count():
        raise SchemaError(f"column {column!r} is null in {done.values.null_count()} row(s)")
    return done.values


def month_of_table(tables: list[pl.LazyFrame], column: str, month: Month) -> pl.DataFrame:
    """The rows of a month in tables that are parts of one, by time; rows of one time in the order
    in which they stand there. Each table is read once.
    """
    import polars as pl

    parts = []
    for table in tables:
        in_month = _is_in(month, column, columns_of(table)[column])
        parts.append(table.filter(in_month).with_columns(_in_utc(column)))
    rows = collected(pl.concat(parts, how="diagonal_relaxed"))
    return rows.sort(column, maintain_order=True)


def _is_in(month: Month, column: str, dtype: pl.DataType) -> pl.Expr:
    """Whether a time lies in a month; said so that a Parquet file need not be read where it lies
    in another.
    """
    import polars as pl

    if not isinstance(dtype, pl.Datetime):
        return _in_utc(column).is_between(pl.lit(month.start), pl.lit(month.end), closed="left")
    start, end = pl.lit(month.start), pl.lit(month.end)
    if dtype.time_zone is None:
        start, end = start.dt.replace_time_zone(None), end.dt.replace_time_zone(None)
    else:
        start = start.dt.convert_time_zone(dtype.time_zone)
        end = end.dt.convert_time_zone(dtype.time_zone)
    return pl.col(column).is_between(start, end, closed="left")


def _in_utc(column: str) -> pl.Expr:
    import polars as pl

    from titans.exact.times import UTC_TIME, moments

    return pl.col(column).map_batches(moments, return_dtype=UTC_TIME, is_elementwise=True)


def _read_unsorted(table: pl.LazyFrame, timestamps: pl.Series, column: str) -> Snapshots:
    """The snapshots of a table in whatever order."""
    import polars as pl

    for timestamp in timestamps:
        yield timestamp, collected(table.filter(pl.col(column) == timestamp).drop(column))


def _read_sorted(table: pl.LazyFrame, runs: pl.DataFrame, column: str) -> Snapshots:
    """The snapshots of a table sorted by time, from its runs of equal times."""
    offset = 0
    for length, timestamp in runs.iter_rows():
        yield timestamp, collected(table.slice(offset, length).drop(column))
        offset += length
