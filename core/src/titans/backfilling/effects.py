"""What a month does to the state that the months before it leave.

A month's snapshots are followed without writing anything, from no state at all. Where every value
was observed, the months before it matter to nobody. Else the last state lacks what was carried into
the month, and that depends on the keys that lived in all of its snapshots: for those, the change
points that were found are kept, as they were observed. To repeat only these on the state before is
the same as to repeat every snapshot, for the others change nothing: what they observed was known.

Columns that are not passive need less: what was known last of each, or else what was known before.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime

import polars as pl
from attrs import define, evolve, field, frozen

from titans.archive import Archive
from titans.backfilling.source import MonthInput
from titans.changes.conform import conform_snapshot
from titans.changes.state import carried, diff, overlay
from titans.dataset import Dataset
from titans.errors import InputError
from titans.expectations import WHAT_NEXT
from titans.provider import Provider
from titans.refusals import Refusals, Row
from titans.slots import Month, Slot
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.view import MonthView

__all__ = ["Beginning", "Effect", "FollowTask", "follow", "packed", "unpacked"]

_RANK = "\x00rank"


def packed(frame: pl.DataFrame) -> bytes:
    """A frame on its way between processes: a tenth of what it is in memory."""
    out = io.BytesIO()
    frame.write_ipc(out, compression="zstd")
    return out.getvalue()


def unpacked(data: bytes) -> pl.DataFrame:
    return pl.read_ipc(io.BytesIO(data))


@frozen(eq=False)
class Beginning:
    """What is known before the first snapshot of a month."""

    state: bytes
    """Keys and values of the living keys."""
    refusals: bytes = b""
    """Keys of the snapshot that was refused last, and when such were: see `Refusals`."""
    slots: tuple[datetime, ...] = ()

    @classmethod
    def of(cls, state: pl.DataFrame, refusals: Refusals, provider: Provider) -> Beginning:
        rows = state.select(*provider.key, *provider.schema.columns)
        if not refusals.slots:
            return cls(packed(rows))
        return cls(packed(rows), packed(refusals.keys), refusals.slots)

    def row(self, provider: Provider) -> Refusals:
        if not self.slots:
            return _no_refusals(provider)
        return Refusals(unpacked(self.refusals), self.slots)


@frozen(eq=False)
class Effect:
    """What a month does to the state before it."""

    month: Month
    refused: Mapping[int, str]
    """Positions of snapshots that look truncated, and why."""
    state: bytes
    """The last state, as far as the month knows it."""
    begins_with: bytes | None = None
    """The keys of the first snapshot, where it was accepted; `None`: what was before the month does
    not matter.
    """
    steps: tuple[bytes, ...] = ()
    """What happened to the keys that lived in every snapshot, one step a key in each."""
    is_open: bool = False
    """It has to be followed from the state before: whether its first snapshots are accepted
    depends on that."""
    refusals: Beginning | None = None
    """Those in a row at its end, with the state."""
    is_in_order: bool = False
    """The archive has something in the month that lies between snapshots that it does not have."""

    def after(self, before: pl.DataFrame, provider: Provider, share: float) -> pl.DataFrame | None:
        """The state after the month, if `before` is the state before it; `None`: it has to be
        followed from there.
        """
        if self.is_open:
            return None
        state = unpacked(self.state)
        if self.begins_with is None:
            return state
        first = unpacked(self.begins_with)
        ceased = before.join(first, on=provider.key, how="anti").height
        if provider.expectations.doubt(before.height, ceased, first.height, share):
            return None

        lived: pl.DataFrame | None = None
        for step in map(unpacked, self.steps):
            if lived is None:
                lived = carried(before, step, provider)
                continue
            moved = carried(lived, step, provider)
            lived = pl.concat([lived.join(moved, on=provider.key, how="anti"), moved])
        if lived is None:
            return state
        others = state.join(lived, on=provider.key, how="anti")
        return pl.concat([others, lived]).sort(provider.key)


@frozen(eq=False)
class FollowTask:
    """A month to be followed."""

    archive: Archive
    input: MonthInput
    max_ceased: float | None
    beginning: Beginning | None = None
    """`None`: not known yet."""


def follow(task: FollowTask) -> Effect:
    """What a month does to the state before it. Nothing is written.

    Raises:
        SchemaError: the source has no column of times.
        FormatError: what the archive has of the month cannot be read.
    """
    dataset = task.archive._dataset
    provider = dataset.provider
    manifest = read_head(dataset, task.input.month).manifest
    known = _AlreadyThere.of(dataset, manifest)
    walk = _Walk(dataset, provider.expectations.share(task.max_ceased), known)
    if task.beginning is not None:
        walk.begin(unpacked(task.beginning.state), task.beginning.row(provider))
    for position, (_, time, frame) in enumerate(task.input.snapshots(provider)):
        if time is None or isinstance(frame, InputError):
            continue
        try:
            rows, _ = conform_snapshot(frame, provider)
        except InputError:
            continue  # it will be refused when it is ingested
        walk.take(position, time, rows)
    return walk.effect(task.input.month)


@frozen(eq=False)
class _AlreadyThere:
    """What the archive has of the month already."""

    view: MonthView
    last: int | None
    """The last slot."""

    @classmethod
    def of(cls, dataset: Dataset, manifest: Manifest) -> _AlreadyThere | None:
        if not manifest.adopted:
            return None
        # Keyframes that depend on earlier months become untrue when those are ingested.
        view = MonthView.of(manifest, dataset).standing_alone()
        return cls(view, manifest.adopted.last)

    def has(self, slot: Slot) -> bool:
        return slot.index in self.view.adopted

    def before(self, slot: Slot) -> pl.DataFrame | None:
        """What a snapshot is compared with; `None` where that is not of this month."""
        base = self.view.observed.before(slot.index)
        return None if base is None else self.view.state(self.view.slot(base).end)

    def at_end(self) -> pl.DataFrame | None:
        end = self.view.month.end
        return self.view.state(end) if self.view.stands_alone(end) else None


@define(eq=False)
class _Walk:
    """A month, snapshot by snapshot."""

    dataset: Dataset
    share: float
    known: _AlreadyThere | None
    refused: dict[int, str] = field(factory=dict)
    row: Refusals = field(init=False)
    _state: pl.DataFrame | None = None
    """`None` where nothing is known yet."""
    _is_known: bool = False
    """Whether the state includes what was before the month."""
    _first: pl.DataFrame | None = None
    _lived: pl.DataFrame | None = None
    """The keys that were in every snapshot so far."""
    _events: list[pl.DataFrame] = field(factory=list)
    _taken: set[int] = field(factory=set)
    _is_open: bool = False
    _in_order: bool = False

    def __attrs_post_init__(self) -> None:
        self.row = _no_refusals(self.provider)

    @property
    def provider(self) -> Provider:
        return self.dataset.provider

    def begin(self, state: pl.DataFrame, row: Refusals) -> None:
        """From what is known."""
        self._state, self._is_known, self.row = state, True, row

    def take(self, position: int, time: datetime, rows: pl.DataFrame) -> None:
        """The next snapshot."""
        slot = Slot.of(time, self.dataset.paths.minutes)
        if slot.index in self._taken or (self.known is not None and self.known.has(slot)):
            return
        if self.known is not None:
            if slot.index < (self.known.last or 0):
                self._take_late(position, slot, rows)
                return
            state = self.known.before(slot)
            self.known = None
            if state is None:
                self._in_order = True
                return
            self.begin(state.select(rows.columns), _no_refusals(self.provider))

        if not self._is_accepted(position, slot, rows):
            return
        self._taken.add(slot.index)
        self.row = _no_refusals(self.provider)
        self._follow(time, rows)

    def _take_late(self, position: int, slot: Slot, rows: pl.DataFrame) -> None:
        """One that lies before others that the archive has."""
        state = None if self.known is None else self.known.before(slot)
        if state is None:
            self._in_order = True
            return
        doubt = self._doubt(state, rows)
        if doubt:
            self.refused[position] = _reason(doubt, "")
        else:
            self._in_order = True

    def _doubt(self, state: pl.DataFrame | None, rows: pl.DataFrame) -> str:
        living, ceased = 0, 0
        if state is not None:
            living = state.height
            if not _same_keys(state, rows, self.provider):
                ceased = state.join(rows, on=self.provider.key, how="anti").height
        return self.provider.expectations.doubt(living, ceased, rows.height, self.share)

    def _is_accepted(self, position: int, slot: Slot, rows: pl.DataFrame) -> bool:
        doubt = self._doubt(self._state, rows)
        if not doubt:
            return True
        after = self.provider.expectations.accept_after
        if after is None:
            self.refused[position] = _reason(doubt, "")
            return False

        # How many were refused before it in a row is not known yet.
        self._is_open |= self._state is None
        keys = rows.select(self.provider.key)
        becomes = self.row.only(slot, keys)
        if self.row.slots and self.row.agree(keys, self.share):
            becomes = self.row.plus(slot, keys)
        row = Row(len(becomes.slots) - 1, after)
        if row.is_enough:
            return True
        self.row = becomes
        self.refused[position] = _reason(doubt, str(row))
        return False

    def _follow(self, time: datetime, rows: pl.DataFrame) -> None:
        """What an accepted snapshot does."""
        provider, key = self.provider, list(self.provider.key)
        if self._state is None:
            self._state, self._first = rows, rows.select(key)
            self._lived = self._first
            self._remember(rows)
            return

        before = self._state
        if self._observes_all(rows):
            self._state = rows
            gone = not _same_keys(before, rows, provider)
        else:
            change = diff(before, rows, time, provider)
            self._state = overlay(before, change.rows.select(*rows.columns, "Ceased"), provider)
            gone = bool(change.ceased)
            if provider.schema.passive and change.rows.height:
                self._remember(rows.join(change.rows, on=key, how="semi"))
        if gone and self._lived is not None:
            self._lived = self._lived.join(rows, on=key, how="semi")

    def _observes_all(self, rows: pl.DataFrame) -> bool:
        """Whether a snapshot is the state that it makes."""
        schema = self.provider.schema
        if schema.passive:
            return False
        return not any(
            rows[name].null_count() for name in schema.columns if name not in schema.nullable
        )

    def _remember(self, rows: pl.DataFrame) -> None:
        if not self._is_known and self.provider.schema.passive:
            self._events.append(rows)

    def effect(self, month: Month) -> Effect:
        provider = self.provider
        columns = [*provider.key, *provider.schema.columns]
        if self.known is not None:  # and nothing came after what the archive has
            state = self.known.at_end()
            self._in_order |= state is None
            self._state, self._first, self._is_known = state, None, True
            self._is_open = False
        if self._state is None:
            # No snapshot that could be accepted: with others, that may be another matter.
            empty = pl.DataFrame(schema=dict(provider.schema_dtypes)).select(columns)
            return Effect(
                month, self.refused, packed(empty), is_open=True, is_in_order=self._in_order
            )

        state = self._state.select(columns)
        done = Effect(
            month,
            self.refused,
            packed(state),
            refusals=Beginning.of(state, self.row, provider),
            is_open=self._is_open,
            is_in_order=self._in_order,
        )
        if self._is_known or self._first is None:
            return done
        return evolve(done, begins_with=packed(self._first), steps=self._steps(state))

    def _steps(self, state: pl.DataFrame) -> tuple[bytes, ...]:
        """What happened to the keys that lived all the time, as it was observed."""
        key = list(self.provider.key)
        if self._lived is None:
            return ()
        if not self.provider.schema.passive:
            return (packed(state.join(self._lived, on=key, how="semi")),)
        rows = pl.concat(self._events).join(self._lived, on=key, how="semi")
        ranked = rows.with_columns(pl.int_range(pl.len()).over(key).alias(_RANK))
        parts = ranked.partition_by(_RANK, maintain_order=True, include_key=False)
        return tuple(packed(part.sort(key)) for part in parts)


def _same_keys(one: pl.DataFrame, other: pl.DataFrame, provider: Provider) -> bool:
    if one.height != other.height:
        return False
    return all((one[name] == other[name]).all() for name in reversed(provider.key))


def _no_refusals(provider: Provider) -> Refusals:
    return Refusals(pl.DataFrame(schema=dict.fromkeys(provider.key, pl.String)))


def _reason(doubt: str, row: str) -> str:
    return f"{doubt}; it looks truncated and nothing was stored{row}; {WHAT_NEXT}"
