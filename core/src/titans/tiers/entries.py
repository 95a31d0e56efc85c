"""A file that a manifest names, as it was written and as today's schema means it."""

from __future__ import annotations

import polars as pl
from attrs import frozen

from titans.changes.digest import digest
from titans.errors import CorruptFileError
from titans.layout import Paths
from titans.provider import Provider
from titans.slots import Slot
from titans.store import ObjectStore
from titans.tiers.files import read_file
from titans.tiers.info import FileInfo
from titans.tiers.manifest import FileEntry, Keyframe, Manifest

__all__ = ["Input", "read_input", "read_keyframe", "versions_cast"]


@frozen
class Input:
    """A file that is to be merged."""

    rows: pl.DataFrame
    """In today's columns."""
    info: FileInfo
    hash: str
    """What the rows must have for content hash, in today's columns, if they are what the manifest says."""


def read_input(store: ObjectStore, paths: Paths, provider: Provider, manifest: Manifest, entry: FileEntry) -> Input:
    """The rows of an entry. Those of an earlier schema version are checked here: cast, they have another hash.

    Raises:
        NotFound
        CorruptFileError: it cannot be read, or is of an earlier version and does not hold what the manifest says.
        ProviderMismatchError: a value does not fit today's schema.
    """
    key, slot = paths.file_key(manifest.month, entry.file), Slot(manifest.month, entry.first, paths.minutes)
    schema = manifest.schema(entry.schema_version)
    rows, info = read_file(store, key, provider.as_of(schema), slot, hot=entry.is_hot)
    if schema is None:
        return Input(rows, info, entry.hash)
    if digest(rows) != entry.hash:
        raise CorruptFileError(f"{key} does not hold the rows it was written with; nothing was merged")
    rows = provider.evolution(schema, key).apply(rows, provider.key)
    return Input(rows, info, digest(rows))


def versions_cast(provider: Provider, entries: tuple[FileEntry, ...]) -> tuple[int, ...]:
    """The earlier schema versions whose rows are among those of `entries`."""
    found = {version for entry in entries for version in (*entry.cast_from, entry.schema_version)}
    return tuple(sorted(found - {provider.schema.version}))


def read_keyframe(
    store: ObjectStore, paths: Paths, provider: Provider, manifest: Manifest, keyframe: Keyframe
) -> pl.DataFrame:
    """The rows of a keyframe in today's columns. Raises as `read_input`."""
    key, schema = paths.file_key(manifest.month, keyframe.file), manifest.schema(keyframe.schema_version)
    slot = Slot(manifest.month, keyframe.slot, paths.minutes)
    rows, _ = read_file(store, key, provider.as_of(schema), slot, hot=False)
    return rows if schema is None else provider.evolution(schema, key).apply(rows, provider.key)
