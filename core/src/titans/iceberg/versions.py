"""The versions of a published table in the store.

    iceberg/aws/changes/metadata/v7.metadata.json             the table, as of version 7
    iceberg/aws/changes/metadata/version-hint.text            the newest version, or an earlier one
    iceberg/aws/changes/metadata/00007-4b1d…-2026-01.avro     a manifest, written for version 7
    iceberg/aws/changes/data/00007-4b1d…-2026-01-0.parquet    rows that no file of the archive holds

A version is published by creating its metadata file, which only one can do. Everything that it
refers to was written before, under names that begin with its number: what bears the number of a
version that exists, and is not part of it, belongs to a publisher that lost the race.

What a version no longer refers to, it lists as released; that is removed once a reader of the
version before has had the grace period to finish.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from attrs import evolve, field, frozen

from titans.dataset import Dataset
from titans.errors import (
    AlreadyExists,
    FormatError,
    InputError,
    NotFound,
    PreconditionFailed,
)
from titans.store import Entry
from titans.tiers.files.fetch import fetch_all

__all__ = ["Names", "Place", "Release", "Removable", "Version", "create", "point_at"]

_METADATA = re.compile(r"metadata/v([1-9]\d{0,9})\.metadata\.json")
_OBJECT = re.compile(r"(?:metadata|data)/(\d{5,10})-[^/]+\.(?:avro|parquet)")
_HINT_ATTEMPTS = 8


@frozen
class Place:
    """Where a table lies."""

    dataset: Dataset
    prefix: str
    """`iceberg/aws/changes/`"""

    @classmethod
    def of(cls, dataset: Dataset, table: str) -> Place:
        return cls(dataset, dataset.paths.iceberg_table(table))

    def url(self, key: str) -> str:
        """How other engines call an object.

        Raises:
            InputError: they cannot get at it.
        """
        store = self.dataset.store
        path = store.local_path(key)
        if path is not None:
            return f"file://{path.absolute()}"
        remote = getattr(store, "remote_url", None)
        if remote is None:
            raise InputError(
                f"the store {store.url} cannot be read by other engines: publish an archive that "
                "lies in a folder or on S3"
            )
        url: str = remote(key).url
        return url

    @property
    def location(self) -> str:
        """The table's own URL."""
        return self.url(self.prefix + "metadata").removesuffix("/metadata")

    def metadata_key(self, number: int) -> str:
        return f"{self.prefix}metadata/v{number}.metadata.json"

    @property
    def hint_key(self) -> str:
        return f"{self.prefix}metadata/version-hint.text"

    def new_names(self, number: int) -> Names:
        """Names that nobody else has, for what a version consists of."""
        return Names(self.prefix, f"{number:05d}-{secrets.token_hex(8)}")


@frozen
class Names:
    """Keys of the objects of one attempt at a version."""

    prefix: str
    begins: str

    def avro(self, what: str) -> str:
        return f"{self.prefix}metadata/{self.begins}-{what}.avro"

    def parquet(self, what: str) -> str:
        return f"{self.prefix}data/{self.begins}-{what}.parquet"


@frozen
class Release:
    """Objects that a version no longer refers to."""

    version: int
    keys: tuple[str, ...]
    """Without the prefix of the table."""


@frozen(eq=False)
class Version:
    """The newest version of a table."""

    number: int
    """0 where nothing has been published."""
    metadata: Mapping[str, Any] = field(factory=dict)
    """As the metadata file has it."""
    hint: int | None = None
    """What the hint says."""

    @classmethod
    def newest(cls, place: Place) -> Version:
        """Of a table.

        Raises:
            FormatError: its metadata file is none that was published here.
        """
        hint = _read_hint(place)
        found = cls._since(place, hint or _listed(place))
        if found is None and hint:
            found = cls._since(place, _listed(place))  # the hint is older than the grace period
        return evolve(found or cls(0), hint=hint)

    @classmethod
    def _since(cls, place: Place, number: int) -> Version | None:
        """The newest from a version on; `None` where that one is not there."""
        if not number:
            return None
        ask = partial(_get, place)
        data, later = fetch_all(place.dataset.store, ask, [number, number + 1])
        if data is None:
            return None
        while later is not None:
            data, number = later, number + 1
            later = ask(number + 1)
        return cls(number, _parsed(place, number, data))

    def said(self, name: str) -> Any:
        """What a property of the table says, in JSON; `None` where it is not there."""
        text = self.metadata.get("properties", {}).get(f"titans.{name}")
        return None if text is None else json.loads(text)

    @property
    def released(self) -> tuple[Release, ...]:
        found = []
        for version, keys in self.said("released") or ():
            found.append(Release(version, tuple(keys)))
        return tuple(found)


def _read_hint(place: Place) -> int | None:
    with suppress(NotFound, ValueError):
        return int(place.dataset.store.get(place.hint_key).data)
    return None


def _listed(place: Place) -> int:
    """The newest version that a listing shows, 0 for none."""
    newest = 0
    for entry in place.dataset.store.list(f"{place.prefix}metadata/v"):
        match = _METADATA.fullmatch(entry.key.removeprefix(place.prefix))
        if match is not None:
            newest = max(newest, int(match[1]))
    return newest


def _get(place: Place, number: int) -> bytes | None:
    try:
        return place.dataset.store.get(place.metadata_key(number)).data
    except NotFound:
        return None


def _parsed(place: Place, number: int, data: bytes) -> Mapping[str, Any]:
    key = place.metadata_key(number)
    try:
        found = json.loads(data)
        is_ours = "titans.months" in found["properties"] and found["format-version"] == 2
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(
            f"{key} is no metadata of a table that titans publish has written ({error}); remove "
            f"everything below {place.prefix} and publish again",
            key=key,
        ) from error
    if not is_ours:
        raise FormatError(
            f"{key} was written by something else: what lies below {place.prefix} belongs to "
            "titans publish; move that table elsewhere, and publish again",
            key=key,
        )
    metadata: Mapping[str, Any] = found
    return metadata


def create(place: Place, number: int, data: bytes) -> bool:
    """Publish a version; whether it was this one that did.

    Raises:
        OutcomeUnknown, Unavailable: it may have been published.
    """
    try:
        place.dataset.store.create(place.metadata_key(number), data)
    except AlreadyExists:
        return False
    return True


def point_at(place: Place, number: int) -> None:
    """Let the hint say a version, unless it says a later one."""
    store, key = place.dataset.store, place.hint_key
    data = str(number).encode()
    for attempt in range(_HINT_ATTEMPTS):
        if attempt:
            place.dataset.wait(attempt - 1)
        with suppress(AlreadyExists, PreconditionFailed):
            try:
                blob = store.get(key)
            except NotFound:
                store.create(key, data)
                return
            if blob.data.strip().isdigit() and int(blob.data) >= number:
                return
            store.replace(key, data, blob.etag)
            return
    # Others have just done it, again and again.


@frozen(eq=False)
class Removable:
    """What may be removed once the next version is there."""

    keys: tuple[str, ...]
    released: tuple[Release, ...]
    """What may not, yet."""

    @classmethod
    def of(cls, place: Place, newest: Version, used: Iterable[str], grace: timedelta) -> Removable:
        """After `newest`, which refers to `used`."""
        listed: dict[str, Entry] = {}
        for entry in place.dataset.store.list(place.prefix):
            listed[entry.key.removeprefix(place.prefix)] = entry
        if not listed:
            return cls((), newest.released)

        # By the store's own clock: what was written last tells what time it is.
        due = max(entry.last_modified for entry in listed.values()) - grace
        begun = _begun(listed)
        released = []
        kept = set(used)
        for release in newest.released:
            since = begun.get(release.version)
            if since is not None and since > due:
                released.append(release)
                kept.update(release.keys)

        keys = []
        for name in listed:
            number = _OBJECT.fullmatch(name)
            version = _METADATA.fullmatch(name)
            if version is not None:
                successor = begun.get(int(version[1]) + 1)
                is_over = int(version[1]) < newest.number
                if is_over and (successor is None or successor <= due):
                    keys.append(place.prefix + name)
            elif number is not None and int(number[1]) <= newest.number and name not in kept:
                keys.append(place.prefix + name)
        return cls(tuple(keys), tuple(released))


def _begun(listed: Mapping[str, Entry]) -> dict[int, datetime]:
    """Version → when it was published."""
    begun = {}
    for name, entry in listed.items():
        match = _METADATA.fullmatch(name)
        if match is not None:
            begun[int(match[1])] = entry.last_modified
    return begun
