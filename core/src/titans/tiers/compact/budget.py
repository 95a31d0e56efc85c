"""How much a compaction may take."""

from __future__ import annotations

import time

from attrs import frozen

from titans.errors import InputError

__all__ = ["MEMORY", "SLOT_SECONDS", "Budget"]

MEMORY = 192 << 20
"""Bytes that the rows of a merge may take, by default."""

SLOT_SECONDS = 1.0
"""After this a collector's call starts no further merge."""


@frozen
class Budget:
    """Bounds of one compaction: memory of a merge, and when to start no further one."""

    memory: int = MEMORY
    """Bytes for the rows of a merge."""
    until: float | None = None
    """By `time.monotonic`; `None`: until everything is done."""

    @classmethod
    def of(cls, seconds: float | None, memory: int) -> Budget:
        """From now on. Raises `InputError`."""
        if seconds is not None and not seconds >= 0:
            raise InputError(f"budget_seconds is a number of seconds or None, got {seconds!r}")
        if not isinstance(memory, int) or memory < 1 << 20:
            raise InputError(
                f"memory_limit is in bytes, at least 1 MiB (1048576), got {memory!r}; the default "
                f"is {MEMORY}"
            )
        return cls(memory, None if seconds is None else time.monotonic() + seconds)

    @property
    def spent(self) -> bool:
        """Whether no further merge should be started."""
        return self.until is not None and time.monotonic() >= self.until
