"""Moving an object out of the way that is not what its name says, or whose rows are gone.

Nothing is deleted: it lies beside its old place, under a name that nobody reads.
"""

from __future__ import annotations

import logging
import secrets

from titans.dataset import Dataset
from titans.errors import CorruptFileError, FormatError, InputError, InvalidKeyError, NotFound
from titans.layout import KeyframeName, WarmName
from titans.slots import Month
from titans.tiers.files.fetch import check_rows, read_info, read_rows, read_whole
from titans.tiers.manifest.commit import read_head
from titans.tiers.manifest.model import Manifest

__all__ = ["set_aside"]

log = logging.getLogger("titans.repair")


def set_aside(dataset: Dataset, key: str) -> str:
    """Move the object under `key` out of the way; its new key.

    Where the manifest names it, repair then makes the manifest again without it.

    Raises:
        InvalidKeyError: it does not lie among the objects of the provider, or is a manifest.
        InputError: it is sound, and the archive needs it.
        NotFound: there is no such object.
    """
    paths, store = dataset.paths, dataset.store
    prefixes = (paths.hot_prefix, paths.warm_prefix, paths.state_prefix)
    inside = any(key.startswith(f"{prefix}/") for prefix in prefixes)
    if not inside or paths.parse_manifest_key(key) is not None:
        raise InvalidKeyError(
            f"{key!r} is no object that can be set aside: data files of provider "
            f"{paths.provider!r} lie below {', '.join(prefixes)}, and manifests are repaired",
            provider=paths.provider,
            key=key,
        )
    data = store.get(key).data
    if _is_needed(dataset, key):
        raise InputError(
            f"{key} is sound, and part of the archive: it stays where it is",
            provider=paths.provider,
            key=key,
        )

    place = f"{key}.set-aside-{secrets.token_hex(4)}"
    store.create(place, data)
    store.delete(key)
    log.warning("%s is set aside as %s", key, place)
    return place


def _is_needed(dataset: Dataset, key: str) -> bool:
    """Whether the object is sound, and the archive counts it."""
    slot = dataset.paths.hot_slots()(key)
    month, file = _place(dataset, key)
    if slot is not None:
        month, file = slot.month, key
    if month is None:
        return False

    manifest = _read_manifest(dataset, month)
    is_live = manifest is None or file in manifest.live
    try:
        if slot is None:
            first = dataset.slot(month, 0)
            info = read_info(dataset, key, first)
            rows = read_rows(dataset.as_of(info.schema), key)
            check_rows(rows, info, dataset.provider, key)
            return is_live and manifest is not None
        info = read_whole(dataset, key, slot)
    except CorruptFileError:
        return False
    if is_live or info.base is None or manifest is None:
        return True
    return info.base in manifest.observed


def _place(dataset: Dataset, key: str) -> tuple[Month | None, str]:
    """Month and name of a warm file or keyframe."""
    folder, _, name = key.rpartition("/")
    if WarmName.parse(name) is not None:
        return dataset.paths.parse_manifest_key(f"{folder}/manifest.json"), name
    parsed = dataset.paths.parse_keyframe_key(key)
    if parsed is not None and KeyframeName.parse(name) is not None:
        return parsed[0], name
    return None, name


def _read_manifest(dataset: Dataset, month: Month) -> Manifest | None:
    """`None` where it cannot be read."""
    try:
        return read_head(dataset, month).manifest
    except (FormatError, NotFound):
        return None
