"""The installed providers, found without importing any that nobody asked for.

A distribution offers a provider with an entry point of the group `titans.providers`; the entry
point's name is the provider's. `TITANS_PLUGINS=aws,newcloud` allows only these names,
`TITANS_DISABLE_PLUGINS=aws` denies some; both are applied before anything is imported, and to
observers (`titans.events`) too.
"""

from __future__ import annotations

import copyreg
import difflib
import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, NoReturn

from attrs import Factory, define, evolve

from titans import entry_points
from titans.entry_points import ALLOW, DENY, PluginInfo, discover
from titans.errors import InputError, PluginError, ProviderError, UnknownProviderError
from titans.layout import check_name
from titans.provider import Hooks, Provider

__all__ = [
    "ALLOW",
    "DENY",
    "GROUP",
    "PluginInfo",
    "clear",
    "discover",
    "installed",
    "load",
    "providers",
]

GROUP = "titans.providers"

log = logging.getLogger(__name__)


@define
class _Scan:
    """What one look at `sys.path` and the environment found, and what was loaded since."""

    key: object
    infos: tuple[PluginInfo, ...]
    loaded: dict[str, Provider] = Factory(dict)
    failed: dict[str, tuple[str, BaseException]] = Factory(dict)


_last: _Scan | None = None
"""The last scan; it holds at most one provider an entry point.

It is replaced as soon as `entry_points.environment()` differs, and dropped by `clear()`. Threads
may share it: two that find it stale both scan, the last one stays, and a plugin may be asked twice
for what is equal. A forked child may go on with its copy: there are no handles in it.
"""


def installed(refresh: bool = False, load: bool = False) -> tuple[PluginInfo, ...]:
    """The entry points for providers, sorted by name, blocked and duplicate ones included.

    Args:
        refresh: look at the installed distributions again, forgetting what was loaded.
        load: import every plugin that is not blocked, so that `status` says which of them work. A
            broken one disturbs no other.
    """
    if refresh:
        clear()
    scan = _current_scan()

    if load:
        for info in scan.infos:
            if info.status == "found":
                _try_loading(scan, info)

    return tuple(_with_outcome(scan, info) for info in scan.infos)


def load(name: str) -> Provider:
    """The provider of this name; only its own plugin is imported, once.

    Raises:
        UnknownProviderError: no installed distribution offers it. A `ValueError`.
        PluginError: it is broken, blocked by the environment, or offered twice.
    """
    scan = _current_scan()
    if name in scan.loaded:
        return scan.loaded[name]

    info = next((info for info in scan.infos if info.name == name), None)
    if info is None:
        raise UnknownProviderError(_unknown(name, scan), provider=name)
    if info.status != "found":
        raise PluginError(f"Provider {name!r} ({info}): {info.problem}", provider=name)

    _try_loading(scan, info)
    if name in scan.failed:
        problem, cause = scan.failed[name]
        raise PluginError(f"Provider {name!r} ({info}): {problem}", provider=name) from cause
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
    global _last
    _last = None
    entry_points.clear()


def _current_scan() -> _Scan:
    global _last
    key = entry_points.environment()
    scan = _last
    if scan is None or scan.key != key:
        scan = _Scan(key, _claims(discover(GROUP)))
        _last = scan
    return scan


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
    if len(distributions) > 1:
        advice = f"uninstall all but one (pip uninstall {' | '.join(distributions)})"
    else:
        advice = (
            f"reinstall it (pip install --force-reinstall {distributions[0]}) "
            "or report it to its authors"
        )

    return (
        f"the name is claimed {len(claims)} times: {'; '.join(map(str, claims))}. TITANS does not "
        f"choose between them: {advice}, or leave the name out with {DENY}={info.name}"
    )


def _with_valid_name(info: PluginInfo) -> PluginInfo:
    try:
        check_name(info.name)
    except InputError as error:
        problem = f"{error}. Its authors must rename the entry point"
        return evolve(info, status="broken", problem=problem)
    return info


def _try_loading(scan: _Scan, info: PluginInfo) -> None:
    """Load the plugin unless it was tried before, and note in the scan what became of it."""
    if info.name in scan.loaded or info.name in scan.failed:
        return

    # pluggy is not needed to list plugins, only to load one.
    from titans._plugin_checks import Refused, build_provider

    try:
        scan.loaded[info.name] = build_provider(info, GROUP)
        outcome = "loaded"
    except Refused as refused:
        scan.failed[info.name] = (str(refused), refused.__cause__ or refused)
        outcome = "failed"
    log.debug("tried provider %s (%s): %s", info.name, info, outcome)


def _with_outcome(scan: _Scan, info: PluginInfo) -> PluginInfo:
    if info.status == "found" and info.name in scan.failed:
        return evolve(info, status="broken", problem=scan.failed[info.name][0])
    if info.status == "found" and info.name in scan.loaded:
        return evolve(info, status="loaded")
    return info


def _unknown(name: object, scan: _Scan) -> str:
    """The message for a provider that nobody offers."""
    usable: list[str] = []
    blocked: list[str] = []
    for info in scan.infos:
        names = blocked if info.status == "blocked" else usable
        if info.name not in names:
            names.append(info.name)

    message = f"Unknown provider {name!r}; installed: {', '.join(usable) or 'none'}"
    if blocked:
        variables = " and ".join(variable for variable in (ALLOW, DENY) if os.environ.get(variable))
        message += f" (blocked by {variables}: {', '.join(blocked)})"

    # What cannot be the name of a provider is not the name of a package either.
    try:
        package = f"titans-{check_name(name)}"  # type: ignore[arg-type]
    except InputError:
        return message
    return f"{message}. {_advice(str(name), package, usable)}"


def _advice(name: str, package: str, usable: list[str]) -> str:
    """What to do where no package offers `name`. What is installed is not to be installed."""
    meant = name.lower().replace("_", "-").removeprefix("titans-")
    similar = difflib.get_close_matches(meant, usable, n=1, cutoff=0.7)
    if similar:
        return f"Did you mean {similar[0]!r}?"

    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        pass
    except Exception as error:  # noqa: BLE001  whatever its metadata is like
        return (
            f"{package} is installed, but its metadata cannot be read ({error}): "
            f"pip install --force-reinstall {package}"
        )
    else:
        return (
            f"{package} {version} is installed, but has no entry point {name!r} in the group "
            f'"{GROUP}": pip install --force-reinstall {package}, or ask its authors what it '
            "is called"
        )

    module = package.replace("-", "_")
    spec = importlib.util.find_spec(module)
    if spec is not None:
        return (
            f"{module} can be imported from {spec.origin}, but is not installed, so nothing says "
            "that it is a provider: pip install the folder of its pyproject.toml"
        )
    return f"A provider is a package: pip install {package}"


# --- other processes ------------------------------------------------------------------------------


def _hooks_of(name: str) -> Any:
    """The hooks of an installed provider, in a process to which it was sent."""
    return load(name).hooks


def _sent(hooks: Hooks) -> tuple[Any, tuple[str]]:
    return _hooks_of, (hooks.name,)


copyreg.pickle(Hooks, _sent)


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
            raise _NoSuchProviderError(str(error), provider=name) from None

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
        names = dict.fromkeys(info.name for info in installed())
        return f"<installed providers: {', '.join(names)}>"

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise _ReadOnlyError(
            "Providers are not assigned or removed here: publish a package. A provider is any "
            f'installed distribution with an entry point in the group "{GROUP}" whose module '
            "declares TITANS_API and implements titans_schema and titans_pk_columns (see "
            "titans.hookspecs); pip install adds it, pip uninstall removes it"
        )

    __setitem__ = __delitem__ = update = setdefault = pop = popitem = clear = _refuse
