"""What a frame may be: it is read once, and its dtypes stay."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import titans
from titans import Provider, Schema
from titans.changes.conform import conform_snapshot
from titans.changes.frames import to_polars, together
from titans.errors import InputError, SchemaError

PROVIDER = Provider("p", Schema({"n": "Int64"}), ("k",))
AT = datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
BIG = 2**53 + 1
ROWS = {"k": ["a", "b", "c"], "n": [1, 2, 3]}
TABLE = pa.table(ROWS)

FORMS = {
    "polars": lambda: pl.DataFrame(ROWS),
    "lazy": lambda: pl.LazyFrame(ROWS),
    "pandas": lambda: pd.DataFrame(ROWS),
    "arrow table": lambda: TABLE,
    "arrow batch": lambda: TABLE.to_batches()[0],
    "arrow stream": lambda: pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches(1)),
    "generator of polars": lambda: (pl.DataFrame(ROWS)[n : n + 1] for n in range(3)),
    "generator of arrow": lambda: iter(TABLE.to_batches(1)),
    "generator of pandas": lambda: (pd.DataFrame(ROWS)[n : n + 1] for n in range(3)),
    "list of frames": lambda: [pl.DataFrame(ROWS).head(1), TABLE.slice(1)],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_rows(form):
    assert conform_snapshot(FORMS[form](), PROVIDER)[0].to_dict(as_series=False) == ROWS


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_prepared_and_uploaded(form, tmp_path, monkeypatch):
    removed = pd.DataFrame({"k": ["d"]}) if form == "pandas" else pl.DataFrame({"k": ["d"]})
    frame = titans.prepare_for_upload(FORMS[form](), removed)
    assert list(frame.columns) == ["k", "n", "Ceased"]
    assert (len(frame), int(frame["n"].sum())) == (4, 6)

    monkeypatch.setattr("titans.facade.get_config", lambda _: PROVIDER)
    assert titans.upload_hot_tier(FORMS[form](), AT, "p", store=tmp_path)
    assert titans.open(tmp_path, provider=PROVIDER).latest()["n"].to_list() == [1, 2, 3]


def test_parts_of_other_columns_are_refused():
    with pytest.raises(
        InputError, match="part 1 of the frame has the columns k, the first has k, n"
    ):
        to_polars(iter([pl.DataFrame(ROWS), pl.DataFrame({"k": ["d"]})]))


@pytest.mark.parametrize("form", [[], [{"k": 1}], [1], "k", None, 7, {"k": [1]}, iter([{"k": 1}])])
def test_what_is_no_frame_is_refused(form):
    with pytest.raises(InputError, match="not a frame"):
        to_polars(form)


def test_a_query_that_fails_is_an_input_error():
    with pytest.raises(InputError, match="the LazyFrame cannot be collected"):
        to_polars(pl.LazyFrame(ROWS).select("absent"))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([["a", "b", 1]], columns=["k", "k", "n"]),
        pa.table([pa.array(["a"]), pa.array(["b"]), pa.array([1])], names=["k", "k", "n"]),
        pa.RecordBatch.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["k", "k"]),
    ],
)
def test_columns_of_one_name_are_refused(frame):
    with pytest.raises(InputError, match="several columns"):
        conform_snapshot(frame, PROVIDER)
    with pytest.raises(InputError, match="several columns"):
        titans.prepare_for_upload(frame, None)


# --- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", [pl.DataFrame, pd.DataFrame])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n", [BIG, 2]),
        ("k", [1, 2]),
        ("flag", [True, False]),
        ("x", [0.5, 0.25]),
        ("s", ["a", "b"]),
    ],
)
def test_a_column_that_one_frame_lacks_keeps_its_values(library, name, values):
    both = titans.prepare_for_upload(library({name: values}), library({"other": [BIG]}))
    columns = to_polars(both)
    assert columns[name].to_list() == [*values, None]
    assert columns["other"].to_list() == [None, None, BIG]
    assert not columns["other"].dtype.is_float()
    assert columns[name].dtype.is_float() == (name == "x")


@pytest.mark.parametrize("library", [pl.DataFrame, pd.DataFrame])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([BIG], [0.5]),
        ([BIG], [2.0]),
        ([2**63], [-1]),
        ([1], ["007"]),
        ([1.0], ["a"]),
        ([Decimal("1.50")], [1]),
        ([True], ["x"]),
    ],
)
def test_columns_of_different_dtypes_lose_nothing(library, one, other):
    both = to_polars(titans.prepare_for_upload(library({"v": one}), library({"v": other})))
    from titans.exact.texts import text_of, texts

    assert texts(both["v"]).to_list() == [text_of(one[0]), text_of(other[0])]


@pytest.mark.parametrize("library", [pl.DataFrame, pd.DataFrame])
def test_minus_one_becomes_null_and_the_others_stay(library):
    frame = library({"k": ["a", "b", "c"], "n": [BIG, -1, 3], "t": ["-1", "-1.0", "-10"]})
    prepared = to_polars(titans.prepare_for_upload(frame, None, value_columns=["n", "t"]))
    assert prepared["n"].to_list() == [BIG, 3]
    assert prepared["t"].to_list() == [None, "-10"]


def test_columns_that_cannot_be_one_are_refused():
    with pytest.raises(InputError, match="column 'v' is"):
        together([pl.DataFrame({"v": [[1]]}), pl.DataFrame({"v": [1]})])


@pytest.mark.parametrize(
    "dtype",
    [
        "int64[pyarrow]",
        "double[pyarrow]",
        "bool[pyarrow]",
        "string[pyarrow]",
        "timestamp[ns][pyarrow]",
    ]
    + ["Int64", "boolean", "string", "Float32", "date32[day][pyarrow]"],
)
def test_pandas_columns_with_missing_values(dtype):
    values = {"bool": True, "stri": "a", "time": AT.replace(tzinfo=None), "date": AT.date()}
    value = values.get(dtype[:4], 7)
    frame = pd.DataFrame({"v": pd.array([value, None], dtype=dtype)})
    assert to_polars(frame)["v"].to_list() == [value, None]


def test_a_long_double_is_right_or_refused():
    third = np.longdouble(1) / 3
    exact = pd.DataFrame({"v": np.array([0.5, np.nan], dtype=np.longdouble)})
    assert to_polars(exact)["v"].to_list() == [0.5, None]
    with pytest.raises(InputError, match="column 'v' is a long double, and 1 value"):
        to_polars(pd.DataFrame({"v": np.array([0.5, third], dtype=np.longdouble)}))


# --- a snapshot that has a time -------------------------------------------------------------------


def test_the_time_of_a_snapshot_is_left_out_and_logged(caplog):
    caplog.set_level("INFO")
    frame = pl.DataFrame(ROWS).with_columns(Time=pl.lit(AT), Ceased=pl.lit(False))
    assert conform_snapshot(frame, PROVIDER)[0].columns == ["k", "n"]
    assert "left out the column(s) Time, Ceased of a full snapshot" in caplog.text


@pytest.mark.parametrize("ceased", [True, "true", 1])
def test_a_removed_row_in_a_snapshot_is_refused(ceased):
    frame = pl.DataFrame(ROWS).with_columns(Ceased=pl.lit(ceased))
    with pytest.raises(SchemaError, match=r"3 row\(s\) of a full snapshot are Ceased"):
        conform_snapshot(frame, PROVIDER)
