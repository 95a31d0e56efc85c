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
from titans.errors import AlreadyExists, CorruptFileError, OutcomeUnknown, StoreError
from titans.evolution import Evolution
from titans.layout import Paths
from titans.provider import Provider
from titans.schema import TIME
from titans.slots import Month, Slot
from titans.store import ObjectStore, create_file
from titans.tiers.entries import versions_cast
from titans.tiers.files import ROW_GROUP, Encoding, decode, fetched, info_of, scan_files, sink
from titans.tiers.info import UNKNOWN, FileInfo, Source
from titans.tiers.manifest import FileEntry, Manifest
from titans.tiers.ranges import Input, Range, merged_ranges

__all__ = ["Output"]

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
                self.made.append(
                    Path(self.stack.enter_context(TemporaryDirectory(prefix="titans-")))
                )
        return self.made[0] / name

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Say what to do where the folder has no room."""
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"cannot merge through a temporary file in {gettempdir()}: {error}; make room "
                "there, or set TMPDIR to another "
                "folder; nothing was merged"
            ) from error


@define
class Output:
    """What becomes of some files of a month, given in the order of their adoption."""

    store: ObjectStore
    paths: Paths
    provider: Provider
    manifest: Manifest
    inputs: Sequence[FileEntry]
    rows: int = 0
    expected: str = UNKNOWN
    """What the rows of all inputs must have for content hash, in today's columns."""
    hash_in: str = UNKNOWN
    hash: str = UNKNOWN
    """Of the rows that have gone through; so are all that follow."""
    min_key: tuple[str, ...] | None = None
    max_key: tuple[str, ...] | None = None
    min_time: datetime | None = None
    max_time: datetime | None = None
    infos: list[FileInfo] = field(factory=list)

    @property
    def month(self) -> Month:
        return self.manifest.month

    def write(self, level: int, number: int, encoding: Encoding, memory: int) -> FileEntry:
        """Merge them into a new file of `level`, numbered `number` or later.

        Raises:
            CorruptFileError: an input does not hold what the manifest says; nothing was written.
        """
        with ExitStack() as stack:
            scratch = _Scratch(stack)
            ranges = merged_ranges(self._opened(scratch), self.provider, memory)
            some = list(islice(ranges, 2))
            rows = self._through(chain(some, ranges))
            schema = dict(self.provider.schema_dtypes)
            if len(some) == 2:
                lazy = register_io_source(lambda *_: rows, schema=schema)
            else:
                lazy = pl.concat([pl.DataFrame(schema=schema), *rows]).lazy()
            small = sum(f.bytes for f in self.inputs) <= memory // _SHARE
            target = io.BytesIO() if small else scratch.path("merged")
            with scratch.watched():
                sink(lazy, target, self._info, self.provider, encoding)
            return self._create(target, level, number)

    def _create(self, target: io.BytesIO | Path, level: int, number: int) -> FileEntry:
        first, last = min(f.first for f in self.inputs), max(f.last for f in self.inputs)
        for n in range(number, number + _NAMES):
            name = Paths.merged_name(level, n, first, last)
            key = self.paths.file_key(self.month, name)
            try:
                if isinstance(target, Path):
                    size = target.stat().st_size
                    create_file(self.store, key, target)
                else:
                    size = len(target.getvalue())
                    self.store.create(key, target.getvalue())
            except (AlreadyExists, OutcomeUnknown):
                # somebody's, or perhaps our own: a name is never shared, what is left over goes to
                # vacuum
                continue
            return FileEntry.of(name, level, first, last, evolve(self._info(), size=size))
        raise OutcomeUnknown(
            f"{_NAMES} names for a merged file of {self.month} were taken or unclear; compact "
            "again later"
        )

    def _opened(self, scratch: _Scratch) -> list[Input]:
        keys = [self.paths.file_key(self.month, f.file) for f in self.inputs]
        found = fetched(
            self.store, [(k, f.bytes) for k, f in zip(keys, self.inputs, strict=True)], scratch.path
        )
        return [
            self._open(entry, key, found[key]) for entry, key in zip(self.inputs, keys, strict=True)
        ]

    def _open(self, entry: FileEntry, key: str, found: bytes | Path) -> Input:
        slot, schema = (
            Slot(self.month, entry.first, self.paths.minutes),
            self.manifest.schema(entry.schema_version),
        )
        written = self.provider.as_of(schema)
        info = info_of(found, written, key, slot)
        rows: pl.LazyFrame | pl.DataFrame
        if info.kind == "legacy":
            rows = decode(found, written, key, slot=slot if entry.is_hot else None)
            rows, height = rows.sort([*self.provider.key, TIME], maintain_order=True), rows.height
        else:
            rows, height = (
                scan_files([io.BytesIO(found) if isinstance(found, bytes) else found], written),
                info.rows,
            )
        if height != entry.rows:
            raise CorruptFileError(
                f"{key} has {height} rows, the manifest says {entry.rows}; nothing was merged"
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
        self, rows: pl.LazyFrame | pl.DataFrame, evolution: Evolution, entry: FileEntry, key: str
    ) -> str:
        """Check rows of an earlier schema version, which have another hash once they are cast; that
        is returned.
        """
        written = cast = UNKNOWN
        for at in range(0, entry.rows, ROW_GROUP):
            part = rows.lazy().slice(at, ROW_GROUP).collect()
            written = add(written, digest(part))
            cast = add(cast, digest(evolution.apply(part, self.provider.key)))
        if written != entry.hash:
            raise CorruptFileError(
                f"{key} does not hold the rows it was written with; nothing was merged"
            )
        return cast

    def _through(self, ranges: Iterator[Range]) -> Iterator[pl.DataFrame]:
        """The rows, counted; at the end they must be those that the manifest speaks of."""
        rows_in = 0
        for each in ranges:
            rows, parts = each.rows, each.parts
            rows_in += sum(part.height for part in parts)
            found = digest(rows)
            self.hash = add(self.hash, found)
            self.hash_in = add(self.hash_in, *([found] if each.is_complete else map(digest, parts)))
            self._see(rows)
            yield rows
        if rows_in != sum(f.rows for f in self.inputs) or self.hash_in != self.expected:
            raise CorruptFileError(
                f"the inputs of a merge of {self.month} do not add up to their rows and hashes in "
                "the manifest: "
                f"{', '.join(f.file for f in self.inputs)}; nothing was merged"
            )

    def _see(self, rows: pl.DataFrame) -> None:
        if not rows.height:
            return
        key, times = rows.select(self.provider.key), rows[TIME]
        self.rows += rows.height
        self.min_key = self.min_key or key.row(0)
        self.max_key = key.row(-1)
        low, high = times.min(), times.max()
        assert isinstance(low, datetime)
        assert isinstance(high, datetime)
        self.min_time = low if self.min_time is None else min(self.min_time, low)
        self.max_time = high if self.max_time is None else max(self.max_time, high)

    def _info(self) -> FileInfo:
        sources = (
            s
            for f, info in zip(self.inputs, self.infos, strict=True)
            for s in self._sources(f, info)
        )
        corrections = [f.file for f in self.inputs if f.is_correction]
        corrections += [name for info in self.infos for name in info.corrections]
        return FileInfo(
            kind="merged",
            sources=tuple(sorted(sources, key=lambda s: s.slot)),
            base=None,
            rows=self.rows,
            rows_in=sum(f.rows for f in self.inputs),
            hash=self.hash,
            min_key=self.min_key,
            max_key=self.max_key,
            min_time=self.min_time,
            max_time=self.max_time,
            schema_version=self.provider.schema.version,
            cast_from=versions_cast(self.provider, self.inputs),
            corrections=tuple(sorted(corrections)),
        )

    def _sources(self, entry: FileEntry, info: FileInfo) -> tuple[Source, ...]:
        """What each slot contributed; an earlier writer's merged file does not say, only the
        manifest knows the slots.
        """
        if info.kind != "legacy" or entry.is_hot:
            return info.sources
        return tuple(
            Source(i, "changes", UNKNOWN, Slot(self.month, i, self.paths.minutes).start)
            for i in entry.slots
        )
