"""What other processes do with the archive that a test sends them."""

from __future__ import annotations

from oracle import at, snapshot

from titans import Archive


def latest(archive: Archive) -> list[tuple]:
    return archive.latest().rows()


def ingest(archive: Archive, slot: int) -> str:
    return archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot)).status
