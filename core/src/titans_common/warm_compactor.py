"""`run_compaction` as deployed collectors expect it: on S3 unless told otherwise."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from titans.errors import ConcurrencyConflictError
from titans.facade import _compact, _Target
from titans.layout import FANOUT as DEFAULT_M
from titans.store import ObjectStore

__all__ = ["DEFAULT_M", "ConcurrencyConflictError", "run_compaction"]


def run_compaction(
    hot_s3_key: str,
    timestamp: datetime,
    provider: str = "aws",
    timeout_seconds: float = 30.0,
    s3_client: Any = None,
    *,
    store: ObjectStore | str | Path | None = None,
) -> None:
    """As `titans.run_compaction`; without a store, a client or `TITANS_STORE` it uses S3 and
    `TITANS_BUCKET`.
    """
    target = _Target(provider, s3_client, store, default_bucket=True)
    _compact(hot_s3_key, timestamp, timeout_seconds, target)
