"""What a collector calls: four functions, the same names and signatures as ever."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from titans.slots import to_utc

if TYPE_CHECKING:
    from titans.archive import Archive
    from titans.provider import Provider
    from titans.store import ObjectStore

__all__ = ["get_config", "prepare_for_upload", "run_compaction", "upload_hot_tier"]

log = logging.getLogger("titans")


def get_config(provider: str) -> Provider:
    """The installed provider of this name.

    Raises:
        UnknownProviderError: none; the message names the installed ones and the package to install.
            A `ValueError`.
        PluginError: its package is broken; the message says how.
    """
    from titans.plugins import load

    return load(provider)


def prepare_for_upload(
    changed_df: Any,
    removed_df: Any,
    value_columns: Sequence[str] | None = None,
    pk_columns: Sequence[str] | None = None,
) -> Any:
    """Changed rows and removed rows as one frame, with `Ceased` false and true; columns aligned,
    rows in their order.

    Args:
        changed_df, removed_df: pandas or polars frames (or `None`); the result is of the same
            library.
        value_columns: in these, -1 becomes null, and a changed row left with nothing observed is
            dropped and counted.
        pk_columns: with these, a changed row beats a removed one of the same key and `Time`.
    """
    from titans.changes.prepare import prepare

    return prepare(changed_df, removed_df, value_columns, pk_columns)


def upload_hot_tier(
    changed_df: Any,
    timestamp: datetime,
    provider: str = "aws",
    s3_client: Any = None,
    *,
    store: ObjectStore | str | Path | None = None,
    record_empty: bool = False,
) -> str:
    """Store the change points of one collection as the hot file of its slot; returns the key, `""`
    for an empty frame that is not recorded.

    Args:
        changed_df: what `prepare_for_upload` returns; pandas, polars or Arrow.
        timestamp: when they were collected; timezone-aware. 14:23 → `…/14-20.parquet`, with slots
            of 10 minutes.
        provider: name of an installed provider.
        s3_client: a boto3 client; the bucket is `TITANS_BUCKET`, by default `titans-spotlake-data`.
        store: where else: a URL, a folder, or an `ObjectStore`.
        record_empty: for an empty frame, store that somebody looked and nothing had changed: a
            file without rows, whose key is returned. `Archive.coverage` calls the slot `empty`.

    Uploading the same rows again is a success. Other rows for the same slot are not stored: the
    first file stays, its key is returned, and a warning is logged.

    Raises:
        TimestampError: `timestamp` is naive, or a changed row's `Time` lies outside its slot. A
            `ValueError`.
        SchemaError: a key column is missing or null, or a value cannot be cast. A `ValueError`.
        ProviderMismatchError: the archive has another key or slot length, or a newer schema than
            the installed provider.
    """
    return _upload(changed_df, timestamp, _Target(provider, s3_client, store), record_empty)


def run_compaction(
    hot_s3_key: str,
    timestamp: datetime,
    provider: str = "aws",
    timeout_seconds: float = 30.0,
    s3_client: Any = None,
    *,
    store: ObjectStore | str | Path | None = None,
) -> None:
    """Adopt every hot file of the month of `hot_s3_key` (and what is left of the one before), and
    merge what is due.

    No call pays for all that may be due: after a second no further merge is started, the next call
    goes on.

    Args:
        hot_s3_key: what `upload_hot_tier` returned.
        timestamp: of the collection; timezone-aware. The month is that of the key.
        timeout_seconds: a compaction that took longer is logged as a warning; nothing is cut off.
        provider, s3_client, store: as for `upload_hot_tier`.

    Raises:
        InvalidKeyError: the key is not a hot key of this provider. A `ValueError`.
        ConcurrencyConflictError: other writers won every race. Nothing is lost: the next run adopts
            what was uploaded.
    """
    _compact(hot_s3_key, timestamp, timeout_seconds, _Target(provider, s3_client, store))


@frozen
class _Target:
    """The archive that a collector means. `titans_common` has another default place."""

    provider: str
    s3_client: Any
    store: ObjectStore | str | Path | None
    default_bucket: bool = False

    def open(self) -> Archive:
        from titans.archive import Archive
        from titans.where import resolve_store

        provider = get_config(self.provider)
        store = resolve_store(
            self.store, s3_client=self.s3_client, default_bucket=self.default_bucket
        )
        return Archive(store, provider)


def _upload(frame: Any, timestamp: datetime, target: _Target, record_empty: bool) -> str:
    collected = to_utc(timestamp)
    if not hasattr(frame, "__len__"):
        from titans.changes.frames import to_polars

        frame = to_polars(frame)  # what comes in parts is read once
    if len(frame):
        return target.open().upload(frame, collected)
    return target.open().upload(frame, collected, complete=True) if record_empty else ""


def _compact(key: str, timestamp: datetime, timeout: float, target: _Target) -> None:
    from titans.tiers.compact.budget import SLOT_SECONDS

    # The month is that of the key; a naive time is refused all the same.
    to_utc(timestamp)

    compaction = target.open().compact(key, budget_seconds=SLOT_SECONDS)
    if compaction.seconds > timeout:
        log.warning(
            "compaction of provider %s took %.1f s, more than %.1f s",
            target.provider,
            compaction.seconds,
            timeout,
            extra={
                "provider": target.provider,
                "key": key,
                "ms": round(compaction.seconds * 1000),
            },
        )
