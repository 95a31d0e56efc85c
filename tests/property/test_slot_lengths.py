"""Everything that counts in slots does so in slots of any length that divides a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import PROVIDER, as_dict, replayed, snapshot

from titans import Archive, PathLayout
from titans.errors import InputError, ProviderMismatchError
from titans.layout import Paths
from titans.slots import Month, Slot
from titans.store.memory import MemoryStore
from titans.tiers.manifest.commit import read_head

LENGTHS = [n for n in range(1, 1441) if 1440 % n == 0]
LENGTH = st.sampled_from(LENGTHS)
TIME = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))
START = datetime(2026, 1, 1, tzinfo=UTC)


def of_length(minutes: int):
    return evolve(PROVIDER, layout=PathLayout(slot_minutes=minutes))


@given(LENGTH, TIME, TIME)
def test_keys_are_told_apart_sorted_and_read_back_as_their_slots(minutes, one, other):
    paths = Paths("p", PathLayout(slot_minutes=minutes))
    a, b = (Slot.of(time, minutes) for time in (one, other))
    for slot, time in ((a, one), (b, other)):
        assert slot.start <= time < slot.end
        assert slot.end - slot.start == timedelta(minutes=minutes)
        assert (slot.start - slot.start.replace(hour=0, minute=0)) % timedelta(
            minutes=minutes
        ) == timedelta(0)
        assert paths.parse_hot_key(paths.hot_key(slot)) == slot
    assert (paths.hot_key(a) < paths.hot_key(b)) == (a < b)
    assert (paths.hot_key(a) == paths.hot_key(b)) == (a.start == b.start)


@given(LENGTH, st.integers(1, 12))
def test_the_slots_of_a_month_are_all_of_it_and_numbered_within_five_digits(minutes, month):
    whole = Month(2026, month)
    count = whole.slots(minutes)
    assert Slot(whole, 0, minutes).start == whole.start
    assert Slot(whole, count - 1, minutes).end == whole.end
    assert len(str(count - 1)) <= 5


@given(
    st.integers(-3, 1500)
    | st.floats()
    | st.booleans()
    | st.sampled_from(["60", None, timedelta(hours=1)])
)
def test_only_divisors_of_a_day_in_whole_minutes_are_lengths(minutes):
    if type(minutes) is int and minutes in LENGTHS:
        assert PathLayout(slot_minutes=minutes).slot_minutes == minutes
    else:
        with pytest.raises(InputError, match="whole number of minutes that divides a day"):
            PathLayout(slot_minutes=minutes)


VALUES = st.tuples(st.integers(0, 2), st.sampled_from([0.5, 1.5]))
EVENTS = st.lists(
    st.tuples(
        st.integers(-5, 6), st.floats(0, 0.99), st.dictionaries(st.sampled_from("abc"), VALUES)
    ),
    min_size=2,
    max_size=10,
    unique_by=lambda event: event[0],
)


@given(LENGTH, EVENTS, st.sampled_from(LENGTHS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_archive_of_any_slot_length_keeps_what_it_saw(minutes, events, another):
    length = timedelta(minutes=minutes)
    store, seen = MemoryStore(), {}
    archive = Archive(store, of_length(minutes))
    border = datetime(2026, 2, 1, tzinfo=UTC)
    with (
        patch("titans.tiers.compact.plan.FANOUTS", (2, 2)),
        patch("titans.tiers.compact.plan.TOP", 2),
        patch("titans.tiers.compact.plan.is_worth_a_keyframe", lambda rows, keys: True),
    ):
        for slot, share, rows in events:
            time = border + slot * length + timedelta(seconds=int(share * length.total_seconds()))
            result = archive.ingest(snapshot(rows), time, max_ceased=1.0)
            assert result.key == archive.paths.hot_key(Slot.of(time, minutes))
            seen[time] = rows
        for _ in range(2):
            points = archive.changes()
            for time, rows in seen.items():
                assert as_dict(archive.state(time)) == rows
                assert replayed(points, time) == rows
            slots = {Slot.of(time, minutes).start for time in seen}
            coverage = archive.coverage()
            assert coverage["slot"].to_list() == [
                min(slots) + n * length for n in range((max(slots) - min(slots)) // length + 1)
            ]
            assert set(coverage.filter(status="observed")["slot"]) == slots
            for month in {Month.of(time) for time in seen}:
                archive.seal(str(month))
                manifest = read_head(archive._dataset, month).manifest
                assert manifest.slot_minutes == minutes
        assert archive.verify(deep=True).passed
    if another != minutes:
        before = {e.key: store.get(e.key).data for e in store.list()}
        other = Archive(store, of_length(another))
        for call in (
            other.latest,
            lambda: other.ingest(snapshot({}), border, max_ceased=1.0),
            other.verify,
        ):
            with pytest.raises(
                ProviderMismatchError,
                match=f"slots of {minutes} minutes, but .* declares {another};",
            ):
                call()
        assert {e.key: store.get(e.key).data for e in store.list()} == before
