"""The table of dtypes: where it is printed, and who goes by it."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import titans
from titans import Provider, Schema
from titans.changes.conform import conform_snapshot
from titans.dtypes import DTYPES, FAMILIES
from titans.errors import InputError, SchemaError
from titans.evolution import WIDER
from titans.exact.convert import convert, equals
from titans.exact.table import ALWAYS, GIVEN, IF_EXACT, NEVER, rule, rules
from titans.provider_tools import drop_sentinel, rounded

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"


def test_the_page_prints_the_table():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    first = lines.index("| given | always | if the value is the same again | never |") + 2
    printed = [
        tuple(cell.strip() for cell in row.split("|")[1:-1])
        for row in lines[first : first + len(GIVEN)]
    ]
    assert printed == rules()
    assert not lines[first + len(GIVEN)].startswith("|")


def test_the_table_has_every_dtype_of_polars_and_every_column():
    named = {kind.__name__ for kind in pl.DataType.__subclasses__()}
    assert set(DTYPES) - {"Json"} < set(GIVEN)
    assert {"Object", "Null", "Struct"} & named <= set(GIVEN)
    for given_name in GIVEN:
        for column in FAMILIES:
            assert rule(given_name, column) in (ALWAYS, IF_EXACT, NEVER)


def test_a_schema_may_become_what_is_always_exact_and_floats_of_integers():
    assert WIDER["Json"] == ("String",)
    for old in set(DTYPES) - {"Json"}:
        numbers = old.startswith(("Int", "UInt", "Float"))
        wider = {
            new
            for new in DTYPES
            if numbers and new.startswith(("Int", "UInt", "Float")) and new != old
            if rule(old, new) == ALWAYS
            or (new == "Float64" and rule(old, new) == IF_EXACT and "Int" in old)
        }
        assert set(WIDER.get(old, ())) == wider, old


# --- sentinels ------------------------------------------------------------------------------------

SENTINELS = {
    "UInt8": [-1, -1.0, "-1", " -1.0 ", Decimal("-1.00"), "-1e0"],
    "Int64": [-1, -1.0, "-1", "-1.0", Decimal(-1)],
    "Float64": [-1, -1.0, "-1", Decimal("-1.0")],
    "Float32": [-1, -1.0, "-1"],
}


@pytest.mark.parametrize("column", SENTINELS)
@pytest.mark.parametrize("frame", [pl.DataFrame, pd.DataFrame, pa.table])
def test_a_sentinel_is_recognised_in_any_dtype(column, frame):
    provider = Provider("p", Schema({"v": column}, unobserved={"v": -1}), ("k",))
    for value in SENTINELS[column]:
        given_frame = frame({"k": ["a"], "v": [value]})
        assert conform_snapshot(given_frame, provider)[0]["v"].to_list() == [None], value
        both = pl.DataFrame({"k": ["a", "b"], "v": [value, type(value)(7)]})
        assert conform_snapshot(both, provider)[0]["v"].to_list() == [None, 7]


@pytest.mark.parametrize(
    ("column", "sentinel", "value"),
    [
        ("Int64", 2.0**53, 2**53 + 1),
        ("Int64", 0.5, 0),
        ("UInt64", 2**63, 2**63 + 1),
        ("Float64", -1, -1.0000000000000002),
        ("Float64", -1, "-0.9999999999999999"),
        ("Int8", 255, -1),
        ("Int64", -1, 2**63 - 1),
    ],
)
def test_a_sentinel_is_recognised_exactly_only(column, sentinel, value):
    provider = Provider("p", Schema({"v": column}, unobserved={"v": sentinel}), ("k",))
    frame = pl.DataFrame({"k": ["a"], "v": [value]})
    stored = conform_snapshot(frame, provider)[0]["v"].to_list()
    assert stored == [type(stored[0])(value)]


@settings(deadline=None)
@given(
    st.lists(st.integers(-(2**62), 2**62) | st.sampled_from([-1, 2**53, 2**53 + 1])),
    st.sampled_from([-1, -1.0, 0.5, 2**53, 2.0**53, 2**70]),
)
def test_equality_is_that_of_python(values, number):
    expected = [value == number for value in values]
    for series in (
        pl.Series(values, dtype=pl.Int64),
        pl.Series(list(map(str, values)), dtype=pl.String),
        pl.Series(values, dtype=pl.Object),
    ):
        assert equals(series, number).to_list() == expected


def test_a_sentinel_of_normalize_is_exact_too():
    frame = pl.DataFrame({"v": [2**53, 2**53 + 1], "price": [None, None]})
    assert drop_sentinel(frame, "v", 2**53, unless=("price",))["v"].to_list() == [None, 2**53 + 1]


# --- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", DTYPES)
@pytest.mark.parametrize("text", ["maybe", "1,5", "--1", "2026-13-01", "0x1", "1_0", "١"])
def test_no_word_of_polars_reaches_the_user(column, text):
    provider = Provider("p", Schema({"v": column}), ("k",))
    frame = pl.DataFrame({"k": ["a", "b"], "v": [text, None]})
    if column == "Binary":
        assert conform_snapshot(frame, provider)[0]["v"].to_list() == [text.encode(), None]
        return
    if column == "String":
        assert conform_snapshot(frame, provider)[0]["v"].to_list() == [text, None]
        return
    with pytest.raises(SchemaError) as error:
        conform_snapshot(frame, provider)
    assert repr(text) in str(error.value)
    assert "1 value(s) of column 'v' (String)" in str(error.value)
    for word in ("conversion", "strict", "polars", "strptime", "cast"):
        assert word not in str(error.value)


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("Boolean", "TRUE", True),
        ("Boolean", "0", False),
        ("Boolean", "1.0", True),
        ("Date", "2026-01-23", date(2026, 1, 23)),
        ("Date", "2026-01-23T00:00:00Z", date(2026, 1, 23)),
        ("Date", "2026-01-23 00:00", date(2026, 1, 23)),
        ("Int8", "7.0", 7),
        ("UInt64", str(2**64 - 1), 2**64 - 1),
        ("Float64", "0.1", 0.1),
        ("Float64", "0.10000000000000001", 0.1),
        ("Float64", "nan", None),
        ("Float64", "-Infinity", float("-inf")),
        ("Float32", "0.1", 0.10000000149011612),
    ],
)
def test_text_is_what_it_says(column, text, value):
    done = convert(pl.Series("v", [text]), column)
    assert done.bad is None
    provider = Provider("p", Schema({"v": column}), ("k",))
    frame = pl.DataFrame({"k": ["a"], "v": [text]})
    assert conform_snapshot(frame, provider)[0]["v"].to_list() == [value]


def test_a_date_beyond_the_calendar_is_refused_in_its_own_dtype():
    provider = Provider("p", Schema({"v": "Date"}), ("k",))
    frame = pl.DataFrame({"k": ["a"], "v": pl.Series([2**24]).cast(pl.Date)})
    with pytest.raises(SchemaError, match="1 value"):
        conform_snapshot(frame, provider)


# --- rounding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "digits", "expected"),
    [
        ([61.53, 40.5, -40.5, None], 0, [62.0, 41.0, -41.0, None]),
        ([61.538, 40.0], 2, [61.54, 40.0]),
        ([Decimal("61.535"), Decimal(2)], 2, ["61.54", "2.00"]),
        (["61.53", "many", None], 0, ["62", "many", None]),
        ([1, 2], 0, [1, 2]),
        ([True], 0, [True]),
        ([datetime(2026, 1, 1)], 0, [datetime(2026, 1, 1)]),
    ],
)
def test_rounding_is_the_decision_of_the_plugin(values, digits, expected):
    frame = pl.DataFrame({"v": values}, strict=False)
    assert rounded(frame, "v", digits)["v"].to_list() == expected
    assert rounded(frame, "absent", digits) is frame


def test_rounded_values_are_stored():
    provider = titans.get_config("aws")
    row = {"InstanceType": ["m5"], "Region": ["r"], "AZ": ["1"], "Savings": [61.53]}
    with pytest.raises(
        SchemaError, match=r"column 'Savings' \(Float64\) are no Int64; first: 61.53"
    ):
        conform_snapshot(pl.DataFrame(row), provider)
    stored = conform_snapshot(rounded(pl.DataFrame(row), "Savings", 0), provider)[0]
    assert stored["Savings"].to_list() == [62]


@pytest.mark.parametrize("digits", [-1, 1.0, True, None])
def test_digits_are_counted_from_zero(digits):
    with pytest.raises(InputError, match="digits is an integer from 0"):
        rounded(pl.DataFrame({"v": [1.5]}), "v", digits)
