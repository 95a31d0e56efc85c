"""The commit loop: read, apply a pure function, compare-and-swap, and on a lost race do it again on
what is there now.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable

from attrs import frozen

from titans.errors import (
    AlreadyExists,
    ConcurrencyConflictError,
    FormatError,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    ProviderMismatchError,
    Unavailable,
)
from titans.layout import Paths
from titans.provider import Provider
from titans.slots import Month, Slot
from titans.store import Blob, ObjectStore
from titans.tiers.files import read_info
from titans.tiers.legacy import is_legacy, upgraded
from titans.tiers.manifest import Manifest, check_provider, load_json

__all__ = ["ATTEMPTS", "Head", "admitted", "agree", "commit", "pause", "read_head"]

log = logging.getLogger("titans.commit")

ATTEMPTS = 32
"""How many races a commit may lose before `ConcurrencyConflictError`."""

_KNOWN = 128
_SILENCE = 6
"""How often in a row the store may not answer before its own error is raised."""


@frozen
class Head:
    """A manifest as it was read, with what compare-and-swap needs."""

    manifest: Manifest
    blob: Blob | None
    """`None` where the month has no manifest yet."""


_parsed: dict[bytes, tuple[Provider, Paths, Manifest]] = {}
"""Manifests as they were last read or written: whoever meets the same bytes again need not take
them apart."""


def read_head(store: ObjectStore, paths: Paths, provider: Provider, month: Month) -> Head:
    """The month's manifest now.

    Raises:
        ManifestError, FormatVersionError
        NotFound: a file that has to be looked at, because the manifest does not say enough of it,
            is not there (any more).
        ProviderMismatchError: the month was written with a key, a slot length or a schema that are
            not the provider's.
    """
    try:
        blob = store.get(paths.manifest_key(month))
    except NotFound:
        return Head(Manifest.empty(provider, month), None)
    known = _parsed.get(blob.data)
    if known is not None and known[0] is provider and known[1] == paths and known[2].month == month:
        return Head(known[2], blob)
    found = load_json(blob.data, paths.manifest_key(month))
    if is_legacy(found):
        return Head(upgraded(found, store, paths, provider, month), blob)
    manifest = _complete(Manifest.from_json(found, provider, month, paths), store, paths, provider)
    _remember(blob.data, provider, paths, manifest)
    return Head(manifest, blob)


def _complete(manifest: Manifest, store: ObjectStore, paths: Paths, provider: Provider) -> Manifest:
    """With the schemas that a manifest of before they were recorded does not name: one file of each
    says them.
    """
    named = [(f.schema_version, f.file, f.first) for f in manifest.files]
    named += [(k.schema_version, k.file, k.slot) for k in manifest.keyframes]
    gone: NotFound | None = None
    for version, file, index in named:
        if version not in manifest.schemas:
            key, slot = (
                paths.file_key(manifest.month, file),
                Slot(manifest.month, index, paths.minutes),
            )
            try:
                manifest = manifest.knowing(provider, read_info(store, key, provider, slot).schema)
            except NotFound as error:
                gone = error
    if missing := sorted({version for version, _, _ in named} - set(manifest.schemas)):
        if gone is not None:
            raise gone  # merged and removed since the manifest was read: who asked reads it again
        raise ProviderMismatchError(
            f"{paths.manifest_key(manifest.month)} has files of schema version {missing[0]} that "
            "do not say their columns, and "
            f"{provider} declares version {provider.schema.version}; compact once with the release "
            "of the provider that has "
            f"version {missing[0]}, then this one reads them"
        )
    return manifest


def admitted(store: ObjectStore, paths: Paths, provider: Provider, month: Month) -> Head:
    """As `read_head`, for a month that is about to be written to: where it has no manifest, the
    rest of the archive is asked.
    """
    head = read_head(store, paths, provider, month)
    if head.blob is None:
        agree(store, paths, provider, month)
    return head


def agree(store: ObjectStore, paths: Paths, provider: Provider, month: Month) -> None:
    """For a month without a manifest: raise where the rest of the archive is not that of the
    provider.

    The month before is looked at, else the nearest one before or after that has a manifest; where
    none has, a hot file.

    Raises:
        ProviderMismatchError: see `titans.tiers.manifest.check_provider`.
    """
    if _agrees(store, provider, paths.manifest_key(month.previous())):
        return
    there = (paths.parse_manifest_key(e.key) for e in store.list(paths.warm_prefix + "/"))
    months = sorted(m for m in there if m is not None and m != month)
    if months:
        before = [m for m in months if m < month]
        _agrees(store, provider, paths.manifest_key(before[-1] if before else months[0]))
        return
    found = ((e.key, paths.as_any_hot_key(e.key)) for e in store.list(paths.hot_prefix + "/"))
    hot, slot = next(((key, slot) for key, slot in found if slot is not None), ("", None))
    if slot is None:
        return
    try:
        info = read_info(store, hot, provider, slot)
    except (FormatError, NotFound) as error:
        log.warning("%s cannot be read, and says nothing of other files: %s", hot, error)
        return
    if info.schema is not None:
        provider.evolution(info.schema, hot)


def _agrees(store: ObjectStore, provider: Provider, key: str) -> bool:
    """Whether there is a manifest under `key`; raises where it is of another provider than this."""
    try:
        check_provider(load_json(store.get(key).data, key), provider, key)
    except NotFound:
        return False
    except (FormatError, KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("%s cannot be read, and says nothing of other months: %s", key, error)
    return True


def _remember(data: bytes, provider: Provider, paths: Paths, manifest: Manifest) -> None:
    while len(_parsed) >= _KNOWN:
        _parsed.pop(next(iter(_parsed), b""), None)  # the oldest
    _parsed[data] = (provider, paths, manifest)


def pause(attempt: int) -> None:
    """Wait before the next attempt: a random part of 10 ms, doubling up to 1 s."""
    time.sleep(random.random() * min(1.0, 0.01 * 2**attempt))  # noqa: S311


def commit(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    month: Month,
    mutate: Callable[[Head], Manifest | None],
    *,
    head: Head | None = None,
    wait: Callable[[int], None] = pause,
    attempts: int = ATTEMPTS,
) -> Manifest:
    """Apply `mutate` to the month's manifest and store the result; returns the manifest that holds
    it.

    `mutate` gets the head as it is and returns the new manifest, or `None` if there is nothing to
    change (any more). It is called again on the newer head after every lost race, so it must not
    remember what an earlier call saw.

    `head` is the manifest as the caller has just read it; it saves the first read.

    A write whose answer got lost is found again by its commit id: nothing is applied twice.

    Raises:
        ProviderMismatchError: as `read_head`.
        ConcurrencyConflictError: `attempts` races were lost. Nothing is lost: hot files stay, and
            whoever compacts next adopts them.
        Unavailable: the store does not answer.
    """
    key = paths.manifest_key(month)
    tried: set[str] = set()
    reason: Exception | None = None
    silent, missing_at = 0, -1
    for attempt in range(attempts):
        if attempt:
            wait(attempt - 1)
        try:
            if head is None or attempt:
                head = read_head(store, paths, provider, month)
        except Unavailable as error:
            silent += 1
            if silent == _SILENCE:
                raise
            reason = error
            continue
        silent = 0
        if not tried.isdisjoint(head.manifest.commit_ids):
            return head.manifest
        try:
            changed = mutate(head)
        except NotFound as error:
            # A file of this manifest was merged and removed while it was looked at; unless it is
            # gone for good.
            if missing_at == head.manifest.version:
                raise
            missing_at, reason, head = head.manifest.version, error, None
            continue
        if changed is None:
            return head.manifest
        commit_id = secrets.token_hex(8)
        changed = changed.committed(commit_id)
        tried.add(commit_id)
        data = changed.dump()
        try:
            if head.blob is None:
                store.create(key, data)
            else:
                store.replace(key, data, head.blob.etag)
        except (AlreadyExists, PreconditionFailed, OutcomeUnknown, Unavailable) as error:
            reason = error
            log.info(
                "%s %s: attempt %d to commit lost (%s)",
                provider.name,
                month,
                attempt + 1,
                type(error).__name__,
                extra={"provider": provider.name, "month": str(month), "attempt": attempt + 1},
            )
            continue
        _remember(data, provider, paths, changed)
        return changed
    raise ConcurrencyConflictError(
        f"provider {provider.name!r}, month {month}: {attempts} attempts to commit to {key} "
        "failed, the last with "
        f"{type(reason).__name__ if reason else 'a conflict'} ({reason}); nothing is lost, the "
        "next compaction adopts "
        "every uploaded file: run it again later"
    ) from reason
