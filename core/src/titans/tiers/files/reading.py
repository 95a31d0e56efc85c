"""What an object may say, and the one place that turns whatever reading it raises into
`CorruptFileError`.

An object is *damaged* where its name and what it says of itself agree, but its rows cannot be read.
It is *foreign* where it is not what its name says: somebody else put it there.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import polars as pl

from titans.errors import (
    CorruptFileError,
    ForeignObjectError,
    NotFound,
    StoreError,
    TitansError,
    Unavailable,
)

__all__ = [
    "LARGEST",
    "ReplacedError",
    "damaged",
    "flag",
    "foreign",
    "hex_digits",
    "integer",
    "mapping",
    "reading",
    "sequence",
    "shown",
    "text",
]

LARGEST = 2**53
"""No number in what TITANS writes is larger."""

_PASSING = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
"""What an operating system says of itself, and not of the file."""

_HEX = re.compile(r"[0-9a-f]*")


class ReplacedError(NotFound):
    """Another file lies under the name of a hot file.

    It was merged and removed meanwhile, and the name taken again; where the manifest goes on naming
    it, it is damaged.
    """


@contextmanager
def reading(key: str, provider: str | None = None) -> Iterator[None]:
    """Around everything that reads the object under `key`.

    Raises:
        NotFound: its file is gone.
        StoreError: the machine does not let it be read (now).
        CorruptFileError: whatever else reading it raised, panics of a decoder included.
    """
    try:
        yield
    except (TitansError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise NotFound(f"no object {key}", key=key) from error
    except PermissionError as error:
        raise StoreError(f"{key} may not be read: {error}", key=key) from error
    except (Exception, pl.exceptions.PanicException) as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise Unavailable(f"{key} cannot be read now: {error}", key=key) from error
        raise damaged(key, f"cannot be read: {shown(error)}", provider) from error


def damaged(key: str, what: str, provider: str | None = None) -> CorruptFileError:
    """The error for an object that is ours and whose rows are not there any more."""
    return CorruptFileError(
        f"{key} {what}; restore it from a copy (a backup, an earlier version in the bucket), or go "
        f"on without it: titans repair --set-aside {key}",
        provider=provider,
        key=key,
    )


def foreign(key: str, what: str, provider: str | None = None) -> ForeignObjectError:
    """The error for an object that is not what its name says."""
    return ForeignObjectError(
        f"{key} {what}; it is left alone and counts for nothing; to move it out of the way: titans "
        f"repair --set-aside {key}",
        provider=provider,
        key=key,
    )


def shown(value: object) -> str:
    """A few words of a value, however large or deep it is."""
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {str(value)[:200]}".rstrip(": ")
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number of very many digits"
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str):
        return repr(value[:40])
    return f"a {type(value).__name__}"


# --- values of a parsed JSON object ---------------------------------------------------------------


def integer(
    data: Mapping[str, Any], name: str, least: int = 0, most: int = LARGEST, **default: int
) -> int:
    """A whole number. Raises `ValueError`, `KeyError` where it is missing without a `default`."""
    value = data.get(name, default["default"]) if default else data[name]
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is {shown(value)}, not a whole number from {least} to {most}")
    return value


def text(data: Mapping[str, Any], name: str) -> str:
    """A text. Raises `KeyError`, `ValueError`."""
    value = data[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}, not a text")
    return value


def flag(data: Mapping[str, Any], name: str, **default: bool) -> bool:
    """True or false. Raises `ValueError`, `KeyError` where it is missing without a `default`."""
    value = data.get(name, default["default"]) if default else data[name]
    if type(value) is not bool:
        raise ValueError(f"{name} is {shown(value)}, not true or false")
    return value


def hex_digits(data: Mapping[str, Any], name: str, digits: int) -> str:
    """So many hexadecimal digits. Raises `KeyError`, `ValueError`."""
    value = text(data, name)
    if len(value) != digits or not _HEX.fullmatch(value):
        raise ValueError(f"{name} is {shown(value)}, not {digits} hexadecimal digits")
    return value


def sequence(data: Mapping[str, Any], name: str, kind: type = object) -> list[Any]:
    """A list of values of a kind. Raises `KeyError`, `ValueError`."""
    value = data[name]
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} is {shown(value)}, not a list")
    wrong = [each for each in value if not isinstance(each, kind) or type(each) is bool]
    if wrong:
        raise ValueError(f"{name} has {shown(wrong[0])} in it")
    return list(value)


def mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object. Raises `KeyError`, `ValueError`."""
    value = data[name]
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is {shown(value)}, not an object")
    return value
