"""Which rows of which files are wanted, and how a file's content becomes rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from attrs import evolve, frozen

from titans.dataset import Dataset
from titans.errors import ForeignObjectError
from titans.provider import Provider
from titans.schema import Schema
from titans.slots import Slot
from titans.tiers.files.fetch import check_rows
from titans.tiers.files.kept import KEPT
from titans.tiers.files.metadata import FileInfo
from titans.tiers.files.parquet import decode, metadata_of, scan_files
from titans.tiers.files.parts import Needed, RemoteFile
from titans.tiers.files.reading import ReplacedError, damaged

__all__ = [
    "Narrow",
    "Selection",
    "StoredFile",
    "decoded_rows",
    "lazy_rows",
    "scan_stored",
    "tell_opened",
    "without_rows",
]

_LARGE = 8 << 20
"""Bytes of a file, of some million rows, that is read in parts where few of its rows are needed."""

_Frame = TypeVar("_Frame", pl.DataFrame, pl.LazyFrame)


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

    @property
    def remote(self) -> RemoteFile:
        """What parts of it are known by."""
        return RemoteFile(self.key, self.size, self.hash)


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


@frozen(eq=False)
class Narrow:
    """What a query leaves of rows."""

    predicate: pl.Expr | None = None
    columns: tuple[str, ...] | None = None
    """`None`: all."""

    def __call__(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        if self.predicate is not None:
            rows = rows.filter(self.predicate)
        if self.columns is not None:
            rows = rows.select(self.columns)
        return rows

    def needed(self, selection: Selection, provider: Provider) -> Needed:
        """What has to be read of a file for it."""
        conditions = [each for each in (selection.where, self.predicate) if each is not None]
        where = None
        for condition in conditions:
            where = condition if where is None else where & condition
        columns = None
        if self.columns is not None:
            names = set(self.columns)
            for condition in conditions:
                names.update(condition.meta.root_names())
            columns = frozenset(names or provider.key[:1])
        return Needed(provider.schema_dtypes, where, columns)


def tell_opened(
    dataset: Dataset, selections: Sequence[Selection], narrow: Narrow | None = None
) -> None:
    """Tell the trace, if there is one, of files whose rows are read as a whole or mapped."""
    if dataset.trace is None:
        return
    for selection in selections:
        file = selection.source
        if isinstance(file, StoredFile):
            needed = (narrow or Narrow()).needed(selection, dataset.provider)
            is_kept = (dataset.store.url, file.remote) in KEPT
            dataset.trace.opens(file, needed, is_kept=is_kept)


def without_rows(dataset: Dataset, selection: Selection) -> pl.DataFrame:
    """What reading a selection gives where no rows are read."""
    if isinstance(selection.source, pl.DataFrame):
        return selection.of(selection.source)
    return pl.DataFrame(schema=dict(dataset.provider.schema_dtypes))


def lazy_rows(
    dataset: Dataset,
    selection: Selection,
    contents: Mapping[str, bytes | Path],
    columns: frozenset[str] | None = None,
) -> pl.LazyFrame:
    """All rows of a selection's source, of whose content there may be some `columns` only."""
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

    return scan_stored(source, content, provider, columns)


def _metadata(content: bytes | Path, key: str) -> dict[str, Any] | None:
    """Of a file that is part of the archive, so it cannot be foreign."""
    try:
        return metadata_of(content, key)
    except ForeignObjectError as error:
        raise damaged(key, f"is not what it was any more: {error}") from error


def decoded_rows(
    dataset: Dataset, selection: Selection, contents: Mapping[str, bytes | Path]
) -> pl.DataFrame:
    """The rows of a selection, read as what they mean whoever wrote them.

    Raises:
        CorruptFileError
    """
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


def scan_stored(
    source: StoredFile,
    content: bytes | Path,
    provider: Provider,
    columns: frozenset[str] | None = None,
) -> pl.LazyFrame:
    """The rows of a file of whatever schema version, in today's columns; of today's, the content
    may have some `columns` only.

    Predicates and columns reach it under its own names.
    """
    rows = scan_files([content], provider.as_of(source.schema), columns)
    return _evolved(rows, source, provider)


def _evolved(rows: _Frame, source: StoredFile, provider: Provider) -> _Frame:
    """Rows of `source`, as it was written, in today's columns."""
    if source.schema is None:
        return rows
    return provider.evolution(source.schema, source.key).apply(rows, provider.key)
