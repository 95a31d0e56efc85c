"""Charts carry their rows, and say what they cannot show; what a notebook shows is text."""

from __future__ import annotations

import json
import sys

import polars as pl
import pytest
from oracle import PROVIDER, at, snapshot

import titans
from titans import Archive
from titans.errors import InputError
from titans.store.memory import MemoryStore


@pytest.fixture
def archive():
    archive = Archive(MemoryStore(), PROVIDER)
    for slot, rows in enumerate(
        (
            {"a": (1, 0.5), "b": (2, 0.5)},
            {"a": (3, 0.5)},
            {"a": (3, 0.5)},
            {"a": (4, 0.5), "b": (5, 1.0)},
        )
    ):
        archive.ingest(snapshot(rows), at(slot), max_ceased=1.0)
    return archive


def rows_of(chart):
    """The rows that a chart carries."""
    spec = json.loads(chart.to_json())
    return spec["datasets"][spec["data"]["name"]]


def points(chart):
    """Key → time and value of each point that a chart draws."""
    drawn: dict[str, list] = {}
    for row in rows_of(chart):
        value = next(row[name] for name in row if name not in ("key", "Time"))
        drawn.setdefault(row["key"], []).append((row["Time"][11:16], value))
    return drawn


def test_a_history_is_a_step_line_with_gaps(archive):
    drawn = points(archive.plot.history("v", end=at(5)))
    assert drawn["a"] == [
        ("22:00", 1), ("22:10", 1), ("22:10", 3), ("22:30", 3), ("22:30", 4), ("22:50", 4),
    ]  # fmt: skip
    assert drawn["b"] == [("22:00", 2), ("22:10", 2), ("22:10", None), ("22:30", 5), ("22:50", 5)]


def test_a_grid_and_the_coverage_are_charts(archive):
    drawn = points(archive.plot.grid("v", at(0), at(3), "10m", k="a"))
    assert drawn == {"a": [("22:00", 1), ("22:10", 3), ("22:20", 3)]}
    values = rows_of(archive.plot.coverage(at(0), at(6)))
    assert [row["status"] for row in values] == ["observed"] * 4 + ["missing"] * 2


def test_more_than_five_thousand_rows_are_drawn(archive):
    chart = archive.plot.grid("v", at(0), at(6000), "10m", k="a")
    assert len(rows_of(chart)) == 6000


def test_an_archive_shows_its_columns_and_asks_nothing(archive, monkeypatch):
    def refused(*_):
        raise AssertionError("the store was asked")

    for name in ("get", "get_range", "list", "head"):
        monkeypatch.setattr(MemoryStore, name, refused)
    shown = archive._repr_html_()
    assert "<script" not in shown
    assert all(name in shown for name in ("k", "v", "w", "Int64", "small"))
    priced = titans.open(MemoryStore(), provider="aws")._repr_html_()
    assert "USD/h" in priced


def test_results_show_themselves(archive):
    done = archive.ingest(snapshot({"a": (9, 0.5), "b": (5, 1.0)}), at(4))
    assert "ingested" in done._repr_html_()
    odd = archive.ingest(snapshot({"<script>": (9, 0.5)}), at(4), max_ceased=1.0)
    assert "&lt;script&gt;" in odd._repr_html_()
    assert "<script>" not in odd._repr_html_()
    report = archive.verify()
    assert "verified" in report._repr_html_()
    archive.store._objects.pop(max(k for k in archive.store._objects if k.endswith(".parquet")))
    assert "failed" in archive.verify()._repr_html_()


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda a: a.plot.history("k"), "'k' is no column of numbers; there are v, w"),
        (lambda a: a.plot.grid("nobody"), "no column of numbers"),
        (lambda a: a.plot.grid("v", at(0), at(60_000), "10m", k="a"), "points"),
        (lambda a: a.plot.coverage(at(0), at(60_000)), "slots"),
    ],
)
def test_what_cannot_be_drawn_is_refused(archive, ask, words):
    with pytest.raises(InputError, match=words):
        ask(archive)


def test_too_many_keys_are_refused():
    archive = Archive(MemoryStore(), PROVIDER)
    archive.ingest(snapshot({f"{n}": (n, 0.5) for n in range(21)}), at(0))
    with pytest.raises(InputError, match="at most 20"):
        archive.plot.history("v")
    assert len(points(archive.plot.history("v", k=["1", "2"], end=at(2)))) == 2


def test_without_altair_it_is_said_what_to_install(archive, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(InputError, match=r"titans-core\[plot\]"):
        archive.plot.history("v")
    assert archive.latest().schema["v"] == pl.Int64
