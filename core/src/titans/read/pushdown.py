"""Conditions of callers: which may be applied before the last change point of each key is known."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

import polars as pl

from titans.errors import InputError

__all__ = ["check_condition", "filtered", "filtered_scan", "is_pushable"]

_BYTES = re.compile(r"\[[\d,]{40,}\]")
"""The content of a list among the literals, of which nothing has to be known."""

_OPERATORS = {
    "And",
    "Eq",
    "EqValidity",
    "Gt",
    "GtEq",
    "LogicalAnd",
    "LogicalOr",
    "Lt",
    "LtEq",
    "NotEq",
    "NotEqValidity",
    "Or",
    "Plus",
    "Xor",
}
_BOOLEAN = {"AllHorizontal", "AnyHorizontal", "IsBetween", "IsIn", "IsNotNull", "IsNull", "Not"}
_STRING = {
    "ConcatHorizontal",
    "Contains",
    "CountMatches",
    "EndsWith",
    "Extract",
    "Head",
    "LenBytes",
    "LenChars",
    "Lowercase",
    "Replace",
    "Slice",
    "StartsWith",
    "StripChars",
    "StripCharsEnd",
    "StripCharsStart",
    "StripPrefix",
    "StripSuffix",
    "Tail",
    "Uppercase",
}
_FUNCTIONS = {"Boolean": _BOOLEAN, "StringExpr": _STRING}
_PLAIN = {"Coalesce", "FillNull"}


def is_pushable(where: pl.Expr, key: Collection[str]) -> bool:
    """Whether `where` says the same of a row whatever rows are beside it, never fails for one, and
    looks at columns of `key` only.

    polars has no promise of its own for that (`meta.is_row_separable` is unstable, true of casts
    that fail for some rows, and raises for some expressions). So what is known to be safe is
    listed here; whatever else there is, or will be, is not pushed.
    """
    names = where.meta.root_names()
    if not names or not set(names) <= set(key):
        return False
    try:
        text = where.meta.serialize(format="json")
        return _is_safe(json.loads(_BYTES.sub("[]", text)), key)
    except (pl.exceptions.PolarsError, RecursionError):  # a function in Python; very deep
        return False


def _is_safe(node: Any, key: Collection[str]) -> bool:
    if not isinstance(node, dict) or len(node) != 1:
        return False
    ((kind, content),) = node.items()
    parts: list[Any]
    match kind, content:
        case "Column", str():
            return content in key
        case "Literal", {"Scalar": _} | {"Dyn": _}:
            return True
        case "BinaryExpr", {"left": left, "op": str(operator), "right": right}:
            known, parts = operator in _OPERATORS, [left, right]
        case "Ternary", {"predicate": condition, "truthy": yes, "falsy": no}:
            known, parts = True, [condition, yes, no]
        case "Alias", [expression, str()]:
            known, parts = True, [expression]
        case "Function", {"input": list(inputs), "function": function}:
            known, parts = _is_known(function), inputs
        case _:
            return False
    return known and all(_is_safe(part, key) for part in parts)


def _is_known(function: Any) -> bool:
    """Whether a function takes its rows one by one, and has an answer for each."""
    if isinstance(function, str):
        return function in _PLAIN
    if not isinstance(function, dict) or len(function) != 1:
        return False
    ((family, which),) = function.items()
    if isinstance(which, dict) and len(which) == 1:
        (which,) = which
    return isinstance(which, str) and which in _FUNCTIONS.get(family, ())


def filtered(rows: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    """The rows that satisfy `where`.

    Raises:
        InputError: it cannot be applied to them.
    """
    try:
        return rows.filter(where)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _wrong(error, rows.columns) from error


def filtered_scan(rows: pl.LazyFrame, where: pl.Expr) -> pl.LazyFrame:
    """`filtered`, of rows of a source in Python, which polars hands the condition to as bytes."""
    try:
        where.meta.serialize()
    except pl.exceptions.PolarsError:  # a function in Python, and no cloudpickle
        return rows.map_batches(
            lambda whole: filtered(whole, where),
            predicate_pushdown=False,
            projection_pushdown=False,
            slice_pushdown=False,
        )
    return rows.filter(where)


def check_condition(where: object, nothing: pl.DataFrame) -> None:
    """Raise `InputError` where `where` is no condition over the columns of `nothing`, a frame
    without rows.
    """
    if not isinstance(where, pl.Expr):
        raise InputError(
            "where is a polars expression, like pl.col('Region') == 'eu-west-1'; got a "
            f"{type(where).__name__}"
        )
    if is_pushable(where, nothing.columns):
        # Some dtypes are compared, and patterns parsed, no sooner than it runs.
        filtered(nothing, where)
        return
    try:
        nothing.lazy().filter(where).collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _wrong(error, nothing.columns) from error


def _wrong(error: BaseException, columns: Collection[str]) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(f"where cannot be applied: {reason}; there are {', '.join(columns)}")
