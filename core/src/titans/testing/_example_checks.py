"""Checks of example data: what demos show, and what all other checks are made with."""

from __future__ import annotations

import hashlib
from itertools import islice, pairwise

import polars as pl

from titans.schema import RESERVED
from titans.testing._provider_suite import SEED, ProviderSuite
from titans.testing._suite import expect

__all__ = ["ExampleChecks"]


class ExampleChecks(ProviderSuite, kit=True):
    """Key, determinism, extent, and fit of `titans_example`."""

    def test_example_keys_are_complete(self) -> None:
        """No key column is missing or null, once the data is normalized."""
        for number, frame in enumerate(self._frames(40, 4)):
            normal = self._normalized(frame, "example data")
            for column in self._provider.key:
                expect(
                    column in normal.columns,
                    f"example snapshot {number} has no key column {column!r}, it has "
                    f"{', '.join(normal.columns)}",
                )

                nulls = normal[column].null_count()
                expect(
                    not nulls,
                    f"key column {column!r} is null in {nulls} row(s) of example snapshot {number}",
                )

    def test_example_keys_are_unique(self) -> None:
        """The key tells all rows of a snapshot apart: it has every column it needs, and normalizing
        folds no two into one.
        """
        key = list(self._provider.key)
        for number, frame in enumerate(self._frames(60, 4)):
            normal = self._normalized(frame, "example data")
            if not set(key) <= set(normal.columns):
                continue  # another check says so

            keys = normal.select(key)
            repeated = keys.filter(keys.is_duplicated())
            expect(
                repeated.is_empty(),
                f"{repeated.height} rows of example snapshot {number} share a key, first "
                f"{repeated.head(1).to_dicts()}; the key "
                f"is {', '.join(key)}: is a column missing from it, or does titans_normalize "
                "fold keys together?",
            )

    def test_example_has_no_column_that_the_archive_writes(self) -> None:
        """Snapshots have neither `Time` nor `Ceased`."""
        for frame in self._frames():
            reserved = [column for column in RESERVED if column in frame.columns]
            expect(
                not reserved,
                f"example data has the column(s) {', '.join(reserved)}, which the archive writes "
                "itself",
            )

    def test_example_fits_the_schema(self) -> None:
        """Every value can become its column's dtype, exactly."""
        for frame in self._frames(40, 4):
            self._conformed(frame, "example data")

    def test_example_fills_every_column(self) -> None:
        """Each value column is observed somewhere: none is lost to a name that titans_normalize
        does not know.
        """
        frames = [self._conformed(frame, "example data") for frame in self._frames(60, 4)]
        for column in self._provider.schema.columns:
            expect(
                any(frame[column].null_count() < frame.height for frame in frames),
                f"column {column!r} is never observed in the example data; is it spelt as in the "
                "schema, or renamed by "
                "titans_normalize?",
            )

    def test_example_is_the_same_for_the_same_seed(self) -> None:
        """Two calls, and another process, make the same snapshots."""
        self._need_example()
        expect(
            _equal(self._frames(20, 5), self._frames(20, 5)),
            f"titans_example(seed={SEED}, …) made different snapshots the second time; take all "
            "chance from Random(seed)",
        )

        code = (
            "import hashlib\nfor frame in provider.example(7, 20, 5):\n"
            "    print(hashlib.sha256(repr(frame.to_dict(as_series=False)).encode()).hexdigest())"
        )
        here = ""
        for frame in self._frames(20, 5):
            rows = repr(frame.to_dict(as_series=False))
            here += hashlib.sha256(rows.encode()).hexdigest() + "\n"
        for hash_seed in (1, 2):
            expect(
                self._in_a_new_process(code, hash_seed) == here,
                "another process made different snapshots for the same seed; do not iterate over "
                "sets, or use hash()",
            )

    def test_example_differs_for_another_seed(self) -> None:
        """The seed is used."""
        self._need_example()
        expect(
            not _equal(self._frames(20, 3), self._frames(20, 3, seed=SEED + 1)),
            f"titans_example makes the same for the seeds {SEED} and {SEED + 1}; take all chance "
            "from Random(seed)",
        )

    def test_example_of_more_slots_begins_the_same(self) -> None:
        """The first snapshots do not depend on how many are asked for."""
        self._need_example()
        expect(
            _equal(self._frames(20, 3), self._frames(20, 9)[:3]),
            "the first snapshots of titans_example change with the number of slots",
        )

    def test_example_has_the_number_of_slots_and_keys_that_was_asked_for(self) -> None:
        """One frame per slot, at most `keys` rows, also for none and one."""
        self._need_example()
        for keys in (0, 1, 7, 40):
            frames = list(islice(self._provider.example(SEED, keys, 4), 6))
            expect(
                len(frames) == 4,
                f"titans_example(keys={keys}, slots=4) yields {len(frames)} snapshots",
            )
            rows = max(frame.height for frame in frames)
            expect(rows <= keys, f"titans_example(keys={keys}) yields a snapshot of {rows} rows")

        expect(
            rows >= 3,
            f"titans_example(keys=40) yields at most {rows} rows; the checks need three keys at "
            "least",
        )

    def test_example_is_made_slot_by_slot(self) -> None:
        """A billion slots are no reason to wait: snapshots are yielded one by one."""
        self._need_example()
        printed = self._in_a_new_process(
            "from itertools import islice\nimport os, resource, signal\n"
            "busy = 'titans_example(slots=10**9) is still busy after 3 s of work; yield snapshots "
            "one by one'\n"
            # Not by an exception: it would rise wherever the work is, and may be taken for
            # something else there.
            "signal.signal(signal.SIGXCPU, lambda *_: (os.write(2, busy.encode()), os._exit(1)))\n"
            "resource.setrlimit(resource.RLIMIT_CPU, (3, 20))\n"
            "print(len(list(islice(provider.example(7, 5, 10**9), 3))))"
        )
        expect(
            printed.strip() == "3",
            f"titans_example(slots=10**9) yields {printed.strip()} snapshots; yield them one by "
            "one",
        )

    def test_example_changes_from_slot_to_slot(self) -> None:
        """Twenty snapshots are not all alike, and no two in a row have nothing in common."""
        key = list(self._provider.key)
        frames = [self._conformed(frame, "example data") for frame in self._frames(40, 20)]
        expect(
            any(not frame.equals(frames[0]) for frame in frames),
            "20 example snapshots are all the same; change some values",
        )
        for before, after in pairwise(frames):
            stayed = before.join(after, on=key, how="semi").height
            expect(
                2 * stayed >= before.height,
                f"{before.height - stayed} of {before.height} keys vanish from one example "
                "snapshot to the next; an archive "
                "would refuse that as a truncated download",
            )


def _equal(some: list[pl.DataFrame], others: list[pl.DataFrame]) -> bool:
    return len(some) == len(others) and all(a.equals(b) for a, b in zip(some, others, strict=True))
