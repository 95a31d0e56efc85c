"""The questions one may ask of an archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field

from titans.dataset import Dataset, pause
from titans.errors import InputError, ManifestError
from titans.layout import Paths
from titans.provider import Provider
from titans.read.keys import wanted_keys, wanted_values
from titans.read.pushdown import check_condition, filtered_scan
from titans.read.queries import Held, compared, grid_times, gridded, to_intervals
from titans.read.reader import Reader, answered, bounds, retrying
from titans.read.scan import scan
from titans.read.tables import amendments, coverage, files, freshness, status, writers
from titans.results import Freshness, MonthStatus
from titans.schema import TIME
from titans.slots import TICK, Slot, parse_duration, to_utc
from titans.store import ObjectStore
from titans.tiers.manifest.view import Criteria

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ReadableArchive"]

T = TypeVar("T")


@define(eq=False, repr=False)
class ReadableArchive:
    """What an archive answers. Every answer is a polars frame, and a snapshot: one moment's view of
    all files.

    All times are timezone-aware; in answers they are UTC in microseconds. Ranges are half-open,
    `[start, end)`; both ends may be left out. Key columns are text. Sorting is ascending, text by
    its UTF-8 bytes.

    Every question may raise:
        TimestampError: a time is naive. A `ValueError`.
        InputError: the start lies after the end, a column is not there, or `where` cannot be
            applied. A `ValueError`.
        ArchiveNotFoundError: nothing was ever written to it; the message says what lies there.
        ProviderMismatchError: the archive was written with another key or slot length, or with a
            newer schema.
        ManifestError, CorruptFileError, FormatVersionError: what was found in the store is not what
            it should be.
        SnapshotExpiredError: files were removed while they were read, again and again.
        Unavailable: the store does not answer.
    """

    store: ObjectStore
    provider: Provider
    wait: Callable[[int], None] = field(default=pause, kw_only=True, repr=False)
    """Called between attempts that lost a race, with the number of the attempt."""
    _dataset: Dataset = field(init=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.store, ObjectStore) or not isinstance(self.provider, Provider):
            raise InputError(
                "Archive takes an ObjectStore and a Provider; titans.open takes URLs, folders and "
                "names"
            )
        self._dataset = Dataset(self.store, self.provider.paths(), self.provider, self.wait)

    @property
    def paths(self) -> Paths:
        """Where its objects lie, in the environment that `TITANS_ENV` named when it was opened."""
        return self._dataset.paths

    def _reader(self) -> Reader:
        return Reader(self._dataset)

    def _ask(self, question: Callable[[Reader], T]) -> T:
        def asked(reader: Reader) -> T:
            answer = question(reader)
            reader.check_exists()
            return answer

        return retrying(lambda: answered(self._dataset, asked))

    def _check_exists(self) -> None:
        """Raise `ArchiveNotFoundError` where nothing was ever written; files without any manifest
        are left to who asks.
        """
        with suppress(ManifestError):
            self._reader().check_exists()

    # --- states -----------------------------------------------------------------------------------

    def state(
        self,
        at: datetime,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Every living key at `at`, with its values and the `Time` they hold since.

        `Time` is that of the last change point, or of a full snapshot (the first of a month) that
        restated the values since.

        Args:
            at: change points at this very time are included.
            where: any polars expression over all columns of the answer. The rows are those of
                `state(at).filter(where)`; what looks at key columns only, row by row, also reads
                less.
            columns: which of them are wanted; all by default.

        Returns:
            One row per living key: key, `Time`, values; or `columns`. Sorted by key.
        """
        moment = to_utc(at, "at")
        return self._ask(lambda reader: reader.state(moment, where, columns))

    def latest(
        self, where: pl.Expr | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """As `state`, after the last change point there is."""
        return self._ask(lambda reader: reader.latest(where, columns))

    def keys(self, at: datetime | None = None) -> pl.DataFrame:
        """The living keys at `at`, by default after the last change point.

        Returns:
            One row per living key: the key columns. Sorted.
        """
        if at is None:
            return self.latest(columns=self.provider.key)
        return self.state(at, columns=self.provider.key)

    def diff(self, t1: datetime, t2: datetime) -> pl.DataFrame:
        """What is different at `t2` from what was at `t1`.

        Returns:
            One row per key that is different: key, `change` (`added`, `removed`, `changed`), and
            each value at `t1` (`…_old`) and at `t2` (`…_new`); null on the side on which the key
            does not live. Sorted by key.
        """
        first, second = to_utc(t1, "t1"), to_utc(t2, "t2")

        def question(reader: Reader) -> pl.DataFrame:
            return compared(reader.state(first), reader.state(second), self.provider)

        return self._ask(question)

    # --- change points ----------------------------------------------------------------------------

    def changes(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """The change points with `start <= Time < end`, tombstones included.

        Returns:
            One row per key and `Time`: key, `Time`, values, `Ceased` (the key vanished then; its
            values are null). Sorted by key and `Time`.
        """
        return self._ask(lambda reader: reader.changes(Criteria(start, end)))

    def history(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        keys: Any = None,
        **key: Any,
    ) -> pl.DataFrame:
        """As `changes`, of the keys whose columns equal `key`:
        `history(InstanceType="m5.large", Region="us-east-1")`.

        Args:
            start, end: as for `changes`.
            keys: instead, several keys (some or all key columns): a frame of polars, pandas or
                Arrow, a LazyFrame, or a list of dicts.
            key: key column → value, or a list of values of which any will do; columns that are left
                out may have any value.

        Values of any dtype are compared as the text that keys have: 7 is `"7"`.

        Raises:
            InputError: a name that is no key column, or a value that no key has.
        """
        # What is given is read once, however often the question is asked again.
        if keys is not None and "keys" not in self.provider.key:
            if key:
                raise InputError("give either keys=, a frame, or the columns of one key")
            rows = wanted_keys(keys, self.provider)
            return self._ask(lambda reader: reader.histories(start, end, rows))
        named = key if keys is None else {**key, "keys": keys}
        values = wanted_values(named, self.provider)
        return self._ask(lambda reader: reader.history(start, end, values))

    def scan(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        where: pl.Expr | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.LazyFrame:
        """The rows of `changes` as a LazyFrame, in no order that may be relied upon.

        Predicates and columns reach the files and their row groups. The files are chosen when the
        frame is collected, each time anew; one collection is one snapshot.

        Args:
            start, end: as for `changes`.
            where: a polars expression over the columns of `changes`.
            columns: which of them are wanted; all by default.

        Raises:
            SnapshotExpiredError: when it is collected, where that takes longer than the grace
                period.
        """
        lazy = scan(self._reader, self.provider, start, end)
        if where is not None:
            check_condition(where, self._reader().empty_changes())
            lazy = filtered_scan(lazy, where)
        if columns is not None:
            lazy = lazy.select(self._reader().known(columns, self.provider.canonical_columns))
        return lazy

    def intervals(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """The range as periods in which values held (a type 2 slowly changing dimension).

        What held at `start` already is there with the `Time` it has in the state there: its change
        point, or a full snapshot after that (the first of a month), which restates it.

        Returns:
            One row per period: key, values, `valid_from`, `valid_to` (null where they still hold at
            `end`). Sorted by key and `valid_from`.
        """
        since, until = bounds(start, end)

        def question(reader: Reader) -> pl.DataFrame:
            held = _read_held(reader, since, until)
            return to_intervals(held.state, held.points, self.provider)

        return self._ask(question)

    def grid(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        every: timedelta | str = "1h",
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """A regular series per key, each value as it holds at that time.

        Args:
            start, end: the series begins at `start`, and ends before `end`. Left out: from the slot
                of the first change point to the end of that of the last.
            every: from one time to the next: a timedelta, or text such as `"30m"`, `"1h"`.
            columns: which value columns are wanted; all by default.

        Returns:
            One row per time and key that lives at some moment of the range: key, `Time`, values,
            null while the key is not there. Sorted by key and `Time`.
        """
        step = parse_duration(every) if isinstance(every, str) else every
        since, until = bounds(start, end)

        def question(reader: Reader) -> pl.DataFrame:
            wanted = self.provider.value_columns
            if columns is not None:
                wanted = reader.known(columns, wanted)
            held = _read_held(reader, since, until)
            first, last = self._grid_bounds(since, until, held.points)
            if first is None or last is None:
                return reader.empty_state().select(*self.provider.key, TIME, *wanted)
            return gridded(held, grid_times(first, last, step), wanted, self.provider)

        return self._ask(question)

    def _grid_bounds(
        self, start: datetime | None, end: datetime | None, points: pl.DataFrame
    ) -> tuple[datetime | None, datetime | None]:
        """The range of a grid; what is left out follows from the change points."""
        minutes = self.paths.minutes
        first, last = start, end
        if first is None and points.height:
            first = Slot.of(points[TIME].min(), minutes).start  # type: ignore[arg-type]
        if last is None and points.height:
            last = Slot.of(points[TIME].max(), minutes).end  # type: ignore[arg-type]

        if first is None:
            first = last
        if last is None and first is not None:
            last = first + TICK  # nothing changed after the start: one look at it
        return first, last

    # --- what it consists of ----------------------------------------------------------------------

    def coverage(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """Slot by slot, whether somebody looked.

        Where the provider's `Expectations` say how often its source is looked at, interval by
        interval of that length. Without bounds, from the first that holds anything to the last.

        Returns:
            One row per slot or interval: `slot` (its start), `status`: `observed` (a full snapshot
            was ingested, changes or not, or all that had changed was uploaded), `empty` (an
            uploader looked, and nothing had changed), `changes` (changed rows were uploaded, which
            says nothing of the keys that are not among them) or `missing`. Ascending.
        """
        return self._ask(lambda reader: coverage(reader, start, end))

    def freshness(self, now: datetime | None = None) -> Freshness:
        """How old the newest observation is, and whether it should be younger.

        Uploads count where they say that they are complete.

        Args:
            now: by default what the clock says.
        """
        moment = datetime.now(UTC) if now is None else to_utc(now, "now")
        return self._ask(lambda reader: freshness(reader, moment))

    def files(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """The objects that hold the change points of a range, for Spark, DuckDB or polars.

        Returns:
            One row per object, by time: `url`, `kind` (`merged`, `border`, `hot`, `correction`,
            `full`), `rows`, `bytes`, `min_time`, `max_time`; `filter`, the SQL condition that its
            rows still have to satisfy (empty: all of them belong to the range); and
            `full_snapshots`, the times at which it restates every living key. In a sealed month
            the rows of all objects are exactly `changes`. In open months a `full` one has to be
            left out, or its rows counted only where they differ from the row before, until the
            next compaction says in a `border` what it changed; and a key and `Time` may stand in a
            `correction` and in another object, which then counts.
        """
        return self._ask(lambda reader: files(reader, start, end))

    def status(self) -> tuple[MonthStatus, ...]:
        """What the archive consists of, month by month, ascending."""
        return self._ask(status)

    def amendments(self) -> pl.DataFrame:
        """What was corrected: `amend`, `retract`, `erase`, `retain`.

        Returns:
            One row per correction and month: `month` (its start), `at` (by the store's clock),
            `operation`, `slot` (start of the slot whose content is another one since; null: of
            many), `reason`, `actor`, `titans`, `provider` (as in `writers`), `before`, `after`
            (hashes of the content, see the page on the format), `removed`, `added` (rows). In the
            order in which they were made.
        """
        return self._ask(amendments)

    def writers(self) -> pl.DataFrame:
        """Who wrote which slots: what their files say of it.

        Returns:
            One row per run of slots that one writer wrote, with nobody else's in between: `first`
            and `last` (the starts of the first and the last slot), `slots` (how many), `actor`
            (`TITANS_ACTOR`, by default user@host), `titans` (version of titans-core), `provider`
            (distribution and version of the provider's package). The last three are null where the
            file does not say it. Ascending.
        """
        return self._ask(writers)

    def sql(self, query: str) -> pl.DataFrame:
        """Ask in SQL, through DuckDB (extra `titans-core[sql]`).

        Tables: `changes`, `latest`, `intervals`, and `state(at := '2026-01-15T12:00Z')`, all of the
        same moment. Read-only: no files, no network, no Python objects can be reached from a query.
        `changes` goes through a query batch by batch, in no order; the others are made first, in
        memory.

        Returns:
            The answer to one SELECT; times are UTC, without a timezone.

        Raises:
            InputError: DuckDB does not accept the query; the message is DuckDB's.
        """
        from titans.read.sql import ask

        return self._ask(lambda reader: ask(reader, query))


def _read_held(reader: Reader, start: datetime | None, end: datetime | None) -> Held:
    """What a range consists of."""
    state = reader.first_state() if start is None else reader.state_before(start)
    return Held(state, reader.changes(Criteria(start, end)))
