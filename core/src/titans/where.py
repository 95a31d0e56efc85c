"""Where an archive lies when the caller does not say so in full."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from titans.provider import DEFAULT_BUCKET
from titans.store import ObjectStore, open_store

__all__ = ["LOCAL_DEFAULT", "bucket_store", "resolve_store"]

log = logging.getLogger("titans")

LOCAL_DEFAULT = "titans-data"
_told = False
"""Whether the log has said which folder is used for want of a store; once a process is enough.

One flag, never reset. Threads share it without a lock: two at once say it twice at worst. A forked
child goes on with the parent's.
"""


def resolve_store(
    store: ObjectStore | str | Path | None = None,
    *,
    s3_client: Any = None,
    default_bucket: bool = False,
) -> ObjectStore:
    """The store that is meant: `store`, else the bucket behind `s3_client`, else what
    `TITANS_STORE` names.

    With none of them: the bucket with `default_bucket`, otherwise the folder `./titans-data`, which
    is logged once.
    """
    if store is not None and s3_client is not None:
        return open_store(store, s3_client=s3_client)
    if store is not None:
        return open_store(store)
    if s3_client is not None:
        return bucket_store(s3_client)

    url = os.environ.get("TITANS_STORE")
    if url:
        return open_store(url)
    if default_bucket:
        return bucket_store()

    _tell_of_local_default()
    return open_store(Path(LOCAL_DEFAULT))


def _tell_of_local_default() -> None:
    global _told
    if _told:
        return
    _told = True
    log.warning(
        "no store given: using the folder %s; pass store=, or set TITANS_STORE to a folder, "
        "file:// or s3:// URL",
        Path(LOCAL_DEFAULT).absolute(),
    )


def bucket_store(s3_client: Any = None) -> ObjectStore:
    """The bucket that `TITANS_BUCKET` names."""
    bucket = os.environ.get("TITANS_BUCKET") or DEFAULT_BUCKET
    return open_store(f"s3://{bucket}", s3_client=s3_client)
