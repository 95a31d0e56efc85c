"""Checks of paths and slots: one place for each thing, found again from its path, and nothing of
anybody else's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from titans.errors import InvalidKeyError
from titans.layout import Paths
from titans.slots import Month, Slot
from titans.store import check_key
from titans.testing._provider_suite import ProviderSuite
from titans.testing._suite import Nonconformance, expect

__all__ = ["PathChecks"]

MONTHS = [
    Month(1999, 12),
    Month(2000, 1),
    Month(2024, 2),
    Month(2026, 1),
    Month(2026, 2),
    Month(2026, 10),
    Month(2027, 1),
]
DAY = 1440


class PathChecks(ProviderSuite, kit=True):
    """Layout of the store, and arithmetic of slots."""

    @property
    def _minutes(self) -> int:
        return self._provider.layout.slot_minutes

    def _slots(self) -> list[Slot]:
        """Of several years, in order: the beginning and the end of months, among them a leap
        February.
        """
        slots = []
        for month in MONTHS:
            count = month.slots(self._minutes)
            indexes = sorted({*range(min(300, count)), *range(max(0, count - 300), count)})
            slots += [Slot(month, index, self._minutes) for index in indexes]

        return slots

    # --- paths ------------------------------------------------------------------------------------

    def test_every_slot_has_a_path_of_its_own(self) -> None:
        """No two slots share a file."""
        paths = self._provider.paths()
        owner = dict[str, Slot]()
        for slot in self._slots():
            path = paths.hot_key(slot)
            expect(
                path not in owner, f"the slots {owner.get(path)} and {slot} share the path {path}"
            )
            owner[path] = slot

    def test_paths_are_sorted_by_time(self) -> None:
        """Listing a prefix gives files in the order of their slots, over months and years."""
        paths = self._provider.paths()
        hot_keys = map(paths.hot_key, self._slots())
        for path, later in pairwise(hot_keys):
            expect(path < later, f"the later slot's path comes first: {later} sorts before {path}")

        manifests = [paths.manifest_key(month) for month in MONTHS]
        expect(
            manifests == sorted(set(manifests)),
            f"paths of manifests are not sorted by month: {manifests}",
        )

    def test_a_path_tells_its_slot(self) -> None:
        """Hot files, manifests and keyframes are found again from their paths."""
        paths = self._provider.paths()
        for slot in self._slots():
            path = paths.hot_key(slot)
            try:
                parsed = paths.parse_hot_key(path)
            except InvalidKeyError as error:
                problem = f"the path of slot {slot} is not recognised: {error}"
                raise Nonconformance(problem) from error

            expect(parsed == slot, f"{path} was made for the slot {slot} and is read as {parsed}")

        for month in MONTHS:
            name = paths.keyframe_name(0, "0123456789abcdef")
            expect(
                paths.parse_manifest_key(paths.manifest_key(month)) == month,
                f"the manifest of {month} is not recognised",
            )
            expect(
                paths.parse_keyframe_key(paths.state_month(month) + name) == (month, name),
                f"the keyframes of {month} are not recognised",
            )

    def test_paths_are_keys_that_every_store_takes(self) -> None:
        """Relative, no empty or hidden segments, no backslashes, short enough."""
        for path in self._some_paths(self._provider.paths()):
            try:
                check_key(path)
            except InvalidKeyError as error:
                raise Nonconformance(f"a store would refuse the path {path!r}: {error}") from error

    def test_foreign_paths_are_refused(self) -> None:
        """Nothing outside, nothing of another provider, nothing between slots: keys are data, not
        trust.
        """
        paths = self._provider.paths()
        slot = Slot.of(self._slot_start(5), self._minutes)
        own = paths.hot_key(slot)
        stranger = Paths("stranger", self._provider.layout, paths.environment).hot_key(slot)

        prefix = paths.hot_prefix
        for path in (
            f"{prefix}/../../etc/passwd",
            f"{prefix}/2026/03/01/../../../x.parquet",
            f"/{own}",
            f"../{own}",
            own + "/",
            own + "x",
            own.replace(".parquet", ".json"),
            own.replace("/2026/", "//2026/"),
            own.replace("/2026/", "/2026/../2026/"),
            f"{prefix}/2026/13/01/00-00.parquet",
            f"{prefix}/2026/02/30/00-00.parquet",
            f"{prefix}/2026/03/01/24-00.parquet",
            f"{prefix}/2026/03/01/00-60.parquet",
            f"{prefix}/2026/3/1/0-0.parquet",
            "",
            own.upper(),
            f"x{own}",
            stranger,
        ):
            self._refuses_hot_key(paths, path)

        for file in (
            "../manifest.json",
            "manifest.json",
            "a/b.parquet",
            "L1_0001_00000-00007.parquet/..",
            stranger,
        ):
            self._refuses_file(paths, file)

    def _refuses_hot_key(self, paths: Paths, path: str) -> None:
        try:
            slot = paths.parse_hot_key(path)
        except InvalidKeyError:
            return
        raise Nonconformance(
            f"{path!r} is taken for the hot file of the slot {slot} of provider "
            f"{self._provider.name!r}"
        )

    def _refuses_file(self, paths: Paths, file: str) -> None:
        try:
            paths.file_key(MONTHS[0], file)
        except InvalidKeyError:
            return
        raise Nonconformance(f"a manifest that names {file!r} is believed")

    def test_paths_belong_to_this_provider_alone(self) -> None:
        """With another provider's name all prefixes are others: two providers in one store stay
        apart.
        """
        mine = self._provider.paths()
        other = Paths("stranger", self._provider.layout, mine.environment)
        for tier in ("hot_prefix", "warm_prefix", "state_prefix"):
            prefix = getattr(mine, tier)
            expect(
                prefix != getattr(other, tier) or self._provider.name in prefix.split("/"),
                f"the {tier} {prefix!r} does not name the provider; put {{provider}} into the "
                "PathLayout",
            )

    def test_tiers_do_not_overlap(self) -> None:
        """Hot files, warm files and keyframes have prefixes of their own."""
        paths = self._provider.paths()
        prefixes = [paths.hot_prefix, paths.warm_prefix, paths.state_prefix]
        for a in prefixes:
            inside = [b for b in prefixes if b is not a and f"{b}/".startswith(f"{a}/")]
            expect(
                not inside,
                f"the prefix {inside[:1]} lies inside {a!r}; give each tier one of its own",
            )

    def test_the_test_environment_has_its_own_paths(self) -> None:
        """With `TITANS_ENV=test` everything lies below `test/`, and paths of the other environment
        are refused.
        """
        with _environment(""):
            real = self._provider.paths()
        with _environment("test"):
            test = self._provider.paths()
        for path, other in zip(self._some_paths(test), self._some_paths(real), strict=True):
            expect(
                path == f"test/{other}",
                f"with TITANS_ENV=test the path is {path!r}, not 'test/{other}'",
            )

        slot = Slot.of(self._slot_start(5), self._minutes)
        for paths, path in ((real, test.hot_key(slot)), (test, real.hot_key(slot))):
            try:
                paths.parse_hot_key(path)
            except InvalidKeyError:
                continue

            raise Nonconformance(f"{path} is believed in the wrong environment")

    def _some_paths(self, paths: Paths) -> list[str]:
        some = [paths.hot_key(slot) for slot in self._slots()[::50]]
        for month in MONTHS:
            some.append(paths.manifest_key(month))
            some.append(paths.warm_month(month) + paths.merged_name(1, 7, 0, 7))
            some.append(paths.state_month(month) + paths.keyframe_name(0, "0123456789abcdef"))
        return some

    # --- slots ------------------------------------------------------------------------------------

    def test_slots_divide_the_day(self) -> None:
        """A whole number of minutes, and a whole number of slots in a day."""
        minutes: Any = self._minutes
        expect(
            type(minutes) is int and minutes > 0 and DAY % minutes == 0,
            f"slot_minutes is {minutes!r}; choose an integer that divides the 1440 minutes of a "
            "day",
        )

    def test_slots_meet_without_gap_or_overlap(self) -> None:
        """Each slot ends where the next begins, over the ends of months, leap days and years."""
        for month in [*MONTHS, Month(2025, 12), Month(2028, 2)]:
            count = month.slots(self._minutes)
            last = Slot(month, count - 1, self._minutes)
            expect(
                last.end == month.end == Slot(month.next(), 0, self._minutes).start,
                f"the last slot of {month} ends at {last.end}, the month at {month.end}",
            )
            for index in (0, 1, count // 2, count - 2):
                if not 0 <= index < count - 1:
                    continue
                end = Slot(month, index, self._minutes).end
                start = Slot(month, index + 1, self._minutes).start
                expect(
                    end == start,
                    f"slot {index} of {month} ends at {end}, the next one starts at {start}",
                )

    def test_every_moment_lies_in_one_slot(self) -> None:
        """In whatever timezone it is given; all moments of a slot have the slot's path."""
        minutes = self._minutes
        paths = self._provider.paths()
        zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))

        def holds(moment: datetime) -> None:
            slot = Slot.of(moment, minutes)
            expect(
                slot.start <= moment < slot.end,
                f"{moment} is put into the slot from {slot.start} to {slot.end}",
            )
            midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            passed = (moment - midnight) // timedelta(minutes=minutes)
            expect(
                slot.start == midnight + passed * timedelta(minutes=minutes),
                f"the slot of {moment} starts at {slot.start}",
            )

            path = paths.hot_key(slot)
            first = paths.hot_key(Slot.of(slot.start, minutes))
            last = paths.hot_key(Slot.of(slot.end - timedelta(microseconds=1), minutes))
            expect(
                first == path == last,
                f"moments of the slot {slot} have the paths {sorted({first, last})} and {path}",
            )

        # Hypothesis adds the timezones, and wants these without.
        begin, end = datetime(1990, 1, 1), datetime(2090, 1, 1)  # noqa: DTZ001
        self._for_all(st.datetimes(begin, end, timezones=zones), holds)


@contextmanager
def _environment(value: str) -> Iterator[None]:
    before = os.environ.get("TITANS_ENV")
    os.environ["TITANS_ENV"] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ["TITANS_ENV"]
        else:
            os.environ["TITANS_ENV"] = before
