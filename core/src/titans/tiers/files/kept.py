"""What was fetched of files in stores elsewhere, kept for the next question.

Merged files, keyframes and borders never change under their names, and no name is used twice: what
is kept of one stays true. Hot files are not kept.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from attrs import define, field

__all__ = ["KEPT", "Kept"]

_BYTES = 64 << 20


@define(eq=False)
class Kept:
    """Bytes by name, at most `limit` of them: those that were used longest ago go first. Safe in
    threads; a fork begins with none.
    """

    limit: int
    _found: OrderedDict[Hashable, bytes] = field(factory=OrderedDict, init=False)
    _size: int = field(default=0, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    def __contains__(self, name: Hashable) -> bool:
        return name in self._found

    def get(self, name: Hashable, fetch: Callable[[], bytes]) -> bytes:
        """What is kept under a name, or else what `fetch` gives, which is kept from now on.

        Threads that want the same at once may each fetch it.
        """
        with self._lock:
            data = self._found.get(name)
            if data is not None:
                self._found.move_to_end(name)
                return data

        data = fetch()
        if len(data) <= self.limit // 4:
            with self._lock:
                self._keep(name, data)
        return data

    def _keep(self, name: Hashable, data: bytes) -> None:
        self._size += len(data) - len(self._found.pop(name, b""))
        self._found[name] = data
        while self._size > self.limit:
            _, oldest = self._found.popitem(last=False)
            self._size -= len(oldest)

    def clear(self) -> None:
        """Keep nothing any more."""
        self._lock = Lock()
        self._found = OrderedDict()
        self._size = 0


KEPT = Kept(_BYTES)
"""Of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=KEPT.clear)
