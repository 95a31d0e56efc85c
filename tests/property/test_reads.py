"""Every question gives what a plain replay of the history gives, whichever compactions, seals and
vacuums came in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from oracle import PROVIDER, as_dict, changes, last_state, replayed, snapshot
from polars.testing import assert_frame_equal

from titans import Archive
from titans.errors import ArchiveNotFoundError, InputError
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

TICK = timedelta(minutes=10)
STARTS = [
    datetime(2026, 1, 31, 23, 20, tzinfo=UTC),
    datetime(2026, 2, 28, 23, 40, tzinfo=UTC),
    datetime(2026, 4, 2, tzinfo=UTC),
]
SLOTS = [start + n * TICK for start in STARTS for n in range(6)]
"""Around two month ends, and in a month after an empty one."""
MONTHS = ["2026-01", "2026-02", "2026-03", "2026-04"]
TIMES = sorted(
    {
        t + late
        for t in SLOTS
        for late in (timedelta(minutes=-1), timedelta(0), timedelta(minutes=5))
    }
)

VALUES = st.tuples(st.integers(0, 2), st.sampled_from([0.5, 1.5]))
SLOT = st.sampled_from(SLOTS)
UPLOAD = st.tuples(
    st.just("upload"), SLOT, st.dictionaries(st.sampled_from("abc"), st.none() | VALUES, min_size=1)
)
INGEST = st.tuples(st.just("ingest"), SLOT, st.dictionaries(st.sampled_from("abc"), VALUES))
UPKEEP = st.one_of(
    st.tuples(st.just("compact"), st.none(), st.none()),
    st.tuples(st.just("seal"), st.sampled_from(MONTHS), st.none()),
    st.tuples(st.just("vacuum"), st.none(), st.none()),
)
MIXED = st.lists(st.one_of(INGEST, UPLOAD, UPKEEP), min_size=3, max_size=16)
ONLY_CHANGES = st.lists(st.one_of(UPLOAD, UPLOAD, UPKEEP), min_size=3, max_size=16)


FEW = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
"""Every example asks hundreds of questions; shrinking one would take minutes."""


pytestmark = pytest.mark.usefixtures("small_files")


class History:
    """What was acknowledged: slot → snapshot or changes."""

    def __init__(self, archive: Archive, events: list) -> None:
        self.archive, self.snapshots, self.uploads = archive, {}, {}
        for what, slot, rows in events:
            self.happen(what, slot, rows)

    def happen(self, what, slot, rows) -> None:
        if what == "compact":
            self.archive.compact()
        elif what == "vacuum":
            self.archive.vacuum("0s")
        elif what == "seal":
            try:
                self.archive.seal(slot)
            except InputError:
                assert not any(f"{time:%Y-%m}" == slot for time in (*self.snapshots, *self.uploads))
        elif slot in self.snapshots or slot in self.uploads:
            return
        elif what == "ingest":
            self.archive.ingest(snapshot(rows), slot, max_ceased=1.0)
            self.snapshots[slot] = rows
        else:
            self.archive.upload(changes(rows), slot)
            self.uploads[slot] = rows

    def state(self, at: datetime) -> dict:
        return last_state(self.snapshots, self.uploads, at)


def check(history: History) -> None:
    if not history.snapshots and not history.uploads:
        with pytest.raises(ArchiveNotFoundError):
            history.archive.changes()
        return
    check_states(history)
    check_ranges(history.archive, history.archive.changes())
    check_coverage(history)


def check_files(history: History) -> None:
    if history.snapshots or history.uploads:
        assert history.archive.verify(deep=True).passed


def check_states(history: History) -> None:
    if not history.snapshots and not history.uploads:
        return
    archive = history.archive
    points = archive.changes()
    for time in TIMES:
        expected = history.state(time)
        got = archive.state(time)
        assert as_dict(got) == expected, time
        assert replayed(points, time) == expected, time
        assert archive.keys(time)["k"].to_list() == sorted(expected)
        assert got["k"].is_sorted()
    assert as_dict(archive.latest()) == history.state(TIMES[-1])


def check_ranges(archive: Archive, points: pl.DataFrame) -> None:
    for start, end in (
        (None, None),
        (SLOTS[1], SLOTS[8]),
        (SLOTS[7], None),
        (None, SLOTS[13]),
        (SLOTS[3], SLOTS[3]),
    ):
        within = pl.lit(value=True)
        within = within if start is None else within & (pl.col("Time") >= start)
        within = within if end is None else within & (pl.col("Time") < end)
        expected = points.filter(within)
        assert_frame_equal(archive.changes(start, end), expected)
        scanned = archive.scan(start, end)
        assert_frame_equal(scanned.collect().sort("k", "Time"), expected)
        assert_frame_equal(
            archive.scan(start, end, where=pl.col("v") > 0, columns=["k", "v"])
            .collect()
            .sort("k", "Time"),
            expected.filter(pl.col("v") > 0).select("k", "Time", "v", "Ceased"),
        )
        assert scanned.select(pl.len()).collect().item() == expected.height
        for key in "ab":
            assert_frame_equal(archive.history(start, end, k=key), expected.filter(k=key))
        several = archive.history(start, end, keys=pl.DataFrame({"k": ["a", "c", "nobody"]}))
        assert_frame_equal(several, expected.filter(pl.col("k").is_in(["a", "c"])))
        check_intervals(archive, points, start, end)
        check_grid(archive, points, start or SLOTS[0], end or SLOTS[-1])
        check_diff(archive, start or SLOTS[0], end or SLOTS[-1])


def check_intervals(archive: Archive, points: pl.DataFrame, start, end) -> None:
    found = archive.intervals(start, end)
    expected = []
    for key, rows in points.filter(
        pl.lit(value=True) if end is None else pl.col("Time") < end
    ).group_by("k"):
        times = rows.sort("Time").to_dicts()
        for row, following in zip(times, [*times[1:], None], strict=True):
            until = following and following["Time"]
            if not row["Ceased"] and (start is None or until is None or until >= start):
                expected.append((key[0], row["v"], row["w"], row["Time"], until))
    assert found["k"].is_sorted()
    got = found.rows()
    if (
        start is not None
    ):  # what held at the start may be known only since the last full snapshot before it
        got, expected = (
            [(*r[:3], max(r[3], start), r[4]) for r in rows] for rows in (got, expected)
        )
    assert sorted(got, key=str) == sorted(expected, key=str)


def check_grid(archive: Archive, points: pl.DataFrame, start: datetime, end: datetime) -> None:
    found = archive.grid(start, end, every="7h")
    by_cell = {(row["k"], row["Time"]): (row["v"], row["w"]) for row in found.to_dicts()}
    assert len(by_cell) == found.height
    time = start
    while time < end:
        state = replayed(points, time)
        for key in found["k"].unique():
            assert by_cell[key, time] == state.get(key, (None, None)), (key, time)
        assert set(state) <= {key for key, at in by_cell if at == time}
        time += timedelta(hours=7)


def check_diff(archive: Archive, t1: datetime, t2: datetime) -> None:
    old, new = as_dict(archive.state(t1)), as_dict(archive.state(t2))
    found = {row["k"]: row for row in archive.diff(t1, t2).to_dicts()}
    kinds = {
        k: "added" if k not in old else "removed" if k not in new else "changed"
        for k in {*old, *new}
    }
    assert {k: row["change"] for k, row in found.items()} == {
        k: kind for k, kind in kinds.items() if old.get(k) != new.get(k)
    }
    for key, row in found.items():
        assert (row["v_old"], row["w_old"]) == old.get(key, (None, None))
        assert (row["v_new"], row["w_new"]) == new.get(key, (None, None))


def check_coverage(history: History) -> None:
    found = dict(history.archive.coverage(SLOTS[0] - TICK, SLOTS[-1] + TICK).rows())
    for time in SLOTS:
        expected = (
            "observed"
            if time in history.snapshots
            else "changes"
            if time in history.uploads
            else "missing"
        )
        assert found[time] == expected


@given(MIXED)
@FEW
def test_every_question_agrees_with_a_replay(events):
    history = History(Archive(MemoryStore(), PROVIDER), events)
    check(history)
    history.archive.compact()
    check(history)


@given(ONLY_CHANGES)
@FEW
def test_months_without_any_snapshot_build_on_each_other(events):
    history = History(Archive(MemoryStore(), PROVIDER), events)
    check(history)
    for month in MONTHS:
        history.happen("seal", month, None)
    history.archive.vacuum("0s")
    check(history)
    check_files(history)


@given(st.one_of(MIXED, ONLY_CHANGES))
@FEW
def test_files_that_are_too_large_to_be_read_at_once(tmp_path_factory, events):
    archive = Archive(LocalStore(tmp_path_factory.mktemp("archive")), PROVIDER)
    with (
        patch("titans.tiers.files.selections._LARGE", 0),
        patch("titans.tiers.files.read._PART", 2),
    ):
        history = History(archive, events)
        archive.compact()
        check_states(history)
        check_files(history)


@given(MIXED)
@FEW
def test_the_same_in_a_folder(tmp_path_factory, events):
    history = History(Archive(LocalStore(tmp_path_factory.mktemp("archive")), PROVIDER), events)
    check(history)
    for month in MONTHS:
        history.happen("seal", month, None)
    check(history)
    check_files(history)


@given(ONLY_CHANGES)
@FEW
def test_other_engines_find_the_change_points_in_the_files_they_are_told(tmp_path_factory, events):
    history = History(Archive(LocalStore(tmp_path_factory.mktemp("archive")), PROVIDER), events)
    archive = history.archive
    assume(history.uploads)
    for start, end in ((None, None), (SLOTS[1], SLOTS[8])):
        frames = [pl.DataFrame(schema=dict(PROVIDER.schema_dtypes))]
        for row in archive.files(start, end).to_dicts():
            frame = pl.read_parquet(row["url"])
            assert frame.height == row["rows"]
            if row["filter"]:
                frame = frame.filter(pl.col("Time") >= start, pl.col("Time") < end)
            frames.append(frame)
        assert_frame_equal(pl.concat(frames).sort("k", "Time"), archive.changes(start, end))
