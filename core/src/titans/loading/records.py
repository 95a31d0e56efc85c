"""The list of records in a JSON document, one record a line.

The records keep their text, so that no number is rounded before it is looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator

from attrs import frozen

from titans.errors import InputError

__all__ = ["quoted_values", "record_lines"]

_SPACE = re.compile(r"[ \t\n\r]*")


def record_lines(data: bytes, path: str | None, what: str) -> bytes:
    """The records of a JSON document as JSON lines; empty where the list is.

    Args:
        data: a list of objects; objects one after the other; or, with a path, one object.
        path: the names that lead from the outermost object to the list, joined by dots.
        what: names the document in messages.

    Raises:
        InputError: the data is no JSON in UTF-8, or has no list of objects there.
    """
    try:
        document = _Document(data.decode("utf-8-sig"))
        if path is None:
            spans = list(_without_path(document, what))
        else:
            spans = list(document.elements(_start_of_list(document, path, what)))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} cannot be read as JSON: {error}") from error

    lines: list[str] = []
    for start, end in spans:
        if document.text[start] != "{":
            raise InputError(
                f"{what}: record {len(lines) + 1} is no object but "
                f"{document.text[start : min(end, start + 40)]}"
            )
        # Between the values of a document a line break is space; within text there is none.
        lines.append(document.text[start:end].replace("\r", " ").replace("\n", " "))
    return "".join(f"{line}\n" for line in lines).encode()


def quoted_values(data: bytes, names: Collection[str], what: str) -> bytes:
    """JSON lines in which the values of some names are text: the JSON that stands there.

    Raises:
        InputError: a line is no object in UTF-8.
    """
    try:
        text = data.decode("utf-8-sig")
        lines = [_quoted_line(line, names) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError, IndexError) as error:
        raise InputError(f"{what} cannot be read as JSON lines: {error}") from error
    return "".join(f"{line}\n" for line in lines).encode()


def _quoted_line(line: str, names: Collection[str]) -> str:
    document = _Document(line)
    start = document.after_space(0)
    document.check_only_value(start)
    if not line.startswith("{", start):
        raise ValueError(f"no object but {line[:40]}")

    parts, done = [], 0
    for name, value in document.members(start):
        end = document.end(value)
        if name in names:
            parts += [line[done:value], json.dumps(line[value:end])]
            done = end
    return "".join([*parts, line[done:]])


def _without_path(document: _Document, what: str) -> Iterator[tuple[int, int]]:
    """Where the records of a document are that has them at its top."""
    start = document.after_space(0)
    if document.text.startswith("[", start):
        document.check_only_value(start)
        yield from document.elements(start)
        return

    spans = list(document.values(start))
    if len(spans) == 1 and document.text.startswith("{", start):
        names = [name for name, _ in document.members(start)]
        raise InputError(
            f"{what} holds one object with {', '.join(names) or 'nothing in it'}; say which of "
            "its lists has the records, like data.items"
        )
    yield from spans


def _start_of_list(document: _Document, path: str, what: str) -> int:
    start = document.after_space(0)
    document.check_only_value(start)

    gone: list[str] = []
    for name in path.split("."):
        place = ".".join(gone) or "the top"
        if not document.text.startswith("{", start):
            raise InputError(f"{what}: no {path!r} in it, for at {place} is no object")
        members = dict(document.members(start))
        if name not in members:
            raise InputError(
                f"{what}: no {path!r} in it; at {place} there is "
                f"{', '.join(members) or 'an empty object'}"
            )
        start = members[name]
        gone.append(name)

    if not document.text.startswith("[", start):
        raise InputError(f"{what}: {path!r} is no list")
    return start


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


@frozen
class _Document:
    """The text of a document, and where its values begin and end."""

    text: str

    def after_space(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return at if found is None else found.end()

    def end(self, at: int) -> int:
        """Where the value that begins here ends. Raises `ValueError` where none does."""
        return _DECODER.raw_decode(self.text, at)[1]

    def check_only_value(self, at: int) -> None:
        """Raise `ValueError` where the value that begins here is not all there is."""
        rest = self.after_space(self.end(at))
        if rest != len(self.text):
            raise ValueError(f"more follows the first value, at character {rest}")

    def values(self, at: int) -> Iterator[tuple[int, int]]:
        """Values one after the other, with nothing but space between them."""
        while at < len(self.text):
            end = self.end(at)
            yield at, end
            at = self.after_space(end)

    def elements(self, at: int) -> Iterator[tuple[int, int]]:
        """Those of the list that begins here, which is known to be one."""
        at = self.after_space(at + 1)
        while self.text[at] != "]":
            end = self.end(at)
            yield at, end
            at = self.after_space(end)
            if self.text[at] == ",":
                at = self.after_space(at + 1)

    def members(self, at: int) -> Iterator[tuple[str, int]]:
        """The names in the object that begins here, and where their values begin."""
        at = self.after_space(at + 1)
        while self.text[at] != "}":
            name, end = _DECODER.raw_decode(self.text, at)
            start = self.after_space(self.after_space(end) + 1)
            yield str(name), start
            at = self.after_space(self.end(start))
            if self.text[at] == ",":
                at = self.after_space(at + 1)


# Numbers are left as text: they are only passed over.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant)
