"""Nested values as text, one for each content.

Objects have their names in order (by code point), no two of them the same, and there is no space
between anything. Text is as it is, with the escapes that JSON needs and no others. A number that is
written as an integer keeps its digits; another one is the integer it is equal to (`1.0` → `1`), or
has the digits that it was given without trailing zeros (`0.10` → `0.1`, `1E-9` → `1e-9`).

A field of a struct that is null is left out: every row of a column of structs has all fields, so
null is what polars and Arrow make of one that is not there. In JSON text, dicts and lists a null
stays what it is. The whole value is null where it is null, or the text `null`.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

import polars as pl
from attrs import frozen

from titans.exact.texts import is_missing, texts

__all__ = ["BAD", "canonical"]

BAD = "\x00bad"
"""Stands for a value that has no text in JSON."""

_WHOLE = 2**53
"""Integers up to which a float is one."""
_SHORT = range(-7, 16)
"""Powers of ten of the first digit of numbers that are written without an exponent."""
_LARGE = 10_000


def canonical(series: pl.Series) -> list[str | None]:
    """The text of every value; `None` where it is null, `BAD` where it has none."""
    dtype = series.dtype
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return [_of_text(text) for text in series.cast(pl.String).to_list()]
    if dtype == pl.Object:
        return [_of_object(value) for value in series.to_list()]
    if dtype == pl.Binary:
        return [_of_bytes(value) for value in series.to_list()]
    if dtype.is_nested():
        return [_of_value(value, in_struct=True) for value in series.to_list()]
    if dtype.is_decimal():
        return [_of_text(number) for number in texts(series).to_list()]
    if dtype.is_numeric() or dtype == pl.Boolean:
        return [_of_value(value, in_struct=False) for value in series.to_list()]
    return [None if value is None else BAD for value in series.to_list()]


def _of_object(value: Any) -> str | None:
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, bytes):
        return _of_bytes(value)
    return _of_value(value, in_struct=False)


def _of_bytes(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return _of_text(value.decode())
    except UnicodeDecodeError:
        return BAD


def _of_value(value: Any, *, in_struct: bool) -> str | None:
    if is_missing(value):
        return None
    try:
        return _written(value, in_struct)
    except (ValueError, RecursionError):
        return BAD


@lru_cache(maxsize=1 << 16)
def _of_text(text: str | None) -> str | None:
    """What JSON text says.

    At most 65,536 are kept, and none goes stale: it depends on the text alone. Threads and forks
    may share them.
    """
    if text is None:
        return None
    try:
        value = json.loads(
            text,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_no_number,
            object_pairs_hook=_as_object,
        )
        return None if value is None else _written(value, in_struct=False)
    except (ValueError, RecursionError):
        return BAD


@frozen
class _Number:
    """As it is written."""

    text: str


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


def _as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has a name twice")
    return made


def _written(value: Any, in_struct: bool) -> str:
    """The text of a value. Raises `ValueError` where it has none."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, _Number):
        return _number(value.text)
    if isinstance(value, dict):
        return _object(value, in_struct)
    if isinstance(value, list | tuple | pl.Series):
        return f"[{','.join(_written(each, in_struct) for each in value)}]"
    if is_missing(value):
        return "null"
    return _scalar(value)


def _object(value: dict[Any, Any], in_struct: bool) -> str:
    members = []
    if not all(isinstance(name, str) for name in value):
        raise ValueError("a name in an object is text")
    for name in sorted(value):
        if in_struct and value[name] is None:
            continue
        members.append(f"{_quoted(name)}:{_written(value[name], in_struct)}")
    return f"{{{','.join(members)}}}"


def _quoted(text: str) -> str:
    text.encode()  # halves of letters have no UTF-8
    return json.dumps(str(text), ensure_ascii=False)


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return _number(str(int(value)))
    if isinstance(value, Decimal) and value.is_finite():
        return _number(str(value))
    if isinstance(value, Real) and float(value) == value and math.isfinite(value):
        return _number(repr(float(value)))
    raise ValueError(f"a {type(value).__name__} is no value of JSON")


def _number(text: str) -> str:
    """The one text of a number."""
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    if digits.isdecimal():
        return text if digits != "0" else "0"
    number = Decimal(text)
    if not number:
        return "0"
    if abs(number.adjusted()) > _LARGE:
        raise ValueError(f"the exponent of {text} is too large")
    if number.copy_abs() < _WHOLE and number == number.to_integral_value():
        return str(int(number))

    adjusted = number.adjusted()
    shown = "".join(map(str, number.as_tuple().digits)).rstrip("0")
    if adjusted in _SHORT:
        return format(Decimal(f"{sign}{shown}E{adjusted - len(shown) + 1}"), "f")
    mantissa = shown[0] + (f".{shown[1:]}" if shown[1:] else "")
    return f"{sign}{mantissa}e{adjusted}"
