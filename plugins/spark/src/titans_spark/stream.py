"""Reads what is new, batch after batch. An offset is the set of slots that were adopted then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
from pyspark.sql.datasource import DataSourceStreamReader

from titans import Archive
from titans.read.following import NOTHING, Adopted, adopted, plan_new
from titans_spark.batch import TitansPartition
from titans_spark.columns import batches
from titans_spark.options import Options

__all__ = ["TitansStreamReader"]


class TitansStreamReader(DataSourceStreamReader):
    """Every adopted change point of the range, as `titans.read.following` tells them."""

    def __init__(
        self, options: Options, columns: dict[str, pl.DataType], schema: pa.Schema
    ) -> None:
        self.options = options
        self.columns = columns
        self.delivered = schema
        self._archive: Archive | None = None
        self._seen = NOTHING

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None}

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802 - Spark's name
        return NOTHING.to_json()

    def latestOffset(  # noqa: N802 - Spark's name
        self,
        start: dict[str, Any] | None = None,
        limit: Any = None,  # noqa: ARG002 - of Spark 4.2
    ) -> dict[str, Any]:
        """What is adopted now.

        Raises:
            InputError: something that was read was corrected since.
        """
        seen = self._seen if start is None else Adopted.from_json(start)
        ignores = self.options.any_corrections
        self._seen = adopted(self._open(), seen, any_corrections=ignores)
        return self._seen.to_json()

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> list[TitansPartition]:
        """The tasks of a batch. Repeated after a restart, they read the same rows."""
        options = self.options
        self._seen = Adopted.from_json(end)
        tasks = plan_new(
            self._open(),
            Adopted.from_json(start),
            self._seen,
            (options.start, options.end),
            any_corrections=options.any_corrections,
        )
        return [TitansPartition(task) for task in tasks] or [TitansPartition(None)]

    def read(self, partition: Any) -> Iterator[pa.RecordBatch]:
        """On a worker: the rows of a task."""
        task = partition.task
        if task is not None:
            yield from batches(task.read(), self.delivered)

    def _open(self) -> Archive:
        """The archive, kept for what it knows of the manifests."""
        if self._archive is None:
            self._archive = self.options.open()
        return self._archive
