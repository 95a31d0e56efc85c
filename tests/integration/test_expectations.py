"""What a provider expects of its source: what is refused, who gets out of it, and what counts as
looked at.
"""

from datetime import UTC, datetime, timedelta

import pandas as pd
import polars as pl
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import PROVIDER, as_dict, changes, snapshot

import titans
from titans import Archive, Expectations, PathLayout, Provider
from titans.cli.app import run
from titans.errors import InputError, SchemaError, SuspiciousSnapshotError
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

START = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)
"""Two hours before the end of a month."""
MANY = {f"key{n:02}": (1, 0.5) for n in range(40)}
FEW = {f"key{n:02}": (2, 0.5) for n in range(4)}
OTHERS = {f"other{n:02}": (2, 0.5) for n in range(4)}
REFUSED = "parquet_state/small/m8/refused.parquet"


def at(n):
    return START + timedelta(minutes=10 * n)


def expecting(store=None, **said):
    provider = evolve(PROVIDER, expectations=Expectations(**said))
    return Archive(store or MemoryStore(), provider)


def refuse(archive, rows, moment, match="looks truncated"):
    with pytest.raises(SuspiciousSnapshotError, match=match) as error:
        archive.ingest(snapshot(rows), moment)
    return str(error.value)


# --- what is refused ------------------------------------------------------------------------------


def test_a_quiet_night_is_a_state_where_the_source_may_be_empty():
    archive = expecting(allow_empty=True)
    archive.ingest(snapshot(MANY), at(0))
    assert archive.ingest(snapshot({}), at(1)).ceased == 40
    assert archive.ingest(snapshot({}), at(2)).status == "unchanged"
    assert as_dict(archive.state(at(2))) == {}
    assert archive.ingest(snapshot(FEW), at(3)).added == 4
    assert archive.verify(deep=True).passed


@pytest.mark.parametrize("empty", [pl.DataFrame(), pd.DataFrame(), iter([])])
def test_an_empty_snapshot_may_have_no_columns(empty):
    archive = expecting(allow_empty=True)
    archive.ingest(snapshot(FEW), at(0))
    assert archive.ingest(empty, at(1)).ceased == 4


def test_without_columns_it_is_refused_as_any_empty_snapshot():
    archive = expecting()
    archive.ingest(snapshot(FEW), at(0))
    with pytest.raises(SuspiciousSnapshotError, match="it has no rows"):
        archive.ingest(pl.DataFrame(), at(1))
    assert archive.ingest(pl.DataFrame(), at(1), max_ceased=1.0).ceased == 4


def test_rows_without_a_key_are_no_empty_snapshot():
    with pytest.raises(SchemaError, match="key column"):
        expecting(allow_empty=True).ingest(pl.DataFrame({"v": [1]}), at(0))


def test_of_few_keys_all_but_one_may_vanish():
    archive = expecting()
    archive.ingest(snapshot({f"k{n}": (1, 0.5) for n in range(19)}), at(0))
    assert archive.ingest(snapshot({"k0": (1, 0.5)}), at(1)).ceased == 18
    archive.ingest(snapshot(MANY), at(2))
    said = refuse(archive, FEW, at(3), "36 of 40 living keys are missing")
    for switch in ("max_ceased=1.0", "--max-ceased 1", "allow_empty", "accept_after", "min_living"):
        assert switch in said


def test_one_archive_may_expect_other_things(tmp_path):
    provider = evolve(PROVIDER, expectations=Expectations(max_ceased=0.1))
    archive = titans.open(tmp_path, provider=provider)
    archive.ingest(snapshot(MANY), at(0))
    refuse(archive, dict(list(MANY.items())[:30]), at(1))
    other = titans.open(tmp_path, provider=provider, expectations=Expectations(max_ceased=0.5))
    assert other.ingest(snapshot(dict(list(MANY.items())[:30])), at(1)).ceased == 10


@pytest.mark.parametrize("share", [-0.1, 1.5, "x", True, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    archive = expecting()
    archive.ingest(snapshot(FEW), at(0))
    with pytest.raises(InputError, match="max_ceased is a share"):
        archive.ingest(snapshot(FEW), at(1), max_ceased=share)


# --- who gets out of it ---------------------------------------------------------------------------


@pytest.mark.parametrize("first", [1, 10])
def test_after_some_refusals_that_agree_the_next_one_is_accepted(first, caplog):
    """Over the end of a month too, and in another process each time."""
    store = MemoryStore()
    expecting(store, accept_after=3).ingest(snapshot(MANY), at(0))
    for n in range(3):
        said = refuse(expecting(store, accept_after=3), FEW | {f"n{n}": (n, 0.5)}, at(first + n))
        assert f"({n + 1} refused in a row" in said
    archive = expecting(store, accept_after=3)
    assert archive.ingest(snapshot(FEW), at(first + 3)).ceased == 36
    assert "agrees with 3 that were refused before" in caplog.text
    assert archive.verify(deep=True).passed

    archive.ingest(snapshot(MANY), at(first + 4))
    assert "(1 refused in a row" in refuse(archive, FEW, at(first + 5))


def test_the_same_snapshot_again_counts_once():
    archive = expecting(accept_after=2)
    archive.ingest(snapshot(MANY), at(0))
    for _ in range(4):
        refuse(archive, FEW, at(1))
    refuse(archive, FEW, at(2))
    assert archive.ingest(snapshot(FEW), at(3)).status == "ingested"


def test_snapshots_that_do_not_agree_do_not_count():
    archive = expecting(accept_after=1)
    archive.ingest(snapshot(MANY), at(0))
    for n in range(1, 7):
        refuse(archive, FEW if n % 2 else OTHERS, at(n))
    refuse(archive, {}, at(7))
    assert archive.ingest(snapshot({}), at(8)).ceased == 40


def test_a_source_that_flaps_never_gets_in():
    archive = expecting(accept_after=2)
    for n in range(0, 24, 2):
        archive.ingest(snapshot(MANY), at(n))
        refuse(archive, FEW, at(n + 1))
    assert as_dict(archive.latest()) == MANY


def test_by_default_none_is_ever_accepted_and_nothing_is_written():
    archive = expecting()
    archive.ingest(snapshot(MANY), at(0))
    before = [entry.key for entry in archive.store.list()]
    for n in range(1, 30):
        refuse(archive, FEW, at(n))
    assert [entry.key for entry in archive.store.list()] == before


def test_what_is_kept_of_refusals_is_no_part_of_the_archive():
    archive = expecting(accept_after=3)
    archive.ingest(snapshot(MANY), at(0))
    refuse(archive, FEW, at(1))
    assert REFUSED in [entry.key for entry in archive.store.list()]
    found = archive.verify(deep=True)
    assert found.passed
    assert found.foreign == ()
    assert not archive.vacuum("0s", dry_run=True).listed
    assert archive.repair() == ()
    archive.erase([{"k": "key01"}], reason="by law")
    assert REFUSED not in [entry.key for entry in archive.store.list()]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"{}", b"x" * 1000])
def test_what_cannot_be_read_of_refusals_begins_anew(data):
    archive = expecting(accept_after=1)
    archive.ingest(snapshot(MANY), at(0))
    archive.store.create(REFUSED, data)
    refuse(archive, FEW, at(1))
    assert archive.ingest(snapshot(FEW), at(2)).status == "ingested"


# --- what counts as looked at ---------------------------------------------------------------------


def statuses(archive, *bounds):
    return [status for _, status in archive.coverage(*bounds).rows()]


def test_a_source_that_is_looked_at_four_times_a_day_has_no_gaps():
    archive = expecting(every="6h")
    for n in range(12):
        archive.ingest(snapshot({"a": (n, 0.5)}), START + timedelta(hours=6 * n, minutes=n))
    assert statuses(archive) == ["observed"] * 12
    assert archive.coverage()["slot"][0] == datetime(2026, 1, 31, 18, tzinfo=UTC)
    assert [month.gaps for month in archive.status()] == [0, 0]
    assert archive.verify().gaps == {}
    fine = Archive(archive.store, PROVIDER)
    assert sum(month.gaps for month in fine.status()) > 300


def test_an_interval_that_nobody_looked_at_is_a_gap():
    archive = expecting(every="1h")
    for n in (0, 1, 2, 5, 6):
        archive.ingest(snapshot({"a": (n, 0.5)}), START - timedelta(hours=12 - n))
    assert statuses(archive) == ["observed"] * 3 + ["missing"] * 2 + ["observed"] * 2
    assert [month.gaps for month in archive.status()] == [2]
    (gaps,) = archive.verify().gaps.values()
    assert gaps == tuple(START - timedelta(hours=h) for h in (9, 8))


def test_of_an_interval_the_most_is_said_that_is_known():
    archive = expecting(every="1h")
    for n, kind in enumerate(["changes", "empty", "observed", "mixed"]):
        moment = START + timedelta(hours=n, minutes=20)
        if kind in ("changes", "mixed"):
            archive.upload(changes({"a": (n, 0.5)}), moment)
        if kind in ("empty", "mixed"):
            archive.upload(changes({}), moment + timedelta(minutes=10), complete=True)
        if kind == "observed":
            archive.ingest(snapshot({"a": (n, 0.5)}), moment)
    assert statuses(archive) == ["changes", "empty", "observed", "changes"]


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(0, 40), min_size=1), st.data())
def test_minute_slots_looked_at_every_ten_minutes_are_covered_like_slots_of_ten(looks, data):
    coarse = Archive(MemoryStore(), PROVIDER)
    layout = PathLayout(slot_minutes=1)
    finer = Provider("small", PROVIDER.schema, PROVIDER.key, layout)
    fine = Archive(MemoryStore(), evolve(finer, expectations=Expectations(every="10m")))
    for n in sorted(looks):
        moment = at(n) + timedelta(minutes=data.draw(st.integers(0, 9)))
        for archive in (coarse, fine):
            archive.ingest(snapshot({"a": (n, 0.5)}), moment)
    assert fine.coverage().rows() == coarse.coverage().rows()
    assert [m.gaps for m in fine.status()] == [m.gaps for m in coarse.status()]
    bounds = at(3), at(20)
    assert statuses(fine, *bounds) == statuses(coarse, *bounds)


def test_two_looks_within_a_slot_are_two_snapshots_in_minute_slots(caplog):
    coarse = expecting()
    coarse.ingest(snapshot(FEW), at(0))
    assert coarse.ingest(snapshot(OTHERS), at(0) + timedelta(minutes=7)).status == "skipped"
    assert "PathLayout(slot_minutes=1)" in caplog.text
    assert "Expectations(every=" in caplog.text

    finer = Provider("small", PROVIDER.schema, PROVIDER.key, PathLayout(slot_minutes=1))
    fine = Archive(MemoryStore(), evolve(finer, expectations=Expectations(every="10m")))
    fine.ingest(snapshot(FEW), at(0))
    assert fine.ingest(snapshot(OTHERS), at(0) + timedelta(minutes=7)).status == "ingested"
    assert as_dict(fine.state(at(0) + timedelta(minutes=6))) == FEW
    assert as_dict(fine.state(at(0) + timedelta(minutes=7))) == OTHERS


# --- freshness ------------------------------------------------------------------------------------


def test_an_archive_is_late_where_a_whole_interval_passed_without_a_look():
    archive = expecting(every="1h")
    archive.ingest(snapshot(FEW), START + timedelta(minutes=20))
    for minutes, late in ((21, False), (119, False), (120, True), (600, True)):
        found = archive.freshness(START + timedelta(minutes=minutes))
        assert (found.is_late, found.last) == (late, START + timedelta(minutes=20))
        assert found.age == timedelta(minutes=minutes - 20)
        assert found.every == timedelta(hours=1)


def test_uploads_are_looks_where_they_are_complete():
    archive = expecting()
    archive.upload(changes({"a": (1, 0.5)}), at(0))
    assert archive.freshness(at(0)).last is None
    assert archive.freshness(at(0)).is_late
    archive.upload(changes({}), at(1), complete=True)
    assert archive.freshness(at(2)).last == at(1)


def code_of(arguments):
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    return ended.value.code


def test_the_command_exits_with_1_where_it_is_late(tmp_path, capsys):
    archive = titans.open(tmp_path, provider="aws")
    row = {"InstanceType": ["a"], "Region": ["r"], "AZ": ["z"], "SPS": [1]}
    archive.ingest(pl.DataFrame(row), START)
    asked = ["freshness", "--store", str(tmp_path), "--provider", "aws"]
    assert code_of(asked) == 1
    assert capsys.readouterr().out.startswith("late: observed last at 2026-01-31T22:00:00Z")
    archive.ingest(pl.DataFrame(row), datetime.now(UTC))
    assert code_of(asked) == 0
    assert "fresh: " in capsys.readouterr().out


def test_refusals_are_counted_by_two_processes_at_once(tmp_path):
    """Both read what is kept before either writes; none of the two is forgotten."""
    one, two = (expecting(LocalStore(tmp_path), accept_after=2) for _ in range(2))
    one.ingest(snapshot(MANY), at(0))
    real, seen = one.store.get, []

    def get(key):
        blob = real(key)
        if key == REFUSED and not seen:
            seen.append(key)
            refuse(two, FEW, at(2))
        return blob

    refuse(one, FEW, at(1))
    object.__setattr__(one.store, "get", get)
    assert one.ingest(snapshot(FEW), at(3)).status == "ingested"
    assert seen
