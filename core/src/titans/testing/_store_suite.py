"""What the checks of a store share: empty places to try, and words for what is wrong."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from inspect import getattr_static
from pathlib import Path
from threading import Barrier
from typing import Any, ClassVar

import pytest

from titans.store import ObjectStore, open_store
from titans.testing._suite import ConformanceError, Nonconformance, Suite, expect

__all__ = ["StoreSuite", "Stores", "done", "fill", "in_threads", "keys", "refused", "same"]

Stores = Callable[[], ObjectStore]

WORKERS = 8


class StoreSuite(Suite, kit=True):
    """Declare `url`, or override `make_stores` or the fixture `stores`."""

    url: ClassVar[str] = ""
    """Of a place that is empty: `{unique}` stands for a new name at every check, `{folder}` for an
    empty folder."""

    page: ClassVar[int] = 1000
    """How many objects the store lists with one request; the checks list one more."""

    max_examples: ClassVar[int] = 40
    """How many sequences of operations Hypothesis makes."""

    @classmethod
    def _undeclared(cls) -> Iterator[str]:
        if not cls.__name__.startswith("Test") or cls.url:
            return
        if not cls._overrides("make_stores") and not cls._overrides("stores"):
            yield (
                'it names no store; add url = "scheme://{unique}", or a method make_stores(self, '
                "tmp_path) that returns a "
                "function opening an empty store"
            )

    @classmethod
    def _overrides(cls, name: str) -> bool:
        return getattr_static(cls, name) is not vars(StoreSuite)[name]

    def make_stores(self, tmp_path: Path) -> Stores:
        """A function that opens one and the same place, empty at first, as another object at each
        call.
        """
        if not self.url:
            raise ConformanceError(f"{type(self).__qualname__} has no url and no make_stores")
        where = self.url.replace("{unique}", uuid.uuid4().hex).replace("{folder}", str(tmp_path))
        return lambda: open_store(where)

    @pytest.fixture
    def stores(self, tmp_path: Path) -> Stores:
        """What the checks use. Override it where a place needs other fixtures, such as a server."""
        return self.make_stores(tmp_path)

    def _fixture(self, name: str, folder: Path) -> Any:
        if name == "stores":
            return self.make_stores(folder)
        return super()._fixture(name, folder)


def keys(store: ObjectStore, prefix: str = "", start_after: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix, start_after)]


def fill(store: ObjectStore, names: Iterable[str]) -> None:
    for name in names:
        store.create(name, name.encode())


def same(actual: object, expected: object, what: str) -> None:
    __tracebackhide__ = True
    expect(actual == expected, f"{what} is {_short(actual)} instead of {_short(expected)}")


def done(call: Callable[..., Any], *arguments: Any) -> Any:
    """What the call returns; it has no reason to raise."""
    __tracebackhide__ = True
    try:
        return call(*arguments)
    except Exception as raised:
        raise Nonconformance(
            f"{_call_text(call, arguments)} raised {type(raised).__name__}: {raised}; it must "
            "succeed"
        ) from raised


def refused(
    error: type[Exception], call: Callable[..., Any], *arguments: Any, mention: str = ""
) -> None:
    """The call raises this error, and its message mentions what it is about."""
    __tracebackhide__ = True
    text = _call_text(call, arguments)
    try:
        result = call(*arguments)
    except error as raised:
        expect(
            mention in str(raised),
            f"{text}: the message {str(raised)!r} does not mention {mention!r}",
        )
    except Exception as raised:
        raise Nonconformance(
            f"{text} raised {type(raised).__name__}: {raised}, not {error.__name__}"
        ) from raised
    else:
        raise Nonconformance(f"{text} returned {_short(result)}; it must raise {error.__name__}")


def in_threads(work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns in each of eight threads that begin together and take turns as often as
    can be.
    """
    barrier = Barrier(WORKERS)
    interval = sys.getswitchinterval()

    def run(number: int) -> Any:
        barrier.wait(60)
        return work(number)

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(run, range(WORKERS)))
    finally:
        sys.setswitchinterval(interval)


def _call_text(call: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    name = getattr(call, "__name__", call)
    return f"{name}({', '.join(map(_short, arguments))})"


def _short(value: object) -> str:
    text = repr(value)
    if len(text) <= 200:
        return text
    return f"{text[:200]}… ({len(text)} characters)"
