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
import re
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
    infos = discover(GROUP)
    claims = [info for info in infos if info.name.lower() == scheme]
    if not claims:
        others = "".join(
            f", {name}://" for name in sorted({info.name for info in infos} - set(BUILT_IN))
        )
        raise UnsupportedStoreError(
            f"no store for {scheme}:// ({_shown(where)}); use a folder, file://, s3:// or "
            f"memory://{others}, or install a package with "
            f'an entry point named {scheme!r} in the group "{GROUP}"'
        )
    if len(claims) > 1:
        names = " | ".join(dict.fromkeys(info.distribution for info in claims))
        raise UnsupportedStoreError(
            f"{scheme}:// is claimed {len(claims)} times: {'; '.join(map(str, claims))}. TITANS "
            "does not choose between them: "
            f"uninstall all but one (pip uninstall {names})"
        )
    (info,) = claims
    if info.status == "blocked":
        raise UnsupportedStoreError(f"no store for {scheme}:// ({info}): {info.problem}")
    factory = _factory(info)
    try:
        with suppress(ValueError):  # a function written in C may have no signature
            inspect.signature(factory).bind(where, **options)
    except TypeError as error:
        given = ", ".join(sorted(options)) or "no options"
        raise InputError(f"{scheme}:// ({info}) cannot be opened with {given}: {error}") from error
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
            f"lacks {', '.join(missing)}; report "
            "it to its authors"
        )
    return store


def _factory(info: PluginInfo) -> Any:
    try:
        found = metadata.EntryPoint(info.name, info.value, GROUP).load()
    except (Exception, SystemExit) as error:
        raise UnsupportedStoreError(
            f"the package for {info.name}:// ({info}) cannot be imported: {type(error).__name__}: "
            f"{error}. Mend or reinstall it "
            f"(pip install --force-reinstall {info.distribution})"
        ) from error
    if not callable(found):
        raise UnsupportedStoreError(
            f"the entry point for {info.name}:// ({info}) names a {type(found).__name__}; it must "
            "name a function that takes a "
            "URL and returns an ObjectStore"
        )
    return found


def _shown(where: str) -> str:
    """The URL for a message, without credentials."""
    return re.sub(r"//[^/@]*@", "//…@", where)


def _members() -> list[str]:
    return [name for name in vars(ObjectStore) if not name.startswith("_")]
