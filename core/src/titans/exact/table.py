"""Which values of one dtype can be stored in a column of another: the table in docs/providers.md.

It serves what callers bring, the files of earlier writers, and schema evolution.
"""

from __future__ import annotations

from typing import Literal

from titans.dtypes import FAMILIES, family

__all__ = ["ALWAYS", "GIVEN", "IF_EXACT", "NEVER", "Rule", "bounds", "rule", "rules"]

Rule = Literal["always", "if exact", "never"]
ALWAYS: Rule = "always"
IF_EXACT: Rule = "if exact"
"""Each value that survives the way there and back; the others are refused."""
NEVER: Rule = "never"

GIVEN = (
    "Null",
    "Boolean",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Int128",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "UInt128",
    "Float16",
    "Float32",
    "Float64",
    "Decimal",
    "String",
    "Categorical",
    "Enum",
    "Binary",
    "Object",
    "Date",
    "Datetime",
    "Time",
    "Duration",
    "List",
    "Array",
    "Struct",
)
"""The dtypes in which values may come, by the names that polars has for them."""

_TEXTS = ("String", "Categorical", "Enum")
_TEXT_MAYBE = ("Binary", "Object")
"""Bytes that may be UTF-8; Python objects, each of which is what it is."""
_CALENDAR = ("Date", "Datetime", "Time")
_NOT_AS_IT_IS = ("Datetime", "Decimal")
"""Dtypes that come in other units and digits than they are stored in."""

_EXACT_BITS = {"Float16": 11, "Float32": 24, "Float64": 53}
"""Bits of the integers up to which a float has all of them."""


def rule(given: str, column: str) -> Rule:
    """Whether values of the dtype `given` can be stored in a column of the dtype `column`."""
    column = family(column)
    if given == "Null" or (given == column and given not in _NOT_AS_IT_IS):
        return ALWAYS
    if column == "String":
        return _to_text(given)
    if column == "Json":
        return _to_json(given)
    if column == "Binary":
        return _to_bytes(given)
    if given in (*_TEXTS, *_TEXT_MAYBE):
        return IF_EXACT
    if column == "Datetime":
        return IF_EXACT if given == "Datetime" else NEVER
    if column == "Decimal":
        return IF_EXACT if given == "Boolean" or _is_number(given) else NEVER
    if column == "Date":
        return IF_EXACT if given == "Datetime" else NEVER
    if given == "Boolean":
        return ALWAYS
    if not _is_number(given):
        return NEVER

    if column == "Boolean" or given == "Decimal":
        return IF_EXACT
    if given in _EXACT_BITS:
        widens = column in _EXACT_BITS and _EXACT_BITS[given] <= _EXACT_BITS[column]
        return ALWAYS if widens else IF_EXACT
    first, last = bounds(given)
    lowest, highest = bounds(column)
    return ALWAYS if lowest <= first and last <= highest else IF_EXACT


def _to_text(given: str) -> Rule:
    if given in (*_TEXTS, "Boolean") or _is_number(given):
        return ALWAYS
    if given in (*_TEXT_MAYBE, *_CALENDAR):
        return IF_EXACT
    return NEVER


def _to_json(given: str) -> Rule:
    if given in ("Boolean", "Decimal") or _is_integer(given):
        return ALWAYS
    nested = given in ("Struct", "List", "Array")
    if nested or _is_number(given) or given in (*_TEXTS, *_TEXT_MAYBE):
        return IF_EXACT
    return NEVER


def _to_bytes(given: str) -> Rule:
    if given in _TEXTS:
        return ALWAYS
    return IF_EXACT if given == "Object" else NEVER


def _is_integer(dtype: str) -> bool:
    return dtype.startswith(("Int", "UInt"))


def _is_number(dtype: str) -> bool:
    return dtype.startswith(("Int", "UInt", "Float", "Decimal"))


def bounds(dtype: str) -> tuple[int, int]:
    """The integers that a dtype has, with all between them."""
    if dtype in _EXACT_BITS:
        last = 2 ** _EXACT_BITS[dtype]
        return -last, last
    bits = int(dtype.partition("Int")[2])
    if dtype.startswith("UInt"):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def rules() -> list[tuple[str, str, str, str]]:
    """The whole table: a given dtype and the column dtypes it becomes always, if exact, never."""
    rows = []
    for given in GIVEN:
        columns: dict[Rule, list[str]] = {ALWAYS: [], IF_EXACT: [], NEVER: []}
        for column in FAMILIES:
            columns[rule(given, column)].append(column)
        always, if_exact, never = (_listed(columns[key]) for key in (ALWAYS, IF_EXACT, NEVER))
        rows.append((given, always, if_exact, never))
    return rows


def _listed(columns: list[str]) -> str:
    if len(columns) == len(FAMILIES):
        return "all"
    return ", ".join(columns)
