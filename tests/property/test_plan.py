"""Tasks are an answer of one moment, divided: whoever does them, in whatever order, whatever was
merged since. Where the archive says something else by now, a task says so."""

from __future__ import annotations

import pickle

import polars as pl
import pytest
from archive_steps import (
    KEYS,
    corrections,
    done,
    early_merges,
    ingests,
    uploads,
    waiting,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import PROVIDER, UPGRADED, at, snapshot

import titans
from titans import Archive
from titans.errors import FormatVersionError, InputError, SnapshotExpiredError
from titans.read.tasks import ReadTask
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

keeping = st.sampled_from([("compact",), ("seal", "2026-01"), ("vacuum",), ("merge",)])
steps = st.one_of(ingests, ingests, ingests, uploads, waiting, keeping)
later = st.one_of(steps, corrections)


def sent(task):
    """As it comes out of another process."""
    return pickle.loads(pickle.dumps(ReadTask.from_json(task.to_json())))


def together(archive, tasks, order=None):
    if order is not None:
        tasks = order.sample(tasks, len(tasks))
    return pl.concat([sent(task).read(archive) for task in tasks]).sort("k", "Time")


@pytest.fixture(scope="module", autouse=True)
def small_tasks():
    with early_merges():
        yield


RANGES = st.sampled_from(
    [(None, None), (at(0), at(8)), (at(10), at(14)), (None, at(3, 2)), (at(5), None)]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=1, max_size=14), RANGES, st.randoms(use_true_random=False))
def test_tasks_together_are_the_changes(steps, span, order):
    archive = Archive(MemoryStore(), PROVIDER)
    for step in steps:
        done(archive, step)
    if not archive.store._objects:
        return
    expected = archive.changes(*span)
    tasks = archive.plan(*span)
    assert sum(task.rows for task in tasks) >= expected.height or _has_full(archive, span)
    if not expected.height:
        assert not tasks or together(archive, tasks, order).height == 0
        return
    assert together(archive, tasks, order).equals(expected)
    spans = sorted((task.start, task.end) for task in tasks)
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))


def _has_full(archive, span):
    """What a full snapshot changed is not counted before a file says it."""
    return "full" in archive.files(*span)["kind"].to_list()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(steps, min_size=1, max_size=12),
    st.lists(keeping, min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_merges_and_removals_do_not_matter(steps, keeping, order):
    archive = Archive(MemoryStore(), PROVIDER)
    for step in steps:
        done(archive, step)
    if not archive.store._objects:
        return
    expected, tasks = archive.changes(), archive.plan()
    states = [(archive.state(at(n)), archive.plan_state(at(n), parts=3)) for n in (0, 9, 13, 19)]
    for step in keeping:
        done(archive, step)
    if expected.height:
        assert together(archive, tasks, order).equals(expected)
    for state, parts in states:
        assert len(parts) <= 3
        if state.height:
            found = pl.concat([sent(part).read(archive) for part in parts])
            assert found.equals(state)
            assert sum(part.rows for part in parts) == state.height


@settings(max_examples=120, deadline=None)
@given(st.lists(steps, min_size=1, max_size=10), st.lists(later, min_size=1, max_size=4))
def test_a_task_answers_as_it_was_or_says_that_it_has_expired(before, after):
    archive = Archive(MemoryStore(), PROVIDER)
    for step in before:
        done(archive, step)
    if not archive.store._objects:
        return
    tasks = [*archive.plan(), *archive.plan_state(at(5), 2), *archive.plan_state(at(14), 2)]
    then = [task.read(archive) for task in tasks]
    for step in after:
        done(archive, step)
    for task, rows in zip(tasks, then, strict=True):
        try:
            now = sent(task).read(archive)
        except SnapshotExpiredError:
            continue
        # A full snapshot that comes before another one in the same month may restate a Time.
        columns = (
            rows.columns if task.start is not None else [c for c in rows.columns if c != "Time"]
        )
        assert now.select(columns).equals(rows.select(columns)), task


def test_what_comes_later_or_earlier_expires_nothing():
    archive = Archive(MemoryStore(), PROVIDER)
    for slot in (0, 1, 2, 5, 6, 7):
        archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot))
    tasks = archive.plan(at(5), at(8))
    expected = archive.changes(at(5), at(8))
    archive.ingest(snapshot({"a": (9, 0.5)}), at(9))
    archive.ingest(
        snapshot({"a": (7, 0.5), "z": (1, 1.0)}), at(1, 0) + (at(2) - at(1)) * 2
    )  # slot 3
    assert together(archive, archive.plan(at(9), at(10))).height
    with pytest.raises(SnapshotExpiredError, match="plan again"):
        together(archive, tasks)
    # Before the last snapshot before the range nothing reaches into it.
    tasks = archive.plan(at(6), at(8))
    archive.ingest(snapshot({"b": (4, 0.5)}), at(4), max_ceased=1.0)
    assert together(archive, tasks).equals(expected.filter(pl.col("Time") >= at(6)))


@pytest.mark.parametrize(
    "wanted",
    [
        {"where": pl.col("v") > 1},
        {"where": pl.col("k").is_in(["a", "c"]) | (pl.col("v") == 0)},
        {"columns": ["w"]},
        {"keys": [{"k": "a"}, {"k": "nobody"}]},
        {"k": "b"},
        {"k": ["a", "b"], "columns": [], "where": pl.col("Ceased")},
        {"where": pl.col("v") == pl.col("v").max()},
        {"where": pl.col("v").cum_count() < 4},
    ],
)
def test_what_is_wanted_of_an_answer_is_wanted_of_its_tasks(wanted):
    archive = Archive(MemoryStore(), PROVIDER)
    for slot in range(12):
        archive.ingest(
            snapshot({key: ((slot * n) % 4, 0.5) for n, key in enumerate(KEYS) if (slot + n) % 5}),
            at(slot),
            max_ceased=1.0,
        )
    expected = archive.changes(**wanted)
    tasks = archive.plan(**wanted)
    assert together(archive, tasks).equals(expected)
    if "Ceased" in str(wanted.get("where", "")):
        return
    state = archive.state(at(9), **wanted)
    parts = archive.plan_state(at(9), 3, **wanted)
    assert bool(parts) == bool(archive.state(at(9), **{**wanted, "where": None}).height)
    if not parts:
        return
    assert pl.concat([sent(part).read(archive) for part in parts]).equals(state)


def test_another_process_opens_the_archive_by_its_url(tmp_path, newcloud_archive):
    archive, expected = newcloud_archive
    tasks = [sent(task) for task in archive.plan()]
    assert (
        pl.concat([task.read() for task in tasks])
        .sort(expected.columns[:2])
        .equals(expected.sort(expected.columns[:2]))
    )
    assert all(len(task.to_json()) < 4096 for task in tasks)


@pytest.fixture
def newcloud_archive(tmp_path):
    archive = titans.open(LocalStore(tmp_path / "with space?"), provider="aws")
    for slot in range(3):
        archive.ingest(
            pl.DataFrame(
                {
                    "InstanceType": ["a", "b"],
                    "Region": ["r", "r"],
                    "AZ": ["z", "z"],
                    "SpotPrice": [0.1 * slot, 1.0],
                }
            ),
            at(slot),
        )
    return archive, archive.changes()


def test_tasks_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TITANS_ENV", "test")
    archive = titans.open(tmp_path, provider="aws")
    rows = {"InstanceType": ["a"], "Region": ["r"], "AZ": ["z"], "SpotPrice": [0.5]}
    archive.ingest(pl.DataFrame(rows), at(0))
    (task,) = archive.plan()
    monkeypatch.delenv("TITANS_ENV")
    assert sent(task).read().equals(archive.changes())


def test_an_upgraded_provider_has_to_plan_again():
    store = MemoryStore()
    archive = Archive(store, PROVIDER)
    archive.ingest(snapshot({"a": (1, 0.5)}), at(0))
    (task,) = archive.plan()
    upgraded = Archive(store, UPGRADED)
    with pytest.raises(SnapshotExpiredError, match="schema"):
        task.read(upgraded)
    assert pl.concat([each.read(upgraded) for each in upgraded.plan()]).equals(upgraded.changes())


def test_what_is_no_task_or_no_place_is_refused():
    archive = Archive(MemoryStore(), PROVIDER)
    archive.ingest(snapshot({"a": (1, 0.5)}), at(0))
    (task,) = archive.plan()
    with pytest.raises(InputError, match="read\\(archive\\)"):
        task.read()
    with pytest.raises(InputError, match="'aws'"):
        task.read(titans.open(archive.store, provider="aws"))
    for text in ("", "[]", "{", '{"version":1}', task.to_json().replace('"end":', '"and":')):
        with pytest.raises(InputError):
            ReadTask.from_json(text)
    with pytest.raises(FormatVersionError, match="same release"):
        ReadTask.from_json(task.to_json().replace('"version":1', '"version":2', 1))
    for parts in (0, -1, 1.5, True, "2"):
        with pytest.raises(InputError, match="parts"):
            archive.plan_state(at(0), parts)
    with pytest.raises(InputError, match="where"):
        archive.plan(where=pl.col("nobody") == 1)


def test_a_store_with_a_client_of_its_own_cannot_be_opened_elsewhere(moto_s3):
    from titans.store.s3 import S3Store

    given = S3Store("bucket", "a", client=moto_s3)
    assert given.address == ""
    own = S3Store("bucket", "a b/c", endpoint_url="http://127.0.0.1:1", region="eu-west-1")
    assert titans.store.open_store(own.address).url == own.url
    assert "127.0.0.1" in own.address
