"""Reads a table once, in tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
from attrs import evolve, frozen
from pyspark.sql.datasource import DataSourceReader, Filter, InputPartition

from titans import Archive
from titans.read.tasks import Place, ReadTask
from titans_spark.columns import batches, wanted_columns
from titans_spark.filters import Pushed, condition, texts, times
from titans_spark.options import Options

__all__ = ["Question", "TitansPartition", "TitansReader"]

_LATEST = "9998-12-31"
"""No archive goes on after that: the state then is the latest."""


@frozen(eq=False)
class Question:
    """A table that one task reads as a whole."""

    place: Place
    table: str
    at: datetime | None
    pushed: Pushed
    values: tuple[str, ...]

    def read(self) -> pl.DataFrame:
        """The rows that are wanted."""
        archive: Any = self.place.open()
        pushed = self.pushed
        wanted = {"where": pushed.where, "columns": self.values, **_key(pushed)}
        match self.table:
            case "intervals":
                rows = archive.intervals(pushed.start, pushed.end, **wanted)
            case "latest":
                rows = archive.latest(**wanted)
            case "state":
                rows = archive.state(self.at, **wanted)
            case _:
                rows = archive.coverage(pushed.start, pushed.end)
                if pushed.where is not None:
                    rows = rows.filter(pushed.where)
        answer: pl.DataFrame = rows
        return answer


class TitansPartition(InputPartition):
    """A task of Spark: some rows to read, or none."""

    def __init__(self, task: Any) -> None:
        super().__init__(0)
        self.task = task


class TitansReader(DataSourceReader):
    """Reads the rows that one query wants. Spark sends it to the workers, with a partition each."""

    def __init__(
        self, options: Options, columns: dict[str, pl.DataType], schema: pa.Schema
    ) -> None:
        self.options = options
        self.columns = columns
        self.delivered = schema
        self.pushed = Pushed(options.start, options.end)

    # --- what is wanted ---------------------------------------------------------------------------

    def pruneColumns(self, schema: Any) -> None:  # noqa: N802 - the name that engines ask for
        """Read these columns only."""
        self.delivered = wanted_columns(schema, self.columns)

    def pushFilters(self, filters: list[Filter]) -> Iterable[Filter]:  # noqa: N802 - Spark's name
        """Take on the conditions that mean the same here, and give back the others."""
        for wanted in filters:
            if not self._takes(wanted):
                yield wanted

    def _takes(self, wanted: Filter) -> bool:
        table = self.options.table
        span = times(wanted) if table == "changes" else None
        if span is not None:
            self.pushed = self.pushed.within(*span)
            return True
        named = None if table == "coverage" else texts(wanted, self._key_columns())
        if named is not None:
            self.pushed = self.pushed.with_key(*named)
            return True
        expression = condition(wanted, self.columns)
        if expression is None:
            return False
        self.pushed = self.pushed.with_condition(expression)
        return True

    def _key_columns(self) -> tuple[str, ...]:
        return tuple(self.options.open().provider.key)

    # --- tasks ------------------------------------------------------------------------------------

    def partitions(self) -> list[TitansPartition]:
        """One moment of the archive: what is adopted or uploaded later is not read."""
        archive = self.options.open()
        tasks = [] if self.pushed.is_nothing else self._tasks(archive)
        # Without any partition Spark would call `read` with none.
        return [TitansPartition(task) for task in tasks] or [TitansPartition(None)]

    def _tasks(self, archive: Archive) -> list[ReadTask] | list[Question]:
        options, pushed = self.options, self.pushed
        schema = archive.provider.schema
        values = tuple(name for name in self.delivered.names if name in schema.columns)
        wanted: dict[str, Any] = {"where": pushed.where, "columns": values, **_key(pushed)}
        if options.table == "changes":
            return archive.plan(pushed.start, pushed.end, **wanted)
        if options.table in ("state", "latest") and options.parts > 1:
            at = _LATEST if options.at is None else options.at
            return archive.plan_state(at, options.parts, **wanted)
        if options.table in ("state", "latest"):
            pushed = evolve(pushed, start=None, end=None)
        return [Question(Place.of(archive), options.table, options.at, pushed, values)]

    def read(self, partition: Any) -> Iterator[pa.RecordBatch]:
        """On a worker: the rows of a task."""
        task = partition.task
        if task is not None:
            yield from batches(task.read(), self.delivered)


def _key(pushed: Pushed) -> dict[str, list[str]]:
    return {name: list(values) for name, values in pushed.keys}
