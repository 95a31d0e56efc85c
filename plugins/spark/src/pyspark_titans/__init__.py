"""Where Spark looks by itself: it imports the packages called `pyspark_…` and takes their
`DefaultSource`.
"""

from titans_spark import TitansDataSource as DefaultSource

__all__ = ["DefaultSource"]
