"""What a store holds: the archives in it, and what there is to know of each."""

from __future__ import annotations

from titans.holdings.catalog import ArchiveFacts, Catalog, ColumnFacts, catalog

__all__ = ["ArchiveFacts", "Catalog", "ColumnFacts", "catalog"]
