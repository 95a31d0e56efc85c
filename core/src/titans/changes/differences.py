"""How what is stored differs from what was given, in a sentence."""

from __future__ import annotations

import polars as pl

from titans.provider import Provider

__all__ = ["in_words"]

_NAMED = 3


def in_words(stored: pl.DataFrame, given: pl.DataFrame, provider: Provider) -> str:
    """Counts, and the first keys; empty where both say the same.

    Args:
        stored, given: rows with key and value columns, and others that both have; one per key.
    """
    key = list(provider.key)
    columns = [name for name in given.columns if name in stored.columns]
    joined = (
        stored.select(columns)
        .with_columns(pl.lit(value=True).alias("\x00stored"))
        .join(
            given.select(columns).with_columns(pl.lit(value=True).alias("\x00given")),
            on=key,
            how="full",
            coalesce=True,
            suffix="\x00given",
        )
    )
    only_stored = joined.filter(pl.col("\x00given").is_null())
    only_given = joined.filter(pl.col("\x00stored").is_null())
    both = joined.filter(pl.all_horizontal(pl.col("\x00given", "\x00stored").is_not_null()))
    values = [name for name in columns if name not in key]
    other = both.filter(
        pl.any_horizontal(
            [pl.lit(value=False), *(pl.col(v).ne_missing(pl.col(f"{v}\x00given")) for v in values)]
        )
    )

    parts = []
    for frame, what in (
        (other, "with other values"),
        (only_stored, "only stored"),
        (only_given, "only given"),
    ):
        if frame.height:
            first = frame.select(key).sort(key).head(_NAMED).rows()
            named = "; ".join(", ".join(map(str, each)) for each in first)
            parts.append(f"{frame.height} key(s) {what} (first: {named})")
    return ", ".join(parts)
