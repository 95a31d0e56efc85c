"""What users do with an archive, as real callers do it: a failed call is made a few times again,
then given up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Protocol

import polars as pl
from attrs import frozen
from oracle import at, changes, snapshot

from simulation.book import Book, State, Violation
from simulation.store import Disk
from titans import Archive
from titans.errors import (
    ArchiveNotFoundError,
    FormatError,
    InputError,
    ManifestError,
    NotFound,
    SlotConflictError,
    TitansError,
)
from titans.slots import Month, Slot

__all__ = [
    "Amend",
    "AmendChanges",
    "Break",
    "Compact",
    "Erase",
    "Ingest",
    "Job",
    "Look",
    "Repair",
    "Retain",
    "Retract",
    "Seal",
    "Upload",
    "Vacuum",
    "attempt",
]

_TRIES = 4


class Job(Protocol):
    """One call of the archive, and what it means for the oracle."""

    def __call__(self, archive: Archive, book: Book) -> str:
        """What came of it, in a word or two. Raises `TitansError` where the caller may try
        again."""


def attempt(job: Job, archive: Archive, book: Book, say: Callable[[str], None]) -> str:
    """`job`, tried a few times; what came of it."""
    for _ in range(_TRIES):
        say(f"· {job}")
        broken, breaks = book.broken, book.breaks
        try:
            done = job(archive, book)
        except FormatError as error:
            if not broken and breaks == book.breaks:
                raise  # nothing else in these worlds damages a file
            if "titans repair" not in str(error):
                raise
            say(f"· {job} failed: {type(error).__name__}: {error}")
            return f"refused ({type(error).__name__})"
        except TitansError as error:
            say(f"· {job} failed: {type(error).__name__}: {error}")
            done = "given up" if not isinstance(error, NotFound) else "given up (NotFound)"
        else:
            say(f"· {job}: {done}")
            return done
    return done


@frozen
class Ingest:
    """A full snapshot."""

    time: datetime
    state: State

    def __call__(self, archive: Archive, book: Book) -> str:
        book.trying_snapshot(self.time, self.state)
        result = archive.ingest(snapshot(self.state), self.time, max_ceased=1.0)
        if result.status != "skipped":
            book.acknowledge_snapshot(self.time, self.state)
        return result.status + (" with corrections" if result.corrections else "")

    def __str__(self) -> str:
        return f"ingest {self.time:%d %H:%M:%S} {self.state}"


@frozen
class Upload:
    """Change points of one collection."""

    time: datetime
    rows: dict[str, tuple | None]
    repeat: str | None = None
    """A key whose row comes twice."""

    def __call__(self, archive: Archive, book: Book) -> str:
        points = book.trying_upload(self.time, self.rows)
        frame = changes(self.rows)
        repeated = frame.filter(pl.col("k").eq_missing(pl.lit(self.repeat)))
        try:
            archive.upload(pl.concat([frame, repeated]), self.time, on_conflict="error")
        except SlotConflictError:
            return "slot taken"
        book.acknowledge_upload(self.time, points)
        return "uploaded"

    def __str__(self) -> str:
        return f"upload {self.time:%d %H:%M:%S} {self.rows}"


@frozen
class Amend:
    """Another snapshot in the place of what a slot holds."""

    time: datetime
    state: State

    def __call__(self, archive: Archive, book: Book) -> str:
        slot, content = Slot.of(self.time).start, ("snapshot", self.time, self.state)
        book.trying_snapshot(self.time, self.state)
        book.trying_correction(slot, content)
        try:
            done = archive.amend(snapshot(self.state), self.time, reason="x", max_ceased=1.0)
        except InputError:
            book.withdraw_correction(slot, content)
            return "nothing there"
        book.acknowledge_correction(slot, content)
        return done.status

    def __str__(self) -> str:
        return f"amend {self.time:%d %H:%M:%S} {self.state}"


@frozen
class AmendChanges:
    """Other changed rows in the place of what a slot holds."""

    time: datetime
    rows: dict[str, tuple | None]

    def __call__(self, archive: Archive, book: Book) -> str:
        slot, points = Slot.of(self.time).start, book.trying_upload(self.time, self.rows)
        book.trying_correction(slot, ("upload", points))
        try:
            done = archive.amend_changes(changes(self.rows), self.time, reason="x")
        except InputError:
            book.withdraw_correction(slot, ("upload", points))
            return "nothing there"
        book.acknowledge_correction(slot, ("upload", points))
        return done.status

    def __str__(self) -> str:
        return f"amend {self.time:%d %H:%M:%S} with changes {self.rows}"


@frozen
class Retract:
    """A slot is to say nothing."""

    time: datetime

    def __call__(self, archive: Archive, book: Book) -> str:
        slot = Slot.of(self.time).start
        book.trying_correction(slot, ("nothing",))
        try:
            done = archive.retract(self.time, reason="x")
        except InputError:
            book.withdraw_correction(slot, ("nothing",))
            return "nothing there"
        book.acknowledge_correction(slot, ("nothing",))
        return done.status

    def __str__(self) -> str:
        return f"retract {self.time:%d %H:%M}"


@frozen
class Erase:
    """A key is to be nowhere."""

    key: str

    def __call__(self, archive: Archive, book: Book) -> str:
        book.erased.add(self.key)
        return archive.erase([{"k": self.key}], reason="x").status

    def __str__(self) -> str:
        return f"erase {self.key}"


@frozen
class Retain:
    """Earlier months are removed."""

    since: str

    def __call__(self, archive: Archive, book: Book) -> str:
        book.retained.append(Month.parse(self.since).start)
        try:
            return archive.retain(since=self.since, reason="x").status
        except InputError:
            return "nothing left"

    def __str__(self) -> str:
        return f"retain {self.since}"


@frozen
class Compact:
    """Adopt, merge, remove what is due; of one slot's month, or everywhere."""

    slot: datetime | None = None

    def __call__(self, archive: Archive, book: Book) -> str:
        try:
            done = archive.compact(
                None if self.slot is None else archive.paths.hot_key(Slot.of(self.slot))
            )
        except NotFound:
            if self.slot is None:
                raise
            return "no such slot"
        words = {
            "adopted": done.adopted,
            "merged": done.merged,
            "keyframes": done.keyframes,
            "removed": done.removed,
        }
        return ", ".join(word for word, number in words.items() if number) or "nothing to do"

    def __str__(self) -> str:
        return "compact" if self.slot is None else f"compact {self.slot:%d %H:%M}"


@frozen
class Seal:
    """Bring a month to its final form."""

    month: str

    def __call__(self, archive: Archive, book: Book) -> str:
        try:
            done = archive.seal(self.month)
        except InputError:
            return "nothing there"
        return "merged" if done.merged else "keyframes" if done.keyframes else "nothing to do"

    def __str__(self) -> str:
        return f"seal {self.month}"


@frozen
class Vacuum:
    """Remove what nobody uses."""

    grace: str

    def __call__(self, archive: Archive, book: Book) -> str:
        done = archive.vacuum(self.grace)
        return (
            ", ".join(word for word in ("removed", "listed") if getattr(done, word))
            or "nothing to do"
        )

    def __str__(self) -> str:
        return f"vacuum {self.grace}"


@frozen
class Look:
    """A question, and whether its answer holds what had been acknowledged before it was asked."""

    question: str
    lagging: bool
    random: Random

    def __call__(self, archive: Archive, book: Book) -> str:
        known = book.copy()
        moment = self.random.choice([*known.acknowledged, at(self.random.randrange(8, 18), 5)])
        try:
            self._look(archive, known, moment)
        except InputError as error:
            if not book.retained or isinstance(error, ArchiveNotFoundError):
                raise
            return "removed"
        except (ArchiveNotFoundError, ManifestError, Violation) as error:
            # A reader cannot tell that an earlier version of a manifest was put back.
            if known.broken or known.breaks != book.breaks:
                if isinstance(error, ManifestError):
                    raise
                return "broken"
            if isinstance(error, Violation):
                raise
            # Nothing may be there yet, or no list may show it.
            if self.lagging or not (known.acknowledged or known.kept):
                return "not there"
            raise Violation(f"what was acknowledged is not found: {error}") from error
        return "right"

    def _look(self, archive: Archive, known: Book, moment: datetime) -> None:
        if self.question == "state":
            known.check_state(moment, archive.state(moment))
        elif self.question == "changes":
            known.check_changes(archive.changes(), lagging=self.lagging)
        elif self.question == "range":
            start, end = at(self.random.randrange(8, 13)), at(self.random.randrange(13, 18))
            known.check_changes(archive.changes(start, end), start, end, lagging=self.lagging)
        elif self.question == "agree":
            moment = at(self.random.randrange(7, 18), 5)
            if not known.retained:
                known.check_agreement(archive, moment)
        elif self.question == "verify":
            for check in archive.verify(deep=True).checks:
                failures = [line for line in check.failures if "counts for nothing" not in line]
                if failures:
                    raise Violation(f"verify, beside writers: {check.name}: {failures[0]}")
        else:
            key = self.random.choice("abc")
            known.check_changes(archive.history(k=key), key=key, lagging=self.lagging)

    def __str__(self) -> str:
        return f"read {self.question}"


@frozen
class Break:
    """Somebody damages the archive, with other tools."""

    damage: str
    random: Random

    def __call__(self, archive: Archive, book: Book) -> str:
        disk = archive.store._disk
        manifests = sorted(key for key in disk.history if _there(disk, key))
        if self.damage == "foreign object":
            done = self._put_foreign(archive, disk)
        elif not manifests:
            return "nothing there"
        else:
            key = self.random.choice(manifests)
            book.breaks += 1
            book.broken = True
            done = self._break(disk, key)
        disk.fired[self.damage] += 1
        return done

    def _break(self, disk: Disk, key: str) -> str:
        versions = disk.history[key]
        if self.damage == "lost manifest":
            disk.put(key, None)
        elif self.damage == "rolled-back manifest":
            disk.put(key, self.random.choice(versions))
        else:
            data = versions[-1]
            disk.put(key, self.random.choice([b"", b"{", b"[]", data[: len(data) // 2]]))
        return "broken"

    def _put_foreign(self, archive: Archive, disk: Disk) -> str:
        """Under the name of a slot for which nobody has anything."""
        key = archive.paths.hot_key(Slot.of(at(self.random.choice([-9, -8, 30]))))
        others = [entry.key for entry in disk.objects.list() if entry.key.endswith(".parquet")]
        if _there(disk, key):
            return "taken"
        data = b"not ours"
        if others and self.random.random() < 0.8:
            data = disk.objects.get(self.random.choice(others)).data
        disk.put(key, data)
        return "put"

    def __str__(self) -> str:
        return f"break: {self.damage}"


@frozen
class Repair:
    """Make manifests again."""

    def __call__(self, archive: Archive, book: Book) -> str:
        breaks = book.breaks
        done = archive.repair()
        if breaks == book.breaks:
            book.broken = False
        return "repaired" if done else "nothing to do"

    def __str__(self) -> str:
        return "repair"


def _there(disk: Disk, key: str) -> bool:
    return any(entry.key == key for entry in disk.objects.list(key))
