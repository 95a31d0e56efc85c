"""Checks of the full way, from a snapshot through the archive and back, against an oracle that
keeps plain dicts.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from itertools import chain, cycle, islice
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
        key = self._keys(1)[0]
        columns = self._provider.schema.columns
        values = [extremes(dtype) for dtype in columns.values()]

        longest = max(map(len, values))
        repeated = [islice(cycle(of_column), longest) for of_column in values]
        self._survives_parquet([(*key, *row) for row in zip(*repeated, strict=True)])
        self._survives_parquet([])
        self._survives_parquet([(*key, *[None] * len(columns))])

    def _survives_parquet(self, rows: list[tuple[Any, ...]]) -> None:
        provider = self._provider
        slot = Slot.of(self._slot_start(0), provider.layout.slot_minutes)
        frame = snapshot(provider, rows).with_columns(
            pl.lit(slot.start).cast(pl.Datetime("us", "UTC")).alias(TIME),
            pl.lit(value=False).alias(CEASED),
        )
        frame = frame.select(provider.canonical_columns)

        record = SlotRecord(slot.index, "full", "0" * 32, slot.start)
        info = FileInfo.describe(frame, provider, "hot", (record,))
        self._has_the_columns(frame)
        data = encode(frame, info, provider)

        self._has_the_columns(pl.read_parquet(io.BytesIO(data)))
        expect(
            decode(data, provider, "a file").equals(frame),
            "rows come out of a Parquet file otherwise than they went in",
        )

    def _has_the_columns(self, frame: pl.DataFrame) -> None:
        dtypes = self._provider.schema_dtypes
        expect(
            list(frame.schema.items()) == list(dtypes.items()),
            f"a file has the columns {dict(frame.schema)}, and not those of the schema "
            f"{dict(dtypes)}",
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
        oracle = Oracle(self._provider)
        archive = Archive(stores(), self._provider)
        for moment, frame in self._timed(40, 20):
            self._ingest(archive, frame, moment)
            oracle.add(frame, moment)

        self._compare(Archive(stores(), self._provider), oracle, "before compaction")

        archive.compact()
        self._compare(Archive(stores(), self._provider), oracle, "after compaction")

        report = Archive(stores(), self._provider).verify(deep=True)
        failures = chain.from_iterable(check.failures for check in report.checks)
        expect(report.passed, f"verify(deep=True) finds: {'; '.join(map(str, failures))}")

    def test_late_and_repeated_snapshots(self) -> None:
        """Whatever the order of arrival, every snapshot's state is what it was; again is
        `already`.
        """
        oracle = Oracle(self._provider)
        archive = Archive(MemoryStore(), self._provider)
        observed = self._without_gaps(self._timed(25, 9))
        for moment, frame in observed:
            oracle.add(frame, moment)

        for number in (0, 4, 2, 8, 6, 1, 7, 3, 5):
            moment, frame = observed[number]
            self._ingest(archive, frame, moment)

        statuses = {self._ingest(archive, frame, moment) for moment, frame in observed}
        expect(
            statuses == {"already"},
            f"ingesting the same snapshots again is {', '.join(sorted(statuses))}, not already",
        )

        archive.compact()
        self._compare(archive, oracle, "with late slots", replay=False)

    def _without_gaps(
        self, timed: list[tuple[datetime, pl.DataFrame]]
    ) -> list[tuple[datetime, pl.DataFrame]]:
        """Every value observed, and passive ones the same, so that none depends on which snapshots
        came before.
        """
        dtypes = self._provider.schema.value_dtypes()
        filled = []
        for name, value in self._ordinary().items():
            ordinary = pl.lit(value, dtype=dtypes[name])
            if name in self._provider.schema.passive:
                filled.append(ordinary.alias(name))
            else:
                filled.append(pl.col(name).fill_null(ordinary))

        observed = []
        for moment, frame in timed:
            conformed = self._conformed(frame, "example data")
            observed.append((moment, conformed.with_columns(filled)))

        return observed

    def test_any_snapshots_come_back(self) -> None:
        """Histories that Hypothesis makes: values of any kind, nulls, sentinels, keys that come and
        go.
        """
        keys = self._keys(4)

        def holds(frames: list[pl.DataFrame]) -> None:
            archive = Archive(MemoryStore(), self._provider)
            oracle = Oracle(self._provider)
            for number, frame in enumerate(frames):
                moment = self._slot_start(number - 2)
                self._ingest(archive, frame, moment)
                oracle.add(frame, moment)

            self._compare(archive, oracle, "")

        any_snapshots = snapshots(self._provider, keys, self.values)
        self._for_all(st.lists(any_snapshots, min_size=1, max_size=5), holds)

    def test_vanished_keys_are_ceased(self) -> None:
        """A key that a snapshot lacks is missing in the state, has a tombstone, and may come
        back.
        """
        frame = self._frames(10, 1)[0]
        archive = Archive(MemoryStore(), self._provider)
        for slot, rows in ((0, frame), (1, frame[1:]), (2, frame)):
            self._ingest(archive, rows, self._slot_start(slot))

        whole = self._conformed(frame, "example data")
        part = self._conformed(frame[1:], "a part of it")
        vanished = whole.join(part, on=list(self._provider.key), how="anti")
        expect(
            vanished.height == 1,
            f"a snapshot without the first row of the example data lacks {vanished.height} keys, "
            "not one; titans_normalize must not "
            "bring back what an earlier frame had",
        )

        key = vanished.select(self._provider.key).row(0, named=True)
        points = archive.history(**key).select(TIME, CEASED).rows()
        expected = [
            (self._slot_start(0), False),
            (self._slot_start(1), True),
            (self._slot_start(2), False),
        ]
        expect(
            points == expected,
            f"the key {key} that vanished and returned has the change points {points}",
        )
        expect(
            archive.state(self._slot_start(1)).height == frame.height - 1,
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
            self._ingest(archive, frame, self._slot_start(0))

            lost = frame.with_columns(pl.Series(column, [sentinel]))
            status = self._ingest(archive, lost, self._slot_start(1))
            values = archive.state(self._slot_start(1))[column].to_list()
            expect(
                status == "unchanged" and values == frame[column].to_list(),
                f"{column!r} was {frame[column][0]!r} and then not observed ({sentinel!r}); the "
                f"state says {values}, the snapshot "
                f"is {status}",
            )

    def test_uploaded_changes_come_back(self) -> None:
        """The way of collectors that find changes themselves: changed and removed rows, uploaded
        and compacted.
        """
        from titans.changes.prepare import prepare

        provider = self._provider
        archive = Archive(MemoryStore(), provider)
        rows = self._conformed(self._frames(12, 1)[0], "example data")
        for slot in range(9):
            moment = self._slot_start(slot)
            changed = rows[slot : slot + 1].with_columns(pl.lit(moment).alias(TIME))
            archive.upload(prepare(changed, None), moment)

        archive.upload(prepare(None, rows[:1].select(provider.key)), self._slot_start(9))
        archive.compact()

        expected = dict(rows_of(rows[1:9], provider))
        state = dict(rows_of(archive.state(self._slot_start(10)), provider))
        wrong = difference(state, expected)
        expect(not wrong, f"nine changes and one removal were uploaded; the state has {wrong}")

    def test_nothing_is_written_outside_the_providers_prefixes(self) -> None:
        """All objects lie under its hot, warm and keyframe prefixes."""
        store = MemoryStore()
        archive = Archive(store, self._provider)
        for moment, frame in self._timed(15, 10):
            self._ingest(archive, frame, moment)

        paths = self._provider.paths()
        allowed = (f"{paths.hot_prefix}/", f"{paths.warm_prefix}/", f"{paths.state_prefix}/")
        outside = [entry.key for entry in store.list() if not entry.key.startswith(allowed)]
        expect(
            not outside, f"the archive wrote {', '.join(outside[:3])}, outside {', '.join(allowed)}"
        )

    def test_two_providers_in_one_store_do_not_meet(self) -> None:
        """Another provider beside this one changes none of its answers, and is changed by none."""
        store = MemoryStore()
        oracle = Oracle(self._provider)
        layout = self._provider.layout
        if "{provider}" not in layout.hot:
            # Its own name stands there, which the neighbour's layout would not have.
            layout = PathLayout(slot_minutes=layout.slot_minutes)
        neighbour = evolve(
            self._provider,
            name="neighbour",
            schema=Schema({"v": "Int64"}),
            key=("k",),
            layout=layout,
            hooks=None,
        )

        mine = Archive(store, self._provider)
        other = Archive(store, neighbour)
        for number, (moment, frame) in enumerate(self._timed(15, 10)):
            try:
                other.ingest(pl.DataFrame({"k": ["a"], "v": [number]}), moment)
                self._ingest(mine, frame, moment)
                latest = other.latest()["v"].to_list()
            except TitansError as error:
                raise Nonconformance(
                    f"with a neighbour in the store the archive fails: {error}"
                ) from error

            expect(
                latest == [number],
                f"a neighbour in the same store reads {latest} instead of its own [{number}]",
            )
            oracle.add(frame, moment)

        self._compare(mine, oracle, "with a neighbour")

    # --- parts ------------------------------------------------------------------------------------

    def _timed(self, keys: int, slots: int) -> list[tuple[datetime, pl.DataFrame]]:
        frames = islice(self.example(3, keys, slots), slots)
        return [(self._slot_start(FIRST + number), frame) for number, frame in enumerate(frames)]

    def _ingest(self, archive: Archive, frame: pl.DataFrame, moment: datetime) -> str:
        try:
            return archive.ingest(frame, moment, max_ceased=1.0).status
        except TitansError as error:
            problem = f"the snapshot of {iso(moment)} is not accepted: {error}"
            raise Nonconformance(problem) from error

    def _compare(self, archive: Archive, oracle: Oracle, when: str, replay: bool = True) -> None:
        points = archive.changes()
        for moment, expected in oracle.states.items():
            wrong = difference(_state(archive.state(moment), self._provider), expected)
            expect(
                not wrong, f"the state at {iso(moment)} {when} is not what was ingested: {wrong}"
            )

            if replay:
                wrong = difference(replayed(points, self._provider, moment), expected)
                expect(
                    not wrong,
                    f"the change points up to {iso(moment)} {when} do not lead to what was "
                    f"ingested: {wrong}",
                )


def _state(frame: pl.DataFrame, provider: Provider) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    width = len(provider.key)
    rows = frame.select(*provider.key, *provider.schema.columns).rows()
    return {row[:width]: row[width:] for row in rows}
