"""Processes that take turns: each is a thread, but only the one that holds the baton runs, until it
hands it back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

__all__ = ["Crash", "Process", "Scheduler", "Stuck"]

PATIENCE = 120.0
"""Real seconds that a process may hold the baton: a guard against a hang, never reached by code
that works."""


class Crash(BaseException):
    """The process dies here. Not an `Exception`, so that no error handling goes on in a dead
    process."""


class Stuck(Exception):
    """A run does not end."""


class Process:
    """One life of a process. It starts with an empty memory; it ends, or it crashes."""

    def __init__(self, name: str, work: Callable[[Process], None]) -> None:
        self.name = name
        self.crashed = False
        self.error: BaseException | None = None
        self._work = work
        self._killed = self._started = self._ended = False
        self._go, self._back = (
            threading.Lock(),
            threading.Lock(),
        )  # each is open for whoever is to run next
        self._go.acquire()
        self._back.acquire()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def step(self) -> None:
        """The process lets others run. Raises `Crash` once it has been killed."""
        if not self._killed:
            self._back.release()
            self._go.acquire()
        if self._killed:
            raise Crash

    def turn(self) -> bool:
        """The scheduler lets the process run until its next step; `False` if it has ended
        instead."""
        if not self._started:
            self._started = True
            self._thread.start()
        self._go.release()
        if not self._back.acquire(timeout=PATIENCE):
            raise Stuck(f"{self.name} has held the baton for {PATIENCE:.0f} seconds")
        if self._ended:
            self._thread.join(PATIENCE)
        return not self._ended

    def kill(self) -> None:
        """End it: the step it stands at, and every one after that, raises `Crash`."""
        if self._started and not self._ended:
            self._killed = True
            self._go.release()
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._work(self)
        except Crash:
            self.crashed = True
        except BaseException as error:  # noqa: BLE001 - the scheduler raises it
            self.error = error
        self._ended = True
        self._back.release()


class Scheduler:
    """Chooses who runs next, keeps the clock, and writes down what happens."""

    def __init__(self, random: Random, *, jumps: float = 0.0, max_steps: int = 20_000) -> None:
        self.random = random
        self.now = datetime(2026, 2, 1, 12, tzinfo=UTC)
        self.steps = 0
        self.trace: list[str] = []
        self._jumps, self._max_steps = jumps, max_steps
        self._running: list[Process] = []
        self._waiting: list[tuple[int, Process]] = []

    def say(self, who: str, what: str) -> None:
        self.trace.append(f"{self.steps:5d}  {self.now:%d %H:%M:%S}  {who:14s}{what}")

    def start(self, name: str, work: Callable[[Process], None], *, after: int = 0) -> None:
        """A new process, which gets its first turn after so many steps, or when nobody else is
        there."""
        self._waiting.append((self.steps + after, Process(name, work)))

    def run(self, after_step: Callable[[], None], after_end: Callable[[Process], None]) -> None:
        """Until no process is left. Raises what a process raised; no thread survives it, whatever
        happens."""
        try:
            while self._running or self._waiting:
                self._admit()
                self._tick()
                process = self.random.choice(self._running)
                goes_on = process.turn()
                if not goes_on:
                    self._running.remove(process)
                    if process.error is not None:
                        raise process.error
                after_step()
                if not goes_on:
                    after_end(process)
        finally:
            for process in self._running:
                process.kill()

    def _admit(self) -> None:
        self._waiting.sort(key=lambda entry: entry[0])
        while self._waiting and (self._waiting[0][0] <= self.steps or not self._running):
            self._running.append(self._waiting.pop(0)[1])

    def _tick(self) -> None:
        self.steps += 1
        if self.steps > self._max_steps:
            raise Stuck(f"the run has not ended after {self._max_steps} steps")
        self.now += timedelta(milliseconds=self.random.randrange(1, 2000))
        if self.random.random() < self._jumps:
            hours = self.random.choice([0.3, 0.9, 1.1, 3.0])
            self.now += timedelta(hours=hours)
            self.say("clock", f"{hours} hours pass")
