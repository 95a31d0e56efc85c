"""What other processes do with the archive that a test sends them."""

from __future__ import annotations

import os
import signal

from oracle import PROVIDER, at, snapshot

import titans
from titans import Archive


def latest(archive: Archive) -> list[tuple]:
    return archive.latest().rows()


def ingest(archive: Archive, slot: int) -> str:
    return archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot)).status


def backfill(table: str, store: str) -> None:
    titans.backfill(table, provider=PROVIDER, store=store, workers=1)


def die(task: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
