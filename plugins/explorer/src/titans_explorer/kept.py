"""Answers that are kept for the next question, least recently used ones go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

import polars as pl

__all__ = ["Kept"]

_SMALL = 20_000
"""What anything but a frame is taken for, in bytes."""


class Kept:
    """What was made for a question, by the question; at most so many bytes of it. Threads may share
    it; two that ask the same at once wait for one answer.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._answers: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._making: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def get(self, question: Hashable, make: Callable[[], Any]) -> Any:
        """The answer, made now where it is not kept."""
        with self._lock:
            if question in self._answers:
                self._answers.move_to_end(question)
                return self._answers[question][0]
            making = self._making.setdefault(question, Lock())

        with making:
            with self._lock:
                if question in self._answers:
                    return self._answers[question][0]
            try:
                answer = make()
            finally:
                with self._lock:
                    self._making.pop(question, None)
            with self._lock:
                self._keep(question, answer)
        return answer

    def _keep(self, question: Hashable, answer: Any) -> None:
        size = _size(answer)
        if size > self.limit:
            return
        self._answers[question] = (answer, size)
        self.bytes += size
        while self.bytes > self.limit:
            _, (_, gone) = self._answers.popitem(last=False)
            self.bytes -= gone

    def __len__(self) -> int:
        return len(self._answers)


def _size(answer: Any) -> int:
    if isinstance(answer, tuple):
        return sum(map(_size, answer))
    if isinstance(answer, pl.DataFrame):
        return int(answer.estimated_size()) + _SMALL
    return _SMALL
