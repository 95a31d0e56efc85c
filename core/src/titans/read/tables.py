"""What an archive consists of, as frames: which slots were looked at, which objects hold a range of
time, and who wrote what.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import polars as pl

from titans.read.queries import check_count
from titans.read.reader import Reader, bounds
from titans.results import Freshness, MonthStatus
from titans.slots import END, TICK, Moment, Month, interval_start, iso
from titans.tiers.files.fetch import read_info
from titans.tiers.files.read import StoredFile
from titans.tiers.files.writers import Writer
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.view import MonthView, Part
from titans.tiers.write.adopt import read_waiting

__all__ = ["amendments", "coverage", "files", "freshness", "status", "writers"]

_UTC = pl.Datetime("us", "UTC")
_STATUSES = ("observed", "changes", "empty", "missing")


# --- slots ----------------------------------------------------------------------------------------


def coverage(reader: Reader, start: Moment | None, end: Moment | None) -> pl.DataFrame:
    """See `ReadableArchive.coverage`."""
    since, until = bounds(start, end)
    every, minutes = reader.dataset.provider.every, reader.dataset.paths.minutes
    if since is not None and (until is None or since < until):
        since = interval_start(since, every)
    last = until
    if until is not None:
        last = min(interval_start(until - TICK, every) + every, END)
    views = {month: reader.view(month) for month, _, _ in reader.spans(since, last)}
    covered = [view for view in views.values() if view.adopted]
    if since is None and covered:
        since = interval_start(covered[0].slot(covered[0].adopted.first or 0).start, every)
    if until is None and covered:
        until = covered[-1].slot(covered[-1].adopted.last or 0).end

    rows: list[tuple[datetime, str]] = []
    if since is not None and until is not None:
        check_count((until - since) // every, "intervals")
        known = _known_slots(views)
        slot = timedelta(minutes=minutes)
        while since < until:
            rows.append((since, _interval_status(known, since, every, slot)))
            since += every
    return pl.DataFrame(rows, schema={"slot": _UTC, "status": pl.String}, orient="row")


def _known_slots(views: dict[Month, MonthView]) -> dict[datetime, str]:
    """Start of a slot → what is known of it; of those that are missing nothing."""
    known: dict[datetime, str] = {}
    for view in views.values():
        claims = view.claims
        for index in view.adopted:
            status = "changes"
            if index in claims.retracted:
                continue
            if index in claims.empty:
                status = "empty"
            elif index in view.observed or index in claims.complete:
                status = "observed"
            known[view.slot(index).start] = status
    return known


def _interval_status(
    known: dict[datetime, str], start: datetime, every: timedelta, slot: timedelta
) -> str:
    """The most that is known of a slot that begins in the interval."""
    # Slots divide a day: counted from 1970 they begin where they do in their month.
    begins = interval_start(start, slot)
    if begins < start:
        begins += slot
    found = set()
    while begins < start + every:
        found.add(known.get(begins, "missing"))
        begins += slot
    return next(status for status in _STATUSES if status in found)


def freshness(reader: Reader, now: datetime) -> Freshness:
    """See `ReadableArchive.freshness`."""
    every = reader.dataset.provider.every
    for month in reversed(reader.months()):
        view = reader.view(month)
        last = (view.observed | view.claims.complete | view.claims.empty).last
        if last is not None:
            start = view.slot(last).start
            return Freshness(start, every, now, now >= interval_start(start, every) + 2 * every)
    return Freshness(None, every, now, True)


# --- objects --------------------------------------------------------------------------------------


def files(reader: Reader, start: Moment | None, end: Moment | None) -> pl.DataFrame:
    """See `ReadableArchive.files`."""
    since, until = bounds(start, end)
    rows: list[dict[str, Any]] = []
    for month, first, last in reader.spans(since, until):
        view = reader.view(month)
        view.require_changes(first, last)
        for part in view.parts_in(first, last):
            # Frames are corrections that the next compaction will write.
            if isinstance(part.data, StoredFile):
                row = _file_row(reader, view, part, part.data)
                rows.append(row | {"filter": _filter(part, first, last), "full_snapshots": []})
        for full in view.without_border(first, last):
            if isinstance(full.data, StoredFile):
                part = Part(full.data, full.time, full.time)
                row = _file_row(reader, view, part, full.data)
                rows.append(row | {"kind": "full", "filter": "", "full_snapshots": [full.time]})

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
    return pl.DataFrame(rows, schema=schema).sort("min_time", "url")


def _file_row(reader: Reader, view: MonthView, part: Part, file: StoredFile) -> dict[str, Any]:
    if part.is_correction:
        kind = "correction"
    elif file.slot is not None:
        kind = "hot"
    elif file.key.rpartition("/")[2].startswith("B_"):
        kind = "border"
    else:
        kind = "merged"

    store = reader.dataset.store
    path = store.local_path(file.key)
    return {
        "url": f"{store.url}/{file.key}" if path is None else str(path),
        "kind": kind,
        "rows": _read_row_count(reader, view, file),
        "bytes": file.size,
        "min_time": part.min_time,
        "max_time": part.max_time,
    }


def _filter(part: Part, start: datetime, end: datetime) -> str:
    """The SQL condition that rows of a part have to satisfy; empty where all do."""
    if part.within(start, end):
        return ""
    return f"Time >= TIMESTAMPTZ '{iso(start)}' AND Time < TIMESTAMPTZ '{iso(end)}'"


def _read_row_count(reader: Reader, view: MonthView, file: StoredFile) -> int:
    manifest = view.manifest
    entries: list[FileEntry | Keyframe] = [*manifest.files, *manifest.keyframes]
    for entry in entries:
        if reader.dataset.key(view.month, entry.file) == file.key:
            return entry.rows
    slot = file.slot or view.slot(0)
    return read_info(reader.dataset, file.key, slot).rows


# --- months ---------------------------------------------------------------------------------------


def status(reader: Reader) -> tuple[MonthStatus, ...]:
    """What the archive consists of, month by month."""
    reader.read_manifests(reader.months())
    kept = [month for month in reader.months() if not reader.manifest(month).removed]
    return tuple(_month_status(reader, month) for month in kept)


def _month_status(reader: Reader, month: Month) -> MonthStatus:
    manifest = reader.manifest(month)
    hot = reader.list_hot().get(month, {})
    waiting, left_out = read_waiting(reader.dataset, manifest, hot)
    pending = sum(len(each.files) + len(each.slots) for each in manifest.pending)
    return MonthStatus(
        month=month,
        levels={level: len(manifest.level(level)) for level in manifest.levels},
        rows=sum(entry.rows for entry in manifest.files),
        bytes=sum(entry.bytes for entry in manifest.files),
        adopted=len(manifest.adopted),
        observed=len(manifest.observed),
        waiting=len(waiting),
        left_out=tuple(str(each.error) for each in left_out),
        pending=pending,
        version=manifest.version,
        sealed=manifest.sealed,
        keyframes=len(manifest.keyframes),
        gaps=len(manifest.gaps(reader.dataset.paths.minutes, reader.dataset.provider.every)),
    )


# --- corrections ----------------------------------------------------------------------------------


def amendments(reader: Reader) -> pl.DataFrame:
    """See `ReadableArchive.amendments`."""
    rows: list[dict[str, Any]] = []
    reader.read_manifests(reader.months())
    for month in reader.months():
        for each in reader.manifest(month).rewrites:
            slot = None
            if each.slot is not None:
                slot = reader.dataset.slot(month, each.slot).start
            row = {
                "month": month.start,
                "at": each.at,
                "operation": each.operation,
                "slot": slot,
                "reason": each.reason,
                **each.writer.to_json(),
                "before": each.before,
                "after": each.after,
                "removed": each.removed,
                "added": each.added,
            }
            rows.append(row)
    schema: dict[str, Any] = {"month": _UTC, "at": _UTC, "operation": pl.String(), "slot": _UTC}
    texts = ("reason", "actor", "titans", "provider", "before", "after")
    schema |= dict.fromkeys(texts, pl.String()) | {"removed": pl.Int64(), "added": pl.Int64()}
    return pl.DataFrame(rows, schema=schema).sort("at", maintain_order=True)


# --- writers --------------------------------------------------------------------------------------


def writers(reader: Reader) -> pl.DataFrame:
    """See `ReadableArchive.writers`."""
    of_slots: dict[datetime, Writer | None] = {}
    for month in reader.months():
        of_slots |= _read_writers(reader, month)

    rows: list[dict[str, Any]] = []
    for writer, run in groupby(sorted(of_slots), key=of_slots.__getitem__):
        starts = list(run)
        row = {"first": starts[0], "last": starts[-1], "slots": len(starts)}
        rows.append(row if writer is None else row | writer.to_json())

    texts = dict.fromkeys(("actor", "titans", "provider"), pl.String())
    schema: dict[str, Any] = {"first": _UTC, "last": _UTC, "slots": pl.Int64, **texts}
    return pl.DataFrame(rows, schema=schema)


def _read_writers(reader: Reader, month: Month) -> dict[datetime, Writer | None]:
    """Start of a slot → who wrote it, `None` where its file does not say."""
    dataset, manifest = reader.dataset, reader.manifest(month)
    found: dict[datetime, Writer | None] = {}
    entries: list[FileEntry | Keyframe] = [*manifest.files, *manifest.keyframes]
    for entry in entries:
        if not entry.slots:
            continue
        slots = [dataset.slot(month, index) for index in entry.slots]
        info = read_info(dataset, dataset.key(month, entry.file), slots[0], entry.bytes)
        known = {record.slot: record.writer for record in info.records}
        for slot in slots:
            found[slot.start] = known.get(slot.index)

    hot = reader.list_hot().get(month, {})
    waiting, _ = read_waiting(dataset, manifest, hot)
    for info, _ in waiting:
        found[dataset.slot(month, info.record.slot).start] = info.record.writer
    return found
