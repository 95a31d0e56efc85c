"""Who wrote something: an actor, with the versions of TITANS and of the provider's package.

It stands in the metadata of files and in manifests, beside what they say. Nothing follows from it:
no hash, no comparison, no decision.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from itertools import groupby
from typing import Any

from attrs import frozen

from titans.provider import Provider
from titans.tiers.files.reading import integer, sequence, text

__all__ = ["ACTOR", "Writer", "writer_of", "writers_from_json", "writers_to_json"]

ACTOR = "TITANS_ACTOR"
"""The environment variable that names the actor."""

_LONGEST = 200
"""Characters of an actor that are kept."""

_UNKNOWN = -1
"""In place of the number of a writer that nobody knows."""


@frozen
class Writer:
    """Who wrote something."""

    actor: str
    """What `TITANS_ACTOR` says, else user@host."""
    titans: str
    """Version of titans-core."""
    provider: str
    """Distribution and version of the provider's package; empty for one made by hand."""

    def to_json(self) -> dict[str, str]:
        return {"actor": self.actor, "titans": self.titans, "provider": self.provider}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Writer:
        """Raises `KeyError`, `TypeError`, `ValueError` where a field is missing or wrong."""
        return cls(text(data, "actor"), text(data, "titans"), text(data, "provider"))


def writer_of(provider: Provider) -> Writer:
    """This process, as it writes for `provider`."""
    named = os.environ.get(ACTOR)
    actor = _user_at_host() if named is None else _shown(named)
    return Writer(actor, _version(), f"{provider.distribution} {provider.version}".strip())


def _shown(actor: str) -> str:
    """One line that can be written anywhere; not even an unreadable name stops a collector."""
    readable = actor.encode(errors="replace").decode()
    return " ".join(readable.split())[:_LONGEST]


@lru_cache(maxsize=1)
def _user_at_host() -> str:
    """Kept for the life of the process, and of its forks: neither name changes under way."""
    import getpass  # not needed where the environment names an actor
    import socket

    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a user id without a name, as in many containers
        user = "unknown"
    return _shown(f"{user}@{socket.gethostname()}")


@lru_cache(maxsize=1)
def _version() -> str:
    """Kept for the life of the process, and of its forks: it is the code that runs."""
    try:
        return metadata.version("titans-core")
    except metadata.PackageNotFoundError:
        return "unknown"


# --- of many slots --------------------------------------------------------------------------------


def writers_to_json(of_slots: Sequence[Writer | None]) -> dict[str, Any]:
    """Fields of a file's metadata, for the writers of its slots, ascending: each writer once, and
    runs of slots. None where no writer is known.
    """
    known = list(dict.fromkeys(writer for writer in of_slots if writer is not None))
    if not known:
        return {}
    numbers = {writer: number for number, writer in enumerate(known)}
    runs = []
    for writer, run in groupby(of_slots):
        number = _UNKNOWN if writer is None else numbers[writer]
        runs.append([number, sum(1 for _ in run)])
    return {"writers": [writer.to_json() for writer in known], "written": runs}


def writers_from_json(data: Mapping[str, Any], slots: int) -> list[Writer | None]:
    """The inverse of `writers_to_json`, for a file of so many slots.

    Raises:
        KeyError, TypeError, ValueError: the fields are none, or speak of other slots.
    """
    if "writers" not in data:
        return [None] * slots
    known: list[Writer | None] = []
    for each in sequence(data, "writers", dict):
        known.append(Writer.from_json(each))
    writers: list[Writer | None] = []
    for number, count in sequence(data, "written", list):
        run = {"writer": number + 1, "slots": count}
        which = integer(run, "writer", 0, len(known)) - 1
        count = integer(run, "slots", 1, slots)
        writers += [None if which == _UNKNOWN else known[which]] * count
    if len(writers) != slots:
        raise ValueError("slots and their writers differ in length")
    return writers
