"""Keys are built in one way, and only keys built so are believed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titans.errors import InputError, InvalidKeyError
from titans.layout import PathLayout, Paths, WarmName
from titans.slots import Month, Slot

PATHS = Paths("aws", PathLayout())


@pytest.mark.parametrize("prefix", ["test/x", "iceberg/x", "iceberg"])
def test_a_prefix_that_titans_uses_itself_is_refused(prefix):
    with pytest.raises(InputError, match="neither 'test' nor 'iceberg'"):
        PathLayout(hot=prefix)


def test_the_paths_are_those_of_the_original():
    slot = Slot.of(datetime(2026, 1, 23, 14, 23, tzinfo=UTC))
    assert PATHS.hot_key(slot) == "parquet_cp_hot/aws/2026/01/23/14-20.parquet"
    assert PATHS.manifest_key(slot.month) == "parquet_warm/aws/m8/2026/01/manifest.json"
    assert Paths.merged_name(1, 1, 0, 7) == "L1_0001_00000-00007.parquet"


def test_the_environment_is_read_when_asked_for(monkeypatch):
    monkeypatch.setenv("TITANS_ENV", "test")
    assert Paths.of("aws", PathLayout()).hot_prefix == "test/parquet_cp_hot/aws"
    monkeypatch.setenv("TITANS_ENV", "production")
    assert Paths.of("aws", PathLayout()).hot_prefix == "parquet_cp_hot/aws"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)), st.sampled_from([1, 10, 60]))
def test_a_hot_key_tells_its_slot(naive, minutes):
    paths = Paths("aws", PathLayout(slot_minutes=minutes))
    slot = Slot.of(naive.replace(tzinfo=UTC), minutes)
    assert paths.parse_hot_key(paths.hot_key(slot)) == slot


@pytest.mark.parametrize(
    "key",
    [
        "parquet_cp_hot/azure/2026/01/23/14-20.parquet",
        "test/parquet_cp_hot/aws/2026/01/23/14-20.parquet",
        "parquet_cp_hot/aws/2026/01/23/14-25.parquet",
        "parquet_cp_hot/aws/2026/02/30/14-20.parquet",
        "parquet_cp_hot/aws/2026/13/01/14-20.parquet",
        "parquet_cp_hot/aws/2026/01/00/14-20.parquet",
        "parquet_cp_hot/aws/2026/01/23/24-00.parquet",
        "parquet_cp_hot/aws/../aws/2026/01/23/14-20.parquet",
        "parquet_cp_hot/aws/2026/01/23/14-20.parquet\n",
        "parquet_cp_hot/aws2026/01/23/14-20.parquet",
        "2026/01/23/14-20.parquet",
        "",
    ],
)
def test_a_key_nobody_here_would_write_is_refused(key):
    with pytest.raises(InvalidKeyError, match="not a hot key") as caught:
        PATHS.parse_hot_key(key)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("L1_0001_00000-00007.parquet", 1),
        ("L12_12345_00000-04463.parquet", 12),
        ("C_00012_0123456789abcdef.parquet", 0),
    ],
)
def test_warm_names_tell_their_level(name, level):
    assert WarmName.parse(name).level == level


@pytest.mark.parametrize(
    "file",
    [
        "L0_0001_00000-00007.parquet",
        "L1_1_0-7.parquet",
        "../L1_0001_00000-00007.parquet",
        "x/L1_0001_00000-00007.parquet",
        "manifest.json",
        "parquet_cp_hot/aws/2026/02/01/00-00.parquet",
        "parquet_cp_hot/gcp/2026/01/01/00-00.parquet",
        "C_00012_XYZ.parquet",
    ],
)
def test_a_file_that_cannot_belong_to_the_month_is_refused(file):
    with pytest.raises(InvalidKeyError):
        PATHS.file_key(Month(2026, 1), file)


def test_files_of_the_month_are_found():
    month = Month(2026, 1)
    assert (
        PATHS.file_key(month, "L1_0001_00000-00007.parquet")
        == "parquet_warm/aws/m8/2026/01/L1_0001_00000-00007.parquet"
    )
    hot = "parquet_cp_hot/aws/2026/01/01/00-00.parquet"
    assert PATHS.file_key(month, hot) == hot
    assert PATHS.parse_manifest_key(PATHS.manifest_key(month)) == month
    assert PATHS.parse_manifest_key("parquet_warm/aws/m8/2026/13/manifest.json") is None


@pytest.mark.parametrize(
    "layout",
    [
        {"hot": "../x"},
        {"hot": "/x"},
        {"hot": "a//b"},
        {"hot": ""},
        {"hot": "test/{provider}"},
        {"hot": "same/{provider}", "warm": "same/{provider}"},
        {"hot": "a/{provider}", "warm": "a/{provider}/warm"},
        {"slot_minutes": 7},
        {"slot_minutes": 0},
        {"slot_minutes": 10.0},
    ],
)
def test_a_layout_that_could_mix_things_up_is_refused(layout):
    with pytest.raises(InputError):
        PathLayout(**layout)
