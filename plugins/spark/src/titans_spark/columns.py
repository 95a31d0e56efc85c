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


def spark_schema(columns: dict[str, pl.DataType]) -> sql.StructType:
    """The schema that Spark is told."""
    fields = [sql.StructField(name, _types(dtype)[0]) for name, dtype in columns.items()]
    return sql.StructType(fields)


def wanted_columns(given: Any, columns: dict[str, pl.DataType]) -> tuple[str, ...]:
    """The names in a schema that Spark gives back, or Sail, whose schemas are Arrow's: a user may
    have named some of the columns.

    Raises:
        InputError: a column is not there, or has another type.
    """
    if isinstance(given, pa.Schema):
        said = {each.name: each.type for each in given}
        mine = {name: _types(dtype)[1] for name, dtype in columns.items()}
    else:
        said = {each.name: each.dataType for each in given.fields}
        mine = {name: _types(dtype)[0] for name, dtype in columns.items()}

    for name, its_type in said.items():
        if name not in mine:
            raise InputError(f"no column {name!r}; there are {', '.join(mine)}")
        if its_type != mine[name]:
            raise InputError(
                f"column {name!r} is {mine[name]}, the schema says {its_type}: cast it after load()"
            )
    return tuple(said)


def batches(
    frame: pl.DataFrame, names: tuple[str, ...], columns: dict[str, pl.DataType]
) -> Iterator[pa.RecordBatch]:
    """Columns of a frame as the record batches that Spark takes."""
    schema = pa.schema([pa.field(name, _types(columns[name])[1]) for name in names])
    for part in frame.select(names).iter_slices(_BATCH):
        table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
        if not names:
            # Only the count is asked for, which a table without columns does not have.
            yield pa.RecordBatch.from_struct_array(pa.array([{}] * part.height, pa.struct([])))
            continue
        yield from table.cast(schema).combine_chunks().to_batches()
