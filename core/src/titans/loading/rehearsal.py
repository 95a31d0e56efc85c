"""An archive in which one can try what would happen: what is written stays in memory."""

from __future__ import annotations

from attrs import define

from titans.archive import Archive
from titans.store._overlay import Overlay

__all__ = ["rehearsal"]


def rehearsal(archive: Archive) -> Archive:
    """An archive with the same content. Nothing of what is done to it reaches the store, nor the
    plugins and observers. What it writes is held in memory.
    """
    return _Rehearsal(Overlay(archive.store), archive.provider, wait=archive.wait)


@define(eq=False, repr=False)
class _Rehearsal(Archive):
    def _event(self, name: str, **fields: object) -> None:
        """Nobody hears of what did not happen."""
