"""Finding providers among the installed distributions, without importing any that nobody asked for.

A distribution offers a provider with an entry point of the group `titans.providers`; the entry
point's name is the provider's. `TITANS_PLUGINS=aws,newcloud` allows only these names,
`TITANS_DISABLE_PLUGINS=aws` denies some; both are applied before anything is imported, and to
observers (`titans.events`) too.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, Literal, NoReturn

from attrs import Factory, define, evolve, frozen

from titans.errors import InputError, PluginError, ProviderError, UnknownProviderError
from titans.layout import check_name
from titans.provider import Provider

__all__ = ["GROUP", "PluginInfo", "clear", "discover", "installed", "load", "providers"]

GROUP = "titans.providers"
ALLOW = "TITANS_PLUGINS"
DENY = "TITANS_DISABLE_PLUGINS"

log = logging.getLogger(__name__)

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
    """What is wrong and what mends it, for the last three."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}, entry point {self.name} = {self.value}"


@define
class _Scan:
    """What one look at `sys.path` and the environment found, and what was loaded since."""

    key: object
    infos: tuple[PluginInfo, ...]
    loaded: dict[str, Provider] = Factory(dict)
    failed: dict[str, tuple[str, BaseException]] = Factory(dict)


_last: _Scan | None = None
_generation = 0


def installed(refresh: bool = False, load: bool = False) -> tuple[PluginInfo, ...]:
    """The entry points for providers, sorted by name, blocked and duplicate ones included.

    Args:
        refresh: look at the installed distributions again, forgetting what was loaded.
        load: import every plugin that is not blocked, so that `status` says which of them work. A
            broken one disturbs no other.
    """
    if refresh:
        clear()
    scan = _scan()
    if load:
        for info in scan.infos:
            if info.status == "found":
                _try(scan, info)
    return tuple(_with_outcome(scan, info) for info in scan.infos)


def load(name: str) -> Provider:
    """The provider of this name; only its own plugin is imported, once.

    Raises:
        UnknownProviderError: no installed distribution offers it. A `ValueError`.
        PluginError: it is broken, blocked by the environment, or offered twice.
    """
    scan = _scan()
    if name in scan.loaded:
        return scan.loaded[name]
    claims = [info for info in scan.infos if info.name == name]
    if not claims:
        raise UnknownProviderError(_unknown(name, scan))
    info = claims[0]
    if info.status != "found":
        raise PluginError(f"Provider {name!r} ({info}): {info.problem}")
    _try(scan, info)
    if name in scan.failed:
        problem, cause = scan.failed[name]
        raise PluginError(f"Provider {name!r} ({info}): {problem}") from cause
    return scan.loaded[name]


def providers() -> Mapping[str, Provider]:
    """A read-only view of the installed providers, always current.

    Taking one by name loads that one. Iterating loads all, and leaves out those that do not work,
    with a logged warning.
    """
    return _Providers()


def clear() -> None:
    """Forget what was found and loaded; the next call looks again. Imported modules stay
    imported.
    """
    global _last, _generation
    _last = None
    _generation += 1
    importlib.invalidate_caches()


def discover(group: str) -> tuple[PluginInfo, ...]:
    """The entry points of a group, sorted by name; `blocked` where the environment says so. Nothing
    is imported.
    """
    found: dict[tuple[str, str, str, str], PluginInfo] = {}
    for entry in metadata.entry_points(group=group):
        distribution, version = _origin(entry)
        # An editable install beside a wheel of the same version is one distribution that is listed
        # twice.
        identity = (entry.name, entry.value, re.sub(r"[-_.]+", "-", distribution).lower(), version)
        found.setdefault(identity, PluginInfo(entry.name, entry.value, distribution, version))
    return tuple(_blocked(found[identity]) for identity in sorted(found))


def environment() -> tuple[object, ...]:
    """What discovery depends on: as long as it is equal, so is the result."""
    return (_generation, tuple(sys.path), os.environ.get(ALLOW), os.environ.get(DENY))


def _scan() -> _Scan:
    global _last
    key = environment()
    if _last is None or _last.key != key:
        _last = _Scan(key, _claims(discover(GROUP)))
    return _last


def _origin(entry: metadata.EntryPoint) -> tuple[str, str]:
    # Damaged metadata (no name, no version) must not keep the healthy ones from being listed.
    meta = entry.dist.metadata if entry.dist is not None else None
    name, version = (meta["Name"], meta["Version"]) if meta is not None else (None, None)
    return str(name or "(unnamed distribution)"), str(version or "(no version)")


def _listed(variable: str) -> list[str]:
    return os.environ.get(variable, "").replace(",", " ").split()


def _blocked(info: PluginInfo) -> PluginInfo:
    if info.name in _listed(DENY):
        return evolve(
            info,
            status="blocked",
            problem=f"it is installed, but {DENY}={os.environ[DENY]} blocks it; take {info.name!r} out of that list",
        )
    allowed = _listed(ALLOW)
    if allowed and info.name not in allowed:
        return evolve(
            info,
            status="blocked",
            problem=f"it is installed, but {ALLOW}={os.environ[ALLOW]} does not allow it; add {info.name!r} to that list",
        )
    return info


def _claims(infos: tuple[PluginInfo, ...]) -> tuple[PluginInfo, ...]:
    """With the names that no provider can have, and those that more than one entry point claims,
    marked.
    """
    checked = []
    for info in infos:
        rivals = [other for other in infos if other.name == info.name and other is not info]
        if info.status == "blocked":
            checked.append(info)
        elif rivals:
            checked.append(evolve(info, status="duplicate", problem=_rivalry(info, rivals)))
        else:
            checked.append(_with_valid_name(info))
    return tuple(checked)


def _rivalry(info: PluginInfo, rivals: list[PluginInfo]) -> str:
    claims = sorted([info, *rivals], key=str)
    distributions = list(dict.fromkeys(claim.distribution for claim in claims))
    mend = (
        f"uninstall all but one (pip uninstall {' | '.join(distributions)})"
        if len(distributions) > 1
        else f"reinstall it (pip install --force-reinstall {distributions[0]}) or report it to its authors"
    )
    return (
        f"the name is claimed {len(claims)} times: {'; '.join(map(str, claims))}. TITANS does not "
        f"choose between them: {mend}, "
        f"or leave the name out with {DENY}={info.name}"
    )


def _with_valid_name(info: PluginInfo) -> PluginInfo:
    try:
        check_name(info.name)
    except InputError as error:
        return evolve(
            info, status="broken", problem=f"{error}. Its authors must rename the entry point"
        )
    return info


def _try(scan: _Scan, info: PluginInfo) -> None:
    if info.name in scan.loaded or info.name in scan.failed:
        return
    # pluggy is not needed to list plugins, only to load one.
    from titans._plugin_checks import Refused, build_provider

    try:
        scan.loaded[info.name] = build_provider(info, GROUP)
    except Refused as refused:
        scan.failed[info.name] = (str(refused), refused.__cause__ or refused)
    log.debug(
        "tried provider %s (%s): %s",
        info.name,
        info,
        "failed" if info.name in scan.failed else "loaded",
    )


def _with_outcome(scan: _Scan, info: PluginInfo) -> PluginInfo:
    if info.status != "found":
        return info
    if info.name in scan.failed:
        return evolve(info, status="broken", problem=scan.failed[info.name][0])
    return evolve(info, status="loaded") if info.name in scan.loaded else info


def _unknown(name: object, scan: _Scan) -> str:
    names = list(dict.fromkeys(info.name for info in scan.infos if info.status != "blocked"))
    message = f"Unknown provider {name!r}; installed: {', '.join(names) or 'none'}"
    blocked = list(dict.fromkeys(info.name for info in scan.infos if info.status == "blocked"))
    if blocked:
        variables = " and ".join(variable for variable in (ALLOW, DENY) if os.environ.get(variable))
        message += f" (blocked by {variables}: {', '.join(blocked)})"
    try:
        package = f"titans-{check_name(name)}"  # type: ignore[arg-type]
    except InputError:
        return message
    return f"{message}. A provider is a package: pip install {package}"


# --- the mapping ----------------------------------------------------------------------------------


class _NoSuchProviderError(UnknownProviderError, KeyError):
    """What `Mapping.get` and `in` expect of a missing key, with the message of
    `UnknownProviderError`.
    """

    __str__ = Exception.__str__


class _ReadOnlyError(ProviderError, TypeError):
    """Providers cannot be assigned."""


class _Providers(Mapping[str, Provider]):
    def __getitem__(self, name: str) -> Provider:
        try:
            return load(name)
        except UnknownProviderError as error:
            raise _NoSuchProviderError(str(error)) from None

    def __contains__(self, name: object) -> bool:
        """Whether it is installed and not blocked; it may still turn out to be broken."""
        return any(info.name == name and info.status != "blocked" for info in installed())

    def __iter__(self) -> Iterator[str]:
        for info in installed(load=True):
            if info.status == "loaded":
                yield info.name
            elif info.status != "blocked":
                log.warning("provider %s (%s) is left out: %s", info.name, info, info.problem)

    def __len__(self) -> int:
        return sum(info.status == "loaded" for info in installed(load=True))

    def __repr__(self) -> str:
        return (
            f"<installed providers: {', '.join(dict.fromkeys(info.name for info in installed()))}>"
        )

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise _ReadOnlyError(
            "Providers are not assigned or removed here: publish a package. A provider is any "
            "installed distribution with "
            f'an entry point in the group "{GROUP}" whose module declares TITANS_API and '
            "implements titans_schema and "
            "titans_pk_columns (see titans.hookspecs); pip install adds it, pip uninstall removes "
            "it"
        )

    __setitem__ = __delitem__ = update = setdefault = pop = popitem = clear = _refuse
