"""What is corrected: the archive is what it would be had the other content come in first."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import BytesIO

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meaning import (
    CONTENT,
    FEW,
    KEYS,
    MONTHS,
    UPKEEP,
    check,
    check_files,
    histories,
    lose_manifests,
    state_at,
    store_content,
    tidy,
)
from oracle import PROVIDER, as_dict, changes, snapshot

from titans import Archive
from titans.errors import InputError
from titans.store.local import LocalStore

pytestmark = [pytest.mark.usefixtures("small_files"), pytest.mark.slow]

CORRECTIONS = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.one_of(st.none(), CONTENT),
        st.integers(0, 9),
        st.lists(UPKEEP, max_size=2),
    ),
    min_size=1,
    max_size=4,
)
"""Of which slot, its new content (`None`: it is retracted), the minute, and what is done then."""


def correct(archive, content, time, new, minute):
    """Correct a slot in the archive and in the oracle; twice, which is once."""
    slot = time.replace(minute=time.minute // 10 * 10)
    later = slot + timedelta(minutes=minute)
    if new is None:
        assert archive.retract(time, reason="retracted").status == "done"
        assert archive.retract(later, reason="retracted").status == "already"
        del content[time]
        return
    for number in range(2):
        kind, rows = new
        if kind == "snapshot":
            done = archive.amend(snapshot(rows), later, reason="wrong", max_ceased=1.0)
        elif rows or kind == "complete":
            frame = changes(rows).with_columns(Time=later)
            complete = kind == "complete"
            done = archive.amend_changes(frame, later, reason="wrong", complete=complete)
        assert number == 0 or done.status == "already"
    del content[time]
    content[later] = new


@given(histories(), CORRECTIONS, st.booleans())
@FEW
def test_a_corrected_archive_is_what_it_would_be(tmp_path_factory, history, corrections, lost):
    content, arrivals = history
    archive = Archive(LocalStore(tmp_path_factory.mktemp("archive")), PROVIDER)
    arrived = {}
    for number, (time, upkeep) in enumerate(arrivals):
        store_content(archive, time, *content[time])
        arrived[time] = content[time]
        for what in upkeep:
            tidy(archive, what)
        for which, new, minute, after in corrections:
            if which % len(arrivals) == number and arrived:
                correct(archive, arrived, sorted(arrived)[which % len(arrived)], new, minute)
                for what in after:
                    tidy(archive, what)
    content = arrived
    check(archive, content)
    archive.compact()
    check(archive, content)
    if lost:
        lose_manifests(archive)
        archive.repair()
        archive.compact()
        check(archive, content)
    for month in (*MONTHS, *MONTHS):
        tidy(archive, month)
    check(archive, content)
    check_files(archive)
    archive.vacuum("0s")
    check(archive, content)
    found = archive.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]


def without(kind, rows, keys):
    """The content of a slot after keys were erased. An upload of nothing else was no empty one."""
    left = {key: values for key, values in rows.items() if key not in keys}
    return ("erased" if kind == "complete" and rows and not left else kind), left


def holds(archive, key):
    """What in the store still knows the key `key`."""
    found = []
    for entry in archive.store.list():
        data = archive.store.get(entry.key).data
        if entry.key.endswith("manifest.json"):
            texts = [data.decode()]
        else:
            texts = [pl.read_parquet_metadata(BytesIO(data))["titans"]]
            if key in pl.read_parquet(BytesIO(data))["k"].to_list():
                found.append(entry.key)
        if any(f'["{key}"]' in text.replace(" ", "") for text in texts):
            found.append(f"{entry.key}, in what it says")
    return found


@given(histories(), CORRECTIONS, st.lists(KEYS, min_size=1, max_size=2, unique=True), st.booleans())
@FEW
def test_erased_keys_are_nowhere(tmp_path_factory, history, corrections, keys, lost):
    content, arrivals = history
    archive = Archive(LocalStore(tmp_path_factory.mktemp("archive")), PROVIDER)
    middle = len(arrivals) // 2
    for number, (time, upkeep) in enumerate(arrivals):
        store_content(archive, time, *content[time])
        for what in upkeep:
            tidy(archive, what)
        if number == middle:
            archive.erase([{"k": key} for key in keys], reason="by law")
            for before, _ in arrivals[: number + 1]:
                content[before] = without(*content[before], keys)
    check(archive, content)
    for which, new, minute, _ in corrections:
        correct(archive, content, sorted(content)[which % len(content)], new, minute)
        if not content:
            break
    done = archive.erase([{"k": key} for key in keys], reason="by law")
    assert archive.erase(pl.DataFrame({"k": keys}), reason="by law").status == "already"
    if lost and done.months:
        lose_manifests(archive)
        archive.repair()
        archive.compact()
    left = {time: without(*content[time], keys) for time in content}
    check(archive, left)
    archive.vacuum("0s")
    archive.vacuum("0s")
    for key in keys:
        assert holds(archive, key) == []
    check(archive, left)
    for month in (*MONTHS, *MONTHS):
        tidy(archive, month)
    check(archive, left)
    check_files(archive)
    found = archive.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]


@given(histories(), st.sampled_from(MONTHS), st.booleans())
@FEW
def test_what_is_retained_stands_alone(tmp_path_factory, history, since, lost):
    content, arrivals = history
    archive = Archive(LocalStore(tmp_path_factory.mktemp("archive")), PROVIDER)
    border = datetime.fromisoformat(f"{since}-01T00:00Z")
    middle = len(arrivals) // 2
    done = None
    for number, (time, upkeep) in enumerate(arrivals):
        if done is not None and time < border:
            with pytest.raises(InputError, match="keeps nothing of"):
                store_content(archive, time, *content[time])
            del content[time]
            continue
        store_content(archive, time, *content[time])
        for what in upkeep:
            tidy(archive, what)
        stored = [t for t, _ in arrivals[: number + 1]]
        if number >= middle and done is None and min(stored) < border <= max(stored):
            before = state_at({t: content[t] for t in stored}, border - timedelta(microseconds=1))
            done = archive.retain(since=since, reason="old")
            assert done.status == "done"
            assert archive.retain(since=since, reason="old").status == "already"
            for t in [t for t in stored if t < border]:
                del content[t]
    if done is None:
        return
    archive.compact()
    if lost:
        lose_manifests(archive)
        archive.repair()
        archive.compact()
    # What the keys that lived then had is as if it had been said just before.
    said = {border - timedelta(microseconds=1): ("snapshot", before)} | content
    for _ in range(2):
        for moment in [border, *(t + timedelta(minutes=d) for t in content for d in (-1, 0, 1))]:
            if moment >= border:
                assert as_dict(archive.state(moment)) == state_at(said, moment), moment
        assert archive.changes()["Time"].min() is None or archive.changes()["Time"].min() >= border
        held = archive.intervals().filter(pl.col("valid_from") < border)
        assert set(held["k"]) <= set(before)
        archive.vacuum("0s")
        archive.vacuum("0s")
        held = {f"{time:%Y-%m}" for time in content}
        for month in (*MONTHS, *MONTHS):
            if month != since or month in held:  # else it has a beginning, and nothing to seal
                tidy(archive, month)
    if not lost:
        early = [entry.key for entry in archive.store.list() if "parquet" in entry.key[-8:]]
        months = [month for month in MONTHS if month < since]
        assert [k for k in early if any(m.replace("-", "/") in k for m in months)] == []
        with pytest.raises(InputError, match="keeps nothing of"):
            archive.state(border - timedelta(days=1))
    found = archive.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]
