"""The commit loop: read, apply a pure function, compare-and-swap, and on a lost race do it again on
what is there now.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import frozen

from titans.dataset import Dataset
from titans.errors import (
    AlreadyExists,
    ConcurrencyConflictError,
    FormatError,
    InputError,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    Unavailable,
)
from titans.slots import Month
from titans.store import Blob, get_again
from titans.tiers.files.fetch import read_info
from titans.tiers.files.writers import writer_of
from titans.tiers.manifest.legacy import is_legacy, read_legacy
from titans.tiers.manifest.lost import (
    holds_slots,
    list_files,
    lost_beginning,
    lost_slots,
    read_beginnings,
    read_unknown,
)
from titans.tiers.manifest.model import Manifest, check_provider, parse_object

__all__ = [
    "ATTEMPTS",
    "Head",
    "check_agreement",
    "commit",
    "list_months",
    "read_head",
    "read_head_to_write",
    "require_known",
]

log = logging.getLogger("titans.commit")

ATTEMPTS = 32
"""How many races a commit may lose before `ConcurrencyConflictError`."""

_SILENCE = 6
"""How often in a row the store may not answer before its own error is raised."""

_KNOWN = 128


@frozen
class Head:
    """A manifest as it was read, with what compare-and-swap needs."""

    manifest: Manifest
    blob: Blob | None
    """`None` where the month has no manifest yet."""


# --- reading --------------------------------------------------------------------------------------

_parsed: dict[bytes, tuple[Dataset, Manifest]] = {}
"""Manifests as they were last read or written, by their bytes: they need not be parsed again.

Bounded to `_KNOWN`, the oldest goes first. Never invalid: the same bytes say the same for the same
provider, paths and month, which are compared. Threads may share it, at worst one parses a manifest
twice; a fork begins with a copy.
"""


def read_head(dataset: Dataset, month: Month) -> Head:
    """The month's manifest now.

    Raises:
        ManifestError, FormatVersionError
        NotFound: a file that a manifest of the original layout names is not there (any more).
        ProviderMismatchError: the month was written with a key, a slot length or a schema that are
            not the provider's.
    """
    key = dataset.paths.manifest_key(month)
    try:
        blob = get_again(dataset.store, key)
    except NotFound:
        return Head(Manifest.empty(dataset.provider, month), None)

    manifest = _remembered(blob.data, dataset, month)
    if manifest is not None:
        return Head(manifest, blob)
    data = parse_object(blob.data, key)
    if is_legacy(data):
        return Head(read_legacy(data, dataset, month), blob)
    manifest = Manifest.from_json(data, dataset, month)
    _remember(blob.data, dataset, manifest)
    return Head(manifest, blob)


def list_months(dataset: Dataset, start_after: str = "") -> Iterator[Month]:
    """The months that have a manifest, of those whose keys are greater than `start_after`.

    Raises:
        ManifestError: a month has merged files and no manifest.
    """
    for month, has_manifest in _list_begun(dataset, start_after):
        if not has_manifest:
            head = read_head(dataset, month)
            if head.blob is None:  # else the list lags
                require_known(dataset, head.manifest)
                continue
        yield month


def _list_begun(dataset: Dataset, start_after: str = "") -> Iterator[tuple[Month, bool]]:
    """Months that have a manifest, or files that hold slots; with whether they have one."""
    paths = dataset.paths
    waiting: Month | None = None
    folder = ""
    month: Month | None = None
    for entry in dataset.store.list(paths.warm_prefix + "/", start_after):
        before, _, name = entry.key.rpartition("/")
        if before != folder:
            folder, month = before, paths.parse_manifest_key(f"{before}/manifest.json")
        if waiting is not None and month != waiting:
            yield waiting, False
            waiting = None
        if month is None:
            continue
        # In the order of keys, files that hold slots come before the manifest.
        if name == "manifest.json":
            waiting = None
            yield month, True
        elif holds_slots(name):
            waiting = month
    if waiting is not None:
        yield waiting, False


def require_known(dataset: Dataset, manifest: Manifest, slot: int | None = None) -> None:
    """Raise where merged files of the month hold slots that `manifest`, as it was just read, does
    not know; with `slot`, where they hold that one.

    Raises:
        ManifestError: it was lost, or an earlier version of it was put back.
    """
    month = manifest.month
    files = list_files(dataset, month)
    listed = {file: entry for file, entry in files.items() if holds_slots(file)}
    unknown = read_unknown(dataset, manifest, listed)
    if unknown:
        # It was read before the files were listed, so it may just be old.
        unknown = read_unknown(dataset, read_head(dataset, month).manifest, listed)
    if unknown and (slot is None or any(slot in slots for slots in unknown.values())):
        raise lost_slots(dataset, month, unknown)
    if manifest.version == 0:
        # Without a manifest, as most months begin.
        beginnings = read_beginnings(dataset, month, files.values())
        if beginnings and read_head(dataset, month).blob is None:
            raise lost_beginning(dataset, month, beginnings[-1][0])


def _remembered(data: bytes, dataset: Dataset, month: Month) -> Manifest | None:
    known = _parsed.get(data)
    if known is None:
        return None
    other, manifest = known
    same = other.provider is dataset.provider and other.paths == dataset.paths
    return manifest if same and manifest.month == month else None


def _remember(data: bytes, dataset: Dataset, manifest: Manifest) -> None:
    while len(_parsed) >= _KNOWN:
        _parsed.pop(next(iter(_parsed), b""), None)
    _parsed[data] = (dataset, manifest)


# --- before a month is begun ----------------------------------------------------------------------


def read_head_to_write(dataset: Dataset, month: Month) -> Head:
    """As `read_head`, for a month that is about to be written to: where it has no manifest, the
    rest of the archive must be that of the provider.
    """
    head = read_head(dataset, month)
    if head.blob is None:
        check_agreement(dataset, month)
    elif head.manifest.removed:
        raise removed_month(dataset, month)
    return head


def removed_month(dataset: Dataset, month: Month, so: str = "nothing was stored") -> InputError:
    """The error for a month that the archive keeps no longer; `so` is what follows from that."""
    name = dataset.provider.name
    return InputError(
        f"the archive of provider {name!r} keeps nothing of {month} any more: its first months "
        f"were removed (titans retain); {so}",
        provider=name,
        month=str(month),
    )


def check_agreement(dataset: Dataset, month: Month) -> None:
    """For a month without a manifest: raise where the rest of the archive is not the provider's.

    The month before is looked at, else the nearest ones before and after that have a manifest;
    where none has, a hot file. The archive may also have given up the month (`titans retain`).

    Raises:
        ProviderMismatchError: see `titans.tiers.manifest.model.check_provider`.
    """
    store, paths = dataset.store, dataset.paths
    previous = _checked_manifest(dataset, month.previous())
    if previous is not None and previous.get("removed") is not True:
        return

    months = sorted(m for m, has_manifest in _list_begun(dataset) if has_manifest and m != month)
    later = [m for m in months if m > month]
    if later:
        # Of months that are kept no longer, the next one that has a manifest says so.
        following = _checked_manifest(dataset, later[0])
        if following is not None and True in (following.get("removed"), following.get("begins")):
            raise removed_month(dataset, month)
    if months:
        earlier = [m for m in months if m < month]
        if earlier:
            _checked_manifest(dataset, earlier[-1])
        return

    for entry in store.list(paths.hot_prefix + "/"):
        slot = paths.as_any_hot_key(entry.key)
        if slot is None:
            continue
        try:
            info = read_info(dataset, entry.key, slot)
        except (FormatError, NotFound) as error:
            log.warning("%s cannot be read, and says nothing of other files: %s", entry.key, error)
            return
        if info.schema is not None:
            dataset.provider.evolution(info.schema, entry.key)
        return


def _checked_manifest(dataset: Dataset, month: Month) -> Mapping[str, Any] | None:
    """What the manifest of a month says, nothing where it cannot be read; `None` where there is
    none.

    Raises:
        ProviderMismatchError: it is of another provider than this.
    """
    key = dataset.paths.manifest_key(month)
    try:
        data = parse_object(dataset.store.get(key).data, key)
        check_provider(data, dataset.provider, key)
    except NotFound:
        return None
    except (FormatError, LookupError, TypeError, ValueError, AttributeError) as error:
        log.warning("%s cannot be read, and says nothing of other months: %s", key, error)
        return {}
    return data


# --- committing -----------------------------------------------------------------------------------


def commit(
    dataset: Dataset,
    month: Month,
    mutate: Callable[[Head], Manifest | None],
    *,
    head: Head | None = None,
    attempts: int = ATTEMPTS,
) -> Manifest:
    """Apply `mutate` to the month's manifest and store the result; the manifest that holds it.

    `mutate` gets the head as it is and returns the new manifest, or `None` if there is nothing to
    change (any more). It is called again on the newer head after every lost race, so it must not
    remember what an earlier call saw.

    `head` is the manifest as the caller has just read it; it saves the first read.

    A write whose answer got lost is found again by its commit id: nothing is applied twice.

    Raises:
        ProviderMismatchError: as `read_head`.
        ManifestError: as `read_head`; or there is none, and merged files lie in the month.
        ConcurrencyConflictError: `attempts` races were lost. Nothing is lost: hot files stay, and
            whoever compacts next adopts them.
        Unavailable: the store does not answer.
    """
    tried: set[str] = set()
    reason: Exception | None = None
    silent, missing_at = 0, -1
    for attempt in range(attempts):
        if attempt:
            dataset.wait(attempt - 1)
        try:
            if head is None or attempt:
                head = read_head(dataset, month)
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
            # A file of this manifest was merged and removed while it was looked at; unless the
            # manifest is still the same, then the file is lost for good.
            if missing_at == head.manifest.version:
                raise
            missing_at, reason, head = head.manifest.version, error, None
            continue
        if changed is None:
            return head.manifest

        if head.blob is None:
            require_known(dataset, head.manifest)
        commit_id = secrets.token_hex(8)
        tried.add(commit_id)
        try:
            committed = changed.committed(commit_id, writer_of(dataset.provider))
            return _write(dataset, head, committed)
        except (AlreadyExists, PreconditionFailed, OutcomeUnknown, Unavailable) as error:
            reason = error
            _log_lost(dataset, month, attempt + 1, error)

    name = dataset.provider.name
    raise ConcurrencyConflictError(
        f"provider {name!r}, month {month}: {attempts} attempts to commit to "
        f"{dataset.paths.manifest_key(month)} failed, the last with {type(reason).__name__} "
        f"({reason}); nothing is lost, the next compaction adopts every uploaded file: run it "
        "again later",
        provider=name,
        month=str(month),
        key=dataset.paths.manifest_key(month),
    ) from reason


def _write(dataset: Dataset, head: Head, manifest: Manifest) -> Manifest:
    """Put `manifest` in the place of `head`, if that is still there."""
    key, data = dataset.paths.manifest_key(manifest.month), manifest.dump(dataset.paths)
    if head.blob is None:
        dataset.store.create(key, data)
    else:
        dataset.store.replace(key, data, head.blob.etag)
    _remember(data, dataset, manifest)
    return manifest


def _log_lost(dataset: Dataset, month: Month, attempt: int, error: Exception) -> None:
    name = dataset.provider.name
    log.info(
        "%s %s: attempt %d to commit lost (%s)",
        name,
        month,
        attempt,
        type(error).__name__,
        extra={"provider": name, "month": str(month), "attempt": attempt},
    )
