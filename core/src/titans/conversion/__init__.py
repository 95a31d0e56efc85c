"""An archive of the original layout, whatever key it declares, rewritten as one of today's.

source    reads the original: its manifests, its files, its key
folding   what the provider makes of the old keys, and of their change points
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
from attrs import define, evolve, field

from titans.archive import Archive
from titans.changes.conform import conform_snapshot
from titans.conversion.folding import Folding, KeyMap
from titans.conversion.source import Original, last_rows
from titans.dataset import Dataset
from titans.errors import AlreadyExists, ConversionError, CorruptFileError, NotFound
from titans.layout import Paths
from titans.provider import Provider
from titans.results import Conversion
from titans.schema import CEASED, TIME
from titans.slots import Month, Slot, iso
from titans.store import ObjectStore, open_store
from titans.tiers.files.metadata import SlotRecord
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.model import parse_object
from titans.tiers.write.hot import HotFile, create_hot, withdraw_if_adopted

__all__ = ["convert"]

log = logging.getLogger("titans.conversion")

_DAY = "\x00day"
_COMPACT_AFTER = 64
"""Slots."""


def convert(
    source: ObjectStore | str | Path,
    target: ObjectStore | str | Path,
    *,
    provider: str | Provider,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Rewrite an archive of the original layout in `source` as an archive of `provider` in
    `target`.

    Its key and columns may be others than the provider's: rows go through `titans_normalize`, as
    uploads do. All is read, and checked, before the first slot is written. Every slot is compared
    with the source afterwards, so that the states at all times are, and the whole state at the end
    of every day with one made from the source without the detour over change points.

    Stopped anywhere, it goes on when it is called again. The source is not written to; nobody
    else may write to either meanwhile. The rows of a month have to fit into memory.

    Args:
        source, target: URLs, folders or stores. The target must hold nothing of this provider, or
            what an earlier call for the same source left there.
        provider: the name of an installed provider, or one made by hand.
        progress: called with how many slots are done, and how many there are.

    Raises:
        ConversionError: no archive of the original layout; several keys of the source would
            become one with different values at a time; or the target holds something else. Nothing
            was written.
        SchemaError: a value does not fit the provider's schema; nothing was written.
        CorruptFileError: a file of the source cannot be read; or what was written is not what the
            source says.
    """
    if not isinstance(provider, Provider):
        from titans.plugins import load

        provider = load(provider)
    archive = Archive(open_store(target), provider)
    return _Work(open_store(source), archive, provider.paths()).run(progress)


@define(eq=False)
class _Work:
    """A conversion."""

    source: ObjectStore
    archive: Archive
    paths: Paths
    done: Conversion = field(init=False)

    @property
    def provider(self) -> Provider:
        return self.archive.provider

    @property
    def target(self) -> ObjectStore:
        return self.archive.store

    def run(self, progress: Callable[[int, int], None] | None) -> Conversion:
        same_url = self.source.url == self.target.url and "memory:" not in self.source.url
        if self.source is self.target or same_url:
            raise ConversionError(
                f"source and target are one place, {self.source.url}; convert into another"
            )
        original = Original.open(self.source, self.paths)
        self.done = Conversion(original.key)
        if self._is_finished(original):
            return evolve(self.done, already=True)

        keys, total = self._checked(original)
        self.done = evolve(self.done, months=len(original.months), folded=keys.folded().height)
        self._begin(original)
        folding = Folding(keys)
        past: pl.DataFrame | None = None
        for month in original.months:
            rows = original.rows(month)
            written = self._write(folding.slots(rows), total, progress)
            past = self._compare(month, rows, written, past)
        self._finish(original)
        return self.done

    def _checked(self, original: Original) -> tuple[KeyMap, int]:
        """What becomes of the keys, and how many slots there are to write.

        Everything is converted once without being written: what cannot be is known before.
        """
        keys = KeyMap(self.provider, original.key)
        for month in original.months:
            keys.add(original.rows(month))
        folding = Folding(keys)
        total = 0
        for month in original.months:
            for _ in folding.slots(original.rows(month)):
                total += 1
        return keys, total

    # --- writing ----------------------------------------------------------------------------------

    def _write(
        self,
        slots: Iterator[tuple[Slot, pl.DataFrame]],
        total: int,
        progress: Callable[[int, int], None] | None,
    ) -> list[pl.DataFrame]:
        """Store the slots of a month, and compact; returns their rows."""
        written: list[pl.DataFrame] = []
        key = ""
        for slot, rows in slots:
            key = self._store(slot, rows)
            written.append(rows)
            if len(written) % _COMPACT_AFTER == 0:
                self.archive.compact(key)
            self.done = evolve(
                self.done,
                slots=self.done.slots + 1,
                change_points=self.done.change_points + rows.height,
            )
            if progress is not None:
                progress(self.done.slots, total)
        if key:
            self.archive.compact()
        return written

    def _store(self, slot: Slot, rows: pl.DataFrame) -> str:
        """As `Archive.upload`, with the times of tombstones as they are; the key."""
        dataset = Dataset(self.target, self.paths, self.provider)
        last = rows[TIME].to_list()[-1]

        def record(content: str) -> SlotRecord:
            return SlotRecord(slot.index, "changes", content, last)

        file, stored = create_hot(dataset, HotFile.encoding(dataset, slot, rows, record))
        manifest = read_head(dataset, slot.month).manifest
        stored = withdraw_if_adopted(dataset, file, manifest) or stored
        if stored.is_snapshot or stored.hash != file.info.hash:
            raise ConversionError(
                f"slot {slot} of {self.target.url} holds other rows than the source; has somebody "
                "written to one of them? Convert into an empty place"
            )
        return file.key

    # --- comparing --------------------------------------------------------------------------------

    def _compare(
        self,
        month: Month,
        rows: pl.DataFrame,
        written: list[pl.DataFrame],
        past: pl.DataFrame | None,
    ) -> pl.DataFrame | None:
        """Compare a month with its source; returns the last rows of the source's keys."""
        self.done = evolve(self.done, rows=self.done.rows + rows.height)
        if not self.done.slots:
            return past  # nothing has lived yet: there is no archive

        by = [*self.provider.key, TIME]
        expected = pl.DataFrame(schema=dict(self.provider.schema_dtypes))
        if written:
            expected = pl.concat(written).sort(by)
        found = self.archive.changes(month.start, month.end).sort(by)
        if not found.equals(expected):
            raise self._differs(f"the change points of {month}")
        if not rows.height:
            return past

        key = self.done.key
        days = rows.sort(TIME).with_columns(pl.col(TIME).dt.date().alias(_DAY))
        for day in days.partition_by(_DAY, maintain_order=True, include_key=False):
            past = day if past is None else pl.concat([past, day], how="diagonal_relaxed")
            past = last_rows(past, key)
            moment = day[TIME].to_list()[-1]
            live = past.filter(~pl.col(CEASED)).drop(TIME, CEASED)
            state, _ = conform_snapshot(live, self.provider)
            if not self.archive.state(moment).drop(TIME).equals(state):
                raise self._differs(f"the state at {iso(moment)}")
            self.done = evolve(self.done, states=self.done.states + 1)
        return past

    def _differs(self, what: str) -> CorruptFileError:
        return CorruptFileError(
            f"{what} in {self.target.url} is not that of {self.source.url}: do not use it; has "
            "somebody written to one of them? Convert into an empty place",
            provider=self.provider.name,
        )

    # --- the note in the target -------------------------------------------------------------------

    @property
    def _note_key(self) -> str:
        return f"{self.paths.environment}_titans/converted-{self.provider.name}.json"

    def _note(self, original: Original, *, finished: bool) -> bytes:
        note = {
            "source": self.source.url,
            "pk_columns": list(original.key),
            "finished": finished,
        }
        return json.dumps(note, indent=1).encode()

    def _is_finished(self, original: Original) -> bool:
        """Whether an earlier call came to its end.

        Raises:
            ConversionError: the target holds something that no conversion of this source left.
        """
        try:
            note = parse_object(self.target.get(self._note_key).data, self._note_key)
        except NotFound:
            self._refuse_used_target()
            return False
        began = (note.get("source"), tuple(note.get("pk_columns") or ()))
        if began != (self.source.url, original.key):
            raise ConversionError(
                f"{self.target.url} holds a conversion of {began[0]}, not of {self.source.url}; "
                "convert into an empty place"
            )
        return bool(note.get("finished"))

    def _refuse_used_target(self) -> None:
        paths = self.paths
        for prefix in (paths.hot_prefix, paths.warm_prefix, paths.state_prefix):
            for entry in self.target.list(prefix + "/"):
                raise ConversionError(
                    f"{self.target.url} holds data of provider {self.provider.name!r} already "
                    f"({entry.key}); convert into an empty place"
                )

    def _begin(self, original: Original) -> None:
        try:
            self.target.create(self._note_key, self._note(original, finished=False))
        except AlreadyExists:
            log.info("going on with the conversion in %s", self.target.url)

    def _finish(self, original: Original) -> None:
        blob = self.target.get(self._note_key)
        self.target.replace(self._note_key, self._note(original, finished=True), blob.etag)
