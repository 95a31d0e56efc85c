"""The files of the page, read once: no address leads to any other file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

__all__ = ["PAGE", "Asset", "read_assets"]

PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@frozen
class Asset:
    """One file of the page."""

    content: bytes
    media_type: str
    etag: str
    """Another one whenever the content is."""


def read_assets() -> Mapping[str, Asset]:
    """The path in an address → the file; the empty path is the page itself."""
    found: dict[str, Asset] = {}
    for file in sorted(PAGE.rglob("*")):
        if file.suffix not in _TYPES or not file.is_file():
            continue
        content = file.read_bytes()
        etag = f'"{hashlib.blake2b(content, digest_size=8).hexdigest()}"'
        path = file.relative_to(PAGE).as_posix()
        found[path] = Asset(content, _TYPES[file.suffix], etag)
    found[""] = found["index.html"]
    return found
