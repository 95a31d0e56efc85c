"""Where in a store archives lie, and opening one whether its provider is installed or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import evolve, frozen

from titans.archive import Archive
from titans.errors import FormatError, InputError, ManifestError, PluginError, UnknownProviderError
from titans.layout import PathLayout
from titans.plugins import installed, load
from titans.provider import Provider
from titans.schema import Schema
from titans.store import ObjectStore
from titans.tiers.manifest.commit import list_months
from titans.tiers.manifest.model import parse_object

__all__ = ["ENVIRONMENTS", "Place", "find_places", "open_place"]

ENVIRONMENTS = ("", "test/")
_UNKNOWN = Schema({"value": "Float64"})
"""Columns of a provider of which only the paths are needed."""


@frozen
class Place:
    """Where an archive lies."""

    provider: str
    environment: str
    """`test/` or nothing."""
    installed: bool


def find_places(store: ObjectStore) -> list[Place]:
    """Every archive of a store, by environment and name: those under the usual prefixes, and those
    of installed providers wherever they keep theirs.

    A few listings for each archive, however large it is.
    """
    known = {info.name for info in installed() if info.status != "blocked"}
    found = set()
    for environment in ENVIRONMENTS:
        for name in _usual(store, environment):
            found.add((environment, name))
        for name in known:
            if _has_own_place(store, environment, name):
                found.add((environment, name))
    return [Place(name, environment, name in known) for environment, name in sorted(found)]


def _usual(store: ObjectStore, environment: str) -> Iterator[str]:
    """Names of providers that have something in the warm or the hot tier."""
    layout = PathLayout()
    for tier in (layout.warm, layout.hot):
        prefix = environment + tier.partition("{provider}")[0]
        after = ""
        while True:
            entry = next(iter(store.list(prefix, after)), None)
            if entry is None:
                break
            name, _, rest = entry.key.removeprefix(prefix).partition("/")
            if rest:
                yield name
            # Everything of this provider is less than this.
            after = f"{prefix}{name}/\U0010ffff" if rest else entry.key


def _has_own_place(store: ObjectStore, environment: str, name: str) -> bool:
    """Whether a provider that keeps its archive elsewhere has one."""
    try:
        provider = load(name)
    except PluginError:
        return False
    usual = PathLayout()
    if (provider.layout.warm, provider.layout.hot) == (usual.warm, usual.hot):
        return False
    paths = evolve(provider.paths(), environment=environment)
    prefixes = (paths.warm_prefix, paths.hot_prefix)
    return any(next(iter(store.list(f"{prefix}/")), None) is not None for prefix in prefixes)


def open_place(store: ObjectStore, place: Place) -> Archive:
    """The archive. Where its provider is not installed, as its newest manifest describes it.

    Raises:
        PluginError: the provider is installed and does not load.
        FormatError: no manifest says what it consists of.
    """
    try:
        provider = load(place.provider)
    except UnknownProviderError:
        provider = _described(store, place)
    archive = Archive(store, provider)
    archive._enter(evolve(archive.paths, environment=place.environment))
    return archive


def _described(store: ObjectStore, place: Place) -> Provider:
    """A provider as the newest manifest of its archive says."""
    try:
        archive = Archive(store, Provider(place.provider, _UNKNOWN, ("key",)))
    except InputError as error:
        raise ManifestError(
            f"{place.provider!r} is no name of a provider: {error}", provider=place.provider
        ) from error
    archive._enter(evolve(archive.paths, environment=place.environment))
    dataset = archive._dataset
    months = list(list_months(dataset))
    if not months:
        raise ManifestError(
            f"provider {place.provider!r} is not installed, and its archive has no manifest yet "
            "that says what it consists of; install its package",
            provider=place.provider,
        )
    key = dataset.paths.manifest_key(months[-1])
    data = parse_object(store.get(key).data, key)
    try:
        return _from_manifest(place.provider, data)
    except (FormatError, LookupError, TypeError, ValueError) as error:
        raise ManifestError(
            f"{key} does not say what the archive consists of ({error}); install the package of "
            f"provider {place.provider!r}",
            provider=place.provider,
            key=key,
        ) from error


def _from_manifest(name: str, data: dict[str, Any]) -> Provider:
    versions = {int(version): columns for version, columns in data["schemas"].items()}
    newest = max(versions)
    schema = Schema(json.loads(json.dumps(versions[newest])), version=newest)
    layout = PathLayout(slot_minutes=int(data.get("slot_minutes", 10)))
    return Provider(name, schema, tuple(data["pk_columns"]), layout=layout)
