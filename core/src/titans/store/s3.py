"""A store in an S3 bucket, or in anything that speaks S3 and honours conditional writes."""

from __future__ import annotations

import json
import logging
import pickle
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from titans.errors import (
    AlreadyExists,
    InputError,
    InvalidKeyError,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    StoreError,
    Unavailable,
    UnsupportedStoreError,
)
from titans.store._protocol import Blob, Entry, check_key, check_prefix
from titans.store._s3_bucket import Bucket, is_aws, lists_in_order, made_client
from titans.store._s3_errors import LostRace, NotModified, OutOfRange
from titans.store._s3_url import RemoteUrl

__all__ = ["MARKER", "S3Store"]

log = logging.getLogger("titans.store")

MARKER = "_titans/conditional-writes.json"
"""Remembers, per bucket and prefix, that the server was seen to honour conditional writes. Never
listed."""

_OWN = "_titans/"
_KNOWN = 128
_PART = 16 << 20
"""Bytes of a part of a large object; what is no larger goes in one request."""
_NOT_PUT = {"Bucket", "Key", "Body", "IfMatch", "IfNoneMatch"}


class S3Store:
    """Objects below `prefix` in `bucket`.

    Args:
        client: a boto3 S3 client; by default one is made from the environment, with bounded
            timeouts.
        endpoint_url, region: for the client that is made.
        expected_bucket_owner: account id; requests to a bucket of another owner are refused by S3.
        put_args: further arguments of every `put_object`, such as `{"ServerSideEncryption":
            "aws:kms"}`. A customer's key (`SSECustomerKey`, …) is sent with reads too.
        sleep: called between attempts with the number of seconds to wait.

    The first write checks once per bucket and prefix that the server refuses conditional writes
    when it must, and keeps the result there (`_titans/conditional-writes.json`).

    What surely had no effect (the server asks to slow down, a conflict of two simultaneous writes,
    nobody listens) is tried again a few times; reads also after a broken connection or a failure of
    the server. A write without an answer is not.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        client: Any = None,
        endpoint_url: str | None = None,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
        put_args: Mapping[str, Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bucket = bucket
        self.prefix = f"{check_key(prefix)}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self.parallel = True

        taken = sorted(_NOT_PUT & set(put_args or {}))
        if taken:
            raise InputError(f"put_args may not hold {', '.join(taken)}: the store sets them")

        self._own_client = client is None
        self._place = (endpoint_url, region)
        """Of the client that another process makes, where this one made its own."""
        if client is None:
            client = made_client(endpoint_url, region, self.url, bucket)
        self._client = client
        self._requests = Bucket(
            client=client,
            name=bucket,
            prefix=self.prefix,
            url=self.url,
            owner=expected_bucket_owner or "",
            put_args=dict(put_args or {}),
            sleep=sleep,
        )
        self._ordered = lists_in_order(client, bucket)

        # What is known of the server. Threads share it: each only ever becomes true, and two that
        # come at once both look.
        self._checked = False
        self._parts_checked = False

        self._given: dict[str, Blob] = {}
        """By key, what `get_again` gave; at most `_KNOWN`, the oldest goes first. The server says
        whether one is still what it was. Threads may share it: each entry is whole."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process makes a client of its own, from its own environment."""
        requests = self._requests
        options: dict[str, Any] = {
            "expected_bucket_owner": requests.owner or None,
            "put_args": dict(requests.put_args),
            "sleep": requests.sleep,
        }
        if self._own_client:
            endpoint_url, region = self._place
            options |= {"endpoint_url": endpoint_url, "region": region}
        else:
            _check_client(self._client, self.url)
            options["client"] = self._client
        return partial(type(self), **options), (self.bucket, self.prefix.rstrip("/"))

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    @property
    def address(self) -> str:
        """The URL that opens it elsewhere, with its options and without credentials; empty where
        none does, because of a client or arguments that were given.
        """
        if not self._own_client or self._requests.put_args:
            return ""
        endpoint_url, region = self._place
        options = {
            "endpoint_url": endpoint_url,
            "region": region,
            "expected_bucket_owner": self._requests.owner,
        }
        query = urlencode({name: value for name, value in options.items() if value})
        url = f"s3://{self.bucket}/{quote(self.prefix.rstrip('/'))}".rstrip("/")
        return f"{url}?{query}" if query else url

    # --- reading ----------------------------------------------------------------------------------

    def get(self, key: str) -> Blob:
        answer, data = self._requests.read(check_key(key))
        return Blob(data, answer["ETag"], answer["LastModified"])

    def given(self, key: str) -> Blob | None:
        """What `get_again` gave last, if that is still known."""
        return self._given.get(key)

    def get_again(self, key: str) -> Blob:
        """As `get`; what was given before and is the same still is not sent again."""
        known = self._given.get(check_key(key))
        if known is not None:
            try:
                answer, data = self._requests.read(key, known.etag)
            except NotModified:
                return known
        else:
            answer, data = self._requests.read(key)

        blob = Blob(data, answer["ETag"], answer["LastModified"])
        while len(self._given) >= _KNOWN and key not in self._given:
            self._given.pop(next(iter(self._given), key), None)
        self._given[key] = blob
        return blob

    def get_range(self, key: str, start: int, end: int) -> bytes:
        if end <= start:
            self.head(key)
            return b""
        try:
            return self._requests.read_range(check_key(key), start, end)[1]
        except OutOfRange:
            return b""

    def head(self, key: str) -> Entry:
        """With a GET of one byte: an answer to HEAD has no body, so nothing shows that its headers
        were cut, nor whether it is the bucket that is missing.
        """
        try:
            answer, _, size = self._requests.read_range(check_key(key), 0, 1)
        except OutOfRange:
            answer, data = self._requests.read(key)
            size = len(data)
        return Entry(key, size, answer["ETag"], answer["LastModified"])

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        if self._ordered:
            return self._list_as_served(prefix, start_after)
        return self._list_sorted(prefix, start_after)

    def _list_sorted(self, prefix: str, start_after: str) -> Iterator[Entry]:
        """Every page first, then in order.

        Some servers go folder by folder, "a/b" before "a-b". They start in that order too, and
        leave out the folder in which `start_after` lies.
        """
        entries = [e for e in self._list_as_served(prefix, "") if e.key > start_after]
        entries.sort(key=lambda entry: entry.key)
        yield from entries

    def _list_as_served(self, prefix: str, start_after: str) -> Iterator[Entry]:
        for listed in self._requests.list_objects(prefix, start_after):
            key = listed["Key"].removeprefix(self.prefix)
            if key > start_after and not key.startswith(_OWN) and _is_key(key):
                etag = listed.get("ETag", "")
                yield Entry(key, listed["Size"], etag, listed["LastModified"])

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    def remote_url(self, key: str) -> RemoteUrl:
        """Where an object lies and how others get at it: engines that read S3 themselves.

        Raises:
            StoreError: it is encrypted with a customer's key, which they cannot be given.
        """
        check_key(key)
        if self._requests.read_args:
            raise StoreError(
                f"{key} in {self.url} is encrypted with a customer's key, which other readers "
                "cannot be given; read it through TITANS",
                key=key,
            )
        url = f"s3://{self.bucket}/{self.prefix}{key}"
        return RemoteUrl.of(self._client, url, is_aws=is_aws(self._client))

    # --- writing ----------------------------------------------------------------------------------

    def create(self, key: str, data: bytes) -> str:
        check_key(key)
        self._check_conditional_writes()
        try:
            return self._requests.write(key, data, IfNoneMatch="*")
        except LostRace:
            raise self._exists(key) from None

    def create_file(self, key: str, path: Path) -> str:
        """As `create`, of a file; a large one goes in parts, and is there once all of them are."""
        check_key(key)
        if path.stat().st_size <= _PART:
            return self.create(key, path.read_bytes())

        self._check_conditional_writes()
        self._check_conditional_parts()
        with path.open("rb") as file:
            parts = iter(lambda: file.read(_PART), b"")
            try:
                return self._requests.write_in_parts(key, parts)
            except LostRace:
                raise self._exists(key) from None

    def _exists(self, key: str) -> AlreadyExists:
        return AlreadyExists(f"{key} exists in {self.url}", key=key)

    def replace(self, key: str, data: bytes, etag: str) -> str:
        check_key(key)
        self._check_conditional_writes()

        # In the header, `*` and lists match more than one version.
        if etag and "*" not in etag and "," not in etag:
            try:
                return self._requests.write(key, data, IfMatch=etag)
            except (LostRace, NotFound):
                pass

        raise PreconditionFailed(
            f"{key} in {self.url} is not the version {etag}, or not there", key=key
        )

    def delete(self, key: str) -> None:
        check_key(key)
        try:
            self._requests.delete(key)
        except NotFound:  # some servers say so
            return

    # --- what the server can do -------------------------------------------------------------------

    def _check_conditional_writes(self) -> None:
        """Refuse a server that takes every write, whatever its conditions say."""
        if self._checked:
            return

        try:
            self.head(MARKER)
        except NotFound:
            try:
                self._try_conditional_writes()
            except OutcomeUnknown as error:
                # Of the trial; what the caller wants to write has not been sent.
                raise Unavailable(
                    f"cannot check that {self.url} honours conditional writes: {error}",
                    key=error.key,
                ) from error

        self._checked = True

    def _check_conditional_parts(self) -> None:
        """Refuse a server that honours conditions, but not for an object that comes in parts."""
        if self._parts_checked:
            return

        # Over an object that is there; should it be replaced, then by itself.
        marker = self.get(MARKER).data
        try:
            self._requests.write_in_parts(MARKER, iter([marker]))
        except LostRace:
            self._parts_checked = True
        else:
            raise UnsupportedStoreError(
                f"{self.url} ignores If-None-Match where an object comes in parts "
                "(CompleteMultipartUpload): two writers would "
                "overwrite each other; use a server that honours it, such as AWS S3 or SeaweedFS"
            )

    def _try_conditional_writes(self) -> None:
        key = f"{_OWN}probe-{secrets.token_hex(8)}"
        try:
            honoured = self._honours_conditions(key)
        finally:
            try:
                self.delete(key)
            except StoreError as error:
                log.warning("%s%s is left over and may be deleted: %s", self.prefix, key, error)

        if not honoured:
            raise UnsupportedStoreError(
                f"{self.url} ignores conditional writes (If-None-Match, If-Match): two writers "
                "would overwrite each other; "
                "use a server that honours them, such as AWS S3, MinIO, Ceph, SeaweedFS or R2"
            )

        note = json.dumps({"conditional_writes": True}).encode()
        try:
            self._requests.write(MARKER, note, IfNoneMatch="*")
        except LostRace:
            log.debug("%s was checked by another process at the same time", self.url)

    def _honours_conditions(self, key: str) -> bool:
        etag = self._requests.write(key, b"1", IfNoneMatch="*")

        # Nobody else knows this key: a right condition that is refused tells as much as a wrong one
        # that is not.
        return (
            self._refuses(key, IfNoneMatch="*")
            and self._refuses(key, IfMatch=f'"{secrets.token_hex(16)}"')
            and not self._refuses(key, IfMatch=etag)
            and self._refuses(key, IfMatch=etag)
        )

    def _refuses(self, key: str, **condition: str) -> bool:
        data = f"{condition} {secrets.token_hex(8)}".encode()
        try:
            self._requests.write(key, data, **condition)
        except (LostRace, NotFound):
            return True
        return False


def _check_client(client: Any, url: str) -> None:
    """Raise `InputError` where a caller's client cannot be sent to another process."""
    try:
        pickle.dumps(client)
    except Exception as error:
        raise InputError(
            f"{url} was opened with a client of yours, which does not pickle ({error}); give other "
            "processes the URL, with the settings of the client in their environment or in the "
            "URL, and open it there"
        ) from error


def _is_key(key: str) -> bool:
    """Whether the archive could have written it; others may keep folder markers and dot files
    beside us.
    """
    try:
        check_key(key)
    except InvalidKeyError:
        return False
    return True
