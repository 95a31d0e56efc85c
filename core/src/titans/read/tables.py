"""What an archive consists of, as frames: which slots were looked at, and which objects hold a
range of time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from titans.read.reader import TICK, Reader, bounds
from titans.slots import Slot, iso
from titans.tiers.files import Source, read_info
from titans.tiers.view import MonthView

__all__ = ["coverage", "files"]

_UTC = pl.Datetime("us", "UTC")


def coverage(reader: Reader, start: datetime | None, end: datetime | None) -> pl.DataFrame:
    """Slot by slot, whether somebody looked: `slot` (its start), `status` (`observed`, `changes`,
    `missing`).

    Without bounds, from the first slot that holds anything to the last. `observed`: a full snapshot
    was ingested, changes or not. `changes`: only changed rows were uploaded, which says nothing of
    the keys that are not among them.
    """
    since, until = bounds(start, end)
    spans = reader.spans(since, until)
    views = {month: reader.view(month) for month, _, _ in spans}
    held = [m for m in views if views[m].adopted]
    if since is None and held:
        since = views[held[0]].slot(views[held[0]].adopted.first or 0).start
    if until is None and held:
        until = views[held[-1]].slot(views[held[-1]].adopted.last or 0).end
    rows: list[tuple[datetime, str]] = []
    if since is not None and until is not None:
        slot = Slot.of(since, reader.paths.minutes)
        while slot.start < until:
            view = views.get(slot.month)
            observed = view is not None and slot.index in view.observed
            there = view is not None and slot.index in view.adopted
            rows.append((slot.start, "observed" if observed else "changes" if there else "missing"))
            slot = Slot.of(slot.end, reader.paths.minutes)
    return pl.DataFrame(rows, schema={"slot": _UTC, "status": pl.String}, orient="row")


def files(reader: Reader, start: datetime | None, end: datetime | None) -> pl.DataFrame:
    """The objects that hold the change points of a range, for other engines: one row each, by time.

    `url`, `kind` (`merged`, `hot`, `correction`), `rows`, `bytes`, `min_time`, `max_time`, and
    `filter`: the SQL condition that its rows still have to satisfy, empty where all of them belong
    to the range.
    """
    since, until = bounds(start, end)
    found: list[dict[str, Any]] = []
    for month, first, last in reader.spans(since, until):
        view = reader.view(month)
        restated = sorted(time for time in view.full.values() if first <= time < last)
        for part in view.parts_in(first, last):
            if not isinstance(part.data, Source):
                continue  # corrections that the next compaction will write
            conditions = []
            if not part.within(first, last):
                conditions = [
                    f"Time >= TIMESTAMPTZ '{iso(first)}'",
                    f"Time < TIMESTAMPTZ '{iso(last)}'",
                ]
            kind = (
                "correction"
                if part.is_correction
                else "hot"
                if part.data.slot is not None
                else "merged"
            )
            path = reader.store.local_path(part.data.key)
            found.append(
                {
                    "url": str(path) if path is not None else f"{reader.store.url}/{part.data.key}",
                    "kind": kind,
                    "rows": _rows(reader, view, part.data),
                    "bytes": part.data.size,
                    "min_time": part.min_time,
                    "max_time": part.max_time,
                    "filter": " AND ".join(conditions),
                    "full_snapshots": [t for t in restated if part.overlaps(t, t + TICK)],
                }
            )
    schema: dict[str, Any] = {
        "url": pl.String,
        "kind": pl.String,
        "rows": pl.Int64,
        "bytes": pl.Int64,
        "min_time": _UTC,
        "max_time": _UTC,
        "filter": pl.String,
        "full_snapshots": pl.List(_UTC),
    }
    return pl.DataFrame(found, schema=schema).sort("min_time", "url")


def _rows(reader: Reader, view: MonthView, source: Source) -> int:
    for entry in reader.manifest(view.month).files:
        if reader.paths.file_key(view.month, entry.file) == source.key:
            return entry.rows
    slot = source.slot or view.slot(0)
    return read_info(reader.store, source.key, reader.provider, slot).rows
