"""The file that a merge writes: made in memory where it is small, in a temporary file where it is
not.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import polars as pl
from attrs import define, evolve, field, frozen
from polars.io.plugins import register_io_source

from titans.changes.digest import add, digest
from titans.dataset import Dataset
from titans.errors import CorruptFileError, StoreError
from titans.evolution import Evolution
from titans.layout import Paths
from titans.provider import Provider
from titans.schema import TIME
from titans.slots import Month
from titans.store import create_file
from titans.tiers.compact.ranges import Input, Range, merged_ranges
from titans.tiers.files.create import create_under_free_name
from titans.tiers.files.fetch import fetch_objects
from titans.tiers.files.metadata import UNKNOWN, FileInfo, SlotRecord
from titans.tiers.files.parquet import ROW_GROUP, Encoding, decode, info_of, scan_files, sink
from titans.tiers.files.rewrites import Rewrite, merged_rewrites
from titans.tiers.manifest.entries import FileEntry
from titans.tiers.manifest.model import Manifest

__all__ = ["Output", "Seen"]

_NAMES = 64
_SHARE = 8
"""Which part of a merge's memory its output may take before it goes into a temporary file."""


@frozen
class _Scratch:
    """A temporary folder, made when it is needed."""

    stack: ExitStack
    made: list[Path] = field(factory=list)

    def path(self, name: str) -> Path:
        with self.watched():
            if not self.made:
                folder = self.stack.enter_context(TemporaryDirectory(prefix="titans-"))
                _check_scratch(folder)
                self.made.append(Path(folder))
        return self.made[0] / name

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Say what to do where the folder has no room."""
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"cannot merge through a temporary file in {gettempdir()}: {error}; make room "
                "there, or set TMPDIR to another folder; nothing was merged"
            ) from error


def _check_scratch(folder: str) -> None:
    """Parquet is written to paths of text alone."""
    try:
        folder.encode()
    except UnicodeEncodeError:
        raise StoreError(
            f"cannot merge through a temporary file in {gettempdir()!r}, whose name is no UTF-8; "
            "set TMPDIR to another folder; nothing was merged"
        ) from None


@define(eq=False)
class Seen:
    """What has gone through a merge so far."""

    rows: int = 0
    hash_in: str = UNKNOWN
    """Of the rows that came from the inputs."""
    hash: str = UNKNOWN
    """Of the merged rows."""
    min_key: tuple[str, ...] | None = None
    max_key: tuple[str, ...] | None = None
    min_time: datetime | None = None
    max_time: datetime | None = None

    def add(self, each: Range, provider: Provider) -> None:
        content = digest(each.rows)
        self.hash = add(self.hash, content)
        if each.is_complete:
            self.hash_in = add(self.hash_in, content)
        else:
            self.hash_in = add(self.hash_in, *map(digest, each.parts))

        self.rows += each.rows.height
        info = FileInfo.describe(each.rows, provider, "merged", hash=content)
        self.min_key = self.min_key or info.min_key
        self.max_key = info.max_key or self.max_key
        if info.min_time is not None and info.max_time is not None:
            self.min_time = min(self.min_time or info.min_time, info.min_time)
            self.max_time = max(self.max_time or info.max_time, info.max_time)


@define(eq=False)
class Output:
    """What becomes of some files of a month, given in the order of their adoption."""

    dataset: Dataset
    manifest: Manifest
    inputs: Sequence[FileEntry]
    expected: str = UNKNOWN
    """What the rows of all inputs must have for content hash, in today's columns."""
    seen: Seen = field(factory=Seen)
    infos: list[FileInfo] = field(factory=list)

    @property
    def provider(self) -> Provider:
        return self.dataset.provider

    @property
    def month(self) -> Month:
        return self.manifest.month

    def write(self, level: int, encoding: Encoding, memory: int) -> FileEntry:
        """Merge them into a new file of `level`.

        Raises:
            CorruptFileError: an input does not hold what the manifest says; nothing was written.
        """
        with ExitStack() as stack:
            scratch = _Scratch(stack)
            ranges = merged_ranges(self._open_inputs(scratch), self.provider, memory)
            first_two = list(islice(ranges, 2))
            rows = self._through(chain(first_two, ranges))

            schema = dict(self.provider.schema_dtypes)
            if len(first_two) == 2:
                lazy = register_io_source(lambda *_: rows, schema=schema)
            else:
                lazy = pl.concat([pl.DataFrame(schema=schema), *rows]).lazy()

            target: io.BytesIO | Path = io.BytesIO()
            if sum(entry.bytes for entry in self.inputs) > memory // _SHARE:
                target = scratch.path("merged")
            with scratch.watched():
                sink(lazy, target, self._info, self.provider, encoding)
            return self._create(target, level)

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last slot that rows belong to."""
        firsts = [entry.first for entry in self.inputs]
        return min(firsts), max(entry.last for entry in self.inputs)

    @property
    def written(self) -> Seen:
        """What went into the file."""
        return self.seen

    @property
    def rows_in(self) -> int:
        return sum(entry.rows for entry in self.inputs)

    def _create(self, target: io.BytesIO | Path, level: int) -> FileEntry:
        first, last = self.span
        numbers = range(self.manifest.next_file_id, self.manifest.next_file_id + _NAMES)
        names = (Paths.merged_name(level, number, first, last) for number in numbers)

        if isinstance(target, Path):
            size = target.stat().st_size
        else:
            size = len(target.getvalue())
        name = create_under_free_name(names, lambda name: self._create_named(target, name))
        return FileEntry.of(name, level, first, last, evolve(self._info(), size=size))

    def _create_named(self, target: io.BytesIO | Path, name: str) -> None:
        key = self.dataset.key(self.month, name)
        if isinstance(target, Path):
            create_file(self.dataset.store, key, target)
        else:
            self.dataset.store.create(key, target.getvalue())

    # --- inputs -----------------------------------------------------------------------------------

    def _open_inputs(self, scratch: _Scratch) -> list[Input]:
        objects = [(self.dataset.key(self.month, f.file), f.bytes) for f in self.inputs]
        sources = fetch_objects(self.dataset.store, objects, scratch.path)
        inputs = []
        for entry, (key, _) in zip(self.inputs, objects, strict=True):
            inputs.append(self._open(entry, key, sources[key]))
        return inputs

    def _open(self, entry: FileEntry, key: str, source: bytes | Path) -> Input:
        slot = self.dataset.slot(self.month, entry.first)
        schema = self.manifest.schema(entry.schema_version)
        written = self.provider.as_of(schema)
        info = info_of(source, written, key, slot)
        rows: pl.LazyFrame | pl.DataFrame
        if info.kind == "legacy":
            rows = decode(source, written, key, slot=slot if entry.is_hot else None)
            rows = rows.sort([*self.provider.key, TIME], maintain_order=True)
            height = rows.height
        else:
            rows, height = scan_files([source], written), info.rows
        if height != entry.rows:
            raise CorruptFileError(
                f"{key} has {height} rows, the manifest says {entry.rows}; nothing was merged",
                provider=self.provider.name,
                month=str(self.month),
                key=key,
            )

        expected = entry.hash
        if schema is not None:
            evolution = self.provider.evolution(schema, key)
            expected = self._cast_hash(rows, evolution, entry, key)
            cast = evolution.apply(rows.lazy(), self.provider.key)
            rows = cast.collect() if isinstance(rows, pl.DataFrame) else cast
        self.expected = add(self.expected, expected)
        self.infos.append(info)
        return Input(rows, height, entry.is_correction)

    def _cast_hash(
        self,
        rows: pl.LazyFrame | pl.DataFrame,
        evolution: Evolution,
        entry: FileEntry,
        key: str,
    ) -> str:
        """Check rows of an earlier schema version, which have another hash once they are cast; that
        is returned.
        """
        written = cast = UNKNOWN
        for offset in range(0, entry.rows, ROW_GROUP):
            part = rows.lazy().slice(offset, ROW_GROUP).collect()
            written = add(written, digest(part))
            cast = add(cast, digest(evolution.apply(part, self.provider.key)))

        if written != entry.hash:
            raise CorruptFileError(
                f"{key} does not hold the rows it was written with; nothing was merged",
                provider=self.provider.name,
                month=str(self.month),
                key=key,
            )

        return cast

    # --- what goes through ------------------------------------------------------------------------

    def _through(self, ranges: Iterator[Range]) -> Iterator[pl.DataFrame]:
        """The rows, counted; at the end they must be those that the manifest speaks of."""
        rows_in = 0
        for each in ranges:
            rows_in += sum(part.height for part in each.parts)
            self.seen.add(each, self.provider)
            yield each.rows

        rows = sum(entry.rows for entry in self.inputs)
        if rows_in != rows or self.seen.hash_in != self.expected:
            raise CorruptFileError(
                f"the inputs of a merge of {self.month} do not add up to their rows and hashes in "
                f"the manifest: {', '.join(f.file for f in self.inputs)}; nothing was merged",
                provider=self.provider.name,
                month=str(self.month),
            )

    def _info(self) -> FileInfo:
        """What the merged file says of itself; asked when all rows have gone through."""
        corrections: list[str] = []
        versions: set[int] = set()
        for entry, info in zip(self.inputs, self.infos, strict=True):
            corrections += info.corrections
            if entry.is_correction:
                corrections.append(entry.file)
            versions |= {*entry.cast_from, entry.schema_version}

        today, written = self.provider.schema.version, self.written
        return FileInfo(
            kind="merged",
            records=self._all_records(),
            base=None,
            rows=written.rows,
            rows_in=self.rows_in,
            hash=written.hash,
            min_key=written.min_key,
            max_key=written.max_key,
            min_time=written.min_time,
            max_time=written.max_time,
            schema_version=today,
            cast_from=tuple(sorted(versions - {today})),
            corrections=tuple(sorted(corrections)),
            rewrites=self._all_rewrites(),
        )

    def _all_records(self) -> tuple[SlotRecord, ...]:
        """Of all slots, ascending."""
        records: list[SlotRecord] = []
        for entry, info in zip(self.inputs, self.infos, strict=True):
            records += self._records(entry, info)
        return tuple(sorted(records, key=lambda record: record.slot))

    def _all_rewrites(self) -> tuple[Rewrite, ...]:
        return merged_rewrites(info.rewrites for info in self.infos)

    def _records(self, entry: FileEntry, info: FileInfo) -> tuple[SlotRecord, ...]:
        """What each slot contributed; an earlier writer's merged file does not say, only the
        manifest knows the slots.
        """
        if info.kind != "legacy" or entry.is_hot:
            return info.records
        slots = [self.dataset.slot(self.month, index) for index in entry.slots]
        return tuple(SlotRecord(slot.index, "changes", UNKNOWN, slot.start) for slot in slots)
