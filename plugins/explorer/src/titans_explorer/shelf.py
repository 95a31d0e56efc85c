"""The archives that one store holds, as the explorer needs them: one object a thread, the version
of the data, and what is kept of it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock, local
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import define, field, frozen

import titans
from titans import Archive
from titans.errors import (
    ArchiveNotFoundError,
    InputError,
    RetryableError,
    TitansError,
    UnknownProviderError,
)
from titans.holdings.places import Place, find_places, open_place
from titans.layout import PathLayout, Paths
from titans.redaction import redacted
from titans.results import MonthStatus
from titans.slots import Month
from titans.store import ObjectStore
from titans.where import resolve_store
from titans_explorer.kept import Kept
from titans_explorer.limits import Limits

__all__ = ["Shelf"]

log = logging.getLogger("titans.explorer")

_NEAR, _FAR = 2.0, 15.0
"""Seconds for which the version of a local or a remote archive is taken for granted."""


@frozen
class _Version:
    """Of what an archive holds."""

    whole: str
    months: Mapping[str, str]
    until: float
    """As long as the clock says less, it is not asked again."""

    @classmethod
    def of(cls, months: Sequence[MonthStatus], until: float) -> _Version:
        facts = {}
        for m in months:
            text = repr((str(m.month), m.version, m.waiting, m.adopted, m.rows))
            facts[str(m.month)] = _digest(text)
        return cls(_digest(repr(facts)) if facts else "", facts, until)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@define(eq=False)
class Shelf:
    """The archives of a store.

    Args:
        store: as `titans.open` takes it.
        providers: only these; by default every one of which the store holds anything, whether its
            package is installed or not.
    """

    store: ObjectStore | str | Path | None
    providers: Sequence[str] | None = None
    limits: Limits = field(factory=Limits)
    kept: Kept = field(init=False)
    _archives: local = field(factory=local, init=False)
    _versions: dict[str, _Version] = field(factory=dict, init=False)
    _places: tuple[Mapping[str, Place], float] = field(default=({}, 0.0), init=False)
    """What was found, and until when that is taken for granted."""
    _lock: Lock = field(factory=Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self.kept = Kept(self.limits.kept_bytes)

    def names(self) -> tuple[str, ...]:
        """The providers that can be looked at."""
        names = self.providers
        if names is None:
            names = list(self._find())
        return tuple(name for name in names if self._holds(name))

    def _find(self) -> Mapping[str, Place]:
        """What the store holds, by provider, whether its package is installed or not."""
        with self._lock:
            known, until = self._places
        if time.monotonic() < until:
            return known
        store = resolve_store(self.store)
        environment = Paths.of("", PathLayout()).environment
        places = {}
        for place in find_places(store):
            if place.environment == environment:
                places[place.provider] = place
        with self._lock:
            self._places = places, time.monotonic() + _lasting(store)
        return places

    def _holds(self, name: str) -> bool:
        """Whether there is an archive of a provider that can be read; the others need not suffer
        where it cannot.
        """
        try:
            return self.version(name) != ""
        except RetryableError:
            raise
        except TitansError as error:
            log.warning("provider %s is left out: %s", name, error)
            return False

    def archive(self, name: str) -> Archive:
        """The archive of a provider, for this thread.

        Raises:
            UnknownProviderError, PluginError: see `titans.plugins`.
            InputError: it is not among the providers that are shown.
        """
        if self.providers is not None and name not in self.providers:
            raise InputError(f"{name!r} is not shown here")
        archives: dict[str, Archive] | None = getattr(self._archives, "by_name", None)
        if archives is None:
            archives = self._archives.by_name = {}
        if name not in archives:
            archives[name] = self._open(name)
        return archives[name]

    def _open(self, name: str) -> Archive:
        """With its provider, or as its newest manifest describes it where that is not installed."""
        try:
            return titans.open(self.store, provider=name)
        except UnknownProviderError:
            place = self._find().get(name)
            if place is None:
                raise
            return open_place(resolve_store(self.store), place)

    def version(self, name: str) -> str:
        """Another text whenever the archive holds something else; empty where there is none."""
        return self._version(name).whole

    def _version(self, name: str) -> _Version:
        with self._lock:
            known = self._versions.get(name)
        if known is not None and time.monotonic() < known.until:
            return known

        archive = self.archive(name)
        months: tuple[MonthStatus, ...] = ()
        with suppress(ArchiveNotFoundError):
            months = archive.status()
        found = _Version.of(months, time.monotonic() + _lasting(archive.store))
        with self._lock:
            self._versions[name] = found
        return found

    def keep(self, name: str, question: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` gives, or gave for the same question about the same version of the data."""
        return self.kept.get((name, self.version(name), *question), make)

    def keep_month(self, name: str, month: Month, what: str, make: Callable[[], Any]) -> Any:
        """As `keep`, of one month: what was kept stays while other months change."""
        version = self._version(name).months.get(str(month), "")
        return self.kept.get((name, str(month), version, what), make)

    # --- what may be shown of the store -----------------------------------------------------------

    def label(self, name: str) -> str:
        """The store as a caller of `titans.open` would write it; of a folder only its own name."""
        return _label(self.archive(name).store.url)

    def without_places(self, text: str, name: str | None = None) -> str:
        """A message without secrets, and without the place of a folder on this machine."""
        text = redacted(text)
        for shown in self.providers or ([name] if name else []):
            url = self.archive(shown).store.url
            if url.startswith("file:"):
                folder = unquote(urlsplit(url).path)
                for place in (url, folder):
                    text = text.replace(place, _label(url))
        return text


def _lasting(store: ObjectStore) -> float:
    """For how many seconds what was found is taken for granted."""
    return _NEAR if store.url.startswith(("file:", "memory:")) else _FAR


def _label(url: str) -> str:
    if url.startswith("file:"):
        return Path(unquote(urlsplit(url).path)).name or "archive"
    return redacted(url)
