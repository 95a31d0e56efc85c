"""Whatever order snapshots and changes come in, every acknowledged snapshot comes back as it
was."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import PROVIDER, as_dict, at, changes, replayed, snapshot

from titans import Archive
from titans.store.memory import MemoryStore

VALUES = st.tuples(st.integers(0, 2), st.sampled_from([0.5, 1.5]))
SNAPSHOT = st.dictionaries(st.sampled_from("abc"), VALUES)
CHANGES = st.dictionaries(st.sampled_from("abc"), st.none() | VALUES, min_size=1)
SLOT = st.integers(8, 15)  # four slots before the end of a month, four after
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("ingest"), SLOT, st.sampled_from([0, 3.5]), SNAPSHOT),
        st.tuples(st.just("upload"), SLOT, st.just(0), CHANGES),
        st.tuples(st.just("compact"), st.just(0), st.just(0), st.none()),
    ),
    min_size=2,
    max_size=12,
)


@given(EVENTS)
@settings(max_examples=60, deadline=None)
def test_the_state_at_every_acknowledged_snapshot_is_that_snapshot(events):
    store = MemoryStore()
    assume(any(what != "compact" for what, *_ in events))
    collectors = [Archive(store, PROVIDER), Archive(store, PROVIDER)]
    seen: dict = {}
    for number, (what, slot, minutes, rows) in enumerate(events):
        archive = collectors[number % 2]
        if what == "ingest":
            result = archive.ingest(snapshot(rows), at(slot, minutes), max_ceased=1.0)
            if result.status != "skipped":
                seen[at(slot, minutes)] = rows
        elif what == "upload":
            archive.upload(changes(rows), at(slot))
        else:
            archive.compact()
    for _ in range(2):  # before and after everything is adopted
        points = archive.changes()
        for moment, rows in seen.items():
            assert as_dict(archive.state(moment)) == rows
            assert replayed(points, moment) == rows
        archive.compact()


@given(
    st.lists(st.tuples(SLOT, CHANGES), min_size=1, max_size=10, unique_by=lambda e: e[0]),
    st.randoms(),
)
@settings(max_examples=40, deadline=None)
def test_uploaded_changes_are_counted_once_in_whatever_order_they_come(uploads, random):
    archive = Archive(MemoryStore(), PROVIDER)
    expected = sorted(
        (key, at(slot), *(values or (None, None)), values is None)
        for slot, rows in uploads
        for key, values in rows.items()
    )
    for slot, rows in random.sample(uploads, len(uploads)):
        archive.upload(changes(rows), at(slot))
        if random.random() < 0.5:
            archive.compact()
    assert archive.changes().rows() == expected
    archive.compact()
    assert archive.changes().rows() == expected
    for key in "abc":
        assert archive.history(k=key).rows() == [row for row in expected if row[0] == key]
    for moment in (at(7), at(11, 5), at(12), at(99)):
        assert as_dict(archive.state(moment)) == replayed(archive.changes(), moment)
