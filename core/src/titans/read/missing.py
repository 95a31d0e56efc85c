"""What to say where nothing of an archive was found: what lies there instead."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from titans.dataset import Dataset
from titans.errors import ArchiveNotFoundError, ManifestError, TitansError
from titans.layout import PathLayout
from titans.store import ObjectStore

__all__ = ["missing"]

_LOOKS = 8
"""How many places of a store are looked at, to say what lies there."""


def missing(dataset: Dataset) -> TitansError:
    """What is wrong with an archive that has neither a manifest nor a hot file. Asks the store."""
    paths, provider = dataset.paths, dataset.provider.name
    for prefix in (paths.warm_prefix, paths.state_prefix):
        for entry in dataset.store.list(f"{prefix}/"):
            if entry.key.endswith(".parquet"):
                return ManifestError(
                    f"the archive of provider {provider!r} in {dataset.store.url} has files "
                    f"({entry.key}) and no manifest: it was lost; run titans repair",
                    provider=provider,
                    key=entry.key,
                )

    place = f"{dataset.store.url} (nothing below {paths.hot_prefix} or {paths.warm_prefix})"
    strange = _first(dataset.store, paths.hot_prefix) or _first(dataset.store, paths.warm_prefix)
    if strange:
        place = f"{dataset.store.url}, only {strange}, which is none of its files"
    return ArchiveNotFoundError(
        f"no archive of provider {provider!r} in {place}; {_instead(dataset)}. Check the store, "
        "TITANS_ENV and the name of the provider; the first upload or ingest makes the archive",
        provider=provider,
    )


def _instead(dataset: Dataset) -> str:
    """What lies in the store."""
    other = evolve(dataset.paths, environment="" if dataset.paths.environment else "test/")
    if any(_first(dataset.store, p) for p in (other.hot_prefix, other.warm_prefix)):
        where = "below test/, for TITANS_ENV=test" if other.environment else "outside of test/"
        return f"there is one {where}"

    found = dict.fromkeys(_places(dataset.store))
    if not found:
        return "there is nothing at all"
    return f"there is {', '.join(found)}"


def _first(store: ObjectStore, prefix: str) -> str:
    """The first object below `prefix`; empty where there is none."""
    entry = next(iter(store.list(f"{prefix}/")), None)
    return "" if entry is None else entry.key


def _places(store: ObjectStore) -> Iterator[str]:
    """The first folders of a store, two levels deep; those of other providers by their names."""
    layout = PathLayout()
    tiers = {part.partition("/")[0] for part in (layout.hot, layout.warm, layout.state)}
    after = ""
    for _ in range(_LOOKS):
        entry = next(iter(store.list("", after)), None)
        if entry is None:
            return
        environment, parts = "", entry.key.split("/")
        if parts[0] == "test" and len(parts) > 1:
            environment, parts = "test/", parts[1:]
        folder = "/".join(parts[:2])
        if parts[0] in tiers and len(parts) > 2:
            suffix = " (in test/)" if environment else ""
            yield f"an archive of provider {parts[1]!r}{suffix}"
        else:
            yield environment + folder
        # Everything in that folder is less than this.
        after = f"{environment}{folder}/\U0010ffff" if len(parts) > 2 else entry.key
