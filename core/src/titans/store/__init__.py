"""Places that keep bytes: a folder, S3, memory, or any object that has the methods of
`ObjectStore`.
"""

from __future__ import annotations

from titans.store._open import open_store
from titans.store._protocol import (
    Blob,
    Entry,
    ObjectStore,
    Page,
    check_key,
    check_prefix,
    create_file,
    get_again,
    list_pages,
)

__all__ = [
    "Blob",
    "Entry",
    "ObjectStore",
    "Page",
    "check_key",
    "check_prefix",
    "create_file",
    "get_again",
    "list_pages",
    "open_store",
]
