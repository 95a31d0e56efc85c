"""Histories of keys that are named by values of any dtype, in frames of any library."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from oracle import at
from polars.testing import assert_frame_equal

from titans import Archive, Provider, Schema
from titans.changes.keys import key_texts
from titans.errors import InputError, NotFound
from titans.read.reader import Reader
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

TWO = Provider("two", Schema({"v": "Int64"}), ("k", "j"))
VALUES = [7, 8, True, 1.5, Decimal("2.50"), date(2026, 1, 31), "seven", "7.0", "é"]
"""Of all dtypes that a key may come in."""


def text(value) -> str:
    return key_texts(pl.Series([value]))[0]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    made = []
    for store in (MemoryStore(), LocalStore(tmp_path_factory.mktemp("archive"))):
        archive = Archive(store, TWO)
        for slot in range(10):
            rows = {
                "k": [text(value) for value in VALUES],
                "j": [str(number % 2) for number in range(len(VALUES))],
                "v": [slot * 100 + number for number in range(len(VALUES))],
            }
            archive.ingest(pl.DataFrame(rows), at(slot))
        archive.upload(pl.DataFrame({"k": ["7"], "j": ["1"], "v": [-1]}), at(11))
        made.append(archive)
    return made


def check(archives, ask, *conditions) -> None:
    for archive in archives:
        expected = archive.changes().filter(*conditions)
        assert expected.height
        assert_frame_equal(ask(archive), expected)


# --- one column -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_of_any_dtype_is_compared_as_the_text_of_a_key(archives, value):
    check(archives, lambda a: a.history(k=value), pl.col("k") == text(value))
    check(archives, lambda a: a.history(k=[value]), pl.col("k") == text(value))
    check(
        archives,
        lambda a: a.history(at(2), at(12), k=value, j=[0, 1]),
        pl.col("k") == text(value),
        pl.col("Time") >= at(2),
    )


@pytest.mark.parametrize(
    "several",
    [
        [7, 8],
        (7, 8),
        {7, 8},
        frozenset({"7", "8"}),
        range(7, 9),
        [7, "8"],
        ["8", 7, 7],
        np.array([7, 8]),
        np.array([7, 8], dtype="uint8"),
        pl.Series([7, 8]),
        pl.Series(["7", "8"], dtype=pl.Categorical),
        pd.Series([7, 8]),
        pd.Series(["7", "8"], dtype="string"),
        pd.Index([7, 8]),
        pa.array([7, 8]).to_pylist(),
        (value for value in (7, 8)),
    ],
    ids=lambda several: type(several).__name__,
)
def test_a_list_means_any_of_these(archives, several):
    values = list(several)  # a generator is read once, and there are two archives
    check(archives, lambda a: a.history(k=values), pl.col("k").is_in(["7", "8"]))
    if not hasattr(several, "send"):
        check(archives, lambda a: a.history(k=several), pl.col("k").is_in(["7", "8"]))


def test_nothing_wanted_is_nothing_found(archives):
    for archive in archives:
        assert archive.history(k=[]).rows() == []
        assert archive.history(k="nobody", j=["0", "1"]).rows() == []
        assert archive.history(keys=[]).rows() == []
        assert archive.history(keys=pl.DataFrame({"k": []}, schema={"k": pl.Int8})).rows() == []


def test_a_value_with_a_dot_is_not_the_one_without(archives):
    assert archives[0].history(k="7.0")["k"].unique().to_list() == ["7.0"]
    assert archives[0].history(k=[7])["k"].unique().to_list() == ["7"]


# --- frames ---------------------------------------------------------------------------------------

FRAMES = {
    "polars": pl.DataFrame,
    "lazy": pl.LazyFrame,
    "pandas": pd.DataFrame,
    "pandas with Arrow": lambda rows: pd.DataFrame(rows).convert_dtypes(dtype_backend="pyarrow"),
    "pandas nullable": lambda rows: pd.DataFrame(rows).convert_dtypes(),
    "arrow": pa.table,
    "arrow batch": pa.RecordBatch.from_pydict,
    "dicts": lambda rows: pl.DataFrame(rows).to_dicts(),
    "a tuple of dicts": lambda rows: tuple(pl.DataFrame(rows).to_dicts()),
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize(
    "rows",
    [
        {"k": [7, 8, 7]},
        {"k": ["7", "8", "nobody"]},
        {"k": [7, 8], "j": [0, 1]},
        {"j": [1, 1], "k": ["8", "8"]},
        {"k": [1.5]},
        {"k": [True]},
        {"k": [date(2026, 1, 31)], "j": ["1"]},
    ],
    ids=str,
)
def test_keys_in_a_frame_of_any_library(archives, make, rows):
    pairs = [
        dict(zip(rows, map(text, row), strict=True)) for row in zip(*rows.values(), strict=True)
    ]
    wanted = pl.any_horizontal(
        pl.all_horizontal(pl.col(column) == value for column, value in pair.items())
        for pair in pairs
    )
    check(archives, lambda a: a.history(keys=make(rows)), wanted)


def test_dicts_of_several_dtypes(archives):
    keys = [{"k": 7, "j": 0}, {"k": "seven", "j": "0"}, {"k": 1.5, "j": True}]
    found = archives[0].history(keys=keys)
    assert found["k"].unique().sort().to_list() == ["7", "seven"]
    (row,) = archives[0].history(at(3), at(4), keys={"k": 7, "j": 0}).to_dicts()
    assert row["v"] == 300


def test_a_null_in_a_frame_of_keys_is_no_key(archives):
    keys = pl.DataFrame({"k": ["7", None]})
    assert archives[0].history(keys=keys)["k"].unique().to_list() == ["7"]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ({"k": None}, "never null"),
        ({"k": [None, "a"]}, "never null"),
        ({"k": object()}, "cannot be a value of key column 'k'"),
        ({"k": [["a"]]}, "key column 'k'|cannot be a key"),
        ({"k": {"a": 1}}, "cannot be a"),
        ({"x": 1}, "x is no key column"),
        ({"keys": 7}, "not a frame"),
        ({"keys": [{"k": 1}, {"j": 1}]}, "names the same columns"),
        ({"keys": [{"x": 1}]}, "x is no key column"),
        ({"keys": pl.LazyFrame({"k": [1]}).select("nope")}, "cannot be collected"),
        ({"keys": pl.DataFrame({"k": [[1]]})}, "cannot be a key"),
    ],
)
def test_what_is_no_key(archives, key, says):
    with pytest.raises(InputError, match=says):
        archives[0].history(**key)


@pytest.mark.parametrize("given", ["stream", "generator"])
def test_what_can_be_read_once_is_read_once(archives, monkeypatch, given):
    """Also where a file is gone, and the question is asked again."""
    (memory, _), lost = archives, iter([True])
    changes = Reader.changes

    def flaky(reader, *args):
        if next(lost, False):
            raise NotFound("no object")
        return changes(reader, *args)

    monkeypatch.setattr(Reader, "changes", flaky)
    if given == "stream":
        table = pa.table({"k": [7, 8]})
        keys = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
        found = memory.history(keys=keys)
    else:
        found = memory.history(k=(value for value in (7, 8)))
    assert found["k"].unique().sort().to_list() == ["7", "8"]
