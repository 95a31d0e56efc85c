"""The frames that the newest public collectors hand over go in as they are, and come out exact."""

from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pytest

import titans

AT = datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
TIME = "2026-01-23 14:20:00"
KEYS = {
    "aws": {"InstanceType": ["a", "b", "c"], "Region": ["r"] * 3, "AZ": ["r-az1"] * 3},
    "azure": {
        "InstanceTier": ["Standard"] * 3,
        "InstanceType": ["a", "b", "c"],
        "Region": ["r"] * 3,
        "AvailabilityZone": ["1", "2", "Single"],
        "SPS_Update_Time": [TIME] * 3,
    },
    "gcp": {"InstanceType": ["a", "b", "c"], "Region": ["r"] * 3},
}
FRACTIONS = {"azure": ("DesiredCount", "Savings", "IF"), "gcp": ("Score", "Savings")}
CASES = [(name, column) for name in FRACTIONS for column in FRACTIONS[name]]


def frame(name, **values):
    """A collector's frame: prices are observed, the rest is whole numbers unless it is given."""
    columns = titans.get_config(name).value_columns
    defaults = {column: [1, 2, 3] for column in columns}
    prices = {"OndemandPrice": [0.096, 0.192, 0.4], "SpotPrice": [0.037, 0.074, 0.4]}
    return pd.DataFrame({"Time": [TIME] * 3} | KEYS[name] | defaults | prices | values)


def uploaded(folder, name, rows):
    """Beside a row that was removed, as the collectors hand it over."""
    removed = rows.head(1).assign(InstanceType="gone", Ceased=True)
    workload = [column for column in KEYS[name] if column != "SPS_Update_Time"]
    both = titans.prepare_for_upload(rows, removed, pk_columns=workload)
    key = titans.upload_hot_tier(both, AT, name, store=folder)
    titans.run_compaction(key, AT, name, store=folder)
    return titans.open(folder, provider=name).latest().sort("InstanceType")


@pytest.mark.parametrize(("name", "column"), CASES)
@pytest.mark.parametrize(
    "numbers",
    [[61.53, 0.6153, 0.0], [61.5312345678, 1e-9, 100.0], [61, 62, 0], [-0.5, -1.5, -100.25]],
    ids=["fractions", "digits", "whole", "negative"],
)
@pytest.mark.parametrize("dtype", [None, "float64", "Float64", "object"])
def test_a_fraction_is_stored_as_it_is(tmp_path, name, column, numbers, dtype):
    rows = frame(name, **{column: pd.Series(numbers, dtype=dtype)})
    latest = uploaded(tmp_path, name, rows)
    assert latest[column].to_list() == numbers
    assert latest.schema[column] == pl.Float64


@pytest.mark.parametrize(("name", "column"), [case for case in CASES if case[1] != "Savings"])
@pytest.mark.parametrize("missing", [-1, -1.0, None, float("nan")])
def test_what_was_not_observed_among_fractions_is_null(tmp_path, name, column, missing):
    latest = uploaded(tmp_path, name, frame(name, **{column: [0.6153, missing, 2.5]}))
    assert latest[column].to_list() == [0.6153, None, 2.5]


@pytest.mark.parametrize("name", sorted(FRACTIONS))
def test_a_saving_of_minus_one_among_fractions_is_null_where_a_price_is_missing(tmp_path, name):
    rows = frame(name, Savings=[-1.0, -1.0, 61.53], SpotPrice=[-1.0, 0.193, 0.1])
    assert uploaded(tmp_path, name, rows)["Savings"].to_list() == [None, -1.0, 61.53]


def test_aws_goes_on_in_whole_percents(tmp_path):
    latest = uploaded(tmp_path, "aws", frame("aws", Savings=[61, -1, 0], SpotPrice=[0.1, -1, 0.4]))
    assert latest["Savings"].to_list() == [61, None, 0]
    assert latest.schema["Savings"] == pl.Int64


@pytest.mark.parametrize("name", sorted(FRACTIONS))
def test_an_ingested_snapshot_of_fractions_comes_back(tmp_path, name):
    archive = titans.open(tmp_path, provider=name)
    first = frame(name, Savings=[61.53, 0.6153, 0.0]).drop(columns="Time")
    assert archive.ingest(first, AT).status == "ingested"
    assert archive.ingest(first, AT.replace(minute=30)).status == "unchanged"
    moved = frame(name, Savings=[61.54, 0.6153, 0.0]).drop(columns="Time")
    assert archive.ingest(moved, AT.replace(minute=40)).changed == 1
    assert archive.latest().sort("InstanceType")["Savings"].to_list() == [61.54, 0.6153, 0.0]
