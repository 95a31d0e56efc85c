"""Reading the rows of several files at once, each only as far as a question needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from attrs import evolve, frozen

from titans.dataset import Dataset
from titans.errors import ForeignObjectError
from titans.provider import Provider
from titans.schema import Schema
from titans.slots import Slot
from titans.tiers.files.fetch import RemoteFile, check_rows, fetch_objects, fetch_row_groups
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.parquet import decode, metadata_of, scan_files
from titans.tiers.files.reading import ReplacedError, damaged

__all__ = ["Selection", "StoredFile", "read_by_key", "read_selections", "scan_stored"]

_LARGE = 8 << 20
"""Bytes of a file, of some million rows, that is read in parts where few of its rows are needed."""

_PART = 200_000
"""Rows of such a part."""

_RANGE = 4 << 20
"""Bytes of files that are read at once, where a question goes through them key by key."""

_Frame = TypeVar("_Frame", pl.DataFrame, pl.LazyFrame)

Shorten = Callable[[pl.DataFrame], pl.DataFrame]
"""Leaves out rows that are not needed, of a part of a file as well as of the whole."""


@frozen
class StoredFile:
    """A data file to be read."""

    key: str
    size: int
    """In bytes."""
    slot: Slot | None
    """That of a hot file, see `titans.tiers.files.parquet.decode`."""
    hash: str = ""
    """Of a hot file's rows.

    Once it was merged and removed, another file may come under its name, to be taken back.
    """
    schema: Schema | None = None
    """That of the earlier version of the provider that wrote it; `None` for today's."""
    waiting: FileInfo | None = None
    """Of a hot file that nobody has adopted yet, what it says of itself: its rows are checked."""


@frozen(eq=False)
class Selection:
    """Rows of a file, or of a frame in canonical columns, that satisfy a condition."""

    source: StoredFile | pl.DataFrame
    where: pl.Expr | None = None
    """`None`: all rows."""

    @property
    def is_large(self) -> bool:
        """A merged file that is better not in memory as a whole."""
        source = self.source
        return isinstance(source, StoredFile) and source.slot is None and source.size > _LARGE

    def narrowed(self, where: pl.Expr) -> Selection:
        """Those rows that satisfy another condition as well."""
        if self.where is not None:
            where = self.where & where
        return evolve(self, where=where)

    def of(self, rows: _Frame) -> _Frame:
        """Those of `rows` that satisfy the condition."""
        return rows if self.where is None else rows.filter(self.where)


def read_selections(
    dataset: Dataset,
    selections: Sequence[Selection],
    key: Mapping[str, str] | None = None,
) -> list[pl.DataFrame]:
    """The rows of each selection, in the order of its source and in canonical columns.

    Files on this machine are mapped and read in parallel; others are fetched at once. With `key`,
    only rows whose key columns have these values are needed: of large files elsewhere, no more is
    fetched than what may hold them.

    Raises:
        NotFound, CorruptFileError
    """
    contents = _fetch(dataset, [s.source for s in selections], key)
    return _read(dataset, selections, contents)


def read_by_key(
    dataset: Dataset, selections: Sequence[Selection], shorten: Shorten
) -> Iterator[list[pl.DataFrame]]:
    """As `read_selections`, one range of keys after the other if the files are large, so that
    large files are never in memory as a whole. Ranges ascend.

    Where all keys have the same value in their first column, files are read in parts instead, each
    of which is made shorter at once.
    """
    contents = _fetch(dataset, [s.source for s in selections], None)
    ranges = _ranges(dataset, selections, contents)
    if not ranges:
        yield _read(dataset, selections, contents, shorten)
    for within in ranges:
        narrowed = [selection.narrowed(within) for selection in selections]
        yield _read(dataset, narrowed, contents)


def _ranges(
    dataset: Dataset, selections: Sequence[Selection], contents: Mapping[str, bytes | Path]
) -> list[pl.Expr]:
    """Conditions on the first key column that divide all keys, about equally many to each; none
    where that is not worth it or cannot be.
    """
    files = [s.source for s in selections if isinstance(s.source, StoredFile)]
    count = sum(file.size for file in files) // _RANGE
    if count < 2:
        return []

    largest = max(files, key=lambda file: file.size)
    column = pl.col(dataset.provider.key[0])
    try:
        values = scan_stored(largest, contents[largest.key], dataset.provider).select(column)
        ordered = values.collect().to_series().drop_nulls().sort()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return []  # reading it as a whole will say what is wrong
    starts = ordered.gather_every(max(1, ordered.len() // count))[1:].unique().sort().to_list()
    if not starts:
        return []
    between = [(column >= low) & (column < high) for low, high in pairwise(starts)]
    return [column < starts[0], *between, column >= starts[-1]]


def _read(
    dataset: Dataset,
    selections: Sequence[Selection],
    contents: Mapping[str, bytes | Path],
    shorten: Shorten | None = None,
) -> list[pl.DataFrame]:
    lazies = [selection.of(_lazy(dataset, selection, contents)) for selection in selections]
    try:
        return _collect(selections, lazies, shorten)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        # One by one: to say which file it was, or to read one of an earlier writer as it is meant.
        return [_decoded(dataset, selection, contents) for selection in selections]


def _fetch(
    dataset: Dataset,
    sources: Sequence[StoredFile | pl.DataFrame],
    key: Mapping[str, str] | None,
) -> dict[str, bytes | Path]:
    """Key → path or bytes, of those that are files."""
    store = dataset.store
    files = [source for source in sources if isinstance(source, StoredFile)]
    contents: dict[str, bytes | Path] = {}
    if key is not None and dataset.provider.key[0] in key and store.parallel:
        merged = [RemoteFile(f.key, f.size, f.hash) for f in files if f.slot is None]
        contents.update(fetch_row_groups(store, merged, key))

    rest = [(file.key, file.size) for file in files if file.key not in contents]
    contents.update(fetch_objects(store, rest))
    return contents


def _lazy(
    dataset: Dataset, selection: Selection, contents: Mapping[str, bytes | Path]
) -> pl.LazyFrame:
    """All rows of a selection's source."""
    source, provider = selection.source, dataset.provider
    if isinstance(source, pl.DataFrame):
        return source.lazy()
    content = contents[source.key]
    if source.slot is not None:
        metadata = _metadata(content, source.key)
        if metadata is None:
            # An earlier writer's hot file has to be put right, so it is read already.
            return _today(source, content, provider).lazy()
        if source.hash and metadata.get("hash") != source.hash:
            raise ReplacedError(f"{source.key} is another file by now", key=source.key)
        if source.waiting is not None:
            written = provider.as_of(source.schema)
            rows = decode(content, written, source.key, slot=source.slot)
            check_rows(rows, source.waiting, provider, source.key)
            return _evolved(rows, source, provider).lazy()

    return scan_stored(source, content, provider)


def _metadata(content: bytes | Path, key: str) -> dict[str, Any] | None:
    """Of a file that is part of the archive, so it cannot be foreign."""
    try:
        return metadata_of(content, key)
    except ForeignObjectError as error:
        raise damaged(key, f"is not what it was any more: {error}") from error


def _collect(
    selections: Sequence[Selection], lazies: Sequence[pl.LazyFrame], shorten: Shorten | None
) -> list[pl.DataFrame]:
    if len(lazies) == 1 and shorten is None:
        return [lazies[0].collect()]
    if shorten is None:
        return pl.collect_all(lazies)

    pairs = list(zip(selections, lazies, strict=True))
    small = iter(pl.collect_all([lazy for selection, lazy in pairs if not selection.is_large]))
    frames = []
    for selection, lazy in pairs:
        if selection.is_large:
            frames.append(_collect_parts(lazy, shorten))
        else:
            frames.append(next(small))
    return frames


def _collect_parts(rows: pl.LazyFrame, shorten: Shorten) -> pl.DataFrame:
    batches = rows.collect_batches(maintain_order=True, chunk_size=_PART)
    parts = [shorten(part) for part in batches]
    if not parts:
        return rows.clear().collect()
    return shorten(pl.concat(parts))


def _decoded(
    dataset: Dataset, selection: Selection, contents: Mapping[str, bytes | Path]
) -> pl.DataFrame:
    source, provider = selection.source, dataset.provider
    if isinstance(source, pl.DataFrame):
        return selection.of(source)
    content = contents[source.key]
    if source.schema is None:
        return decode(content, provider, source.key, selection.where, source.slot)
    return selection.of(_today(source, content, provider))


def _today(source: StoredFile, content: bytes | Path, provider: Provider) -> pl.DataFrame:
    """The rows of a file in today's columns, decoded as what they mean."""
    rows = decode(content, provider.as_of(source.schema), source.key, slot=source.slot)
    return _evolved(rows, source, provider)


def scan_stored(source: StoredFile, content: bytes | Path, provider: Provider) -> pl.LazyFrame:
    """The rows of a file of whatever schema version, in today's columns.

    Predicates and columns reach it under its own names.
    """
    return _evolved(scan_files([content], provider.as_of(source.schema)), source, provider)


def _evolved(rows: _Frame, source: StoredFile, provider: Provider) -> _Frame:
    """Rows of `source`, as it was written, in today's columns."""
    if source.schema is None:
        return rows
    return provider.evolution(source.schema, source.key).apply(rows, provider.key)
