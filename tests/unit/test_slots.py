"""Months, slots and exact sets of slots."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titans.errors import InputError, TimestampError
from titans.slots import Month, Slot, SlotSet, iso, parse_iso, to_utc

indexes = st.sets(st.integers(0, 60))


def test_a_slot_is_the_ten_minutes_that_hold_the_time():
    slot = Slot.of(datetime(2026, 1, 23, 14, 23, 59, tzinfo=UTC))
    assert slot.start == datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
    assert slot.index == 22 * 144 + 14 * 6 + 2
    assert slot.end - slot.start == timedelta(minutes=10)


def test_a_slot_is_found_in_utc_whatever_the_timezone():
    korea = timezone(timedelta(hours=9))
    assert Slot.of(datetime(2026, 2, 1, 8, 59, tzinfo=korea)) == Slot(Month(2026, 1), 31 * 144 - 1)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)), st.sampled_from([1, 5, 10, 60, 1440])
)
def test_every_time_lies_in_its_own_slot(naive, minutes):
    time = naive.replace(tzinfo=UTC)
    slot = Slot.of(time, minutes)
    assert time in slot
    assert Slot.of(slot.start, minutes) == slot
    assert 0 <= slot.index < slot.month.slots(minutes)


@pytest.mark.parametrize("wrong", [datetime(2026, 1, 1), "2026-01-01", None])
def test_a_naive_or_foreign_timestamp_is_refused(wrong):
    with pytest.raises(TimestampError, match="timezone-aware") as caught:
        to_utc(wrong)
    assert isinstance(caught.value, ValueError)


def test_months_follow_one_another_over_the_year():
    assert Month(2025, 12).next() == Month(2026, 1)
    assert Month(2026, 1).previous() == Month(2025, 12)
    assert Month.parse("2026-02").slots(10) == 28 * 144
    assert str(Month(2026, 2)) == "2026-02"


@pytest.mark.parametrize("text", ["2026-13", "2026", "26-01", "2026-1", ""])
def test_what_is_no_month_is_refused(text):
    with pytest.raises(InputError):
        Month.parse(text)


def test_a_time_survives_its_text():
    time = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert parse_iso(iso(time)) == time
    assert iso(time.replace(microsecond=0)) == "2026-01-02T03:04:05Z"


@given(indexes, indexes)
def test_slot_sets_behave_as_sets(a, b):
    left, right = SlotSet.of(a), SlotSet.of(b)
    assert set(left | right) == a | b
    assert set(left - right) == a - b
    assert set(left & right) == a & b
    assert len(left) == len(a)
    assert bool(left) == bool(a)
    assert list(left) == sorted(a)
    assert SlotSet.from_intervals(left.to_json()) == left


@given(indexes, st.integers(0, 61))
def test_slot_sets_know_members_and_neighbours(members, index):
    slots = SlotSet.of(members)
    assert (index in slots) == (index in members)
    assert slots.before(index) == max((m for m in members if m < index), default=None)
    assert slots.after(index) == min((m for m in members if m > index), default=None)
    assert set(slots.add(index)) == members | {index}
    assert slots.first == min(members, default=None)
    assert slots.last == max(members, default=None)


@given(indexes, st.lists(st.integers(0, 60), unique=True))
def test_slot_sets_know_what_they_lack(members, asked):
    assert SlotSet.of(members).missing(asked) == sorted(set(asked) - members)


@given(indexes)
def test_slot_sets_are_kept_as_few_intervals(members):
    intervals = SlotSet.of(members).intervals
    assert all(a[1] + 1 < b[0] for a, b in zip(intervals, intervals[1:], strict=False))


@pytest.mark.parametrize("wrong", [[[3, 2]], [[-1, 2]], [[1]], [["a", "b"]], [[1, 2, 3]]])
def test_what_is_no_interval_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        SlotSet.from_intervals(wrong)
