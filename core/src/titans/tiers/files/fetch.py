"""Fetching from stores elsewhere: many objects at once, and of large ones only what is needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import polars as pl
from attrs import evolve

from titans.changes.digest import digest
from titans.dataset import Dataset
from titans.errors import NotFound, StoreError
from titans.provider import Provider
from titans.slots import Slot
from titans.store import ObjectStore
from titans.tiers.files.footer import footer_size
from titans.tiers.files.metadata import Contents, FileInfo
from titans.tiers.files.parquet import decode, info_of, info_of_tail
from titans.tiers.files.reading import damaged

__all__ = [
    "PIECE",
    "TAIL",
    "check_rows",
    "exists",
    "fetch_all",
    "fetch_objects",
    "fetch_tail",
    "in_order",
    "read_file",
    "read_info",
    "read_rows",
    "read_whole",
]

TAIL = 1 << 16
"""Bytes at the end of a file that mostly hold its footer."""

PIECE = 8 << 20
"""Bytes of a large object that are in memory at once on their way to a file."""

_REQUESTS = 16

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")


def exists(store: ObjectStore, key: str) -> bool:
    """Whether there is such an object now; one byte is read."""
    try:
        store.get_range(key, 0, 1)
    except NotFound:
        return False
    return True


def fetch_all(
    store: ObjectStore, ask: Callable[[_Asked], _Answer], wanted: Sequence[_Asked]
) -> list[_Answer]:
    """What `ask` answers to each; in parallel where the store is the faster for it."""
    if len(wanted) < 2 or not store.parallel:
        return [ask(each) for each in wanted]
    with ThreadPoolExecutor(min(_REQUESTS, len(wanted))) as pool:
        return list(pool.map(ask, wanted))


def in_order(
    store: ObjectStore, ask: Callable[[_Asked], _Answer], wanted: Sequence[_Asked]
) -> Iterator[_Answer]:
    """What `ask` answers to each, one after the other; in parallel where the store is the faster
    for it, and never far ahead of who takes the answers.
    """
    if len(wanted) < 2 or not store.parallel:
        yield from map(ask, wanted)
        return

    pool = ThreadPoolExecutor(min(_REQUESTS, len(wanted)))
    try:
        running: deque[Future[_Answer]] = deque()
        for each in wanted:
            if len(running) == _REQUESTS:
                yield running.popleft().result()
            running.append(pool.submit(ask, each))
        while running:
            yield running.popleft().result()
    finally:
        # Not waiting: what is left over may be collected in one of its own threads.
        pool.shutdown(wait=False, cancel_futures=True)


# --- whole objects --------------------------------------------------------------------------------


def fetch_objects(
    store: ObjectStore,
    objects: Sequence[tuple[str, int]],
    scratch: Callable[[str], Path] | None = None,
) -> dict[str, bytes | Path]:
    """Of objects given as key and size: key → the file's path on this machine, or its bytes.

    With `scratch`, which gives the path of a temporary file, large ones are downloaded piece by
    piece instead of into memory.

    Raises:
        NotFound, StoreError
    """
    sources: dict[str, bytes | Path] = {}
    remote = []
    for key, size in objects:
        path = store.local_path(key)
        if path is not None:
            sources[key] = path
        elif scratch is not None and size > PIECE:
            path = scratch(f"{len(sources)}.parquet")
            _download(store, key, size, path)
            sources[key] = path
        else:
            remote.append(key)

    contents = fetch_all(store, lambda key: store.get(key).data, remote)
    sources.update(zip(remote, contents, strict=True))
    return sources


def _download(store: ObjectStore, key: str, size: int, path: Path) -> None:
    try:
        with path.open("wb") as file:
            for start in range(0, size, PIECE):
                file.write(store.get_range(key, start, min(start + PIECE, size)))
    except OSError as error:
        raise StoreError(
            f"cannot download {key} to {path}: {error}; make room there, or set TMPDIR", key=key
        ) from error


def read_file(
    dataset: Dataset, key: str, slot: Slot, *, hot: bool
) -> tuple[pl.DataFrame, FileInfo]:
    """The rows of a file, and what it says of itself, with one request.

    `slot` is any slot of the file's month, for a hot file its own.

    Raises:
        NotFound, CorruptFileError, FormatVersionError, ProviderMismatchError
    """
    path = dataset.store.local_path(key)
    source = dataset.store.get(key).data if path is None else path
    info = info_of(source, dataset.provider, key, slot)
    return decode(source, dataset.provider, key, slot=slot if hot else None), info


def read_rows(dataset: Dataset, key: str, slot: Slot | None = None) -> pl.DataFrame:
    """The rows of a file; `slot` is that of a hot one. What it says of itself is not asked.

    Raises:
        NotFound, CorruptFileError
    """
    path = dataset.store.local_path(key)
    source = dataset.store.get(key).data if path is None else path
    return decode(source, dataset.provider, key, slot=slot)


def read_whole(dataset: Dataset, key: str, slot: Slot, etag: str | None = None) -> FileInfo:
    """What the hot file of a slot says of itself, once all its rows were read and are those of its
    hash; with one request. `etag` is that of an object whose rows are known: they are not read.

    Raises:
        NotFound, CorruptFileError, FormatVersionError, ProviderMismatchError
    """
    store = dataset.store
    path = store.local_path(key)
    source: bytes | Path
    if path is None:
        blob = store.get(key)
        source, found = blob.data, blob.etag
    else:
        source, found = path, ""
        if etag is not None:
            found = store.head(key).etag
    info = info_of(source, dataset.provider, key, slot)
    # The hash of an earlier writer's file was made of its rows just now.
    if info.kind != "legacy" and (etag is None or found != etag):
        written = dataset.provider.as_of(info.schema)
        check_rows(decode(source, written, key, slot=slot), info, dataset.provider, key)
    return info


def check_rows(rows: pl.DataFrame, said: Contents, provider: Provider, key: str) -> None:
    """Raise `CorruptFileError` where `rows` are not those that a file was written with."""
    if rows.height == said.rows and digest(rows) == said.hash:
        return
    raise damaged(key, f"does not hold the {said.rows} row(s) it was written with", provider.name)


# --- parts of objects -----------------------------------------------------------------------------


def fetch_tail(store: ObjectStore, key: str, size: int) -> bytes:
    """The end of a file of `size` bytes, with all of its footer.

    Raises:
        NotFound
        ValueError: it is no Parquet file.
    """
    tail = store.get_range(key, max(0, size - TAIL), size)
    length = footer_size(tail)
    if length > size:
        raise ValueError(f"a footer of {length} bytes in a file of {size}")
    if length <= len(tail):
        return tail
    return store.get_range(key, size - length, size)


def read_info(dataset: Dataset, key: str, slot: Slot, size: int | None = None) -> FileInfo:
    """What the object under `key` says of itself; `slot` is any slot of its month, for a hot file
    its own.

    With `size`, its size in bytes, only the end of a large remote object is fetched. A file without
    TITANS metadata (an earlier writer's) is read as a whole and described as `legacy`.

    Raises:
        NotFound, CorruptFileError, FormatVersionError, ProviderMismatchError
    """
    store, provider = dataset.store, dataset.provider
    path = store.local_path(key)
    if path is not None:
        return info_of(path, provider, key, slot)

    if size is not None and size > TAIL:
        tail = b""
        with suppress(ValueError):  # no Parquet file: reading it whole says so
            tail = fetch_tail(store, key, size)
        info = info_of_tail(tail, provider, key, slot) if tail else None
        if info is not None:
            return evolve(info, size=size)
    return info_of(store.get(key).data, provider, key, slot)
