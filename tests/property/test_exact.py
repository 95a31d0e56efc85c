"""Every dtype that polars, pandas and Arrow deliver, in a column of every dtype: a value is stored
as it is, or refused. The judge is Python's own arithmetic.
"""

import json
import math
import re
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from titans import Provider, Schema
from titans.changes.conform import conform_snapshot
from titans.dtypes import DTYPES, decimal_digits
from titans.dtypes import polars_dtype as stored_dtype
from titans.errors import SchemaError
from titans.exact.convert import convert
from titans.exact.table import ALWAYS, GIVEN, IF_EXACT, NEVER, rule

COLUMNS = (*DTYPES, "Decimal(20, 4)", "Decimal(1, 1)")
AS_GIVEN = ("Binary", "Json")
"""Columns in which a Python object is not just what its text says."""
REFUSED = object()
EXACT = Context(prec=1000)

INTEGERS = {name: int(name.partition("Int")[2]) for name in GIVEN if "Int" in name}
FLOATS = {"Float16": 16, "Float32": 32, "Float64": 64}


# --- values ---------------------------------------------------------------------------------------


def integers(name):
    bits = INTEGERS[name]
    low, high = (
        (0, 2**bits - 1) if name.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    edges = [low, high, 0, 1, *(2**p + d for p in (8, 16, 24, 53, 63) for d in (-1, 0, 1))]
    inside = [edge for edge in edges if low <= edge <= high]
    return st.sampled_from(inside) | st.integers(low, high)


def floats(name):
    width = FLOATS[name]
    edges = [0.0, -0.0, 1.0, 0.5, -1.0, math.inf, -math.inf]
    if width == 64:
        edges += [0.1, 1e300, 2.0**53, 2.0**63, 2.0**64, -(2.0**63), 1e-320, 16777217.0]
    whole = st.integers(-300, 300).map(float)
    return st.sampled_from(edges) | whole | st.floats(width=width, allow_nan=False)


def decimals():
    edges = ["69.7", "1", "0", "0.1", "1.10", "9007199254740993", "12345678901234567890.5"]
    some = st.decimals(-(10**15), 10**15, allow_nan=False, allow_infinity=False, places=4)
    return st.sampled_from([Decimal(edge) for edge in edges]) | some


numbers_as_text = st.one_of(
    st.sampled_from(["7", "-1", "7.0", "+7", " 7 ", "1e3", "1E-2", ".5", "0.1", "1e400", "1e-400"]),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: f"{x:.17g}"),
    st.decimals(-100, 100, places=20).map(str),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda x: f"{x:.9g}"),
)
other_texts = st.sampled_from(
    [
        "true",
        "False",
        "TRUE",
        "yes",
        "",
        "many",
        "1_000",
        "٣",
        "0x10",
        "7,5",
        "1e",
        ".",
        "-",
        "NULL",
    ]
    + ['{"b":[1,2.50],"a":null}', "[]", '""', "2026-01-23T09:00:00.000001+09:00"]
    + ["2026-01-23", "2026-01-23T00:00:00Z", "2026-01-23 00:00", "2026-02-30", "2026-01-23 14:20"]
)
texts = numbers_as_text | other_texts

VALUES = {
    "Null": st.none(),
    "Boolean": st.booleans(),
    **{name: integers(name) for name in INTEGERS},
    **{name: floats(name) for name in FLOATS},
    "Decimal": decimals(),
    "String": texts,
    "Categorical": texts,
    "Enum": texts,
    "Binary": texts.map(str.encode) | st.just(b"\xff"),
    "Object": st.one_of(
        st.booleans(), st.integers(-300, 300), floats("Float64"), texts, decimals()
    ),
    "Date": st.dates(),
    "Datetime": st.datetimes() | st.dates().map(lambda d: datetime(d.year, d.month, d.day)),
    "Time": st.times(),
    "Duration": st.timedeltas(timedelta(-9), timedelta(9)),
    "List": st.lists(st.integers(0, 9), max_size=2),
    "Array": st.lists(st.integers(0, 9), min_size=2, max_size=2),
    "Struct": st.fixed_dictionaries({"a": st.integers(0, 9)}),
}


# --- the judge ------------------------------------------------------------------------------------


def judged(value, column):
    """What a column stores of a Python value."""
    if value is None:
        return None
    if column == "Binary":
        return judged_bytes(value)
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return REFUSED
    if column == "String":
        return text(value)
    if column == "Json":
        return judged_json(value)
    if column == "Date":
        return judged_date(value)
    if column == "Datetime":
        return judged_datetime(value)
    if isinstance(value, str):
        if column == "Boolean" and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        value = number_in(value)
    if isinstance(value, bool):
        value = int(value)
    if not isinstance(value, int | float | Decimal):
        return REFUSED
    if column.startswith("Float"):
        return judged_float(value, column)
    if column.startswith("Decimal"):
        return judged_decimal(value, column)
    return judged_integer(value, column)


def text(value):
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | Decimal):
        if math.isinf(value):
            return str(value)
        exact = Fraction(value)
        if exact.denominator == 1:
            return str(exact.numerator)
        return format(Decimal(repr(value) if isinstance(value, float) else value), "f").rstrip("0")
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date | time):
        return value.isoformat()
    return REFUSED


def judged_bytes(value):
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else REFUSED


def judged_json(value):
    """The value that the text says, in which no number is a float."""
    if isinstance(value, float) and not math.isfinite(value):
        return REFUSED
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, str):
        try:
            return json.loads(value, parse_float=Decimal, parse_constant=float)
        except (ValueError, ArithmeticError):
            return REFUSED
    return value if isinstance(value, bool | int | Decimal | list | dict) else REFUSED


def moment_in(text):
    """A day, or a day and a time; with dashes: Python reads the number 11790901 as a day, too."""
    if not re.match(r"\d{4}-\d\d-\d\d", text.strip()):
        return REFUSED
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return REFUSED


def judged_datetime(value):
    if isinstance(value, str):
        value = moment_in(value)
        if value is REFUSED:
            return REFUSED
        return value.astimezone(UTC) if value.tzinfo is not None else REFUSED
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else REFUSED


def judged_decimal(value, column):
    digits, behind = decimal_digits(column)
    if math.isinf(value):
        return REFUSED
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    scaled = Fraction(exact) * 10**behind
    if scaled.denominator != 1 or abs(scaled) >= 10**digits:
        return REFUSED
    return exact


def judged_date(value):
    if isinstance(value, str):
        value = moment_in(value)
    if isinstance(value, datetime):
        return value.date() if value.time() == time() else REFUSED
    return value if isinstance(value, date) else REFUSED


def number_in(value):
    value = value.strip()
    if not value.isascii() or "_" in value:
        return REFUSED
    if value.lower().lstrip("+-") in ("inf", "infinity"):
        return float(value)
    try:
        return Decimal(value)
    except ArithmeticError:
        return REFUSED


def judged_integer(value, column):
    if math.isinf(value) or value != int(value):
        return REFUSED
    value = int(value)
    if column == "Boolean":
        return bool(value) if value in (0, 1) else REFUSED
    bits = INTEGERS[column]
    low = 0 if column.startswith("U") else -(2 ** (bits - 1))
    return value if low <= value < low + 2**bits else REFUSED


def judged_float(value, column):
    try:
        stored = float(value)
        if column == "Float32":
            (stored,) = struct.unpack("f", struct.pack("f", stored))
    except OverflowError:
        return REFUSED
    if isinstance(value, Decimal) and value.is_finite():
        # A decimal number is there if, written with as many digits, it comes back.
        digits = len(value.normalize(EXACT).as_tuple().digits)
        if math.isinf(stored) or Decimal(f"{stored:.{digits - 1}e}") != value:
            return REFUSED
        return stored
    return stored if stored == value else REFUSED


def check(frame, values, given_name, objects=None):
    """A frame with the column `v` that holds these values is stored as judged, whatever the dtype
    of the column.
    """
    if given_name == "Object" and len(set(map(type, values)) - {type(None)}) > 1:
        values = [None if value is None else text(value) for value in values]
    objects = values if objects is None else objects
    for column in COLUMNS:
        provider = Provider("p", Schema({"v": column}), ("k",))
        expected = [judged(v, column) for v in (objects if column in AS_GIVEN else values)]
        refused = sum(value is REFUSED for value in expected)
        if refused:
            message = rf"^provider 'p': {refused} value\(s\) of column 'v'"
            with pytest.raises(SchemaError, match=message):
                conform_snapshot(frame, provider)
            continue
        stored = conform_snapshot(frame, provider)[0]["v"]
        assert stored.dtype == stored_dtype(column)
        found = stored.to_list()
        if column == "Json":
            found = [v if v is None else json.loads(v, parse_float=Decimal) for v in found]
        assert found == expected


# --- every pair -----------------------------------------------------------------------------------


def polars_dtype(name, values):
    special = {
        "Decimal": pl.Decimal(38, 4),
        "Datetime": pl.Datetime("us"),
        "List": pl.List(pl.Int64),
        "Array": pl.Array(pl.Int64, 2),
        "Struct": pl.Struct({"a": pl.Int64}),
        "Enum": pl.Enum(sorted(set(values))) if name == "Enum" else None,
    }
    return special.get(name) or getattr(pl, name)


@pytest.mark.parametrize("given_name", GIVEN)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_polars(given_name, data):
    values = data.draw(st.lists(VALUES[given_name], min_size=1, max_size=3))
    dtype = polars_dtype(given_name, values)
    series = pl.Series("v", [*values, None], dtype=dtype)
    frame = pl.DataFrame({"k": range(len(series))}).with_columns(series)
    objects = [*values, None]
    if given_name == "Object":
        values = list(map(text, values))
    check(frame, [*values, None], given_name, objects)


PANDAS = {
    **{
        dtype: dtype.capitalize().replace("Ui", "UI")
        for dtype in ("int8", "int64", "uint8", "uint64")
    },
    **{dtype: dtype.capitalize() for dtype in ("float16", "float32", "float64")},
    "bool": "Boolean",
    "Int8": "Int8",
    "Int64": "Int64",
    "UInt64": "UInt64",
    "Float32": "Float32",
    "Float64": "Float64",
    "boolean": "Boolean",
    "string": "String",
    "object": "Object",
    "category": "Categorical",
    "datetime64[us]": "Datetime",
    "timedelta64[us]": "Duration",
    "int64[pyarrow]": "Int64",
    "uint64[pyarrow]": "UInt64",
    "float[pyarrow]": "Float32",
    "double[pyarrow]": "Float64",
    "bool[pyarrow]": "Boolean",
    "string[pyarrow]": "String",
    "date32[day][pyarrow]": "Date",
    "timestamp[us][pyarrow]": "Datetime",
    "binary[pyarrow]": "Binary",
    "decimal128(38, 4)[pyarrow]": "Decimal",
    "time64[us][pyarrow]": "Time",
    "duration[us][pyarrow]": "Duration",
    "list<item: int64>[pyarrow]": "List",
    "struct<a: int64>[pyarrow]": "Struct",
}
NO_MISSING = ("int8", "int64", "uint8", "uint64", "float16", "float32", "float64", "bool")


def pandas_column(dtype, values):
    if dtype.endswith("[pyarrow]") and dtype.startswith(
        ("decimal", "list", "struct", "time64", "duration")
    ):
        kinds = {
            "decimal128(38, 4)[pyarrow]": pa.decimal128(38, 4),
            "time64[us][pyarrow]": pa.time64("us"),
            "duration[us][pyarrow]": pa.duration("us"),
            "list<item: int64>[pyarrow]": pa.list_(pa.int64()),
            "struct<a: int64>[pyarrow]": pa.struct({"a": pa.int64()}),
        }
        array = pa.array(values, kinds[dtype])
        return pd.Series(pd.arrays.ArrowExtensionArray(array))
    return pd.Series(values, dtype=dtype)


@pytest.mark.parametrize("dtype", PANDAS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_pandas(dtype, data):
    strategy = VALUES[PANDAS[dtype]]
    values = data.draw(st.lists(strategy, min_size=1, max_size=3))
    if dtype not in NO_MISSING:
        values = [*values, None]
    frame = pd.DataFrame({"k": range(len(values)), "v": pandas_column(dtype, values)})
    if dtype == "object":
        # Objects that are decimal numbers come as text.
        values = [text(value) if isinstance(value, Decimal) else value for value in values]
    check(frame, values, PANDAS[dtype])


ARROW = {
    "Null": pa.null(),
    "Boolean": pa.bool_(),
    **{f"Int{b}": getattr(pa, f"int{b}")() for b in (8, 16, 32, 64)},
    **{f"UInt{b}": getattr(pa, f"uint{b}")() for b in (8, 16, 32, 64)},
    "Float16": pa.float16(),
    "Float32": pa.float32(),
    "Float64": pa.float64(),
    "Decimal": pa.decimal128(38, 4),
    "String": pa.large_string(),
    "Categorical": pa.dictionary(pa.int32(), pa.string()),
    "Binary": pa.binary(),
    "Date": pa.date32(),
    "Datetime": pa.timestamp("us"),
    "Time": pa.time64("us"),
    "Duration": pa.duration("us"),
    "List": pa.list_(pa.int64()),
    "Array": pa.list_(pa.int64(), 2),
    "Struct": pa.struct({"a": pa.int64()}),
}


@pytest.mark.parametrize("given_name", ARROW)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_arrow(given_name, data):
    strategy = VALUES[given_name]
    values = [*data.draw(st.lists(strategy, min_size=1, max_size=3)), None]
    plain = [np.float16(v) if given_name == "Float16" and v is not None else v for v in values]
    frame = pa.table({"k": list(range(len(values))), "v": pa.array(plain, ARROW[given_name])})
    check(frame, values, given_name)


@pytest.mark.parametrize("given_name", GIVEN)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_table_says_what_happens(given_name, data):
    values = data.draw(st.lists(VALUES[given_name], min_size=1, max_size=3))
    series = pl.Series("v", values, dtype=polars_dtype(given_name, values))
    for column in COLUMNS:
        done = convert(series, column)
        if rule(given_name, column) == ALWAYS:
            assert done.bad is None
        if rule(given_name, column) == NEVER:
            assert done.bad is not None
            assert done.bad.all()


@pytest.mark.parametrize("given_name", sorted(set(GIVEN) - {"Object", "Date", "Datetime", "Time"}))
def test_what_is_not_always_stored_is_sometimes_refused(given_name):
    nested = given_name in ("List", "Array", "Struct")
    for column in COLUMNS:
        # Of nested values those are refused that hold what JSON has not, a date for example.
        if column == "Decimal(20, 4)" or (nested and column == "Json"):
            continue
        if rule(given_name, column) == IF_EXACT:
            find(
                VALUES[given_name],
                lambda value, column=column: judged(value, column) is REFUSED,
                settings=settings(max_examples=2000, database=None, deadline=None),
            )
            find(
                VALUES[given_name],
                lambda value, column=column: judged(value, column) is not REFUSED,
                settings=settings(max_examples=2000, database=None, deadline=None),
            )
