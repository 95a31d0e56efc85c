"""Telling plugins and observers what happened.

A distribution offers an observer (alerts, metrics) with an entry point of the group
`titans.observers`: a module or an object that declares `TITANS_API` and implements `titans_event`.
Observers hear the events of every provider; a provider's own `titans_event` hears only its own.
They are loaded at the first event, and each is called in a thread of its own, so that a slow one
cannot hold up the work (`titans._observer`). `TITANS_PLUGINS` and `TITANS_DISABLE_PLUGINS` choose
among them, by the name of the entry point.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from titans import plugins
from titans._observer import PATIENCE, Observer, call

if TYPE_CHECKING:
    from titans.plugins import PluginInfo
    from titans.provider import Provider

__all__ = ["GROUP", "Event", "emit", "installed_observers"]

GROUP = "titans.observers"

log = logging.getLogger(__name__)


def _read_only(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(given))


@frozen
class Event:
    """Something that happened in an archive.

    Args:
        name: what happened, in lower case with underscores.
        provider: the name of the provider whose archive it is.
        fields: the particulars; values are plain (str, int, float, bool, datetime, None).
    """

    name: str
    provider: str
    fields: Mapping[str, Any] = field(factory=dict, converter=_read_only, hash=False)


def emit(event: Event, provider: Provider | None = None) -> None:
    """Tell the provider's own plugin, then every observer. One that raises is logged; the others
    are told all the same.

    An observer that is slow holds the work up for two seconds, once. `titans.plugins.clear()` makes
    the next event look for observers again.
    """
    hooks = None if provider is None else provider.hooks
    if hooks is not None:
        call(f"titans_event of provider {event.provider}", hooks.titans_event, event)
    loaded = _current()
    for info, cause in loaded.refused:
        log.error("observer %s (%s) is left out: %s", info.name, info, info.problem, exc_info=cause)
    loaded.refused.clear()
    for observer in loaded.observers:
        observer.tell(event)


def installed_observers(load: bool = False) -> tuple[PluginInfo, ...]:
    """The entry points for observers, sorted by name, blocked ones included.

    Args:
        load: import every observer that is not blocked, so that `status` says which of them work.
    """
    return _current().infos if load else plugins.discover(GROUP)


@frozen
class _Loaded:
    """The observers that work, and all entry points with what became of them."""

    key: object
    infos: tuple[PluginInfo, ...]
    observers: tuple[Observer, ...]
    refused: list[tuple[PluginInfo, BaseException | None]]
    """Those that do not work, with what they raised, as long as the log has not told of them."""


def _current() -> _Loaded:
    global _last
    key = plugins.environment()
    if _last is None or _last.key != key:
        for observer in () if _last is None else _last.observers:
            observer.stop()
        refused: list[tuple[PluginInfo, BaseException | None]] = []
        tried = [_tried(info, refused) for info in plugins.discover(GROUP)]
        _last = _Loaded(
            key,
            tuple(info for info, _ in tried),
            tuple(o for _, o in tried if o is not None),
            refused,
        )
    return _last


def _tried(
    info: PluginInfo, refused: list[tuple[PluginInfo, BaseException | None]]
) -> tuple[PluginInfo, Observer | None]:
    if info.status != "found":
        return info, None
    # pluggy is not needed as long as there are no observers.
    from titans._plugin_checks import Refused, build_observer

    try:
        # Each has a manager of its own: with a shared one, the first that raises would silence the
        # rest.
        hook = build_observer(info, GROUP)
        try:
            observer = Observer(f"observer {info.name} ({info})", hook)
        except RuntimeError as error:
            raise Refused(f"it gets no thread: {error}") from error
    except Refused as reason:
        info = evolve(info, status="broken", problem=str(reason))
        refused.append((info, reason.__cause__))
        return info, None
    return evolve(info, status="loaded"), observer


def _settle() -> None:
    """At the end of the process, observers that are behind get a last chance."""
    until = time.monotonic() + PATIENCE
    for observer in () if _last is None else _last.observers:
        observer.settle(until)


def _forget() -> None:
    """In a forked child the threads are gone; the next event makes new ones."""
    global _last
    _last = None


_last: _Loaded | None = None
atexit.register(_settle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
