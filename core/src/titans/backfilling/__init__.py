"""Years of full snapshots into an archive, month by month, on processes or on an engine that is
there already.

engines      where tasks run: local processes, Dask, Spark
source       the snapshots, and which months they are of
effects      what a month does to the state that the months before it leave
run          the months one after the other on paper, then all at once
report       what became of each month

The months are ingested in whatever order, so what each begins with is worked out first: see
`effects`.
"""

from __future__ import annotations

from titans.backfilling.report import Backfill, MonthReport
from titans.backfilling.run import backfill

__all__ = ["Backfill", "MonthReport", "backfill"]
