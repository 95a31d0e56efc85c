"""The questions one may ask of an archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field

from titans.errors import InputError
from titans.layout import Paths
from titans.provider import Provider
from titans.read.queries import compared, gridded, to_intervals
from titans.read.reader import TICK, Reader, bounds, retrying
from titans.read.scan import scan
from titans.read.tables import coverage, files
from titans.results import MonthStatus
from titans.schema import TIME
from titans.slots import Slot, parse_duration, to_utc
from titans.store import ObjectStore

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ReadableArchive"]

T = TypeVar("T")


@define(eq=False, repr=False)
class ReadableArchive:
    """What an archive answers. Every answer is a polars frame, and a snapshot: one moment's view of
    all files.

    All times are timezone-aware. Ranges are half-open, `[start, end)`; both ends may be left out.
    """

    store: ObjectStore
    provider: Provider
    paths: Paths = field(init=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.store, ObjectStore) or not isinstance(self.provider, Provider):
            raise InputError(
                "Archive takes an ObjectStore and a Provider; titans.open takes URLs, folders and "
                "names"
            )
        self.paths = self.provider.paths()

    def _reader(self) -> Reader:
        return Reader(self.store, self.paths, self.provider)

    def _ask(self, question: Callable[[Reader], T]) -> T:
        return retrying(lambda: question(self._reader()))

    # --- states -----------------------------------------------------------------------------------

    def state(
        self, at: datetime, where: pl.Expr | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Every living key at `at` (change points at `at` included) with its values and the `Time`
        they hold since.

        `Time` is that of the last change point, or of a full snapshot (the first of a month) that
        restated the values since.

        Columns: key, `Time`, values; or those of `columns`. Sorted by key. `where` is a polars
        expression over these columns.
        """
        moment = to_utc(at, "at")
        return self._ask(lambda reader: reader.state(moment, where, columns))

    def latest(
        self, where: pl.Expr | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """As `state`, after the last change point there is."""
        return self._ask(lambda reader: reader.latest(where, columns))

    def keys(self, at: datetime | None = None) -> pl.DataFrame:
        """The living keys at `at`, by default after the last change point. Sorted."""
        return (
            self.latest(columns=self.provider.key)
            if at is None
            else self.state(at, columns=self.provider.key)
        )

    def diff(self, t1: datetime, t2: datetime) -> pl.DataFrame:
        """What is different at `t2` from what was at `t1`.

        Columns: key, `change` (`added`, `removed`, `changed`), and each value at `t1` (`…_old`) and
        at `t2` (`…_new`). Sorted by key.
        """
        first, second = to_utc(t1, "t1"), to_utc(t2, "t2")
        return self._ask(
            lambda reader: compared(reader.state(first), reader.state(second), self.provider)
        )

    # --- change points ----------------------------------------------------------------------------

    def changes(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """The change points with `start <= Time < end`, tombstones included.

        Columns: key, `Time`, values, `Ceased`. Sorted by key and `Time`.
        """
        return self._ask(lambda reader: reader.changes(start, end))

    def history(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        keys: pl.DataFrame | None = None,
        **key: Any,
    ) -> pl.DataFrame:
        """As `changes`, of the keys whose columns equal `key`: `history(InstanceType="m5.large",
        Region="us-east-1")`.

        Args:
            keys: instead, a frame of several keys (some or all key columns).

        Raises:
            InputError: a name that is no key column.
        """
        if keys is not None and "keys" not in self.provider.key:
            if key:
                raise InputError("give either keys=, a frame, or the columns of one key")
            return self._ask(lambda reader: reader.histories(start, end, keys))
        named = key if keys is None else {**key, "keys": keys}
        return self._ask(lambda reader: reader.history(start, end, named))

    def scan(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.LazyFrame:
        """The rows of `changes` as a LazyFrame, in no order that may be relied upon.

        Predicates and columns reach the files and their row groups. The files are chosen when the
        frame is collected, each time anew; one collection is one snapshot. It raises
        `SnapshotExpiredError` where it takes longer than the grace period.
        """
        lazy = scan(self._reader, self.provider, start, end)
        lazy = lazy if where is None else lazy.filter(where)
        return (
            lazy
            if columns is None
            else lazy.select(self._reader().known(columns, self.provider.canonical_columns))
        )

    def intervals(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """The range as periods in which values held (a type 2 slowly changing dimension).

        Columns: key, values, `valid_from`, `valid_to`, which is null where they still hold at
        `end`. What held at `start` already is there with the `Time` it has in the state there: its
        change point, or a full snapshot after that (the first of a month), which restates it.
        Sorted by key and `valid_from`.
        """
        since, until = bounds(start, end)

        def question(reader: Reader) -> pl.DataFrame:
            state = reader.empty_state() if since is None else reader.state_before(since)
            return to_intervals(state, reader.changes(since, until), self.provider)

        return self._ask(question)

    def grid(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        every: timedelta | str = "1h",
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """A regular series per key, each value as it holds at that time: `start`, `start + every`,
        … before `end`.

        Columns: key, `Time`, and the value columns (or those of `columns`), null while a key is not
        there. Keys that live at some moment of the range. Sorted by key and `Time`. Without `start`
        or `end`: from the slot of the first change point to the end of that of the last.
        """
        step = parse_duration(every) if isinstance(every, str) else every
        since, until = bounds(start, end)

        def question(reader: Reader) -> pl.DataFrame:
            values = self.provider.value_columns
            wanted = values if columns is None else reader.known(columns, values)
            state = reader.empty_state() if since is None else reader.state_before(since)
            points = reader.changes(since, until)
            times = points[TIME]
            first, last = since, until
            if first is None and points.height:
                first = Slot.of(times.min(), self.paths.minutes).start  # type: ignore[arg-type]
            if last is None and points.height:
                last = Slot.of(times.max(), self.paths.minutes).end  # type: ignore[arg-type]
            if first is None:
                first = last
            if last is None and first is not None:
                last = first + TICK  # nothing changed after the start: one look at it
            if first is None or last is None:
                return reader.empty_state().select(*self.provider.key, TIME, *wanted)
            return gridded(state, points, first, last, step, wanted, self.provider)

        return self._ask(question)

    # --- what it consists of ----------------------------------------------------------------------

    def coverage(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """Slot by slot, whether somebody looked: `slot` (its start), `status` (`observed`,
        `changes`, `missing`).

        Without bounds, from the first slot that holds anything to the last. `observed`: a full
        snapshot was ingested, changes or not. `changes`: only changed rows were uploaded, which
        says nothing of the keys that are not among them.
        """
        return self._ask(lambda reader: coverage(reader, start, end))

    def files(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """The objects that hold the change points of a range, for Spark, DuckDB or polars; one row
        each, by time.

        Columns: `url`, `kind` (`merged`, `hot`, `correction`), `rows`, `bytes`, `min_time`,
        `max_time`; `filter`, the SQL condition that its rows still have to satisfy (empty: all of
        them belong to the range); and `full_snapshots`, the times at which it restates every living
        key: rows of these times count only where they differ from the row before.
        """
        return self._ask(lambda reader: files(reader, start, end))

    def status(self) -> tuple[MonthStatus, ...]:
        """What the archive consists of, month by month."""
        reader = self._reader()
        return tuple(
            MonthStatus.of(manifest, len(manifest.adopted.missing(reader.hot.get(month, {}))))
            for month in reader.months()
            for manifest in (reader.manifest(month),)
        )

    def sql(self, query: str) -> pl.DataFrame:
        """Ask in SQL, through DuckDB (extra `titans-core[sql]`).

        Tables: `changes`, `latest`, `intervals`, and `state(at := '2026-01-15T12:00Z')`, all of the
        same moment. Read-only: no files, no network, no Python objects can be reached from a query.
        `changes` goes through a query batch by batch, in no order; the others are made first, in
        memory.

        Raises:
            InputError: DuckDB does not accept the query; the message is DuckDB's.
        """
        from titans.read.sql import ask

        return self._ask(lambda reader: ask(reader, query))
