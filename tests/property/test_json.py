"""Nested values: one text for each content, whatever it comes in, and nothing is lost in it."""

import json
import string
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titans import Archive, Provider, Schema
from titans.exact.json import BAD, canonical
from titans.loading.records import quoted_values
from titans.store.memory import MemoryStore

TEXTS = st.text(max_size=4) | st.sampled_from(["null", "true", "1", '"', "\\", "\u2028", "한"])
NUMBERS = (
    st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.1, 1e300, 5e-324, 2.0**53, 2.0**53 + 2, -0.0, 1e16, 123456.789])
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)


def texts(values, dtype=pl.String):
    return canonical(pl.Series(values, dtype=dtype))


def shuffled(document, random):
    """The same content in another order."""
    if isinstance(document, list):
        return [shuffled(each, random) for each in document]
    if isinstance(document, dict):
        names = list(document)
        random.shuffle(names)
        return {name: shuffled(document[name], random) for name in names}
    return document


@given(DOCUMENTS, st.randoms(use_true_random=False), st.sampled_from([None, 1]), st.booleans())
def test_the_same_content_is_one_text_that_holds_it(document, random, indent, ascii_only):
    written = json.dumps(shuffled(document, random), indent=indent, ensure_ascii=ascii_only)
    (text,) = texts([written])
    assert texts([document], pl.Object) == [text] or isinstance(document, str)
    if document is None:
        assert text is None
        return
    assert json.loads(text) == document
    assert texts([text]) == [text]
    assert "\n" not in text


@given(st.lists(NUMBERS, min_size=1))
def test_a_number_keeps_all_its_digits(numbers):
    (text,) = texts([json.dumps(numbers)])
    for given_number, stored in zip(numbers, json.loads(text, parse_float=Decimal), strict=True):
        assert Decimal(repr(given_number)) == stored


@pytest.mark.parametrize(
    ("given_text", "text"),
    [
        ("1.0", "1"),
        ("1E2", "100"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("0.10", "0.1"),
        ("1e-9", "1e-9"),
        ("0.00000010", "0.0000001"),
        ("0.000000010", "1e-8"),
        ("12345678901234567890.50", "1.23456789012345678905e19"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ('{"b":1,"a":[ ]}', '{"a":[],"b":1}'),
        (' "\\u0041" ', '"A"'),
        ("null", None),
        (" null ", None),
    ],
)
def test_what_is_written(given_text, text):
    assert texts([given_text]) == [text]


@pytest.mark.parametrize(
    "text",
    ["", "{", "nope", "NaN", "[Infinity]", '{"a":1,"a":1}', '"\\ud800"', "1e99999", "01", "'a'"]
    + ["[" * 100_000, '{"a":' * 100_000],
)
def test_what_is_no_json_is_bad(text):
    assert texts([text]) == [BAD]


@pytest.mark.parametrize(
    "value", [{1: "a"}, [object()], {"a": float("inf")}, {"a": {1, 2}}, [b"\xff"], {"a": "\ud800"}]
)
def test_what_json_has_not_is_bad(value):
    assert texts([value], pl.Object) == [BAD]


def test_nan_is_null_in_it_too():
    assert texts([{"a": float("nan")}, float("nan"), None], pl.Object) == ['{"a":null}', None, None]


def test_fields_that_polars_added_to_structs_are_no_content():
    """Another key with another field must not be a change of this one."""
    alone = pl.Series([{"a": 1}])
    inner = pl.List(pl.Struct({"c": pl.Int64, "d": pl.Int64}))
    dtype = pl.Struct({"a": pl.Int64, "b": inner})
    beside = pl.Series([{"a": 1}, {"b": [{"c": 1}, {"d": 2}]}], dtype=dtype)
    assert canonical(alone) + ['{"b":[{"c":1},{"d":2}]}'] == canonical(beside)


LINES = st.dictionaries(
    st.text(string.ascii_lowercase, min_size=1, max_size=2), DOCUMENTS, max_size=4
)


@given(st.lists(LINES), st.sampled_from([(", ", ": "), (",", ":")]))
def test_lines_keep_their_nested_values(rows, separators):
    data = "".join(json.dumps(row, separators=separators) + "\n" for row in rows).encode()
    quoted = quoted_values(data, {"a", "bb"}, "a file")
    for line, row in zip(quoted.decode().splitlines(), rows, strict=True):
        for name, value in json.loads(line).items():
            assert (json.loads(value) if name in ("a", "bb") else value) == row[name]


def test_a_column_of_python_dicts_from_pandas_is_what_it_says():
    import pandas as pd

    provider = Provider("p", Schema({"v": "Json"}), ("k",))
    archive = Archive(MemoryStore(), provider)
    frame = pd.DataFrame({"k": ["a", "b", "c"], "v": [{"x": None}, {"y": [1.50]}, None]})
    archive.upload(frame, pd.Timestamp("2026-01-01T00:00Z"))
    assert archive.latest()["v"].to_list() == ['{"x":null}', '{"y":[1.5]}', None]
