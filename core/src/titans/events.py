"""Telling plugins and observers what happened.

A distribution offers an observer (alerts, metrics) with an entry point of the group `titans.observers`: a module or an
object that declares `TITANS_API` and implements `titans_event`. Observers hear the events of every provider; a provider's
own `titans_event` hears only its own. They are loaded at the first event. `TITANS_PLUGINS` and `TITANS_DISABLE_PLUGINS`
choose among them, by the name of the entry point.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from titans import plugins

if TYPE_CHECKING:
    from titans.provider import Provider

__all__ = ["GROUP", "Event", "emit"]

GROUP = "titans.observers"

log = logging.getLogger(__name__)

Listener = tuple[str, Callable[..., object]]

_observers: tuple[object, tuple[Listener, ...]] | None = None


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
    """Tell the provider's own plugin, then every observer. One that raises is logged; the others are told all the same.

    `titans.plugins.clear()` makes the next event look for observers again.
    """
    hooks = None if provider is None else provider.hooks
    if hooks is not None:
        _tell(f"titans_event of provider {event.provider}", hooks.titans_event, event)
    for who, hook in _listeners():
        _tell(who, hook, event)


def _tell(who: str, hook: Callable[..., object], event: Event) -> None:
    try:
        hook(event=event)
    except (Exception, SystemExit):
        log.exception("%s failed on event %s; the work goes on", who, event.name)


def _listeners() -> tuple[Listener, ...]:
    global _observers
    key = plugins.environment()
    if _observers is None or _observers[0] != key:
        _observers = (key, tuple(_loaded()))
    return _observers[1]


def _loaded() -> list[Listener]:
    found = [info for info in plugins.discover(GROUP) if info.status == "found"]
    if not found:
        return []
    from titans._plugin_checks import Refused, connect, implements

    listeners: list[Listener] = []
    for info in found:
        try:
            # A manager of its own: with a shared one, the first that raises would silence the rest.
            manager, plugin = connect(info, GROUP)
            if not implements(manager, "titans_event", plugin):
                raise Refused("it does not implement titans_event, marked with @titans.hookimpl")
        except Refused as refused:
            log.error("observer %s (%s) is left out: %s", info.name, info, refused, exc_info=refused.__cause__)
            continue
        listeners.append((f"observer {info.name} ({info})", manager.hook.titans_event))
    return listeners
