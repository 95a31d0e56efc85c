"""What a newer schema may make of an older one, and what it may not."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from titans import Provider, Schema
from titans.errors import InputError, ProviderMismatchError
from titans.evolution import WIDER, Evolution
from titans.schema import DTYPES

KEY = ("k",)
OLD = Schema({"n": "Int32", "price": "Float32", "score": "Int64"})
NEW = Schema(
    {"zone": "String", "placement": "Int64", "n": "Int64", "price": "Float64"},
    version=2,
    renamed={2: {"score": "placement"}},
)


def rows(schema, *values):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    dtypes = schema.dtypes(KEY)
    return pl.DataFrame([("a", moment, *v, False) for v in values], schema=dtypes, orient="row")


def test_columns_are_added_widened_renamed_and_reordered_at_once():
    evolution = Evolution.between(OLD, NEW, "provider 'p'")
    assert evolution.to_json() == {
        "from": 1,
        "to": 2,
        "renamed": {"score": "placement"},
        "widened": {"n": ["Int32", "Int64"], "price": ["Float32", "Float64"]},
        "added": {"zone": "String"},
    }
    old = rows(OLD, (1, 0.5, 7), (None, None, None))
    expected = rows(NEW, (None, 7, 1, 0.5), (None, None, None, None))
    assert_frame_equal(evolution.apply(old, KEY), expected)
    assert_frame_equal(evolution.apply(old.lazy(), KEY).collect(), expected)


def test_no_rows_have_the_new_columns_too():
    evolved = Evolution.between(OLD, NEW, "p").apply(rows(OLD), KEY)
    assert evolved.schema == NEW.dtypes(KEY)
    assert not evolved.height


@pytest.mark.parametrize("old", DTYPES)
@pytest.mark.parametrize("new", DTYPES)
def test_every_pair_of_dtypes_is_either_allowed_and_keeps_the_values_or_refused(old, new):
    first, second = Schema({"v": old}), Schema({"v": new}, version=2)
    if old != new and new not in WIDER.get(old, ()):
        with pytest.raises(
            ProviderMismatchError,
            match=rf"column 'v' is {old} in schema version 1 .* and {new} in version 2",
        ):
            Evolution.between(first, second, "provider 'p'")
        return
    dtype = first.value_dtypes()["v"]
    samples = {pl.Boolean: [True], pl.Date: [0], pl.String: ["x"]}.get(type(dtype), [0, 1])
    frame = pl.DataFrame({"v": pl.Series(samples, strict=False).cast(dtype)})
    if dtype.is_integer() and old not in ("Int64", "UInt64"):
        frame = pl.concat(
            [
                frame,
                frame.select(pl.col("v").lower_bound()),
                frame.select(pl.col("v").upper_bound()),
            ]
        )
    stored = rows(first, *([v] for v in frame["v"]))
    evolved = Evolution.between(first, second, "p").apply(stored, KEY)
    assert evolved.schema["v"] == second.value_dtypes()["v"]
    assert evolved["v"].cast(dtype).to_list() == frame["v"].to_list()
    assert evolved["v"].to_list() == frame["v"].to_list()


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_become_floats_exactly_or_not_at_all(values):
    evolution = Evolution.between(
        Schema({"v": "Int64"}), Schema({"v": "Float64"}, version=2), "provider 'p'"
    )
    stored = rows(Schema({"v": "Int64"}), *([v] for v in values))
    if all(v is None or int(float(v)) == v for v in values):
        assert evolution.apply(stored, KEY)["v"].to_list() == values
        assert evolution.apply(stored.lazy(), KEY).collect()["v"].to_list() == values
        return
    with pytest.raises(
        ProviderMismatchError,
        match="no exact Float64, which version 2 declares; first: .*; declare Int64",
    ):
        evolution.apply(stored, KEY)
    with pytest.raises(ProviderMismatchError, match="no exact Float64"):
        evolution.apply(stored.lazy(), KEY).collect()


@pytest.mark.parametrize(
    ("new", "parts"),
    [
        (
            Schema({"n": "Int64"}),
            ["declares n (Int64) under the same version", "raise its schema version to 2"],
        ),
        (Schema({"price": "Float32", "n": "Int32", "score": "Int64"}), ["under the same version"]),
        (
            Schema({"n": "Int16", "price": "Float32", "score": "Int64"}, version=2),
            [
                "'n' is Int32 in schema version 1 in x",
                "Int16 in version 2 of provider 'p'",
                "declare it as Int32 or Int64 or Float64",
                "install the release of the provider that has schema version 1",
            ],
        ),
        (
            Schema({"n": "String", "price": "Float32", "score": "Int64"}, version=2),
            ["cannot hold all its values"],
        ),
        (
            Schema({"n": "Int32", "price": "Float32"}, version=2),
            [
                "column 'score' of schema version 1 in x is missing in version 2",
                "keep the column",
                "renamed={2: {'score': '…'}}",
            ],
        ),
        (
            Schema(
                {"n": "Int32", "price": "Float32", "rank": "Int32"},
                version=2,
                renamed={2: {"score": "rank"}},
            ),
            ["column 'score', later 'rank', is Int64", "Int32 in version 2"],
        ),
        (
            Schema({"n": "Int32", "price": "Float32"}, version=2, renamed={2: {"score": "n"}}),
            ["two columns of schema version 1 in x would become 'n'"],
        ),
    ],
)
def test_what_would_lose_something_is_refused(new, parts):
    with pytest.raises(ProviderMismatchError) as caught:
        Evolution.between(OLD, new, "provider 'p'", "x")
    for part in parts:
        assert part in str(caught.value)


def test_an_older_provider_is_refused():
    with pytest.raises(
        ProviderMismatchError,
        match="x has schema version 2, but provider 'p' declares version 1 .*upgrade",
    ):
        Evolution.between(NEW, OLD, "provider 'p'", "x")


def test_renames_add_up_over_versions_and_an_old_name_may_be_used_again():
    third = Schema(
        {"c": "Int64", "a": "String"}, version=3, renamed={2: {"a": "b"}, 3: {"b": "c"}}
    )  # version 3 also adds a new column a
    assert third.name_since(1, "a") == third.name_since(2, "b") == "c"
    assert third.name_since(3, "a") == "a"
    evolution = Evolution.between(Schema({"a": "Int64"}), third, "p")
    assert evolution.apply(rows(Schema({"a": "Int64"}), (5,)), KEY).select("c", "a").row(0) == (
        5,
        None,
    )
    assert Evolution.between(Schema({"b": "Int64"}, version=2), third, "p").renamed == {"b": "c"}


def test_two_columns_may_swap_their_names():
    swapped = Schema({"a": "Int64", "b": "String"}, version=2, renamed={2: {"a": "b", "b": "a"}})
    old = Schema({"a": "String", "b": "Int64"})
    assert Evolution.between(old, swapped, "p").apply(rows(old, ("x", 1)), KEY).select(
        "a", "b"
    ).row(0) == (1, "x")


@pytest.mark.parametrize(
    ("columns", "version", "renamed", "message"),
    [
        ({"b": "Int64"}, 2, {2: {"a": "c"}}, "says 'a' became 'c', but there is no column 'c'"),
        ({"b": "Int64"}, 1, {2: {"a": "b"}}, "renamed names the schema version 2; this is 1"),
        ({"b": "Int64"}, 2, {1: {"a": "b"}}, "renamed names the schema version 1"),
        ({"b": "Int64"}, 2, {"2": {"a": "b"}}, "renamed names the schema version '2'"),
        ({"b": "Int64"}, 2, {2: {"b": "b"}}, "maps an old column name to a new one"),
        ({"b": "Int64"}, 2, {2: {"a": None}}, "maps an old column name to a new one"),
        ({"b": "Int64"}, 2, {2: {"a": "b", "c": "b"}}, "two columns the same new name"),
        ({"b": "Int64"}, 2, {"a": "b"}, "renamed maps a schema version to the columns"),
        ({"b": "Int64"}, 3, {2: {"a": "x"}, 3: {"x": "y"}}, "no column 'y'"),
    ],
)
def test_renames_that_cannot_be_are_refused(columns, version, renamed, message):
    with pytest.raises(InputError, match=message):
        Schema(columns, version=version, renamed=renamed)


def test_a_provider_says_who_it_is_where_it_refuses():
    provider = Provider("p", NEW, KEY, distribution="titans-p", version="2.0")
    with pytest.raises(ProviderMismatchError, match=r"provider 'p' \(titans-p 2\.0\)"):
        provider.evolution(Schema({"gone": "Int64"}))
    assert provider.as_of(None) is provider
    assert provider.as_of(OLD).value_columns == ["n", "price", "score"]
