"""The dtypes that a value column can have. Importing this module does not import polars; asking for
one of its dtypes does.

    Boolean, Date, String, Binary, numbers      as in polars
    Datetime                                    UTC, in microseconds
    Decimal(p, s)                               p digits, s of them behind the point; exact
    Json                                        text, one for each content: see `titans.exact.json`
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "DTYPES",
    "FAMILIES",
    "MOST_DIGITS",
    "decimal_digits",
    "dtype_error",
    "dtype_name",
    "family",
    "polars_dtype",
]

DTYPES = (
    "Binary",
    "Boolean",
    "Date",
    "Datetime",
    "Float32",
    "Float64",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Json",
    "String",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
)
"""All that have no digits to say."""
FAMILIES = (*DTYPES[:4], "Decimal", *DTYPES[4:])

_DECIMAL = re.compile(r"Decimal\((?:precision=)?(\d+), ?(?:scale=)?(\d+)\)")
_UTC = "Datetime(time_unit='us', time_zone='UTC')"
MOST_DIGITS = 38
"""Of a `Decimal`."""


def dtype_name(dtype: object) -> str:
    """`"Int64"`, `pl.Int64` and `pl.Int64()` all mean `"Int64"`."""
    name = str(dtype)
    if name == _UTC:
        return "Datetime"
    match = _DECIMAL.fullmatch(name)
    if match is not None:
        return f"Decimal({int(match[1])}, {int(match[2])})"
    return name


def family(name: str) -> str:
    """`"Decimal(10, 2)"` → `"Decimal"`; every other name is its own family."""
    return name.partition("(")[0]


def decimal_digits(name: str) -> tuple[int, int]:
    """`"Decimal(10, 2)"` → all digits, and those behind the point."""
    match = _DECIMAL.fullmatch(name)
    if match is None:
        raise ValueError(f"no Decimal with its digits: {name!r}")
    return int(match[1]), int(match[2])


def dtype_error(name: str) -> str | None:
    """What is wrong with the dtype of a column; `None` where nothing is."""
    kind = family(name)
    if kind == "Decimal":
        return _decimal_error(name)
    if kind == "Datetime" and name != "Datetime":
        return "times are stored in UTC and microseconds; choose 'Datetime'"
    if kind in ("Struct", "List", "Array"):
        return "nested values are stored as text; choose 'Json'"
    if name not in DTYPES:
        return f"choose one of {', '.join(DTYPES)}, Decimal(p, s)"
    return None


def _decimal_error(name: str) -> str | None:
    if _DECIMAL.fullmatch(name) is None:
        return "say its digits, all and those behind the point, like 'Decimal(12, 4)'"
    digits, behind = decimal_digits(name)
    if not 1 <= digits <= MOST_DIGITS or behind > digits:
        return f"it has 1 to {MOST_DIGITS} digits, of which some may stand behind the point"
    return None


def polars_dtype(name: str) -> pl.DataType:
    """The dtype in which a column is stored."""
    import polars as pl

    if name == "Datetime":
        return pl.Datetime("us", "UTC")
    if name == "Json":
        return pl.String()
    if family(name) == "Decimal":
        return pl.Decimal(*decimal_digits(name))
    dtype: Any = getattr(pl, name)
    # Polars names some dtypes by a class, others by a value.
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
