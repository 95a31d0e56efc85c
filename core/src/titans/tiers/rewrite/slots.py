"""Other content for one slot, or none: the archive becomes what it would be had that come in the
first place, and the state at every other snapshot stays what it is.

What a slot says reaches up to the next snapshot. There, rows are put right so that the state is
the same as before; further on nothing has to change.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl
from attrs import evolve, frozen

from titans.changes.digest import digest
from titans.changes.state import delta, diff, last_rows, overlay
from titans.dataset import Dataset
from titans.errors import InputError
from titans.provider import Provider
from titans.schema import TIME
from titans.slots import Slot, SlotSet
from titans.tiers.compact.basis import read_state_before
from titans.tiers.files.claims import Claim, Claims
from titans.tiers.files.metadata import SlotKind, SlotRecord
from titans.tiers.files.read import read_selections
from titans.tiers.files.writers import writer_of
from titans.tiers.manifest.commit import Head
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.model import Manifest
from titans.tiers.manifest.view import Criteria, MonthView, Part
from titans.tiers.rewrite.carry import Plan, Request, State, rewrite_of, with_level_zero
from titans.tiers.rewrite.output import Change
from titans.tiers.write.hot import read_adopted_record

__all__ = ["Content", "Outcome", "plan_slot"]


@frozen(eq=False)
class Content:
    """What a slot is to say."""

    rows: pl.DataFrame
    """Of a snapshot: key and value columns, one row per key; of an upload, canonical columns."""
    time: datetime
    """When it was collected."""
    is_snapshot: bool
    claim: Claim = ""
    """Of an upload; `retracted`: the slot is to say nothing."""

    @property
    def hash(self) -> str:
        return digest(self.rows)

    def is_that_of(self, record: SlotRecord) -> bool:
        """Whether a slot says so already."""
        same = (self.is_snapshot, self.claim) == (record.is_snapshot, record.claim)
        if self.claim == "retracted":
            return same
        return same and self.hash == record.hash and self.time == record.time


_KINDS: dict[tuple[bool, bool], SlotKind] = {
    (True, True): "full",
    (True, False): "diff",
    (False, False): "changes",
}
"""By whether it is a snapshot, and whether that is stored whole."""


@frozen(eq=False)
class Outcome:
    """What a rewrite does to the state at the end of its slot; both with key, `Time`, values."""

    before: pl.DataFrame
    after: pl.DataFrame


def plan_slot(
    dataset: Dataset, head: Head, slot: Slot, content: Content, request: Request
) -> tuple[Plan, Outcome] | None:
    """How a month comes to say `content` in `slot`; `None` where it does.

    Raises:
        InputError: nothing was ever stored for the slot.
        NotFound, CorruptFileError: a file of the month cannot be read.
    """
    record = read_adopted_record(dataset, head.manifest, slot)
    if record is None:
        raise InputError(
            f"nothing is stored for slot {slot} of provider {dataset.provider.name!r}, so there is "
            "nothing to correct; ingest or upload it",
            provider=dataset.provider.name,
            month=str(slot.month),
        )
    if content.is_that_of(record):
        return None
    return _Planner(dataset, head, slot, content, record).plan(request)


@frozen(eq=False)
class _Moved:
    """The next snapshot after the slot, and what has to be put right there."""

    slot: int
    time: datetime
    keys: pl.DataFrame
    """Whose rows there are replaced."""
    rows: pl.DataFrame
    """What comes in their place."""


@frozen(eq=False)
class _Planner:
    dataset: Dataset
    head: Head
    slot: Slot
    content: Content
    record: SlotRecord

    @property
    def manifest(self) -> Manifest:
        return self.head.manifest

    @property
    def provider(self) -> Provider:
        return self.dataset.provider

    @property
    def index(self) -> int:
        return self.slot.index

    def plan(self, request: Request) -> tuple[Plan, Outcome]:
        view = MonthView.of(self.manifest, self.dataset)
        earlier = None
        if not view.stands_alone(self.slot.start):
            earlier = read_state_before(self.dataset, self.slot.month)
        before = view.state(self.slot.start, earlier)
        outcome = Outcome(view.state(self.slot.end, earlier), self._after(before))

        becomes_full = self._becomes_full()
        following = self.manifest.observed.after(self.index)
        takes_over = self._takes_over(following, becomes_full=becomes_full)
        moved = None
        if following is not None and following not in view.full and not takes_over:
            moved = self._moved(view, following, outcome)

        states = []
        record = self._new_record(outcome.after, becomes_full=becomes_full)
        records: dict[int, SlotRecord | None] = {self.index: record}
        if becomes_full:
            records[self.index] = None
            states.append(State(self.index, self._whole(outcome.after, self.content.time), record))
        if takes_over and following is not None:
            state = view.state(self.dataset.slot(self.slot.month, following).end)
            known = self._record_of(following)
            records[following] = None
            whole = self._whole(state, known.time)
            states.append(State(following, whole, evolve(known, kind="full")))
        plus = self._plus(before, moved, becomes_full=becomes_full)
        kept = self._kept(moved, following if takes_over else None)
        return self._put_together(request, view, (records, states, plus, kept)), outcome

    # --- what the slot says -----------------------------------------------------------------------

    def _becomes_full(self) -> bool:
        """A snapshot that no other precedes in its month is stored whole; one that is stays so."""
        if not self.content.is_snapshot:
            return False
        first = self.manifest.observed.before(self.index) is None
        return first or self.index in self.manifest.full

    def _takes_over(self, following: int | None, *, becomes_full: bool) -> bool:
        """Whether the next snapshot has to be stored whole instead of this one, because no other
        precedes it any more.
        """
        ends = self.index in self.manifest.full and not becomes_full
        first = self.manifest.observed.before(self.index) is None
        return ends and first and following is not None and following not in self.manifest.full

    def _after(self, before: pl.DataFrame) -> pl.DataFrame:
        """The state at the end of the slot."""
        content = self.content
        if not content.is_snapshot:
            return overlay(before, last_rows(content.rows, self.provider), self.provider)
        rows = diff(before, content.rows, content.time, self.provider).rows
        return overlay(before, rows, self.provider)

    def _new_record(self, after: pl.DataFrame, *, becomes_full: bool) -> SlotRecord:
        content, kind = self.content, _KINDS[self.content.is_snapshot, becomes_full]
        state = None
        if content.is_snapshot:
            state = digest(after, [*self.provider.key, *self.provider.value_columns])
        return SlotRecord(
            self.index,
            kind,
            content.hash,
            content.time,
            state,
            content.claim,
            writer_of(self.provider),
        )

    def _record_of(self, index: int) -> SlotRecord:
        slot = self.dataset.slot(self.slot.month, index)
        record = read_adopted_record(self.dataset, self.manifest, slot)
        if record is None:
            raise InputError(f"slot {slot} is observed but not adopted")
        return record

    def _whole(self, state: pl.DataFrame, time: datetime) -> pl.DataFrame:
        """A state as the rows of a full snapshot."""
        return delta(state.clear(), state, time, self.provider).rows

    # --- the next snapshot ------------------------------------------------------------------------

    def _moved(self, view: MonthView, following: int, outcome: Outcome) -> _Moved | None:
        """What keeps the state there what it is; `None` where it is so by itself."""
        key = list(self.provider.key)
        other = delta(outcome.before, outcome.after, self.content.time, self.provider).rows
        keys = other.select(key)
        if not keys.height:
            return None
        later = self.dataset.slot(self.slot.month, following)
        time = view.read_collected(following)
        between = view.rows(Criteria(self.slot.end, later.start))
        without = overlay(outcome.after, last_rows(between, self.provider), self.provider)
        held = view.state(later.end)
        without = without.join(keys, on=key, how="semi", maintain_order="left")
        held = held.join(keys, on=key, how="semi", maintain_order="left")
        return _Moved(following, time, keys, delta(without, held, time, self.provider).rows)

    # --- rows -------------------------------------------------------------------------------------

    def _plus(
        self, before: pl.DataFrame, moved: _Moved | None, *, becomes_full: bool
    ) -> pl.DataFrame:
        rows = pl.DataFrame(schema=dict(self.provider.schema_dtypes))
        if not self.content.is_snapshot:
            rows = self.content.rows
        elif not becomes_full:
            rows = diff(before, self.content.rows, self.content.time, self.provider).rows
        if moved is None:
            return rows
        return pl.concat([rows, moved.rows]).sort([*self.provider.key, TIME])

    def _kept(self, moved: _Moved | None, whole: int | None) -> _Kept:
        month = self.slot.month
        spans = [(self.slot.start, self.slot.end)]
        if whole is not None:
            later = self.dataset.slot(month, whole)
            spans.append((later.start, later.end))
        span = None
        if moved is not None:
            later = self.dataset.slot(month, moved.slot)
            span = (later.start, later.end)
        keys = None if moved is None else moved.keys
        return _Kept(self.provider, tuple(spans), span, keys)

    # --- files ------------------------------------------------------------------------------------

    def _put_together(
        self,
        request: Request,
        view: MonthView,
        made: tuple[dict[int, SlotRecord | None], list[State], pl.DataFrame, _Kept],
    ) -> Plan:
        records, states, plus, kept = made
        inputs, dropped = self._inputs(view, kept, SlotSet.of(records))
        own = {slot: record for slot, record in records.items() if record is not None}
        if plus.height and not inputs and not own:
            inputs = self._holder_of_next()

        touched = SlotSet.of(records)
        for entry in inputs:
            touched |= entry.slots
        rewrite = evolve(
            rewrite_of(self.dataset, self.head, request, self.index, touched),
            before=self.record.hash,
            after=self.content.hash,
            removed=_without(dropped, plus).height,
            added=_without(plus, dropped).height,
        )
        change = None
        if inputs or own:
            change = Change(kept, plus, records, rewrite)

        index = SlotSet.of([self.index])
        observed, full = self.manifest.observed - index, dict(self.manifest.full)
        full.pop(self.index, None)
        if self.content.is_snapshot:
            observed |= index
        for state in states:
            if state.record is not None:
                full[state.slot] = state.record.time
        claims = self.manifest.claims.without(index)
        return Plan(
            self.manifest,
            rewrite,
            tuple(inputs),
            change,
            tuple(states),
            retired=self._retired(),
            observed=observed,
            full=full,
            claims=claims | Claims.of([(self.index, self.content.claim)]),
        )

    def _inputs(
        self, view: MonthView, kept: _Kept, moved: SlotSet
    ) -> tuple[list[FileEntry], pl.DataFrame]:
        """The files of change points that hold the slot, or rows that do not stay; and these
        rows.
        """
        chosen, asked = [], []
        for entry in self.manifest.files:
            if entry.is_border or self.manifest.is_full(entry):
                continue
            if entry.slots & moved:
                chosen.append(entry)
            if kept.may_drop(entry):
                asked.append(entry)
        parts = {
            part.data.key: part for part in view.parts if not isinstance(part.data, pl.DataFrame)
        }
        selections = []
        for entry in asked:
            part: Part = parts[self.dataset.key(self.slot.month, entry.file)]
            selections.append(part.selection(*kept.bounds))
        dropped = [pl.DataFrame(schema=dict(self.provider.schema_dtypes))]
        for entry, rows in zip(asked, read_selections(self.dataset, selections), strict=True):
            missing = _without(rows, kept(rows), [*self.provider.key, TIME])
            dropped.append(missing.select(dropped[0].columns))
            if missing.height and entry not in chosen:
                chosen.append(entry)
        return with_level_zero(self.manifest, chosen), pl.concat(dropped)

    def _holder_of_next(self) -> list[FileEntry]:
        """The file of the next snapshot: rows never stand in a file that holds no slot."""
        following = self.manifest.observed.after(self.index)
        chosen = [e for e in self.manifest.files if following is not None and following in e.slots]
        return with_level_zero(self.manifest, chosen)

    def _retired(self) -> tuple[FileEntry | Keyframe, ...]:
        """What the slot made, and what follows from it.

        Up to the next snapshot that is the state; up to the next one that is stored whole it is the
        times of the last changes too, which keyframes hold.
        """
        manifest = self.manifest
        following = manifest.observed.after(self.index)
        barrier = min((slot for slot in manifest.full if slot > self.index), default=None)
        retired: list[FileEntry | Keyframe] = []
        for entry in manifest.files:
            if entry.is_border and entry.first in (self.index, following):
                retired.append(entry)
            if entry.first == self.index and manifest.is_full(entry):
                retired.append(entry)
        for keyframe in manifest.keyframes:
            if keyframe.is_full and keyframe.slot == self.index:
                retired.append(keyframe)
            reached = barrier is None or keyframe.slot <= barrier
            if not keyframe.is_full and self.index < keyframe.slot and reached:
                retired.append(keyframe)
        return tuple(retired)


def _without(
    rows: pl.DataFrame, others: pl.DataFrame, columns: list[str] | None = None
) -> pl.DataFrame:
    """The rows that are not among others, in these columns or in all."""
    return rows.join(others, on=columns or rows.columns, how="anti", nulls_equal=True)


@frozen(eq=False)
class _Kept:
    """Of some rows, those that stay."""

    provider: Provider
    spans: tuple[tuple[datetime, datetime], ...]
    """No row of these times does: start (inclusive) and end."""
    span: tuple[datetime, datetime] | None = None
    """Nor of this time those of `keys`."""
    keys: pl.DataFrame | None = None

    @property
    def _all_spans(self) -> list[tuple[datetime, datetime]]:
        return [*self.spans] if self.span is None else [*self.spans, self.span]

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """No row outside of these is dropped."""
        spans = self._all_spans
        return min(start for start, _ in spans), max(end for _, end in spans)

    def may_drop(self, entry: FileEntry) -> bool:
        if entry.min_time is None or entry.max_time is None:
            return False
        return any(entry.max_time >= s and entry.min_time < e for s, e in self._all_spans)

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        for start, end in self.spans:
            inside = pl.col(TIME).is_between(start, end, closed="left")
            rows = rows.filter(~inside)
        if self.span is None or self.keys is None:
            return rows
        inside = pl.col(TIME).is_between(*self.span, closed="left")
        key = list(self.provider.key)
        doomed = rows.filter(inside).join(self.keys, on=key, how="semi").select(*key, TIME)
        if not doomed.height:
            return rows
        return rows.join(doomed, on=[*key, TIME], how="anti", maintain_order="left")
