"""Keys have one text per value, whatever dtype they come in."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titans import Provider, Schema
from titans import open as open_archive
from titans.changes.conform import conform_snapshot
from titans.changes.frames import to_polars
from titans.changes.keys import key_texts, with_key_texts
from titans.errors import SchemaError
from titans.exact.texts import text_of

INTEGERS = ("Int8", "Int16", "Int32", "Int64", "Int128", "UInt8", "UInt16", "UInt32", "UInt64")
PROVIDER = Provider("p", Schema({"n": "Int64"}), ("k",))


def texts(values, dtype=None):
    return key_texts(pl.Series("k", values, dtype=dtype, strict=dtype is None)).to_list()


@pytest.mark.parametrize("dtype", [*INTEGERS, "Float16", "Float32", "Float64", "Decimal"])
def test_a_whole_number_has_one_text(dtype):
    assert texts([0, 7, None, 100], getattr(pl, dtype)) == ["0", "7", None, "100"]


@given(st.integers(-(2**63), 2**64 - 1))
def test_floats_and_decimals_have_the_text_of_the_integer_they_are(number):
    for same in (float(number), Decimal(number), Decimal(number) * Decimal("1.000")):
        assert texts([same]) == [str(int(same))]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_can_be_had_back_from_its_text(number):
    (text,) = texts([number], pl.Float64)
    assert float(text) == number
    assert "e" not in text
    assert text_of(Decimal(text)) == text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_narrow_float_has_the_text_of_the_wide_one_that_equals_it(number):
    assert texts([number], pl.Float32) == texts([number], pl.Float64)


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=6
    )
)
def test_zeros_at_the_end_of_a_decimal_do_not_count(number):
    (text,) = texts([number])
    assert Decimal(text) == number
    assert texts([number * Decimal("1.0000")]) == [text]


def test_text_stays_as_it_is():
    assert texts(["007", "7", "1.10", " a ", "", "true"]) == ["007", "7", "1.10", " a ", "", "true"]
    assert texts(["7", "007"], pl.Categorical) == ["7", "007"]
    assert texts(["7", "007"], pl.Enum(["007", "7"])) == ["7", "007"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (date(2026, 1, 23), "2026-01-23"),
        (date(1, 1, 1), "0001-01-01"),
        (time(14, 20), "14:20:00"),
        (datetime(2026, 1, 23, 14, 20), "2026-01-23T14:20:00Z"),
        (datetime(2026, 1, 23, 14, 20, 0, 5, UTC), "2026-01-23T14:20:00.000005Z"),
        (
            datetime(2026, 1, 23, 23, 20, tzinfo=timezone(timedelta(hours=9))),
            "2026-01-23T14:20:00Z",
        ),
        (datetime(9999, 12, 31), "9999-12-31T00:00:00Z"),
        ("é".encode(), "é"),
        (float("inf"), "inf"),
        (Decimal("0.0000001"), "0.0000001"),
        (1e-7, "0.0000001"),
        (-0.0, "0"),
        (1e22, str(10**22)),
    ],
)
def test_a_value_has_this_text_alone_and_in_a_column(value, text):
    assert text_of(value) == text
    assert texts([value]) == [text]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Seoul"])
def test_times_of_every_unit_and_zone(unit, zone):
    moment = pl.Series("k", [datetime(2026, 1, 23, 14, 20)], dtype=pl.Datetime(unit))
    if zone:
        moment = moment.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    assert key_texts(moment).to_list() == ["2026-01-23T14:20:00Z"]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("k", [timedelta(1)]),
        pl.Series("k", [[1]]),
        pl.Series("k", [{"a": 1}]),
        pl.Series("k", [b"\xff"]),
        pl.Series("k", [object()]),
        pl.Series("k", [1]).cast(pl.Datetime("ns")),
        pl.Series("k", [1]).cast(pl.Time),
        pl.Series("k", [2**55]).cast(pl.Datetime("ms")),
        pl.Series("k", [2**30]).cast(pl.Date),
    ],
    ids=lambda series: str(series.dtype),
)
def test_what_has_no_text_is_refused(values):
    with pytest.raises(SchemaError, match="key column 'k'"):
        key_texts(values)


@pytest.mark.parametrize("value", [7, 7.0, Decimal("7.0"), "7"])
@pytest.mark.parametrize(
    "frame",
    [
        lambda v: pl.DataFrame({"k": [v], "n": [1]}),
        lambda v: pd.DataFrame({"k": [v], "n": [1]}),
        lambda v: pd.DataFrame({"k": pd.Series([v], dtype=object), "n": [1]}),
        lambda v: pd.DataFrame({"k": [v, "x"], "n": [1, 2]}).head(1),
        lambda v: pa.table({"k": [v], "n": [1]}),
        lambda v: pd.DataFrame({"k": pa.array([v]), "n": [1]}),
    ],
)
def test_the_libraries_agree(value, frame):
    assert conform_snapshot(frame(value), PROVIDER)[0]["k"].to_list() == ["7"]


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float32, np.float64, "Int64", "Float32"])
def test_pandas_numbers(dtype):
    frame = pd.DataFrame({"k": pd.array([7, 8], dtype=dtype), "n": [1, 1]})
    assert with_key_texts(to_polars(frame), ["k"])["k"].to_list() == ["7", "8"]


def test_a_mixed_column_has_the_text_of_each_value():
    values = [7, 7.5, "007", True, Decimal("1.10"), date(2026, 1, 1), 8.0]
    frame = pd.DataFrame({"k": pd.Series(values, dtype=object), "n": 1})
    stored = conform_snapshot(frame, PROVIDER)[0]["k"].to_list()
    assert stored == sorted(["7", "7.5", "007", "true", "1.1", "2026-01-01", "8"])


def test_a_key_column_that_stays_is_the_same_object():
    frame = pl.DataFrame({"k": ["a"]})
    assert with_key_texts(frame, ["k", "absent"]) is frame


def test_the_same_keys_in_another_dtype_are_no_change():
    archive = open_archive("memory://", provider=PROVIDER)
    at = datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
    archive.ingest(pl.DataFrame({"k": [1, 2], "n": [1, 2]}), at)
    for later, keys in enumerate(([1.0, 2.0], ["1", "2"], [Decimal("1.0"), Decimal("2.0")]), 1):
        frame = pl.DataFrame({"k": keys, "n": [1, 2]})
        assert archive.ingest(frame, at + timedelta(minutes=10 * later)).status == "unchanged"
