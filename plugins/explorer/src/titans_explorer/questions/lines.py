"""What happened to keys, as lines and as a table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from titans.errors import InputError
from titans.schema import CEASED, TIME
from titans.slots import TICK, iso
from titans_explorer.conditions import text
from titans_explorer.encode import kind_of, millis, ms, table
from titans_explorer.encode import rows as rows_of
from titans_explorer.questions._answer import Answer, Question, in_python, paged
from titans_explorer.questions.overview import span
from titans_explorer.questions.states import without_values
from titans_explorer.thinning import steps, thinned

__all__ = ["lines", "points"]

_CATEGORIES = 12
"""Texts that get a height of their own on a chart."""


def _range_arguments(question: Question) -> list[str]:
    start, end = question.wishes.moment("from"), question.wishes.moment("to")
    found = [] if start is None else [f"start={text(iso(start))}"]
    return found if end is None else [*found, f"end={text(iso(end))}"]


# --- keys -----------------------------------------------------------------------------------------


def _keys(question: Question) -> tuple[list[str], list[dict[str, str]]]:
    """The keys that are wanted, as they are written and as rows."""
    names, found = [], []
    for name, selector in question.wishes.selectors():
        if selector.is_group:
            raise InputError(f"{name!r} is a group; this is asked of single keys")
        names.append(name)
        found.append(selector.as_key(question.archive.provider.key))
    return names, found


def lines(question: Question) -> Answer:
    """The values of up to eight keys as step lines, one a key and column."""
    archive, wishes = question.archive, question.wishes
    start, end = span(question)
    names, wanted = _keys(question)
    columns = wishes.value_columns()
    # With the very last moment in it: what holds there is what the right edge shows.
    periods = question.keep(
        lambda: archive.intervals(start, end + TICK, keys=wanted),
        *("periods", start, end, tuple(names)),
    )
    limit = wishes.number("points", wishes.limits.line_points, 10, wishes.limits.line_points)
    charts = []
    for column in columns:
        charts.append(_chart(periods, column, start, list(zip(names, wanted, strict=True)), limit))
    data = {
        "from": ms(start),
        "to": ms(end),
        "charts": charts,
        "amendments": _amendments(question, start, end),
    }
    given = [*_range_arguments(question), f"keys={_python_keys(wanted)}"]
    if wishes.given.get("column"):
        given.append(f"columns=[{', '.join(map(text, columns))}]")
    python = in_python(question.opened, "history", given)
    return Answer(data, lambda: _history(question, wanted), python=python)


def _chart(
    periods: pl.DataFrame,
    column: str,
    start: datetime,
    keys: list[tuple[str, dict[str, str]]],
    limit: int,
) -> dict[str, Any]:
    """One column, with the line of each key."""
    kind = kind_of(periods.schema[column])
    levels: list[str] | None = None
    if kind in ("text", "time"):
        levels = _levels(periods, column)
    drawn = []
    for name, key in keys:
        same = [pl.col(part) == value for part, value in key.items()]
        line = steps(periods.filter(same), column, start)
        line = thinned(_as_numbers(line, levels), limit)
        drawn.append({"key": name, "t": millis(line, "t"), "v": line["v"].to_list()})
    return {"column": column, "kind": kind, "levels": levels, "lines": drawn}


def _levels(periods: pl.DataFrame, column: str) -> list[str]:
    """The texts of a column that get a height, the most frequent ones."""
    counts = periods.select(pl.col(column).cast(pl.String)).drop_nulls().group_by(column).len()
    found = counts.sort(["len", column], descending=[True, False]).head(_CATEGORIES)
    return sorted(found[column].to_list())


def _as_numbers(line: pl.DataFrame, levels: list[str] | None) -> pl.DataFrame:
    """Texts as the number of their level; those without one are drawn above all others."""
    value = pl.col("v")
    if levels is not None:
        heights = {level: float(height) for height, level in enumerate(levels)}
        value = value.cast(pl.String)
        other = pl.when(value.is_not_null()).then(float(len(levels)))
        value = value.replace_strict(heights, default=other, return_dtype=pl.Float64)
    value = value.cast(pl.Float64)
    return line.with_columns(v=pl.when(value.is_finite()).then(value))


def points(question: Question) -> Answer:
    """The change points of up to eight keys, newest first unless another order is wanted."""
    wishes = question.wishes
    start, end = wishes.moment("from"), wishes.moment("to")
    names, wanted = _keys(question)
    if start is not None and end is not None and start > end:
        raise InputError(f"the range ends ({iso(end)}) before it begins ({iso(start)})")
    history = _history(question, wanted)
    page = wishes.page(history.columns)
    shown = history if page.sort else history.sort(TIME, descending=True, maintain_order=True)
    amended = _amended_times(question, history)
    columns = tuple(wishes.value_columns())
    empty = without_values(history, columns)
    data = {"count": history.height, "keys": names, "amended": amended, "empty": empty}
    data |= table(paged(shown, page))
    given = [*_range_arguments(question), f"keys={_python_keys(wanted)}"]
    python = in_python(question.opened, "history", given)
    return Answer(data, lambda: history, python=python)


def _history(question: Question, wanted: list[dict[str, str]]) -> pl.DataFrame:
    wishes, archive = question.wishes, question.archive
    start, end = wishes.moment("from"), wishes.moment("to")
    columns = wishes.value_columns()
    frame: pl.DataFrame = question.keep(
        lambda: archive.history(start, end, keys=wanted),
        *("history", start, end, tuple(map(tuple, map(dict.items, wanted)))),
    )
    return frame.select(*archive.provider.key, TIME, *columns, CEASED)


def _python_keys(wanted: list[dict[str, str]]) -> str:
    rows = []
    for key in wanted:
        rows.append("{" + ", ".join(f"{text(n)}: {text(v)}" for n, v in key.items()) + "}")
    return f"[{', '.join(rows)}]"


# --- corrections ----------------------------------------------------------------------------------


def _amendments(question: Question, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """What was corrected in a slot of the range: an amendment is of a whole slot."""
    rows: pl.DataFrame = question.keep(question.archive.amendments, "amendments")
    rows = rows.filter(pl.col("slot").is_between(start, end))
    found = []
    for slot, at, operation, reason in rows.select("slot", "at", "operation", "reason").rows():
        note = {"slot": ms(slot), "at": ms(at), "operation": operation, "reason": reason}
        found.append(note)
    return found


def _amended_times(question: Question, history: pl.DataFrame) -> list[str]:
    """The times of change points that lie in a slot that was corrected."""
    corrected: pl.DataFrame = question.keep(question.archive.amendments, "amendments")
    minutes = timedelta(minutes=question.archive.provider.layout.slot_minutes)
    slots = corrected["slot"].drop_nulls().unique()
    times = history.select(TIME, slot=pl.col(TIME).dt.truncate(minutes))
    times = times.filter(pl.col("slot").is_in(slots.implode())).select(TIME).unique().sort(TIME)
    return [moment for (moment,) in rows_of(times)]
