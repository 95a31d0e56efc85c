"""The questions one may ask of an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, overload

import polars as pl
from attrs import define

from titans.read.batches import Batches, Range, first_and_last, read_held, streamed
from titans.read.choice import Choice, value_columns
from titans.read.described import DescribedArchive
from titans.read.grid import Times, gridded
from titans.read.keys import wanted_keys, wanted_values
from titans.read.plan import plan_changes, plan_state
from titans.read.queries import VALID_FROM, VALID_TO, Held, compared, to_intervals
from titans.read.reader import Reader, bounds, end_of
from titans.read.scan import scan
from titans.read.tasks import ReadTask
from titans.schema import CEASED, TIME
from titans.slots import BEGIN, TICK, Moment, Slot, parse_duration, to_moment
from titans.tiers.manifest.view import Criteria

__all__ = ["ReadableArchive"]


@define(eq=False, repr=False)
class ReadableArchive(DescribedArchive):
    """What an archive answers. Every answer is a polars frame, and a snapshot: one moment's view of
    all files.

    Times are datetimes with a timezone, dates (their first moment, UTC) or ISO 8601 text (UTC
    without an offset); in answers they are UTC in microseconds. Ranges are half-open, `[start,
    end)`; both ends may be left out. Key columns are text. Sorting is ascending, text by its UTF-8
    bytes.

    Every question takes what is wanted of its answer:
        where: any polars expression over all columns of the answer; the rows are those of
            `answer.filter(where)`. What looks at key columns only, row by row, also reads less.
        columns: the value columns that are wanted, all by default; key and times always come.
        keys: several keys (some or all key columns): a frame of polars, pandas or Arrow, a
            LazyFrame, or a list of dicts.
        key: key column → value, or a list of values of which any will do; columns that are left out
            may have any value. Values of any dtype are compared as the text that keys have: 7 is
            `"7"`.

    Every question may raise:
        TimestampError: a time is naive, or is none. A `ValueError`.
        InputError: the start lies after the end, a column is not there, a value that no key has, or
            `where` cannot be applied. A `ValueError`.
        ArchiveNotFoundError: nothing was ever written to it; the message says what lies there.
        ProviderMismatchError: the archive was written with another key or slot length, or with a
            newer schema.
        ManifestError, CorruptFileError, FormatVersionError: what was found in the store is not what
            it should be.
        SnapshotExpiredError: files were removed while they were read, again and again.
        Unavailable: the store does not answer.
    """

    def _choice(
        self,
        where: pl.Expr | None,
        columns: Sequence[str] | None,
        keys: Any,
        key: Mapping[str, Any],
        *,
        of_points: bool = False,
    ) -> Choice:
        """What a caller wants, of change points or of other answers; frames are read once."""
        provider = self.provider
        known = [name for name in provider.canonical_columns if of_points or name != CEASED]
        among = None if keys is None else wanted_keys(keys, provider)
        values = value_columns(columns, known, provider)
        is_plan = not self._dataset.reads_rows
        return Choice(provider, where, values, wanted_values(key, provider), among, is_plan)

    # --- states -----------------------------------------------------------------------------------

    def state(
        self,
        at: Moment,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        *,
        keys: Any = None,
        **key: Any,
    ) -> pl.DataFrame:
        """Every living key at `at`, with its values and the `Time` they hold since.

        `Time` is that of the last change point, or of a full snapshot (the first of a month) that
        restated the values since.

        Args:
            at: change points at this very time are included.
            where, columns, keys, key: what is wanted of it, see the class.

        Returns:
            One row per living key: key, `Time`, values. Sorted by key.
        """
        end, choice = end_of(at), self._choice(where, columns, keys, key)
        return self._ask(lambda reader: _chosen_state(reader, end, choice))

    def latest(
        self,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        *,
        keys: Any = None,
        **key: Any,
    ) -> pl.DataFrame:
        """As `state`, after the last change point there is."""
        choice = self._choice(where, columns, keys, key)
        return self._ask(lambda reader: _chosen_state(reader, reader.latest_end(), choice))

    def keys(
        self,
        at: Moment | None = None,
        where: pl.Expr | None = None,
        columns: Sequence[str] = (),
        *,
        keys: Any = None,
        **key: Any,
    ) -> pl.DataFrame:
        """The living keys at `at`, by default after the last change point.

        Returns:
            One row per living key: the key columns, and `columns` where some are given. Sorted.
        """
        choice = self._choice(where, columns, keys, key)

        def question(reader: Reader) -> pl.DataFrame:
            end = reader.latest_end() if at is None else end_of(at)
            return _chosen_state(reader, end, choice).drop(TIME)

        return self._ask(question)

    def diff(
        self,
        t1: Moment,
        t2: Moment,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        *,
        keys: Any = None,
        **key: Any,
    ) -> pl.DataFrame:
        """What is different at `t2` from what was at `t1`.

        Args:
            columns: only these values are compared.
            where, keys, key: what is wanted of it, see the class; `where` is over the columns of
                the answer.

        Returns:
            One row per key that is different: key, `change` (`added`, `removed`, `changed`), and
            each value at `t1` (`…_old`) and at `t2` (`…_new`); null on the side on which the key
            does not live. Sorted by key.
        """
        first, second = to_moment(t1, "t1"), to_moment(t2, "t2")
        choice = self._choice(where, columns, keys, key)

        def question(reader: Reader) -> pl.DataFrame:
            def read(pushed: pl.Expr | None) -> pl.DataFrame:
                old, new = (reader.state_before(end_of(at), pushed) for at in (first, second))
                return compared(old, new, self.provider, choice.values)

            nothing = reader.empty_state()
            choice.check(compared(nothing, nothing, self.provider, choice.values))
            return choice.rows(choice.read(read))

        return self._ask(question)

    # --- change points ----------------------------------------------------------------------------

    def changes(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        *,
        keys: Any = None,
        **key: Any,
    ) -> pl.DataFrame:
        """The change points with `start <= Time < end`, tombstones included.

        Args:
            where, columns, keys, key: what is wanted of it, see the class.

        Returns:
            One row per key and `Time`: key, `Time`, values, `Ceased` (the key vanished then; its
            values are null). Sorted by key and `Time`.
        """
        choice = self._choice(where, columns, keys, key, of_points=True)
        since, until = bounds(start, end)

        def question(reader: Reader) -> pl.DataFrame:
            choice.check(reader.empty_changes())
            rows = choice.read(
                lambda pushed: reader.changes(Criteria(since, until, pushed, choice.single))
            )
            return choice.rows(rows).select(*self.provider.key, TIME, *choice.values, CEASED)

        return self._ask(question)

    def history(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        keys: Any = None,
        **key: Any,
    ) -> pl.DataFrame:
        """As `changes`, of the keys whose columns equal `key`:
        `history(InstanceType="m5.large", Region="us-east-1")`.
        """
        return self.changes(start, end, where, columns, keys=keys, **key)

    def scan(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        *,
        keys: Any = None,
        **key: Any,
    ) -> pl.LazyFrame:
        """The rows of `changes` as a LazyFrame, in no order that may be relied upon.

        Predicates and columns reach the files and their row groups. The files are chosen when the
        frame is collected, each time anew; one collection is one snapshot.

        Args:
            start, end: as for `changes`.
            where, columns, keys, key: what is wanted of it, see the class.

        Raises:
            SnapshotExpiredError: when it is collected, where that takes longer than the grace
                period.
        """
        choice = self._choice(where, columns, keys, key, of_points=True)
        lazy = scan(self._reader, self.provider, *bounds(start, end))
        choice.check(self._reader().empty_changes())
        if choice.of_keys is not None:
            lazy = lazy.filter(choice.of_keys)
        if choice.among is not None:
            lazy = lazy.join(choice.among.lazy(), on=choice.among.columns, how="semi")
        lazy = choice.of_lazy(lazy)
        if choice.columns is not None:
            lazy = lazy.select(*self.provider.key, TIME, *choice.columns, CEASED)
        return lazy

    # --- for engines ------------------------------------------------------------------------------

    def plan(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        *,
        keys: Any = None,
        **key: Any,
    ) -> list[ReadTask]:
        """`changes` as tasks that other processes and machines can do, in any order: together,
        their rows are its rows at this moment.

        Args:
            where: one that looks at each row alone; else there is one task.
            columns, keys, key: what is wanted of it, see the class.

        Returns:
            Tasks by time, each of one file, or of several with up to 500,000 rows and 8 MiB; none
            where there is nothing.
        """
        choice = self._choice(where, columns, keys, key, of_points=True)
        since, until = bounds(start, end)

        def question(reader: Reader) -> list[ReadTask]:
            choice.check(reader.empty_changes())
            return plan_changes(reader, since, until, choice)

        return self._ask(question)

    def plan_state(
        self,
        at: Moment,
        parts: int = 1,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        *,
        keys: Any = None,
        **key: Any,
    ) -> list[ReadTask]:
        """`state` as tasks, each with a part of the keys: together, their rows are its rows at this
        moment.

        Args:
            parts: at most so many tasks, of about as many keys each.
            where: one that looks at each row alone; else there is one task.
            columns, keys, key: what is wanted of it, see the class.
        """
        end, choice = end_of(at), self._choice(where, columns, keys, key)

        def question(reader: Reader) -> list[ReadTask]:
            choice.check(reader.empty_state())
            return plan_state(reader, end, parts, choice)

        return self._ask(question)

    # --- series -----------------------------------------------------------------------------------

    @overload
    def intervals(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        *,
        keys: Any = None,
        lazy: Literal[False] = False,
        **key: Any,
    ) -> pl.DataFrame: ...

    @overload
    def intervals(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        *,
        keys: Any = None,
        lazy: Literal[True],
        **key: Any,
    ) -> pl.LazyFrame: ...

    def intervals(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
        *,
        keys: Any = None,
        lazy: bool = False,
        **key: Any,
    ) -> pl.DataFrame | pl.LazyFrame:
        """The range as periods in which values held (a type 2 slowly changing dimension).

        What held at `start` already is there with the `Time` it has in the state there: its change
        point, or a full snapshot after that (the first of a month), which restates it. A period
        ends with the next change point of the key, whichever of its values that changes.

        Args:
            where, columns, keys, key: what is wanted of it, see the class; `where` is over the
                columns of the answer.
            lazy: a LazyFrame, which makes the answer a batch of keys after the other.

        Returns:
            One row per period: key, values, `valid_from`, `valid_to` (null where they still hold at
            `end`). Sorted by key and `valid_from`.
        """
        span = Range(*bounds(start, end))
        choice = self._choice(where, columns, keys, key)
        wanted = [*self.provider.key, *choice.values, VALID_FROM, VALID_TO]

        def made(held: Held) -> pl.DataFrame:
            return to_intervals(held.state, held.points, self.provider)

        nothing = self._reader().empty_changes()
        nothing = made(Held(nothing.drop(CEASED), nothing))
        choice.check(nothing)

        def answer(reader: Reader, condition: pl.Expr | None) -> pl.DataFrame:
            held = read_held(reader, span, condition, choice)
            return choice.rows(made(held)).select(wanted)

        def batches(reader: Reader) -> Iterator[pl.DataFrame]:
            for condition in Batches(reader, span, choice).conditions(None):
                yield choice.of_these_keys(made(read_held(reader, span, condition, choice)))

        if lazy:
            rows = streamed(self._reader, batches, dict(nothing.schema))
            return choice.of_lazy(rows).select(wanted)
        return self._ask(lambda reader: choice.read(lambda pushed: answer(reader, pushed)))

    @overload
    def grid(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        every: timedelta | str = "1h",
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
        *,
        keys: Any = None,
        lazy: Literal[False] = False,
        **key: Any,
    ) -> pl.DataFrame: ...

    @overload
    def grid(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        every: timedelta | str = "1h",
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
        *,
        keys: Any = None,
        lazy: Literal[True],
        **key: Any,
    ) -> pl.LazyFrame: ...

    def grid(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        every: timedelta | str = "1h",
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
        *,
        keys: Any = None,
        lazy: bool = False,
        **key: Any,
    ) -> pl.DataFrame | pl.LazyFrame:
        """A regular series per key, each value as it holds at that time.

        Args:
            start, end: the series begins at `start`, and ends before `end`. Left out: from the slot
                of the first change point to the end of that of the last.
            every: from one time to the next: a timedelta, or text such as `"30m"`, `"1h"`.
            where, columns, keys, key: what is wanted of it, see the class.
            lazy: a LazyFrame, which makes the answer a batch of keys after the other.

        Returns:
            One row per time and key that lives at some moment of the range: key, `Time`, values,
            null while the key is not there. Sorted by key and `Time`.
        """
        step = parse_duration(every) if isinstance(every, str) else every
        span = Range(*bounds(start, end))
        choice = self._choice(where, columns, keys, key)
        nothing = self._reader().empty_state()
        choice.check(nothing)
        nothing = nothing.select(*self.provider.key, TIME, *choice.values)
        # What a condition looks at has to be there, wanted or not.
        made = choice.values if choice.where is None else self.provider.value_columns
        Times(BEGIN, BEGIN, step)  # raises where the step is none

        def cells(reader: Reader, times: Times, condition: pl.Expr | None) -> pl.DataFrame:
            held = read_held(reader, span, condition, choice)
            return gridded(held, times, made, self.provider)

        def whole(reader: Reader) -> pl.DataFrame:
            times = self._grid_times(reader, span, step)
            rows = choice.read(lambda pushed: cells(reader, times, pushed))
            return choice.rows(rows).select(nothing.columns)

        def batches(reader: Reader) -> Iterator[pl.DataFrame]:
            times = self._grid_times(reader, span, step)
            for condition in Batches(reader, span, choice).conditions(len(times)):
                yield choice.of_these_keys(cells(reader, times, condition))

        if lazy:
            schema = self.provider.schema_dtypes
            columns = [*self.provider.key, TIME, *made]
            lazy_rows = streamed(self._reader, batches, {name: schema[name] for name in columns})
            return choice.of_lazy(lazy_rows).select(nothing.columns)
        return self._ask(whole)

    def _grid_times(self, reader: Reader, span: Range, step: timedelta) -> Times:
        """The times of a grid; what is left out follows from the change points."""
        first, last = span.start, span.end
        if first is None or last is None:
            minutes = self.paths.minutes
            found = first_and_last(reader, self.provider, span)
            if first is None and found:
                first = Slot.of(found[0], minutes).start
            if last is None and found:
                last = Slot.of(found[1], minutes).end
        first = first or last
        if first is None:
            return Times(BEGIN, BEGIN, step)
        # Where nothing changed after the start: one look at it.
        return Times(first, last or first + TICK, step)

    # --- SQL --------------------------------------------------------------------------------------

    def sql(self, query: str, frames: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """Ask in SQL, through DuckDB (extra `titans-core[sql]`).

        Tables: `changes`, `latest`, `intervals`, and `state(at := '2026-01-15T12:00Z')`, all of the
        same moment, and `frames`. Read-only: no other files than the archive's own, no network and
        no Python objects can be reached from a query. Conditions on keys and times reach the files
        of `changes` and `intervals`; the others are made first, in memory.

        Args:
            query: a SELECT (DESCRIBE, SUMMARIZE or EXPLAIN may stand before it), SHOW TABLES, or
                several of these; the answer is that of the last one.
            frames: other tables, by name: frames of polars, pandas or Arrow.

        Returns:
            The answer; times are in UTC.

        Raises:
            InputError: DuckDB does not accept the query (the message is DuckDB's), or a frame has a
                name that is taken.
        """
        from titans.read.sql import ask, other_tables

        others = other_tables(frames or {})
        return self._ask(lambda reader: ask(reader, query, others))


def _chosen_state(reader: Reader, end: datetime, choice: Choice) -> pl.DataFrame:
    """The rows of a state that are wanted."""
    choice.check(reader.empty_state())
    rows = choice.rows(choice.read(lambda pushed: reader.state_before(end, pushed)))
    return rows.select(*choice.provider.key, TIME, *choice.values)
