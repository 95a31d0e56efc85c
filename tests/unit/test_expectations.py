"""What a provider expects of its source: the values, and what looks truncated by them."""

from datetime import timedelta

import pytest

from titans import Expectations, PathLayout, Provider, Schema
from titans.errors import InputError

SCHEMA = Schema({"v": "Int64"})


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"every": "soon"}, "a duration is written like"),
        ({"every": 600}, "every is a duration"),
        ({"every": "0s"}, "above zero"),
        ({"every": timedelta(minutes=-1)}, "above zero"),
        ({"max_ceased": 1.1}, "between 0 and 1"),
        ({"max_ceased": "half"}, "between 0 and 1"),
        ({"max_ceased": True}, "between 0 and 1"),
        ({"min_living": -1}, "min_living"),
        ({"min_living": 2.5}, "min_living"),
        ({"allow_empty": "yes"}, "allow_empty"),
        ({"accept_after": 0}, "accept_after"),
        ({"accept_after": True}, "accept_after"),
    ],
)
def test_what_cannot_be_expected_is_refused(said, message):
    with pytest.raises(InputError, match=message):
        Expectations(**said)


def test_text_and_timedelta_mean_the_same():
    assert Expectations(every="6h") == Expectations(every=timedelta(hours=6))
    assert hash(Expectations(every="6h")) == hash(Expectations(every=timedelta(hours=6)))


@pytest.mark.parametrize(
    ("living", "missing", "rows", "said", "doubt"),
    [
        (20, 10, 10, {}, ""),
        (20, 11, 9, {}, "11 of 20 living keys are missing, more than max_ceased=0.5"),
        (19, 18, 1, {}, ""),
        (19, 19, 0, {}, "it has no rows"),
        (19, 19, 0, {"allow_empty": True}, ""),
        (500, 500, 0, {"allow_empty": True}, ""),
        (500, 499, 1, {"allow_empty": True}, "499 of 500 living keys are missing"),
        (0, 0, 0, {}, "it has no rows"),
        (3, 2, 1, {"min_living": 2}, "2 of 3 living keys are missing"),
        (100, 1, 99, {"max_ceased": 0}, "1 of 100 living keys are missing, more than max_ceased=0"),
        (100, 100, 0, {"max_ceased": 1}, ""),
    ],
)
def test_what_looks_truncated(living, missing, rows, said, doubt):
    found = Expectations(**said).doubt(living, missing, rows)
    assert found.startswith(doubt) if doubt else found == ""
    assert Expectations(**said).doubt(living, missing, rows, 1.0) == ""


def test_a_source_is_not_looked_at_more_often_than_there_are_slots():
    with pytest.raises(InputError, match="slots of 0:10:00"):
        Provider("p", SCHEMA, ("k",), expectations=Expectations(every="5m"))
    finer = PathLayout(slot_minutes=1)
    provider = Provider("p", SCHEMA, ("k",), finer, expectations=Expectations(every="5m"))
    assert provider.every == timedelta(minutes=5)
    assert Provider("p", SCHEMA, ("k",)).every == timedelta(minutes=10)
