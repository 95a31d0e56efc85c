"""Conditions that a page asks for, as a polars expression and as the Python text of the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime

import polars as pl
from attrs import frozen

from titans.errors import InputError, TimestampError
from titans.slots import to_moment

__all__ = ["Condition", "all_of", "of_value", "search", "text"]

_OPERATORS = re.compile(r"(>=|<=|!=|>|<|=)?\s*(.*)", re.DOTALL)
_RANGE = re.compile(r"(\S+)\s*\.\.\s*(\S+)")


@frozen(eq=False)
class Condition:
    """On the rows of an answer."""

    expr: pl.Expr
    code: str
    """The same, as Python that needs `import polars as pl`."""


def text(value: str) -> str:
    """A text as Python writes it, in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def all_of(conditions: Iterable[Condition]) -> Condition | None:
    """All of them at once; `None` for none."""
    whole: Condition | None = None
    for each in conditions:
        if whole is None:
            whole = each
        else:
            whole = Condition(whole.expr & each.expr, f"{whole.code} & {each.code}")
    return whole


def search(key: Sequence[str], words: str) -> list[Condition]:
    """Every word stands in some key column, in capitals or not."""
    names = ", ".join(map(text, key))
    found = []
    for word in words.lower().split():
        lowered = pl.col(*key).str.to_lowercase().str.contains(word, literal=True)
        code = (
            f"pl.any_horizontal(pl.col({names}).str.to_lowercase()"
            f".str.contains({text(word)}, literal=True))"
        )
        found.append(Condition(pl.any_horizontal(lowered), code))
    return found


def of_value(column: str, dtype: pl.DataType, wanted: str) -> Condition:
    """What somebody writes above a column: `>1`, `<=2`, `=3`, `1..2`, `null`, `!null`; of a text
    what it contains.

    Raises:
        InputError: it cannot be understood.
    """
    name = f"pl.col({text(column)})"
    wanted = wanted.strip()
    if wanted == "null":
        return Condition(pl.col(column).is_null(), f"{name}.is_null()")
    if wanted == "!null":
        return Condition(pl.col(column).is_not_null(), f"{name}.is_not_null()")

    between = _RANGE.fullmatch(wanted)
    if between and dtype != pl.String:
        low, high = (_literal(column, dtype, end) for end in between.groups())
        expr = pl.col(column).is_between(low.expr, high.expr)
        return Condition(expr, f"{name}.is_between({low.code}, {high.code})")

    match = _OPERATORS.fullmatch(wanted)
    operator, rest = (match[1] or "", match[2]) if match else ("", wanted)
    if dtype == pl.String and not operator:
        lowered = pl.col(column).str.to_lowercase().str.contains(rest.lower(), literal=True)
        code = f"{name}.str.to_lowercase().str.contains({text(rest.lower())}, literal=True)"
        return Condition(lowered, code)
    return _compared(column, operator or "=", _literal(column, dtype, rest))


def _compared(column: str, operator: str, value: Condition) -> Condition:
    col = pl.col(column)
    exprs = {
        "=": col == value.expr,
        "!=": col != value.expr,
        ">": col > value.expr,
        ">=": col >= value.expr,
        "<": col < value.expr,
        "<=": col <= value.expr,
    }
    sign = "==" if operator == "=" else operator
    return Condition(exprs[operator], f"(pl.col({text(column)}) {sign} {value.code})")


def _literal(column: str, dtype: pl.DataType, written: str) -> Condition:
    """A value of a column as somebody writes it."""
    try:
        return _read_literal(dtype, written.strip())
    except (ValueError, TimestampError) as error:
        raise InputError(
            f"{column}: {written!r} cannot be compared with a {dtype}; write it like >1, 1..2, =3, "
            "null or !null"
        ) from error


def _read_literal(dtype: pl.DataType, written: str) -> Condition:
    if dtype == pl.Boolean:
        if written.lower() not in ("true", "false"):
            raise ValueError(written)
        value = written.lower() == "true"
        return Condition(pl.lit(value), str(value))
    if isinstance(dtype, pl.Date):
        day = date.fromisoformat(written)
        return Condition(pl.lit(day), f"pl.date({day.year}, {day.month}, {day.day})")
    if isinstance(dtype, pl.Datetime):
        moment = to_moment(written)
        return Condition(pl.lit(moment).cast(dtype), _moment_code(moment))
    if dtype.is_numeric():
        number = float(written)
        if dtype.is_integer() and re.fullmatch(r"[+-]?\d+", written):
            number = int(written)
        if number != number:
            raise ValueError(written)
        return Condition(pl.lit(number), repr(number))
    if dtype == pl.String:
        return Condition(pl.lit(written), text(written))
    raise ValueError(written)


def _moment_code(moment: datetime) -> str:
    return f'pl.lit({text(moment.isoformat())}).str.to_datetime(time_zone="UTC")'
