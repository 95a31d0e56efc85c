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
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from titans import entry_points
from titans._observer import PATIENCE, Observer, call
from titans.event import Event

if TYPE_CHECKING:
    from titans.entry_points import PluginInfo
    from titans.provider import Provider

__all__ = ["GROUP", "Event", "emit", "installed_observers"]

GROUP = "titans.observers"

log = logging.getLogger(__name__)

_Refusal = tuple["PluginInfo", BaseException | None]
"""An observer that does not work, and what it raised."""


def emit(event: Event, provider: Provider | None = None) -> None:
    """Tell the provider's own plugin, then every observer. One that raises is logged; the others
    are told all the same.

    An observer that is slow holds the work up for two seconds, once. `titans.plugins.clear()` makes
    the next event look for observers again.
    """
    if provider is not None and provider.hooks is not None:
        call(f"titans_event of provider {event.provider}", provider.hooks.titans_event, event)

    loaded = _load_observers()
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
    if load:
        return _load_observers().infos
    return entry_points.discover(GROUP)


@frozen
class _Loaded:
    """The observers that work, and all entry points with what became of them."""

    key: object
    infos: tuple[PluginInfo, ...]
    observers: tuple[Observer, ...]
    refused: list[_Refusal]
    """Those that do not work, as long as the log has not told of them."""


_last: _Loaded | None = None
"""The observers of this process; at most one, with one thread, an entry point.

They are replaced as soon as `entry_points.environment()` differs, and the old ones stopped. Threads
share them: an observer takes events from any thread. (Two threads that emit the first event at once
may both load; the set that is not kept has heard the event of its own thread only.) A forked child
must not share them, because their threads stay in the parent: `_forget` drops them there.
"""


def _load_observers() -> _Loaded:
    """The observers that the environment offers now; loaded where it has changed."""
    global _last
    key = entry_points.environment()
    if _last is not None and _last.key == key:
        return _last

    if _last is not None:
        for observer in _last.observers:
            observer.stop()

    infos: list[PluginInfo] = []
    observers: list[Observer] = []
    refused: list[_Refusal] = []
    for info in entry_points.discover(GROUP):
        if info.status != "found":
            infos.append(info)
            continue
        tried, outcome = _load_observer(info)
        infos.append(tried)
        if isinstance(outcome, Observer):
            observers.append(outcome)
        else:
            refused.append((tried, outcome))

    _last = _Loaded(key, tuple(infos), tuple(observers), refused)
    return _last


def _load_observer(info: PluginInfo) -> tuple[PluginInfo, Observer | BaseException | None]:
    """The entry point with its new status, and the observer; or what it raised, if anything."""
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
        return evolve(info, status="broken", problem=str(reason)), reason.__cause__

    return evolve(info, status="loaded"), observer


def _settle() -> None:
    """At the end of the process, observers that are behind get a last chance."""
    if _last is None:
        return
    deadline = time.monotonic() + PATIENCE
    for observer in _last.observers:
        observer.settle(deadline)


def _forget() -> None:
    """In a forked child the threads do not run; the next event makes new ones."""
    global _last
    _last = None


atexit.register(_settle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
