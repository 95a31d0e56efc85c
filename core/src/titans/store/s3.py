"""A store in an S3 bucket, or in anything that speaks S3 and honours conditional writes."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

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
from titans.store._s3_errors import LostRace, OutOfRange, translate

__all__ = ["MARKER", "S3Store"]

log = logging.getLogger("titans.store")

MARKER = "_titans/conditional-writes.json"
"""Remembers, per bucket and prefix, that the server was seen to honour conditional writes. Never
listed."""

_OWN = "_titans/"
_BINARY = "application/octet-stream"
_PART = 16 << 20
"""Bytes of a part of a large object; what is no larger goes in one request."""
_ATTEMPTS = 6
_FACTS = ("ETag", "LastModified")
_LENGTH = {"content-length", "transfer-encoding"}
_NOT_PUT = {"Bucket", "Key", "Body", "IfMatch", "IfNoneMatch"}

T = TypeVar("T")


class S3Store:
    """Objects below `prefix` in `bucket`.

    Args:
        client: a boto3 S3 client; by default one is made from the environment, with bounded
            timeouts.
        endpoint_url, region: for the client that is made.
        expected_bucket_owner: account id; requests to a bucket of another owner are refused by S3.
        put_args: further arguments of every `put_object`, such as `{"ServerSideEncryption":
            "aws:kms"}`. A customer's key (`SSECustomerKey`, …) is sent with reads too.
        wait: called between attempts with the number of seconds to wait.

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
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bucket = bucket
        self.prefix = f"{check_key(prefix)}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self.parallel = True
        self._put_args = dict(put_args or {})
        if taken := sorted(_NOT_PUT & set(self._put_args)):
            raise InputError(f"put_args may not hold {', '.join(taken)}: the store sets them")
        self._place = {"Bucket": bucket}
        if expected_bucket_owner:
            self._place["ExpectedBucketOwner"] = expected_bucket_owner
        self._get_args = {
            name: v for name, v in self._put_args.items() if name.startswith("SSECustomer")
        }
        self._client = self._made(endpoint_url, region) if client is None else client
        self._ordered = _lists_in_order(self._client, bucket)
        self._wait = wait
        self._checked = self._parts_checked = False
        self._bucket_seen = False

    # --- reading ----------------------------------------------------------------------------------

    def get(self, key: str) -> Blob:
        answer, data = self._read(key)
        return Blob(data, answer["ETag"], answer["LastModified"])

    def get_range(self, key: str, start: int, end: int) -> bytes:
        if end <= start:
            self.head(key)
            return b""
        try:
            answer, data = self._read(key, Range=f"bytes={start}-{end - 1}")
        except OutOfRange:
            return b""
        # A server may ignore the range and send everything.
        return data if "ContentRange" in answer else data[start:end]

    def head(self, key: str) -> Entry:
        place = {**self._place, "Key": self.prefix + check_key(key), **self._get_args}
        try:
            answer = self._ask(
                f"read {key}",
                lambda: _complete(self._client.head_object(**place), *_FACTS, "ContentLength"),
            )
        except NotFound:
            self._see_bucket()
            raise
        return Entry(key, answer["ContentLength"], answer["ETag"], answer["LastModified"])

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        return (
            self._pages(prefix, start_after) if self._ordered else self._sorted(prefix, start_after)
        )

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    # --- writing ----------------------------------------------------------------------------------

    def create(self, key: str, data: bytes) -> str:
        check_key(key)
        self._check_conditional_writes()
        try:
            return self._put(key, data, IfNoneMatch="*")
        except LostRace:
            raise AlreadyExists(f"{key} exists in {self.url}") from None

    def create_file(self, key: str, path: Path) -> str:
        """As `create`, of a file; a large one goes in parts, and is there once all of them are."""
        check_key(key)
        if path.stat().st_size <= _PART:
            return self.create(key, path.read_bytes())
        self._check_conditional_writes()
        self._check_conditional_parts()
        with path.open("rb") as file:
            return self._create_in_parts(key, iter(lambda: file.read(_PART), b""))

    def _create_in_parts(self, key: str, parts: Iterator[bytes]) -> str:
        what, place = f"write {key}", {**self._place, "Key": self.prefix + key}
        begin = partial(
            self._client.create_multipart_upload, **place, ContentType=_BINARY, **self._put_args
        )
        place["UploadId"] = self._ask(what, lambda: _complete(begin(), "UploadId"))["UploadId"]
        place |= self._get_args
        sent = []
        try:
            # A part that is sent again replaces the one before, so this may be tried as often as a
            # read.
            for number, data in enumerate(parts, start=1):
                send = partial(self._client.upload_part, **place, PartNumber=number, Body=data)
                sent.append(
                    {"PartNumber": number, "ETag": self._ask(what, partial(_etag_of, send))["ETag"]}
                )
            finish = partial(
                self._client.complete_multipart_upload,
                **place,
                IfNoneMatch="*",
                MultipartUpload={"Parts": sent},
            )
            return str(self._ask(what, partial(_etag_of, finish), write=True)["ETag"])
        except OutcomeUnknown:
            raise  # it may yet be completed; if not, a lifecycle rule of the bucket removes it
        except BaseException as error:
            place = {k: v for k, v in place.items() if k not in self._get_args}
            with contextlib.suppress(StoreError):
                self._ask(f"abort {key}", lambda: self._client.abort_multipart_upload(**place))
            if isinstance(error, LostRace):
                raise AlreadyExists(f"{key} exists in {self.url}") from None
            raise

    def replace(self, key: str, data: bytes, etag: str) -> str:
        check_key(key)
        self._check_conditional_writes()
        try:
            # In the header, `*` and lists match more than one version.
            if etag and "*" not in etag and "," not in etag:
                return self._put(key, data, IfMatch=etag)
        except (LostRace, NotFound):
            pass
        raise PreconditionFailed(f"{key} in {self.url} is not the version {etag}, or not there")

    def delete(self, key: str) -> None:
        place = {**self._place, "Key": self.prefix + check_key(key)}
        try:
            self._ask(f"delete {key}", lambda: self._client.delete_object(**place), write=True)
        except NotFound:  # some servers say so
            return

    # --- inside -----------------------------------------------------------------------------------

    def _read(self, key: str, **arguments: Any) -> tuple[Any, bytes]:
        place = {**self._place, "Key": self.prefix + check_key(key), **self._get_args, **arguments}

        def attempt() -> tuple[Any, bytes]:
            answer = self._client.get_object(**place)
            data = answer["Body"].read()
            if _LENGTH.isdisjoint(answer.get("ResponseMetadata", {}).get("HTTPHeaders", _LENGTH)):
                raise ConnectionError("an answer that does not say how long it is")
            return _complete(answer, *_FACTS), data

        return self._ask(f"read {key}", attempt)

    def _sorted(self, prefix: str, start_after: str) -> Iterator[Entry]:
        """Every page first, then in order.

        Some servers go folder by folder, "a/b" before "a-b". They start in that order too, and
        leave out the folder in which `start_after` lies.
        """
        found = (entry for entry in self._pages(prefix, "") if entry.key > start_after)
        yield from sorted(found, key=lambda entry: entry.key)

    def _pages(self, prefix: str, start_after: str) -> Iterator[Entry]:
        arguments = {**self._place, "Prefix": self.prefix + prefix}
        if start_after:
            arguments["StartAfter"] = self.prefix + start_after
        what = f"list {prefix or 'everything'}"
        while True:
            page = self._ask(what, lambda: self._client.list_objects_v2(**arguments))
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self.prefix)
                if key > start_after and _is_key(key) and not key.startswith(_OWN):
                    yield Entry(key, found["Size"], found["ETag"], found["LastModified"])
            if not page.get("IsTruncated"):
                return
            if page.get("NextContinuationToken") in (None, arguments.get("ContinuationToken")):
                raise StoreError(
                    f"cannot {what} in {self.url}: the server does not say how its list goes on"
                )
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _put(self, key: str, data: bytes, **condition: str) -> str:
        kind = "application/json" if key.endswith(".json") else _BINARY
        place = {**self._place, "Key": self.prefix + key, "Body": data, "ContentType": kind}
        arguments = {**place, **self._put_args, **condition}
        answer = self._ask(
            f"write {key}",
            lambda: _complete(self._client.put_object(**arguments), "ETag"),
            write=True,
        )
        return str(answer["ETag"])

    def _ask(self, what: str, attempt: Callable[[], T], *, write: bool = False) -> T:
        """`attempt`, a few times where that is safe; between two of them a random, growing wait."""
        for number in range(_ATTEMPTS):
            try:
                return attempt()
            except Exception as error:
                failure = translate(error, what, self.url, self.bucket, write=write)
                if failure.error is error:
                    raise
                if not failure.again or number == _ATTEMPTS - 1:
                    raise failure.error from error
                log.debug(
                    "%s; attempt %d of %d",
                    failure.error,
                    number + 1,
                    _ATTEMPTS,
                    extra={"attempt": number + 1},
                )
            self._wait(random.random() * min(5.0, 0.1 * 2**number))  # noqa: S311
        raise AssertionError("not reached")

    def _see_bucket(self) -> None:
        """HEAD has no body to tell a missing bucket from a missing object: ask once."""
        if self._bucket_seen:
            return
        try:
            self._ask("look", lambda: self._client.head_bucket(**self._place))
        except NotFound:
            raise StoreError(
                f"cannot read {self.url}: there is no bucket {self.bucket!r}; create it, or "
                "correct its name"
            ) from None
        except StoreError as error:  # not every policy allows this question
            log.debug("cannot tell whether the bucket exists: %s", error)
        self._bucket_seen = True

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
            except (
                OutcomeUnknown
            ) as error:  # of the trial; what the caller wants to write has not been sent
                raise Unavailable(
                    f"cannot check that {self.url} honours conditional writes: {error}"
                ) from error
        self._checked = True

    def _check_conditional_parts(self) -> None:
        """Refuse a server that honours conditions, but not for an object that comes in parts."""
        if self._parts_checked:
            return
        try:  # over an object that is there; should it be replaced, then by itself
            self._create_in_parts(MARKER, iter([self.get(MARKER).data]))
        except AlreadyExists:
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
            etag = self._put(key, b"1", IfNoneMatch="*")
            # Nobody else knows this key: a right condition that is refused tells as much as a wrong
            # one that is not.
            honoured = (
                self._refuses(key, IfNoneMatch="*")
                and self._refuses(key, IfMatch=f'"{secrets.token_hex(16)}"')
                and not self._refuses(key, IfMatch=etag)
                and self._refuses(key, IfMatch=etag)
            )
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
            self._put(MARKER, note, IfNoneMatch="*")
        except LostRace:
            log.debug("%s was checked by another process at the same time", self.url)

    def _refuses(self, key: str, **condition: str) -> bool:
        try:
            self._put(key, f"{condition} {secrets.token_hex(8)}".encode(), **condition)
        except (LostRace, NotFound):
            return True
        return False

    def _made(self, endpoint_url: str | None, region: str | None) -> Any:
        import boto3
        from botocore.config import Config

        # One attempt: a second try inside botocore would turn a lost answer into a 412 from its own
        # success.
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=16,
            signature_version="s3v4" if endpoint_url else None,
        )
        try:
            # A session of its own: the default one may not be used from several threads at once.
            return boto3.session.Session().client(
                "s3", endpoint_url=endpoint_url or None, region_name=region or None, config=config
            )
        except ValueError as error:
            raise InputError(
                f"cannot open {self.url}: {error}; an endpoint_url is like https://s3.example.com"
            ) from error
        except Exception as error:
            failure = translate(error, "open the client", self.url, self.bucket, write=False)
            if failure.error is error:
                raise
            raise failure.error from error


def _lists_in_order(client: Any, bucket: str) -> bool:
    """Whether listings are ordered by the whole key. AWS promises it, save for directory
    buckets.
    """
    endpoint = getattr(getattr(client, "meta", None), "endpoint_url", None)
    host = (urlsplit(endpoint).hostname or "") if isinstance(endpoint, str) else ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn")) and not bucket.endswith("--x-s3")


def _complete(answer: Any, *fields: str) -> Any:
    """`answer`, unless it broke off among its headers, which Python's HTTP client takes for their
    end.
    """
    if missing := [name for name in fields if name not in answer]:
        raise ConnectionError(f"an answer without {', '.join(missing)}")
    return answer


def _etag_of(send: Callable[[], Any]) -> Any:
    return _complete(send(), "ETag")


def _is_key(key: str) -> bool:
    """Whether the archive could have written it; others may keep folder markers and dot files
    beside us.
    """
    try:
        check_key(key)
    except InvalidKeyError:
        return False
    return True
