"""Calling observers where they cannot hold up the work: each in a thread of its own, with a limit
to the waiting.

`tell` returns when the observer is done with the event, so that what it does is in order and done.
One that needs longer than `PATIENCE` is not waited for again until it has caught up; its events
wait for it in a queue of `BACKLOG`, and those for which there is no room are dropped and counted.
Nobody waits at the end of the process for longer than `PATIENCE`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue

from attrs import field, frozen

from titans.event import Event

__all__ = ["BACKLOG", "PATIENCE", "Observer", "call"]

PATIENCE = 2.0
"""Seconds that an observer may hold up the work, once."""
BACKLOG = 1000
"""Events that wait for a slow observer."""

log = logging.getLogger("titans.events")


@frozen(eq=False)
class _Job:
    """An event that is told."""

    event: Event
    context: Context = field(factory=copy_context)
    open: threading.Lock = field(factory=threading.Lock)
    """Held until the observer is done with it."""


def call(who: str, hook: Callable[..., object], event: Event) -> None:
    """Tell one listener of an event; what it raises is logged."""
    try:
        hook(event=event)
    except (Exception, SystemExit):
        log.exception("%s failed on event %s; the work goes on", who, event.name)


class Observer:
    """An observer that has been loaded, and its thread.

    Args:
        who: what the log calls it.
        hook: its `titans_event`.

    Raises:
        RuntimeError: no thread can be started (the interpreter is shutting down).
    """

    def __init__(self, who: str, hook: Callable[..., object]) -> None:
        self.who = who
        self._hook = hook
        # A queue in C, and locks: those of the standard library in Python stay taken for ever if a
        # signal's exception comes at the wrong moment.
        self._jobs = SimpleQueue[_Job | None]()
        self._unheard: set[_Job] = set()
        self._late = False
        self._dropped = 0
        self._thread = threading.Thread(target=self._work, name=who, daemon=True)
        self._thread.start()

    def tell(self, event: Event) -> None:
        """Have it hear `event`, and wait for that, but not for long."""
        if self._jobs.qsize() >= BACKLOG:
            self._dropped += 1
            return
        job = _Job(event)
        job.open.acquire()
        self._unheard.add(job)
        self._jobs.put(job)

        # An observer whose own work causes events would wait for itself.
        if self._late or threading.current_thread() is self._thread:
            return
        if job.open.acquire(timeout=PATIENCE):
            return

        self._late = True
        log.warning(
            "%s has not returned from event %s after %.1f s; the work no longer waits for it",
            self.who,
            event.name,
            PATIENCE,
        )

    def settle(self, deadline: float) -> None:
        """Wait until it has heard everything, or `time.monotonic()` is `deadline`."""
        while self._unheard and time.monotonic() < deadline:
            time.sleep(0.01)

        left = len(self._unheard)
        if left:
            log.warning(
                "%s has not heard the last %d event(s); the process ends without waiting for it",
                self.who,
                left,
            )

    def stop(self) -> None:
        """Let the thread end after what it has to do. To be called once, after the last `tell`."""
        if self._jobs.qsize() >= BACKLOG:
            log.warning("%s is so far behind that it is left alone", self.who)
        else:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.context.run(call, self.who, self._hook, job.event)
            except BaseException:  # whatever it is, it must not end the thread
                log.exception("%s failed on event %s; the work goes on", self.who, job.event.name)
            finally:
                self._unheard.discard(job)
                job.open.release()

            if self._late and self._jobs.empty():
                dropped = self._dropped
                self._dropped = 0
                self._late = False
                log.warning("%s has caught up; %d event(s) were dropped", self.who, dropped)
