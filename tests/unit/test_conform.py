"""A frame fits the schema, or the error says exactly what does not."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from titans import Provider, Schema
from titans.changes.conform import conform_changes, conform_snapshot
from titans.errors import InputError, SchemaError, TimestampError
from titans.slots import Slot

PROVIDER = Provider(
    "p",
    Schema({"n": "Int64", "x": "Float64", "s": "String"}, unobserved={"n": -1, "x": -1}),
    ("k", "l"),
)
AT = datetime(2026, 1, 23, 14, 23, tzinfo=UTC)
SLOT = Slot.of(AT)
ROW = {"k": ["a"], "l": ["b"], "n": [1], "x": [0.5], "s": ["t"]}


def snapshot(**columns):
    return conform_snapshot(pl.DataFrame(ROW | columns, strict=False), PROVIDER)[0]


def changes(frame):
    return conform_changes(frame, PROVIDER, AT, SLOT)[0]


def test_columns_come_in_canonical_order_and_extra_ones_are_dropped_and_logged(caplog):
    caplog.set_level("INFO")
    frame = pl.DataFrame({"extra": [1], "s": ["t"], "l": ["b"], "n": [1], "k": ["a"], "x": [1.0]})
    assert conform_snapshot(frame, PROVIDER)[0].columns == ["k", "l", "n", "x", "s"]
    assert "dropped 1 column(s) that are not in the schema: extra" in caplog.text


def test_missing_value_columns_become_typed_nulls():
    frame = conform_snapshot(pl.DataFrame({"k": ["a"], "l": ["b"]}), PROVIDER)[0]
    assert frame.schema == {
        "k": pl.String,
        "l": pl.String,
        "n": pl.Int64,
        "x": pl.Float64,
        "s": pl.String,
    }
    assert frame.row(0) == ("a", "b", None, None, None)


def test_a_missing_key_column_is_named():
    with pytest.raises(
        SchemaError, match=r"key column\(s\) l missing; the key is k, l, the frame has k, n"
    ):
        conform_snapshot(pl.DataFrame({"k": ["a"], "n": [1]}), PROVIDER)


def test_null_keys_are_counted_and_the_first_rows_shown():
    with pytest.raises(
        SchemaError, match=r"'l' is null in 2 of 3 row\(s\); first: \(row=1, k='b', l=None\)"
    ):
        snapshot(k=["a", "b", "c"], l=["x", None, None], n=[1, 2, 3], x=[1.0] * 3, s=["t"] * 3)


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("n", "seven", "'seven'"),
        ("n", 1.5, "1.5"),
        ("n", float("inf"), "inf"),
        ("x", "cheap", "'cheap'"),
        ("n", 2**63, "9223372036854775808"),
    ],
)
def test_a_value_that_cannot_be_cast_is_named(column, value, shown):
    with pytest.raises(SchemaError, match=rf"1 value\(s\) of column '{column}'.*{shown}"):
        snapshot(**{column: [value]})


def test_a_column_of_the_wrong_kind_is_named():
    with pytest.raises(SchemaError, match="column 'n'"):
        snapshot(n=[[1, 2]])


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("7", 7),
        (7.0, 7),
        (True, 1),
        (Decimal("7"), 7),
        (-1, None),
        (-1.0, None),
        ("-1", None),
        (None, None),
    ],
)
def test_numbers_are_cast_and_the_sentinel_is_null(given, stored):
    assert snapshot(n=[given])["n"][0] == stored


def test_nan_is_null_and_minus_zero_is_zero():
    assert snapshot(x=[float("nan")])["x"][0] is None
    assert str(snapshot(x=[-0.0])["x"][0]) == "0.0"


def test_a_sentinel_leaves_the_other_values_of_the_row_alone():
    assert snapshot(n=[-1], x=[0.25]).row(0) == ("a", "b", None, 0.25, "t")


def test_of_rows_with_the_same_key_the_last_stays_and_is_counted(caplog):
    frame, lost = conform_snapshot(
        pl.DataFrame(
            {"k": ["a", "a", "a"], "l": ["b"] * 3, "n": [1, 1, 2], "x": [1.0] * 3, "s": ["t"] * 3}
        ),
        PROVIDER,
    )
    assert (frame["n"].to_list(), lost) == ([2], 2)
    assert "repeat a key with other values" in caplog.text


def test_identical_rows_collapse_silently(caplog):
    frame, lost = conform_snapshot(
        pl.DataFrame(
            {**ROW, "k": ["a", "a"], "l": ["b", "b"], "n": [1, 1], "x": [0.5] * 2, "s": ["t"] * 2}
        ),
        PROVIDER,
    )
    assert (frame.height, lost, caplog.text) == (1, 0, "")


# --- changes --------------------------------------------------------------------------------------


def test_a_removed_row_is_gone_at_the_collection_whatever_time_it_had():
    frame = pl.DataFrame({**ROW, "Time": [datetime(2020, 1, 1, tzinfo=UTC)], "Ceased": [True]})
    assert changes(frame)["Time"][0] == AT


def test_a_changed_row_outside_its_slot_is_refused():
    frame = pl.DataFrame({**ROW, "Time": [AT + timedelta(minutes=10)], "Ceased": [False]})
    with pytest.raises(
        TimestampError,
        match=r"1 changed row\(s\) have a Time outside the slot \[2026-01-23T14:20:00Z",
    ):
        changes(frame)


def test_a_null_time_is_refused():
    with pytest.raises(SchemaError, match="'Time' is null in 1 changed row"):
        changes(pl.DataFrame({**ROW, "Time": [None]}))


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-23 14:23:00",
        "2026-01-23T14:23:00Z",
        "2026-01-23T14:23:00.000+00:00",
        "2026-01-23 23:23:00+09:00",
        "2026-01-23 14:23",
        datetime(2026, 1, 23, 14, 23),
        datetime(2026, 1, 23, 23, 23, tzinfo=timezone(timedelta(hours=9))),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(time):
    assert changes(pl.DataFrame({**ROW, "Time": [time]}))["Time"][0] == AT


@pytest.mark.parametrize("time", ["yesterday", "2026-01-23", 1769178180])
def test_what_is_no_time_is_refused(time):
    with pytest.raises(SchemaError, match="'Time'"):
        changes(pl.DataFrame({**ROW, "Time": [time]}))


def test_without_a_time_column_rows_are_of_the_collection():
    assert changes(pl.DataFrame(ROW)).select("Time", "Ceased").row(0) == (AT, False)


def test_a_live_row_beats_a_removed_one_of_the_same_time(caplog):
    frame = pl.DataFrame({"k": ["a"] * 2, "l": ["b"] * 2, "n": [5, 6], "Ceased": [False, True]})
    assert changes(frame)["n"].to_list() == [5]
    assert caplog.text == ""


def test_of_two_live_rows_the_last_stays():
    frame = pl.DataFrame(
        {"k": ["a"] * 3, "l": ["b"] * 3, "n": [5, 7, 6], "Ceased": [False, False, True]}
    )
    assert changes(frame)["n"].to_list() == [7]


# --- what frames may be ---------------------------------------------------------------------------


def test_pandas_polars_and_arrow_give_the_same_rows():
    columns = {
        "k": ["a", "b", "c"],
        "l": ["x", "y", "z"],
        "n": [1, -1, 3],
        "x": [0.5, float("nan"), -1.0],
        "s": ["t", None, "u"],
    }
    polars = pl.DataFrame(columns, nan_to_null=True)
    pandas = pd.DataFrame(columns)
    expected = conform_snapshot(polars, PROVIDER)[0]
    for other in (
        pandas,
        pandas.astype({"n": "Int64", "x": "Float64", "s": "string"}),
        pandas.astype({"k": "category"}),
        pandas.astype(object),
        pandas.set_index(pd.Index([9, 9, 9])),
        polars.lazy(),
        pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()}),
    ):
        assert conform_snapshot(other, PROVIDER)[0].equals(expected), type(other)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Seoul"])
def test_pandas_times_of_every_unit_and_zone(unit, zone):
    times = pd.Series([pd.Timestamp(AT), pd.NaT]).dt.as_unit(unit)
    times = times.dt.tz_convert(zone) if zone else times.dt.tz_localize(None)
    frame = pd.DataFrame({"k": ["a", "b"], "l": ["x", "y"], "Time": times, "Ceased": [False, True]})
    assert changes(frame)["Time"].to_list() == [AT, AT]


def test_a_pandas_column_of_several_types_is_refused_by_value():
    with pytest.raises(SchemaError, match=r"column 'n'.*'many'"):
        conform_snapshot(
            pd.DataFrame({"k": ["a", "b"], "l": ["x", "y"], "n": [1, "many"]}), PROVIDER
        )


def test_two_columns_of_one_name_are_refused():
    frame = pd.DataFrame([["a", "b", "c"]], columns=["k", "k", "l"])
    with pytest.raises(InputError, match="several columns named 'k'"):
        conform_snapshot(frame, PROVIDER)


def test_what_is_no_frame_is_refused():
    with pytest.raises(InputError, match="not a frame: builtins.list"):
        conform_snapshot([{"k": "a"}], PROVIDER)


def test_a_key_that_is_no_number_is_null():
    with pytest.raises(
        SchemaError, match=r"'l' is null in 1 of 2 row\(s\); first: \(row=1, k='b', l=nan\)"
    ):
        snapshot(k=["a", "b"], l=[1.0, float("nan")], n=[1, 2], x=[1.0] * 2, s=["t"] * 2)
