"""Columns of a table, as Spark and as Arrow know them: every value exact.

Spark has no unsigned numbers: each becomes the next wider number that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
from pyspark.sql import types as sql

from titans.errors import InputError
from titans.provider import Provider
from titans.schema import CEASED, TIME

__all__ = ["batches", "columns_of", "spark_schema", "wanted_columns"]

_BATCH = 65_536
"""Rows of a record batch."""

_NAIVE = pa.timestamp("us")

_TYPES: dict[type[pl.DataType], tuple[sql.DataType, pa.DataType]] = {
    pl.String: (sql.StringType(), pa.string()),
    pl.Binary: (sql.BinaryType(), pa.binary()),
    pl.Boolean: (sql.BooleanType(), pa.bool_()),
    pl.Date: (sql.DateType(), pa.date32()),
    pl.Datetime: (sql.TimestampType(), pa.timestamp("us", tz="UTC")),
    pl.Float32: (sql.FloatType(), pa.float32()),
    pl.Float64: (sql.DoubleType(), pa.float64()),
    pl.Int8: (sql.ByteType(), pa.int8()),
    pl.Int16: (sql.ShortType(), pa.int16()),
    pl.Int32: (sql.IntegerType(), pa.int32()),
    pl.Int64: (sql.LongType(), pa.int64()),
    pl.UInt8: (sql.ShortType(), pa.int16()),
    pl.UInt16: (sql.IntegerType(), pa.int32()),
    pl.UInt32: (sql.LongType(), pa.int64()),
    pl.UInt64: (sql.DecimalType(20, 0), pa.decimal128(20, 0)),
}


def columns_of(provider: Provider, table: str) -> dict[str, pl.DataType]:
    """The columns of a table and their dtypes, as the archive answers them."""
    time, values = pl.Datetime("us", "UTC"), provider.schema.value_dtypes()
    key: dict[str, pl.DataType] = dict.fromkeys(provider.key, pl.String())
    match table:
        case "coverage":
            return {"slot": time, "status": pl.String()}
        case "intervals":
            return {**key, **values, "valid_from": time, "valid_to": time}
        case "changes":
            return {**key, TIME: time, **values, CEASED: pl.Boolean()}
        case _:
            return {**key, TIME: time, **values}


def _types(dtype: pl.DataType) -> tuple[sql.DataType, pa.DataType]:
    if isinstance(dtype, pl.Decimal):
        return (
            sql.DecimalType(dtype.precision, dtype.scale),
            pa.decimal128(dtype.precision, dtype.scale),
        )
    return _TYPES[type(dtype)]


def spark_schema(columns: dict[str, pl.DataType]) -> str:
    """The schema as Spark is told it, in SQL: Sail takes no times in any other form."""
    fields = []
    for name, dtype in columns.items():
        quoted = name.replace("`", "``")
        said = _types(dtype)[0].simpleString()
        if said == "timestamp":
            said = "timestamp_ltz"
        fields.append(f"`{quoted}` {said}")
    return ", ".join(fields)


def wanted_columns(given: Any, columns: dict[str, pl.DataType]) -> pa.Schema:
    """The columns in a schema that Spark gives back, or Sail, whose schemas are Arrow's, in the
    types in which they are delivered. A user may have named some of the columns.

    Raises:
        InputError: a column is not there, or has another type.
    """
    fields = []
    for each in given if isinstance(given, pa.Schema) else given.fields:
        if each.name not in columns:
            raise InputError(f"no column {each.name!r}; there are {', '.join(columns)}")
        spark_type, arrow_type = _types(columns[each.name])
        if isinstance(given, pa.Schema):
            said, expected = each.type, arrow_type
        else:
            said, expected = each.dataType, spark_type
        if said == _NAIVE and expected == arrow_type == _TYPES[pl.Datetime][1]:
            arrow_type = said  # Sail knows times in UTC without saying so
        elif said != expected:
            raise InputError(
                f"column {each.name!r} is {expected}, the schema says {said}: cast it after load()"
            )
        fields.append(pa.field(each.name, arrow_type))
    return pa.schema(fields)


def batches(frame: pl.DataFrame, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Columns of a frame as the record batches that Spark takes."""
    for part in frame.select(schema.names).iter_slices(_BATCH):
        table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
        yield from _cast(table, schema).combine_chunks().to_batches()


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for column, wanted in zip(table.columns, schema, strict=True):
        columns.append(column.cast(wanted.type))
    return pa.table(columns, schema=schema)
