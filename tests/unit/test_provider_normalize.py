"""What the three provider packages make of the frames that collectors deliver."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from titans import plugins
from titans.provider_tools import drop_sentinel

NAMES = ("aws", "azure", "gcp")
NAN = float("nan")

EXPECTED = {
    "aws": (
        ["InstanceType", "Region", "AZ"],
        {
            "SPS": pl.Int64,
            "T3": pl.Int64,
            "T2": pl.Int64,
            "IF": pl.Float64,
            "OndemandPrice": pl.Float64,
            "SpotPrice": pl.Float64,
            "Savings": pl.Int64,
        },
        "SPS",
    ),
    "azure": (
        ["InstanceType", "Region", "AvailabilityZone"],
        {
            "DesiredCount": pl.Float64,
            "Score": pl.Int64,
            "T3": pl.Int64,
            "T2": pl.Int64,
            "IF": pl.Float64,
            "OndemandPrice": pl.Float64,
            "SpotPrice": pl.Float64,
            "Savings": pl.Float64,
        },
        "Score",
    ),
    "gcp": (
        ["InstanceType", "Region"],
        {
            "Score": pl.Float64,
            "OndemandPrice": pl.Float64,
            "SpotPrice": pl.Float64,
            "Savings": pl.Float64,
        },
        "Score",
    ),
}


def normalize(name, frame):
    return plugins.load(name).normalize(
        frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)
    )


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_those_of_the_table(name):
    key, values, score = EXPECTED[name]
    provider = plugins.load(name)
    assert provider.pk_columns == key
    assert provider.schema.value_dtypes() == values
    assert provider.value_columns == list(values)
    assert provider.score_column == score
    assert provider.schema.unobserved == dict.fromkeys(set(values) - {"Savings"}, -1)


# --- Savings --------------------------------------------------------------------------------------

PRICES = [
    (1.0, 0.5, True),
    (1.0, None, False),
    (None, 1.0, False),
    (NAN, 1.0, False),
    (1.0, NAN, False),
    (-1, 1.0, False),
    (1.0, -1, False),
    (0.0, 0.0, True),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("ondemand", "spot", "stays"), PRICES)
def test_a_saving_of_minus_one_is_unobserved_only_where_a_price_is(name, ondemand, spot, stays):
    frame = pl.DataFrame(
        {"Savings": [-1, 7, None], "OndemandPrice": [ondemand] * 3, "SpotPrice": [spot] * 3},
        strict=False,
    )
    assert normalize(name, frame)["Savings"].to_list() == [-1 if stays else None, 7, None]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "absent", [["OndemandPrice"], ["SpotPrice"], ["OndemandPrice", "SpotPrice"]]
)
def test_a_price_without_a_column_is_unobserved(name, absent):
    frame = pl.DataFrame(
        {"Savings": [-1, 7], "OndemandPrice": [1.0, 1.0], "SpotPrice": [1.01, 0.5]}
    ).drop(absent)
    normalized = normalize(name, frame)
    assert normalized["Savings"].to_list() == [None, 7]
    assert not set(absent) & set(normalized.columns)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "dtype",
    [
        pl.Int8,
        pl.Int32,
        pl.Int64,
        pl.Float32,
        pl.Float64,
        pl.Decimal(10, 2),
        pl.String,
        pl.Categorical,
    ],
)
def test_the_rule_holds_for_any_dtype_and_keeps_it(name, dtype):
    numbers = pl.DataFrame(
        {"Savings": [-1, -1, 7], "OndemandPrice": [1, 1, -1], "SpotPrice": [1, -1, -1]}
    )
    frame = numbers.with_columns(
        pl.all().cast(pl.String).cast(dtype) if dtype == pl.Categorical else pl.all().cast(dtype)
    )
    normalized = normalize(name, frame)
    assert normalized.schema["Savings"] == frame.schema["Savings"]
    assert normalized["Savings"].is_null().to_list() == [False, True, False]


@pytest.mark.parametrize("name", NAMES)
def test_strings_of_numbers_are_read_as_numbers(name):
    frame = {
        "Savings": ["-1.0", " -1 ", "x"],
        "OndemandPrice": ["1.0", "", "1"],
        "SpotPrice": ["1.01", "1", "-1"],
    }
    assert normalize(name, frame)["Savings"].to_list() == ["-1.0", None, "x"]


@pytest.mark.parametrize("name", NAMES)
def test_other_columns_are_left_alone(name):
    frame = pl.DataFrame(
        {"SPS": [-1], "Score": [-1.0], "SpotPrice": [-1], "Extra": ["x"], "Time": ["now"]}
    )
    assert_frame_equal(normalize(name, frame).select(frame.columns), frame)


@pytest.mark.parametrize("name", NAMES)
def test_frames_without_rows_or_columns_stay_empty(name):
    assert normalize(name, pl.DataFrame()).is_empty()
    assert normalize(
        name, pl.DataFrame(schema={"InstanceType": pl.String, "Savings": pl.Int64})
    ).is_empty()


def test_a_column_that_holds_no_numbers_is_left_to_the_core():
    frame = pl.DataFrame({"Savings": [[-1]], "SpotPrice": [1.0]})
    assert drop_sentinel(frame, "Savings", -1, unless=["SpotPrice"]) is frame


# --- Azure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tier", "type_", "name"),
    [
        ("Standard", "D2s_v3", "Standard_D2s_v3"),
        ("Basic", "A0", "Basic_A0"),
        ("Standard", "A0", "Standard_A0"),
        ("Standard", "Standard_D2s_v3", "Standard_D2s_v3"),
        ("Standard", "standard_DC4ds_v3", "standard_DC4ds_v3"),
        ("standard", "Standard_D2", "Standard_D2"),
        ("Basic", "Basic_A1", "Basic_A1"),
        ("Basic", "Standard_A1", "Standard_A1"),
        ("Spare", "Spare_A1", "Spare_A1"),
        (" Standard ", "D2", "Standard_D2"),
        (None, "D2", "D2"),
        ("", "D2", "D2"),
        ("Standard", None, None),
        ("FXmds Type1", "", "FXmds Type1"),
        ("", "", ""),
    ],
)
def test_the_tier_goes_into_the_type_unless_it_is_there(tier, type_, name):
    frame = pl.DataFrame(
        {"InstanceTier": [tier], "InstanceType": [type_]},
        schema_overrides={"InstanceTier": pl.String, "InstanceType": pl.String},
    )
    normalized = normalize("azure", frame)
    assert normalized["InstanceType"].to_list() == [name]
    assert "InstanceTier" not in normalized.columns


def test_without_a_tier_no_tier_is_made_up():
    assert normalize("azure", {"InstanceType": ["D2"]})["InstanceType"].to_list() == ["D2"]


def test_a_tier_without_a_type_is_left_to_the_core():
    assert "InstanceType" not in normalize("azure", {"InstanceTier": ["Basic"]}).columns


@pytest.mark.parametrize("column", ["AZ", "AvailabilityZone"])
@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        (["1", None, "", "  ", "Single"], ["1", "Single", "Single", "Single", "Single"]),
        ([1, None, 3], ["1", "Single", "3"]),
        ([1.0, None, NAN, 3.0], ["1", "Single", "Single", "3"]),
        ([None, None], ["Single", "Single"]),
    ],
)
def test_a_missing_zone_is_single(column, zones, expected):
    normalized = normalize("azure", {"InstanceType": ["a"] * len(zones), column: zones})
    assert normalized["AvailabilityZone"].to_list() == expected
    assert normalized.columns == ["InstanceType", "AvailabilityZone"]


def test_without_a_zone_column_every_zone_is_single():
    assert normalize("azure", {"InstanceType": ["a", "b"]})["AvailabilityZone"].to_list() == [
        "Single",
        "Single",
    ]


def test_with_both_zone_columns_one_fills_the_gaps_of_the_other():
    normalized = normalize("azure", {"AvailabilityZone": ["1", "", None], "AZ": ["9", "2", None]})
    assert normalized["AvailabilityZone"].to_list() == ["1", "2", "Single"]
    assert "AZ" not in normalized.columns


def test_categories_are_read_as_text():
    frame = pl.DataFrame({"InstanceTier": ["Basic"], "InstanceType": ["A0"], "AZ": ["1"]}).cast(
        pl.Categorical
    )
    assert normalize("azure", frame).row(0, named=True) == {
        "InstanceType": "Basic_A0",
        "AvailabilityZone": "1",
    }


# --- laws -----------------------------------------------------------------------------------------

numbers = st.one_of(st.none(), st.sampled_from([-1, -1.0, 0, 1, NAN]), st.floats(-2, 100))
texts = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "",
            " ",
            "A0",
            "D2s_v3",
            "Standard_A0",
            "standard_x",
            "Basic",
            "Standard",
            "1",
            "-1",
            "Single",
        ]
    ),
)
COLUMNS = {
    "InstanceTier": texts,
    "InstanceType": texts,
    "Region": texts,
    "AZ": texts,
    "AvailabilityZone": texts,
    "Savings": numbers,
    "OndemandPrice": numbers,
    "SpotPrice": numbers,
    "Score": numbers,
}


@st.composite
def frames(draw):
    height = draw(st.integers(0, 6))
    names = draw(st.sets(st.sampled_from(sorted(COLUMNS)), min_size=1))
    columns = {}
    for name in sorted(names):
        numeric = COLUMNS[name] is numbers
        values = draw(st.lists(COLUMNS[name], min_size=height, max_size=height))
        series = pl.Series(name, values, pl.Float64 if numeric else pl.String, strict=False)
        columns[name] = series.cast(pl.String) if numeric and draw(st.booleans()) else series
    return pl.DataFrame(columns)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)  # the first example also pays for imports
@given(frame=frames())
def test_normalizing_twice_is_normalizing_once(name, frame):
    once = normalize(name, frame)
    assert_frame_equal(normalize(name, once), once)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)  # the first example also pays for imports
@given(frame=frames(), data=st.data())
def test_rows_do_not_depend_on_each_other(name, frame, data):
    order = data.draw(st.permutations(range(frame.height)))
    assert_frame_equal(normalize(name, frame[order]), normalize(name, frame)[order])
    for row in range(frame.height):
        assert_frame_equal(normalize(name, frame[[row]]), normalize(name, frame)[[row]])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)  # the first example also pays for imports
@given(frame=frames())
def test_only_keys_are_ever_added(name, frame):
    added = set(normalize(name, frame).columns) - set(frame.columns)
    assert added <= ({"AvailabilityZone"} if name == "azure" else set())
    assert normalize(name, frame).height == frame.height
