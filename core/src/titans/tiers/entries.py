"""A file that a manifest names, as it was written and as today's schema means it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from titans.layout import Paths
from titans.provider import Provider
from titans.slots import Slot
from titans.store import ObjectStore
from titans.tiers.files import read_file
from titans.tiers.manifest import FileEntry, Keyframe, Manifest

__all__ = ["read_keyframe", "versions_cast"]


def versions_cast(provider: Provider, entries: Sequence[FileEntry]) -> tuple[int, ...]:
    """The earlier schema versions whose rows are among those of `entries`."""
    found = {version for entry in entries for version in (*entry.cast_from, entry.schema_version)}
    return tuple(sorted(found - {provider.schema.version}))


def read_keyframe(
    store: ObjectStore, paths: Paths, provider: Provider, manifest: Manifest, keyframe: Keyframe
) -> pl.DataFrame:
    """The rows of a keyframe in today's columns. Raises `NotFound`, `CorruptFileError`,
    `ProviderMismatchError`.
    """
    key, schema = (
        paths.file_key(manifest.month, keyframe.file),
        manifest.schema(keyframe.schema_version),
    )
    slot = Slot(manifest.month, keyframe.slot, paths.minutes)
    rows, _ = read_file(store, key, provider.as_of(schema), slot, hot=False)
    return rows if schema is None else provider.evolution(schema, key).apply(rows, provider.key)
