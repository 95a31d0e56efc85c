"""Every moment that a caller may give has an answer or a clear error."""

from datetime import UTC, date, datetime, timedelta, timezone

import pandas as pd
import polars as pl
import pytest

import titans
from titans import Provider, Schema
from titans.errors import InputError, SchemaError, TimestampError
from titans.slots import to_utc

PROVIDER = Provider("p", Schema({"n": "Int64"}), ("k",))
AT = datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
ROWS = pl.DataFrame({"k": ["a", "b"], "n": [1, 2]})
SLOT = timedelta(minutes=10)

EDGES = {
    "max": datetime.max.replace(tzinfo=UTC),
    "min": datetime.min.replace(tzinfo=UTC),
    "max in the west": datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
    "min in the east": datetime.min.replace(tzinfo=timezone(timedelta(hours=9))),
    "year 1": datetime(1, 6, 1, tzinfo=UTC),
    "year 999": datetime(999, 12, 31, tzinfo=UTC),
    "year 1000": datetime(1000, 1, 1, tzinfo=UTC),
    "end of 9998": datetime(9998, 12, 31, 23, 59, 59, 999999, UTC),
    "year 9999": datetime(9999, 1, 1, tzinfo=UTC),
    "nanoseconds": pd.Timestamp("2026-01-23 14:20:00.000000999", tz="UTC"),
    "a pandas zone": pd.Timestamp("2026-01-23 23:20", tz="Asia/Seoul"),
    "beyond Python": pd.Timestamp(2**40, unit="s", tz="UTC"),
    "NaT": pd.NaT,
    "naive": datetime(2026, 1, 23),
    "date": date(2026, 1, 23),
    "text": "2026-01-23",
    "number": 1769178000,
}

READS = {
    "state": lambda archive, at: archive.state(at),
    "keys": lambda archive, at: archive.keys(at),
    "diff from": lambda archive, at: archive.diff(at, AT),
    "diff to": lambda archive, at: archive.diff(AT, at),
    "changes from": lambda archive, at: archive.changes(at),
    "changes to": lambda archive, at: archive.changes(None, at),
    "changes in": lambda archive, at: archive.changes(at, at),
    "history from": lambda archive, at: archive.history(at, k="a"),
    "history to": lambda archive, at: archive.history(None, at, k="a"),
    "history of": lambda archive, at: archive.history(at, keys=ROWS.select("k")),
    "scan": lambda archive, at: archive.scan(at).collect(),
    "scan to": lambda archive, at: archive.scan(None, at).collect(),
    "intervals": lambda archive, at: archive.intervals(at),
    "intervals to": lambda archive, at: archive.intervals(None, at),
    "grid from": lambda archive, at: archive.grid(at),
    "grid to": lambda archive, at: archive.grid(None, at),
    "coverage from": lambda archive, at: archive.coverage(at),
    "coverage to": lambda archive, at: archive.coverage(None, at),
    "files": lambda archive, at: archive.files(at),
    "files to": lambda archive, at: archive.files(None, at),
}


@pytest.fixture(scope="module")
def archive():
    archive = titans.open("memory://", provider=PROVIDER)
    archive.ingest(ROWS, AT)
    archive.ingest(ROWS.with_columns(n=pl.col("n") + 1), AT + SLOT)
    return archive


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("question", READS)
def test_a_question_about_any_moment(archive, question, edge):
    try:
        answer = READS[question](archive, EDGES[edge])
    except InputError as error:
        assert str(error)
        return
    assert isinstance(answer, pl.DataFrame)


@pytest.mark.parametrize("edge", ["max", "end of 9998", "year 9999"])
def test_late_moments_see_the_last_state_and_early_ones_none(archive, edge):
    assert archive.state(EDGES[edge])["n"].to_list() == [2, 3]
    assert archive.changes(None, EDGES[edge]).height == 4
    for early in ("min", "year 1", "year 999"):
        assert archive.state(EDGES[early]).height == 0
        assert archive.changes(EDGES[early], EDGES[edge]).height == 4
        assert archive.intervals(EDGES[early]).height == 4


@pytest.mark.parametrize("edge", EDGES)
def test_a_snapshot_of_any_moment_is_stored_or_nothing_is(edge):
    archive = titans.open("memory://", provider=PROVIDER)
    for write in (archive.ingest, archive.upload):
        try:
            write(ROWS, EDGES[edge])
        except TimestampError:
            assert list(archive.store.list("")) == []
            continue
        assert archive.latest()["n"].to_list() == [1, 2]
        assert archive.verify(deep=True).passed


@pytest.mark.parametrize("edge", ["nanoseconds", "a pandas zone"])
def test_a_pandas_timestamp_is_a_plain_datetime(edge):
    archive = titans.open("memory://", provider=PROVIDER)
    result = archive.ingest(ROWS, EDGES[edge])
    assert type(result.timestamp) is datetime
    assert result.timestamp == AT
    assert archive.latest().height == 2
    again = archive.ingest(ROWS, pd.Timestamp(AT + SLOT) + pd.Timedelta(1, "ns"))
    assert again.status == "unchanged"
    assert titans.open(archive.store, provider=PROVIDER).latest().equals(archive.latest())


def test_what_comes_out_is_plain():
    for edge in ("nanoseconds", "a pandas zone"):
        assert type(to_utc(EDGES[edge])) is datetime
        assert to_utc(EDGES[edge]) == AT
    assert to_utc(AT) is AT
    for edge in ("NaT", "naive", "date", "text", "number", "max in the west", "min in the east"):
        with pytest.raises(TimestampError, match="timestamp"):
            to_utc(EDGES[edge])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Seoul"])
def test_a_time_column_is_truncated_to_microseconds(unit, zone):
    time = pd.Timestamp("2026-01-23 14:20:00.000000999", tz="UTC")
    times = pd.Series([time, time]).dt.as_unit(unit)
    times = times.dt.tz_convert(zone) if zone else times.dt.tz_localize(None)
    archive = titans.open("memory://", provider=PROVIDER)
    archive.upload(pd.DataFrame({"k": ["a", "b"], "n": [1, 2], "Time": times}), AT)
    assert archive.changes()["Time"].to_list() == [AT, AT]


@pytest.mark.parametrize(
    "times",
    [
        pl.Series([2**55]).cast(pl.Datetime("ms")),
        pl.Series([-(2**55)]).cast(pl.Datetime("ms", "UTC")),
        pl.Series([2**62]).cast(pl.Datetime("us", "UTC")),
        pl.Series([datetime(9999, 12, 31)]),
        pl.Series([datetime(1, 1, 1)]),
        pl.Series([date(2026, 1, 23)]),
        pl.Series(["2026-01-23"]),
        pl.Series(["tomorrow"]),
        pl.Series([1769178000]),
        pl.Series([AT.time()]),
        pl.Series([None]),
    ],
)
def test_a_time_that_is_none_or_lies_elsewhere_is_refused(times):
    archive = titans.open("memory://", provider=PROVIDER)
    frame = pl.DataFrame({"k": ["a"], "n": [1], "Time": times})
    with pytest.raises((SchemaError, TimestampError), match="Time"):
        archive.upload(frame, AT)
    assert list(archive.store.list("")) == []
