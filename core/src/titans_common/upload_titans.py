"""`upload_hot_tier` as deployed collectors expect it: to S3 unless told otherwise."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from titans.facade import _Target, _upload
from titans.store import ObjectStore

__all__ = ["upload_hot_tier"]


def upload_hot_tier(
    changed_df: Any,
    timestamp: datetime,
    provider: str = "aws",
    s3_client: Any = None,
    *,
    store: ObjectStore | str | Path | None = None,
    record_empty: bool = False,
) -> str:
    """As `titans.upload_hot_tier`; without a store, a client or `TITANS_STORE` it uses S3 and
    `TITANS_BUCKET`.
    """
    target = _Target(provider, s3_client, store, default_bucket=True)
    return _upload(changed_df, timestamp, target, record_empty)
