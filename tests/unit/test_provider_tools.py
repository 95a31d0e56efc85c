"""The parts that example data is made of."""

from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titans.provider_tools import Presence, chosen, draw, made_up
from titans.schema import DTYPES, Schema

QUANTILES = ((0, 1.0), (0.5, 2.0), (1, 10.0))


def test_draws_follow_the_quantiles():
    random = Random(1)
    drawn = sorted(draw(random, QUANTILES) for _ in range(10_000))
    assert drawn[0] >= 1
    assert drawn[-1] <= 10
    assert 1.9 < drawn[5_000] < 2.2
    assert 5.5 < drawn[7_500] < 6.5


@settings(deadline=None)  # the first example also pays for imports
@given(count=st.integers(0, 200), share=st.floats(0, 1), seed=st.integers())
def test_chosen_indexes_rise_and_lie_in_range(count, share, seed):
    found = list(chosen(Random(seed), count, share))
    assert found == sorted(set(found))
    assert all(0 <= index < count for index in found)
    if share in (0, 1):
        assert len(found) == count * share


@pytest.mark.parametrize("share", [0.001, 0.1, 0.7])
def test_each_index_is_chosen_with_the_same_probability(share):
    random = Random(2)
    found = list(chosen(random, 200_000, share))
    assert abs(len(found) / 200_000 - share) < 0.01 * share**0.5
    assert abs(sum(found) / len(found) - 100_000) < 15_000


def test_never_more_than_a_tenth_is_away():
    presence = Presence(Random(3), 100, late=1, vanish=0.9, wait=5)
    frame = pl.DataFrame({"key": range(100)})
    heights = set()
    for _ in range(50):
        heights.add(presence.there(frame).height)
        presence.step()
    assert min(heights) == 90


def test_what_is_away_returns():
    presence = Presence(Random(3), 100, late=1, vanish=0, wait=5)
    frame = pl.DataFrame({"key": range(100)})
    assert presence.there(frame).height == 90
    for _ in range(100):
        presence.step()
    assert presence.there(frame).equals(frame)


ALL_DTYPES = Schema(
    {dtype: dtype for dtype in DTYPES} | {"Decimal": "Decimal(9, 3)"}, unobserved={"Int64": -1}
)


@pytest.mark.parametrize("keys", [0, 1, 7, 100])
def test_made_up_snapshots_fit_any_schema_and_have_every_key_once(keys):
    key = ("Type", "Region", "Zone")
    frames = list(made_up(ALL_DTYPES, key, seed=1, keys=keys, slots=30))
    assert len(frames) == 30
    for frame in frames:
        assert dict(frame.schema) == {
            **dict.fromkeys(key, pl.String()),
            **ALL_DTYPES.value_dtypes(),
        }
        assert keys * 0.9 - 1 <= frame.height <= keys
        assert not frame.select(key).is_duplicated().any()
        assert frame.select(pl.col(key).null_count()).sum_horizontal().item() == 0
    assert keys < 7 or len({repr(frame.rows()) for frame in frames}) > 1


def test_made_up_values_are_sometimes_not_observed():
    (frame,) = made_up(ALL_DTYPES, ("k",), seed=1, keys=500, slots=1)
    assert 0 < frame["Float64"].null_count() < 50
    assert frame["Int64"].null_count() == 0
    assert 0 < (frame["Int64"] == -1).sum() < 50
