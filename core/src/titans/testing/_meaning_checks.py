"""Checks of what a schema says of its columns, and of what a provider expects of its source."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import islice
from typing import Any

import polars as pl

from titans.archive import Archive
from titans.errors import SuspiciousSnapshotError, TitansError
from titans.expectations import Expectations
from titans.schema import TIME
from titans.slots import iso
from titans.store.memory import MemoryStore
from titans.testing._frames import extremes, snapshot
from titans.testing._provider_suite import ProviderSuite
from titans.testing._suite import Nonconformance, expect

__all__ = ["MeaningChecks"]

_ELSEWHERE = timezone(timedelta(hours=5, minutes=30))


class MeaningChecks(ProviderSuite, kit=True):
    """Nullable and passive columns, expectations, and values that come in more than one form."""

    def test_null_is_a_value_in_nullable_columns(self) -> None:
        """It is stored, makes a change point, and a value after it does; `ingest` and `upload`
        agree.
        """
        for column in self._provider.schema.nullable:
            row = self._ordinary()
            value, null = row[column], row | {column: None}
            archive = Archive(MemoryStore(), self._provider)
            seen = []
            for slot, values in enumerate((row, null, null, row)):
                self._ingest_row(archive, values, slot)
                seen.append(archive.state(self._slot_start(slot))[column][0])
            expect(
                seen == [value, None, None, value],
                f"{column!r} is nullable; it was {value!r}, null twice and {value!r} again, the "
                f"states say {seen}",
            )
            points = archive.changes().height
            expect(
                points == 3,
                f"{column!r} is nullable; from {value!r} to null and back are 3 change points, not "
                f"{points}",
            )

            uploads = Archive(MemoryStore(), self._provider)
            moment = self._slot_start(0)
            uploads.upload(self._row(null).with_columns(pl.lit(moment).alias(TIME)), moment)
            stored = uploads.latest()[column][0]
            expect(stored is None, f"null in column {column!r} is uploaded, and read as {stored!r}")

    def test_passive_values_make_no_change_point(self) -> None:
        """Alone they change nothing; with another value they are stored."""
        schema = self._provider.schema
        active = [name for name in schema.columns if name not in schema.passive]
        for column in schema.passive:
            row = self._ordinary()
            other = row | {column: self._another(column, row[column])}
            archive = Archive(MemoryStore(), self._provider)
            self._ingest_row(archive, row, 0)
            status = self._ingest_row(archive, other, 1)
            stored = archive.latest()[column][0]
            expect(
                status == "unchanged" and stored == row[column],
                f"{column!r} is passive; another value of it alone is {status}, and the state says "
                f"{stored!r}: does titans_normalize put it into another column?",
            )
            if not active:
                continue
            changed = other | {active[0]: self._another(active[0], row[active[0]])}
            self._ingest_row(archive, changed, 2)
            stored = archive.latest()[column][0]
            expect(
                stored == other[column],
                f"{column!r} is passive; with a change of {active[0]!r} it should be "
                f"{other[column]!r}, the state says {stored!r}",
            )

    def _another(self, column: str, value: Any) -> Any:
        """Another value than this, that the provider takes."""
        found = {value}
        for frame in self._frames(20, 5):
            found |= set(self._conformed(frame, "example data")[column].drop_nulls().to_list())
        others = [each for each in found if each != value]
        if others:
            return others[0]
        dtype = self._provider.schema.columns[column]
        return next(each for each in extremes(dtype) if each != value)

    def test_the_example_meets_the_expectations(self) -> None:
        """`titans_expectations` returns Expectations, and an archive refuses none of the example
        snapshots.
        """
        if self._provider.hooks is not None:
            found = self._hook("titans_expectations")
            expect(
                isinstance(found, Expectations) and found == self._provider.expectations,
                f"titans_expectations must return the same Expectations every time, got {found!r}",
            )
        archive = Archive(MemoryStore(), self._provider)
        for slot, frame in enumerate(islice(self.example(5, 60, 12), 12)):
            moment = self._slot_start(slot)
            try:
                archive.ingest(frame, moment)
            except SuspiciousSnapshotError as error:
                raise Nonconformance(
                    f"the example snapshot of {iso(moment)} does not meet the provider's own "
                    f"expectations: {error}"
                ) from error

    def test_equal_content_is_one_value(self) -> None:
        """JSON with its names in another order, a moment with another offset, decimals as text:
        what means the same is stored the same.
        """
        for column, dtype in self._provider.schema.columns.items():
            for value in extremes(dtype):
                for form in _forms(value, dtype):
                    self._are_the_same(column, value, form)

    def _are_the_same(self, column: str, value: Any, form: pl.Series) -> None:
        if column in self.values:
            return
        frame = self._row(self._ordinary() | {column: value})
        other = frame.with_columns(form.alias(column))
        stored = self._conformed(frame, f"{value!r} in column {column!r}")[column][0]
        again = self._conformed(other, f"{form[0]!r} in column {column!r}")[column][0]
        expect(
            again == stored,
            f"{form[0]!r} in column {column!r} means {value!r}, but is stored as {again!r} and "
            f"not as {stored!r}",
        )

    # --- parts ------------------------------------------------------------------------------------

    def _row(self, values: dict[str, Any]) -> pl.DataFrame:
        key = self._keys(1)[0]
        return snapshot(self._provider, [(*key, *values.values())])

    def _ingest_row(self, archive: Archive, values: dict[str, Any], slot: int) -> str:
        moment = self._slot_start(slot)
        try:
            return archive.ingest(self._row(values), moment, max_ceased=1.0).status
        except TitansError as error:
            raise Nonconformance(
                f"the snapshot of {iso(moment)} is not accepted: {error}"
            ) from error


def _forms(value: Any, dtype: str) -> list[pl.Series]:
    """Other forms in which a value may come."""
    if dtype == "Json":
        backward = json.dumps(_reversed(json.loads(value)), indent=1)
        return [pl.Series([backward])]
    if isinstance(value, datetime):
        shown = value.astimezone(_ELSEWHERE).isoformat()
        return [pl.Series([shown]), pl.Series([value.astimezone(_ELSEWHERE)])]
    if isinstance(value, Decimal):
        return [pl.Series([f"{value:f}"])]
    return []


def _reversed(document: Any) -> Any:
    """With the names in objects in another order."""
    if isinstance(document, dict):
        return {name: _reversed(document[name]) for name in sorted(document, reverse=True)}
    if isinstance(document, list):
        return [_reversed(each) for each in document]
    return document
