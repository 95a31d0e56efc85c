"""Reading the rows of several files at once, each only as far as a question needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import polars as pl

from titans.dataset import Dataset
from titans.tiers.files.fetch import fetch_all
from titans.tiers.files.selections import (
    Selection,
    StoredFile,
    decoded_rows,
    lazy_rows,
    scan_stored,
    tell_opened,
    without_rows,
)
from titans.tiers.files.stream import fetch_file, stream

__all__ = [
    "Selection",
    "StoredFile",
    "read_by_key",
    "read_selections",
    "scan_stored",
    "tell_opened",
]

_PART = 200_000
"""Rows of such a part."""

_RANGE = 4 << 20
"""Bytes of files that are read at once, where a question goes through them key by key."""

Shorten = Callable[[pl.DataFrame], pl.DataFrame]
"""Leaves out rows that are not needed, of a part of a file as well as of the whole."""


def read_selections(dataset: Dataset, selections: Sequence[Selection]) -> list[pl.DataFrame]:
    """The rows of each selection, in the order of its source and in canonical columns.

    Files on this machine are mapped and read in parallel. Of those elsewhere, no more is fetched
    than may be needed, and some are decoded while others are fetched.

    Raises:
        NotFound, CorruptFileError
    """
    if dataset.store.parallel:
        frames: list[list[pl.DataFrame]] = [[] for _ in selections]
        for number, frame in stream(dataset, selections):
            frames[number].append(frame)
        return [found[0] if len(found) == 1 else pl.concat(found) for found in frames]
    tell_opened(dataset, selections)
    if not dataset.reads_rows:
        return [without_rows(dataset, selection) for selection in selections]
    contents = _fetch(dataset, [s.source for s in selections])
    return _read(dataset, selections, contents)


def read_by_key(
    dataset: Dataset, selections: Sequence[Selection], shorten: Shorten
) -> Iterator[list[pl.DataFrame]]:
    """As `read_selections`, one range of keys after the other if the files are large, so that
    large files are never in memory as a whole. Ranges ascend.

    Where all keys have the same value in their first column, files are read in parts instead, each
    of which is made shorter at once.
    """
    if dataset.store.parallel and _size(selections) < 2 * _RANGE:
        yield read_selections(dataset, selections)
        return
    tell_opened(dataset, selections)
    if not dataset.reads_rows:
        yield [without_rows(dataset, selection) for selection in selections]
        return
    contents = _fetch(dataset, [s.source for s in selections])
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
    count = _size(selections) // _RANGE
    if count < 2:
        return []

    files = [s.source for s in selections if isinstance(s.source, StoredFile)]
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


def _size(selections: Sequence[Selection]) -> int:
    """Bytes of their files."""
    return sum(s.source.size for s in selections if isinstance(s.source, StoredFile))


def _read(
    dataset: Dataset,
    selections: Sequence[Selection],
    contents: Mapping[str, bytes | Path],
    shorten: Shorten | None = None,
) -> list[pl.DataFrame]:
    lazies = [selection.of(lazy_rows(dataset, selection, contents)) for selection in selections]
    try:
        return _collect(selections, lazies, shorten)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        # One by one: to say which file it was, or to read one of an earlier writer as it is meant.
        return [decoded_rows(dataset, selection, contents) for selection in selections]


def _fetch(
    dataset: Dataset, sources: Sequence[StoredFile | pl.DataFrame]
) -> dict[str, bytes | Path]:
    """Key → path or bytes, of those that are files."""
    files = [source for source in sources if isinstance(source, StoredFile)]
    contents = fetch_all(dataset.store, partial(fetch_file, dataset.store), files)
    return {file.key: content for file, content in zip(files, contents, strict=True)}


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
