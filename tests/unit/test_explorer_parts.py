"""The parts of the explorer that are functions: lines with few points, selectors, conditions, what is
kept."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("titans_explorer", reason="titans-explorer is not installed")

from titans.errors import InputError
from titans_explorer.assets import PAGE
from titans_explorer.encode import as_file, rows
from titans_explorer.kept import Kept
from titans_explorer.selectors import Selector, written
from titans_explorer.thinning import thinned

START = datetime(2026, 1, 1, tzinfo=UTC)
values = st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0]))


def line(found):
    times = [START + timedelta(seconds=13 * n * (1 + n % 3)) for n in range(len(found))]
    frame = pl.DataFrame(
        {"t": times, "v": found}, schema={"t": pl.Datetime("us", "UTC"), "v": pl.Float64}
    )
    return frame.sort("t")


@given(st.lists(values, max_size=300), st.integers(10, 60))
def test_a_thinned_line_has_few_points_and_keeps_ends_extremes_and_gaps(found, limit):
    whole = line(found)
    thin = thinned(whole, limit)
    assert thin.height <= max(limit, 1)
    assert thin["t"].is_sorted()
    assert thin.join(whole, on=["t", "v"], how="anti", nulls_equal=True).is_empty()
    if whole.height:
        assert thin.row(0) == whole.row(0)
        assert thin.row(-1) == whole.row(-1)
    assert thin["v"].max() == whole["v"].max()
    assert thin["v"].min() == whole["v"].min()
    assert (thin["v"].null_count() > 0) == (whole["v"].null_count() > 0)


def test_a_spike_of_one_point_among_a_million_stays():
    count = 1_000_000
    v = pl.select(pl.int_range(count).cast(pl.Float64) % 7).to_series().to_list()
    v[654_321] = 1000.0
    t = pl.select(pl.lit(START) + pl.duration(seconds=pl.int_range(count))).to_series()
    thin = thinned(pl.DataFrame({"t": t.cast(pl.Datetime("us", "UTC")), "v": v}), 5000)
    assert thin.height <= 5000
    assert 1000.0 in thin["v"]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_a_key_is_read_as_it_was_written(found):
    names = [f"c{n}" for n in range(len(found))]
    selector = Selector.parse(written(found), names)
    assert not selector.is_group
    assert list(selector.as_key(names).values()) == found


def test_a_group_has_prefixes_and_anything():
    frame = pl.DataFrame({"a": ["m5.x", "m5.y", "m50"], "b": ["r", "s", "r"]})
    selector = Selector.parse("m5.*|r", ["a", "b"])
    assert selector.is_group
    condition = selector.condition(["a", "b"])
    assert frame.filter(condition.expr)["a"].to_list() == ["m5.x"]
    assert frame.filter(eval(condition.code, {"pl": pl}))["a"].to_list() == ["m5.x"]
    assert Selector.parse("*|*", ["a", "b"]).condition(["a", "b"]) is None


@pytest.mark.parametrize("wrong", ["a", "a|b|c", "a*b|c", "**|c", "a|b\\"])
def test_what_is_no_selector_is_refused(wrong):
    with pytest.raises(InputError):
        Selector.parse(wrong, ["a", "b"])


def test_what_json_cannot_hold_exactly_is_text():
    frame = pl.DataFrame(
        {
            "big": [2**60, 1],
            "float": [float("nan"), 0.1],
            "bytes": [b"\x00\xff", None],
            "time": [datetime(2026, 1, 1, 2, 3, 4, 500, tzinfo=UTC), START],
            "list": [[1, 2], None],
        }
    )
    assert rows(frame) == [
        (str(2**60), "nan", "00ff", "2026-01-01T02:03:04.000500Z", "[1, 2]"),
        ("1", 0.1, None, "2026-01-01T00:00:00Z", None),
    ]
    assert as_file(frame, "csv").startswith(b"big,float,bytes,time,list\n")


def test_what_is_kept_is_bounded_and_made_once():
    kept = Kept(100_000)
    made = []
    for number in [1, 1, 2, 3, 4, 5, 6, 1]:
        kept.get(number, lambda number=number: made.append(number))
    assert made == [1, 2, 3, 4, 5, 6, 1]  # 1 was the oldest when 6 came
    assert kept.bytes <= 100_000
    huge = pl.DataFrame({"x": range(50_000)})
    kept.get("huge", lambda: huge)
    assert kept.bytes <= 100_000


def test_two_that_ask_at_once_wait_for_one_answer():
    kept, made, gate = Kept(10**6), [], threading.Event()

    def make():
        made.append(1)
        gate.wait(5)
        return "answer"

    threads = [threading.Thread(target=kept.get, args=("q", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_failure_is_not_kept():
    kept = Kept(10**6)
    with pytest.raises(ZeroDivisionError):
        kept.get("q", lambda: 1 / 0)
    assert kept.get("q", lambda: "now") == "now"


def test_the_page_says_the_same_in_english_and_korean():
    text = (PAGE / "js/i18n.js").read_text()
    english, korean = (
        dict(re.findall(r'(\w+): "((?:[^"\\]|\\.)*)"', part))
        for part in re.findall(r"const (?:EN|KO) = \{(.*?)\n\};", text, re.DOTALL)
    )
    assert english.keys() == korean.keys()
    for name, said in english.items():
        assert set(re.findall(r"\{\w+\}", said)) == set(re.findall(r"\{\w+\}", korean[name])), name
    used = set()
    for file in PAGE.rglob("*.js"):
        used |= set(re.findall(r'\b(?:t|say)\("(\w+)"', file.read_text()))
    assert used <= english.keys()
