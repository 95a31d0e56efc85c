"""Requests to a bucket, one method each: sent again where that is safe, failures as our errors."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from attrs import field, frozen

from titans.errors import InputError, NotFound, OutcomeUnknown, StoreError
from titans.store._s3_answers import (
    check_done,
    check_etag,
    check_facts,
    check_fields,
    check_page,
    check_range,
)
from titans.store._s3_errors import LostRace, NotModified, OutOfRange, Request, translated

__all__ = ["Bucket", "is_aws", "lists_in_order", "made_client"]

log = logging.getLogger("titans.store")

_BINARY = "application/octet-stream"
_ATTEMPTS = 6

T = TypeVar("T")


@frozen
class Bucket:
    """The objects below a prefix of a bucket.

    Keys are those of the store, without the prefix. Every method may raise `Unavailable` and
    `StoreError`, every write also `OutcomeUnknown`.
    """

    client: Any = field(repr=False)
    name: str
    prefix: str
    url: str
    owner: str
    """Account id of the owner, or empty."""
    put_args: Mapping[str, Any] = field(repr=False)
    """Further arguments of everything that makes an object."""
    sleep: Callable[[float], None]
    """Called between attempts with seconds."""
    read_args: Mapping[str, Any] = field(init=False, repr=False)
    """Those of `put_args` without which an object cannot be read."""

    @read_args.default
    def _customer_key(self) -> Mapping[str, Any]:
        return {name: v for name, v in self.put_args.items() if name.startswith("SSECustomer")}

    sends_checksums: bool = field(init=False)
    """Whether the client adds checksums that servers other than AWS may not know."""

    @sends_checksums.default
    def _newer_client(self) -> bool:
        meta = getattr(self.client, "meta", None)
        config = getattr(meta, "config", None)
        when = getattr(config, "request_checksum_calculation", None)
        return when == "when_supported" and not is_aws(self.client)

    @property
    def place(self) -> dict[str, Any]:
        """The arguments of every request."""
        if self.owner:
            return {"Bucket": self.name, "ExpectedBucketOwner": self.owner}
        return {"Bucket": self.name}

    # --- reading ----------------------------------------------------------------------------------

    def read(self, key: str, known: str | None = None) -> tuple[Any, bytes]:
        """The answer, and the object.

        Raises `NotFound`, and `NotModified` where the object's etag is `known`.
        """
        place = {**self._object(key), **self.read_args}
        expected: tuple[type[StoreError], ...] = (NotFound,)
        if known is not None:
            place["IfNoneMatch"] = known
            expected = (NotFound, NotModified)

        def attempt() -> tuple[Any, bytes]:
            answer, data = self._get(place)
            check_facts(answer, len(data))
            if check_range(answer, 0, len(data)) not in (None, len(data)):
                raise ConnectionError("a part of the object, where all of it was asked for")
            return answer, data

        return self._send(self._request("read", key, expected=expected), attempt)

    def read_range(self, key: str, start: int, end: int) -> tuple[Any, bytes, int]:
        """The answer, bytes `[start, end)` as far as they exist, and the size of the object.

        Raises `NotFound`, and `OutOfRange` where the object ends before `start`.
        """
        place = {**self._object(key), **self.read_args, "Range": f"bytes={start}-{end - 1}"}

        def attempt() -> tuple[Any, bytes, int]:
            answer, data = self._get(place)
            check_facts(answer, len(data))
            size = check_range(answer, start, len(data))
            if size is None:  # a server may ignore the range and send everything
                return answer, data[start:end], len(data)
            if len(data) != min(end, size) - start:
                raise ConnectionError(f"{len(data)} bytes, where {end - start} were asked for")
            return answer, data, size

        return self._send(self._request("read", key, expected=(NotFound, OutOfRange)), attempt)

    def _get(self, place: Mapping[str, Any]) -> tuple[Any, bytes]:
        answer = self.client.get_object(**place)
        with contextlib.closing(answer["Body"]) as body:
            return answer, body.read()

    def list_objects(self, prefix: str, start_after: str) -> Iterator[dict[str, Any]]:
        """What the server says of each object, page by page, in its own order."""
        arguments = {**self.place, "Prefix": self.prefix + prefix}
        if start_after:
            arguments["StartAfter"] = self.prefix + start_after
        request = Request(f"list {prefix or 'everything'}", self.url, self.name)
        tokens = set[str]()

        def attempt() -> Any:
            page = self.client.list_objects_v2(**arguments)
            check_page(page, self.prefix + prefix)
            return page

        while True:
            page = self._send(request, attempt)
            yield from page.get("Contents", ())

            if not page["IsTruncated"]:
                return
            token = page.get("NextContinuationToken")
            if not token or token in tokens:
                raise StoreError(
                    f"cannot {request.where}: the server does not say how its list goes on"
                )

            tokens.add(token)
            arguments["ContinuationToken"] = token

    # --- writing ----------------------------------------------------------------------------------

    def write(self, key: str, data: bytes, **condition: str) -> str:
        """The etag of the new object. Raises `LostRace`, and `NotFound` with `IfMatch`."""
        kind = "application/json" if key.endswith(".json") else _BINARY
        place = {**self._object(key), "Body": data, "ContentType": kind}
        put = partial(self.client.put_object, **{**place, **self.put_args, **condition})
        expected: tuple[type[StoreError], ...] = (LostRace,)
        if "IfMatch" in condition:
            expected = (LostRace, NotFound)
        return self._etag(self._request("write", key, write=True, expected=expected), put)

    def write_in_parts(self, key: str, parts: Iterator[bytes]) -> str:
        """The etag of the new object, which is there once all parts are. Raises `LostRace`."""
        begin = partial(
            self.client.create_multipart_upload,
            **self._object(key),
            ContentType=_BINARY,
            **self.put_args,
        )
        upload = {**self._object(key), "UploadId": self._begun(key, begin)}

        try:
            sent = self._send_parts(key, upload, parts)
            finish = partial(
                self.client.complete_multipart_upload,
                **upload,
                **self.read_args,
                IfNoneMatch="*",
                MultipartUpload={"Parts": sent},
            )
            request = self._request("write", key, write=True, expected=(LostRace,))
            return self._etag(request, finish)
        except OutcomeUnknown:
            raise  # it may yet be completed; if not, a lifecycle rule of the bucket removes it
        except BaseException:
            with contextlib.suppress(StoreError):
                abort = partial(self.client.abort_multipart_upload, **upload)
                self._send(self._request("abort", key), abort)

            raise

    def _begun(self, key: str, begin: Callable[[], Any]) -> str:
        def attempt() -> str:
            answer = begin()
            check_fields(answer, "UploadId")
            return str(answer["UploadId"])

        return self._send(self._request("write", key), attempt)

    def _etag(self, request: Request, send: Callable[[], Any]) -> str:
        def attempt() -> str:
            answer = send()
            check_etag(answer)
            return str(answer["ETag"])

        return self._send(request, attempt)

    def _send_parts(
        self, key: str, upload: Mapping[str, str], parts: Iterator[bytes]
    ) -> list[dict[str, Any]]:
        """A part that is sent again replaces the one before, so this may be tried as often as a
        read.
        """
        request = self._request("write", key)
        sent = []
        for number, data in enumerate(parts, start=1):
            send = partial(
                self.client.upload_part, **upload, **self.read_args, PartNumber=number, Body=data
            )
            sent.append({"PartNumber": number, "ETag": self._etag(request, send)})

        return sent

    def delete(self, key: str) -> None:
        """Remove the object; some servers raise `NotFound` if there is none."""

        def attempt() -> None:
            check_done(self.client.delete_object(**self._object(key)))

        self._send(self._request("delete", key, write=True, expected=(NotFound,)), attempt)

    # --- inside -----------------------------------------------------------------------------------

    def _object(self, key: str) -> dict[str, Any]:
        return {**self.place, "Key": self.prefix + key}

    def _request(
        self,
        verb: str,
        key: str,
        *,
        write: bool = False,
        expected: tuple[type[StoreError], ...] = (),
    ) -> Request:
        return Request(
            f"{verb} {key}", self.url, self.name, key, write, expected, self.sends_checksums
        )

    def _send(self, request: Request, attempt: Callable[[], T]) -> T:
        """`attempt`, a few times where that is safe, with random and growing pauses."""
        number = 0
        while True:
            number += 1
            try:
                return attempt()
            except Exception as error:
                failure = translated(error, request)
                if failure.error is error:
                    raise
                if not failure.again or number == _ATTEMPTS:
                    raise failure.error from error
                log.debug(
                    "%s; attempt %d of %d",
                    failure.error,
                    number,
                    _ATTEMPTS,
                    extra={"attempt": number},
                )

            self.sleep(random.random() * min(5.0, 0.05 * 2**number))  # noqa: S311


def made_client(endpoint_url: str | None, region: str | None, url: str, bucket: str) -> Any:
    """A client of our own, from the environment; `url` and `bucket` are for messages."""
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
            f"cannot open {url}: {error}; an endpoint_url is like https://s3.example.com"
        ) from error
    except Exception as error:
        failure = translated(error, Request("open the client", url, bucket))
        if failure.error is error:
            raise
        raise failure.error from error


def lists_in_order(client: Any, bucket: str) -> bool:
    """Whether listings are ordered by the whole key. AWS promises it, save for directory
    buckets.
    """
    return is_aws(client) and not bucket.endswith("--x-s3")


def is_aws(client: Any) -> bool:
    """Whether the client's server is AWS; not where that cannot be told."""
    endpoint = getattr(getattr(client, "meta", None), "endpoint_url", None)
    if not isinstance(endpoint, str):
        return False
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
