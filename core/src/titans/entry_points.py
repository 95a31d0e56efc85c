"""Finding entry points among the installed distributions, without importing what they name.

Providers, observers and stores are all found here. `TITANS_PLUGINS=aws,newcloud` allows only these
names, `TITANS_DISABLE_PLUGINS=aws` denies some; both apply to every group.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from typing import Literal

from attrs import evolve, frozen

__all__ = ["ALLOW", "DENY", "PluginInfo", "Status", "clear", "discover", "entries", "environment"]

log = logging.getLogger("titans.plugins")

ALLOW = "TITANS_PLUGINS"
DENY = "TITANS_DISABLE_PLUGINS"

Status = Literal["found", "loaded", "broken", "duplicate", "blocked"]


@frozen
class PluginInfo:
    """An entry point, as its distribution declares it."""

    name: str
    value: str
    """What it names: `package.module`, or `package.module:object`."""
    distribution: str
    version: str
    status: Status = "found"
    """`found` (not tried yet), `loaded`, `broken`, `duplicate` (another distribution claims the
    name), or `blocked`."""
    problem: str = ""
    """What is wrong and how to fix it, for the last three."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}, entry point {self.name} = {self.value}"


_generation = 0
"""How often `clear` was called. One number, so there is nothing to bound. Threads share it: two
`clear` at once may count as one, and either makes it differ from before. A forked child goes on
with the number it was born with."""


def clear() -> None:
    """Make every result of `environment` so far differ from the next one."""
    global _generation
    _generation += 1
    importlib.invalidate_caches()


def environment() -> tuple[object, ...]:
    """What discovery depends on: as long as it is equal, so is the result."""
    return (_generation, tuple(sys.path), os.environ.get(ALLOW), os.environ.get(DENY))


def discover(group: str) -> tuple[PluginInfo, ...]:
    """The entry points of a group, sorted by name; `blocked` where the environment says so. Nothing
    is imported.
    """
    infos: dict[tuple[str, str, str, str], PluginInfo] = {}
    for entry in entries(group):
        distribution, version = _origin(entry)

        # An editable install beside a wheel of the same version is one distribution that is listed
        # twice.
        identity = (entry.name, entry.value, _normalized(distribution), version)
        infos.setdefault(identity, PluginInfo(entry.name, entry.value, distribution, version))

    return tuple(_marked_if_blocked(infos[identity]) for identity in sorted(infos))


def entries(group: str) -> Iterable[metadata.EntryPoint]:
    """The entry points of a group. A distribution whose metadata cannot be read is left out."""
    try:
        return metadata.entry_points(group=group)
    # Of any distribution, whatever it offers.
    except Exception as error:  # noqa: BLE001
        log.debug("the entry points are read one distribution at a time: %s", error)

    found: list[metadata.EntryPoint] = []
    names = set[str]()
    for distribution in metadata.distributions():
        try:
            offered = list(distribution.entry_points.select(group=group))
            name = str(distribution.metadata["Name"])
        except Exception as error:  # noqa: BLE001
            where = getattr(distribution, "_path", distribution)
            log.warning(
                "%s is left out: the metadata of this distribution cannot be read (%s: %s); "
                "reinstall or remove it",
                where,
                type(error).__name__,
                error,
            )
            continue

        # The first on the search path is the one that is imported.
        name = _normalized(name)
        if name not in names:
            names.add(name)
            found += offered
    return found


def _normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _origin(entry: metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution. Damaged metadata, which lacks them, must not keep the
    healthy ones from being listed.
    """
    name = version = None
    if entry.dist is not None:
        try:
            described = entry.dist.metadata  # read from the disk each time it is asked for
            name, version = described["Name"], described["Version"]
        except Exception as error:  # noqa: BLE001
            log.debug("%s has no readable metadata: %s", entry, error)
    return str(name or "(unnamed distribution)"), str(version or "(no version)")


def _marked_if_blocked(info: PluginInfo) -> PluginInfo:
    problem = ""
    allowed = _names_in(ALLOW)
    if info.name in _names_in(DENY):
        problem = (
            f"it is installed, but {DENY}={os.environ[DENY]} blocks it; "
            f"take {info.name!r} out of that list"
        )
    elif allowed and info.name not in allowed:
        problem = (
            f"it is installed, but {ALLOW}={os.environ[ALLOW]} does not allow it; "
            f"add {info.name!r} to that list"
        )

    if not problem:
        return info
    return evolve(info, status="blocked", problem=problem)


def _names_in(variable: str) -> list[str]:
    return os.environ.get(variable, "").replace(",", " ").split()
