"""Read an archive in Spark: `spark.read.format("titans").option("store", …).option("provider", …)`.

Spark finds the format by itself; elsewhere, `spark.dataSource.register(TitansDataSource)`.
"""

try:
    import pyspark  # noqa: F401 - whichever distribution brought it
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "titans-spark works inside Spark 4.1 or newer, and there is none here: "
        "pip install 'titans-spark[pyspark]', or [client]"
    ) from error

from titans_spark.source import TitansDataSource

__all__ = ["TitansDataSource"]
