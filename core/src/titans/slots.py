"""Time as the archive counts it: months, slots, and exact sets of slots.

A slot is a bucket of `minutes` minutes (10 unless the provider says otherwise), in UTC: 14:23 lies
in the slot 14:20. Slots are numbered within their month, from 0: `((day - 1) * 1440 + hour * 60 +
minute) // minutes`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain
from operator import itemgetter

from attrs import frozen

from titans.errors import InputError, TimestampError

__all__ = [
    "BEGIN",
    "END",
    "NO_SLOTS",
    "TICK",
    "Moment",
    "Month",
    "Slot",
    "SlotSet",
    "interval_start",
    "iso",
    "parse_duration",
    "parse_iso",
    "to_moment",
    "to_utc",
]

DAY_MINUTES = 1440

TICK = timedelta(microseconds=1)
"""The smallest difference between two times of an archive."""

Moment = datetime | date | str
"""What a question takes for a time: see `to_moment`."""

BEGIN = datetime(1000, 1, 1, tzinfo=UTC)
"""No archive holds anything before that: years have four digits in paths."""
END = datetime(9999, 1, 1, tzinfo=UTC)
"""No archive holds anything from then on."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_utc(timestamp: datetime, what: str = "timestamp") -> datetime:
    """`timestamp` as a plain `datetime` in UTC: the one way in for a moment that a caller gives.

    Of a pandas `Timestamp` the nanoseconds are left out, as Python does it.

    Raises:
        TimestampError: it is not a datetime (a date is none, nor `NaT`), has no timezone, or lies
            outside the years 1 to 9999. A `ValueError`.
    """
    if type(timestamp) is datetime and timestamp.tzinfo is UTC:
        return timestamp
    if not isinstance(timestamp, datetime) or timestamp != timestamp:
        raise TimestampError(
            f"{what} must be a timezone-aware datetime, got {type(timestamp).__name__} "
            f"{timestamp!r}"
        )
    try:
        if timestamp.utcoffset() is None:
            raise TimestampError(
                f"{what} must be timezone-aware, got naive {timestamp.isoformat()}; "
                "add tzinfo, for example timestamp.replace(tzinfo=timezone.utc)"
            )
        utc = timestamp.astimezone(UTC)
        day = date(utc.year, utc.month, utc.day)
        clock = time(utc.hour, utc.minute, utc.second, utc.microsecond, UTC)
    except TimestampError:
        raise
    except (OverflowError, ValueError) as error:
        raise TimestampError(
            f"{what}, in the year {timestamp.year}, lies outside the years 1 to 9999 in UTC"
        ) from error
    return datetime.combine(day, clock)


def to_moment(given: Moment, what: str = "at") -> datetime:
    """`given` as a plain `datetime` in UTC: the one way in for a moment that a question names.

    A date is its first moment, in UTC. Text is ISO 8601, `"2026-01-23"` or `"2026-01-23T09:00Z"`;
    without an offset it is UTC.

    Raises:
        TimestampError: as `to_utc`; or it is no such text.
    """
    if isinstance(given, str):
        return _parsed_moment(given, what)
    if isinstance(given, date) and not isinstance(given, datetime):
        return datetime.combine(given, time(), UTC)
    return to_utc(given, what)


def _parsed_moment(text: str, what: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise TimestampError(
            f"{what} is no time: {text!r}; write it like 2026-01-23 or 2026-01-23T14:20Z"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return to_utc(moment, what)


def iso(timestamp: datetime) -> str:
    """`timestamp` (UTC) as ISO 8601 with a `Z`; microseconds only where there are any."""
    return timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_iso(text: str) -> datetime:
    """The inverse of `iso`. Raises `ValueError` where the text is not a timezone-aware ISO 8601
    time.
    """
    return to_utc(datetime.fromisoformat(text), f"time {text!r}")


def parse_duration(text: str) -> timedelta:
    """`"90s"`, `"30m"`, `"1h"`, `"7d"` → a timedelta. Raises `InputError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    if not match:
        raise InputError(f"a duration is written like '30m', '1h' or '0s', got {text!r}")

    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
    return timedelta(**{unit: float(match[1])})


def interval_start(moment: datetime, every: timedelta) -> datetime:
    """The start of the interval that holds `moment`; intervals are counted from 1970, UTC."""
    return _EPOCH + (moment - _EPOCH) // every * every


@frozen(order=True)
class Month:
    """A calendar month in UTC."""

    year: int
    month: int

    def __attrs_post_init__(self) -> None:
        if not (1 <= self.year <= 9999 and 1 <= self.month <= 12):
            raise InputError(f"no such month: {self.year}-{self.month}")

    @classmethod
    def of(cls, timestamp: datetime) -> Month:
        """The month that holds `timestamp` (timezone-aware; converted to UTC).

        Raises:
            TimestampError: no archive holds it: it lies before the year 1000 or after 9998.
        """
        utc = to_utc(timestamp)
        if not BEGIN <= utc < END:
            raise TimestampError(
                f"{iso(utc)} is out of range: an archive holds the years 1000 to 9998"
            )
        return cls(utc.year, utc.month)

    @classmethod
    def parse(cls, text: str) -> Month:
        """`"2026-01"` → January 2026."""
        match = re.fullmatch(r"(\d{4})-(\d{2})", text)
        if not match:
            raise InputError(f"a month is written like '2026-01', got {text!r}")
        return cls(int(match[1]), int(match[2]))

    @property
    def start(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return self.next().start

    def next(self) -> Month:
        if self.month == 12:
            return Month(self.year + 1, 1)
        return Month(self.year, self.month + 1)

    def previous(self) -> Month:
        if self.month == 1:
            return Month(self.year - 1, 12)
        return Month(self.year, self.month - 1)

    def slots(self, minutes: int) -> int:
        """How many slots of `minutes` minutes the month has."""
        return int((self.end - self.start) / timedelta(minutes=minutes))

    @property
    def path(self) -> str:
        return f"{self.year:04d}/{self.month:02d}"

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


@frozen(order=True)
class Slot:
    """One bucket of time: the `index`-th of its month."""

    month: Month
    index: int
    minutes: int = 10

    @classmethod
    def of(cls, timestamp: datetime, minutes: int = 10) -> Slot:
        """The slot that holds `timestamp` (timezone-aware; converted to UTC)."""
        utc = to_utc(timestamp)
        of_month = (utc.day - 1) * DAY_MINUTES + utc.hour * 60 + utc.minute
        return cls(Month.of(utc), of_month // minutes, minutes)

    @property
    def start(self) -> datetime:
        return self.month.start + timedelta(minutes=self.index * self.minutes)

    @property
    def end(self) -> datetime:
        return self.start + timedelta(minutes=self.minutes)

    def __contains__(self, timestamp: datetime) -> bool:
        return self.start <= timestamp < self.end

    def __str__(self) -> str:
        return iso(self.start)


@frozen
class SlotSet:
    """An exact, immutable set of slot indexes of one month, kept as sorted disjoint intervals (both
    ends included).
    """

    intervals: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, indexes: Iterable[int]) -> SlotSet:
        return cls.from_intervals((i, i) for i in indexes)

    @classmethod
    def from_intervals(cls, intervals: Iterable[Iterable[int]]) -> SlotSet:
        """From `[first, last]` pairs in any order, overlapping or not.

        Raises:
            ValueError: a pair is not two integers with 0 <= first <= last.
        """
        merged: list[tuple[int, int]] = []
        for pair in sorted(map(tuple, intervals)):
            if not _is_interval(pair):
                raise ValueError(f"not a slot interval: {list(pair)}")

            first, last = pair
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))

        return cls(tuple(merged))

    def add(self, index: int) -> SlotSet:
        if index in self:
            return self
        return self | SlotSet(((index, index),))

    def __or__(self, other: SlotSet) -> SlotSet:
        return SlotSet.from_intervals((*self.intervals, *other.intervals))

    def __sub__(self, other: SlotSet) -> SlotSet:
        """The slots of `self` that are not in `other`."""
        left: list[tuple[int, int]] = []
        for first, last in self.intervals:
            for other_first, other_last in other.intervals:
                if other_last < first or other_first > last:
                    continue
                if other_first > first:
                    left.append((first, other_first - 1))
                first = other_last + 1

            if first <= last:
                left.append((first, last))

        return SlotSet(tuple(left))

    def __and__(self, other: SlotSet) -> SlotSet:
        return self - (self - other)

    def __contains__(self, index: object) -> bool:
        if not isinstance(index, int):
            return False
        position = self._begun(index) - 1
        return position >= 0 and index <= self.intervals[position][1]

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(range(first, last + 1) for first, last in self.intervals)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.intervals)

    def __bool__(self) -> bool:
        return bool(self.intervals)

    def missing(self, indexes: Iterable[int]) -> list[int]:
        """Those of `indexes` that are not in the set, ascending."""
        wanted = sorted(indexes)
        missing = list[int]()
        done = 0  # how many of `wanted` have been looked at
        for first, last in self.intervals:
            begin = bisect_left(wanted, first, done)
            missing += wanted[done:begin]
            done = bisect_right(wanted, last, begin)

        return missing + wanted[done:]

    def before(self, index: int) -> int | None:
        """The greatest member below `index`."""
        position = self._begun(index - 1) - 1
        if position < 0:
            return None
        return min(self.intervals[position][1], index - 1)

    def after(self, index: int) -> int | None:
        """The least member above `index`."""
        for first, last in self.intervals:
            if last > index:
                return max(first, index + 1)
        return None

    @property
    def first(self) -> int | None:
        return self.intervals[0][0] if self.intervals else None

    @property
    def last(self) -> int | None:
        return self.intervals[-1][1] if self.intervals else None

    def to_json(self) -> list[list[int]]:
        return list(map(list, self.intervals))

    def _begun(self, index: int) -> int:
        """How many intervals begin at `index` or before."""
        return bisect_right(self.intervals, index, key=itemgetter(0))


def _is_interval(pair: tuple[int, ...]) -> bool:
    if len(pair) != 2 or not all(type(bound) is int for bound in pair):
        return False
    return 0 <= pair[0] <= pair[1]


NO_SLOTS = SlotSet()
