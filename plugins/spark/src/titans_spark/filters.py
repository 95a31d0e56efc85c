"""Conditions that Spark hands to a source, as polars expressions that say exactly the same.

Null is neither true nor false in both; NaN equals itself and is greater than every number in both;
text is compared by its UTF-8 bytes in both. Whatever is not known to be the same stays with Spark.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
from attrs import evolve, frozen
from pyspark.sql import datasource as spark

from titans.schema import TIME
from titans.slots import TICK

__all__ = ["Pushed", "condition", "texts", "times"]

_VALUES: dict[type[pl.DataType], type | tuple[type, ...]] = {
    pl.String: str,
    pl.Boolean: bool,
    pl.Date: date,
    pl.Datetime: datetime,
    pl.Float32: float,
    pl.Float64: float,
    **dict.fromkeys((pl.Int8, pl.Int16, pl.Int32, pl.Int64), int),
    **dict.fromkeys((pl.UInt8, pl.UInt16, pl.UInt32), int),
}
"""Dtype → what a value to compare it with is. Binary, Decimal and UInt64 are left to Spark."""

_ARGUMENTS = ("self", "start", "end", "at", "parts", "where", "columns", "keys", "lazy")
"""Of the questions; a key column of such a name cannot be one too."""


@frozen(eq=False)
class Pushed:
    """What rows are wanted, as far as an archive is asked for it."""

    start: datetime | None = None
    end: datetime | None = None
    where: pl.Expr | None = None
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Key column → the texts of which any will do; each column once."""

    def with_condition(self, expression: pl.Expr) -> Pushed:
        where = expression if self.where is None else self.where & expression
        return evolve(self, where=where)

    def with_key(self, name: str, texts: tuple[str, ...]) -> Pushed:
        if name in dict(self.keys) or name in _ARGUMENTS:
            return self.with_condition(pl.col(name).is_in(list(texts)))
        return evolve(self, keys=(*self.keys, (name, texts)))

    def within(self, start: datetime | None, end: datetime | None) -> Pushed:
        """And no other times than these."""
        starts = [each for each in (self.start, start) if each is not None]
        ends = [each for each in (self.end, end) if each is not None]
        return evolve(self, start=max(starts, default=None), end=min(ends, default=None))

    @property
    def is_nothing(self) -> bool:
        """Whether no time is in the range."""
        return self.start is not None and self.end is not None and self.start >= self.end


def times(wanted: Any) -> tuple[datetime | None, datetime | None] | None:
    """The range that a condition on `Time` is; `None` where it is none."""
    if getattr(wanted, "attribute", None) != (TIME,):
        return None
    value = getattr(wanted, "value", None)
    if not isinstance(value, datetime):
        return None
    moment = _utc(value)
    match wanted:
        case spark.EqualTo() | spark.EqualNullSafe():
            return moment, moment + TICK
        case spark.GreaterThan():
            return moment + TICK, None
        case spark.GreaterThanOrEqual():
            return moment, None
        case spark.LessThan():
            return None, moment
        case spark.LessThanOrEqual():
            return None, moment + TICK
    return None


def texts(wanted: Any, key: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    """The key column and the texts that a condition names; `None` where it names none."""
    name = _column(wanted)
    if name not in key:
        return None
    match wanted:
        case spark.EqualTo(value=str(text)) | spark.EqualNullSafe(value=str(text)):
            return name, (text,)
        case spark.In(value=values):
            given = tuple(text for text in values if isinstance(text, str))
            return (name, given) if given else None
    return None


def condition(wanted: Any, columns: dict[str, pl.DataType]) -> pl.Expr | None:
    """The same as an expression; `None` where it is left to Spark."""
    if isinstance(wanted, spark.Not):
        return _negated(wanted.child, columns)
    name = _column(wanted)
    if name not in columns:
        return None
    column, dtype = pl.col(name), columns[name]
    match wanted:
        case spark.IsNull():
            return column.is_null()
        case spark.IsNotNull():
            return column.is_not_null()
        case spark.In(value=values):
            literals = [_literal(value, dtype) for value in values if value is not None]
            if not literals or any(each is None for each in literals):
                return None
            return pl.any_horizontal([column == each for each in literals])

    value: Any = getattr(wanted, "value", None)
    literal = _literal(value, dtype)
    if literal is None:
        return None
    match wanted:
        case spark.EqualTo():
            return column == literal
        case spark.EqualNullSafe():
            return column.eq_missing(literal)
        case spark.GreaterThan():
            return column > literal
        case spark.GreaterThanOrEqual():
            return column >= literal
        case spark.LessThan():
            return column < literal
        case spark.LessThanOrEqual():
            return column <= literal
        case spark.StringStartsWith():
            return column.str.starts_with(value)
        case spark.StringEndsWith():
            return column.str.ends_with(value)
        case spark.StringContains():
            return column.str.contains(value, literal=True)
    return None


def _negated(child: Any, columns: dict[str, pl.DataType]) -> pl.Expr | None:
    if isinstance(child, spark.In) and None in child.value:
        return None  # never true, in SQL
    inner = condition(child, columns)
    return None if inner is None else ~inner


def _column(wanted: Any) -> str:
    path: tuple[str, ...] = getattr(wanted, "attribute", ())
    return path[0] if len(path) == 1 else ""


def _literal(value: Any, dtype: pl.DataType) -> pl.Expr | None:
    """A value as one of a column; `None` where it is of another kind."""
    expected = _VALUES.get(type(dtype))
    if expected is None or isinstance(value, Decimal) or not isinstance(value, expected):
        return None
    if isinstance(value, bool) and expected is not bool:
        return None
    if isinstance(value, datetime):
        if expected is date:
            return None
        return pl.lit(_utc(value), pl.Datetime("us", "UTC"))
    if isinstance(dtype, pl.Float32):
        return pl.lit(value, pl.Float32)
    return pl.lit(value)


def _utc(moment: datetime) -> datetime:
    """A time of Spark; those of Sail, in UTC, do not say so."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)
