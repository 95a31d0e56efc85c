"""Publishing an archive as Iceberg tables, beside it and without copying its rows.

The newest version is read first, then the archive: so a version that is published is never of an
earlier moment than the one before, whoever else publishes.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta

from attrs import evolve

from titans.dataset import Dataset
from titans.errors import (
    ConcurrencyConflictError,
    NotFound,
    OutcomeUnknown,
    StoreError,
    Unavailable,
)
from titans.iceberg.attempt import Attempt
from titans.iceberg.columns import check_columns
from titans.iceberg.results import PublishedTable
from titans.iceberg.tables import Look, Table
from titans.iceberg.versions import (
    Names,
    Place,
    Removable,
    Version,
    create,
    point_at,
)
from titans.tiers.manifest.commit import ATTEMPTS

__all__ = ["publish_table"]

log = logging.getLogger("titans.iceberg")


def publish_table(dataset: Dataset, table: Table, grace: timedelta) -> PublishedTable:
    """Publish a version of a table, unless the newest one says the same.

    Args:
        grace: how long what a version no longer refers to stays in the store.

    Raises:
        InputError: other engines cannot read the store, or a column.
        CorruptFileError, FormatError: as reading does.
        FormatError: something else lies where the table belongs.
        ConcurrencyConflictError: others published every time.
    """
    check_columns(dataset.provider)
    place = Place.of(dataset, table.name)
    reason: Exception | None = None
    tried: set[str] = set()
    for attempt in range(ATTEMPTS):
        if attempt:
            dataset.wait(attempt - 1)
        newest = Version.newest(place)
        if newest.said("commit") in tried:
            return _settled(place, newest, table)
        begun = Attempt.begun(place, table, newest, grace)
        look = begun.look()
        if begun.is_unchanged(look):
            return _settled(place, newest, table, unchanged=True)
        names = place.new_names(newest.number + 1)
        tried.add(names.begins)
        try:
            done = _write(begun, look, names)
        except (NotFound, OutcomeUnknown, Unavailable) as error:
            # What is not found was of a version that is not the newest any more.
            reason = error
            continue
        if done is not None:
            return done

    raise ConcurrencyConflictError(
        f"provider {dataset.provider.name!r}: {ATTEMPTS} attempts to publish the table "
        f"{table.name!r} failed{f', the last with {reason}' if reason else ''}; what is published "
        "stays as it is: publish again later",
        provider=dataset.provider.name,
        key=place.prefix,
    ) from reason


def _settled(
    place: Place, newest: Version, table: Table, *, unchanged: bool = False
) -> PublishedTable:
    """What is published already; the hint says so."""
    if newest.hint is None or newest.hint < newest.number:
        point_at(place, newest.number)
    said = PublishedTable.of(place, newest.number, newest.metadata, table.name)
    return evolve(said, unchanged=unchanged)


def _write(begun: Attempt, look: Look, names: Names) -> PublishedTable | None:
    """Write all that the version consists of, and publish it; `None`: another one was first.

    Raises:
        OutcomeUnknown, Unavailable: it may be published.
    """
    from titans.iceberg.writing import Writer

    place, number = begun.place, begun.newest.number + 1
    writer = Writer.of(begun, names)
    removable = Removable.of(place, begun.newest, begun.used, begun.grace)
    parts = writer.parts(look)
    data = writer.metadata(look, parts, removable)
    if not create(place, number, data):
        return None

    _clean_up(place, number, removable)
    said = PublishedTable.of(place, number, json.loads(data), begun.table.name)
    return evolve(said, changed=tuple(look.pieces), removed=len(removable.keys))


def _clean_up(place: Place, number: int, removable: Removable) -> None:
    """The version is published: what fails here is made good by the next one."""
    try:
        point_at(place, number)
        for key in removable.keys:
            place.dataset.store.delete(key)
    except StoreError as error:
        log.warning("%s: published, but %s", place.prefix, error)
