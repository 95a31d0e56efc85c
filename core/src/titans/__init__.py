"""TITANS: the archive for change points of keyed, periodic snapshots.

Importing this package imports nothing else; every name below is loaded when it is first used.
"""

from __future__ import annotations

# type checkers take it for True; importing typing would cost more than this whole package
TYPE_CHECKING = False
if TYPE_CHECKING:
    from titans.archive import Archive as Archive
    from titans.archive import IngestResult as IngestResult
    from titans.archive import open as open
    from titans.backfilling import backfill as backfill
    from titans.conversion import convert as convert
    from titans.errors import ConcurrencyConflictError as ConcurrencyConflictError
    from titans.errors import TitansError as TitansError
    from titans.expectations import Expectations as Expectations
    from titans.facade import get_config as get_config
    from titans.facade import prepare_for_upload as prepare_for_upload
    from titans.facade import run_compaction as run_compaction
    from titans.facade import upload_hot_tier as upload_hot_tier
    from titans.holdings.catalog import catalog as catalog
    from titans.hookspecs import hookimpl as hookimpl
    from titans.ingestion import ingest_files as ingest_files
    from titans.layout import PathLayout as PathLayout
    from titans.provider import Provider as Provider
    from titans.read.tasks import ReadTask as ReadTask
    from titans.schema import Schema as Schema

    __version__: str

_HOME = {
    "Archive": "archive",
    "ConcurrencyConflictError": "errors",
    "Expectations": "expectations",
    "IngestResult": "archive",
    "PathLayout": "layout",
    "Provider": "provider",
    "ReadTask": "read.tasks",
    "Schema": "schema",
    "TitansError": "errors",
    "backfill": "backfilling",
    "catalog": "holdings.catalog",
    "convert": "conversion",
    "get_config": "facade",
    "hookimpl": "hookspecs",
    "ingest_files": "ingestion",
    "open": "archive",
    "prepare_for_upload": "facade",
    "run_compaction": "facade",
    "upload_hot_tier": "facade",
}

__all__ = [
    "Archive",
    "ConcurrencyConflictError",
    "Expectations",
    "IngestResult",
    "PathLayout",
    "Provider",
    "ReadTask",
    "Schema",
    "TitansError",
    "backfill",
    "catalog",
    "convert",
    "get_config",
    "hookimpl",
    "ingest_files",
    "open",
    "prepare_for_upload",
    "run_compaction",
    "upload_hot_tier",
]


if not TYPE_CHECKING:  # for them, a name that is not imported above does not exist

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("titans-core")
        if name not in _HOME:
            raise AttributeError(f"module 'titans' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"titans.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
