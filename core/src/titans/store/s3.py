"""A store in an S3 bucket, or in anything that speaks S3 and honours conditional writes."""

from __future__ import annotations

import json
import logging
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from titans.errors import (
    AlreadyExists,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    StoreError,
    Unavailable,
    UnsupportedStoreError,
)
from titans.store._protocol import Blob, Entry, check_key, check_prefix

__all__ = ["MARKER", "S3Store"]

log = logging.getLogger("titans.store")

MARKER = "_titans/conditional-writes.json"
"""Remembers, per bucket and prefix, that the server was seen to honour conditional writes."""

_ATTEMPTS = 6
_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429"}
_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409", "OperationAborted"}
_MISSING = {"NoSuchKey", "NotFound", "404"}

T = TypeVar("T")


class S3Store:
    """Objects below `prefix` in `bucket`.

    Args:
        client: a boto3 S3 client; by default one is made from the environment, with bounded timeouts.
        endpoint_url, region: for the client that is made.
        expected_bucket_owner: account id; requests to a bucket of another owner are refused by S3.
        put_args: further arguments of every `put_object`, such as `{"ServerSideEncryption": "aws:kms"}`.
        wait: called between attempts with the number of seconds to wait.

    The first write checks once per bucket and prefix that the server refuses conditional writes when it must, and keeps the
    result there (`_titans/conditional-writes.json`).
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
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bucket = bucket
        self.prefix = f"{check_key(prefix)}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._client = _client(endpoint_url, region) if client is None else client
        self._owner = {"ExpectedBucketOwner": expected_bucket_owner} if expected_bucket_owner else {}
        self._put_args = dict(put_args or {})
        self._wait = wait
        self._checked = False

    # --- reading ------------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Blob:
        answer, data = self._read(self._client.get_object, key)
        return Blob(data, answer["ETag"], answer["LastModified"])

    def get_range(self, key: str, start: int, end: int) -> bytes:
        if end <= start:
            return b""
        try:
            return self._read(self._client.get_object, key, Range=f"bytes={start}-{end - 1}")[1]
        except _OutOfRange:
            return b""

    def head(self, key: str) -> Entry:
        answer, _ = self._read(self._client.head_object, key)
        return Entry(key, answer["ContentLength"], answer["ETag"], answer["LastModified"])

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        return self._pages(prefix, start_after)

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    # --- writing ------------------------------------------------------------------------------------------------------

    def create(self, key: str, data: bytes) -> str:
        self._check_conditional_writes()
        try:
            return self._put(key, data, IfNoneMatch="*")
        except _Lost:
            raise AlreadyExists(f"{key} exists in {self.url}") from None

    def replace(self, key: str, data: bytes, etag: str) -> str:
        self._check_conditional_writes()
        try:
            return self._put(key, data, IfMatch=etag)
        except (_Lost, NotFound):
            raise PreconditionFailed(f"{key} in {self.url} is not the version {etag}") from None

    def delete(self, key: str) -> None:
        place = {"Bucket": self.bucket, "Key": self.prefix + check_key(key), **self._owner}
        self._retrying(f"delete {key}", lambda: self._client.delete_object(**place), Unavailable)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _read(self, call: Callable[..., Any], key: str, **arguments: Any) -> tuple[Any, bytes]:
        place = {"Bucket": self.bucket, "Key": self.prefix + check_key(key), **self._owner, **arguments}

        def attempt() -> tuple[Any, bytes]:
            answer = call(**place)
            return answer, answer["Body"].read() if "Body" in answer else b""

        return self._retrying(f"read {key}", attempt, Unavailable)

    def _pages(self, prefix: str, start_after: str) -> Iterator[Entry]:
        arguments = {"Bucket": self.bucket, "Prefix": self.prefix + prefix, **self._owner}
        if start_after:
            arguments["StartAfter"] = self.prefix + start_after
        while True:
            page = self._retrying(
                f"list {prefix or 'everything'}", lambda: self._client.list_objects_v2(**arguments), Unavailable
            )
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self.prefix)
                yield Entry(key, found["Size"], found["ETag"], found["LastModified"])
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _put(self, key: str, data: bytes, **condition: str) -> str:
        kind = "application/json" if key.endswith(".json") else "application/octet-stream"
        place = {"Bucket": self.bucket, "Key": self.prefix + check_key(key), "Body": data, "ContentType": kind}
        arguments = {**place, **self._owner, **self._put_args, **condition}
        answer = self._retrying(f"write {key}", lambda: self._client.put_object(**arguments), OutcomeUnknown)
        return str(answer["ETag"])

    def _retrying(self, what: str, attempt: Callable[[], T], unclear: type[Unavailable | OutcomeUnknown]) -> T:
        """`attempt`, again as long as the server asks to slow down, which tells that it did nothing.

        `unclear` is raised where no answer came: for a read nothing happened, for a write nobody knows.
        """
        for number in range(_ATTEMPTS):
            try:
                return attempt()
            except Exception as error:
                failure = self._translated(what, error, unclear)
                if not isinstance(failure, _Throttled) or number == _ATTEMPTS - 1:
                    raise failure from error
                self._wait(random.random() * min(5.0, 0.1 * 2**number))  # noqa: S311
        raise AssertionError("not reached")

    def _translated(self, what: str, error: Exception, unclear: type[Unavailable | OutcomeUnknown]) -> Exception:
        from botocore import exceptions as boto
        from urllib3.exceptions import HTTPError

        where = f"{what} in {self.url}"
        if isinstance(error, boto.ClientError):
            return self._refused(where, error, unclear)
        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.TokenRetrievalError):
            return StoreError(f"cannot {where}: no AWS credentials ({error}); set AWS_ACCESS_KEY_ID … or a profile")
        if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError | boto.ProxyConnectionError):
            return Unavailable(
                f"cannot {where}: the server is not reachable ({error}); check the endpoint and the network"
            )
        if isinstance(error, boto.SSLError):
            return Unavailable(f"cannot {where}: no secure connection ({error})")
        if isinstance(
            error, boto.HTTPClientError | boto.IncompleteReadError | HTTPError | ConnectionError | TimeoutError
        ):
            return unclear(f"{where}: the connection broke before the answer came ({error})")
        if isinstance(error, boto.BotoCoreError):
            return StoreError(f"cannot {where}: {error}")
        return error

    def _refused(self, where: str, error: Any, unclear: type[Unavailable | OutcomeUnknown]) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _LOST or status in (409, 412):
            return _Lost(where)
        if code == "InvalidRange" or status == 416:
            return _OutOfRange(where)
        if code == "NoSuchBucket":
            return StoreError(f"cannot {where}: there is no bucket {self.bucket!r}; create it or name another one")
        if code in _MISSING or status == 404:
            return NotFound(f"no object: {where}")
        if code in _THROTTLED or status in (429, 503):
            return _Throttled(f"cannot {where}: the server asks to slow down ({code or status})")
        if status == 403 or code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
            return StoreError(
                f"cannot {where}: access denied ({code or status}); check the credentials, the bucket's policy and its owner"
            )
        if status in (301, 307, 400) and code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "301"):
            return StoreError(f"cannot {where}: the bucket is in another region ({error}); set region=")
        if status == 501 or code == "NotImplemented":
            return UnsupportedStoreError(f"{self.url}: the server does not implement conditional writes ({code})")
        if status >= 500:
            return unclear(f"{where}: the server failed ({code or status})")
        return StoreError(f"cannot {where}: {error}")

    def _check_conditional_writes(self) -> None:
        """Refuse a server that takes every write, whatever its conditions say."""
        if self._checked:
            return
        try:
            self.head(MARKER)
        except NotFound:
            self._try_conditional_writes()
        self._checked = True

    def _try_conditional_writes(self) -> None:
        key = f"_titans/probe-{secrets.token_hex(8)}"
        etag = self._put(key, b"1", IfNoneMatch="*")
        try:
            honoured = (
                self._refuses(key, IfNoneMatch="*")
                and self._refuses(key, IfMatch=f'"{secrets.token_hex(16)}"')
                and bool(self._put(key, b"2", IfMatch=etag))
                and self._refuses(key, IfMatch=etag)
            )
        finally:
            self.delete(key)
        if not honoured:
            raise UnsupportedStoreError(
                f"{self.url} ignores conditional writes (If-None-Match, If-Match): two writers would overwrite each other; "
                "use a server that honours them, such as AWS S3, MinIO, Ceph, SeaweedFS or R2"
            )
        note = json.dumps({"conditional_writes": True}).encode()
        try:
            self._put(MARKER, note, IfNoneMatch="*")
        except _Lost:
            log.debug("%s was checked by another process at the same time", self.url)

    def _refuses(self, key: str, **condition: str) -> bool:
        try:
            self._put(key, b"refuse me", **condition)
        except (_Lost, NotFound):
            return True
        return False


class _Lost(StoreError):
    """412, or 409: another write came first."""


class _OutOfRange(StoreError):
    """416: the range starts behind the end of the object."""


class _Throttled(Unavailable):
    """503 or 429: nothing happened, ask again later."""


def _client(endpoint_url: str | None, region: str | None) -> Any:
    import boto3
    from botocore.config import Config

    # One attempt: a second try inside botocore would turn a lost answer into a 412 from its own success.
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=16,
        signature_version="s3v4" if endpoint_url else None,
    )
    return boto3.client("s3", endpoint_url=endpoint_url or None, region_name=region or None, config=config)
