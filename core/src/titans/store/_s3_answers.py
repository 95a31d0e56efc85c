"""Whether an S3 server's answer is whole. A connection that breaks among the headers looks to
Python's HTTP client like their end: facts are then missing, or cut.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

__all__ = ["check_done", "check_etag", "check_facts", "check_fields", "check_page", "check_range"]

_LENGTH = {"content-length", "transfer-encoding"}
"""Headers of which an answer with a body has one."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Incomplete(ConnectionError):
    """An answer that broke off, or that no S3 server gives."""


def check_done(answer: Mapping[str, Any] | None) -> None:
    """Raises `ConnectionError` where the status is not one of success; botocore lets some pass."""
    status = (answer or {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 200)
    if not 200 <= status < 300:
        raise Incomplete(f"status {status}")


def check_fields(answer: Mapping[str, Any], *fields: str) -> None:
    """Raises `ConnectionError` where one is missing or empty."""
    missing = [name for name in fields if answer.get(name) in (None, "")]
    if missing:
        raise Incomplete(f"an answer without {', '.join(missing)}")


def check_etag(answer: Mapping[str, Any]) -> None:
    """Raises `ConnectionError` for an answer without the object's whole etag."""
    check_done(answer)
    check_fields(answer, "ETag")
    etag = answer["ETag"]
    if etag.startswith(('"', 'W/"')) and (len(etag) < 2 or not etag.endswith('"')):
        raise Incomplete(f"an answer with half an ETag: {etag}")


def check_facts(answer: Mapping[str, Any], size: int) -> None:
    """Raises `ConnectionError` unless an answer with a body of `size` bytes says what it must of
    the object.
    """
    check_etag(answer)
    check_fields(answer, "LastModified")
    if not isinstance(answer["LastModified"], datetime):
        raise Incomplete(f"an answer with a time that is none: {answer['LastModified']!r}")

    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders")
    if headers is None:  # a client that is not boto3's
        return
    if _LENGTH.isdisjoint(headers):
        raise Incomplete("an answer that does not say how long it is")
    if not str(headers.get("last-modified", "GMT")).endswith(("GMT", "UTC", "Z", "+0000")):
        raise Incomplete(f"an answer with half a time: {headers['last-modified']}")
    length = answer.get("ContentLength")
    if length is not None and length != size:
        raise Incomplete(f"{size} of {length} bytes")


def check_range(answer: Mapping[str, Any], start: int, size: int) -> int | None:
    """The size of the whole object, of which the answer holds `size` bytes from `start` on; `None`
    where it holds all of it, as by a server that ignores ranges.

    Raises `ConnectionError` where it holds something else.
    """
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 200)
    told = answer.get("ContentRange")
    if not told:
        if status == 206:
            raise Incomplete("a part of an object, without ContentRange")
        return None

    found = _RANGE.fullmatch(told)
    if found is None or (int(found[1]), int(found[2])) != (start, start + size - 1):
        raise Incomplete(f"{size} bytes from {start} on, but ContentRange {told!r}")
    if found[3] == "*" or int(found[3]) < start + size:
        raise Incomplete(f"a part of an object of unknown size: ContentRange {told!r}")
    return int(found[3])


def check_page(page: Mapping[str, Any], prefix: str) -> None:
    """Raises `ConnectionError` unless a page of a listing says all it must."""
    check_done(page)
    check_fields(page, "IsTruncated")
    for entry in page.get("Contents", ()):
        check_fields(entry, "Key", "Size", "LastModified")
        if entry["Size"] < 0 or not isinstance(entry["LastModified"], datetime):
            raise Incomplete(f"a list in which {entry['Key']} has no size or time")
        if not entry["Key"].startswith(prefix):
            raise Incomplete(f"a list of {prefix} with {entry['Key']} in it")
