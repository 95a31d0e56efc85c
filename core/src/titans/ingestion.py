"""Ingesting full snapshots that lie in files."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from titans.archive import open as open_archive
from titans.expectations import checked_share
from titans.loading.batch import Timing, file_items, ingest_item
from titans.loading.names import NamePattern
from titans.loading.rehearsal import rehearsal
from titans.loading.sources import find
from titans.loading.tables import Reading
from titans.results import Ingestion, Outcome
from titans.slots import to_utc

if TYPE_CHECKING:
    from titans.provider import Provider
    from titans.store import ObjectStore

__all__ = ["ingest_files"]


def ingest_files(
    files: str | Path | Iterable[str | Path],
    *,
    provider: str | Provider,
    store: ObjectStore | str | Path | None = None,
    at: datetime | None = None,
    time_from_name: str | None = None,
    time_column: str | None = None,
    format: str | None = None,
    records: str | None = None,
    max_ceased: float | None = None,
    dry_run: bool = False,
) -> Ingestion:
    """Ingest files of full snapshots, one after the other, as `Archive.ingest` does.

    Stopped anywhere, it goes on when it is called again: what is in the archive is recognised.

    Args:
        files: each a path, a pattern such as `"data/*.csv.gz"`, a folder, `-` for standard input,
            or the URL of an object or a prefix. A `Path` is no pattern. Parquet, CSV, JSON and JSON
            lines, as they are or packed (`.gz`, `.bz2`, `.zst`).
        provider, store: as for `titans.open`.
        at: when the one file was collected; timezone-aware.
        time_from_name: where the time stands in the names, as `strftime` writes it:
            `"prices-%Y-%m-%dT%H%M"`. UTC, unless it has an offset (`%z`).
        time_column: the column that says it; a file may then hold many snapshots.
        format: `"parquet"`, `"csv"`, `"json"` or `"jsonl"`; by default what each name says.
        records: where in a JSON document the list of records is, like `"data.items"`.
        max_ceased: as for `Archive.ingest`.
        dry_run: write nothing, and say what would become of each snapshot.

    Returns:
        What became of each snapshot, in the order of their times where their names say them. One
        that is not acceptable, or a file that cannot be read, is `refused`; the others go on.

    Raises:
        InputError: no such file, or not exactly one of `at`, `time_from_name` and `time_column`;
            nothing was written. A `ValueError`.
        StoreError, ProviderError: as `titans.open` and `Archive.ingest`. What was ingested before
            stays.
    """
    if max_ceased is not None:
        checked_share(max_ceased)
    archive = open_archive(store, provider=provider)
    pattern = None if time_from_name is None else NamePattern(time_from_name)
    moment = None if at is None else to_utc(at, "at")
    timing = Timing(moment, pattern, time_column)
    reading = Reading(archive.provider, format, records)

    if isinstance(files, (str, Path)):
        files = [files]
    items = file_items(find(files, format), timing, reading)
    if dry_run:
        archive = rehearsal(archive)
    outcomes: list[Outcome] = []
    for item in items:
        outcomes += ingest_item(archive, item, max_ceased)
    return Ingestion(tuple(outcomes))
