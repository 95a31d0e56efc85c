"""Parquet as it is written and read here, with what a file is in its own metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
from attrs import evolve, frozen

from titans.changes.digest import digest
from titans.changes.frames import instant
from titans.errors import CorruptFileError, NotFound
from titans.exact.convert import convert
from titans.layout import WarmName
from titans.provider import Provider
from titans.schema import CEASED, TIME, Schema
from titans.slots import Slot
from titans.tiers.files.metadata import FileInfo, SlotRecord

__all__ = [
    "FINAL",
    "METADATA_KEY",
    "PASSING",
    "ROW_GROUP",
    "WHOLE",
    "Encoding",
    "decode",
    "encode",
    "info_of",
    "info_of_tail",
    "metadata_of",
    "readable",
    "scan_files",
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
    """About how many bytes of a column make a page before compression.

    `None` leaves it to polars, which takes a megabyte.
    """

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
"""Of what stays for ever, and of which a question about one key needs a few rows.

Readers skip the other pages.
"""


# --- writing --------------------------------------------------------------------------------------


def encode(
    rows: pl.DataFrame, info: FileInfo, provider: Provider, encoding: Encoding = PASSING
) -> bytes:
    """The file's bytes; the same for the same rows, info and polars version."""
    buffer = io.BytesIO()
    rows.write_parquet(
        buffer,
        **encoding.options,
        metadata=_metadata(info, provider),
        arrow_schema=_arrow_schema(provider),
    )
    return buffer.getvalue()


def sink(
    rows: pl.LazyFrame,
    target: io.BytesIO | Path,
    info: Callable[[], FileInfo],
    provider: Provider,
    encoding: Encoding = PASSING,
) -> None:
    """Write a file while its rows are made; `info` is asked when the last one has gone through."""
    rows.sink_parquet(
        target,
        **encoding.options,
        metadata=lambda _context: _metadata(info(), provider),
        arrow_schema=_arrow_schema(provider),
        engine="streaming",
    )


def _arrow_schema(provider: Provider) -> Any:
    """The columns as Arrow describes them, each with the id it has in Parquet files."""
    ids = provider.schema.field_ids(provider.key)
    dtypes = provider.schema_dtypes
    return _with_field_ids(tuple((name, dtypes[name], ids[name]) for name in dtypes))


@lru_cache(maxsize=64)
def _with_field_ids(columns: tuple[tuple[str, pl.DataType, int], ...]) -> Any:
    """Of columns given as name, dtype and field id.

    At most 64 are kept, and none goes stale: it depends on the argument alone. Threads and forks
    may share them.
    """
    import nanoarrow

    plain = nanoarrow.c_schema(pl.Schema({name: dtype for name, dtype, _ in columns}))
    fields = []
    for field, (_, _, id) in zip(plain.children, columns, strict=True):
        fields.append(field.modify(metadata={"PARQUET:field_id": str(id)}))
    return plain.modify(children=fields)


def _metadata(info: FileInfo, provider: Provider) -> dict[str, str]:
    return {METADATA_KEY: json.dumps(info.to_json(provider), separators=(",", ":"))}


# --- rows -----------------------------------------------------------------------------------------


def readable(source: bytes | Path) -> io.BytesIO | Path:
    """What polars reads: a path, or a file object around bytes."""
    return io.BytesIO(source) if isinstance(source, bytes) else source


def scan_files(sources: Sequence[bytes | Path], provider: Provider) -> pl.LazyFrame:
    """The rows of files in canonical columns. None is opened before the frame is collected."""
    return pl.scan_parquet(
        [readable(source) for source in sources],  # type: ignore[arg-type]
        schema=dict(provider.schema_dtypes),
        glob=False,
        hive_partitioning=False,
    )


def _scan(source: bytes | Path) -> pl.LazyFrame:
    """The rows of a file as it is. Its path is no pattern, and its folders are no columns."""
    return pl.scan_parquet(readable(source), glob=False, hive_partitioning=False)


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
        CorruptFileError: it is no Parquet file, lacks a key column, has not the columns of its
            own schema version, or values that these cannot hold as they are.
    """
    try:
        if where is not None and slot is None:
            lazy = _scan(source)
            if lazy.collect_schema() == provider.schema_dtypes:
                return lazy.filter(where).collect()

        frame = pl.read_parquet(readable(source), glob=False, hive_partitioning=False)
        if frame.schema != provider.schema_dtypes:
            _refuse_foreign(source, frame, provider, key)
            frame = _aligned(frame, provider, key)
    except FileNotFoundError as error:
        raise NotFound(f"no object {key}", key=key) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFileError(
            f"{key} cannot be read as a Parquet file of provider {provider.name!r}: {error}",
            provider=provider.name,
            key=key,
        ) from error

    if slot is not None:
        frame = _in_slot(frame, provider, slot)
    if where is not None:
        frame = frame.filter(where)
    return frame


def _refuse_foreign(
    source: bytes | Path, frame: pl.DataFrame, provider: Provider, key: str
) -> None:
    """Raise where a file that TITANS wrote has other columns than its schema version."""
    metadata = metadata_of(source, key)
    if metadata is None or metadata.get("schema_version") != provider.schema.version:
        return
    raise CorruptFileError(
        f"{key} has the columns {dict(frame.schema)}, which are not those of schema version "
        f"{provider.schema.version} of {provider}; if the provider's columns have changed, its "
        "schema version has to be raised",
        provider=provider.name,
        key=key,
    )


def _aligned(frame: pl.DataFrame, provider: Provider, key: str) -> pl.DataFrame:
    """Rows of an earlier writer in canonical columns: renamed, added, and in the dtypes of today,
    where no value is another.
    """
    dtypes = provider.schema_dtypes
    for column in frame.columns:
        name = provider.schema.name_since(1, column)
        if column not in dtypes and name not in frame.columns:
            frame = frame.rename({column: name})

    absent = [column for column in (*provider.key, TIME) if column not in frame.columns]
    if absent:
        raise pl.exceptions.ColumnNotFoundError(f"it has no column {', '.join(absent)}")

    aligned = []
    for column, dtype in dtypes.items():
        if column in frame.columns:
            aligned.append(_as_today(frame[column], dtype, provider, key))
        else:
            aligned.append(pl.Series(column, [None], dtype=dtype).new_from_index(0, frame.height))
    return pl.DataFrame(aligned).with_columns(pl.col(CEASED).fill_null(value=False))


def _as_today(column: pl.Series, dtype: pl.DataType, provider: Provider, key: str) -> pl.Series:
    done = convert(column, dtype)
    if done.bad is None:
        return done.values
    raise CorruptFileError(
        f"{key} has {int(done.bad.sum())} value(s) in column {column.name!r} ({column.dtype}) that "
        f"are no {dtype}, which {provider} declares; first: {done.examples()}; they are not "
        "rounded or cut off: install the release of the provider that declares what they are",
        provider=provider.name,
        key=key,
    )


def _in_slot(rows: pl.DataFrame, provider: Provider, slot: Slot) -> pl.DataFrame:
    """Tombstones outside the slot are of its start."""
    start, end = instant(slot.start), instant(slot.end)
    stale = pl.col(CEASED) & ~pl.col(TIME).is_between(start, end, closed="left")
    if not rows.select(stale.any()).item():
        return rows

    by = [*provider.key, TIME]
    rows = rows.with_columns(pl.when(stale).then(start).otherwise(TIME).alias(TIME))
    return rows.sort([*by, CEASED]).unique(by, keep="first", maintain_order=True)


# --- what a file says of itself -------------------------------------------------------------------


def metadata_of(source: bytes | Path, key: str) -> dict[str, Any] | None:
    """What TITANS wrote into a file about it; `None` where an earlier writer made the file.

    Raises:
        NotFound, CorruptFileError
    """
    try:
        text = pl.read_parquet_metadata(readable(source)).get(METADATA_KEY)
        metadata: dict[str, Any] | None = None
        if text is not None:
            metadata = json.loads(text)
    except FileNotFoundError as error:
        raise NotFound(f"no object {key}", key=key) from error
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise CorruptFileError(
            f"{key} cannot be read as a Parquet file: {error}", key=key
        ) from error
    return metadata


def info_of(source: bytes | Path, provider: Provider, key: str, slot: Slot) -> FileInfo:
    """What a file says of itself; `slot` is any slot of its month, for a hot file its own.

    A file without TITANS metadata (an earlier writer's) is read and described as `legacy`, with
    `slot` as its one slot.

    Raises:
        NotFound, CorruptFileError, FormatVersionError, ProviderMismatchError
    """
    metadata = metadata_of(source, key)
    if metadata is None:
        info = _legacy_info(source, provider, key, slot)
    else:
        info = _parsed(metadata, source, provider, key, slot)

    if isinstance(source, bytes):
        return evolve(info, size=len(source))
    try:
        return evolve(info, size=source.stat().st_size)
    except FileNotFoundError as error:
        raise NotFound(f"no object {key}", key=key) from error


def info_of_tail(tail: bytes, provider: Provider, key: str, slot: Slot) -> FileInfo | None:
    """As `info_of`, from the end of a file; `None` where that does not tell."""
    metadata = metadata_of(tail, key)
    if metadata is None:
        return None
    return _parsed(metadata, tail, provider, key, slot)


def _legacy_info(source: bytes | Path, provider: Provider, key: str, slot: Slot) -> FileInfo:
    is_hot = WarmName.parse(key.rpartition("/")[2]) is None
    rows = decode(source, provider, key, slot=slot if is_hot else None)
    rows = rows.sort([*provider.key, TIME])
    content = digest(rows)
    record = SlotRecord(slot.index, "changes", content, slot.start)
    return FileInfo.describe(rows, provider, "legacy", (record,), hash=content)


def _parsed(
    metadata: dict[str, Any], source: bytes | Path, provider: Provider, key: str, slot: Slot
) -> FileInfo:
    """With the file's own columns, where an earlier version of the provider wrote it."""
    info = FileInfo.from_json(metadata, provider, slot.month.start, key)
    if info.schema_version == provider.schema.version:
        return info

    others = (*provider.key, TIME, CEASED)
    try:
        stored = _scan(source).collect_schema()
        columns = {c: str(dtype) for c, dtype in stored.items() if c not in others}
        return evolve(info, schema=Schema(columns, version=info.schema_version))
    except FileNotFoundError as error:
        raise NotFound(f"no object {key}", key=key) from error
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise CorruptFileError(
            f"{key} has columns that no schema can have: {error}", key=key
        ) from error
