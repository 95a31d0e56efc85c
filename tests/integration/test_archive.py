"""An archive in a store: what is written, and what is answered."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest
from oracle import PROVIDER, Clock, as_dict, at, changes, snapshot

from titans import Archive
from titans.changes.digest import digest
from titans.errors import (
    FormatVersionError,
    InputError,
    InvalidKeyError,
    ManifestError,
    NotFound,
    SlotConflictError,
    SuspiciousSnapshotError,
    TimestampError,
)
from titans.slots import Month, Slot
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.tiers.files.fetch import read_file
from titans.tiers.files.parquet import encode
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.model import Manifest, parse_object

A, B, C = (1, 0.5), (2, 0.5), (3, 1.5)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "local"])
def archive(request, tmp_path, clock):
    store = (
        MemoryStore(clock=clock) if request.param == "memory" else LocalStore(tmp_path / "archive")
    )
    return Archive(store, PROVIDER)


@pytest.fixture
def in_memory(clock):
    return Archive(MemoryStore(clock=clock), PROVIDER)


def keys(archive, prefix=""):
    return [entry.key for entry in archive.store.list(prefix)]


def manifest_of(archive, month):
    return read_head(archive._dataset, Month.parse(month)).manifest


# --- ingest ---------------------------------------------------------------------------------------


def test_a_snapshot_comes_back_as_the_state_at_its_time(archive):
    result = archive.ingest(snapshot({"a": A, "b": B}), at(0, 3))
    assert (result.status, result.added, result.key) == (
        "ingested",
        2,
        "parquet_cp_hot/small/2026/01/31/22-00.parquet",
    )
    assert as_dict(archive.state(at(0, 3))) == {"a": A, "b": B}
    assert as_dict(archive.state(at(0, 2.9))) == {}
    assert archive.state(at(0, 3)).columns == ["k", "Time", "v", "w"]


def test_only_what_changed_is_stored(archive):
    archive.ingest(snapshot({"a": A, "b": B, "c": C}), at(0))
    result = archive.ingest(snapshot({"a": A, "b": C, "d": A}), at(1))
    assert (result.added, result.changed, result.ceased) == (1, 1, 1)
    assert archive.changes(at(1), at(2)).rows() == [
        ("b", at(1), 3, 1.5, False),
        ("c", at(1), None, None, True),
        ("d", at(1), 1, 0.5, False),
    ]
    assert archive.state(at(1)).rows() == [
        ("a", at(0), 1, 0.5),
        ("b", at(1), 3, 1.5),
        ("d", at(1), 1, 0.5),
    ]


def test_an_unchanged_snapshot_is_still_an_observation(archive):
    archive.ingest(snapshot({"a": A}), at(0))
    result = archive.ingest(snapshot({"a": A}), at(1))
    assert (result.status, result.change_points) == ("unchanged", 0)
    (month,) = archive.status()
    assert (month.observed, month.rows) == (2, 1)


def test_the_same_snapshot_again_changes_nothing(archive):
    archive.ingest(snapshot({"a": A}), at(0))
    before = {e.key: archive.store.get(e.key).data for e in archive.store.list()}
    assert archive.ingest(snapshot({"a": A}), at(0)).status == "already"
    assert {e.key: archive.store.get(e.key).data for e in archive.store.list()} == before


def test_a_second_observation_of_a_slot_is_skipped_and_reported(archive, caplog):
    archive.ingest(snapshot({"a": A}), at(0))
    assert archive.ingest(snapshot({"a": B}), at(0, 5)).status == "skipped"
    assert archive.ingest(snapshot({"a": A}), at(0, 5)).status == "skipped"
    assert "already holds a snapshot of 2026-01-31T22:00:00Z" in caplog.text
    assert as_dict(archive.state(at(0, 9))) == {"a": A}
    assert archive.ingest(snapshot({"a": B}), at(1)).changed == 1


def test_what_was_not_observed_is_carried_while_the_key_lives(archive):
    archive.ingest(snapshot({"a": (1, 0.5), "b": (1, 0.5), "c": A}), at(0))
    result = archive.ingest(snapshot({"a": (None, 0.5), "b": (-1, 0.7), "c": A}), at(1))
    assert result.changed == 1
    assert as_dict(archive.state(at(1))) == {"a": (1, 0.5), "b": (1, 0.7), "c": A}
    archive.ingest(snapshot({"b": (1, 0.7), "c": A}), at(2))
    archive.ingest(snapshot({"a": (None, 0.9), "b": (1, 0.7), "c": A}), at(3))
    assert as_dict(archive.state(at(3)))["a"] == (None, 0.9), "not across a gap"


MANY = {f"{letter}{n}": A for letter in "abcdefgh" for n in range(3)}


def test_a_truncated_snapshot_is_refused_and_changes_nothing(archive):
    archive.ingest(snapshot(MANY), at(0))
    before = keys(archive)
    with pytest.raises(
        SuspiciousSnapshotError, match=r"22 of 24 living keys are missing.*max_ceased=1\.0"
    ):
        archive.ingest(snapshot({"a0": A, "b0": A}), at(1))
    assert keys(archive) == before
    assert archive.ingest(snapshot({"a0": A, "b0": A}), at(1), max_ceased=1.0).ceased == 22


def test_a_truncated_snapshot_is_noticed_at_the_start_of_a_month_too(archive):
    archive.ingest(snapshot(MANY), at(0))
    with pytest.raises(SuspiciousSnapshotError):
        archive.ingest(snapshot({"a0": A}), at(12))


def test_a_month_stands_alone_and_its_first_snapshot_says_what_is_gone(archive):
    archive.ingest(snapshot({"a": A, "b": B, "c": C}), at(11))
    archive.ingest(snapshot({"a": A, "b": C}), at(12, 1))
    assert as_dict(archive.state(at(12))) == {"a": A, "b": B, "c": C}
    assert as_dict(archive.state(at(12, 1))) == {"a": A, "b": C}
    assert archive.changes(at(12)).rows() == [
        ("b", at(12, 1), 3, 1.5, False),
        ("c", at(12, 1), None, None, True),
    ]
    assert archive.history(k="a").rows() == [("a", at(11), 1, 0.5, False)]
    assert archive.history(k="c")["Ceased"].to_list() == [False, True]
    assert [p for p in keys(archive) if p.endswith("manifest.json")] == [
        "parquet_warm/small/m8/2026/01/manifest.json",
        "parquet_warm/small/m8/2026/02/manifest.json",
    ]


def test_a_late_snapshot_changes_its_own_time_only(archive):
    archive.ingest(snapshot({"a": A, "b": A}), at(0))
    archive.ingest(snapshot({"a": A, "b": A}), at(2))
    late = archive.ingest(snapshot({"a": B, "b": A}), at(1))
    assert late.corrections == 1
    assert [as_dict(archive.state(at(n)))["a"] for n in range(3)] == [A, B, A]
    assert archive.history(k="a")["v"].to_list() == [1, 2, 1]


def test_changes_between_two_snapshots_do_not_reach_past_the_second(archive):
    archive.ingest(snapshot({"a": A, "b": A}), at(0))
    archive.ingest(snapshot({"a": A, "b": A}), at(2))
    archive.upload(changes({"a": B, "c": C}), at(1))
    assert as_dict(archive.state(at(1))) == {"a": B, "b": A, "c": C}
    assert as_dict(archive.state(at(2))) == {"a": A, "b": A}
    archive.compact()
    assert as_dict(archive.state(at(1))) == {"a": B, "b": A, "c": C}
    assert as_dict(archive.state(at(2))) == {"a": A, "b": A}


# --- upload and compact ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["digest", "sink"])
def test_a_file_that_cannot_be_made_is_not_written(archive, step, monkeypatch):
    def broken(*_):
        raise OverflowError("broken")

    monkeypatch.setattr(f"titans.tiers.write.hot.{step}", broken)
    with pytest.raises(OverflowError, match="broken"):
        archive.upload(changes({"a": A}), at(0))
    with pytest.raises(OverflowError, match="broken"):
        archive.ingest(snapshot({"a": A}), at(0))
    assert keys(archive) == []
    monkeypatch.undo()
    archive.upload(changes({"a": A}), at(0))
    assert as_dict(archive.state(at(0))) == {"a": A}


def test_a_hot_file_is_encoded_as_any_other(archive):
    key = archive.upload(changes({"a": A, "b": B}), at(0))
    data, slot = archive.store.get(key).data, archive.paths.parse_hot_key(key)
    rows, info = read_file(archive._dataset, key, slot, hot=True)
    assert info.hash == info.record.hash == digest(rows)
    assert encode(rows, info, archive.provider) == data


def test_uploaded_rows_are_read_before_anybody_compacts(archive):
    archive.upload(changes({"a": A}), at(0))
    assert as_dict(archive.latest()) == {"a": A}
    assert archive.status()[0].waiting == 1


def test_an_empty_frame_is_no_object(archive):
    assert archive.upload(changes({}), at(0)) == ""
    assert archive.upload(pl.DataFrame(), at(0)) == ""
    assert keys(archive) == []


def test_the_same_rows_again_are_a_success_and_others_a_conflict(archive, caplog):
    key = archive.upload(changes({"a": A}), at(0))
    assert archive.upload(changes({"a": A}), at(0)) == key
    assert caplog.text == ""
    assert archive.upload(changes({"a": B}), at(0)) == key
    assert "already holds other rows" in caplog.text
    with pytest.raises(SlotConflictError, match=r"22-00\.parquet"):
        archive.upload(changes({"a": B}), at(0), on_conflict="error")
    assert as_dict(archive.latest()) == {"a": A}


def test_four_small_files_become_one_and_the_next_four_join_it(archive):
    for n in range(8):
        archive.upload(changes({"a": (n, 0.5)}), at(n))
        assert archive.compact().merged == (n % 4 == 3)
    (month,) = archive.status()
    assert month.levels == {1: 1}
    assert "parquet_warm/small/m8/2026/01/L1_0002_04452-04459.parquet" in keys(archive)
    assert archive.history(k="a")["v"].to_list() == list(range(8))


def large(number, rows=300):
    """Changes of a slot of which four are not small any more."""
    return changes({f"{key:03}": (number, 0.5) for key in range(rows)})


def test_eight_files_of_a_level_become_one_of_the_next(archive):
    for n in range(8):
        archive.upload(large(n), at(n))
        assert archive.compact().merged == (n == 7)
    (month,) = archive.status()
    assert month.levels == {1: 1}
    assert "parquet_warm/small/m8/2026/01/L1_0001_04452-04459.parquet" in keys(archive)
    assert archive.history(k="007")["v"].to_list() == list(range(8))


@pytest.mark.slow
def test_levels_cascade(archive):
    for n in range(66):
        archive.upload(large(n), at(n))
        archive.compact()
    assert [m.levels for m in archive.status()] == [{0: 4, 1: 1}, {0: 6, 1: 6}]
    assert archive.history(k="007")["v"].to_list() == list(range(66))
    for n in (0, 11, 12, 40, 65):
        state = archive.state(at(n))
        assert state.height == 300
        assert set(state["v"]) == {n}


def test_whatever_was_left_behind_is_adopted_once_in_whatever_order(archive):
    for n in (5, 2, 9, 0):
        archive.upload(changes({"a": (n, 0.5)}), at(n))
    assert archive.compact().adopted == 4
    assert archive.compact().adopted == 0
    archive.upload(changes({"a": (1, 0.5)}), at(1))
    assert archive.compact().adopted == 1
    assert archive.history(k="a")["v"].to_list() == [0, 1, 2, 5, 9]


def test_files_written_into_the_previous_month_are_adopted_by_the_next_compaction(archive):
    archive.upload(changes({"a": A}), at(11))
    key = archive.upload(changes({"a": B}), at(12))
    archive.compact(key)
    assert [m.waiting for m in archive.status()] == [0, 0]


def test_merged_files_stay_for_an_hour_of_the_stores_time(in_memory, clock):
    for n in range(8):
        in_memory.upload(changes({"a": (n, 0.5)}), at(n))
    in_memory.compact()
    hot = keys(in_memory, "parquet_cp_hot/")
    assert len(hot) == 8
    for n, (minutes, left) in enumerate([(10, 8), (40, 8), (9, 8), (1, 0)]):
        clock.later(minutes=minutes)
        in_memory.compact(in_memory.upload(changes({"a": (n, 1.5)}), at(12 + n)))
        assert len(set(keys(in_memory, "parquet_cp_hot/")) & set(hot)) == left, n
    assert manifest_of(in_memory, "2026-01").pending == ()
    assert in_memory.history(k="a")["v"].to_list() == [*range(8), *range(4)]


def test_a_slot_uploaded_again_after_it_was_merged_and_removed_is_recognised(
    in_memory, clock, caplog
):
    for n in range(8):
        in_memory.upload(changes({"a": (n, 0.5)}), at(n))
    in_memory.compact()
    for n in (8, 9):
        clock.later(hours=2)
        in_memory.compact(in_memory.upload(changes({"a": A}), at(n)))
    assert in_memory.paths.hot_key(Slot.of(at(3))) not in keys(in_memory)
    before = keys(in_memory)
    same = in_memory.upload(changes({"a": (3, 0.5)}), at(3))
    assert "already holds" not in caplog.text
    assert in_memory.upload(changes({"a": (99, 0.5)}), at(3)) == same
    assert "already holds other rows" in caplog.text
    assert keys(in_memory) == before
    assert in_memory.history(k="a", end=at(8))["v"].to_list() == list(range(8))


# --- reading --------------------------------------------------------------------------------------


def test_ranges_are_half_open(archive):
    for n in range(4):
        archive.upload(changes({"a": (n, 0.5)}), at(n))
    assert archive.changes(at(1), at(3))["v"].to_list() == [1, 2]
    assert archive.changes(at(1), at(1)).height == 0
    assert archive.changes(end=at(2))["v"].to_list() == [0, 1]
    assert archive.changes(start=at(3))["v"].to_list() == [3]
    with pytest.raises(InputError, match="lies after"):
        archive.changes(at(3), at(1))


def test_an_archive_without_rows_answers_with_empty_frames(archive):
    archive.ingest(snapshot({}), at(0), max_ceased=1.0)
    assert archive.latest().schema == {
        "k": pl.String,
        "Time": pl.Datetime("us", "UTC"),
        "v": pl.Int64,
        "w": pl.Float64,
    }
    assert (
        archive.state(at(0)).height
        == archive.changes().height
        == archive.history(k="a").height
        == 0
    )
    assert archive.changes().columns == PROVIDER.canonical_columns
    assert archive.compact().adopted == 0


def test_history_asks_for_key_columns(archive):
    with pytest.raises(InputError, match="v is no key column of provider 'small'; the key is k"):
        archive.history(v=1)


def test_reading_asks_for_aware_times(archive):
    with pytest.raises(TimestampError, match="timezone-aware"):
        archive.state(datetime(2026, 1, 1))


def test_a_changes_only_archive_goes_back_over_months(archive):
    archive.upload(changes({"a": A, "b": B}), datetime(2025, 11, 3, tzinfo=UTC))
    archive.upload(changes({"b": None}), datetime(2026, 1, 3, tzinfo=UTC))
    archive.compact()
    assert as_dict(archive.state(datetime(2025, 12, 24, tzinfo=UTC))) == {"a": A, "b": B}
    assert as_dict(archive.latest()) == {"a": A}


def test_a_read_that_loses_a_file_to_another_process_starts_again(in_memory):
    for n in range(8):
        in_memory.upload(changes({"a": (n, 0.5)}), at(n))
    in_memory.compact()
    stale = next(k for k in keys(in_memory) if "/L1_" in k)
    reads = []
    original = in_memory.store.get

    def get(key):
        reads.append(key)
        if key == stale and reads.count(stale) == 1:
            raise NotFound(key)
        return original(key)

    in_memory.store.get = get
    assert as_dict(in_memory.latest()) == {"a": (7, 0.5)}
    assert reads.count(stale) == 2


# --- bad input, bad archives ----------------------------------------------------------------------


@pytest.mark.parametrize("call", ["ingest", "upload"])
def test_a_naive_timestamp_changes_nothing(archive, call):
    with pytest.raises(ValueError, match="timezone-aware"):
        getattr(archive, call)(snapshot({"a": A}), datetime(2026, 1, 1))
    assert keys(archive) == []


@pytest.mark.parametrize("call", ["ingest", "upload"])
@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"v": [1]}),
        pl.DataFrame({"k": [None], "v": [1]}, schema={"k": pl.String, "v": pl.Int64}),
        pl.DataFrame({"k": ["a"], "v": ["many"]}),
    ],
)
def test_a_frame_that_does_not_fit_changes_nothing(archive, call, frame):
    with pytest.raises(ValueError, match="provider 'small'"):
        getattr(archive, call)(frame, at(0))
    assert keys(archive) == []


@pytest.mark.parametrize(
    "key",
    [
        "parquet_cp_hot/aws/2026/01/23/14-20.parquet",
        "test/parquet_cp_hot/small/2026/01/23/14-20.parquet",
        "parquet_cp_hot/small/../small/2026/01/23/14-20.parquet",
        "parquet_warm/small/m8/2026/01/manifest.json",
    ],
)
def test_a_hot_key_of_elsewhere_is_refused(archive, key):
    with pytest.raises(InvalidKeyError, match="not a hot key of provider 'small'"):
        archive.compact(key)


def test_a_hot_key_without_a_file_is_refused(archive):
    with pytest.raises(NotFound, match="upload it first"):
        archive.compact("parquet_cp_hot/small/2026/01/23/14-20.parquet")


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (b"{", ManifestError, "is not JSON"),
        (b"[]", ManifestError, "is not a JSON object"),
        (b'{"format_version": 99}', FormatVersionError, "format version 99.*upgrade titans-core"),
        (b'{"format_version": 2}', FormatVersionError, "version 2.*never released"),
        (b'{"format_version": "3"}', FormatVersionError, "version '3'"),
        (b'{"format_version": 3, "levels": {}}', ManifestError, "cannot be read"),
    ],
)
def test_a_damaged_manifest_stops_everything_and_stays_as_it_is(archive, damage, error, message):
    archive.ingest(snapshot({"a": A}), at(0))
    key = "parquet_warm/small/m8/2026/01/manifest.json"
    archive.store.replace(key, damage, archive.store.get(key).etag)
    before = {e.key: archive.store.get(e.key).data for e in archive.store.list()}
    for call in (
        lambda: archive.ingest(snapshot({"a": B}), at(1)),
        archive.compact,
        archive.latest,
        archive.status,
    ):
        with pytest.raises(error, match=message):
            call()
    assert {e.key: archive.store.get(e.key).data for e in archive.store.list()} == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"provider":"small"', '"provider":"other"', "that of provider 'other'"),
        ('"month":1', '"month":2', "month 2026-02"),
        ('"file":"parquet_cp_hot/small', '"file":"../parquet_cp_hot/small', "nothing was read"),
        ('"file":"parquet_cp_hot/small', '"file":"parquet_cp_hot/aws', "nothing was read"),
        (
            '"pending_deletions":[]',
            '"pending_deletions":["../../x"]',
            "its lists have 0",
        ),
        ('"pending":[', '"pending":[{"since":null,"files":1,"slots":[]},', "its lists have 1"),
        ('"adopted":[[4452,4453]]', '"adopted":[[4452,9999]]', "slot 9999"),
        (
            '"keyframes":[',
            '"keyframes":[{"file":"../../x.parquet","slot":192,"rows":1,"bytes":1,"hash":"0","dependent":false},',
            "is no keyframe",
        ),
        (
            '"keyframes":[',
            '"keyframes":[{"file":"K_00192_0123456789abcdef.parquet","slot":384,"rows":1,"bytes":1,"hash":"0","dependent":false},',
            "is no keyframe of slot 384",
        ),
        ('"dirty":[]', '"dirty":["2026-01/0123456789abcdef"]', "no earlier month sets"),
        ('"dirty":[]', '"dirty":["../x"]', "no earlier month sets"),
    ],
)
def test_a_forged_manifest_is_refused_before_anything_is_read_or_deleted(
    in_memory, old, new, message
):
    in_memory.ingest(snapshot({"a": A}), at(0))
    in_memory.ingest(snapshot({"a": B}), at(1))
    key = "parquet_warm/small/m8/2026/01/manifest.json"
    blob = in_memory.store.get(key)
    forged = blob.data.decode().replace(old, new)
    assert forged != blob.data.decode()
    in_memory.store.replace(key, forged.encode(), blob.etag)
    with pytest.raises(ManifestError, match=message):
        in_memory.compact()
    with pytest.raises(ManifestError, match=message):
        in_memory.latest()


def test_a_forged_key_is_never_removed(in_memory):
    in_memory.ingest(snapshot({"a": A}), at(0))
    key = "parquet_warm/small/m8/2026/01/manifest.json"
    blob = in_memory.store.get(key)
    data = json.loads(blob.data)
    data["pending_deletions"].append("../../x")
    data["pending"].append({"since": "2020-01-01T00:00:00Z", "files": 1, "slots": []})
    in_memory.store.replace(key, json.dumps(data).encode(), blob.etag)
    with pytest.raises(ManifestError, match="nothing was read"):
        in_memory.compact()


def test_ingest_alone_keeps_the_number_of_files_small(in_memory, clock):
    for n in range(18):
        clock.later(minutes=10)
        in_memory.ingest(snapshot({"a": (n, 0.5), "b": A}), at(n))
    assert [m.levels for m in in_memory.status()] == [{0: 3, 1: 1, 3: 1}, {0: 1, 1: 1, 3: 1}]
    assert len(keys(in_memory, "parquet_cp_hot/small/2026/01")) == 7
    for n in range(18, 26):
        clock.later(minutes=10)
        in_memory.ingest(snapshot({"a": (n, 0.5), "b": A}), at(n))
    assert [m.levels for m in in_memory.status()] == [{0: 3, 1: 1, 3: 1}, {0: 1, 1: 1, 3: 1}]


def test_a_merge_that_fails_does_not_fail_the_snapshot(in_memory, monkeypatch, caplog):
    from titans.errors import CorruptFileError

    def broken(*arguments):
        raise CorruptFileError("an old file is damaged")

    monkeypatch.setattr("titans.tiers.compact.compactor.merge", broken)
    caplog.set_level("INFO")
    for n in range(9):
        assert in_memory.ingest(snapshot({"a": (n, 0.5)}), at(n)).status == "ingested"
    assert "operation=merge" in caplog.text
    with pytest.raises(CorruptFileError):
        in_memory.compact()


def test_what_was_not_observed_is_carried_over_the_end_of_a_month(archive):
    archive.ingest(snapshot({"a": (1, 0.5), "b": (2, 0.5)}), at(11))
    result = archive.ingest(snapshot({"a": (None, 0.5), "b": (None, 1.5)}), at(12))
    assert (result.added, result.changed, result.ceased) == (0, 1, 0)
    assert as_dict(archive.state(at(12))) == {"a": (1, 0.5), "b": (2, 1.5)}
    assert archive.changes(at(12)).rows() == [("b", at(12), 2, 1.5, False)]


def test_a_snapshot_without_rows_looks_truncated(archive):
    with pytest.raises(SuspiciousSnapshotError, match="it has no rows"):
        archive.ingest(snapshot({}), at(0))
    assert keys(archive) == []
    assert archive.ingest(snapshot({}), at(0), max_ceased=1.0).status == "unchanged"


# --- manifests ------------------------------------------------------------------------------------


def test_a_manifest_that_was_just_written_is_what_one_reads_from_its_bytes(archive):
    """It is not taken apart again; so it must be the same, also where late slots, corrections and
    removals mixed it up."""
    slots = [*range(12), 14, 13, 15, 16, 20, 18]
    for n, slot in enumerate(slots):
        if n % 3 == 2:
            archive.upload(changes({"a": (n, 1.0)}), at(slot))
            archive.compact()
        else:
            archive.ingest(snapshot({"a": (n, 0.5), "b": B}), at(slot))
        for month in ("2026-01", "2026-02"):
            key = archive.paths.manifest_key(Month.parse(month))
            if key in keys(archive):
                text = parse_object(archive.store.get(key).data, key)
                written = manifest_of(archive, month)
                assert Manifest.from_json(text, archive._dataset, Month.parse(month)) == written
