"""What the last verification found, kept beside the keyframes for whoever watches the archive."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from attrs import frozen

from titans.dataset import Dataset
from titans.errors import AlreadyExists, NotFound, PreconditionFailed
from titans.slots import iso, parse_iso
from titans.tiers.files.reading import flag, integer, mapping, text

__all__ = ["Verified", "keep_verified", "read_verified"]

_ATTEMPTS = 8


@frozen
class Verified:
    """A verification that is over."""

    at: datetime
    """By the clock of who ran it."""
    deep: bool
    passed: bool
    failures: int

    def to_json(self) -> dict[str, Any]:
        return {
            "at": iso(self.at),
            "deep": self.deep,
            "passed": self.passed,
            "failures": self.failures,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Verified:
        return cls(
            parse_iso(text(data, "at")),
            flag(data, "deep"),
            flag(data, "passed"),
            integer(data, "failures"),
        )


def keep_verified(dataset: Dataset, verified: Verified) -> None:
    """Keep what was found, in the place of what was found before.

    Raises:
        StoreError: the store does not take it.
    """
    store, key = dataset.store, dataset.paths.verified_key
    data = (json.dumps(verified.to_json()) + "\n").encode()
    for attempt in range(_ATTEMPTS):
        if attempt:
            dataset.wait(attempt - 1)
        try:
            store.replace(key, data, store.get(key).etag)
        except NotFound:
            pass
        except PreconditionFailed:
            continue
        else:
            return
        try:
            store.create(key, data)
        except AlreadyExists:
            continue
        return
    # Others have verified it just now, again and again.


def read_verified(dataset: Dataset) -> Verified | None:
    """What is kept; `None` where nothing is, or it cannot be read."""
    try:
        blob = dataset.store.get(dataset.paths.verified_key)
    except NotFound:
        return None
    try:
        return Verified.from_json(dict(mapping({"": json.loads(blob.data)}, "")))
    except (ValueError, KeyError, TypeError):
        return None
