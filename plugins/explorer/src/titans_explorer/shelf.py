"""The archives that one store holds, as the explorer needs them: one object a thread, the version of
the data, and what is kept of it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock, local
from typing import Any
from urllib.parse import unquote, urlsplit

import titans
from attrs import define, field
from titans import Archive
from titans.errors import ArchiveNotFoundError, InputError
from titans.plugins import installed
from titans.redaction import redacted
from titans.store import ObjectStore

from titans_explorer.kept import Kept
from titans_explorer.limits import Limits

__all__ = ["Shelf"]

log = logging.getLogger("titans.explorer")

_NEAR, _FAR = 2.0, 15.0
"""Seconds for which the version of a local or a remote archive is taken for granted."""


@define(eq=False)
class Shelf:
    """The archives of a store.

    Args:
        store: as `titans.open` takes it.
        providers: only these; by default every installed one of which the store holds anything.
    """

    store: ObjectStore | str | Path | None
    providers: Sequence[str] | None = None
    limits: Limits = field(factory=Limits)
    kept: Kept = field(init=False)
    _archives: local = field(factory=local, init=False)
    _versions: dict[str, tuple[float, str]] = field(factory=dict, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self.kept = Kept(self.limits.kept_bytes)

    def names(self) -> tuple[str, ...]:
        """The providers that can be looked at."""
        names = self.providers
        if names is None:
            names = [info.name for info in installed(load=True) if info.status == "loaded"]
        return tuple(name for name in names if self.version(name))

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
            archives[name] = titans.open(self.store, provider=name)
        return archives[name]

    def version(self, name: str) -> str:
        """Another text whenever the archive holds something else; empty where there is none."""
        now = time.monotonic()
        with self._lock:
            until, version = self._versions.get(name, (0.0, ""))
        if now < until:
            return version

        archive = self.archive(name)
        try:
            months = archive.status()
        except ArchiveNotFoundError:
            version = ""
        else:
            facts = [(str(m.month), m.version, m.waiting, m.adopted, m.rows) for m in months]
            version = hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()
        lasting = _NEAR if archive.store.url.startswith(("file:", "memory:")) else _FAR
        with self._lock:
            self._versions[name] = (time.monotonic() + lasting, version)
        return version

    def keep(self, name: str, question: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` gives, or gave for the same question about the same version of the data."""
        return self.kept.get((name, self.version(name), *question), make)

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


def _label(url: str) -> str:
    if url.startswith("file:"):
        return Path(unquote(urlsplit(url).path)).name or "archive"
    return redacted(url)
