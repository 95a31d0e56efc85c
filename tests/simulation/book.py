"""What must come out, kept in plain dicts, and the checks that compare an archive with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import polars as pl
from attrs import define, field
from oracle import as_dict, replayed

from simulation.store import Disk
from titans import Archive
from titans.layout import Paths
from titans.read.reader import Reader
from titans.slots import Month, Slot, SlotSet

__all__ = ["Book", "Structure", "Violation"]

State = dict[str, tuple]
Row = tuple
"""(key, Time, v, w, Ceased)"""

Content = tuple
"""What a slot says: `("snapshot", time, state)`, `("upload", rows)` or `("nothing",)`."""


class Violation(AssertionError):
    """The archive broke a promise."""


@define
class Book:
    """What was attempted, and what was acknowledged."""

    snapshots: dict[datetime, list[State]] = field(factory=dict)
    """Time → every snapshot that somebody tried to ingest for it."""
    uploads: dict[datetime, list[frozenset[Row]]] = field(factory=dict)
    """Start of a slot → every set of rows that somebody tried to upload into it."""
    acknowledged: dict[datetime, State] = field(factory=dict)
    """Time → the snapshot whose ingest succeeded."""
    kept: dict[datetime, frozenset[Row]] = field(factory=dict)
    """Start of a slot → the rows whose upload succeeded."""
    corrections: dict[datetime, list[Content]] = field(factory=dict)
    """Start of a slot → what corrections tried to make of it, in their order."""
    first: dict[datetime, Content | None] = field(factory=dict)
    """Start of a slot → what it said before; `None` where nobody was told."""
    certain: dict[datetime, int] = field(factory=dict)
    """Start of a slot → how many of its corrections there were when the last one succeeded."""
    erased: set[str] = field(factory=set)
    """Keys that somebody erases: their rows say nothing any more."""
    retained: list[datetime] = field(factory=list)
    """Times before which somebody removes everything."""
    breaks: int = 0
    """How often somebody damaged a manifest."""
    broken: bool = False
    """One is damaged, and not repaired yet."""

    def trying_snapshot(self, time: datetime, state: State) -> None:
        self.snapshots.setdefault(time, []).append(state)

    def trying_upload(self, time: datetime, rows: Mapping[str, tuple | None]) -> frozenset[Row]:
        points = frozenset(
            (key, time, *(values or (None, None)), values is None) for key, values in rows.items()
        )
        self.uploads.setdefault(_start(time), []).append(points)
        return points

    def acknowledge_snapshot(self, time: datetime, state: State) -> None:
        if not self._counts_as_first(_start(time), ("snapshot", time, state)):
            return
        if self.acknowledged.setdefault(time, state) != state:
            raise Violation(
                f"two different snapshots were acknowledged for {time}: {self.acknowledged[time]}, "
                f"{state}"
            )
        others = [t for t in self.acknowledged if _start(t) == _start(time) and t != time]
        if others or _start(time) in self.kept:
            raise Violation(f"two observations were acknowledged for the slot {_start(time)}")

    def acknowledge_upload(self, time: datetime, rows: frozenset[Row]) -> None:
        if not self._counts_as_first(_start(time), ("upload", rows)):
            return
        if self.kept.setdefault(_start(time), rows) != rows:
            raise Violation(f"two different uploads were acknowledged for the slot {_start(time)}")
        if any(_start(t) == _start(time) for t in self.acknowledged):
            raise Violation(
                f"an upload and a snapshot were acknowledged for the slot {_start(time)}"
            )

    def trying_correction(self, slot: datetime, content: Content) -> None:
        """From now on the slot may say this."""
        if slot not in self.corrections:
            self.corrections[slot] = []
            self.first[slot] = self._said(slot)
        self.corrections[slot].append(content)

    def acknowledge_correction(self, slot: datetime, content: Content) -> None:
        """The slot says this, and nothing that came before."""
        self.certain[slot] = len(self.corrections[slot])
        for time in [t for t in self.acknowledged if _start(t) == slot]:
            del self.acknowledged[time]
        self.kept.pop(slot, None)
        if content[0] == "snapshot":
            self.acknowledged[content[1]] = content[2]
        elif content[0] == "upload":
            self.kept[slot] = content[1]

    def _said(self, slot: datetime) -> Content | None:
        if slot in self.kept:
            return ("upload", self.kept[slot])
        for time, state in self.acknowledged.items():
            if _start(time) == slot:
                return ("snapshot", time, state)
        return None

    def may_say(self, slot: datetime) -> list[Content | None] | None:
        """What a slot may say by now; `None`: what was acknowledged, nobody corrects it."""
        if slot not in self.corrections:
            return None
        known = self.certain.get(slot, 0)
        if known:
            return [*self.corrections[slot][known - 1 :]]
        return [self.first.get(slot), *self.corrections[slot]]

    def counts(self, time: datetime) -> bool:
        """Whether nobody has begun to remove what is of this time."""
        return all(time >= since for since in self.retained)

    def without(self, state: State) -> State:
        """A state without the keys that are erased."""
        return {key: values for key, values in state.items() if key not in self.erased}

    def _counts_as_first(self, slot: datetime, content: Content) -> bool:
        """Whether what was stored now is what the slot said before anybody corrected it; else it
        was corrected already when its writer heard of it.
        """
        if slot not in self.corrections:
            return True
        if self.certain.get(slot):
            return False
        self.first[slot] = content
        return True

    def withdraw_correction(self, slot: datetime, content: Content) -> None:
        """There was nothing to correct."""
        self.corrections[slot].remove(content)

    def copy(self) -> Book:
        """As it is now: what a reader that starts now must see."""
        return Book(
            self.snapshots,
            self.uploads,
            dict(self.acknowledged),
            dict(self.kept),
            self.corrections,
            dict(self.first),
            dict(self.certain),
            self.erased,
            self.retained,
            self.breaks,
            self.broken,
        )

    # --- what a reader got ------------------------------------------------------------------------

    def check_state(self, at: datetime, got: pl.DataFrame) -> None:
        """The state at the time of an acknowledged snapshot is that snapshot; elsewhere, values
        come from somebody."""
        state = as_dict(got)
        if len(state) != got.height:
            raise Violation(f"state({_t(at)}) has a key twice: {got.rows()}")
        if at in self.acknowledged and not self._is_right(at, state):
            raise Violation(
                f"state({_t(at)}) is {state}, the acknowledged snapshot is {self.acknowledged[at]}"
            )
        for key, values in state.items():
            seen = (
                tried.get(key)
                for time, all in self.snapshots.items()
                if time <= at
                for tried in all
            )
            told = (
                (r[2], r[3])
                for time, all in self.uploads.items()
                if time <= at
                for rows in all
                for r in rows
            )
            if values not in seen and values not in told:
                raise Violation(f"state({_t(at)}) has {key}={values}, which nobody ever stored")

    def _is_right(self, at: datetime, state: State) -> bool:
        """Whether a state is what the snapshot of that time made, or what a correction may."""
        if not self.counts(at):
            return True
        said = self.may_say(_start(at))
        if said is None:
            said = [("snapshot", at, self.acknowledged[at])]
        for content in said:
            # Where there is no snapshot of that time, the state depends on others.
            if content is None or content[0] != "snapshot" or content[1] != at:
                return True
            if self.without(content[2]) == self.without(state):
                return True
        return False

    def check_changes(
        self,
        points: pl.DataFrame,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        key: str | None = None,
        lagging: bool = False,
    ) -> None:
        """Every upload once, nothing twice, nothing invented; and, over the whole range, every
        snapshot replayed.

        `lagging`: lists may not have shown what others have uploaded and nobody has adopted.
        """
        rows: list[Row] = points.select("k", "Time", "v", "w", "Ceased").rows()
        twice = [at for at, n in Counter((row[0], row[1]) for row in rows).items() if n > 1]
        if twice:
            raise Violation(f"changes() has {twice[0]} more than once")
        by_slot: dict[datetime, set[Row]] = {}
        for row in rows:
            by_slot.setdefault(_start(row[1]), set()).add(row)

        def cut(wanted: Iterable[Row]) -> set[Row]:
            return {
                row
                for row in wanted
                if (start is None or row[1] >= start)
                and (end is None or row[1] < end)
                and key in (None, row[0])
            }

        def left(rows: Iterable[Row]) -> set[Row]:
            return {row for row in rows if row[0] not in self.erased}

        for slot in self.corrections:
            if lagging and not by_slot.get(slot):
                continue
            self._check_corrected(
                slot, left(by_slot.get(slot, set())), lambda rows: left(cut(rows))
            )
        for slot, wanted in self.kept.items():
            found = by_slot.get(slot, set())
            if not self.counts(slot) or slot in self.corrections:
                continue
            if left(found) != left(cut(wanted)) and not (lagging and not found):
                raise Violation(
                    f"changes() has {_rows(found)} in the slot {_t(slot)}, uploaded was "
                    f"{_rows(cut(wanted))}"
                )
        snapshot_slots = {_start(time) for time in self.snapshots}
        for slot, found in by_slot.items():
            if slot not in snapshot_slots and left(found) not in [
                left(cut(tried)) for tried in self.uploads.get(slot, ())
            ]:
                raise Violation(
                    f"changes() has {_rows(found)} in the slot {_t(slot)}: no upload was like that"
                )
        if start is None and end is None and key is None:
            shown = {Month.of(row[1]) for row in rows}
            for time, state in self.acknowledged.items():
                known = {Month.of(t) for t in (*self.acknowledged, *self.kept) if t <= time}
                if lagging and not known <= shown:
                    continue  # no list shows anything of a month that the others build on
                if self.retained:
                    continue  # what lived when the first month began, no change point says
                got = replayed(points, time)
                if not self._is_right(time, got):
                    raise Violation(
                        f"changes() up to {_t(time)} lead to {got}, the acknowledged snapshot is "
                        f"{state}"
                    )

    def _check_corrected(
        self, slot: datetime, found: set[Row], shown: Callable[[Iterable[Row]], set[Row]]
    ) -> None:
        """The change points of a slot that somebody corrects."""
        if not self.counts(slot):
            return
        for content in self.may_say(slot) or ():
            if content is None or content[0] == "snapshot":
                return  # it depends on the state before
            if content[0] == "upload" and found == shown(content[1]):
                return
            if content[0] == "nothing" and not found:
                return
        raise Violation(f"changes() has {_rows(found)} in the corrected slot {_t(slot)}")

    def check_everything(self, archive: Archive, times: Iterable[datetime]) -> None:
        """With an archive that meets no faults: `changes`, and `state` at some of the times."""
        reader = archive._reader()
        points = reader.changes()
        self.check_changes(points)
        for time in times:
            if not self.counts(time):
                continue
            state = reader.state(time)
            self.check_state(time, state)
            if not self.retained:
                _agree(points, state, time)

    def check_agreement(self, archive: Archive, time: datetime) -> None:
        """One look, two questions: the state is what the change points lead to."""

        def look(reader: Reader) -> tuple[pl.DataFrame, pl.DataFrame]:
            return reader.changes(), reader.state(time)

        _agree(*archive._ask(look), time)


@define
class Structure:
    """What can be seen of manifests and files without reading a row. Looked at after every step."""

    disk: Disk
    book: Book
    paths: Paths
    grace: timedelta
    """What has left the archive stays in the store for so long."""
    _seen: int = -1
    _manifests: dict[str, tuple[str, dict]] = field(factory=dict)
    _written: dict[str, str] = field(factory=dict)
    _left: dict[str, datetime] = field(factory=dict)
    """File that was live once → when it left the archive."""

    def check(self, *, anyway: bool = False) -> None:
        if self._seen == self.disk.changes and not anyway:
            return
        self._seen = self.disk.changes
        now = self.disk.scheduler.now
        there = {entry.key: entry.etag for entry in self.disk.objects.list()}
        before = self._live()
        if self.book.breaks:
            self._look_again(there)
            return
        for key, etag in there.items():
            if key.endswith("manifest.json") and self._manifests.get(key, ("", {}))[0] != etag:
                found = json.loads(self.disk.objects.get(key).data)
                self._newer(key, found)
                self._manifests[key] = (etag, found)
        live = self._live()
        self._left |= dict.fromkeys(before - live, now)
        if missing := live - set(there):
            raise Violation(f"{min(missing)} is referenced, but missing in the store")
        for key in set(self._written) - set(there):
            if key in self._left and now - self._left[key] < self.grace:
                raise Violation(
                    f"{key} was removed {now - self._left[key]} after it had left the archive: no "
                    "time for readers"
                )
        for key, etag in there.items():
            if self._written.get(key, etag) != etag and key in live:
                raise Violation(f"the data file {key} was written over")
        self._written = there
        self._acknowledged(there)

    def _look_again(self, there: Mapping[str, str]) -> None:
        """Once a manifest was damaged, what it said before says nothing of what it must say now."""
        if self.book.broken:
            return
        manifests = [key for key in there if key.endswith("/manifest.json")]
        self._manifests = {}
        for key in manifests:
            found = json.loads(self.disk.objects.get(key).data)
            self._newer(key, found)
            self._manifests[key] = (there[key], found)
        if missing := self._live() - set(there):
            raise Violation(f"{min(missing)} is referenced after repair, but missing in the store")
        self._acknowledged(there)

    def _live(self) -> set[str]:
        return {
            entry["file"] if "/" in entry["file"] else key.replace("manifest.json", entry["file"])
            for key, (_, manifest) in self._manifests.items()
            for entries in manifest["levels"].values()
            for entry in entries
        } | {
            key.replace(self.paths.warm_prefix, self.paths.state_prefix).replace(
                "manifest.json", keyframe["file"]
            )
            for key, (_, manifest) in self._manifests.items()
            for keyframe in manifest["keyframes"]
        }

    def _newer(self, key: str, manifest: dict) -> None:
        entries = [entry for level in manifest["levels"].values() for entry in level]
        names = [entry["file"] for entry in (*entries, *manifest["keyframes"])]
        slots = Counter(
            slot for entry in entries for slot in SlotSet.from_intervals(entry["slots"])
        )
        slots.update(k["slot"] for k in manifest["keyframes"] if k["file"].startswith("F_"))
        adopted = set(SlotSet.from_intervals(manifest["adopted"]))
        pending = {name.rpartition("/")[2] for name in manifest["pending_deletions"]}
        if len(set(names)) < len(names):
            raise Violation(f"{key} lists a file twice: {names}")
        if twice := [slot for slot, n in slots.items() if n > 1]:
            raise Violation(f"{key}: slot {twice[0]} is in two live files")
        if set(slots) != adopted:
            raise Violation(
                f"{key}: adopted are {sorted(adopted)}, in live files are {sorted(slots)}"
            )
        both = pending & {name.rpartition("/")[2] for name in names}
        if both:
            raise Violation(f"{key}: {sorted(both)} are live and to be removed")
        if key in self._manifests:
            old = self._manifests[key][1]
            lost = set(SlotSet.from_intervals(old["adopted"])) - adopted
            if lost and not manifest.get("removed"):
                raise Violation(f"{key}: slots {sorted(lost)} were adopted and are no longer")
            if manifest["version"] <= old["version"]:
                raise Violation(f"{key}: version {old['version']} became {manifest['version']}")

    def _acknowledged(self, there: Mapping[str, str]) -> None:
        for time in filter(self.book.counts, self.book.acknowledged):
            waits = self.book.breaks and self.paths.hot_key(Slot.of(time)) in there
            if not self._adopted(time) and not waits:
                raise Violation(
                    f"the snapshot of {_t(time)} was acknowledged, but its slot is not adopted"
                )
        for time in filter(self.book.counts, self.book.kept):
            if self.paths.hot_key(Slot.of(time)) not in there and not self._adopted(time):
                raise Violation(
                    f"the upload of {_t(time)} was acknowledged, but it is neither adopted nor "
                    "waiting"
                )

    def _adopted(self, time: datetime) -> bool:
        slot = Slot.of(time)
        _, manifest = self._manifests.get(
            self.paths.manifest_key(slot.month), ("", {"adopted": []})
        )
        return slot.index in SlotSet.from_intervals(manifest["adopted"])


def _agree(points: pl.DataFrame, state: pl.DataFrame, time: datetime) -> None:
    if (got := replayed(points, time)) != as_dict(state):
        raise Violation(f"state({_t(time)}) is {as_dict(state)}, but changes() lead to {got}")


def _start(time: datetime) -> datetime:
    return Slot.of(time).start


def _t(time: datetime) -> str:
    return f"{time:%d %H:%M:%S}"


def _rows(rows: Iterable[Row]) -> list[Row]:
    return [(row[0], _t(row[1]), *row[2:]) for row in sorted(rows)]
