"""The options of a read or a stream."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

import titans
from titans import Archive
from titans.errors import InputError
from titans.slots import to_moment

__all__ = ["TABLES", "Options"]

TABLES = ("changes", "latest", "intervals", "coverage", "state")

_KNOWN = ("store", "provider", "table", "start", "end", "at", "parts", "corrections", "path")
_MOST_PARTS = 10_000


@frozen
class Options:
    """What was asked for, checked."""

    store: str | None
    """`None`: what `TITANS_STORE` names."""
    provider: str
    table: str
    start: datetime | None
    end: datetime | None
    at: datetime | None
    parts: int
    """Of a state."""
    any_corrections: bool
    """Of a stream: go on where what was read was corrected."""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Options:
        """From what Spark hands over.

        Raises:
            InputError: an option is unknown, missing, no such value, or makes no sense with
                another.
        """
        options = {name.lower(): value for name, value in given.items()}
        unknown = sorted(set(options) - set(_KNOWN))
        if unknown:
            raise InputError(
                f"unknown option {', '.join(map(repr, unknown))} of format 'titans'; there are "
                f"{', '.join(_KNOWN[:-1])}"
            )
        provider = options.get("provider")
        if not provider:
            raise InputError(
                "option 'provider' is missing: name an installed provider, such as 'aws'"
            )

        at = _moment(options, "at")
        table = options.get("table", "changes" if at is None else "state")
        _check_table(table, options)
        return cls(
            _store(options),
            provider,
            table,
            _moment(options, "start"),
            _moment(options, "end"),
            at,
            _parts(options.get("parts", "1")),
            _ignores(options.get("corrections", "fail")),
        )

    def open(self) -> Archive:
        """The archive that is meant."""
        return titans.open(self.store, provider=self.provider)


def _store(options: Mapping[str, str]) -> str | None:
    store, path = options.get("store"), options.get("path")
    if store and path and store != path:
        raise InputError(
            f"the store is given twice: option 'store' is {store!r}, load() has {path!r}"
        )
    return store or path


def _moment(options: Mapping[str, str], name: str) -> datetime | None:
    return to_moment(options[name], name) if name in options else None


def _check_table(table: str, options: Mapping[str, str]) -> None:
    if table not in TABLES:
        raise InputError(f"no table {table!r}; there are {', '.join(TABLES)}")
    if table == "state" and "at" not in options:
        raise InputError(
            "table 'state' needs option 'at', the time of the state, like 2026-01-23T14:20Z"
        )
    if table != "state" and "at" in options:
        raise InputError(f"option 'at' belongs to table 'state', not to {table!r}: leave one out")
    for name in ("start", "end"):
        if table in ("state", "latest") and name in options:
            raise InputError(
                f"option {name!r} means nothing for table {table!r}, which is of one moment"
            )


def _parts(text: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= _MOST_PARTS:
        raise InputError(
            f"option 'parts' is a whole number from 1 to {_MOST_PARTS:,}, got {text!r}"
        )
    return int(text)


def _ignores(text: str) -> bool:
    if text not in ("fail", "ignore"):
        raise InputError(f"option 'corrections' is 'fail' or 'ignore', got {text!r}")
    return text == "ignore"
