"""The made-up markets: well formed, and close to the real ones where those are known. The
conformance kit has the rest."""

import itertools
import time

import polars as pl
import pytest

from titans import plugins

NAMES = ("aws", "azure", "gcp")
RATIO = pl.col("SpotPrice") / pl.col("OndemandPrice")
PERCENT = (1 - RATIO) * 100

_days = {}


def day(name):
    """A day of 1,000 keys, made once."""
    if name not in _days:
        _days[name] = list(plugins.load(name).example(seed=11, keys=1000, slots=144))
    return _days[name]


def changed(before, after, key, columns):
    """Share of the keys in both snapshots of which one of `columns` differs."""
    both = before.join(after, on=key, suffix="_after")
    differs = pl.any_horizontal(
        pl.col(column).ne_missing(pl.col(f"{column}_after")) for column in columns
    )
    return both.filter(differs).height / both.height


def shares(name, columns):
    key = plugins.load(name).pk_columns
    return [changed(before, after, key, columns) for before, after in itertools.pairwise(day(name))]


@pytest.mark.parametrize("name", NAMES)
def test_snapshots_have_the_columns_and_dtypes_of_the_schema_and_sorted_unique_keys(name):
    provider = plugins.load(name)
    expected = {**dict.fromkeys(provider.pk_columns, pl.String()), **provider.schema.value_dtypes()}
    for frame in day(name)[::20]:
        assert dict(frame.schema) == expected
        keys = frame.select(provider.pk_columns)
        assert keys.null_count().sum_horizontal().item() == 0
        assert keys.equals(keys.unique(maintain_order=True).sort(provider.pk_columns))


@pytest.mark.parametrize("name", NAMES)
def test_snapshots_are_normal_already(name):
    frame = day(name)[0]
    assert plugins.load(name).normalize(frame).select(frame.columns).equals(frame)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keys", [0, 1, 5, 37])
def test_any_number_of_keys_will_do(name, keys):
    heights = [frame.height for frame in plugins.load(name).example(seed=3, keys=keys, slots=80)]
    assert max(heights) <= keys
    assert min(heights) >= keys * 0.9 - 1


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_ends_somewhere(name):
    (frame,) = plugins.load(name).example(seed=3, keys=10**6, slots=1)
    assert 10_000 < frame.height < 100_000


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_day_is_made_quickly(name):
    start = time.process_time()
    for _ in plugins.load(name).example(seed=3, keys=3000, slots=144):
        pass
    assert time.process_time() - start < 5, "measured: 0.3 s"


@pytest.mark.parametrize("name", NAMES)
def test_keys_appear_vanish_and_return_but_never_many_at_once(name):
    key = plugins.load(name).pk_columns
    seen, before, appeared, vanished, returned = set(), None, 0, 0, 0
    for frame in day(name):
        now = set(frame.select(key).iter_rows())
        if before is not None:
            appeared += len(now - seen)
            vanished += len(before - now)
            returned += len((now - before) & seen)
            assert len(before - now) < 20
        seen |= now
        before = now
    assert appeared
    assert vanished
    assert returned


@pytest.mark.parametrize("name", NAMES)
def test_savings_follow_from_the_prices(name):
    for frame in day(name)[::48]:
        most = 0.5 if name == "aws" else 0.005  # whole percents there, two decimals elsewhere
        error = frame.select((pl.col("Savings") - PERCENT).abs()).to_series()
        assert error.max() <= most + 1e-9
        assert frame["Savings"].is_null().equals(frame.select(PERCENT.is_null()).to_series())
        assert frame.filter(
            (pl.col("SpotPrice") > pl.col("OndemandPrice")) | (pl.col("SpotPrice") <= 0)
        ).is_empty()


@pytest.mark.parametrize(
    ("name", "low", "middle", "high"),
    [
        ("aws", (0.12, 0.2), (0.31, 0.41), (0.46, 0.56)),
        ("azure", (0.18, 0.19), (0.18, 0.19), (0.18, 0.4)),
        ("gcp", (0.1, 0.2), (0.25, 0.35), (0.38, 0.42)),
    ],
)
def test_spot_costs_the_share_of_on_demand_that_it_really_does(name, low, middle, high):
    found = [day(name)[0].select(RATIO.quantile(share)).item() for share in (0.1, 0.5, 0.9)]
    for value, (least, most) in zip(found, (low, middle, high), strict=True):
        assert least < value < most


@pytest.mark.parametrize("name", NAMES)
def test_some_prices_are_missing(name):
    (frame,) = plugins.load(name).example(seed=1, keys=5000, slots=1)
    assert 0 < frame["SpotPrice"].null_count() / frame.height < 0.05
    assert frame["OndemandPrice"].null_count() / frame.height < 0.02


@pytest.mark.parametrize(
    ("name", "score", "wanted"),
    [("aws", "SPS", pl.lit(1)), ("azure", "Score", pl.col("DesiredCount"))],
)
def test_scores_and_their_thresholds_agree(name, score, wanted):
    for frame in day(name)[::48]:
        expected = (
            pl.when(pl.col("T3") >= wanted)
            .then(3)
            .when(pl.col("T2") >= wanted)
            .then(2)
            .otherwise(1)
        )
        assert frame.filter(pl.col(score) != expected).is_empty()
        assert frame.filter(pl.col("T2") < pl.col("T3")).is_empty()
        assert set(frame["IF"]) == {1.0, 1.5, 2.0, 2.5, 3.0}


def test_aws_prices_move_a_little_and_often():
    found = shares("aws", ["SpotPrice"])
    assert 0.025 < sum(found) / len(found) < 0.045
    assert (
        0.4
        < changed(day("aws")[0], day("aws")[22], ["InstanceType", "Region", "AZ"], ["SpotPrice"])
        < 0.62
    )
    assert (
        0.6
        < changed(day("aws")[0], day("aws")[39], ["InstanceType", "Region", "AZ"], ["SpotPrice"])
        < 0.85
    )
    moves = pl.concat(
        before.join(after, on=["InstanceType", "Region", "AZ"], suffix="_after")
        .filter(pl.col("SpotPrice") != pl.col("SpotPrice_after"))
        .select(move=pl.col("SpotPrice_after") / pl.col("SpotPrice") - 1)
        for before, after in itertools.pairwise(day("aws"))
    )
    assert 0.001 < moves["move"].abs().median() < 0.004
    assert 0.55 < (moves["move"] > 0).mean() < 0.65


def test_gcp_is_quiet_between_bursts():
    found = shares("gcp", plugins.load("gcp").value_columns)
    assert sum(share == 0 for share in found) > 100
    assert 0.3 < max(found) < 0.55
    assert sum(share > 0.1 for share in found) <= 2


def test_azure_prices_stay_until_a_region_is_repriced():
    found = shares("azure", ["OndemandPrice", "SpotPrice"])
    assert 1 <= sum(share > 0 for share in found) <= 2
    assert 0.005 < max(found) < 0.2
