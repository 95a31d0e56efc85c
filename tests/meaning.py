"""What an archive is, as a program; and archives to ask about it, with what is asked.

A full snapshot asserts every key, an upload the keys in it. The state of a key at t is what the last
slot at or before t that asserts it said. The order of arrival, merges, seals and vacuums do not
enter.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from oracle import PROVIDER, as_dict, changes, replayed, snapshot

from titans import Archive
from titans.errors import InputError

MONTHS = ["2026-01", "2026-02", "2026-03"]
STARTS = [datetime(2026, 1, 31, 23, 30, tzinfo=UTC), datetime(2026, 2, 28, 23, 30, tzinfo=UTC)]
SLOTS = [start + timedelta(minutes=10 * n) for start in STARTS for n in range(7)]
"""Around two month ends."""

VALUES = st.tuples(st.integers(0, 2), st.sampled_from([0.5, 1.5]))
KEYS = st.sampled_from("abc")
CONTENT = st.one_of(
    st.tuples(st.just("snapshot"), st.dictionaries(KEYS, VALUES)),
    st.tuples(st.just("changes"), st.dictionaries(KEYS, st.none() | VALUES, min_size=1)),
    st.tuples(st.just("complete"), st.dictionaries(KEYS, st.none() | VALUES)),
)
UPKEEP = st.sampled_from(["compact", "vacuum", *MONTHS])

FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def state_at(content: dict, moment: datetime) -> dict:
    """The sentence above, as a program."""
    state = {}
    for time in sorted(content):
        kind, rows = content[time]
        if time <= moment:
            if kind == "snapshot":
                state = {}
            state |= rows
    return {key: values for key, values in state.items() if values is not None}


@st.composite
def histories(draw):
    """Time → content, the order in which it arrives, and what is done in between."""
    slots = draw(st.lists(st.sampled_from(SLOTS), min_size=2, max_size=9, unique=True))
    content = {}
    for slot in slots:
        content[slot + timedelta(minutes=draw(st.integers(0, 9)))] = draw(CONTENT)
    arrivals = draw(st.permutations(sorted(content)))
    upkeep = draw(st.lists(st.lists(UPKEEP, max_size=2), min_size=9, max_size=9))
    return content, list(zip(arrivals, upkeep, strict=False))


def store_content(archive: Archive, time: datetime, kind: str, rows: dict) -> None:
    if kind == "snapshot":
        assert archive.ingest(snapshot(rows), time, max_ceased=1.0).status != "skipped"
        return
    frame = changes(rows).with_columns(pl.lit(time).cast(pl.Datetime("us", "UTC")).alias("Time"))
    assert archive.upload(frame, time, complete=kind == "complete")


def status_of(kind: str, rows: dict) -> str:
    """What coverage says of a slot."""
    if kind == "changes":
        return "changes"
    return "empty" if kind == "complete" and not rows else "observed"


def tidy(archive: Archive, what: str) -> None:
    if what == "compact":
        archive.compact()
    elif what == "vacuum":
        archive.vacuum("0s")
    else:
        try:
            archive.seal(what)
        except InputError:
            assert not any(f"{m.month}" == what for m in archive.status())


def check(archive: Archive, content: dict) -> None:
    """Every question that has a time says the same as the sentence."""
    points = archive.changes()
    assert not points.select("k", "Time").is_duplicated().any()
    moments = [t + timedelta(minutes=d) for t in (*SLOTS, *content) for d in (-1, 0, 1)]
    for moment in sorted(moments):
        expected = state_at(content, moment)
        assert as_dict(archive.state(moment)) == expected, moment
        assert replayed(points, moment) == expected, moment
    assert as_dict(archive.latest()) == state_at(content, SLOTS[-1] + timedelta(days=1))
    scanned = archive.scan().collect().sort("k", "Time")
    assert scanned.equals(points)
    for key in "abc":
        assert archive.history(k=key).equals(points.filter(k=key))

    covered = dict(archive.coverage(SLOTS[0], SLOTS[-1] + timedelta(minutes=10)).rows())
    said = {time.replace(minute=time.minute // 10 * 10): content[time] for time in content}
    for slot in SLOTS:
        assert covered[slot] == (status_of(*said[slot]) if slot in said else "missing"), slot


def check_files(archive: Archive) -> None:
    """In a sealed month the union of the files is the change points, not one row more."""
    for status in archive.status():
        assert status.sealed
        start, end = status.month.start, status.month.end
        files = archive.files(start, end)
        assert set(files["filter"]) <= {""}
        assert files["full_snapshots"].list.len().sum() == 0
        frames = [pl.read_parquet(url) for url in files["url"]]
        union = pl.concat([pl.DataFrame(schema=dict(PROVIDER.schema_dtypes)), *frames])
        assert union.sort("k", "Time").equals(archive.changes(start, end))
        assert files["rows"].sum() == union.height


def lose_manifests(archive: Archive) -> None:
    for entry in list(archive.store.list("parquet_warm/")):
        if entry.key.endswith("/manifest.json"):
            archive.store.delete(entry.key)
