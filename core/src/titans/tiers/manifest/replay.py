"""The state at every snapshot of a month, from the change points, as a hash.

The hash of a state is the sum of its rows' hashes. So a change point takes away that of the row
before it, and adds its own: the hashes at all times come from one pass over the change points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import polars as pl

from titans.changes.digest import row_hashes
from titans.changes.state import as_rows
from titans.schema import CEASED, TIME
from titans.slots import TICK
from titans.tiers.manifest.view import Criteria, MonthView

__all__ = ["replayed_hashes"]

_MASK = (1 << 64) - 1


def replayed_hashes(
    view: MonthView, times: Iterable[datetime], keys: pl.DataFrame | None = None
) -> Iterator[tuple[datetime, str]]:
    """Each of `times` that a full snapshot precedes, and the hash of the state then, over key and
    value columns; ascending. With `keys`, some or all key columns, only of what it says of these.

    Raises:
        NotFound, CorruptFileError: a file of the month cannot be read.
    """
    wanted = sorted(times)
    fulls = [view.full[slot] for slot in sorted(view.full)]
    ends = [*[full.time for full in fulls], view.month.end][1:]
    for full, end in zip(fulls, ends, strict=True):
        inside = [time for time in wanted if full.time <= time < end]
        if not inside:
            continue
        columns = view.dataset.provider.canonical_columns
        start = as_rows(view.read_full(full)).select(columns)
        points = view.rows(Criteria(full.time + TICK, inside[-1] + TICK)).select(columns)
        rows = pl.concat([start, points])
        if keys is not None:
            rows = rows.join(keys, on=keys.columns, how="semi")
        sums = _running(rows, view.dataset.provider.key)
        reached = 0
        for time in inside:
            for moment in [moment for moment in sums if moment <= time]:
                reached += sums.pop(moment)
            yield time, f"{reached & _MASK:016x}"


def _running(rows: pl.DataFrame, key: tuple[str, ...]) -> dict[datetime, int]:
    """Time → how much the hash of the state grows then."""
    rows = rows.sort(*key, TIME)
    columns = [column for column in rows.columns if column not in (TIME, CEASED)]
    hashes = row_hashes(rows, columns).alias("hash")
    steps = rows.select(*key, TIME, CEASED).with_columns(hashes)
    steps = steps.with_columns(pl.when(CEASED).then(0).otherwise("hash").alias("hash"))
    before = pl.col("hash").shift(1).over(list(key)).fill_null(0)
    grouped = steps.select(TIME, "hash", before=before).group_by(TIME).sum().sort(TIME)
    return {time: plus - minus for time, plus, minus in grouped.rows()}
