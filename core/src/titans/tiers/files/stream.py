"""Rows of files in stores elsewhere: some are decoded while others are fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from attrs import frozen

from titans.dataset import Dataset
from titans.store import ObjectStore
from titans.tiers.files.fetch import fetch_objects, in_order
from titans.tiers.files.kept import KEPT
from titans.tiers.files.parts import FilePart, Needed, RemoteFile, parts_of
from titans.tiers.files.selections import (
    Narrow,
    Selection,
    StoredFile,
    decoded_rows,
    lazy_rows,
    tell_opened,
    without_rows,
)

__all__ = ["fetch_file", "stream"]


def stream(
    dataset: Dataset, selections: Sequence[Selection], narrow: Narrow | None = None
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows of selections, as a query narrows them: number of the selection, and a frame; of
    large files several. In order.

    Raises:
        NotFound, CorruptFileError
    """
    narrow = narrow or Narrow()
    tasks = list(_tasks(dataset, selections, narrow))
    for task in tasks:
        task.tell()
    if not dataset.reads_rows:
        for number, selection in enumerate(selections):
            yield number, narrow(without_rows(dataset, selection).lazy()).collect()
        return

    read_whole: set[int] = set()
    for task, frame in zip(tasks, in_order(dataset.store, _Task.read, tasks), strict=True):
        if task.number in read_whole:
            continue
        if frame is None:
            # To say what is wrong with the file, or to read one of an earlier writer as it is
            # meant.
            frame = task.read_whole()
            read_whole.add(task.number)
        yield task.number, frame


def fetch_file(store: ObjectStore, file: StoredFile) -> bytes | Path:
    """The whole file, or where it lies on this machine.

    Raises:
        NotFound
    """
    path = store.local_path(file.key)
    if path is not None:
        return path
    if file.slot is not None or not store.parallel:
        return store.get(file.key).data
    return KEPT.get((store.url, file.remote), lambda: store.get(file.key).data)


@frozen(eq=False)
class _Task:
    """A selection, or a part of one."""

    dataset: Dataset
    number: int
    selection: Selection
    narrow: Narrow
    part: FilePart | None = None

    def tell(self) -> None:
        """Tell the trace, if there is one, what is read."""
        trace, source, part = self.dataset.trace, self.selection.source, self.part
        if trace is None:
            return
        if part is None:
            tell_opened(self.dataset, [self.selection], self.narrow)
        else:
            is_kept = (self.dataset.store.url, part.name) in KEPT
            needed = _needed(self.dataset, self.selection, self.narrow)
            trace.opens(source, needed, part, is_kept)

    def read(self) -> pl.DataFrame | None:
        """Its rows; `None` where they cannot be read as they should be.

        Raises:
            NotFound
        """
        source = self.selection.source
        contents: dict[str, bytes | Path] = {}
        columns = None
        try:
            if self.part is not None:
                contents[self.part.file.key] = self._fetch_part(self.part)
                columns = self.part.columns
            elif isinstance(source, StoredFile):
                contents[source.key] = fetch_file(self.dataset.store, source)
            rows = lazy_rows(self.dataset, self.selection, contents, columns)
            return self.narrow(self.selection.of(rows)).collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
            return None

    def _fetch_part(self, part: FilePart) -> bytes:
        store = self.dataset.store
        return KEPT.get((store.url, part.name), lambda: part.fetch(store))

    def read_whole(self) -> pl.DataFrame:
        """The rows of the selection, as what they mean whoever wrote them.

        Raises:
            NotFound
            CorruptFileError: they cannot be read.
        """
        source = self.selection.source
        contents: dict[str, bytes | Path] = {}
        if isinstance(source, StoredFile):
            contents = fetch_objects(self.dataset.store, [(source.key, source.size)])
        rows = decoded_rows(self.dataset, self.selection, contents)
        return self.narrow(rows.lazy()).collect()


def _tasks(dataset: Dataset, selections: Sequence[Selection], narrow: Narrow) -> Iterator[_Task]:
    """What there is to do, in order."""
    parts = _parts(dataset, selections, narrow)
    for number, selection in enumerate(selections):
        if number in parts:
            for part in parts[number]:
                yield _Task(dataset, number, selection, narrow, part)
        else:
            yield _Task(dataset, number, selection, narrow)


def _parts(
    dataset: Dataset, selections: Sequence[Selection], narrow: Narrow
) -> dict[int, list[FilePart]]:
    """Number of a selection → the parts of its file, where not all of it is fetched."""
    if not dataset.store.parallel:
        return {}
    numbers: list[int] = []
    asked: list[tuple[RemoteFile, Needed]] = []
    for number, selection in enumerate(selections):
        file = selection.source
        if not isinstance(file, StoredFile) or file.slot is not None:
            continue
        if (dataset.store.url, file.remote) in KEPT:
            continue  # all of it
        numbers.append(number)
        asked.append((file.remote, _needed(dataset, selection, narrow)))

    found = parts_of(dataset.store, asked)
    return {number: parts for number, parts in zip(numbers, found, strict=True) if parts}


def _needed(dataset: Dataset, selection: Selection, narrow: Narrow) -> Needed:
    """What is needed of the file of a selection, in the file's own columns."""
    needed = narrow.needed(selection, dataset.provider)
    source = selection.source
    if not isinstance(source, StoredFile) or source.schema is None:
        return needed

    # Of an earlier version only the key columns are known to be what they are today.
    where = needed.where
    if where is not None and not set(where.meta.root_names()) <= set(dataset.provider.key):
        where = None
    return Needed(needed.schema, where)
