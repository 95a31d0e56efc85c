"""Checks of the full way, from a snapshot through the archive and back, against an oracle that
keeps plain dicts.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
from attrs import evolve
from hypothesis import strategies as st

from titans.archive import Archive
from titans.errors import TitansError
from titans.layout import PathLayout
from titans.provider import Provider
from titans.schema import CEASED, TIME, Schema
from titans.slots import Slot, iso
from titans.store import ObjectStore
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.testing._frames import extremes, snapshot, snapshots
from titans.testing._oracle import Oracle, difference, replayed, rows_of
from titans.testing._provider_suite import ProviderSuite
from titans.testing._suite import Nonconformance, expect
from titans.tiers.files.metadata import FileInfo, SlotRecord
from titans.tiers.files.parquet import decode, encode

__all__ = ["ArchiveChecks"]

FIRST = -11
"""The full way begins eleven slots before a month ends, so that it crosses the end and merges on
both sides."""


class ArchiveChecks(ProviderSuite, kit=True):
    """Files, ingest → compact → state on both embedded stores, uploads, late slots, neighbours."""

    def test_rows_survive_parquet(self) -> None:
        """A file has the schema's dtypes in canonical order, and its rows come back as they were,
        extremes among them.
        """
        provider, key = self._provider, self._keys(1)[0]
        columns = provider.schema.columns
        longest = max(len(extremes(dtype)) for dtype in columns.values())
        rows = [
            (*key, *(extremes(d)[i % len(extremes(d))] for d in columns.values()))
            for i in range(longest)
        ]
        for rows_there in (rows, [], [(*key, *(None for _ in columns))]):
            frame = snapshot(provider, rows_there).with_columns(
                pl.lit(self._at(0)).cast(pl.Datetime("us", "UTC")).alias(TIME),
                pl.lit(value=False).alias(CEASED),
            )
            frame = frame.select(provider.canonical_columns)
            slot = Slot.of(self._at(0), provider.layout.slot_minutes)
            info = FileInfo.describe(
                frame, provider, "hot", (SlotRecord(slot.index, "full", "0" * 32, slot.start),)
            )
            data = encode(frame, info, provider)
            read = pl.read_parquet(io.BytesIO(data))
            expect(
                list(read.schema.items()) == list(provider.schema_dtypes.items()),
                f"a file has the columns {dict(read.schema)}, and not those of the schema "
                f"{dict(provider.schema_dtypes)}",
            )
            expect(
                decode(data, provider, "a file").equals(frame),
                "rows come out of a Parquet file otherwise than they went in",
            )

    # --- the full way -----------------------------------------------------------------------------

    def test_the_full_way_in_memory(self) -> None:
        """Twenty snapshots over the end of a month: every state, and every change point, as the
        oracle has them.
        """
        only = MemoryStore()
        self._full_way(lambda: only)

    def test_the_full_way_in_a_folder(self, tmp_path: Path) -> None:
        """The same on a local store, opened anew for each question."""
        self._full_way(lambda: LocalStore(tmp_path / "archive"))

    def _full_way(self, stores: Callable[[], ObjectStore]) -> None:
        oracle, archive = Oracle(self._provider), Archive(stores(), self._provider)
        for at, frame in self._timed(40, 20):
            self._ingest(archive, frame, at)
            oracle.add(frame, at)
        self._compare(Archive(stores(), self._provider), oracle, "before compaction")
        archive.compact()
        self._compare(Archive(stores(), self._provider), oracle, "after compaction")
        found = Archive(stores(), self._provider).verify(deep=True)
        failures = [failure for check in found.checks for failure in check.failures]
        expect(found.passed, f"verify(deep=True) finds: {'; '.join(map(str, failures))}")

    def test_late_and_repeated_snapshots(self) -> None:
        """Whatever the order of arrival, every snapshot's state is what it was; again is
        `already`.
        """
        timed, oracle = self._timed(25, 9), Oracle(self._provider)
        archive = Archive(MemoryStore(), self._provider)
        # Without gaps, so that no value depends on which snapshots came before.
        dtypes = self._provider.schema.value_dtypes()
        fill = [
            pl.col(name).fill_null(pl.lit(v, dtype=dtypes[name]))
            for name, v in self._ordinary().items()
        ]
        observed = [
            (at, self._conformed(frame, "example data").with_columns(fill)) for at, frame in timed
        ]
        for at, frame in observed:
            oracle.add(frame, at)
        for number in (0, 4, 2, 8, 6, 1, 7, 3, 5):
            at, frame = observed[number]
            self._ingest(archive, frame, at)
        statuses = {self._ingest(archive, frame, at) for at, frame in observed}
        expect(
            statuses == {"already"},
            f"ingesting the same snapshots again is {', '.join(sorted(statuses))}, not already",
        )
        archive.compact()
        self._compare(archive, oracle, "with late slots", replay=False)

    def test_any_snapshots_come_back(self) -> None:
        """Histories that Hypothesis makes: values of any kind, nulls, sentinels, keys that come and
        go.
        """
        keys = self._keys(4)

        def holds(frames: list[pl.DataFrame]) -> None:
            archive, oracle = Archive(MemoryStore(), self._provider), Oracle(self._provider)
            for number, frame in enumerate(frames):
                at = self._at(number - 2)
                self._ingest(archive, frame, at)
                oracle.add(frame, at)
            self._compare(archive, oracle, "")

        self._for_all(
            st.lists(snapshots(self._provider, keys, self.values), min_size=1, max_size=5), holds
        )

    def test_vanished_keys_are_ceased(self) -> None:
        """A key that a snapshot lacks is gone from the state, has a tombstone, and may come
        back.
        """
        frame, archive = self._frames(10, 1)[0], Archive(MemoryStore(), self._provider)
        for slot, rows in ((0, frame), (1, frame[1:]), (2, frame)):
            self._ingest(archive, rows, self._at(slot))
        gone = self._conformed(frame, "example data").join(
            self._conformed(frame[1:], "a part of it"), on=list(self._provider.key), how="anti"
        )
        expect(
            gone.height == 1,
            f"a snapshot without the first row of the example data lacks {gone.height} keys, not "
            "one; titans_normalize must not "
            "bring back what an earlier frame had",
        )
        key = gone.select(self._provider.key).row(0, named=True)
        points = archive.history(**key).select(TIME, CEASED).rows()
        expected = [(self._at(0), False), (self._at(1), True), (self._at(2), False)]
        expect(
            points == expected,
            f"the key {key} that vanished and returned has the change points {points}",
        )
        expect(
            archive.state(self._at(1)).height == frame.height - 1,
            "the vanished key is still in the state",
        )

    def test_unobserved_values_are_carried(self) -> None:
        """A sentinel after a value is no change: the state keeps the value, and no row is
        stored.
        """
        schema = self._provider.schema
        frame = self._conformed(self._frames(20, 1)[0], "example data").drop_nulls()
        expect(
            not frame.is_empty(),
            "no row of the example data has all values observed; let some have",
        )
        frame = frame.head(1)
        for column, sentinel in schema.unobserved.items():
            archive = Archive(MemoryStore(), self._provider)
            self._ingest(archive, frame, self._at(0))
            lost = frame.with_columns(pl.Series(column, [sentinel]))
            status = self._ingest(archive, lost, self._at(1))
            found = archive.state(self._at(1))[column].to_list()
            expect(
                status == "unchanged" and found == frame[column].to_list(),
                f"{column!r} was {frame[column][0]!r} and then not observed ({sentinel!r}); the "
                f"state says {found}, the snapshot "
                f"is {status}",
            )

    def test_uploaded_changes_come_back(self) -> None:
        """The way of collectors that find changes themselves: changed and removed rows, uploaded
        and compacted.
        """
        from titans.changes.prepare import prepare

        archive, provider = Archive(MemoryStore(), self._provider), self._provider
        rows = self._conformed(self._frames(12, 1)[0], "example data")
        for slot in range(9):
            at = self._at(slot)
            archive.upload(
                prepare(rows[slot : slot + 1].with_columns(pl.lit(at).alias(TIME)), None), at
            )
        archive.upload(prepare(None, rows[:1].select(provider.key)), self._at(9))
        archive.compact()
        expected = dict(rows_of(rows[1:9], provider))
        found = dict(rows_of(archive.state(self._at(10)), provider))
        wrong = difference(found, expected)
        expect(not wrong, f"nine changes and one removal were uploaded; the state has {wrong}")

    def test_nothing_is_written_outside_the_providers_prefixes(self) -> None:
        """All objects lie under its hot, warm and keyframe prefixes."""
        store, paths = MemoryStore(), self._provider.paths()
        archive = Archive(store, self._provider)
        for at, frame in self._timed(15, 10):
            self._ingest(archive, frame, at)
        allowed = tuple(
            f"{prefix}/" for prefix in (paths.hot_prefix, paths.warm_prefix, paths.state_prefix)
        )
        outside = [entry.key for entry in store.list() if not entry.key.startswith(allowed)]
        expect(
            not outside, f"the archive wrote {', '.join(outside[:3])}, outside {', '.join(allowed)}"
        )

    def test_two_providers_in_one_store_do_not_meet(self) -> None:
        """Another provider beside this one changes none of its answers, and is changed by none."""
        store, oracle, layout = MemoryStore(), Oracle(self._provider), self._provider.layout
        if (
            "{provider}" not in layout.hot
        ):  # its own name stands there, which the neighbour's layout would not have
            layout = PathLayout(slot_minutes=layout.slot_minutes)
        neighbour = evolve(
            self._provider,
            name="neighbour",
            schema=Schema({"v": "Int64"}),
            key=("k",),
            layout=layout,
            hooks=None,
        )
        mine, other = Archive(store, self._provider), Archive(store, neighbour)
        for number, (at, frame) in enumerate(self._timed(15, 10)):
            try:
                other.ingest(pl.DataFrame({"k": ["a"], "v": [number]}), at)
                self._ingest(mine, frame, at)
                found = other.latest()["v"].to_list()
            except TitansError as error:
                raise Nonconformance(
                    f"with a neighbour in the store the archive fails: {error}"
                ) from error
            expect(
                found == [number],
                f"a neighbour in the same store reads {found} instead of its own [{number}]",
            )
            oracle.add(frame, at)
        self._compare(mine, oracle, "with a neighbour")

    # --- parts ------------------------------------------------------------------------------------

    def _timed(self, keys: int, slots: int) -> list[tuple[datetime, pl.DataFrame]]:
        frames = islice(self.example(3, keys, slots), slots)
        return [(self._at(FIRST + number), frame) for number, frame in enumerate(frames)]

    def _ingest(self, archive: Archive, frame: pl.DataFrame, at: datetime) -> str:
        try:
            return archive.ingest(frame, at, max_ceased=1.0).status
        except TitansError as error:
            raise Nonconformance(f"the snapshot of {iso(at)} is not accepted: {error}") from error

    def _compare(self, archive: Archive, oracle: Oracle, when: str, replay: bool = True) -> None:
        points = archive.changes()
        for moment, expected in oracle.states.items():
            wrong = difference(_state(archive.state(moment), self._provider), expected)
            expect(
                not wrong, f"the state at {iso(moment)} {when} is not what was ingested: {wrong}"
            )
            wrong = difference(replayed(points, self._provider, moment), expected) if replay else ""
            expect(
                not wrong,
                f"the change points up to {iso(moment)} {when} do not lead to what was ingested: "
                f"{wrong}",
            )


def _state(frame: pl.DataFrame, provider: Provider) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    columns = list(provider.schema.columns)
    return {
        tuple(row[: len(provider.key)]): row[len(provider.key) :]
        for row in frame.select(*provider.key, *columns).rows()
    }
