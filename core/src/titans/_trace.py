"""`TITANS_TRACE=1`: every call of a hook is logged, with the plugin it went to and the time it
took.

The records go to the logger `titans.trace`, one for each call, with `hook`, `plugin`, `ms` and
`error` as attributes. An application that has set up logging gets them there; otherwise they go to
standard error. The variable is read when a plugin is loaded.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pluggy import PluginManager

__all__ = ["trace"]

VARIABLE = "TITANS_TRACE"

log = logging.getLogger("titans.trace")


class _Unconfigured(logging.StreamHandler[Any]):
    """Standard error, as long as nobody has set up logging."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            self.stream = sys.stderr  # which may have been replaced since
            super().emit(record)


def trace(manager: PluginManager, plugin: object, who: str) -> None:
    """Log the hook calls of this manager from now on, if the environment asks for it.

    Args:
        manager: has this one plugin, and the core's defaults.
        plugin: the module or object.
        who: what the log calls it.
    """
    if os.environ.get(VARIABLE, "") in ("", "0"):
        return
    _configure()

    # Keyed by the arguments of the call: the same object until `after`, and no other call's.
    started: dict[int, float] = {}

    def before(_hook: str, _impls: Sequence[Any], arguments: Mapping[str, Any]) -> None:
        started[id(arguments)] = time.perf_counter()

    def after(outcome: Any, hook: str, impls: Sequence[Any], arguments: Mapping[str, Any]) -> None:
        ms = (time.perf_counter() - started.pop(id(arguments))) * 1000
        default = "" if any(impl.plugin is plugin for impl in impls) else " (the default)"

        error = outcome.exception
        raised = ""
        kind = None
        if error is not None:
            kind = type(error).__name__
            raised = f" raised {kind}: {error}"

        fields = {"hook": hook, "plugin": who, "ms": ms, "error": kind}
        log.info("%s of %s%s: %.3f ms%s", hook, who, default, ms, raised, extra=fields)

    manager.add_hookcall_monitoring(before, after)


def _configure() -> None:
    if not any(isinstance(handler, _Unconfigured) for handler in log.handlers):
        handler = _Unconfigured()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
