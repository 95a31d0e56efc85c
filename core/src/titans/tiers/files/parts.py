"""Of large files in stores elsewhere, the parts that a question needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from attrs import frozen

from titans.store import ObjectStore
from titans.tiers.files.fetch import PIECE, TAIL, fetch_all, fetch_tail
from titans.tiers.files.footer import NEAR, Footer, Group

__all__ = ["FilePart", "Needed", "RemoteFile", "forget", "parts_of"]

_WORTH = 8 * TAIL
"""Smaller files are fetched whole: another round trip costs more."""

_KNOWN = 1024


@frozen
class RemoteFile:
    """A data file in a store elsewhere."""

    key: str
    size: int
    """In bytes."""
    hash: str
    """Of its rows."""


_footers: dict[tuple[str, RemoteFile], Footer] = {}
"""By the store's URL and file.

Bounded to `_KNOWN`, the oldest goes first. Never invalid: names of merged files are never used
again. Threads may share it, at worst one fetches a footer twice; a fork begins with a copy.
"""


@frozen(eq=False)
class Needed:
    """What a question needs of files."""

    schema: Mapping[str, pl.DataType]
    """Their columns."""
    where: pl.Expr | None = None
    """Only rows for which it holds."""
    columns: frozenset[str] | None = None
    """`None`: all."""


@frozen(eq=False)
class FilePart:
    """Some row groups of a file, which stand together or not, and of them some columns."""

    file: RemoteFile
    footer: Footer
    groups: tuple[Group, ...]
    columns: frozenset[str] | None

    @property
    def name(self) -> tuple[RemoteFile, tuple[int, ...], frozenset[str] | None]:
        """Says what it is."""
        return self.file, tuple(group.number for group in self.groups), self.columns

    def fetch(self, store: ObjectStore) -> bytes:
        """A Parquet file of nothing but them.

        Raises:
            NotFound: the file is removed by now.
            ValueError: it is not as long as it was.
        """
        spans = self.footer.spans(self.groups, self.columns)
        key = self.file.key
        found = fetch_all(store, lambda span: store.get_range(key, *span), spans)
        for (start, end), data in zip(spans, found, strict=True):
            if len(data) != end - start:
                raise ValueError(f"{key} ends before {end}")
        return self.footer.file_of(self.groups, self.columns, dict(zip(spans, found, strict=True)))


def parts_of(
    store: ObjectStore, asked: Sequence[tuple[RemoteFile, Needed]]
) -> list[list[FilePart]]:
    """Of each file, the parts to fetch for what is needed of it, each of about `PIECE` bytes.

    Of those that are to be fetched whole, none: they are small, all of them is needed, they have
    another size, or their footer is not understood.

    Raises:
        NotFound: one of them is removed by now.
    """
    wanted = [file for file, needed in asked if _is_worth_a_look(file, needed)]
    found = fetch_all(store, lambda file: _fetch_footer(store, file), wanted)
    footers = dict(zip(wanted, found, strict=True))

    parts: list[list[FilePart]] = []
    for file, needed in asked:
        footer = footers.get(file)
        if footer is None:
            parts.append([])
            continue
        groups = footer.groups_with(needed.where, needed.schema)
        fetched = sum(end - start for start, end in footer.spans(groups, needed.columns))
        if fetched + NEAR <= file.size or file.size > PIECE:
            runs = _runs(groups)
            parts.append([FilePart(file, footer, run, needed.columns) for run in runs])
        else:
            parts.append([])
    return parts


def _is_worth_a_look(file: RemoteFile, needed: Needed) -> bool:
    """Whether knowing its footer may save more than fetching that costs."""
    if file.size <= _WORTH:
        return False
    return file.size > PIECE or needed.where is not None or needed.columns is not None


def forget() -> None:
    """Forget the footers that are known, as a new process does."""
    _footers.clear()


def _runs(groups: Sequence[Group]) -> list[tuple[Group, ...]]:
    """`groups`, in order, divided so that each part is about a piece; at least one."""
    runs: list[tuple[Group, ...]] = []
    run: list[Group] = []
    size = 0
    for group in groups:
        if run and size + group.size > PIECE:
            runs.append(tuple(run))
            run, size = [], 0
        run.append(group)
        size += group.size
    return [*runs, tuple(run)]


def _fetch_footer(store: ObjectStore, file: RemoteFile) -> Footer | None:
    """`None` where it is not understood."""
    known = _footers.get((store.url, file))
    if known is not None:
        return known
    try:
        footer = Footer.of(fetch_tail(store, file.key, file.size))
    except ValueError:
        return None

    while len(_footers) >= _KNOWN:
        _footers.pop(next(iter(_footers)), None)  # another thread may have been quicker
    _footers[store.url, file] = footer
    return footer
