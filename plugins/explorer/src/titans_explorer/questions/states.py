"""The keys that live at a moment, searched, filtered, counted and sorted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from titans.slots import iso
from titans_explorer.conditions import Condition, all_of, text
from titans_explorer.encode import table
from titans_explorer.questions._answer import Answer, Question, in_python, paged
from titans_explorer.wishes import Choice, arguments

__all__ = ["chosen", "facets", "keys", "state_at", "without_values"]

_VALUES = 200
"""Values of a key column that are counted for a page; a search finds the others."""


def keys(question: Question) -> Answer:
    """The state at `at` (by default after the last change point), of the keys that are wanted."""
    wishes, provider = question.wishes, question.archive.provider
    at = wishes.moment("at")
    choice = wishes.choice()
    state = state_at(question, at)
    rows = chosen(state, choice)
    page = wishes.page(state.columns)
    data: dict[str, Any] = {
        "at": None if at is None else iso(at),
        "living": state.height,
        "count": rows.height,
        "facets": facets(state, choice, provider.key),
        "empty": without_values(rows, provider.value_columns),
        **table(paged(rows, page)),
    }

    method, given = "latest", []
    if at is not None:
        method, given = "state", [text(iso(at))]
    where = all_of([*choice.words, *choice.of_values])
    if where is not None:
        given.append(f"where={where.code}")
    python = in_python(question.opened, method, [*given, *arguments(choice)])
    if page.sort:
        order = f"{text(page.sort)}, descending={page.descending}, nulls_last=True"
        python += f".sort({order}, maintain_order=True)"
    whole = _everything(rows, page.sort, page.descending)
    return Answer(data, lambda: whole, python=python)


def _everything(rows: pl.DataFrame, sort: str, descending: bool) -> pl.DataFrame:
    if not sort:
        return rows
    return rows.sort(sort, descending=descending, nulls_last=True, maintain_order=True)


def state_at(question: Question, at: datetime | None) -> pl.DataFrame:
    """The whole state, kept for the next question."""
    archive = question.archive
    if at is None:
        return question.keep(archive.latest, "latest")  # type: ignore[no-any-return]
    return question.keep(lambda: archive.state(at), "state", at)  # type: ignore[no-any-return]


def chosen(frame: pl.DataFrame, choice: Choice) -> pl.DataFrame:
    """The rows that are wanted."""
    conditions = [*choice.words, *choice.of_values]
    conditions += [_is_any(column, values) for column, values in choice.of_key.items()]
    where = all_of(conditions)
    return frame if where is None else frame.filter(where.expr)


def _is_any(column: str, values: tuple[str, ...]) -> Condition:
    expr = pl.col(column).is_in(list(values))
    return Condition(expr, "")


def without_values(frame: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """The columns in which no row has a value; of no rows none."""
    if not frame.height:
        return []
    return [name for name in columns if frame[name].null_count() == frame.height]


def facets(frame: pl.DataFrame, choice: Choice, key: tuple[str, ...]) -> list[dict[str, Any]]:
    """Per key column its values and how many rows have them, were nothing chosen in that column."""
    found = []
    for column in key:
        others = {name: values for name, values in choice.of_key.items() if name != column}
        rows = chosen(frame, Choice(choice.words, others, choice.of_values))
        counts = rows.group_by(column).len().sort(["len", column], descending=[True, False])
        found.append(
            {
                "name": column,
                "values": counts.head(_VALUES).rows(),
                "count": counts.height,
                "chosen": list(choice.of_key.get(column, ())),
            }
        )
    return found
