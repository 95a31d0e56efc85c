"""Questions to an archive, one by one; that all of them are right for any history is in
tests/property/test_reads.py."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import polars as pl
import pytest
from oracle import PROVIDER, at, changes, replayed, snapshot

from titans import Archive
from titans.errors import (
    ArchiveNotFoundError,
    CorruptFileError,
    InputError,
    ManifestError,
    NotFound,
    SnapshotExpiredError,
    TimestampError,
)
from titans.read.reader import Reader
from titans.slots import Month
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.tiers.manifest.commit import read_head

A, B, C = (1, 0.5), (2, 0.5), (3, 1.5)
LONG_AGO, FAR_AHEAD = datetime(2001, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)


@pytest.fixture
def archive():
    archive = Archive(MemoryStore(), PROVIDER)
    archive.ingest(snapshot({"a": A, "b": B}), at(0))
    archive.ingest(snapshot({"a": C, "b": B}), at(2))
    archive.ingest(snapshot({"a": C, "c": A}), at(13))  # in the next month
    return archive


# --- where and columns ----------------------------------------------------------------------------


def test_a_state_with_conditions_on_values_looks_at_the_last_value_only(archive):
    assert archive.state(at(2), where=pl.col("v") == 1).rows() == []
    assert archive.state(at(2), where=pl.col("v") == 3)["k"].to_list() == ["a"]
    assert archive.state(at(2), where=pl.col("k") == "b").rows() == [("b", at(0), 2, 0.5)]
    assert archive.state(at(2), where=(pl.col("k") == "b") & (pl.col("v") == 2)).height == 1


def test_only_the_columns_that_are_wanted(archive):
    assert archive.state(at(2), columns=["w", "k", "v"]).columns == ["k", "Time", "w", "v"]
    assert archive.latest(columns=["v"]).columns == ["k", "Time", "v"]
    assert archive.latest(columns=[]).columns == ["k", "Time"]
    assert archive.scan(columns=["Time"]).collect().columns == ["k", "Time", "Ceased"]
    assert archive.changes(columns=["w", "Ceased"]).columns == ["k", "Time", "w", "Ceased"]
    assert archive.history(k="a", columns=["w"]).columns == ["k", "Time", "w", "Ceased"]
    assert archive.keys(columns=["v"]).columns == ["k", "v"]
    assert archive.diff(at(0), at(2), columns=["v"]).columns == ["k", "change", "v_old", "v_new"]
    assert archive.grid(columns=["v"]).columns == ["k", "Time", "v"]
    assert archive.intervals(columns=["v"]).columns == ["k", "v", "valid_from", "valid_to"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda a: a.state(at(2), columns=["nope"]),
        lambda a: a.latest(columns=["Ceased"]),
        lambda a: a.scan(columns=["nope"]),
        lambda a: a.grid(columns=["Ceased"]),
        lambda a: a.state(at(2), columns="v"),
    ],
)
def test_a_column_that_is_not_there(archive, ask):
    with pytest.raises(InputError, match=r"no column .*there are|list of names"):
        ask(archive)


# --- ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["changes", "history", "scan", "intervals", "grid", "coverage", "files"]
)
def test_a_range_upside_down_or_without_a_timezone(archive, name):
    with pytest.raises(InputError, match="after end"):
        getattr(archive, name)(at(2), at(1))
    with pytest.raises(TimestampError, match="timezone-aware"):
        getattr(archive, name)(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("start", "end"),
    [(LONG_AGO, LONG_AGO), (LONG_AGO, LONG_AGO + timedelta(days=400)), (FAR_AHEAD, None)],
)
def test_ranges_in_which_nothing_is(archive, start, end):
    assert archive.changes(start, end).rows() == []
    assert archive.scan(start, end).collect().rows() == []
    assert archive.history(start, end, k="a").rows() == []
    assert archive.files(start, end).rows() == []


def test_before_the_first_and_after_the_last_slot(archive):
    assert archive.state(LONG_AGO).rows() == []
    assert archive.state(FAR_AHEAD).equals(archive.latest())
    assert archive.keys(LONG_AGO).columns == ["k"]
    assert archive.diff(LONG_AGO, FAR_AHEAD)["change"].to_list() == ["added", "added"]
    assert archive.intervals(FAR_AHEAD)["valid_to"].to_list() == [None, None]


def test_an_archive_without_rows_answers_with_empty_frames():
    empty = Archive(MemoryStore(), PROVIDER)
    empty.ingest(snapshot({}), at(0), max_ceased=1.0)
    canonical = ["k", "Time", "v", "w", "Ceased"]
    assert empty.latest().columns == empty.state(at(0)).columns == canonical[:-1]
    assert empty.scan().collect().columns == empty.changes().columns == canonical
    assert empty.grid().columns == ["k", "Time", "v", "w"]
    assert empty.intervals().columns == ["k", "v", "w", "valid_from", "valid_to"]
    assert empty.diff(at(0), at(1)).columns == ["k", "change", "v_old", "v_new", "w_old", "w_new"]
    assert empty.coverage().rows() == [(at(0), "observed")]
    assert empty.sql("select count(*) from latest").item() == 0


# --- shapes ---------------------------------------------------------------------------------------


def test_intervals_are_half_open_and_end_where_the_next_begins(archive):
    assert archive.intervals().rows() == [
        ("a", 1, 0.5, at(0), at(2)),
        ("a", 3, 1.5, at(2), None),
        ("b", 2, 0.5, at(0), at(13)),
        ("c", 1, 0.5, at(13), None),
    ]
    assert archive.intervals(at(1), at(2)).rows() == [
        ("a", 1, 0.5, at(0), None),
        ("b", 2, 0.5, at(0), None),
    ]


def test_a_grid_is_null_where_a_key_is_not_there(archive):
    found = archive.grid(at(0), at(14), every=timedelta(minutes=70), columns=["v"])
    assert found.rows() == [
        ("a", at(0), 1),
        ("a", at(7), 3),
        ("b", at(0), 2),
        ("b", at(7), 2),
        ("c", at(0), None),
        ("c", at(7), None),
    ]
    assert archive.grid(at(13), at(14), every="10m").rows() == [
        ("a", at(13), 3, 1.5),
        ("b", at(13), None, None),
        ("c", at(13), 1, 0.5),
    ]


@pytest.mark.parametrize("every", ["0s", "soon", timedelta(0), timedelta(hours=-1)])
def test_a_grid_needs_steps(archive, every):
    with pytest.raises(InputError):
        archive.grid(every=every)


def test_coverage_tells_nobody_looked_from_nothing_changed(archive):
    archive.ingest(snapshot({"a": C, "b": B}), at(3))
    archive.upload(changes({"a": A}), at(5))
    archive.compact()
    found = archive.coverage(at(1), at(6))
    assert found.rows() == [
        (at(1), "missing"),
        (at(2), "observed"),
        (at(3), "observed"),
        (at(4), "missing"),
        (at(5), "changes"),
    ]
    assert archive.coverage()["slot"].to_list() == [at(n) for n in range(14)]
    assert archive.status()[0].gaps == 1


def test_files_name_what_is_there_and_what_is_left_to_do(archive):
    archive.ingest(snapshot({"a": A, "b": B}), at(4))
    archive.seal("2026-01")
    archive.seal("2026-02")  # a late slot of January may have changed its border
    found = archive.files(at(1), at(14)).to_dicts()
    assert [(f["kind"], f["rows"], f["filter"], f["full_snapshots"]) for f in found] == [
        ("merged", 2, "", []),
        ("border", 3, "", []),  # a has other values, b ceased, c came
    ]
    assert found[0]["url"].startswith("memory://")
    (merged,) = archive.files(at(3), at(5)).to_dicts()
    assert merged["filter"].startswith("Time >= TIMESTAMPTZ '2026-01-31T22:30:00Z' AND Time < ")


def test_files_say_that_a_full_snapshot_has_to_be_left_out_until_its_border_is_there(archive):
    with patch("titans.tiers.compact.compactor.missing_borders", lambda manifest: []):
        archive.ingest(snapshot({"a": A, "d": A}), FAR_AHEAD)
    full = archive.files(FAR_AHEAD).to_dicts()
    assert [(f["kind"], f["rows"], f["full_snapshots"]) for f in full] == [("full", 2, [FAR_AHEAD])]
    points = archive.changes(FAR_AHEAD)
    assert points.select("k", "Ceased").rows() == [("a", False), ("c", True), ("d", False)]
    archive.compact()
    (border,) = archive.files(FAR_AHEAD).to_dicts()
    assert (border["kind"], border["rows"], border["full_snapshots"]) == ("border", 3, [])
    assert archive.changes(FAR_AHEAD).equals(points)


# --- several keys ---------------------------------------------------------------------------------


def test_the_history_of_a_frame_of_keys(archive):
    assert archive.history(keys=pl.DataFrame({"k": ["b", "b", "c"]}))["k"].to_list() == [
        "b",
        "b",
        "c",
    ]
    with pytest.raises(InputError, match="x is no key column"):
        archive.history(keys=pl.DataFrame({"x": ["b"]}))
    assert archive.history(keys=pl.DataFrame({"k": ["b"]}), k="a").rows() == []
    with pytest.raises(InputError, match="no columns"):
        archive.history(keys=pl.DataFrame())


# --- one look -------------------------------------------------------------------------------------


def test_a_read_that_loses_its_files_again_and_again_says_what_to_do(archive):
    archive.compact()
    key = archive.files()["url"][0].removeprefix("memory:///")
    archive.store.delete(key)
    with pytest.raises(SnapshotExpiredError, match=r"longer one.*titans verify"):
        archive.changes()


def test_a_scan_chooses_its_files_when_it_is_collected(archive):
    expected = archive.changes()
    lazy = archive.scan()
    archive.seal("2026-01")
    archive.vacuum("0s")  # the files that were there when the scan was made are gone
    assert lazy.collect().sort("k", "Time").equals(expected)
    assert lazy.head(1).collect().height == 1


@pytest.mark.parametrize(
    ("failing", "outcome"), [({1}, "rows"), ({2}, "expired"), ({1, 3}, "expired")]
)
def test_a_scan_starts_again_until_it_has_given_out_rows(archive, monkeypatch, failing, outcome):
    for minute in range(3):
        archive.upload(changes({"d": (minute, 0.0)}), at(20 + minute))
    archive.compact()
    expected, reads, get = archive.changes(), itertools.count(1), archive.store.get

    def flaky(key):
        if key.endswith(".parquet") and next(reads) in failing:
            raise NotFound(f"no object {key}")
        return get(key)

    monkeypatch.setattr(MemoryStore, "get", lambda _, key: flaky(key))
    lazy = archive.scan(at(20), at(23))
    if outcome == "rows":
        assert lazy.collect().sort("k", "Time").equals(expected.filter(pl.col("Time") >= at(20)))
    else:
        with pytest.raises(SnapshotExpiredError, match="longer one"):
            lazy.collect()


# --- SQL ------------------------------------------------------------------------------------------


def test_sql_sees_tables_and_states(archive):
    assert archive.sql("select count(*) from changes").item() == archive.changes().height
    assert archive.sql("from latest order by k")["k"].to_list() == ["a", "c"]
    assert archive.sql("select k from intervals where valid_to is null order by 1")[
        "k"
    ].to_list() == ["a", "c"]
    state = archive.sql("select k, v, Time from state(at := '2026-01-31T22:20Z') order by k")
    assert state.rows() == [
        ("a", 3, at(2)),
        ("b", 2, at(0)),
    ]


def test_a_query_in_sql_is_of_one_moment(archive, monkeypatch):
    asked = Reader.latest

    def overtaken(reader, *args):
        found = asked(reader, *args)
        archive.upload(changes({"z": A}), at(23))
        return found

    monkeypatch.setattr(Reader, "latest", overtaken)
    before = archive.changes().height
    both = archive.sql(
        "select (select count(*) from changes) as n, (select count(*) from latest where k = 'z') "
        "as z"
    )
    assert both.rows() == [(before, 0)]
    assert archive.sql("select count(*) from changes").item() == before + 1


def test_sql_over_changes_does_not_have_them_in_memory(archive, monkeypatch):
    expected = archive.changes().height
    monkeypatch.setattr(Reader, "changes", None)
    assert (
        archive.sql("select count(*) from changes a join changes b using (k, Time)").item()
        == expected
    )
    assert archive.sql("from changes limit 1").height == 1


def test_sql_over_a_file_that_is_gone(archive):
    archive.compact()
    key = archive.files()["url"][0].removeprefix("memory:///")
    archive.store.delete(key)
    with pytest.raises(SnapshotExpiredError, match="longer one"):
        archive.sql("select count(*) from changes")
    archive.store.create(key, b"no Parquet")
    with pytest.raises(CorruptFileError, match=key):
        archive.sql("select count(*) from changes")


def test_sql_compares_two_states(archive):
    found = archive.sql(
        """
        with old as (select * from state('2026-01-31 22:00'))
        select old.k, old.v as before, new.v as after
        from old join state(at := '2026-01-31T23:20+01:00') new using (k) where old.v <> new.v
        """
    )
    assert found.rows() == [("a", 1, 3)]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("create table t as select 1", "SELECT"),
        ("delete from latest", "SELECT"),
        ("selec 1", "syntax error"),
        ("select 1; drop table latest", "SELECT"),
        ("", "write a SELECT"),
        ("select * from nobody", "changes, intervals, latest and state"),
        ("select * from state()", "state takes one time"),
        ("select * from state(at := now())", "state takes one time"),
        ("select * from state(at := 'yesterday')", "is no time"),
    ],
)
def test_sql_that_is_not_accepted(archive, query, says):
    with pytest.raises(InputError, match=says):
        archive.sql(query)


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from read_text('/etc/passwd')",
        "select * from glob('/*')",
        "select * from secret",
    ],
)
def test_sql_reaches_neither_files_nor_python(archive, query):
    secret = pl.DataFrame({"x": [1]})
    with pytest.raises(InputError):
        archive.sql(query)
    assert secret.height == 1


def test_without_duckdb_sql_says_what_to_install(archive, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(InputError, match=r"titans-core\[sql\]"):
        archive.sql("select 1")


@pytest.mark.parametrize("seen_first", ["2026-01", "2026-02"])
@pytest.mark.parametrize("later", [A, C])
def test_a_look_never_mixes_a_month_with_a_border_made_from_another_look_at_it(seen_first, later):
    archive = Archive(MemoryStore(), PROVIDER)
    archive.ingest(snapshot({"a": A, "b": B}), at(0))
    archive.ingest(snapshot({"a": later, "b": B}), at(13))  # in the next month
    reader = archive._reader()
    reader.view(Month.parse(seen_first))

    archive.upload(changes({"a": C}), at(5))
    archive.compact()
    february = read_head(archive._dataset, Month(2026, 2)).manifest
    assert [f.rows for f in february.files if f.is_border] == [1 if later == A else 0], "made again"
    points = reader.changes()
    assert replayed(points, at(13)) == {"a": later, "b": B}
    assert not points.select("k", "Time").is_duplicated().any()


# --- an archive that is not there -----------------------------------------------------------------

QUESTIONS = {
    "state": lambda a: a.state(at(0)),
    "latest": lambda a: a.latest(),
    "latest where": lambda a: a.latest(where=pl.col("v") > 1),
    "keys": lambda a: a.keys(),
    "diff": lambda a: a.diff(at(0), at(1)),
    "changes": lambda a: a.changes(),
    "changes of a range": lambda a: a.changes(at(0), at(1)),
    "changes of nothing": lambda a: a.changes(at(0), at(0)),
    "history": lambda a: a.history(k="a"),
    "history of keys": lambda a: a.history(keys=pl.DataFrame({"k": ["a"]})),
    "scan": lambda a: a.scan().collect(),
    "scan of a range": lambda a: a.scan(at(0), at(1)).collect(),
    "intervals": lambda a: a.intervals(),
    "grid": lambda a: a.grid(),
    "grid of a range": lambda a: a.grid(at(0), at(2)),
    "coverage": lambda a: a.coverage(),
    "files": lambda a: a.files(),
    "status": lambda a: a.status(),
    "sql": lambda a: a.sql("select count(*) from changes"),
    "sql of a state": lambda a: a.sql("from state('2026-01-31')"),
    "verify": lambda a: a.verify(),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_to_an_archive_that_is_not_there(tmp_path, question):
    for store in (MemoryStore("nowhere"), LocalStore(tmp_path / "nowhere")):
        nobody = Archive(store, PROVIDER)
        with pytest.raises(ArchiveNotFoundError) as refused:
            QUESTIONS[question](nobody)
        assert "no archive of provider 'small' in" in str(refused.value)
        assert "nowhere" in str(refused.value)
        assert "there is nothing at all" in str(refused.value)
    assert not (tmp_path / "nowhere").exists(), "a question makes nothing"


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_archive_in_which_nothing_is_found_is_there_all_the_same(question):
    """As soon as something was written, whatever became of it."""
    archive = Archive(MemoryStore(), PROVIDER)
    archive.ingest(snapshot({}), at(0), max_ceased=1.0)
    QUESTIONS[question](archive)
    archive.compact()
    archive.vacuum("0s")
    QUESTIONS[question](archive)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (["parquet_cp_hot/aws/2026/01/01/00-00.parquet"], "an archive of provider 'aws'"),
        (
            [
                "parquet_cp_hot/aws/2026/01/01/00-00.parquet",
                "parquet_cp_hot/aws/2026/01/01/00-10.parquet",
                "parquet_warm/gcp/m8/2026/01/manifest.json",
            ],
            "there is an archive of provider 'aws', an archive of provider 'gcp'.",
        ),
        (["test/parquet_warm/gcp/m8/2026/01/manifest.json"], "provider 'gcp' (in test/)"),
        (["test/parquet_cp_hot/small/2026/01/01/00-00.parquet"], "below test/, for TITANS_ENV"),
        (["photos/2026/a.jpg", "photos/2026/b.jpg", "README"], "there is README, photos/2026."),
        ([f"x/{n}/y" for n in range(100)], "x/0, x/1, x/10"),
        (["parquet_cp_hot/smaller/2026/01/01/00-00.parquet"], "an archive of provider 'smaller'"),
    ],
)
def test_what_lies_there_instead(keys, says):
    store = MemoryStore()
    for key in keys:
        store.create(key, b"x")
    with pytest.raises(ArchiveNotFoundError) as refused:
        Archive(store, PROVIDER).latest()
    assert says in str(refused.value)
    assert refused.value.provider == "small"


def test_an_archive_outside_of_test(archive, monkeypatch):
    monkeypatch.setenv("TITANS_ENV", "test")
    with pytest.raises(ArchiveNotFoundError, match=r"there is one outside of test/"):
        Archive(archive.store, PROVIDER).latest()


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q != "verify"])
def test_files_without_any_manifest_are_no_empty_archive(archive, question):
    archive.compact()
    archive.vacuum("0s")
    for entry in list(archive.store.list()):
        if not entry.key.endswith(".parquet") or "/small/m8/" not in entry.key:
            archive.store.delete(entry.key)
    with pytest.raises(ManifestError, match="run titans repair"):
        QUESTIONS[question](Archive(archive.store, PROVIDER))


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_store_is_asked_no_more_for_it(archive, monkeypatch, question):
    """Wherever something is found, as it is in all but the rarest questions."""
    requests: list[str] = []
    for name in ("get", "get_range", "head", "list"):
        method = getattr(MemoryStore, name)

        def counted(store, *args, name=name, method=method):
            requests.append(name)
            return method(store, *args)

        monkeypatch.setattr(MemoryStore, name, counted)
    QUESTIONS[question](archive)
    with_check = len(requests)
    monkeypatch.setattr(Reader, "check_exists", lambda reader: None)
    requests.clear()
    QUESTIONS[question](archive)
    allowed = 1 if question in ("verify", "changes of nothing") else 0
    assert with_check <= len(requests) + allowed


def test_the_first_write_makes_it():
    archive = Archive(MemoryStore(), PROVIDER)
    with pytest.raises(ArchiveNotFoundError):
        archive.latest()
    archive.upload(changes({"a": A}), at(0))
    assert archive.latest().height == 1


def test_a_grid_has_no_value_of_a_key_whose_tombstone_kept_one():
    """Uploaders deliver removed rows with the values of the row before."""
    archive = Archive(MemoryStore(), PROVIDER)
    archive.upload(snapshot({"a": (1, 0.5), "b": (2, 0.5)}), at(0))
    gone = snapshot({"a": (1, 0.5)}).with_columns(Ceased=pl.lit(value=True))
    archive.upload(gone, at(1))
    archive.upload(snapshot({"a": (3, 0.5)}), at(3))
    for lazy in (False, True):
        found = archive.grid(at(0), at(5), every="10m", lazy=lazy).lazy().collect()
        assert found.filter(k="a")["v"].to_list() == [1, None, None, 3, 3]
        assert found.filter(k="b")["v"].to_list() == [2] * 5
