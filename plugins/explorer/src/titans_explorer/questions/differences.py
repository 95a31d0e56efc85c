"""What is different between two moments: how much, which keys, and what moved most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from titans.errors import InputError
from titans.slots import iso
from titans_explorer.conditions import all_of, text
from titans_explorer.encode import kind_of, rows, table
from titans_explorer.questions._answer import Answer, Question, in_python, paged
from titans_explorer.questions.overview import bounds_of
from titans_explorer.questions.states import chosen, facets
from titans_explorer.wishes import arguments

__all__ = ["differences"]

_MOVERS = 10
_CHANGES = ("added", "removed", "changed")


def differences(question: Question) -> Answer:
    """The keys that were added, removed or changed between `t1` and `t2`."""
    wishes, archive = question.wishes, question.archive
    provider = archive.provider
    first, last = bounds_of(question)
    t1, t2 = wishes.moment("t1") or first, wishes.moment("t2") or last
    choice = wishes.choice()
    if choice.of_values:
        raise InputError("two moments are compared by key; conditions on values are asked of keys")
    change = wishes.one("change")
    if change and change not in _CHANGES:
        raise InputError(f"change is one of {', '.join(_CHANGES)}, got {change!r}")

    whole: pl.DataFrame = question.keep(lambda: archive.diff(t1, t2), "diff", t1, t2)
    among = chosen(whole, choice)
    counts = dict(among.group_by("change").len().rows())
    found = among.filter(pl.col("change") == change) if change else among
    values = _values_that_differ(found, provider.value_columns)
    page = wishes.page([*provider.key, "change", *values])
    by = None
    if page.sort in values:
        by = _order(found, page.sort)
    pairs = [f"{name}_{side}" for name in values for side in ("old", "new")]
    shown = paged(found, page, by).select(*provider.key, "change", *pairs)
    numbers = [v for v in provider.value_columns if _is_number(whole, v)]
    data: dict[str, Any] = {
        "t1": iso(t1),
        "t2": iso(t2),
        "counts": {name: counts.get(name, 0) for name in _CHANGES},
        "count": found.height,
        "values": values,
        "numbers": [name for name in numbers if name in _values_that_differ(whole, numbers)],
        "facets": facets(whole, choice, provider.key),
        **table(shown),
    }
    mover = wishes.one("column") or _mover(whole, data["numbers"])
    if mover:
        data["movers"] = _movers(among, wishes.value_column(mover), provider.key)

    given = [text(iso(t1)), text(iso(t2))]
    where = all_of(choice.words)
    if where is not None:
        given.append(f"where={where.code}")
    python = in_python(question.opened, "diff", [*given, *arguments(choice)])
    if change:
        python += f'.filter(pl.col("change") == {text(change)})'
    return Answer(data, lambda: found, python=python)


def _mover(frame: pl.DataFrame, numbers: list[str]) -> str:
    """The number whose moves are shown first: the last one with a fraction, which prices have."""
    fractions = [name for name in numbers if not frame.schema[f"{name}_old"].is_integer()]
    return next(reversed(fractions or numbers), "")


def _is_number(frame: pl.DataFrame, column: str) -> bool:
    return kind_of(frame.schema[f"{column}_old"]) == "number"


def _values_that_differ(frame: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    found = []
    for name in columns:
        old, new = pl.col(f"{name}_old"), pl.col(f"{name}_new")
        if frame.select(old.ne_missing(new).any()).item():
            found.append(name)
    return found


def _order(frame: pl.DataFrame, column: str) -> pl.Expr:
    """A number is sorted by how much it moved, all else by what it is now."""
    old, new = pl.col(f"{column}_old"), pl.col(f"{column}_new")
    if not _is_number(frame, column):
        return new
    return new.cast(pl.Float64) - old.cast(pl.Float64)


def _movers(frame: pl.DataFrame, column: str, key: tuple[str, ...]) -> dict[str, Any]:
    """What moved most, relative to what it was, in both directions."""
    if not _is_number(frame, column):
        raise InputError(f"{column} is no number: nothing moves in it")
    old = pl.col(f"{column}_old").cast(pl.Float64)
    new = pl.col(f"{column}_new").cast(pl.Float64)
    moved = frame.select(*key, old=old, new=new)
    # Without a value before there is no share of it; from 0 every way is endless.
    moved = moved.with_columns(share=(pl.col("new") - pl.col("old")) / pl.col("old").abs())
    moved = moved.filter(pl.col("share").is_finite() & (pl.col("share") != 0))
    up = moved.filter(pl.col("share") > 0).sort(
        ["share", *key], descending=[True, *([False] * len(key))]
    )
    down = moved.filter(pl.col("share") < 0).sort(["share", *key])
    return {
        "column": column,
        "rose": up.height,
        "fell": down.height,
        "up": rows(up.head(_MOVERS)),
        "down": rows(down.head(_MOVERS)),
        "median": moved["share"].median(),
    }
