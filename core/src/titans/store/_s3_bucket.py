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
from titans.store._s3_errors import Request, translated

__all__ = ["Bucket", "lists_in_order", "made_client"]

log = logging.getLogger("titans.store")

_BINARY = "application/octet-stream"
_ATTEMPTS = 6
_FACTS = ("ETag", "LastModified")
_LENGTH = {"content-length", "transfer-encoding"}
"""Headers of which an answer with a body has one."""

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

    @property
    def place(self) -> dict[str, Any]:
        """The arguments of every request."""
        if self.owner:
            return {"Bucket": self.name, "ExpectedBucketOwner": self.owner}
        return {"Bucket": self.name}

    # --- reading ----------------------------------------------------------------------------------

    def read(self, key: str, **arguments: Any) -> tuple[Any, bytes]:
        """The answer, and the object. Raises `NotFound` and `OutOfRange`."""
        place = {**self._object(key), **self.read_args, **arguments}

        def attempt() -> tuple[Any, bytes]:
            answer = self.client.get_object(**place)
            data = answer["Body"].read()
            headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", _LENGTH)
            if _LENGTH.isdisjoint(headers):
                raise ConnectionError("an answer that does not say how long it is")
            return _complete(answer, *_FACTS), data

        return self._send(self._request("read", key), attempt)

    def read_head(self, key: str) -> Any:
        """The answer. Raises `NotFound`."""
        head = partial(self.client.head_object, **self._object(key), **self.read_args)
        return self._send(
            self._request("read", key), lambda: _complete(head(), *_FACTS, "ContentLength")
        )

    def list_objects(self, prefix: str, start_after: str) -> Iterator[dict[str, Any]]:
        """What the server says of each object, page by page, in its own order."""
        arguments = {**self.place, "Prefix": self.prefix + prefix}
        if start_after:
            arguments["StartAfter"] = self.prefix + start_after
        request = Request(f"list {prefix or 'everything'}", self.url, self.name)

        while True:
            page = self._send(request, partial(self.client.list_objects_v2, **arguments))
            yield from page.get("Contents", ())

            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if token in (None, arguments.get("ContinuationToken")):
                raise StoreError(
                    f"cannot {request.where}: the server does not say how its list goes on"
                )

            arguments["ContinuationToken"] = token

    def check_exists(self) -> None:
        """Raises `StoreError` if there is no such bucket."""
        request = Request("look", self.url, self.name)
        try:
            self._send(request, partial(self.client.head_bucket, **self.place))
        except NotFound:
            raise StoreError(
                f"cannot read {self.url}: there is no bucket {self.name!r}; create it, or "
                "correct its name"
            ) from None
        except StoreError as error:  # not every policy allows this question
            log.debug("cannot tell whether the bucket exists: %s", error)

    # --- writing ----------------------------------------------------------------------------------

    def write(self, key: str, data: bytes, **condition: str) -> str:
        """The etag of the new object. Raises `LostRace`, and `NotFound` with `IfMatch`."""
        kind = "application/json" if key.endswith(".json") else _BINARY
        place = {**self._object(key), "Body": data, "ContentType": kind}
        put = partial(self.client.put_object, **{**place, **self.put_args, **condition})
        answer = self._send(self._request("write", key, write=True), partial(_with_etag, put))
        return str(answer["ETag"])

    def write_in_parts(self, key: str, parts: Iterator[bytes]) -> str:
        """The etag of the new object, which is there once all parts are. Raises `LostRace`."""
        begin = partial(
            self.client.create_multipart_upload,
            **self._object(key),
            ContentType=_BINARY,
            **self.put_args,
        )
        begun = self._send(self._request("write", key), lambda: _complete(begin(), "UploadId"))
        upload = {**self._object(key), "UploadId": begun["UploadId"]}

        try:
            sent = self._send_parts(key, upload, parts)
            finish = partial(
                self.client.complete_multipart_upload,
                **upload,
                **self.read_args,
                IfNoneMatch="*",
                MultipartUpload={"Parts": sent},
            )
            request = self._request("write", key, write=True)
            return str(self._send(request, partial(_with_etag, finish))["ETag"])
        except OutcomeUnknown:
            raise  # it may yet be completed; if not, a lifecycle rule of the bucket removes it
        except BaseException:
            with contextlib.suppress(StoreError):
                abort = partial(self.client.abort_multipart_upload, **upload)
                self._send(self._request("abort", key), abort)

            raise

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
            etag = self._send(request, partial(_with_etag, send))["ETag"]
            sent.append({"PartNumber": number, "ETag": etag})

        return sent

    def delete(self, key: str) -> None:
        """Remove the object; some servers raise `NotFound` if there is none."""
        delete = partial(self.client.delete_object, **self._object(key))
        self._send(self._request("delete", key, write=True), delete)

    # --- inside -----------------------------------------------------------------------------------

    def _object(self, key: str) -> dict[str, Any]:
        return {**self.place, "Key": self.prefix + key}

    def _request(self, verb: str, key: str, *, write: bool = False) -> Request:
        return Request(f"{verb} {key}", self.url, self.name, key, write)

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
    endpoint = getattr(getattr(client, "meta", None), "endpoint_url", None)
    if not isinstance(endpoint, str):
        return False
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn")) and not bucket.endswith("--x-s3")


def _complete(answer: Any, *fields: str) -> Any:
    """`answer`, unless it broke off among its headers, which Python's HTTP client takes for their
    end.
    """
    missing = [name for name in fields if name not in answer]
    if missing:
        raise ConnectionError(f"an answer without {', '.join(missing)}")
    return answer


def _with_etag(send: Callable[[], Any]) -> Any:
    return _complete(send(), "ETag")
