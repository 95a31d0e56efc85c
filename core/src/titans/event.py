"""What plugins and observers are told: `Event`, a plain value."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

__all__ = ["Event", "ms_since"]


def ms_since(started: float) -> int:
    """Milliseconds since `started`, a time by `time.monotonic`: the field `ms` of events."""
    return round((time.monotonic() - started) * 1000)


def _read_only(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(fields))


@frozen
class Event:
    """Something that happened in an archive.

    Args:
        name: what happened, in lower case with underscores.
        provider: the name of the provider whose archive it is.
        fields: the particulars; values are plain (str, int, float, bool, datetime, None).
    """

    name: str
    provider: str
    fields: Mapping[str, Any] = field(factory=dict, converter=_read_only, hash=False)
