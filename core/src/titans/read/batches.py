"""Answers that are made a batch of keys after the other, so that memory is bounded by the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise

import polars as pl
from attrs import frozen

from titans.provider import Provider
from titans.read.choice import Choice
from titans.read.keys import keys_between
from titans.read.queries import Held
from titans.read.reader import Reader
from titans.read.scan import Narrow, of_one_look, scan, source_of
from titans.schema import TIME
from titans.tiers.manifest.view import Criteria

__all__ = ["Batches", "Range", "first_and_last", "read_held", "streamed"]

_ROWS = 800_000
"""Of an answer that are in memory at once, about."""


@frozen
class Range:
    """Of time; an end that is left out is as far as the archive reaches."""

    start: datetime | None
    end: datetime | None


def read_held(reader: Reader, span: Range, where: pl.Expr | None, choice: Choice) -> Held:
    """What a range consists of; of the keys that satisfy `where`."""
    state = _state_before(reader, span, where)
    return Held(state, reader.changes(Criteria(span.start, span.end, where, choice.single)))


def _state_before(reader: Reader, span: Range, where: pl.Expr | None) -> pl.DataFrame:
    if span.start is not None:
        return reader.state_before(span.start, where)
    state = reader.first_state()
    return state if where is None else state.filter(where)


@frozen(eq=False)
class Batches:
    """Some keys after the other."""

    reader: Reader
    span: Range
    choice: Choice

    def conditions(self, rows_per_key: float | None) -> Iterator[pl.Expr | None]:
        """A condition for each batch, `None` where one is enough.

        Args:
            rows_per_key: rows of the answer; `None`: as many as a key has change points.
        """
        pushed, (keys, points) = self.choice.read(lambda pushed: (pushed, self._read_keys(pushed)))
        per_key = rows_per_key
        if per_key is None:
            per_key = points / max(1, keys.height)
        size = max(1, int(_ROWS / max(1.0, per_key)))
        if keys.height <= size:
            yield pushed
            return
        firsts = [keys.row(number) for number in range(0, keys.height, size)]
        for low, high in pairwise([*firsts, None]):
            between = keys_between(self.choice.provider.key, low, high)
            yield between if pushed is None else between & pushed

    def _read_keys(self, pushed: pl.Expr | None) -> tuple[pl.DataFrame, int]:
        """All keys that the range has anything of, sorted; and how many change points."""
        provider, span = self.choice.provider, self.span
        key = list(provider.key)
        points = scan(lambda: self.reader, provider, span.start, span.end)
        if pushed is not None:
            points = points.filter(pushed)
        counted = points.group_by(key).len().collect(engine="streaming")
        state = _state_before(self.reader, span, pushed)
        keys = pl.concat([counted.select(key), state.select(key)]).unique().sort(key)
        return keys, int(counted["len"].sum())


def streamed(
    look: Callable[[], Reader],
    batches: Callable[[Reader], Iterator[pl.DataFrame]],
    schema: dict[str, pl.DataType],
) -> pl.LazyFrame:
    """A LazyFrame of batches that are made when it is collected, each time anew of one snapshot.

    Raises:
        SnapshotExpiredError: when it is collected, where that takes longer than the grace period.
    """

    def made(narrow: Narrow) -> Iterator[pl.DataFrame]:
        for batch in of_one_look(look, batches):
            yield narrow(batch.lazy()).collect()

    return source_of(made, schema)


def first_and_last(reader: Reader, provider: Provider, span: Range) -> tuple[datetime, ...]:
    """The times of the first and the last change point of a range; nothing where there is none."""
    times = scan(lambda: reader, provider, span.start, span.end).select(
        pl.col(TIME).min().alias("first"), pl.col(TIME).max().alias("last")
    )
    first, last = times.collect(engine="streaming").row(0)
    return () if first is None else (first, last)
