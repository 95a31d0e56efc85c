"""An archive of the original layout, read as it is: with the key and the columns it declares
itself, not with those of a provider.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from attrs import frozen

from titans.changes.frames import instant
from titans.errors import ConversionError, CorruptFileError, InvalidKeyError, NotFound
from titans.layout import Paths, WarmName
from titans.schema import CEASED, TIME
from titans.slots import Month, Slot, iso
from titans.store import ObjectStore
from titans.tiers.files.parquet import METADATA_KEY
from titans.tiers.manifest.model import parse_object

__all__ = ["Original", "last_rows"]

_UTC = pl.Datetime("us", "UTC")


@frozen
class Original:
    """What one provider's archive of the original layout consists of."""

    store: ObjectStore
    paths: Paths
    key: tuple[str, ...]
    """Its primary key, as its manifests declare it."""
    months: tuple[Month, ...]
    """Those that have a manifest or a hot file, ascending."""

    @classmethod
    def open(cls, store: ObjectStore, paths: Paths) -> Original:
        """The archive that lies in `store`.

        Raises:
            ConversionError: there is none, it is of today's layout, or its months have different
                keys.
            ManifestError: a manifest is no JSON.
        """
        months: set[Month] = set()
        keys: dict[tuple[str, ...], str] = {}
        for entry in store.list(paths.warm_prefix + "/"):
            month = paths.parse_manifest_key(entry.key)
            if month is not None:
                months.add(month)
                declared = _declared(parse_object(store.get(entry.key).data, entry.key), entry.key)
                keys.setdefault(declared, entry.key)

        if not keys:
            raise ConversionError(
                f"{store.url} has no manifest under {paths.warm_prefix}/, so that nothing says "
                "what its primary key is; look at the place, the provider and TITANS_ENV"
            )
        if len(keys) > 1:
            parts = [f"{', '.join(key)} ({keys[key]})" for key in keys]
            raise ConversionError(f"the months have different primary keys: {'; '.join(parts)}")

        for entry in store.list(paths.hot_prefix + "/"):
            slot = paths.as_any_hot_key(entry.key)
            if slot is not None:
                months.add(slot.month)
        return cls(store, paths, next(iter(keys)), tuple(sorted(months)))

    def rows(self, month: Month) -> pl.DataFrame:
        """All change points of the files of a month: key, `Time`, values, `Ceased`.

        Sorted by key and `Time`, one row for each; a live row beats a tombstone, then the file
        adopted first wins. A tombstone that kept the time of an earlier row means the slot of its
        hot file, or the start of the month where its file has been merged.

        Raises:
            CorruptFileError: a file is missing or cannot be read.
            ConversionError: a live row is of another month.
        """
        data = self._manifest(month)
        frames = []
        merged_slots: set[int] = set()
        for level, file in _files(data):
            frame = self._read(month, file)
            if level:
                merged_slots |= self._live_slots(frame)
            frames.append(frame)
        for key in self._waiting(month, data, merged_slots):
            frames.append(self._read(month, key))

        if not frames:
            return pl.DataFrame()
        by = [*self.key, TIME]
        rows = pl.concat(frames, how="diagonal_relaxed").sort([*by, CEASED], maintain_order=True)
        return rows.unique(by, keep="first", maintain_order=True)

    def _manifest(self, month: Month) -> Mapping[str, Any]:
        key = self.paths.manifest_key(month)
        try:
            return parse_object(self.store.get(key).data, key)
        except NotFound:
            return {}

    def _waiting(self, month: Month, data: Mapping[str, Any], merged: set[int]) -> Iterator[str]:
        """The hot files that no manifest names, no merged file holds, and nobody is to delete."""
        known = {file for _, file in _files(data)}
        for name in ("pending_deletions", "processed_keys"):
            listed = data.get(name)
            if isinstance(listed, list):
                known |= {str(key) for key in listed}
        for entry in self.store.list(self.paths.hot_month(month)):
            slot = self.paths.as_any_hot_key(entry.key)
            if slot is not None and entry.key not in known and slot.index not in merged:
                yield entry.key

    def _read(self, month: Month, file: str) -> pl.DataFrame:
        try:
            key = self.paths.file_key(month, file)
            rows = _decoded(self.store.get(key).data, key, self.key)
        except InvalidKeyError as error:
            raise ConversionError(
                f"{self.paths.manifest_key(month)} names a file that cannot be its own: {error}"
            ) from error
        except NotFound as error:
            raise CorruptFileError(
                f"{file} is named by {self.paths.manifest_key(month)}, but is not there; bring it "
                "back, or take it out of the manifest",
                key=file,
            ) from error

        start, end = month.start, month.end
        slot = self.paths.as_any_hot_key(key)
        if WarmName.parse(file) is None and slot is not None:
            start, end = slot.start, Slot.of(slot.start, self.paths.minutes).end
        return _in_range(rows, instant(start), instant(end), key)

    def _live_slots(self, rows: pl.DataFrame) -> set[int]:
        """The slots in which live rows lie, counted in minutes as `as_any_hot_key` counts them."""
        minutes = self.paths.minutes
        times = rows.filter(~pl.col(CEASED))[TIME].dt.truncate(f"{minutes}m").unique()
        return {Slot.of(time, 1).index for time in times}


def last_rows(rows: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """The last row of every key, tombstones included."""
    return rows.sort(TIME, maintain_order=True).unique(list(key), keep="last", maintain_order=True)


def _declared(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The primary key in a manifest."""
    if "format_version" in data:
        raise ConversionError(
            f"{key} is of today's layout, not of the original one; open the archive with the "
            "provider that wrote it"
        )
    columns = data.get("pk_columns")
    if not isinstance(columns, list) or not columns:
        raise ConversionError(f"{key} does not say what the primary key is (pk_columns)")
    return tuple(map(str, columns))


def _files(data: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Level and name of the files a manifest lists, in order of adoption."""
    levels = data.get("levels") or {}
    files = []
    try:
        for level in sorted(levels, key=int, reverse=True):
            files += [(int(level), str(entry["file"])) for entry in levels[level]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConversionError(f"the levels of a manifest cannot be read: {error!r}") from error
    return files


def _decoded(data: bytes, key: str, columns: tuple[str, ...]) -> pl.DataFrame:
    """The rows of a file, its key columns as text, its times in UTC."""
    try:
        foreign = METADATA_KEY in pl.read_parquet_metadata(io.BytesIO(data))
        rows = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFileError(
            f"{key} cannot be read as a Parquet file: {error}", key=key
        ) from error
    if foreign:
        raise ConversionError(
            f"{key} was written by TITANS: this archive is not (only) of the original layout"
        )

    absent = [name for name in (*columns, TIME) if name not in rows.columns]
    if absent:
        raise CorruptFileError(f"{key} has no column {', '.join(absent)}", key=key)
    time = rows[TIME]
    if not isinstance(time.dtype, pl.Datetime) or time.null_count():
        raise CorruptFileError(
            f"{key}: column {TIME!r} has dtype {time.dtype} and {time.null_count()} null(s); it "
            "must hold a time in every row",
            key=key,
        )

    if time.dtype.time_zone is None:
        time = time.dt.replace_time_zone("UTC")
    ceased = pl.lit(value=False)
    if CEASED in rows.columns:
        ceased = pl.col(CEASED).cast(pl.Boolean).fill_null(value=False)
    return rows.with_columns(
        time.dt.convert_time_zone("UTC").cast(_UTC),
        ceased.alias(CEASED),
        pl.col(columns).cast(pl.String),
    )


def _in_range(rows: pl.DataFrame, start: pl.Expr, end: pl.Expr, key: str) -> pl.DataFrame:
    """`rows` with the times of stale tombstones set to `start`."""
    outside = ~pl.col(TIME).is_between(start, end, closed="left")
    strays = rows.filter(outside & ~pl.col(CEASED))
    if strays.height:
        raise ConversionError(
            f"{key} has {strays.height} live row(s) that are not of its time; the first is of "
            f"{iso(strays[TIME][0])}"
        )
    return rows.with_columns(
        pl.when(outside & pl.col(CEASED)).then(start).otherwise(TIME).alias(TIME)
    )
