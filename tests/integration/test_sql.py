"""What SQL gives back is what DuckDB means, or it is refused with a sentence."""

from __future__ import annotations

import itertools
import os
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from oracle import PROVIDER, at, snapshot
from polars.testing import assert_frame_equal

from titans import Archive
from titans.errors import CorruptFileError, InputError
from titans.read.sql import ask
from titans.read.sql_answer import to_frame
from titans.read.sql_tables import Tables
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore


@pytest.fixture(scope="module")
def archive():
    archive = Archive(MemoryStore(), PROVIDER)
    archive.ingest(snapshot({"a": (1, 0.5), "b": (2, 0.5)}), at(0))
    archive.ingest(snapshot({"a": (3, 0.5), "b": (2, 0.5)}), at(2, minutes=3.5))
    return archive


# --- types ----------------------------------------------------------------------------------------

VALUES = {
    "bigint": ["'-9223372036854775808'", "7", "null"],
    "bignum": ["'123456789012345678901234567890123456789012345'"],
    "bit": ["'101'"],
    "blob": [r"'\xAA\x00'"],
    "boolean": ["true", "null"],
    "date": [
        "'2026-01-31'",
        "'0001-01-01'",
        "'9999-12-31'",
        "'infinity'",
        "'-infinity'",
        "'290309-12-22 (BC)'",
        "'12000-01-01'",
        "null",
    ],
    "decimal": ["-1.5", "null"],
    "decimal(38,0)": ["99999999999999999999999999999999999999"],
    "decimal(38,10)": ["-1234567890123456789012345678.0123456789"],
    "double": ["1.5", "-0.0"],
    "enum('x', 'y')": ["'y'", "null"],
    "float": ["0.25", "'infinity'"],
    "geometry": ["'POINT(1 2)'"],
    "hugeint": [
        "5",
        "'-170141183460469231731687303715884105728'",
        "170141183460469231731687303715884105727",
        "99999999999999999999999999999999999999",
        "100000000000000000000000000000000000000",
        "null",
    ],
    "integer": ["-7", "null"],
    "interval": ["'1 day'", "'-1.5 hours'", "'1 month'", "'1 year -12 months 3 days'", "null"],
    "json": ["""'{"a": [1, null]}'""", "null"],
    "smallint": ["-7"],
    "time": ["'12:00:00.000001'", "'24:00:00'", "null"],
    "time_ns": ["'12:00:00.000001'", "'24:00:00'"],
    "time with time zone": ["'12:00:00+02'", "'12:00:00+00'"],
    "timestamp": [
        "'2026-01-31 12:00:00.000001'",
        "'0001-01-01'",
        "'9999-12-31 23:59:59.999999'",
        "'infinity'",
        "'-infinity'",
        "'10000-01-01'",
        "'0044-03-15 (BC)'",
        "null",
    ],
    "timestamp_ms": ["'2026-01-31 12:00:00.001'", "'infinity'", "'-infinity'", "'12000-01-01'"],
    "timestamp_ns": ["'2026-01-31 12:00:00.000001'", "'infinity'", "'-infinity'"],
    "timestamp_s": ["'2026-01-31 12:00:01'", "'infinity'", "'-infinity'"],
    "timestamp with time zone": [
        "'2026-01-31 12:00:00+05'",
        "'infinity'",
        "'-infinity'",
        "'10000-01-01'",
        "null",
    ],
    "timestamptz_ns": ["'2026-01-31 12:00:00.000001+05'", "'infinity'", "'-infinity'"],
    "tinyint": ["-7"],
    "ubigint": ["18446744073709551615"],
    "uhugeint": [
        "5",
        "340282366920938463463374607431768211455",
        "170141183460469231731687303715884105728",
        "100000000000000000000000000000000000000",
    ],
    "uinteger": ["7"],
    "union(n integer, t varchar)": ["7", "'x'"],
    "usmallint": ["7"],
    "utinyint": ["7"],
    "uuid": ["'123e4567-e89b-12d3-a456-426614174000'", "null"],
    "varchar": ["'x'", "'é\"'", "null"],
    "variant": ["7", "null"],
}
"""Type → values of it, ordinary and extreme."""

AROUND = [
    "{}",
    "[{}, null]",
    "[[{}], []]",
    "{{'f': {}, 'g': 1}}",
    "map{{'m': {}}}",
    "[{{'f': [{}]}}]",
    "array_value({})",
    "row({})",
    "(select {} limit 0)",
]
"""Where a value may stand."""

NESTING = {"list", "struct", "map", "array", "tuple", "union", "enum", "row"}


def plain(value):
    """A value of DuckDB's or of polars', so that they can be compared."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, Decimal):
        return value if value.as_tuple().exponent else int(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def without_names(value):
    """Members of a row have no names in DuckDB."""
    if isinstance(value, dict):
        return [without_names(item) for item in value.values()]
    return value


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(":memory:") as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


@pytest.mark.parametrize("dtype", VALUES)
def test_a_value_of_any_type_comes_back_or_is_refused_with_a_sentence(connection, capfd, dtype):
    for value, around in itertools.product(VALUES[dtype], AROUND):
        query = f"select {around.format(f'{value}::{dtype}')} as x"
        try:
            (got,) = to_frame(connection.sql(query).materialize())["x"].to_list()
        except InputError as error:
            assert re.search(r"column 'x' .*cast it", str(error)), error
        else:
            ((expected,),) = connection.execute(query).fetchall()
            if around.startswith("row"):
                got, expected = without_names(got), list(expected)
            assert plain(got) == plain(expected), query
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("date", "'2026-01-31'"),
        ("hugeint", "5"),
        ("timestamp", "'2026-01-31 12:00:00'"),
        ("timestamp with time zone", "'2026-01-31 12:00:00+05'"),
        ("decimal(38,10)", "1"),
        ("enum('x', 'y')", "'y'"),
        ("json", "'[]'"),
        ("uuid", "'123e4567-e89b-12d3-a456-426614174000'"),
    ],
)
def test_ordinary_values_are_never_refused(connection, dtype, value):
    for around in AROUND:
        relation = connection.sql(f"select {around.format(f'{value}::{dtype}')} as x")
        assert to_frame(relation.materialize()).height == 1


def test_every_type_of_duckdb_is_tried(connection):
    rows = connection.execute("select distinct lower(logical_type) from duckdb_types()")
    types = {name for (name,) in rows.fetchall()}
    tried = set()
    for dtype in VALUES:
        ((name,),) = connection.execute(f"select lower(typeof(null::{dtype}))").fetchall()
        tried.add(name.partition("(")[0])
    assert types - tried - NESTING - {"null", '"null"', "integer literal", "type"} == set()


def test_the_time_between_two_times_is_a_duration(archive):
    found = archive.sql(
        "select k, valid_to - valid_from as held, v from intervals order by k, valid_from"
    )
    assert found.columns == ["k", "held", "v"]
    assert found["held"].to_list() == [timedelta(minutes=23.5), None, None]
    assert found.schema["held"] == pl.Duration("us")


def test_deeply_nested_answers_are_refused(archive):
    with pytest.raises(InputError, match="nested more than"):
        archive.sql("select " + "[" * 100 + "1" + "]" * 100 + " as x")


# --- times ----------------------------------------------------------------------------------------

SECOND = "2026-01-31T22:23:30"
SAME = [
    f"'{SECOND}'",
    f"'{SECOND}Z'",
    f"'{SECOND}.000000+00'",
    "'2026-01-31T23:23:30+01:00'",
    "'2026-01-31 23:23:30+01'",
    "'2026-01-31 16:53:30-05:30'",
    "'2026-02-01 07:23:30 Asia/Seoul'",
    f"TIMESTAMP '{SECOND}'",
    f"'{SECOND}Z'::timestamp",
    "TIMESTAMPTZ '2026-01-31T23:23:30+01:00'",
    "'2026-01-31T23:23:30+01:00'::timestamptz",
    "cast('2026-01-31T16:53:30-0530' as timestamp with time zone)",
    "make_timestamp(2026, 1, 31, 22, 23, 30)",
    "timezone('Asia/Seoul', TIMESTAMP '2026-02-01 07:23:30')",
]
QUESTIONS = [
    "count(*) from changes where Time = {}",
    "count(*) from changes where Time in ({})",
    "count(*) from changes where Time between {0} and {0}",
    "count(*) from intervals where valid_from = {}",
    "count(*) from latest where Time >= {}",
]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul", "America/St_Johns"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_times_in_conditions_mean_what_they_say(archive, monkeypatch, zone, question):
    monkeypatch.setenv("TZ", zone)
    columns = [f"(select {question.format(text)})" for text in SAME]
    counts = archive.sql(f"select {', '.join(columns)}").row(0)
    assert dict(zip(SAME, counts, strict=True)) == dict.fromkeys(SAME, 1)


@pytest.mark.parametrize("dtype", ["timestamp", "datetime", "timestamp_s", "timestamp_ns"])
@pytest.mark.parametrize("offset", ["+01:00", "+01", "-0530", " Asia/Seoul"])
def test_a_time_that_would_lose_its_offset_is_refused(archive, dtype, offset):
    with pytest.raises(InputError, match="leave its offset out; write TIMESTAMPTZ"):
        archive.sql(f"select count(*) from changes where Time = '{SECOND}{offset}'::{dtype}")


@pytest.mark.parametrize(
    "text",
    [
        SECOND,
        f"{SECOND}Z",
        f" {SECOND}z ",
        f"{SECOND}.5Z",
        f"{SECOND}.500000",
        f"{SECOND}.123456789Z",
        "2026-01-31 22:23:30.25",
        "2026-01-31T23:23:30+01:00",
        "2026-01-31 23:23:30+01",
        "20260131T222330Z",
        "2026-01-31 22:23:30 UTC",
        "2026-02-01 07:23:30.75 Asia/Seoul",
        "2026-1-31 22:24",
        "2026-01-31T24:00",
        "2026-W05-6T22:24:00",
        "2026-02-01",
        "2100-11-30",
    ],
)
def test_a_state_of_any_text_that_names_a_moment(archive, text):
    query = f"select k, n.v, o.v from state(at := '{text}') n join state('2026-01-31 22:00') o using (k)"
    assert archive.sql(f"{query} order by k").rows() == [("a", 3, 1), ("b", 2, 2)]


@pytest.mark.parametrize("argument", ["at := '{}'", "'{}'", "AT => '{}'", "\"at\" := '{}'"])
def test_the_argument_of_state_has_a_name_or_none(archive, argument):
    found = archive.sql(f"select k, v from state({argument.format(SECOND)}) order by k")
    assert found.rows() == [("a", 3), ("b", 2)]


@pytest.mark.parametrize("text", ["", "soon", "infinity", "290309-12-22 (BC)", "10000-01-01", "1"])
def test_a_text_that_names_no_moment(archive, text):
    with pytest.raises(InputError, match="is no time; write it like"):
        archive.sql(f"from state(at := '{text}')")


# --- depth ----------------------------------------------------------------------------------------

DEEP = {
    "sums": "select " + "+".join(["1"] * 900) + " as x",
    "negations": "select " + "not " * 900 + "true as x",
    "calls": "select " + "abs(" * 600 + "1" + ")" * 600 + " as x",
    "alternatives": "select count(*) as x from latest where "
    + " or ".join(f"k = 'key-{number}'" for number in range(3000)),
    "cases": "select " + "case when true then " * 200 + "1" + " end" * 200 + " as x",
    "subqueries": "select count(*) as x from " + "(select * from " * 150 + "latest" + ")" * 150,
    "unions": " union all ".join(["select v as x from latest"] * 300),
    "casts": "select " + "cast(" * 300 + "1" + " as bigint)" * 300 + " as x",
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_expressions(archive, name):
    assert archive.sql(DEEP[name]).columns == ["x"]


def test_too_deep_expressions_are_refused(archive):
    with pytest.raises(InputError, match="depth"):
        archive.sql("select " + "+".join(["1"] * 5000))


# --- nothing else ---------------------------------------------------------------------------------

READERS = [
    "from '{}'",
    'from "{}"',
    "from read_csv('{}')",
    "from read_text('{}')",
    "from read_blob('{}')",
    "from read_json('{}')",
    "from read_parquet('{}')",
    "from parquet_metadata('{}')",
    "from sniff_csv('{}')",
    "from glob('{}')",
    "from query('from read_text(''{}'')')",
    "from query_table('{}')",
    "select (select count(*) from read_text('{}'))",
    "with x as (from read_text('{}')) from x",
    "select 1 where exists (from glob('{}'))",
    "from latest, lateral (from read_text('{}'))",
]


@pytest.mark.parametrize("reader", READERS)
def test_no_file_is_read_wherever_it_lies(archive, tmp_path, monkeypatch, reader):
    """Also not from the folders that DuckDB itself may use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spill"))
    for folder in (".tmp", "spill", "."):
        file = tmp_path / folder / "secret.csv"
        file.parent.mkdir(exist_ok=True)
        file.write_text("a,b\nsecret,2\n")
        for path in (file, os.path.relpath(file)):
            with pytest.raises(InputError) as refusal:
                archive.sql(reader.format(path))
            assert "secret,2" not in str(refusal.value)


def test_functions_that_read_nothing_may_stand_in_from(archive):
    assert archive.sql("select count(*) from range(3), unnest([1, 2])").item() == 6
    assert archive.sql("from generate_series(1, 3)").height == 3
    assert archive.sql("select value from json_each('[1, 2]')").height == 2
    names = archive.sql("select distinct column_name from information_schema.columns")
    assert names.height >= 0
    with pytest.raises(InputError, match=r"duckdb_settings cannot be used here.*state\(at"):
        archive.sql("from duckdb_settings()")


def test_common_tables_and_their_names(archive):
    query = "with Mine as (from latest), yours as (from mine) select count(*) from Yours"
    assert archive.sql(query).item() == 2
    assert archive.sql("with latest as (select 1 as x) from latest").rows() == [(1,)]
    numbers = "with recursive n as (select 1 as i union all select i + 1 from n where i < 5) from n"
    assert archive.sql(numbers).height == 5
    with pytest.raises(InputError, match="no table 'others'"):
        archive.sql("with mine as (from others) from mine")


def test_the_folder_that_duckdb_spills_to_is_its_own_and_gone_afterwards(
    archive, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = archive.sql("select current_setting('temp_directory') as x").item()
    assert found.startswith(str(tmp_path))
    assert [*tmp_path.iterdir()] == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert archive.sql("select current_setting('temp_directory') as x").item() == ""


@pytest.mark.parametrize("query", [None, 7, b"select 1", ["select 1"]])
def test_a_query_is_a_text(archive, query):
    with pytest.raises(InputError, match="a query is a text"):
        archive.sql(query)


# --- what reaches the files -----------------------------------------------------------------------


def twice(archive: Archive, query: str) -> pl.DataFrame:
    """The answer, where DuckDB reads files itself and where polars does; both are the same."""
    found = archive.sql(query)
    reader = archive._reader()
    assert_frame_equal(ask(reader, query, {}, by_polars=True), found)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two months in a folder: one sealed, one with waiting, late and merged slots."""
    path = tmp_path_factory.mktemp("it's (an) archive")
    archive = Archive(LocalStore(path), PROVIDER)
    for n in range(30):
        rows = {f"k{m}": (m + n * (m % 3 == 0), 0.5) for m in range(12) if (n + m) % 7}
        archive.ingest(snapshot(rows), at(n), max_ceased=1.0)
    archive.seal("2026-01")
    archive.ingest(snapshot({"k1": (7, 0.5)}), at(40), max_ceased=1.0)
    archive.ingest(snapshot({"k1": (8, 0.5)}), at(35), max_ceased=1.0)
    archive.upload(snapshot({"late": (1, 1.5)}), at(41))
    return archive


QUERIES = [
    "select * from changes order by k, Time",
    "select * from changes where k = 'k3' order by Time",
    "select k, v from changes where Time >= '2026-02-01T00:10Z' and not Ceased order by all",
    "select * from intervals order by k, valid_from",
    "select * from intervals where k in ('k3', 'late') order by k, valid_from",
    "select count(*), max(Time) from changes where v > 5",
    "select date_trunc('hour', Time) as hour, count(*) from changes group by 1 order by 1",
    "with c as (select * from changes) select c.k, l.v from c join latest l using (k) order by all",
    "describe changes",
    "select 1; select count(*) from changes",
]


@pytest.mark.parametrize("query", QUERIES)
def test_who_reads_the_files_makes_no_difference(folder, query):
    found = twice(folder, query)
    if query == QUERIES[0]:
        assert_frame_equal(found, folder.changes())
    if query == QUERIES[3]:
        assert_frame_equal(found, folder.intervals())


def test_duckdb_reads_the_files_of_a_folder_itself(folder, tmp_path):
    tables = Tables.of(folder._reader(), by_polars=False)
    assert tables.files
    assert (
        "PARQUET" in folder.sql("explain select * from changes where k = 'a'")["explain_value"][0]
    )
    pattern = Archive(LocalStore(tmp_path / "run[1]"), PROVIDER)
    for n in range(20):
        pattern.ingest(snapshot({"a": (n, 0.5)}), at(n))
    pattern.seal("2026-01")
    assert Tables.of(pattern._reader(), by_polars=False).files == ()
    assert twice(pattern, "select count(*) as n from changes")["n"].to_list() == [20]


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_parquet('{}')",
        "select * from '{}'",
        "select * from parquet_scan('{}')",
        "select * from read_text('{}')",
        "copy changes to '{}.csv'",
        "explain copy changes to '{}.csv'",
        "select 1; attach '{}'",
    ],
)
def test_a_query_reaches_no_file_by_its_name(folder, query):
    path = Tables.of(folder._reader(), by_polars=False).files[0]
    with pytest.raises(InputError):
        folder.sql(query.format(path))


def test_an_archive_that_begins_later_has_the_intervals_of_its_beginning(tmp_path):
    archive = Archive(LocalStore(tmp_path), PROVIDER)
    for n in range(20):
        archive.ingest(snapshot({"a": (1, 0.5), "b": (n, 0.5)}), at(n))
    archive.retain(since="2026-02", reason="old")
    assert_frame_equal(
        twice(archive, "select * from intervals order by k, valid_from"), archive.intervals()
    )


def test_a_file_that_was_removed_meanwhile_is_looked_for_in_what_replaced_it(tmp_path, monkeypatch):
    archive = Archive(LocalStore(tmp_path), PROVIDER)
    for n in range(9):
        archive.ingest(snapshot({"a": (n, 0.5)}), at(n))
    real, seen = Tables.create_changes, []

    def create(self, connection, report):
        real(self, connection, report)
        if not seen:
            seen.append(self.files)
            archive.seal("2026-01")
            archive.vacuum("0s")
            archive.vacuum("0s")

    monkeypatch.setattr(Tables, "create_changes", create)
    assert archive.sql("select count(*) as n from changes")["n"].to_list() == [9]


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"x" * 500])
def test_a_damaged_file_is_named(tmp_path, damage):
    archive = Archive(LocalStore(tmp_path), PROVIDER)
    for n in range(20):
        archive.ingest(snapshot({"a": (n, 0.5)}), at(n))
    archive.seal("2026-01")
    assert archive.sql("select count(*) as n from changes")["n"].to_list() == [20]
    path = Tables.of(archive._reader(), by_polars=False).files[-1]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptFileError) as error:
        archive.sql("select sum(v) from changes")
    assert error.value.key.endswith(path.name)


def test_times_of_an_answer_are_in_utc_and_join_with_those_of_other_answers(folder):
    found = folder.sql("select k, Time, v from changes")
    assert found["Time"].dtype == pl.Datetime("us", "UTC")
    assert found.join(folder.changes(), on=["k", "Time"]).height == found.height
    assert folder.sql("select valid_from from intervals").dtypes == [pl.Datetime("us", "UTC")]


# --- other tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pl.DataFrame, pl.LazyFrame, pd.DataFrame, pa.table])
def test_a_frame_joins_with_the_archive(archive, kind):
    mine = kind({"k": ["a", "x"], "owner": ["me", "you"]})
    found = archive.sql(
        "select l.k, v, owner from latest l join Mine using (k)", frames={"mine": mine}
    )
    assert found.rows() == [("a", 3, "me")]


@pytest.mark.parametrize("name", ["changes", "State", "latest", "a b", "", 3])
def test_a_frame_has_a_name_of_its_own(archive, name):
    with pytest.raises(InputError, match="another name|has a name"):
        archive.sql("select 1", frames={name: pl.DataFrame({"k": ["a"]})})


def test_what_tables_there_are(archive):
    frames = {"mine": pl.DataFrame({"k": ["a"]})}
    assert archive.sql("SHOW TABLES;", frames)["name"].to_list() == [
        "changes",
        "intervals",
        "latest",
        "mine",
    ]
    described = archive.sql("describe intervals")
    assert described["column_name"].to_list() == ["k", "v", "w", "valid_from", "valid_to"]
    assert archive.sql("summarize changes").height == 5


@pytest.mark.parametrize("query", ["", " ; ", "select 1; drop table changes", "set threads = 1"])
def test_only_what_reads_is_a_query(archive, query):
    with pytest.raises(InputError):
        archive.sql(query)
