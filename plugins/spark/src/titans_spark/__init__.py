"""Read an archive in Spark: `spark.read.format("titans").option("store", …).option("provider", …)`.

Spark finds the format by itself; elsewhere, `spark.dataSource.register(TitansDataSource)`.
"""

from titans_spark.source import TitansDataSource

__all__ = ["TitansDataSource"]
