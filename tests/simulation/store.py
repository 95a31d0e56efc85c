"""An object store as it is on a bad day. Every call is a step, and may go wrong in every way the
protocol allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from attrs import define, field, frozen

from simulation.scheduler import Crash, Process, Scheduler, Stuck
from titans.errors import (
    AlreadyExists,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    StoreError,
    Unavailable,
)
from titans.store import Blob, Entry
from titans.store.memory import MemoryStore

__all__ = ["DAMAGES", "FAULTS", "Disk", "Objects", "SimulatedStore"]

T = TypeVar("T")

FAULTS = {
    "crash before": "the process dies, the request was never sent",
    "crash in flight": "the process dies, its write happens later",
    "crash after": "the write happens, the process dies before it knows",
    "throttled": "Unavailable, nothing happened",
    "lost answer": "the write happens, the caller hears OutcomeUnknown",
    "late landing": "OutcomeUnknown, and the write happens later if its condition then still holds",
    "never landed": "OutcomeUnknown, and nothing happens",
    "own conflict": "the write happens, and its repetition by the client library reports a conflict with it",
    "conflict 409": "a conflict is reported, though nothing stands in the way",
    "repeated": "the same request arrives once more, later",
    "slow": "others run on while the request, or its answer, is under way",
    "lagging list": "a list does not show what others created lately",
}
"""What can go wrong, apart from races, which need no help."""

DAMAGES = {
    "lost manifest": "a manifest is removed",
    "rolled-back manifest": "an earlier version of a manifest is put back",
    "damaged manifest": "a manifest is cut short, or nonsense",
    "foreign object": "something else lies under the name of a hot file",
}
"""What others can do to an archive; a job, not a fault of the store."""

_READ = ("crash before", "throttled", "slow")
_DELETE = (
    *_READ,
    "crash in flight",
    "crash after",
    "lost answer",
    "late landing",
    "never landed",
    "repeated",
)
_WRITE = (*_DELETE, "own conflict", "conflict 409")
_PAGE = 3
_PATIENCE = 5_000
_RECENT = 80
"""Steps during which a list may lag."""


class Objects(MemoryStore):
    """Everything that is stored, with a limit to how often it may be asked, so that every run
    ends."""

    asked = 0

    def get(self, key: str) -> Blob:
        self.asked += 1
        if self.asked > _PATIENCE:
            raise Stuck(f"objects were read {_PATIENCE} times, and there is no end to it")
        return super().get(key)


@frozen
class _Later:
    due: int
    request: Callable[[], object]
    what: str


@define
class Disk:
    """The truth that all processes share."""

    scheduler: Scheduler
    random: Random
    rates: dict[str, float]
    """Fault → how often it comes."""
    objects: Objects = field(init=False)
    creators: dict[str, tuple[str, int]] = field(factory=dict)
    """Key → who created it, and at which step."""
    fired: Counter[str] = field(factory=Counter)
    changes: int = 0
    """How often anything was written or deleted."""
    history: dict[str, list[bytes]] = field(factory=dict)
    """Manifest → every version of it that ever was."""
    _later: list[_Later] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.objects = Objects("simulated", clock=lambda: self.scheduler.now)

    def apply(self, who: str, verb: str, key: str, *arguments: Any) -> object:
        """A request takes effect."""
        result = getattr(self.objects, verb)(key, *arguments)
        if verb == "create":
            self.creators[key] = (who, self.scheduler.steps)
        if verb != "delete" and key.endswith("/manifest.json"):
            self.history.setdefault(key, []).append(arguments[0])
        self.changes += 1
        return result

    def put(self, key: str, data: bytes | None) -> None:
        """Somebody else, with other tools, writes over an object or removes it (`None`)."""
        self.objects.delete(key)
        if data is not None:
            self.objects.create(key, data)
            self.creators.setdefault(key, ("somebody else", self.scheduler.steps))
        self.changes += 1

    def later(self, request: Callable[[], object], what: str) -> None:
        due = self.scheduler.steps + self.random.choice([2, 10, 40, 200, 1000])
        self._later.append(_Later(due, request, what))

    def land(self, *, all: bool = False) -> None:
        """Requests that were under way arrive, those that are due or `all`."""
        for late in [late for late in self._later if all or late.due <= self.scheduler.steps]:
            self._later.remove(late)
            try:
                late.request()
            except StoreError as error:
                self.scheduler.say("(late)", f"{late.what} → {type(error).__name__}")
            else:
                self.scheduler.say("(late)", f"{late.what} → done")


class SimulatedStore:
    """The store as one process sees it. An `ObjectStore`."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self.url = "simulated://"
        self._disk, self._process = disk, process
        self._random, self._say = disk.random, disk.scheduler.say

    def get(self, key: str) -> Blob:
        return self._read("get", key, lambda: self._disk.objects.get(key))

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return self._read("get_range", key, lambda: self._disk.objects.get_range(key, start, end))

    def head(self, key: str) -> Entry:
        return self._read("head", key, lambda: self._disk.objects.head(key))

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        while True:
            page = self._read("list", prefix, lambda after=start_after: self._page(prefix, after))
            yield from (entry for entry in page if not self._lags(entry.key))
            if len(page) < _PAGE:
                return
            start_after = page[-1].key

    def create(self, key: str, data: bytes) -> str:
        return str(self._write("create", key, AlreadyExists, data))

    def replace(self, key: str, data: bytes, etag: str) -> str:
        return str(self._write("replace", key, PreconditionFailed, data, etag))

    def delete(self, key: str) -> None:
        self._write("delete", key, PreconditionFailed)

    parallel = False

    def local_path(self, key: str) -> Path | None:
        return None

    # --- inside -----------------------------------------------------------------------------------

    def _read(self, verb: str, key: str, read: Callable[[], T]) -> T:
        self._process.step()
        what = f"{verb} {_short(key)}"
        fault = self._fault(_READ)
        if fault == "crash before":
            self._crash(what, fault)
        if fault == "throttled":
            self._say(self._process.name, f"{what} → {fault}")
            raise Unavailable(f"{what}: throttled")
        if fault == "slow":
            self._wait()
        try:
            found = read()
        except NotFound:
            self._say(self._process.name, f"{what} → NotFound")
            raise
        self._say(self._process.name, what if fault is None else f"{what} → {fault}")
        if fault == "slow":
            self._wait()
        return found

    def _write(self, verb: str, key: str, conflict: type[StoreError], *arguments: object) -> object:
        disk, name, what = self._disk, self._process.name, f"{verb} {_short(key)}"
        self._process.step()

        def request() -> object:
            return disk.apply(name, verb, key, *arguments)

        fault = self._fault(_DELETE if verb == "delete" else _WRITE)
        if fault == "slow":
            self._wait()
        if fault in ("crash in flight", "late landing"):
            disk.later(request, f"{what} of {name}")
        if fault in ("crash before", "crash in flight"):
            self._crash(what, fault)
        if fault in ("throttled", "late landing", "never landed", "conflict 409"):
            self._say(name, f"{what} → {fault}")
            if fault == "throttled":
                raise Unavailable(f"{what}: throttled")
            raise (conflict if fault == "conflict 409" else self._unclear(verb))(f"{what}: {fault}")
        try:
            result = request()
        except StoreError as error:
            self._say(name, f"{what} → {type(error).__name__}{f', {fault}' if fault else ''}")
            disk.fired[f"lost race ({type(error).__name__})"] += 1
            if fault == "lost answer":
                raise OutcomeUnknown(f"{what}: the answer got lost") from None
            if fault == "crash after":
                raise Crash from None
            raise
        self._say(name, what if fault is None else f"{what} → {fault}")
        if fault == "slow":
            self._wait()
        if fault == "repeated":
            disk.later(request, f"{what} of {name}, repeated,")
        if fault == "crash after":
            raise Crash
        if fault == "lost answer":
            raise self._unclear(verb)(f"{what}: the answer got lost")
        if fault == "own conflict":
            raise conflict(f"{what}: the repetition met its own success")
        return result

    def _fault(self, possible: tuple[str, ...]) -> str | None:
        at = self._random.random()
        for name in possible:
            at -= self._disk.rates.get(name, 0.0)
            if at < 0:
                self._disk.fired[name] += 1
                return name
        return None

    def _unclear(self, verb: str) -> type[StoreError]:
        """Deletes may be repeated, so a store need not tell whether one has happened."""
        return (
            self._random.choice([OutcomeUnknown, Unavailable])
            if verb == "delete"
            else OutcomeUnknown
        )

    def _crash(self, what: str, how: str) -> None:
        self._say(self._process.name, f"{what} → {how}")
        raise Crash

    def _wait(self) -> None:
        for _ in range(self._random.choice([1, 3, 8, 25, 150])):
            self._process.step()

    def _page(self, prefix: str, start_after: str) -> list[Entry]:
        found = self._disk.objects.list(prefix, start_after)
        return [entry for entry, _ in zip(found, range(_PAGE), strict=False)]

    def _lags(self, key: str) -> bool:
        who, when = self._disk.creators[key]
        if who == self._process.name or self._disk.scheduler.steps - when > _RECENT:
            return False
        if self._random.random() >= self._disk.rates.get("lagging list", 0.0):
            return False
        self._disk.fired["lagging list"] += 1
        self._say(self._process.name, f"list → lagging list: {_short(key)} is not shown")
        return True


def _short(key: str) -> str:
    return (
        key.replace("parquet_cp_hot/small/", "hot/")
        .replace("parquet_warm/small/m8/", "warm/")
        .replace(".parquet", "")
    )
