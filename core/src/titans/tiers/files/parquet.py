"""Parquet as it is written and read here, with what a file is in its own metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
from attrs import evolve, frozen

from titans.changes.digest import digest
from titans.changes.frames import instant
from titans.errors import CorruptFileError
from titans.exact.convert import convert_stored
from titans.layout import KeyframeName, WarmName
from titans.provider import Provider
from titans.schema import CEASED, TIME, Schema
from titans.slots import Slot, iso
from titans.tiers.files.metadata import FileInfo, SlotRecord
from titans.tiers.files.reading import foreign, reading, sequence, shown

__all__ = [
    "FINAL",
    "METADATA_KEY",
    "PASSING",
    "ROW_GROUP",
    "WHOLE",
    "Encoding",
    "decode",
    "encode",
    "encode_plain",
    "info_of",
    "info_of_tail",
    "metadata_of",
    "readable",
    "scan_files",
    "sink",
]

METADATA_KEY = "titans"
_MAGIC = b"PAR1"
_WIDELY_READ = {"vu": "U", "vz": "Z"}
"""Arrow's views, in which polars keeps text and bytes → plain ones.

Only what a file says of its columns differs: readers that go by it, as pyarrow does, get columns
that every release of theirs can put together.
"""

_KINDS = {"L": "merged", "C": "correction", "B": "border", "K": "keyframe", "F": "full"}
"""First letter of a name → what such a file is."""

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
        arrow_schema=_arrow_schema(provider, encoding),
    )
    return buffer.getvalue()


def encode_plain(rows: pl.DataFrame, ids: Mapping[str, int], encoding: Encoding = WHOLE) -> bytes:
    """The bytes of a file that is no part of an archive: it says nothing of itself but the field
    ids of its columns.
    """
    columns = []
    for name, dtype in rows.schema.items():
        columns.append((name, dtype, (("PARQUET:field_id", str(ids[name])),)))
    buffer = io.BytesIO()
    rows.write_parquet(buffer, **encoding.options, arrow_schema=_described(tuple(columns)))
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
        arrow_schema=_arrow_schema(provider, encoding),
        engine="streaming",
    )


def _arrow_schema(provider: Provider, encoding: Encoding) -> Any:
    """The columns as Arrow describes them, each with the id it has in Parquet files; in files that
    stay for ever also with its unit and description.
    """
    schema = provider.schema
    ids = schema.field_ids(provider.key)
    columns = []
    for name, dtype in provider.schema_dtypes.items():
        said = {"PARQUET:field_id": str(ids[name])}
        if encoding is not PASSING and name in schema.units:
            said["unit"] = schema.units[name]
        if encoding is not PASSING and name in schema.description:
            said["description"] = schema.description[name]
        columns.append((name, dtype, tuple(said.items())))
    return _described(tuple(columns))


@lru_cache(maxsize=64)
def _described(columns: tuple[tuple[str, pl.DataType, tuple[tuple[str, str], ...]], ...]) -> Any:
    """Of columns given as name, dtype and what is said of them.

    At most 64 are kept, and none goes stale: it depends on the argument alone. Threads and forks
    may share them.
    """
    import nanoarrow

    plain = nanoarrow.c_schema(pl.Schema({name: dtype for name, dtype, _ in columns}))
    fields = []
    for field, (_, _, said) in zip(plain.children, columns, strict=True):
        layout = _WIDELY_READ.get(field.format, field.format)
        fields.append(field.modify(format=layout, metadata=dict(said)))
    return plain.modify(children=fields)


def _metadata(info: FileInfo, provider: Provider) -> dict[str, str]:
    return {METADATA_KEY: json.dumps(info.to_json(provider), separators=(",", ":"))}


# --- rows -----------------------------------------------------------------------------------------


def readable(source: bytes | Path) -> io.BytesIO | Path:
    """What polars reads: a path, or a file object around bytes."""
    return io.BytesIO(source) if isinstance(source, bytes) else source


def scan_files(
    sources: Sequence[bytes | Path], provider: Provider, columns: Collection[str] | None = None
) -> pl.LazyFrame:
    """The rows of files in canonical columns; `columns` are those that the files have, by default
    all. None is opened before the frame is collected.
    """
    schema = dict(provider.schema_dtypes)
    if columns is not None:
        schema = {name: dtype for name, dtype in schema.items() if name in columns}
    return pl.scan_parquet(
        [readable(source) for source in sources],  # type: ignore[arg-type]
        schema=schema,
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
        NotFound
        CorruptFileError: it is no Parquet file, lacks a key column, has null keys, has not the
            columns of its own schema version, or values that these cannot hold as they are.
    """
    with reading(key, provider.name):
        frame = pl.read_parquet(readable(source), glob=False, hive_partitioning=False)
        if frame.schema != provider.schema_dtypes:
            _refuse_foreign(source, frame, provider, key)
            frame = _aligned(frame, provider, key)
        for column in (*provider.key, TIME):
            if frame[column].null_count():
                raise ValueError(f"column {column} is null in {frame[column].null_count()} row(s)")
        if slot is not None:
            frame = _in_slot(frame, provider, slot)

    return frame if where is None else frame.filter(where)


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
            aligned.append(_as_today(frame[column], provider, key))
        else:
            aligned.append(pl.Series(column, [None], dtype=dtype).new_from_index(0, frame.height))
    return pl.DataFrame(aligned).with_columns(pl.col(CEASED).fill_null(value=False))


def _as_today(column: pl.Series, provider: Provider, key: str) -> pl.Series:
    done = convert_stored(column, provider.schema.columns)
    if done.bad is None:
        return done.values
    raise CorruptFileError(
        f"{key} has {int(done.bad.sum())} value(s) in column {column.name!r} ({column.dtype}) that "
        f"are no {done.values.dtype}, which {provider} declares; first: {done.examples()}; they "
        "are not rounded or cut off: install the release of the provider that declares what "
        "they are",
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
        NotFound
        CorruptFileError: it began as a Parquet file, and is none any more.
        ForeignObjectError: it never was one, or what stands there was not written by TITANS.
    """
    try:
        with reading(key):
            text = pl.read_parquet_metadata(readable(source)).get(METADATA_KEY)
    except CorruptFileError as error:
        if _began_as_parquet(source, key):
            raise
        raise foreign(key, "is no Parquet file") from error
    if text is None:
        return None

    try:
        metadata = json.loads(text)
    # Nesting without end, numbers without end: whatever it is, it was not written here.
    except (ValueError, RecursionError) as error:
        raise foreign(key, f"says of itself what is no JSON: {shown(error)}") from error
    if not isinstance(metadata, dict):
        raise foreign(key, f"says of itself {shown(metadata)}")
    return metadata


def _began_as_parquet(source: bytes | Path, key: str) -> bool:
    if isinstance(source, bytes):
        return source.startswith(_MAGIC)
    with reading(key), source.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def info_of(source: bytes | Path, provider: Provider, key: str, slot: Slot) -> FileInfo:
    """What a file says of itself; `slot` is any slot of its month, for a hot file its own.

    A file without TITANS metadata (an earlier writer's) is read and described as `legacy`, with
    `slot` as its one slot.

    Raises:
        NotFound, CorruptFileError, FormatVersionError, ProviderMismatchError
        ForeignObjectError: it is not what its name says.
    """
    metadata = metadata_of(source, key)
    if metadata is None:
        info = _legacy_info(source, provider, key, slot)
    else:
        info = _parsed(metadata, source, provider, key, slot)

    if isinstance(source, bytes):
        return evolve(info, size=len(source))
    with reading(key, provider.name):
        return evolve(info, size=source.stat().st_size)


def info_of_tail(tail: bytes, provider: Provider, key: str, slot: Slot) -> FileInfo | None:
    """As `info_of`, from the end of a file; `None` where that does not tell."""
    metadata = metadata_of(tail, key)
    if metadata is None:
        return None
    return _parsed(metadata, tail, provider, key, slot)


def _legacy_info(source: bytes | Path, provider: Provider, key: str, slot: Slot) -> FileInfo:
    with reading(key, provider.name):
        columns = pl.scan_parquet(readable(source), glob=False).collect_schema()
    known = {*columns, *(provider.schema.name_since(1, column) for column in columns)}
    absent = [column for column in (*provider.key, TIME) if column not in known]
    if absent:
        raise foreign(
            key, f"has no column {', '.join(absent)}, and nobody says who wrote it", provider.name
        )

    rows = decode(source, provider, key, slot=slot if _is_hot(key) else None)
    rows = rows.sort([*provider.key, TIME])
    content = digest(rows)
    record = SlotRecord(slot.index, "changes", content, slot.start)
    return FileInfo.describe(rows, provider, "legacy", (record,), hash=content)


def _parsed(
    metadata: dict[str, Any], source: bytes | Path, provider: Provider, key: str, slot: Slot
) -> FileInfo:
    """With the file's own columns, where an earlier version of the provider wrote it."""
    info = FileInfo.from_json(metadata, provider, slot.month.start, key)
    _check_place(info, provider, key, slot)
    if info.schema_version == provider.schema.version:
        return info

    others = (*provider.key, TIME, CEASED)
    with reading(key, provider.name):
        stored = _scan(source).collect_schema()
        columns = {c: str(dtype) for c, dtype in stored.items() if c not in others}
        for name in sequence({"json": [], **metadata}, "json", str):
            if name in columns:
                columns[name] = "Json"
        return evolve(info, schema=Schema(columns, version=info.schema_version))


def _is_hot(key: str) -> bool:
    name = key.rpartition("/")[2]
    return WarmName.parse(name) is None and KeyframeName.parse(name) is None


def _check_place(info: FileInfo, provider: Provider, key: str, slot: Slot) -> None:
    """Raise `ForeignObjectError` where a file says that it belongs under another key."""
    kind = "hot"
    if not _is_hot(key):
        kind = _KINDS[key.rpartition("/")[2][0]]
    if info.kind != kind:
        raise foreign(
            key, f"says it is a {info.kind} file, its name is that of a {kind} one", provider.name
        )

    if kind == "keyframe":
        return  # it holds what earlier months left
    start, end = slot.month.start, slot.month.end
    if kind == "hot":
        length = timedelta(minutes=provider.layout.slot_minutes)
        held = [start + record.slot * length for record in info.records]
        if held != [slot.start]:
            named = ", ".join(iso(time) for time in held) or "none"
            raise foreign(key, f"says it is of the slot {named}", provider.name)
        start, end = slot.start, slot.start + length

    low, high = info.min_time, info.max_time
    if low is not None and high is not None and (high < start or low >= end):
        raise foreign(key, f"says its rows are of {iso(low)} to {iso(high)}", provider.name)
