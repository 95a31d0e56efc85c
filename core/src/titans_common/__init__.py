"""Drop-in names for collectors written against the original `titans_common`. New code imports from
`titans`.

The one difference to `titans`: where no store is named, these use S3 and the bucket `TITANS_BUCKET`
(default `titans-spotlake-data`).
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in titans/__init__.py
if TYPE_CHECKING:
    from titans_common.config import get_config as get_config
    from titans_common.upload_titans import upload_hot_tier as upload_hot_tier
    from titans_common.utils import prepare_for_upload as prepare_for_upload
    from titans_common.warm_compactor import ConcurrencyConflictError as ConcurrencyConflictError
    from titans_common.warm_compactor import run_compaction as run_compaction

_HOME = {
    "ConcurrencyConflictError": "warm_compactor",
    "get_config": "config",
    "prepare_for_upload": "utils",
    "run_compaction": "warm_compactor",
    "upload_hot_tier": "upload_titans",
}

__all__ = [
    "ConcurrencyConflictError",
    "get_config",
    "prepare_for_upload",
    "run_compaction",
    "upload_hot_tier",
]


if not TYPE_CHECKING:  # for them, a name that is not imported above does not exist

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'titans_common' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"titans_common.{_HOME[name]}"), name)
