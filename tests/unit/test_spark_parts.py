"""The parts of titans-spark, without an engine."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import titans
from titans.errors import InputError

pytest.importorskip("titans_spark", reason="titans-spark is not installed")
pytest.importorskip("pyspark", reason="neither pyspark nor pyspark-client is installed")

import pyarrow as pa
from pyspark.sql import datasource as spark

from titans_spark import TitansDataSource
from titans_spark.filters import condition
from titans_spark.options import Options

BEGIN = datetime(2026, 1, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given_to", "says"),
    [
        ({}, "'provider' is missing"),
        ({"since": "2026"}, "unknown option 'since'.*there are store, provider"),
        ({"table": "change"}, "no table 'change'; there are changes, latest"),
        ({"table": "state"}, "needs option 'at'"),
        ({"table": "latest", "at": "2026-01-01"}, "belongs to table 'state'"),
        ({"at": "2026-01-01", "start": "2026-01-01"}, "'start' means nothing for table 'state'"),
        ({"start": "yesterday"}, "start is no time: 'yesterday'"),
        ({"parts": "0"}, "'parts' is a whole number"),
        ({"parts": "many"}, "'parts' is a whole number"),
        ({"corrections": "maybe"}, "'fail' or 'ignore'"),
        ({"store": "a", "path": "b"}, "given twice"),
    ],
)
def test_wrong_options_say_what_is_wrong(given_to, says):
    with pytest.raises(InputError, match=says):
        Options.of(given_to if not given_to else {"provider": "aws", **given_to})


def test_options_are_read_whatever_their_case():
    options = Options.of({"Provider": "aws", "PATH": "here", "At": "2026-01-23T14:20Z"})
    assert (options.store, options.table) == ("here", "state")
    assert options.at == datetime(2026, 1, 23, 14, 20, tzinfo=UTC)


# --- conditions -----------------------------------------------------------------------------------

VALUES = {
    "s": ["", "a", "ab", "b%", "ü", None],
    "i": [-1, 0, 1, 2**63 - 1, None, 7],
    "f": [-0.0, 0.0, 1.5, float("nan"), float("inf"), None],
    "b": [True, False, None, True, False, None],
    "d": [date(1969, 1, 1), date(2026, 1, 1), None, date(2026, 1, 2), None, date(2000, 1, 1)],
    "t": [BEGIN, BEGIN + timedelta(microseconds=1), None, BEGIN, None, BEGIN - timedelta(1)],
}
DTYPES = {
    "s": pl.String(),
    "i": pl.Int64(),
    "f": pl.Float64(),
    "b": pl.Boolean(),
    "d": pl.Date(),
    "t": pl.Datetime("us", "UTC"),
    "m": pl.Decimal(10, 2),
    "y": pl.Binary(),
}


def _rank(value):
    """In Spark's order NaN is the greatest, and equals itself."""
    if isinstance(value, float):
        return (value != value, 0.0 if value != value else value)
    return value.encode() if isinstance(value, str) else value


def _sql(wanted, value):
    """What Spark says: True, False or None."""
    if isinstance(wanted, spark.Not):
        inner = _sql(wanted.child, value)
        return None if inner is None else not inner
    if isinstance(wanted, spark.IsNull):
        return value is None
    if isinstance(wanted, spark.IsNotNull):
        return value is not None
    if isinstance(wanted, spark.EqualNullSafe):
        return value is not None and _rank(value) == _rank(wanted.value)
    if value is None:
        return None
    if isinstance(wanted, spark.In):
        if any(each is not None and _rank(each) == _rank(value) for each in wanted.value):
            return True
        return None if None in wanted.value else False
    match wanted:
        case spark.StringStartsWith():
            return value.startswith(wanted.value)
        case spark.StringEndsWith():
            return value.endswith(wanted.value)
        case spark.StringContains():
            return wanted.value in value
    mine, other = _rank(value), _rank(wanted.value)
    comparisons = {
        spark.EqualTo: mine == other,
        spark.GreaterThan: mine > other,
        spark.GreaterThanOrEqual: mine >= other,
        spark.LessThan: mine < other,
        spark.LessThanOrEqual: mine <= other,
    }
    return comparisons[type(wanted)]


@st.composite
def conditions(draw):
    name = draw(st.sampled_from(sorted(VALUES)))
    known = [value for value in VALUES[name] if value is not None]
    kinds = [spark.EqualTo, spark.EqualNullSafe, spark.GreaterThan, spark.GreaterThanOrEqual]
    kinds += [spark.LessThan, spark.LessThanOrEqual, spark.IsNull, spark.IsNotNull, spark.In]
    if name == "s":
        kinds += [spark.StringStartsWith, spark.StringEndsWith, spark.StringContains]
    kind = draw(st.sampled_from(kinds))
    if kind in (spark.IsNull, spark.IsNotNull):
        wanted = kind((name,))
    elif kind is spark.In:
        wanted = kind((name,), tuple(draw(st.lists(st.sampled_from(VALUES[name]), min_size=1))))
    else:
        wanted = kind((name,), draw(st.sampled_from(known)))
    return spark.Not(wanted) if draw(st.booleans()) else wanted


@given(conditions())
def test_a_condition_that_is_pushed_says_what_spark_says(wanted):
    expression = condition(wanted, DTYPES)
    if expression is None:
        assert isinstance(wanted, spark.In | spark.Not)  # of nulls
        return
    child = wanted.child if isinstance(wanted, spark.Not) else wanted
    name = child.attribute[0]
    rows = pl.DataFrame({name: pl.Series(VALUES[name], dtype=DTYPES[name])})
    found = rows.with_row_index().filter(expression)["index"].to_list()
    expected = [n for n, value in enumerate(VALUES[name]) if _sql(wanted, value) is True]
    assert found == expected


@pytest.mark.parametrize(
    "wanted",
    [
        spark.EqualTo(("nobody",), 1),
        spark.EqualTo(("s", "inner"), "a"),
        spark.EqualTo(("i",), "1"),
        spark.EqualTo(("i",), True),
        spark.EqualTo(("i",), Decimal(1)),
        spark.EqualTo(("m",), Decimal(1)),
        spark.EqualTo(("y",), b"x"),
        spark.EqualTo(("d",), BEGIN),
        spark.In(("s",), ("a", 1)),
        spark.Not(spark.In(("s",), ("a", None))),
    ],
)
def test_what_may_mean_something_else_is_left_to_spark(wanted):
    assert condition(wanted, DTYPES) is None


# --- by hand --------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    archive = titans.open(tmp_path / "archive", provider="aws")
    for number in (0, 1, 2, 4, 5, 6, 7):
        archive.ingest(snapshot(number), BEGIN + timedelta(minutes=10 * number))
    return archive


def snapshot(number):
    keys = [key for key in range(6) if (key + number) % 4]
    return pl.DataFrame(
        {
            "InstanceType": [f"m{key}" for key in keys],
            "Region": ["r"] * len(keys),
            "AZ": ["z"] * len(keys),
            "SpotPrice": [0.5 * (number // (key + 1)) for key in keys],
        }
    )


ARROW = pa.schema([("InstanceType", pa.string()), ("SpotPrice", pa.float64())])


def read(reader, partitions):
    frames = []
    for partition in partitions:
        task = pickle.loads(pickle.dumps((reader, partition)))
        frames += [pl.DataFrame(pa.Table.from_batches([batch])) for batch in task[0].read(task[1])]
    return pl.concat(frames) if frames else None


def test_filters_that_are_taken_on_are_applied_and_the_others_given_back(archive):
    source = TitansDataSource({"store": archive.store.url, "provider": "aws"})
    reader = source.reader(ARROW)
    left = spark.EqualTo(("SpotPrice",), Decimal("0.5"))
    after = BEGIN + timedelta(minutes=20)
    taken = [
        spark.EqualTo(("InstanceType",), "m3"),
        spark.GreaterThan(("Time",), BEGIN),
        spark.LessThanOrEqual(("Time",), after),
        spark.Not(spark.EqualTo(("Ceased",), True)),
    ]
    assert list(reader.pushFilters([left, *taken])) == [left]
    (partition,) = reader.partitions()
    assert (partition.task.start, partition.task.end) > (BEGIN, after)
    expected = archive.history(
        where=~pl.col("Ceased") & (pl.col("Time") > BEGIN), InstanceType="m3"
    )
    expected = expected.filter(pl.col("Time") <= after)
    found = read(reader, [partition])
    assert (0 if found is None else found.height) == expected.height


def test_an_engine_may_prune_columns(archive):
    reader = TitansDataSource({"store": archive.store.url, "provider": "aws"}).reader(ARROW)
    reader.pruneColumns(pa.schema([("SpotPrice", pa.float64())]))
    partitions = reader.partitions()
    assert all(partition.task.asked.columns == ("SpotPrice",) for partition in partitions)
    assert read(reader, partitions).columns == ["SpotPrice"]


def test_a_range_without_times_reads_nothing(archive):
    reader = TitansDataSource({"store": archive.store.url, "provider": "aws"}).reader(ARROW)
    times = [spark.GreaterThan(("Time",), BEGIN), spark.LessThan(("Time",), BEGIN)]
    assert list(reader.pushFilters(times)) == []
    assert read(reader, reader.partitions()) is None


def test_a_stream_goes_on_where_another_process_stopped(archive):
    options = {"store": archive.store.url, "provider": "aws"}
    whole = pa.schema([("InstanceType", pa.string()), ("Time", pa.timestamp("us", tz="UTC"))])

    def batch(start):
        """By a new reader, from an offset that went through JSON."""
        reader = TitansDataSource(options).streamReader(whole)
        if start is None:
            start = reader.initialOffset()
        end = json.loads(json.dumps(reader.latestOffset(start, None)))
        return read(reader, reader.partitions(start, end)), end

    first, offset = batch(None)
    assert first.height == archive.changes().height
    nothing, offset = batch(offset)
    assert nothing is None or nothing.is_empty()

    archive.ingest(snapshot(3), BEGIN + timedelta(minutes=30))
    archive.ingest(snapshot(8), BEGIN + timedelta(minutes=80))
    archive.compact()
    second, offset = batch(offset)
    told = pl.concat([first, second]).sort("InstanceType", "Time")
    assert told.equals(archive.changes().select("InstanceType", "Time"))

    archive.amend(snapshot(9), BEGIN + timedelta(minutes=10), reason="wrong file")
    with pytest.raises(InputError, match=r"wrong file.*corrections = ignore"):
        batch(offset)
    options["corrections"] = "ignore"
    third, _ = batch(offset)
    assert third is None or third.is_empty()


def test_only_change_points_can_be_streamed(archive):
    source = TitansDataSource({"store": archive.store.url, "provider": "aws", "table": "latest"})
    with pytest.raises(InputError, match="cannot be streamed"):
        source.streamReader(ARROW)


def test_the_old_way_of_asking_for_the_latest_offset_works_too(archive):
    """Spark 4.1 says neither where the batch starts nor how much it may have."""
    reader = TitansDataSource({"store": archive.store.url, "provider": "aws"}).streamReader(ARROW)
    assert reader.latestOffset() == reader.latestOffset(reader.initialOffset(), None)


def test_spark_finds_it_by_the_name_of_a_package():
    import pyspark_titans

    assert pyspark_titans.DefaultSource is TitansDataSource
    assert TitansDataSource.name() == "titans"
