"""docs/cookbook.md: its blocks run, and say what is true of the data."""

import shlex
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from readme_blocks import blocks

from titans.cli.app import run

PAGE = Path(__file__).resolve().parents[2] / "docs/cookbook.md"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the Python blocks define, after the commands before them."""
    folder = tmp_path_factory.mktemp("cookbook")
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("titans.cli.read._quiet", lambda: None)
        for block in blocks(PAGE):
            if block.language == "python":
                exec(compile("\n" * (block.line - 1) + block.text, str(PAGE), "exec"), names)
            elif block.language == "shell":
                for line in block.text.splitlines():
                    with pytest.raises(SystemExit) as ended:
                        run(shlex.split(line)[1:])
                    assert ended.value.code == 0, line
    return names | {"folder": folder}


def test_a_family(names):
    assert names["family"]["InstanceType"].str.starts_with("i4i.").all()
    assert names["pools"]["changes"].sum() == names["family"].height > 0


def test_a_panel(names):
    panel = names["panel"]
    assert panel["Time"].n_unique() == 24
    assert names["wide"].height == 24
    assert names["frame"].shape == (24, panel.select("InstanceType", "AZ").n_unique())


def test_availability(names):
    shares = names["availability"]
    assert shares["there"].is_between(0, 1).all()
    assert (shares["good"] <= shares["there"]).all()
    one = shares.row(0, named=True)
    key = {name: one[name] for name in names["aws"].provider.key}
    minutes = names["aws"].grid(names["start"], names["end"], every="10m", columns=["SPS"], **key)
    assert minutes.filter(SPS=3).height / 144 == pytest.approx(one["good"], abs=0.02)
    assert shares["there"].max() == 1


def test_volatile_pools(names):
    first = names["volatile"].row(0, named=True)
    key = {name: first[name] for name in names["aws"].provider.key}
    prices = names["prices"].filter(**key)["SpotPrice"]
    assert first["spread"] == pytest.approx((prices.max() - prices.min()) / first["mean"])
    assert prices.min() <= first["mean"] <= prices.max()


def test_differences_joins_and_files(names):
    more_expensive = names["more_expensive"]
    assert (more_expensive["SpotPrice_new"] > more_expensive["SpotPrice_old"]).all()
    assert set(names["cheapest"]["cloud"]) <= {"aws", "gcp"}
    assert names["cheapest"]["price"].is_sorted()
    rows = names["aws"].changes(names["start"], names["end"]).height
    assert pl.read_parquet(names["folder"] / "day.parquet").height == rows
    assert set(pl.read_csv(names["folder"] / "region.csv")["Region"]) == {"us-east-1"}
    assert pl.read_parquet(names["folder"] / "panel.parquet").height == names["panel"].height


def test_the_chart_has_the_three(names):
    assert names["chart"].to_dict()["data"]
    assert names["volatile"].height == 10
    assert names["whole"] == timedelta(days=1)
