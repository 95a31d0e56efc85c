"""The columns of an archive as Iceberg has them, and which files it can read as they are.

A column keeps its field id when it is renamed, so files of earlier schema versions stay readable in
place, save where a dtype became one that Iceberg does not promote to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from titans.dtypes import decimal_digits, family
from titans.errors import InputError
from titans.schema import Schema

if TYPE_CHECKING:
    from titans.provider import Provider

__all__ = ["check_columns", "is_readable", "type_name"]

_TYPES = {
    "Binary": "binary",
    "Boolean": "boolean",
    "Date": "date",
    "Datetime": "timestamptz",
    "Float32": "float",
    "Float64": "double",
    "Int8": "int",
    "Int16": "int",
    "Int32": "int",
    "Int64": "long",
    "Json": "string",
    "String": "string",
    "UInt8": "int",
    "UInt16": "int",
}
"""Dtype → Iceberg type.

Iceberg has no unsigned types: large `UInt32` and `UInt64` values are negative numbers to engines
that do not look at what Parquet says of them.
"""

_PROMOTED = {("int", "long"), ("float", "double")}
"""What Iceberg reads a type as, if the table has the other one now."""


def type_name(dtype: str) -> str | None:
    """The Iceberg type of a dtype: `"Float64"` → `"double"`; `None` where there is none."""
    if family(dtype) == "Decimal":
        digits, behind = decimal_digits(dtype)
        return f"decimal({digits}, {behind})"
    return _TYPES.get(dtype)


def check_columns(provider: Provider) -> None:
    """Raise where a column cannot be published.

    Raises:
        InputError: Iceberg has no type for it.
    """
    for name, dtype in provider.schema.columns.items():
        if type_name(dtype) is None:
            raise InputError(
                f"column {name!r} of provider {provider.name!r} is {dtype}, for which Iceberg has "
                "no type; declare it as Int64 or Decimal(20, 0) in a new schema version to publish "
                "the archive"
            )


def is_readable(old: Schema, provider: Provider) -> bool:
    """Whether Iceberg reads files with the columns of `old` as today's schema means them."""
    today = provider.schema
    for column, dtype in old.columns.items():
        name = today.name_since(old.version, column)
        before, now = type_name(dtype), type_name(today.columns[name])
        if before is None or now is None:
            return False
        if before != now and not _promotes(dtype, today.columns[name]):
            return False
    return True


def _promotes(old: str, new: str) -> bool:
    if family(old) == "Decimal" and family(new) == "Decimal":
        (digits, behind), (more, same) = decimal_digits(old), decimal_digits(new)
        return more >= digits and same == behind
    return (type_name(old), type_name(new)) in _PROMOTED
