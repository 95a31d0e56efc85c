"""Loading one plugin in a process of its own, to see what that costs and whether it works. For
`titans.doctor`.

A plugin under suspicion may print, exit, crash or never return; and what it imports can be told
only where nothing has been imported yet.
"""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from titans._plugin_checks import (
    HOOKS,
    REQUIRED,
    Refused,
    build_observer,
    build_provider,
    declared_api,
    import_plugin,
)
from titans.entry_points import PluginInfo
from titans.plugins import GROUP

__all__ = ["main"]

_OURS = {"titans", "titans_common", "pluggy", "attr", "attrs"}


def main(group: str, out: str, *entry: str) -> None:
    """Load a plugin, and write what was seen into a file, as JSON.

    Args:
        group: of the entry point.
        out: the path of the file.
        entry: name, value, distribution and version, as in `PluginInfo`.
    """
    name, value, distribution, version = entry
    seen = _probe(PluginInfo(name, value, distribution, version), group)
    Path(out).write_text(json.dumps(seen), encoding="utf-8")


def _probe(info: PluginInfo, group: str) -> dict[str, Any]:
    before = set(sys.modules)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        seen = _load(info, group)

    new = set(sys.modules) - before
    own = info.value.split(":")[0].split(".")[0].strip()
    seen["modules"] = len(new)
    seen["packages"] = sorted(_third_party(new) - {own})
    seen["api"] = _api(info)
    seen["warnings"] = [f"{w.category.__name__}: {w.message}" for w in warned]
    return seen


def _third_party(modules: set[str]) -> set[str]:
    """The packages of these modules, without ours and those of Python."""
    packages = set()
    for module in modules:
        package = module.split(".")[0]
        # Other names are made by import hooks of installers.
        if re.fullmatch(r"[A-Za-z]\w*", package):
            packages.add(package)
    return packages - _OURS - sys.stdlib_module_names


def _load(info: PluginInfo, group: str) -> dict[str, Any]:
    """Whether it can be loaded, how long that takes, and what it implements."""
    seen: dict[str, Any] = {"problem": "", "hooks": {}, "declares": {}}
    registered = f"{info.distribution}:{info.name}"
    started = time.perf_counter()
    imported_at = None
    try:
        import_plugin(info, group)
        imported_at = time.perf_counter()
        if group == GROUP:
            provider = build_provider(info, group)
            seen["declares"] = _declared(provider)
            for hook in HOOKS:
                caller = getattr(provider.hooks, hook)
                seen["hooks"][hook] = _described(hook, caller, registered)
        else:
            caller = build_observer(info, group)
            seen["hooks"]["titans_event"] = _described("titans_event", caller, registered)
    except Refused as refused:
        seen["problem"] = str(refused)

    ended = time.perf_counter()
    if imported_at is None:
        imported_at = ended
    seen["import_ms"] = round((imported_at - started) * 1000, 3)
    seen["hooks_ms"] = round((ended - imported_at) * 1000, 3)
    return seen


def _api(info: PluginInfo) -> int | str | None:
    try:
        api = declared_api(info)
        if isinstance(api, int | None):
            return api
        return repr(api)
    # looking at the plugin runs its code; that it fails was said before
    except Exception:  # noqa: BLE001
        return None


def _described(hook: str, caller: Any, registered: str) -> dict[str, Any]:
    """How the plugin implements a hook: its arguments in order, and those of the specification that
    it leaves out.
    """
    own = [impl for impl in caller.get_hookimpls() if impl.plugin_name == registered]
    if not own:
        how = "missing" if hook in REQUIRED else "default"
        return {"how": how, "arguments": [], "left_out": []}

    how = "wrapper" if own[0].wrapper or own[0].hookwrapper else "implemented"
    arguments = [*own[0].argnames, *own[0].kwargnames]
    left_out = [name for name in caller.spec.argnames if name not in arguments]
    return {"how": how, "arguments": arguments, "left_out": left_out}


def _declared(provider: Any) -> dict[str, Any]:
    schema, layout = provider.schema, provider.layout
    return {
        "key": list(provider.key),
        "columns": dict(schema.columns),
        "score": schema.score,
        "unobserved": dict(schema.unobserved),
        "nullable": list(schema.nullable),
        "passive": list(schema.passive),
        "units": dict(schema.units),
        "description": dict(schema.description),
        "expectations": str(provider.expectations),
        "every_seconds": provider.every.total_seconds(),
        "schema_version": schema.version,
        "slot_minutes": layout.slot_minutes,
        "prefixes": [layout.hot, layout.warm, layout.state],
    }
