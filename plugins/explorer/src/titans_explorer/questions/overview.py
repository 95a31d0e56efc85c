"""What a store and its archives consist of: sizes, health, columns, coverage, changes per day."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
from attrs import frozen

from titans.errors import InputError
from titans.provider import Provider
from titans.results import Freshness, MonthStatus
from titans.schema import CEASED, TIME
from titans.slots import Month, iso
from titans_explorer.conditions import text
from titans_explorer.encode import kind_of, millis, ms, rows
from titans_explorer.questions._answer import Answer, Question, in_python
from titans_explorer.questions.states import state_at

__all__ = ["about", "bounds_of", "calendar", "points_between", "span"]

_CODES = {"observed": "o", "changes": "c", "empty": "e", "missing": "-"}


@frozen(eq=False)
class _Facts:
    """What an archive says of itself."""

    months: tuple[MonthStatus, ...]
    files: pl.DataFrame
    freshness: Freshness
    first: datetime | None
    last: datetime | None


def _facts(question: Question) -> _Facts:
    archive = question.archive

    def made() -> _Facts:
        files, freshness = archive.files(), archive.freshness()
        first, last = files["min_time"].min(), files["max_time"].max()
        if freshness.last is not None:
            last = max(last or freshness.last, freshness.last)
            first = first or freshness.last
        return _Facts(archive.status(), files, freshness, first, last)  # type: ignore[arg-type]

    return question.keep(made, "facts")  # type: ignore[no-any-return]


def bounds_of(question: Question) -> tuple[datetime, datetime]:
    """The first moment of which the archive says something, and the last.

    Raises:
        InputError: it holds no change point yet.
    """
    facts = _facts(question)
    if facts.first is None or facts.last is None:
        raise InputError("the archive holds no change point yet")
    return facts.first, facts.last


def span(question: Question) -> tuple[datetime, datetime]:
    """The range that is wanted, by default all there is."""
    first, last = bounds_of(question)
    start = question.wishes.moment("from") or first
    end = question.wishes.moment("to") or max(last, first + question.archive.provider.every)
    if start >= end:
        raise InputError(f"the range ends ({iso(end)}) before it begins ({iso(start)})")
    return start, end


def points_between(question: Question, start: datetime, end: datetime) -> float:
    """About how many change points a range has, were they spread evenly."""
    first, last = bounds_of(question)
    whole = max((last - first).total_seconds(), 1.0)
    share = (min(end, last) - max(start, first)).total_seconds() / whole
    return max(share, 0.0) * sum(month.rows for month in _facts(question).months)


# --- an archive -----------------------------------------------------------------------------------


def about(question: Question) -> Answer:
    """An archive: its columns, its months, its size and health."""
    archive, provider = question.archive, question.archive.provider
    facts = _facts(question)
    late = archive.freshness() if facts.freshness.last is not None else facts.freshness
    state = state_at(question, None)
    data = {
        "provider": question.name,
        "store": question.shelf.label(question.name),
        "version": question.shelf.version(question.name),
        "key": _key_columns(provider),
        "columns": question.keep(lambda: _value_columns(provider, state), "columns"),
        "score": provider.schema.score,
        "slot": provider.layout.slot_minutes * 60,
        "every": provider.every.total_seconds(),
        "first": None if facts.first is None else ms(facts.first),
        "last": None if facts.last is None else ms(facts.last),
        "living": state.height,
        "points": sum(month.rows for month in facts.months),
        "bytes": sum(month.bytes for month in facts.months),
        "observed": None if late.last is None else ms(late.last),
        "late": late.is_late,
        "months": [_month(month) for month in reversed(facts.months)],
        "files": _kinds(facts.files),
        "amendments": _corrections(question),
    }
    python = in_python(question.opened, "files", [])
    # Places of objects are places of this machine.
    return Answer(data, lambda: facts.files.drop("url"), python=f'{python}.drop("url")')


def _key_columns(provider: Provider) -> list[dict[str, str]]:
    described = provider.schema.description
    return [{"name": name, "description": described.get(name, "")} for name in provider.key]


def _value_columns(provider: Provider, state: pl.DataFrame) -> list[dict[str, Any]]:
    """The value columns, what they mean, and what they hold now."""
    schema, found = provider.schema, []
    for name, dtype in provider.schema.value_dtypes().items():
        values = state[name]
        kind = kind_of(dtype)
        column: dict[str, Any] = {
            "name": name,
            "dtype": schema.columns[name],
            "kind": kind,
            "unit": schema.units.get(name, ""),
            "description": schema.description.get(name, ""),
            "passive": name in schema.passive,
            "nulls": values.null_count() / max(len(values), 1),
        }
        if kind == "number" and values.null_count() < len(values):
            numbers = values.cast(pl.Float64)
            numbers = numbers.filter(numbers.is_finite())
            column |= {"min": numbers.min(), "median": numbers.median(), "max": numbers.max()}
        found.append(column)
    return found


def _month(month: MonthStatus) -> dict[str, Any]:
    return {
        "month": str(month.month),
        "state": "sealed" if month.sealed else "open",
        "points": month.rows,
        "bytes": month.bytes,
        "levels": [[level, count] for level, count in month.levels.items()],
        "slots": month.adopted,
        "snapshots": month.observed,
        "gaps": month.gaps,
        "keyframes": month.keyframes,
        "waiting": month.waiting,
        "pending": month.pending,
        "left_out": len(month.left_out),
    }


def _kinds(files: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Kind of file, how many, rows, bytes."""
    counts = files.group_by("kind").agg(pl.len(), pl.col("rows").sum(), pl.col("bytes").sum())
    return counts.sort("bytes", descending=True).rows()


def _corrections(question: Question) -> list[dict[str, Any]]:
    """The last corrections. Who made them is left out: it names people and machines."""
    frame: pl.DataFrame = question.keep(question.archive.amendments, "amendments")
    columns = ["at", "operation", "month", "slot", "reason", "removed", "added"]
    shown = frame.select(columns).tail(100).reverse()
    return [dict(zip(columns, row, strict=True)) for row in rows(shown)]


# --- the calendar ---------------------------------------------------------------------------------


def calendar(question: Question) -> Answer:
    """Interval by interval whether somebody looked, and the change points of each day.

    By default of the last year.
    """
    first, last = bounds_of(question)
    wishes, archive = question.wishes, question.archive
    end = wishes.moment("to") or last + archive.provider.every
    start = wishes.moment("from") or max(first, end - timedelta(days=366))
    if start >= end:
        raise InputError(f"the range ends ({iso(end)}) before it begins ({iso(start)})")
    if end - start > timedelta(days=370):
        raise InputError("a calendar shows at most a year; give from and to")
    month, slots = Month.of(start), []
    days: list[pl.DataFrame] = []
    while month.start < end:
        slots.append(_coverage(question, month))
        days.append(_days(question, month))
        month = month.next()
    day = start.replace(hour=0, minute=0, second=0, microsecond=0)
    covered = pl.concat(slots).filter(pl.col("slot").is_between(day, end, closed="left"))
    perday = pl.concat(days).filter(pl.col("day").is_between(day, end, closed="left"))
    codes = covered["status"].replace_strict(_CODES, return_dtype=pl.String)
    data = {
        "from": ms(day),
        "to": ms(end),
        "every": archive.provider.every.total_seconds(),
        "start": ms(covered["slot"][0]) if covered.height else ms(day),
        "codes": codes.str.join("").item(),
        "counts": dict(covered.group_by("status").len().sort("status").rows()),
        "days": {
            "t": millis(perday, "day"),
            "points": perday["points"].to_list(),
            "ceased": perday["ceased"].to_list(),
        },
    }
    python = in_python(question.opened, "coverage", [text(iso(day)), text(iso(end))])
    return Answer(data, lambda: covered, python=python)


def _coverage(question: Question, month: Month) -> pl.DataFrame:
    return question.shelf.keep_month(  # type: ignore[no-any-return]
        question.name,
        month,
        "coverage",
        lambda: question.archive.coverage(month.start, month.end),
    )


def _days(question: Question, month: Month) -> pl.DataFrame:
    """Change points per day of a month."""

    def made() -> pl.DataFrame:
        scanned = question.archive.scan(month.start, month.end).group_by(
            day=pl.col(TIME).dt.truncate("1d")
        )
        counts = scanned.agg(points=pl.len(), ceased=pl.col(CEASED).sum()).sort("day")
        return counts.collect()

    return question.shelf.keep_month(  # type: ignore[no-any-return]
        question.name, month, "days", made
    )
