"""Stores of third parties: an entry point of the group `titans.stores` opens the URLs of its
scheme.

    [project.entry-points."titans.stores"]
    acme = "titans_acme:open_acme"        # acme://…

It names a function that takes the URL, and options by keyword, and returns an object with the
methods of `ObjectStore`. Nothing is looked for before a URL has a scheme that the core does not
know, and only that one's package is imported.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from importlib import metadata
from typing import Any

from titans.entry_points import PluginInfo, discover
from titans.errors import InputError, StoreError, TitansError, UnsupportedStoreError
from titans.store._protocol import ObjectStore

__all__ = ["GROUP", "open_plugin"]

GROUP = "titans.stores"

BUILT_IN = ("file", "s3", "memory")


def open_plugin(scheme: str, where: str, options: dict[str, Any]) -> ObjectStore:
    """The store that an installed package opens for a URL of this scheme.

    Raises:
        UnsupportedStoreError: none does, or more than one, or its package is blocked or broken.
        InputError: it does not have these options.
    """
    info = _claim(scheme, where)
    factory = _factory(info)
    _check_options(info, factory, where, options)
    try:
        store = factory(where, **options)
    except TitansError:
        raise
    except Exception as error:
        raise StoreError(
            f"{scheme}:// ({info}) could not open its store: {type(error).__name__}: {error}"
        ) from error

    if not isinstance(store, ObjectStore):
        missing = [name for name in _members() if not hasattr(store, name)]
        raise UnsupportedStoreError(
            f"{scheme}:// ({info}) opened a {type(store).__name__}, which is no ObjectStore: it "
            f"lacks {', '.join(missing)}; report it to its authors"
        )
    return store


def _claim(scheme: str, where: str) -> PluginInfo:
    """The one entry point for a scheme.

    Raises:
        UnsupportedStoreError: there is none, or more than one, or it is blocked.
    """
    infos = discover(GROUP)
    claims = [info for info in infos if info.name.lower() == scheme]
    if not claims:
        names = sorted({info.name for info in infos} - set(BUILT_IN))
        others = "".join(f", {name}://" for name in names)
        raise UnsupportedStoreError(
            f"no store for {scheme}:// ({where}); use a folder, file://, s3:// or "
            f"memory://{others}, or install a package with an entry point named {scheme!r} in the "
            f'group "{GROUP}"'
        )

    if len(claims) > 1:
        distributions = dict.fromkeys(info.distribution for info in claims)
        raise UnsupportedStoreError(
            f"{scheme}:// is claimed {len(claims)} times: {'; '.join(map(str, claims))}. TITANS "
            "does not choose between them: uninstall all but one (pip uninstall "
            f"{' | '.join(distributions)})"
        )

    (info,) = claims
    if info.status == "blocked":
        raise UnsupportedStoreError(f"no store for {scheme}:// ({info}): {info.problem}")
    return info


def _factory(info: PluginInfo) -> Any:
    try:
        factory = metadata.EntryPoint(info.name, info.value, GROUP).load()
    except (Exception, SystemExit) as error:
        raise UnsupportedStoreError(
            f"the package for {info.name}:// ({info}) cannot be imported: {type(error).__name__}: "
            f"{error}. Fix or reinstall it (pip install --force-reinstall {info.distribution})"
        ) from error

    if not callable(factory):
        raise UnsupportedStoreError(
            f"the entry point for {info.name}:// ({info}) names a {type(factory).__name__}; it "
            "must name a function that takes a URL and returns an ObjectStore"
        )
    return factory


def _check_options(info: PluginInfo, factory: Any, where: str, options: dict[str, Any]) -> None:
    """Before the call, because a `TypeError` from inside it is the package's, not the caller's."""
    try:
        with suppress(ValueError):  # a function written in C may have no signature
            inspect.signature(factory).bind(where, **options)
    except TypeError as error:
        names = ", ".join(sorted(options)) or "no options"
        raise InputError(
            f"{info.name.lower()}:// ({info}) cannot be opened with {names}: {error}"
        ) from error


def _members() -> list[str]:
    return [name for name in vars(ObjectStore) if not name.startswith("_")]
