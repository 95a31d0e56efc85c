"""Which parts of a file a condition lets be left out, by the least and greatest values in them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import polars as pl
from attrs import frozen

__all__ = ["Bounds", "Part", "may_hold"]

log = logging.getLogger("titans.read")

_BEYOND = "\U0010ffff"


@frozen
class Bounds:
    """What is known of the values of a text column."""

    least: str
    greatest: str
    """May have been cut short: what starts with it may still be there."""
    nulls: int


@frozen
class Part:
    """What is known of some rows of a file."""

    rows: int
    bounds: Mapping[str, Bounds]


def may_hold(
    where: pl.Expr, schema: Mapping[str, pl.DataType], parts: Sequence[Part]
) -> list[bool]:
    """Of each part, whether some of its rows may satisfy `where`, a condition over the columns of
    `schema`.

    polars says what a condition means for statistics, as it does for Parquet files that it reads
    itself. Of a condition that it cannot say it of, every part may.
    """
    everything = [True] * len(parts)
    names = list(dict.fromkeys(where.meta.root_names()))
    # It is not public, and no answer depends on it: without it, more is fetched.
    skip = getattr(where, "_skip_batch_predicate", None)
    if skip is None or not any(name in part.bounds for name in names for part in parts):
        return everything

    try:
        condition = skip(dict(schema))
        if condition is None:
            return everything
        statistics = _statistics(names, schema, parts)
        skipped = statistics.select(condition.alias("skipped"))["skipped"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        log.debug("%s says nothing of parts of files: %s", where, error)
        return everything
    return [answer is not True for answer in skipped]


def _statistics(
    names: Sequence[str], schema: Mapping[str, pl.DataType], parts: Sequence[Part]
) -> pl.DataFrame:
    """A row for each part: `len`, and `{name}_min`, `{name}_max`, `{name}_nc` of each column."""
    columns = [pl.Series("len", [part.rows for part in parts], pl.UInt32)]
    for name in names:
        dtype = schema[name]
        known = [part.bounds.get(name) if dtype == pl.String else None for part in parts]
        least = [None if bounds is None else bounds.least for bounds in known]
        greatest = [None if bounds is None else bounds.greatest + _BEYOND for bounds in known]
        nulls = [None if bounds is None else bounds.nulls for bounds in known]
        columns.append(pl.Series(f"{name}_min", least, dtype))
        columns.append(pl.Series(f"{name}_max", greatest, dtype))
        columns.append(pl.Series(f"{name}_nc", nulls, pl.UInt32))
    return pl.DataFrame(columns)
