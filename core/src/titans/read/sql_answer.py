"""What DuckDB answers, as a polars frame: every value as it is, or a sentence that says which
column has none in polars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from titans.errors import InputError

__all__ = ["to_frame"]

_DEEPEST = 60
_NONE = {"union", "bit", "bignum", "variant", "geometry", "time_tz", "time with time zone"}
"""Types that polars has not, or would read as something else."""
_NOT_INSIDE = {"interval", "time", "time_ns", "timestamp_s", "uhugeint"}
"""Types whose values cannot be told from wrong ones inside of others."""

_FIRST, _LAST = "0001-01-01", "9999-12-31 23:59:59.999999"
_NINES = "9" * 38
_TOO_MANY_DIGITS = "more than 38 digits"
_NO_DATE = "infinity, or a year that is not 1 to 9999"
_ODD: Mapping[str, tuple[str, str]] = {
    "interval": (
        "datepart('year', {0}) <> 0 OR datepart('month', {0}) <> 0",
        "months, which have no fixed length",
    ),
    "time": ("{0} >= TIME '24:00:00'", "24:00:00"),
    "time_ns": ("{0} >= '24:00:00'::TIME_NS", "24:00:00"),
    "hugeint": (f"NOT {{0}} BETWEEN -{_NINES}::HUGEINT AND {_NINES}::HUGEINT", _TOO_MANY_DIGITS),
    "uhugeint": (f"{{0}} > {_NINES}::UHUGEINT", _TOO_MANY_DIGITS),
    "date": (f"NOT {{0}} BETWEEN DATE '{_FIRST}' AND DATE '{_LAST[:10]}'", _NO_DATE),
}
"""Type → which of its values have no place in polars, and what they are."""

_RANGES = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_EARLIEST, _LATEST = -719_162, 2_932_896
"""The first and the last day of Python's calendar, counted from 1970."""


def to_frame(answer: Any) -> pl.DataFrame:
    """The rows of a materialised relation. Times with a timezone are in UTC.

    Raises:
        InputError: a column is of a type that polars has not, or a value has no place in it.
    """
    names, types = answer.columns, answer.types
    for name, dtype in zip(names, types, strict=True):
        _check_type(name, dtype)
    _check_values(answer, names, types)

    spans = [number for number, dtype in enumerate(types) if dtype.id == "interval"]
    if spans:
        answer = answer.project(_without_intervals(names, types))
    try:
        frame = pl.DataFrame(answer)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        kinds = ", ".join(f"{n} {t}" for n, t in zip(names, types, strict=True))
        raise InputError(f"polars cannot hold this answer ({kinds}); cast its columns") from error

    for name, column in zip(names, frame, strict=True):
        if column.dtype.is_nested():
            _check_inside(name, column)
    in_utc = [
        pl.col(column.name).dt.convert_time_zone("UTC")
        for column in frame
        if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None
    ]
    durations = [pl.nth(number).cast(pl.Duration("us")) for number in spans]
    return frame.with_columns(*in_utc, *durations)


def _check_type(name: str, dtype: Any, depth: int = 0) -> None:
    kind = dtype.id
    inside = " inside of another type" if depth else ""
    if kind in _NONE or (depth and kind in _NOT_INSIDE):
        raise InputError(
            f"column {name!r} holds {str(dtype).upper() if depth else dtype}{inside}, which has no "
            f"equal in polars; cast it, for example to VARCHAR"
        )
    if depth > _DEEPEST:
        raise InputError(f"column {name!r} is nested more than {_DEEPEST} levels deep")
    for _, child in _children(dtype):
        _check_type(name, child, depth + 1)


def _children(dtype: Any) -> Iterator[tuple[str, Any]]:
    if dtype.id in ("list", "array", "struct", "tuple", "map"):
        for name, child in dtype.children:
            if not isinstance(child, int):  # the length of an array
                yield name, child


def _check_values(answer: Any, names: Sequence[str], types: Sequence[Any]) -> None:
    """Refuse what would come back as something else, or stop polars."""
    questions, meanings = [], []
    for number, (name, dtype) in enumerate(zip(names, types, strict=True), start=1):
        odd = _odd(dtype.id)
        if odd is not None:
            condition, what = odd
            questions.append(f"bool_or({condition.format(f'#{number}')})")
            meanings.append((name, dtype, what))
    if not questions:
        return
    (found,) = answer.aggregate(", ".join(questions)).fetchall()
    for is_there, (name, dtype, what) in zip(found, meanings, strict=True):
        if is_there:
            raise InputError(
                f"column {name!r} of type {dtype} holds {what}; such a value has no place in "
                "polars: leave it out, or cast it, for example to VARCHAR"
            )


def _odd(kind: str) -> tuple[str, str] | None:
    if not kind.startswith("timestamp"):
        return _ODD.get(kind)
    like = "TIMESTAMPTZ" if "tz" in kind or "time zone" in kind else "TIMESTAMP"
    if kind.endswith("ns"):
        return f"isinf({{0}}::{like})", "infinity"  # its years are fewer than Python's
    return f"NOT {{0}} BETWEEN {like} '{_FIRST}' AND {like} '{_LAST}'", _NO_DATE


def _without_intervals(names: Sequence[str], types: Sequence[Any]) -> str:
    """The columns of an answer, intervals as microseconds."""
    columns = []
    for number, (name, dtype) in enumerate(zip(names, types, strict=True), start=1):
        value = f"epoch_us(#{number})" if dtype.id == "interval" else f"#{number}"
        quoted = name.replace('"', '""')
        columns.append(f'{value} AS "{quoted}"')
    return ", ".join(columns)


def _check_inside(name: str, column: pl.Series) -> None:
    for leaf in _leaves(column):
        lowest, highest = _limits(leaf.dtype)
        if lowest is None or not leaf.len():
            continue
        physical = leaf.to_physical()
        if not physical.is_between(lowest, highest).fill_null(value=True).all():
            what = _TOO_MANY_DIGITS if leaf.dtype.is_decimal() else _NO_DATE
            raise InputError(
                f"column {name!r} holds {what}; such a value has no place in polars: leave it "
                "out, or cast it, for example to VARCHAR"
            )


def _limits(dtype: pl.DataType) -> tuple[Any, Any]:
    """The least and the greatest physical value that means what it says."""
    if dtype == pl.Date:
        return _EARLIEST, _LATEST
    if isinstance(dtype, pl.Datetime):
        day = 86_400 * _RANGES[dtype.time_unit]
        return max(_EARLIEST * day, 2 - 2**63), min((_LATEST + 1) * day - 1, 2**63 - 2)
    if dtype == pl.Decimal(38, 0):
        return -int(_NINES), int(_NINES)
    return None, None


def _leaves(column: pl.Series) -> Iterator[pl.Series]:
    """The values inside of a nested column, as flat columns."""
    dtype = column.dtype
    if isinstance(dtype, (pl.List, pl.Array)):
        yield from _leaves(column.explode())
    elif isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            yield from _leaves(column.struct.field(field.name))
    elif isinstance(dtype, pl.Map):
        pairs = pl.List(pl.Struct({"key": dtype.key, "value": dtype.value}))
        yield from _leaves(column.cast(pairs))
    else:
        yield column
