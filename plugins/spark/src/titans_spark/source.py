"""The format `titans`: what Spark, and Sail, ask of a data source in Python."""

from __future__ import annotations

from typing import Any

from pyspark.sql.datasource import DataSource

from titans.errors import InputError
from titans_spark.batch import TitansReader
from titans_spark.columns import columns_of, spark_schema, wanted_columns
from titans_spark.options import Options
from titans_spark.stream import TitansStreamReader

__all__ = ["TitansDataSource"]


class TitansDataSource(DataSource):
    """An archive as tables.

    Options: `store`, `provider`; `table` (`changes`, `latest`, `intervals`, `coverage`, `state`);
    `start`, `end`; `at`, the time of a state; `parts`, into how many tasks a state is divided;
    `corrections` (`fail`, `ignore`), for streams.
    """

    @classmethod
    def name(cls) -> str:
        return "titans"

    def schema(self) -> str:
        options = Options.of(self.options)
        return spark_schema(columns_of(options.open().provider, options.table))

    def reader(self, schema: Any) -> TitansReader:
        options = Options.of(self.options)
        columns = columns_of(options.open().provider, options.table)
        return TitansReader(options, columns, wanted_columns(schema, columns))

    def streamReader(self, schema: Any) -> TitansStreamReader:  # noqa: N802 - Spark's name
        options = Options.of(self.options)
        if options.table != "changes":
            raise InputError(
                f"table {options.table!r} cannot be streamed: only 'changes' can, of which the "
                "others follow"
            )
        columns = columns_of(options.open().provider, options.table)
        return TitansStreamReader(options, columns, wanted_columns(schema, columns))
