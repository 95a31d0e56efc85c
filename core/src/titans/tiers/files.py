"""Data files: Parquet, with what they are in their own metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from attrs import evolve, frozen

from titans.changes.digest import digest
from titans.changes.frames import instant
from titans.errors import CorruptFileError, NotFound, StoreError
from titans.layout import WarmName
from titans.provider import Provider
from titans.schema import CEASED, TIME, Schema
from titans.slots import Slot
from titans.store import ObjectStore
from titans.tiers.info import FileInfo
from titans.tiers.info import Source as Origin
from titans.tiers.remote import TAIL, at_once, fetch_parts, tail_of

__all__ = [
    "FINAL",
    "METADATA_KEY",
    "PASSING",
    "ROW_GROUP",
    "WHOLE",
    "Encoding",
    "Source",
    "decode",
    "encode",
    "fetched",
    "info_of",
    "read_file",
    "read_info",
    "read_sources",
    "scan_files",
    "scan_source",
    "sink",
]

METADATA_KEY = "titans"
ROW_GROUP = 40_000
"""Rows of a row group."""


@frozen
class Encoding:
    """How a file is compressed (docs/format.md says why)."""

    level: int
    """Of zstd."""
    page: int | None = None
    """About how many bytes of a column make a page before compression; `None` leaves it to polars,
    a megabyte."""

    @property
    def options(self) -> dict[str, Any]:
        """For polars."""
        return {
            "compression": "zstd",
            "compression_level": self.level,
            "statistics": True,
            "row_group_size": ROW_GROUP,
            "data_page_size": self.page,
        }


PASSING = Encoding(3)
"""Of files that are soon merged: it takes less time."""

WHOLE = Encoding(12)
"""Of what stays for ever and is read as a whole: keyframes."""

FINAL = Encoding(12, 192 << 10)
"""Of what stays for ever, and of which a question about one key needs a few rows: readers skip the
other pages."""

_Frame = TypeVar("_Frame", pl.DataFrame, pl.LazyFrame)

_LARGE = 8 << 20
"""Bytes of a file, of some million rows, that is read in parts where few of its rows are needed."""

_PART = 200_000
"""Rows of such a part."""

_PIECE = 8 << 20
"""Bytes of a large object that are in memory at once on their way to a file."""


def encode(
    rows: pl.DataFrame, info: FileInfo, provider: Provider, encoding: Encoding = PASSING
) -> bytes:
    """The file's bytes; the same for the same rows, info and polars version."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer, **encoding.options, metadata=_metadata(info, provider))
    return buffer.getvalue()


def sink(
    rows: pl.LazyFrame,
    target: io.BytesIO | Path,
    info: Callable[[], FileInfo],
    provider: Provider,
    encoding: Encoding = PASSING,
) -> None:
    """Write a file while its rows are made; `info` is asked when the last of them has gone
    through.
    """
    rows.sink_parquet(
        target,
        **encoding.options,
        metadata=lambda _context: _metadata(info(), provider),
        engine="streaming",
    )


def _metadata(info: FileInfo, provider: Provider) -> dict[str, str]:
    return {METADATA_KEY: json.dumps(info.to_json(provider), separators=(",", ":"))}


def decode(
    source: bytes | Path,
    provider: Provider,
    key: str,
    where: pl.Expr | None = None,
    slot: Slot | None = None,
) -> pl.DataFrame:
    """The rows of a file that satisfy `where` (all by default), in canonical columns and in the
    file's order.

    Files of the original writers may lack columns or have other dtypes; they are read as what they
    mean. `slot` is that of a hot file: a tombstone in it that kept the time of the row before it
    means the slot. A file of an earlier schema version is read with `provider.as_of` that schema,
    and what comes of it put through its evolution.

    Raises:
        CorruptFileError: it is no Parquet file, lacks a key column, or has not the columns of its
            own schema version.
    """
    readable = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        if where is not None and slot is None:
            lazy = pl.scan_parquet(readable)
            if lazy.collect_schema() == provider.schema_dtypes:
                return lazy.filter(where).collect()
        frame = pl.read_parquet(readable)
        if frame.schema != provider.schema_dtypes:
            _refuse_foreign(source, frame, provider, key)
            frame = _aligned(frame, provider)
    except FileNotFoundError as error:
        raise NotFound(f"no object {key}") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFileError(
            f"{key} cannot be read as a Parquet file of provider {provider.name!r}: {error}"
        ) from error
    if slot is not None:
        frame = _in_slot(frame, provider, slot)
    return frame if where is None else frame.filter(where)


def _refuse_foreign(
    source: bytes | Path, frame: pl.DataFrame, provider: Provider, key: str
) -> None:
    """Raise where a file that TITANS wrote has other columns than its schema version."""
    described = _described(source, key)
    if described is not None and described.get("schema_version") == provider.schema.version:
        raise CorruptFileError(
            f"{key} has the columns {dict(frame.schema)}, which are not those of schema version "
            f"{provider.schema.version} of "
            f"{provider}; if the provider's columns have changed, its schema version has to be "
            "raised"
        )


def _aligned(frame: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    dtypes, columns = provider.schema_dtypes, provider.canonical_columns
    now = {c: provider.schema.name_since(1, c) for c in frame.columns if c not in columns}
    frame = frame.rename({old: new for old, new in now.items() if new not in frame.columns})
    known = [c for c in columns if c in frame.columns]
    missing = [pl.lit(None, dtype=dtypes[c]).alias(c) for c in columns if c not in known]
    if absent := [c for c in (*provider.key, TIME) if c not in known]:
        raise pl.exceptions.ColumnNotFoundError(f"it has no column {', '.join(absent)}")
    time = frame[TIME]
    if isinstance(time.dtype, pl.Datetime) and time.dtype.time_zone is None:
        frame = frame.with_columns(time.dt.replace_time_zone("UTC"))
    frame = frame.with_columns(*missing).select(pl.col(c).cast(dtypes[c]) for c in columns)
    return frame.with_columns(pl.col(CEASED).fill_null(value=False))


def _in_slot(rows: pl.DataFrame, provider: Provider, slot: Slot) -> pl.DataFrame:
    """Tombstones outside the slot are of its start."""
    start, end = instant(slot.start), instant(slot.end)
    stale = pl.col(CEASED) & ~pl.col(TIME).is_between(start, end, closed="left")
    if not rows.select(stale.any()).item():
        return rows
    rows = rows.with_columns(pl.when(stale).then(start).otherwise(TIME).alias(TIME))
    return rows.sort([*provider.key, TIME, CEASED]).unique(
        [*provider.key, TIME], keep="first", maintain_order=True
    )


@frozen
class Source:
    """A file to be read."""

    key: str
    size: int
    """In bytes."""
    slot: Slot | None
    """That of a hot file, see `decode`."""
    hash: str = ""
    """Of a hot file's rows. Once it was merged and removed, another file may come under its name,
    to be taken back."""
    schema: Schema | None = None
    """That of the earlier version of the provider that wrote it; `None` for today's."""


def read_sources(
    store: ObjectStore,
    provider: Provider,
    sources: Sequence[Source | pl.DataFrame],
    wheres: Sequence[pl.Expr | None],
    key: Mapping[str, str] | None = None,
    shortened: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
) -> list[pl.DataFrame]:
    """The rows of each source that satisfy its expression, in the source's order and canonical
    columns.

    Files on this machine are mapped and read in parallel; others are fetched at once. With `key`,
    only rows whose key columns have these values are needed: of large files elsewhere, no more is
    fetched than what may hold them. `shortened` may leave out rows that are not needed, of a part
    of a file as well as of the whole: large merged files are never in memory as a whole.

    Raises:
        NotFound, CorruptFileError
    """
    files = [s for s in sources if isinstance(s, Source)]
    bytes_of: dict[str, bytes | Path] = {}
    if key is not None and provider.key[0] in key and store.parallel:
        bytes_of.update(
            fetch_parts(store, [(s.key, s.size, s.hash) for s in files if s.slot is None], key)
        )
    bytes_of.update(fetched(store, [(s.key, s.size) for s in files if s.key not in bytes_of]))
    lazies = []
    for source, where in zip(sources, wheres, strict=True):
        if isinstance(source, pl.DataFrame):
            lazy = source.lazy()
        else:
            lazy = _to_be_read(source, bytes_of[source.key], provider)
        lazies.append(lazy if where is None else lazy.filter(where))
    try:
        return _collected(sources, lazies, shortened)
    except (pl.exceptions.PolarsError, OSError):
        # one by one: to say which file it was, or to read one of an earlier writer as what it means
        pass
    frames = []
    for source, where in zip(sources, wheres, strict=True):
        if isinstance(source, pl.DataFrame):
            frame = source if where is None else source.filter(where)
        elif source.schema is None:
            frame = decode(bytes_of[source.key], provider, source.key, where, source.slot)
        else:
            frame = decode(
                bytes_of[source.key], provider.as_of(source.schema), source.key, slot=source.slot
            )
            frame = _evolved(frame, source, provider)
            frame = frame if where is None else frame.filter(where)
        frames.append(frame)
    return frames


def _to_be_read(source: Source, found: bytes | Path, provider: Provider) -> pl.LazyFrame:
    """The rows of a file; only an earlier writer's hot file, which `decode` has to put right, is
    read already.
    """
    if source.slot is not None:
        described = _described(found, source.key)
        if described is None:
            rows = decode(found, provider.as_of(source.schema), source.key, slot=source.slot)
            return _evolved(rows.lazy(), source, provider)
        if source.hash and described.get("hash") != source.hash:
            raise NotFound(f"{source.key} is another file by now")
    return scan_source(source, io.BytesIO(found) if isinstance(found, bytes) else found, provider)


def _collected(
    sources: Sequence[Source | pl.DataFrame],
    lazies: Sequence[pl.LazyFrame],
    shortened: Callable[[pl.DataFrame], pl.DataFrame] | None,
) -> list[pl.DataFrame]:
    if shortened is None:
        return [lazies[0].collect()] if len(lazies) == 1 else pl.collect_all(lazies)
    large = [isinstance(s, Source) and s.slot is None and s.size > _LARGE for s in sources]
    others = iter(
        pl.collect_all([lazy for lazy, is_large in zip(lazies, large, strict=True) if not is_large])
    )
    return [
        _shortened(lazy, shortened) if is_large else next(others)
        for lazy, is_large in zip(lazies, large, strict=True)
    ]


def _shortened(
    rows: pl.LazyFrame, shortened: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    parts = [
        shortened(part) for part in rows.collect_batches(maintain_order=True, chunk_size=_PART)
    ]
    return shortened(pl.concat(parts)) if parts else rows.clear().collect()


def scan_files(sources: Sequence[Any], provider: Provider) -> pl.LazyFrame:
    """Files in canonical columns (paths, or bytes to be read), not opened before the frame is
    collected.
    """
    schema = dict(provider.schema_dtypes)
    return pl.scan_parquet(list(sources), schema=schema, glob=False, hive_partitioning=False)


def scan_source(source: Source, readable: Any, provider: Provider) -> pl.LazyFrame:
    """As `scan_files`, for one file of whatever schema version; predicates and columns reach it
    under its own names.
    """
    return _evolved(scan_files([readable], provider.as_of(source.schema)), source, provider)


def _evolved(rows: _Frame, source: Source, provider: Provider) -> _Frame:
    """Rows of `source`, as it was written, in today's columns."""
    return (
        rows
        if source.schema is None
        else provider.evolution(source.schema, source.key).apply(rows, provider.key)
    )


def fetched(
    store: ObjectStore,
    objects: Sequence[tuple[str, int]],
    scratch: Callable[[str], Path] | None = None,
) -> dict[str, bytes | Path]:
    """Of objects given as key and size: key → the file's path on this machine, or its bytes.

    With `scratch`, which gives the path of a temporary file, large ones are brought there piece by
    piece instead of into memory. Raises `NotFound`, `StoreError`.
    """
    found: dict[str, bytes | Path] = {}
    remote = []
    for key, size in objects:
        path = store.local_path(key)
        if path is not None:
            found[key] = path
        elif scratch is not None and size > _PIECE:
            found[key] = _brought(store, key, size, scratch(f"{len(found)}.parquet"))
        else:
            remote.append(key)
    found.update(zip(remote, at_once(store, lambda key: store.get(key).data, remote), strict=True))
    return found


def _brought(store: ObjectStore, key: str, size: int, path: Path) -> Path:
    try:
        with path.open("wb") as file:
            for start in range(0, size, _PIECE):
                file.write(store.get_range(key, start, min(start + _PIECE, size)))
    except OSError as error:
        raise StoreError(
            f"cannot bring {key} to {path}: {error}; make room there, or set TMPDIR"
        ) from error
    return path


def read_info(
    store: ObjectStore, key: str, provider: Provider, slot: Slot, size: int | None = None
) -> FileInfo:
    """What the object under `key` says of itself; `slot` is any slot of its month, for a hot file
    its own.

    With `size`, its size in bytes, only the end of a large remote object is fetched. A file without
    TITANS metadata (an earlier writer's) is read and described as `legacy`, with `slot` as its one
    source.

    Raises:
        NotFound, CorruptFileError, FormatVersionError
    """
    path = store.local_path(key)
    if path is None and size is not None and size > TAIL:
        tail = b""
        with suppress(ValueError):  # no Parquet file: reading it whole says so
            tail = tail_of(store, key, size)
        if tail and (described := _described(tail, key)) is not None:
            return evolve(_parsed(described, tail, provider, key, slot), size=size)
    return info_of(store.get(key).data if path is None else path, provider, key, slot)


def read_file(
    store: ObjectStore, key: str, provider: Provider, slot: Slot, *, hot: bool
) -> tuple[pl.DataFrame, FileInfo]:
    """`decode` and `read_info` with one request; `slot` is any slot of the file's month, for a hot
    file its own.
    """
    path = store.local_path(key)
    source = store.get(key).data if path is None else path
    rows = decode(source, provider, key, slot=slot if hot else None)
    return rows, info_of(source, provider, key, slot)


def _described(source: bytes | Path, key: str) -> dict[str, Any] | None:
    try:
        found = pl.read_parquet_metadata(
            io.BytesIO(source) if isinstance(source, bytes) else source
        )
        text = found.get(METADATA_KEY)
        described: dict[str, Any] | None = json.loads(text) if text is not None else None
    except FileNotFoundError as error:
        raise NotFound(f"no object {key}") from error
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise CorruptFileError(f"{key} cannot be read as a Parquet file: {error}") from error
    return described


def _parsed(
    described: dict[str, Any], source: bytes | Path, provider: Provider, key: str, slot: Slot
) -> FileInfo:
    """With the file's own columns, where an earlier version of the provider wrote it."""
    info = FileInfo.from_json(described, provider, slot.month.start, key)
    if info.schema_version == provider.schema.version:
        return info
    try:
        stored = pl.read_parquet_schema(io.BytesIO(source) if isinstance(source, bytes) else source)
        columns = {
            c: str(dtype) for c, dtype in stored.items() if c not in (*provider.key, TIME, CEASED)
        }
        return evolve(info, schema=Schema(columns, version=info.schema_version))
    except FileNotFoundError as error:
        raise NotFound(f"no object {key}") from error
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise CorruptFileError(f"{key} has columns that no schema can have: {error}") from error


def info_of(source: bytes | Path, provider: Provider, key: str, slot: Slot) -> FileInfo:
    """As `read_info`, of a file that is here."""
    described = _described(source, key)
    if described is None:
        hot = WarmName.parse(key.rpartition("/")[2]) is None
        rows = decode(source, provider, key, slot=slot if hot else None).sort([*provider.key, TIME])
        origin = Origin(slot.index, "changes", digest(rows), slot.start)
        info = FileInfo.describe(rows, provider, "legacy", (origin,), hash=origin.hash)
    else:
        info = _parsed(described, source, provider, key, slot)
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
    except FileNotFoundError as error:
        raise NotFound(f"no object {key}") from error
    return evolve(info, size=size)
