"""What an archive consists of: which slots were looked at, which objects hold it, who wrote it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

from titans.dataset import Dataset, pause
from titans.errors import InputError, ManifestError
from titans.layout import Paths
from titans.provider import Provider
from titans.read.ahead import Seen
from titans.read.reader import Reader, answered, retrying
from titans.read.tables import amendments, coverage, files, freshness, status, writers
from titans.results import Freshness, MonthStatus
from titans.slots import Moment, to_moment
from titans.store import ObjectStore

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DescribedArchive"]

T = TypeVar("T")


@define(eq=False, repr=False)
class DescribedArchive:
    """What an archive says of itself."""

    store: ObjectStore
    provider: Provider
    wait: Callable[[int], None] = field(default=pause, kw_only=True, repr=False)
    """Called between attempts that lost a race, with the number of the attempt."""
    _dataset: Dataset = field(init=False)
    _seen: Seen = field(factory=Seen, init=False)

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
        return Reader(self._dataset, seen=self._seen)

    def _ask(self, question: Callable[[Reader], T]) -> T:
        def asked(reader: Reader) -> T:
            answer = question(reader)
            reader.check_exists()
            return answer

        return retrying(lambda: answered(self._dataset, asked, self._seen))

    def _check_exists(self) -> None:
        """Raise `ArchiveNotFoundError` where nothing was ever written; files without any manifest
        are left to who asks.
        """
        with suppress(ManifestError):
            self._reader().check_exists()

    # --- what it consists of ----------------------------------------------------------------------

    def coverage(self, start: Moment | None = None, end: Moment | None = None) -> pl.DataFrame:
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

    def freshness(self, now: Moment | None = None) -> Freshness:
        """How old the newest observation is, and whether it should be younger.

        Uploads count where they say that they are complete.

        Args:
            now: by default what the clock says.
        """
        moment = datetime.now(UTC) if now is None else to_moment(now, "now")
        return self._ask(lambda reader: freshness(reader, moment))

    def files(self, start: Moment | None = None, end: Moment | None = None) -> pl.DataFrame:
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
