"""Checks of listing, of many at once, and of an archive that lives in the store."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import strategies as st

from titans.archive import Archive
from titans.errors import AlreadyExists, NotFound, PreconditionFailed, TitansError
from titans.provider import Provider
from titans.provider_tools import made_up
from titans.schema import Schema
from titans.slots import Month
from titans.store import ObjectStore
from titans.testing._frames import for_all
from titans.testing._oracle import Oracle, difference, rows_of
from titans.testing._store_suite import (
    WORKERS,
    Stores,
    StoreSuite,
    done,
    fill,
    in_threads,
    keys,
    refused,
    same,
)
from titans.testing._suite import Nonconformance, expect

__all__ = ["ArchiveInStoreChecks", "ListingChecks", "RaceChecks"]

TRICKY = [
    "a-b",
    "a.b",
    "a/b",
    "a/b.c",
    "a/c/d",
    "a/c-d",
    "a/c.d",
    "a0",
    "ab",
    "a b",
    "b",
    "B",
    "한/a",
    "한-",
    "🛰",
]
"""Keys whose order, as folders and as text, differs."""


class ListingChecks(StoreSuite, kit=True):
    """Order, prefixes, continuation, pages."""

    def test_the_empty_store_lists_nothing(self, stores: Stores) -> None:
        """Whatever is asked for."""
        store = stores()
        for prefix, after in (("", ""), ("a", ""), ("a/b/", ""), ("", "a")):
            same(keys(store, prefix, after), [], f"the listing of {prefix!r} after {after!r}")

    def test_listing_is_in_order_of_keys(self, stores: Stores) -> None:
        """By Unicode code point of the whole key, whatever the order of creation."""
        store = stores()
        # an order like any other
        fill(store, random.Random(2).sample(TRICKY, len(TRICKY)))  # noqa: S311
        same(keys(store), sorted(TRICKY), "the listing")

    def test_a_prefix_is_a_string(self, stores: Stores) -> None:
        """It need not end where a segment does."""
        store = stores()
        fill(store, TRICKY)
        for prefix in [
            "a",
            "a/",
            "a/c",
            "a/c/",
            "a-",
            "a.",
            "ab",
            "b",
            "한",
            "nothing",
            "a/nothing/",
            "a/b",
            "ab/c",
        ]:
            same(keys(store, prefix), _expected(prefix, ""), f"the listing of {prefix!r}")

    def test_start_after_continues_behind_any_string(self, stores: Stores) -> None:
        """Behind keys, folders, and what is neither."""
        store = stores()
        fill(store, TRICKY)
        for after in [
            *TRICKY,
            "a",
            "a/",
            "a/c",
            "a/c/",
            "a/b0",
            "a/zzz",
            "A",
            "zzz",
            "a-",
            "한",
            "b/a/x",
        ]:
            same(
                keys(store, start_after=after),
                _expected("", after),
                f"the listing after {after!r}",
            )

    def test_prefix_and_start_after_go_together(self, stores: Stores) -> None:
        """A month of hot files is listed from the middle."""
        store = stores()
        fill(store, TRICKY)
        prefixes = ["", "a", "a/", "a/c", "한"]
        starts = ["A", "a", "a/", "a.b", "a/b", "a/c/", "a/c/d", "zz"]
        for prefix, after in itertools.product(prefixes, starts):
            same(
                keys(store, prefix, after),
                _expected(prefix, after),
                f"the listing of {prefix!r} after {after!r}",
            )

    def test_a_listing_tells_size_time_and_etag(self, stores: Stores) -> None:
        """The etag may be left out, but not be wrong."""
        store = stores()
        etags = {"a/x": store.create("a/x", b"123"), "a/y": store.create("a/y", b"")}

        entries = list(store.list("a/"))
        sizes = [(entry.key, entry.size) for entry in entries]
        same(sizes, [("a/x", 3), ("a/y", 0)], "the listing")
        for entry in entries:
            expect(
                entry.last_modified.utcoffset() is not None,
                "a time in the listing has no timezone",
            )
            expect(
                entry.etag in ("", etags[entry.key]),
                f"the listing gives {entry.key} the etag {entry.etag!r}",
            )

    def test_a_listing_may_be_left_or_outlive_its_objects(self, stores: Stores) -> None:
        """It is an iterator: what is listed may be deleted meanwhile."""
        store = stores()
        names = [f"{folder}/{number}" for folder in "abc" for number in range(3)]
        fill(store, names)

        listing: Iterator[Any] = store.list()
        same(next(listing).key, "a/0", "the first entry")
        del listing

        listed = []
        for entry in store.list():
            listed.append(entry.key)
            store.delete(entry.key)

        same(
            (listed, keys(store)),
            (names, []),
            "what was listed, and what is left after deleting it",
        )

    def test_more_than_a_page_is_listed_whole(self, stores: Stores) -> None:
        """`page` objects and one more, from the beginning and from the middle."""
        store = stores()
        names = [f"page/{number:05d}" for number in range(self.page + 1)]
        fill(store, names)
        listed = keys(store, "page/")
        expect(
            listed == names,
            f"of {len(names)} objects {len(listed)} are listed, the last one {listed[-1:]}; go on "
            "to the next page",
        )

        middle = len(names) // 2
        same(
            keys(store, "page/", names[middle]), names[middle + 1 :], "the listing from the middle"
        )

    def test_any_operations_agree_with_a_dict(self, stores: Stores) -> None:
        """Sequences of creations, replacements, deletions and listings that Hypothesis makes."""
        store = stores()
        numbers = itertools.count()
        step = st.tuples(
            st.sampled_from(("create", "replace", "stale", "delete", "list")),
            st.sampled_from(("a/b", "a-", "a0")),
            st.binary(max_size=4),
        )

        def holds(steps: list[tuple[str, str, bytes]]) -> None:
            folder = f"{next(numbers)}/"  # its own: whatever an earlier example left stays out
            model: dict[str, bytes] = {}
            for what, key, data in steps:
                self._step(store, model, folder, (what, folder + key, data))
            found = {key: store.get(key).data for key in keys(store, folder)}
            same(found, model, "the content")
            for key in found:
                store.delete(key)
            same(keys(store, folder), [], "what is left after deleting all")

        for_all(st.lists(step, max_size=15), holds, self.max_examples)

    @staticmethod
    def _step(
        store: ObjectStore, model: dict[str, bytes], folder: str, step: tuple[str, str, bytes]
    ) -> None:
        what, key, data = step
        if what == "create" and key in model:
            refused(AlreadyExists, store.create, key, data)
        elif what == "create":
            done(store.create, key, data)
            model[key] = data
        elif what == "replace" and key in model:
            done(store.replace, key, data, done(store.head, key).etag)
            model[key] = data
        elif what in ("replace", "stale"):
            refused(PreconditionFailed, store.replace, key, data, "no such version")
        elif what == "delete":
            done(store.delete, key)
            model.pop(key, None)
        else:
            same(keys(store, folder), sorted(model), "the listing")


def _expected(prefix: str, after: str) -> list[str]:
    """The keys of `TRICKY` that a listing must have."""
    return sorted(key for key in TRICKY if key.startswith(prefix) and key > after)


class RaceChecks(StoreSuite, kit=True):
    """Eight threads, each with a store object of its own."""

    def test_of_many_that_create_an_object_one_wins(self, stores: Stores) -> None:
        """`create` is atomic: who was told that it succeeded finds its own content."""

        def work(number: int) -> list[int]:
            store = stores()
            won = []
            for turn in range(10):
                with contextlib.suppress(AlreadyExists):
                    store.create(f"race/{turn}", b"%d" % number * 100)
                    won.append(turn)

            return won

        won = in_threads(work)
        for turn in range(10):
            winners = [number for number, turns in enumerate(won) if turn in turns]
            expect(
                len(winners) == 1,
                f"the object was created by the threads {[winners]} at once; create must be atomic",
            )
            same(
                stores().get(f"race/{turn}").data,
                b"%d" % winners[0] * 100,
                f"object {turn}, created by thread {winners[0]},",
            )

    def test_no_swap_is_lost(self, stores: Stores) -> None:
        """`replace` is atomic: increments of one counter by many are all counted."""

        def work(_: int) -> None:
            store = stores()
            counted = 0
            while counted < 5:
                blob = store.get("counter")
                with contextlib.suppress(PreconditionFailed):
                    store.replace("counter", b"%d" % (int(blob.data) + 1), blob.etag)
                    counted += 1

        stores().create("counter", b"0")
        in_threads(work)
        counted = int(stores().get("counter").data)
        expect(
            counted == 5 * WORKERS,
            f"of {5 * WORKERS} acknowledged increments {counted} are there; replace must be atomic",
        )

    def test_readers_see_whole_objects(self, stores: Stores) -> None:
        """Old content or new, never a mixture."""
        versions = [bytes([65 + number]) * 100_000 for number in range(20)]
        stores().create("big", versions[0])
        written = threading.Event()

        def work(number: int) -> bool:
            store = stores()
            if number == 0:
                try:
                    write(store)
                finally:
                    written.set()

                return True

            whole = True
            while not written.is_set():
                whole &= store.get("big").data in versions
            return whole

        def write(store: ObjectStore) -> None:
            etag = store.head("big").etag
            for data in versions[1:]:
                etag = store.replace("big", data, etag)

        expect(
            all(in_threads(work)),
            "a reader saw a part of an object that was being replaced; writes must appear at once",
        )

    def test_a_version_is_swapped_only_once(self, stores: Stores) -> None:
        """Of many that swap the same version, one succeeds."""

        def work(number: int) -> int:
            store = stores()
            taken = 0
            for turn in range(5):
                with contextlib.suppress(NotFound, PreconditionFailed):
                    store.replace("token", b"%d %d" % (number, turn), free)
                    taken += 1

            return taken

        free = stores().create("token", b"free")
        taken = sum(in_threads(work))
        expect(
            taken == 1,
            f"one version was swapped {taken} times; replace must compare and write in one step",
        )


class ArchiveInStoreChecks(StoreSuite, kit=True):
    """What a store is for."""

    def test_an_archive_lives_in_it(self, stores: Stores) -> None:
        """Twenty snapshots in, compacted; every state is what was ingested, and verify finds
        nothing.
        """
        provider = Provider(
            "kit", Schema({"v": "Int64", "w": "Float64"}, unobserved={"v": -1}), ("k", "l")
        )
        oracle = Oracle(provider)
        start = Month(2026, 3).start - 11 * timedelta(minutes=10)
        frames = made_up(provider.schema, provider.key, 5, 30, 20)

        archive = Archive(stores(), provider)
        try:
            for number, frame in enumerate(frames):
                moment = start + number * timedelta(minutes=10)
                Archive(stores(), provider).ingest(frame, moment, max_ceased=1.0)
                oracle.add(frame, moment)

            archive.compact()
            report = archive.verify(deep=True)
        except TitansError as error:
            problem = f"an archive in this store fails: {type(error).__name__}: {error}"
            raise Nonconformance(problem) from error

        for moment, expected in oracle.states.items():
            state: pl.DataFrame = archive.state(moment)
            wrong = difference(dict(rows_of(state, provider)), expected)
            expect(not wrong, f"the state at {moment} is not what was ingested: {wrong}")

        failures = list(itertools.chain.from_iterable(check.failures for check in report.checks))
        expect(report.passed, f"verify finds {failures[:3]}")
