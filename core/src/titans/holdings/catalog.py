"""A catalog of a store: what it holds, how much, how fresh, and what the columns mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from attrs import field, frozen

from titans.archive import Archive
from titans.errors import ArchiveNotFoundError, TitansError
from titans.holdings.places import Place, find_places, open_place
from titans.html import page, table
from titans.redaction import redacted
from titans.results import MonthStatus
from titans.slots import Moment, iso, to_moment
from titans.store import ObjectStore
from titans.where import resolve_store

__all__ = ["ArchiveFacts", "Catalog", "ColumnFacts", "catalog"]


@frozen
class ColumnFacts:
    """A column, and its values in the latest state."""

    name: str
    dtype: str
    """As the schema names it."""
    is_key: bool
    unit: str = ""
    description: str = ""
    null_share: float | None = None
    """Of the living keys, 0 to 1; `None` where there are none."""
    least: str = ""
    """As text; empty where there is none, and for JSON and binary."""
    greatest: str = ""

    @property
    def label(self) -> str:
        """The name, and whether it is a part of the key."""
        return f"{self.name} (key)" if self.is_key else self.name

    @property
    def share(self) -> str:
        """`null_share` in percent; empty where there is none."""
        return "" if self.null_share is None else f"{100 * self.null_share:.1f} %"


@frozen
class ArchiveFacts:
    """An archive."""

    provider: str
    environment: str
    """`test/` or nothing."""
    installed: bool
    """Whether the provider's package is; else the archive is described as its manifest does."""
    problem: str = ""
    """Why no more is known of it; empty where all is."""
    months: int = 0
    sealed: int = 0
    """Months that have their final form."""
    rows: int = 0
    """Change points, with what full snapshots restate."""
    bytes: int = 0
    """Of the files of change points."""
    waiting: int = 0
    """Hot files that nobody has adopted yet."""
    gaps: int = 0
    """Intervals in which nobody looked."""
    keys: int = 0
    """Alive in the latest state."""
    first: datetime | None = None
    """The first change point."""
    last: datetime | None = None
    """The start of the last slot for which somebody looked."""
    every: timedelta | None = None
    """How often the source is to be looked at."""
    is_late: bool | None = None
    schema_version: int | None = None
    columns: tuple[ColumnFacts, ...] = ()


@frozen
class Catalog:
    """What a store holds."""

    store: str
    """Its URL, without credentials."""
    at: datetime
    """When it was looked at."""
    archives: tuple[ArchiveFacts, ...] = field(repr=False)

    def __str__(self) -> str:
        names = [each.environment + each.provider for each in self.archives]
        return f"{self.store}: {', '.join(names) or 'no archive'}"

    def to_frame(self) -> pl.DataFrame:
        """One row for each archive, without its columns; `every` is a duration."""
        rows = [{name: row[name] for name in _SCHEMA} for row in map(_row, self.archives)]
        return pl.DataFrame(rows, schema=_SCHEMA, orient="row")

    def to_json(self) -> dict[str, Any]:
        """As plain data: times as ISO text, `every` in seconds."""
        return {
            "store": self.store,
            "at": iso(self.at),
            "archives": [_plain(each) for each in self.archives],
        }

    def to_html(self) -> str:
        """A page of its own: no scripts, nothing from elsewhere."""
        return page(f"What {self.store} holds", _body(self))

    def _repr_html_(self) -> str:
        return _body(self)


_UTC = pl.Datetime("us", "UTC")
_SCHEMA: dict[str, Any] = {
    "provider": pl.String,
    "environment": pl.String,
    "installed": pl.Boolean,
    "problem": pl.String,
    "months": pl.Int64,
    "sealed": pl.Int64,
    "rows": pl.Int64,
    "bytes": pl.Int64,
    "waiting": pl.Int64,
    "gaps": pl.Int64,
    "keys": pl.Int64,
    "first": _UTC,
    "last": _UTC,
    "every": pl.Duration("us"),
    "is_late": pl.Boolean,
    "schema_version": pl.Int64,
}


def catalog(store: ObjectStore | str | Path | None = None, *, now: Moment | None = None) -> Catalog:
    """What a store holds: every archive in it, of all environments, whether its provider is
    installed or not.

    Of each archive all manifests are read, and one state. What is wrong with one is said of it, and
    hides no other.

    Args:
        store: as for `titans.open`.
        now: for how fresh they are; by default what the clock says.

    Raises:
        UnsupportedStoreError, InputError: there is no such store.
        Unavailable: it does not answer.
    """
    place = resolve_store(store)
    moment = datetime.now(UTC) if now is None else to_moment(now, "now")
    archives = tuple(_facts(place, each, moment) for each in find_places(place))
    return Catalog(redacted(place.url), moment, archives)


def _facts(store: ObjectStore, place: Place, now: datetime) -> ArchiveFacts:
    known = ArchiveFacts(place.provider, place.environment, place.installed)
    try:
        archive = open_place(store, place)
        return _of_archive(archive, place, now)
    except ArchiveNotFoundError:
        return _with_problem(known, "nothing but files that are none of an archive")
    except TitansError as error:
        return _with_problem(known, str(error))


def _with_problem(facts: ArchiveFacts, problem: str) -> ArchiveFacts:
    return ArchiveFacts(facts.provider, facts.environment, facts.installed, problem)


def _of_archive(archive: Archive, place: Place, now: datetime) -> ArchiveFacts:
    months = archive.status()
    latest = archive.latest()
    fresh = archive.freshness(now)
    return ArchiveFacts(
        place.provider,
        place.environment,
        place.installed,
        months=len(months),
        sealed=sum(month.sealed for month in months),
        rows=sum(month.rows for month in months),
        bytes=sum(month.bytes for month in months),
        waiting=sum(month.waiting for month in months),
        gaps=sum(month.gaps for month in months),
        keys=latest.height,
        first=_first_time(archive, months),
        last=fresh.last,
        every=fresh.every,
        is_late=fresh.is_late,
        schema_version=archive.provider.schema.version,
        columns=_columns(archive, latest),
    )


def _first_time(archive: Archive, months: tuple[MonthStatus, ...]) -> datetime | None:
    """Of the change points, by what the list of files says."""
    for month in months:
        files = archive.files(month.month.start, month.month.end)
        first = files["min_time"].min()
        if isinstance(first, datetime):
            return first
    return None


def _columns(archive: Archive, latest: pl.DataFrame) -> tuple[ColumnFacts, ...]:
    schema = archive.provider.schema
    found = [_key_facts(name, latest[name]) for name in archive.provider.key]
    for name, dtype in schema.columns.items():
        values = latest[name]
        share = values.null_count() / len(values) if len(values) else None
        least, greatest = _range(values, str(dtype))
        found.append(
            ColumnFacts(
                name,
                str(dtype),
                False,
                schema.units.get(name, ""),
                schema.description.get(name, ""),
                share,
                least,
                greatest,
            )
        )
    return tuple(found)


def _key_facts(name: str, values: pl.Series) -> ColumnFacts:
    least, greatest = _range(values, "String")
    share = 0.0 if len(values) else None
    return ColumnFacts(name, "String", True, null_share=share, least=least, greatest=greatest)


def _range(values: pl.Series, dtype: str) -> tuple[str, str]:
    """The least and the greatest value as text."""
    if dtype in ("Json", "Binary") or values.null_count() == len(values):
        return "", ""
    least, greatest = (_text(value) for value in (values.min(), values.max()))
    return least, greatest


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return iso(value)
    return str(value)


# --- as plain data --------------------------------------------------------------------------------


def _row(facts: ArchiveFacts) -> Mapping[str, Any]:
    return {name: getattr(facts, name) for name in _SCHEMA}


def _plain(facts: ArchiveFacts) -> dict[str, Any]:
    plain = dict(_row(facts))
    for name in ("first", "last"):
        moment = plain[name]
        plain[name] = None if moment is None else iso(moment)
    plain["every"] = None if facts.every is None else facts.every.total_seconds()
    plain["columns"] = []
    for column in facts.columns:
        plain["columns"].append(
            {
                "name": column.name,
                "dtype": column.dtype,
                "is_key": column.is_key,
                "unit": column.unit,
                "description": column.description,
                "null_share": column.null_share,
                "least": column.least,
                "greatest": column.greatest,
            }
        )
    return plain


# --- as a page ------------------------------------------------------------------------------------


def _body(found: Catalog) -> str:
    if not found.archives:
        return table(f"{found.store} holds no archive", [], [])
    head = ["archive", "living keys", "change points", "MB", "months", "from", "last look", "state"]
    rows = []
    for each in found.archives:
        rows.append(
            [
                each.environment + each.provider,
                f"{each.keys:,}",
                f"{each.rows:,}",
                f"{each.bytes / 1e6:,.1f}",
                f"{each.months} ({each.sealed} sealed)",
                _day(each.first),
                _minute(each.last),
                state_of(each),
            ]
        )
    parts = [table(f"{found.store}, {_minute(found.at)}", head, rows)]
    for each in found.archives:
        if each.columns:
            parts.append(_columns_table(each))
    return "".join(parts)


def state_of(facts: ArchiveFacts) -> str:
    """What there is to say of an archive in few words."""
    if facts.problem:
        return facts.problem
    said = ["late" if facts.is_late else "fresh"]
    if facts.gaps:
        said.append(f"{facts.gaps:,} gaps")
    if facts.waiting:
        said.append(f"{facts.waiting:,} waiting")
    if not facts.installed:
        said.append("provider not installed")
    return ", ".join(said)


def _columns_table(facts: ArchiveFacts) -> str:
    head = ["column", "dtype", "unit", "null", "least", "greatest", "description"]
    rows = []
    for column in facts.columns:
        rows.append(
            [
                column.label,
                column.dtype,
                column.unit,
                column.share,
                column.least,
                column.greatest,
                column.description,
            ]
        )
    title = f"{facts.environment}{facts.provider}, schema version {facts.schema_version}"
    return table(title, head, rows)


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d}"


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}Z"
