"""What gzip, bzip2 and Zstandard have packed."""

from __future__ import annotations

import bz2
import gzip
import sys
import zlib
from collections.abc import Callable

from titans.errors import InputError

__all__ = ["PACKED", "unpacked", "without_suffix"]

PACKED = (".gz", ".bz2", ".zst")


def without_suffix(name: str) -> str:
    """The name that the file has unpacked."""
    for suffix in PACKED:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def unpacked(data: bytes, name: str) -> bytes:
    """The content. What is packed is told by its first bytes.

    Raises:
        InputError: it is damaged, not packed though the name says so, or there is no package that
            unpacks it.
    """
    unpack = _unpacker(data)
    if unpack is None:
        if without_suffix(name) != name:
            raise InputError(f"{name} is not packed as its name says, or it is damaged")
        return data
    try:
        return unpack(data)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{name} cannot be unpacked: {error}") from error


def _unpacker(data: bytes) -> Callable[[bytes], bytes] | None:
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress
    if data.startswith(b"BZh") and data[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return bz2.decompress
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd
    return None


def _zstd(data: bytes) -> bytes:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise InputError(
            "files packed with Zstandard need a package: pip install 'titans-core[cli]'"
        ) from error
    try:
        content: bytes = zstd.decompress(data)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error
    return content
