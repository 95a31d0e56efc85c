"""Groups of keys as one line: a family, a region, all keys."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from attrs import frozen

from titans import Archive
from titans.errors import InputError
from titans.schema import TIME
from titans.slots import iso
from titans_explorer.conditions import Condition, text
from titans_explorer.encode import kind_of, millis, ms
from titans_explorer.questions._answer import Answer, Question, in_python
from titans_explorer.questions.overview import points_between, span
from titans_explorer.questions.states import state_at
from titans_explorer.selectors import Selector

__all__ = ["group"]

_LOOKS = (8, 400)
"""Looks at a group, at least and at most."""
_HOUR, _DAY = 3600, 86400
_NICE = (
    *(60, 300, 600, 1800, _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 3 * _DAY, 5 * _DAY, 7 * _DAY, 10 * _DAY, 14 * _DAY, 21 * _DAY, 30 * _DAY),
)
"""Seconds from one look to the next."""
_POINTS = 450_000
"""Change points of a group up to which they are read; beyond, states are, at a cost by the look."""
_BUDGET, _STATE, _ROW = 250.0, 24.0, 0.0006
"""Milliseconds for all states, and what about one of them takes: each, and by its rows."""
_FINER = 5
"""So many times as many states, for whoever has seen the first line and waits for a better one."""


@frozen(eq=False)
class _Group:
    """What is looked at, and when."""

    archive: Archive
    where: Condition | None
    columns: tuple[str, ...]
    start: datetime
    end: datetime
    every: timedelta
    by_state: bool
    """Whether states are looked at; otherwise a grid is made of the change points."""

    def frame(self) -> pl.DataFrame:
        where = None if self.where is None else self.where.expr
        spread = [expr for column in self.columns for expr in _spread(column)]
        if not self.by_state:
            cells = self.archive.grid(self.start, self.end, self.every, self.columns, where=where)
            return cells.group_by(TIME).agg(spread).sort(TIME)
        looks = []
        for moment in _moments(self.start, self.end, self.every):
            state = self.archive.state(moment, where, self.columns)
            looks.append(state.select(pl.lit(moment).alias(TIME), *spread))
        return pl.concat(looks)

    def python(self, opened: str) -> str:
        """A line that gives the same frame."""
        start, end, every = text(iso(self.start)), text(iso(self.end)), self.every.total_seconds()
        columns = f"[{', '.join(map(text, self.columns))}]"
        where = "" if self.where is None else f"where={self.where.code}"
        spread = ", ".join(_python_spread(column) for column in self.columns)
        if not self.by_state:
            made = in_python(opened, "grid", [start, end, f'"{every:g}s"', columns, where])
            return f'{made}.group_by("{TIME}").agg({spread}).sort("{TIME}")'
        state = in_python(opened, "state", ["t", f"columns={columns}", where])
        times = (
            f'pl.datetime_range(pl.lit({start}).str.to_datetime(time_zone="UTC"), '
            f'pl.lit({end}).str.to_datetime(time_zone="UTC"), "{every:g}s", closed="left", '
            "eager=True)"
        )
        look = f'{state}.select(pl.lit(t).alias("{TIME}"), {spread})'
        return f"pl.concat([{look} for t in {times}])"


def group(question: Question) -> Answer:
    """The values of a group of keys as one line: median, the tenth and ninetieth percentile, how
    many keys live. It is looked at in regular steps.
    """
    wishes = question.wishes
    ((name, selector), *more) = wishes.selectors()
    if more or not selector.is_group:
        raise InputError("give one group, such as m5.*|us-east-1|*")
    columns = tuple(column for column in wishes.value_columns() if _is_number(question, column))
    if not columns:
        raise InputError("a group has lines of numbers; choose a column of numbers")

    wanted = _group(question, selector, columns)
    frame: pl.DataFrame = question.keep(
        wanted.frame,
        *("group", name, wanted.start, wanted.end, wanted.every, columns, wanted.by_state),
    )
    charts = []
    for column in columns:
        line: dict[str, Any] = {"key": name, "t": millis(frame, TIME)}
        for part in ("p10", "median", "p90", "count"):
            line[part] = frame[f"{column}_{part}"].to_list()
        charts.append({"column": column, "kind": "number", "levels": None, "lines": [line]})
    data = {
        "from": ms(wanted.start),
        "to": ms(wanted.end),
        "every": wanted.every.total_seconds(),
        "coarse": wanted.by_state and question.wishes.one("fine") != "1",
        "charts": charts,
    }
    return Answer(data, lambda: frame, python=wanted.python(question.opened))


def _group(question: Question, selector: Selector, columns: tuple[str, ...]) -> _Group:
    """How to look at a group, such that it does not take long."""
    archive = question.archive
    start, end = span(question)
    where = selector.condition(archive.provider.key)
    state = state_at(question, None)
    keys = state.height if where is None else state.filter(where.expr).height

    points = points_between(question, start, end) * keys / max(state.height, 1)
    by_state = points > _POINTS
    looks = question.wishes.limits.grid_cells // max(keys * len(columns), 1)
    if by_state:
        looks = round(_BUDGET / (_STATE + _ROW * keys))
        if question.wishes.one("fine") == "1":
            looks *= _FINER
    looks = max(_LOOKS[0], min(looks, _LOOKS[1]))
    every = _step((end - start).total_seconds() / looks, question.wishes.step() or 0.0)
    return _Group(archive, where, columns, start, end, every, by_state)


def _step(least: float, wanted: float) -> timedelta:
    """From one look to the next."""
    seconds = max(least, wanted)
    for nice in _NICE:
        if nice >= seconds:
            return timedelta(seconds=nice)
    return timedelta(days=math.ceil(seconds / 86400))


def _moments(start: datetime, end: datetime, every: timedelta) -> list[datetime]:
    moments = [start]
    while moments[-1] + every < end:
        moments.append(moments[-1] + every)
    return moments


def _spread(column: str) -> list[pl.Expr]:
    value = pl.col(column).cast(pl.Float64)
    return [
        value.quantile(0.1, "linear").alias(f"{column}_p10"),
        value.median().alias(f"{column}_median"),
        value.quantile(0.9, "linear").alias(f"{column}_p90"),
        value.count().alias(f"{column}_count"),
    ]


def _python_spread(column: str) -> str:
    value = f"pl.col({text(column)}).cast(pl.Float64)"
    return ", ".join(
        [
            f'{value}.quantile(0.1, "linear").alias({text(f"{column}_p10")})',
            f"{value}.median().alias({text(f'{column}_median')})",
            f'{value}.quantile(0.9, "linear").alias({text(f"{column}_p90")})',
            f"{value}.count().alias({text(f'{column}_count')})",
        ]
    )


def _is_number(question: Question, column: str) -> bool:
    return kind_of(question.archive.provider.schema_dtypes[column]) == "number"
