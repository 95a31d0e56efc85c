"""Schemas and providers refuse what they could not keep."""

import polars as pl
import pytest

from titans import Provider, Schema
from titans.errors import InputError


def test_dtypes_are_names_or_polars_types():
    assert Schema({"a": "Int64", "b": pl.Float64, "c": pl.String()}).columns == {
        "a": "Int64",
        "b": "Float64",
        "c": "String",
    }


def test_every_file_of_a_provider_has_the_canonical_columns():
    provider = Provider("p", Schema({"v": "Int64"}), ("k", "l"))
    assert provider.canonical_columns == ["k", "l", "Time", "v", "Ceased"]
    assert provider.schema_dtypes == {
        "k": pl.String,
        "l": pl.String,
        "Time": pl.Datetime("us", "UTC"),
        "v": pl.Int64,
        "Ceased": pl.Boolean,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": {}}, "at least one value column"),
        ({"columns": {"Time": "Int64"}}, "reserved"),
        ({"columns": {"": "Int64"}}, "non-empty"),
        ({"columns": {"v": "Int65"}}, "choose one of"),
        ({"columns": {"v": pl.List(pl.Int64)}}, "choose 'Json'"),
        ({"columns": {"v": "Decimal"}}, "say its digits"),
        ({"columns": {"v": "Decimal(0, 0)"}}, "1 to 38 digits"),
        ({"columns": {"v": "Decimal(2, 3)"}}, "1 to 38 digits"),
        ({"columns": {"v": "Decimal(39, 3)"}}, "1 to 38 digits"),
        ({"columns": {"v": pl.Datetime("ns")}}, "choose 'Datetime'"),
        ({"columns": {"v": pl.Datetime("us")}}, "choose 'Datetime'"),
        ({"columns": ["v"]}, "must map"),
        ({"columns": {"v": "Int64"}, "score": "w"}, "score column 'w'"),
        ({"columns": {"v": "Int64"}, "unobserved": {"w": -1}}, "'w'"),
        ({"columns": {"v": "String"}, "unobserved": {"v": -1}}, "numeric"),
        ({"columns": {"v": "Int64"}, "unobserved": {"v": "-1"}}, "number"),
        ({"columns": {"v": "Int64"}, "version": 0}, "version"),
    ],
)
def test_a_schema_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Schema(**arguments)


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("p", (), "empty primary key"),
        ("p", ("v",), "both a key and a value"),
        ("p", ("Time",), "reserved"),
        ("p", ("k", "k"), "twice"),
        ("../p", ("k",), "named with letters"),
        ("", ("k",), "named with letters"),
    ],
)
def test_a_provider_that_cannot_be_is_refused(name, key, message):
    with pytest.raises(InputError, match=message):
        Provider(name, Schema({"v": "Int64"}), key)
