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
    imported,
)
from titans.entry_points import PluginInfo
from titans.plugins import GROUP

__all__ = ["main"]

_OURS = {"titans", "titans_common", "pluggy", "attr", "attrs"}


def main(group: str, name: str, value: str, distribution: str, version: str, out: str) -> None:
    """Load the plugin of this entry point, and write what was seen into the file `out`, as JSON."""
    seen = _probe(PluginInfo(name, value, distribution, version), group)
    Path(out).write_text(json.dumps(seen), encoding="utf-8")


def _probe(info: PluginInfo, group: str) -> dict[str, Any]:
    seen: dict[str, Any] = {"problem": "", "hooks": {}, "declares": {}}
    before = set(sys.modules)
    started = imported_at = time.perf_counter()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            imported(info, group)
            imported_at = time.perf_counter()
            if group == GROUP:
                provider = build_provider(info, group)
                seen["declares"] = _declared(provider)
                callers = {hook: getattr(provider.hooks, hook) for hook in HOOKS}
            else:
                callers = {"titans_event": build_observer(info, group)}
            seen["hooks"] = {
                hook: _described(hook, caller, f"{info.distribution}:{info.name}")
                for hook, caller in callers.items()
            }
        except Refused as refused:
            seen["problem"] = str(refused)
            imported_at = time.perf_counter() if imported_at == started else imported_at
    seen["import_ms"] = round((imported_at - started) * 1000, 3)
    seen["hooks_ms"] = round((time.perf_counter() - imported_at) * 1000, 3)
    new = set(sys.modules) - before
    own = info.value.split(":")[0].split(".")[0].strip()
    foreign = {name.split(".")[0] for name in new} - {own} - _OURS - sys.stdlib_module_names
    seen["modules"] = len(new)
    seen["packages"] = sorted(name for name in foreign if re.fullmatch(r"[A-Za-z]\w*", name))
    seen["api"] = _api(info)
    seen["warnings"] = [f"{w.category.__name__}: {w.message}" for w in warned]
    return seen


def _api(info: PluginInfo) -> int | str | None:
    try:
        api = declared_api(info)
        return api if isinstance(api, int | None) else repr(api)
    # looking at the plugin runs its code; that it fails was said before
    except Exception:  # noqa: BLE001
        return None


def _described(hook: str, caller: Any, registered: str) -> dict[str, Any]:
    """How the plugin implements a hook: its arguments in order, and those of the specification that
    it leaves out.
    """
    known = list(caller.spec.argnames)
    own = [impl for impl in caller.get_hookimpls() if impl.plugin_name == registered]
    if not own:
        how = "missing" if hook in REQUIRED else "default"
        return {"how": how, "arguments": [], "left_out": []}
    taken = list(own[0].argnames) + list(own[0].kwargnames)
    return {
        "how": "wrapper" if own[0].wrapper or own[0].hookwrapper else "implemented",
        "arguments": taken,
        "left_out": [name for name in known if name not in taken],
    }


def _declared(provider: Any) -> dict[str, Any]:
    schema, layout = provider.schema, provider.layout
    return {
        "key": list(provider.key),
        "columns": dict(schema.columns),
        "score": schema.score,
        "unobserved": dict(schema.unobserved),
        "schema_version": schema.version,
        "slot_minutes": layout.slot_minutes,
        "prefixes": [layout.hot, layout.warm, layout.state],
    }
