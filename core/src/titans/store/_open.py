"""URL → store."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit

from titans.errors import InputError
from titans.store._protocol import ObjectStore

__all__ = ["open_store"]

_SCHEMES = ("s3:", "file:", "memory:")
_IN_URL = ("endpoint_url", "region", "expected_bucket_owner")
_OPTIONS = (*_IN_URL, "put_args", "sleep")

_memory: dict[str, ObjectStore] = {}
"""Stores in memory by name, with all their objects, for as long as the process lives. One of each
name that was opened; nothing is ever dropped, since a name has to lead to the same objects. Threads
share them, and `_memory_lock` sees to it that they get the same one. A fork has copies, which go
their own way."""
_memory_lock = threading.Lock()


def open_store(
    where: ObjectStore | str | Path, *, s3_client: Any = None, **options: Any
) -> ObjectStore:
    """The store that `where` names.

    Args:
        where: a folder (path or `file:///dir`), `s3://bucket/prefix`, `memory://name` (the same
            store for the same name in this process; `memory://` is a new one), or an `ObjectStore`,
            which is returned as it is. Options of S3 may stand in the URL:
            `s3://bucket?endpoint_url=http://127.0.0.1:8333&region=us-east-1` (and
            `expected_bucket_owner`). Other schemes are opened by installed packages, see
            `titans.store._plugins`.
        s3_client: a boto3 client for `s3://`.
        options: further arguments of `titans.store.s3.S3Store`, such as
            `put_args={"ServerSideEncryption": "aws:kms"}`, or of the package that opens the scheme.

    Raises:
        UnsupportedStoreError: no store of this scheme, or its package is broken.
        InputError: the URL is incomplete, or has options that the store does not know.
    """
    if isinstance(where, str):
        if where.lower().startswith("s3://"):
            return _s3(where, s3_client, options)
        scheme = _foreign(where)
        if scheme:
            from titans.store._plugins import open_plugin

            return open_plugin(scheme, where, options)

    if options:
        raise InputError(
            f"{', '.join(sorted(options))}: options of s3://, which {where!r} does not have"
        )

    if isinstance(where, Path):
        return _local(where)
    if isinstance(where, str):
        return _by_url(where) if "://" in where else _by_path(where)
    if isinstance(where, ObjectStore):
        return where
    raise InputError(
        f"not a store: {where!r}; pass a URL, a folder, or an object with the methods of "
        "ObjectStore"
    )


def _by_path(where: str) -> ObjectStore:
    if not where:
        raise InputError("the store is an empty string; name a folder or a URL")
    if where.lower().startswith(_SCHEMES):
        raise InputError(
            f"{where}: two slashes follow the scheme, like s3://bucket; a folder of this name "
            f"is ./{where}"
        )
    return _local(Path(where))


def _by_url(where: str) -> ObjectStore:
    url = urlsplit(where)
    if url.scheme in ("file", "memory") and (url.query or url.fragment):
        raise InputError(
            f"{where}: it has no options; write ? as %3F and # as %23 where they belong to its name"
        )

    if url.scheme == "file":
        if url.netloc not in ("", "localhost"):
            raise InputError(f"{where}: a file URL has three slashes, like file:///data/archive")
        if not url.path:
            raise InputError(f"{where} names no folder; write file:///data/archive")
        return _local(Path(_path(url.path)))

    if url.scheme == "memory":
        return _in_memory(url.netloc + url.path)
    raise InputError(f"{where} begins with no scheme; use a folder, file://, s3:// or memory://")


def _foreign(where: str) -> str:
    """The scheme of a URL that the core does not open itself, in lower case; empty for any other
    text.
    """
    if "://" not in where:
        return ""
    scheme = urlsplit(where).scheme
    return "" if scheme in ("file", "memory") else scheme


def _path(path: str) -> str:
    if os.name != "nt":
        return os.fsdecode(unquote_to_bytes(path))
    from urllib.request import url2pathname  # imports an HTTP client, for one function

    return url2pathname(path)


def _local(root: Path) -> ObjectStore:
    from titans.store.local import LocalStore

    return LocalStore(root)


def _in_memory(name: str) -> ObjectStore:
    from titans.store.memory import MemoryStore

    if not name:
        return MemoryStore()
    with _memory_lock:
        return _memory.setdefault(name, MemoryStore(name))


def _s3(where: str, client: Any, options: dict[str, Any]) -> ObjectStore:
    from titans.store.s3 import S3Store

    url = urlsplit(where)
    in_url = dict(parse_qsl(url.query, keep_blank_values=True))
    if "@" in url.netloc or "@" in urlsplit(in_url.get("endpoint_url", "")).netloc:
        raise InputError(
            "an S3 URL holds no credentials, for URLs are logged; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )

    if not url.netloc:
        raise InputError(f"{where} names no bucket; write s3://bucket/prefix")
    if url.fragment:
        raise InputError(f"{where}: write # as %23 where it belongs to the prefix")

    unknown = sorted(set(in_url) - set(_IN_URL)) + sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise InputError(
            f"{where}: unknown option(s) {', '.join(unknown)}; there are {', '.join(_OPTIONS)}"
        )

    prefix = unquote(url.path).strip("/")
    return S3Store(url.netloc, prefix, client=client, **{**in_url, **options})
