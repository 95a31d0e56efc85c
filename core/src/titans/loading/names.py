"""The time that the name of a file says."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from attrs import field, frozen

from titans.errors import InputError
from titans.slots import to_utc

__all__ = ["NamePattern"]

_DIRECTIVES = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{2}",
    "d": r"\d{2}",
    "j": r"\d{3}",
    "H": r"\d{2}",
    "I": r"\d{2}",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "f": r"\d{1,6}",
    "p": r"[AaPp][Mm]",
    "b": r"[^\W\d_]+",
    "B": r"[^\W\d_]+",
    "a": r"[^\W\d_]+",
    "A": r"[^\W\d_]+",
    "z": r"(?:Z|[+-]\d{2}:?\d{2})",
}
_PART = re.compile(r"%(.?)|[^%]+", re.DOTALL)


def _expression(pattern: NamePattern) -> re.Pattern[str]:
    """What the pattern matches. No digit stands next to one that it matches: a name with the hour
    in it does not fit a pattern that ends with the day.
    """
    text = pattern.text
    parts, used = [], []
    for part in _PART.finditer(text):
        directive = part[1]
        if directive is None:
            parts.append(re.escape(part[0]))
        elif directive == "%":
            parts.append("%")
        elif directive in _DIRECTIVES:
            parts.append(_DIRECTIVES[directive])
            used.append(directive)
        else:
            known = " ".join(f"%{name}" for name in _DIRECTIVES)
            raise InputError(f"pattern {text!r}: %{directive} is none of {known} %%")

    if len(set(used)) < len(used):
        raise InputError(f"pattern {text!r} has something twice")
    year = {"Y", "y"} & set(used)
    day = {"j"} & set(used) or ({"d"} & set(used) and {"m", "b", "B"} & set(used))
    if not year or not day:
        raise InputError(f"pattern {text!r} says no day: it needs %Y, %m and %d, or %Y and %j")
    if ("I" in used) != ("p" in used):
        raise InputError(f"pattern {text!r}: %I and %p go together; hours up to 23 are %H")
    return re.compile(rf"(?<!\d){''.join(parts)}(?!\d)")


@frozen
class NamePattern:
    """Where the time stands in a name, as `strftime` writes it: `prices-%Y-%m-%dT%H%M`.

    With a slash in it, it is looked for in the whole path, else in the last part of it.

    Raises:
        InputError: it has no day, or something that `strftime` does not know.
    """

    text: str
    _found: re.Pattern[str] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_found", _expression(self))

    def time_of(self, path: str) -> datetime:
        """The time that the name says, in UTC; without an offset it is UTC.

        Raises:
            InputError: the name does not match, or says no time, or two of them.
        """
        name = path
        if "/" not in self.text:
            name = path.rpartition("/")[2]

        found = {match[0] for match in self._found.finditer(name)}
        if not found:
            raise InputError(f"the name {name!r} does not match the pattern {self.text!r}")
        times = set()
        for text in found:
            try:
                times.add(datetime.strptime(text, self.text))  # noqa: DTZ007 - it may have %z
            except ValueError as error:
                raise InputError(
                    f"{text!r} in the name {name!r} matches the pattern {self.text!r} but is no "
                    f"time: {error}"
                ) from error

        if len(times) > 1:
            raise InputError(
                f"the name {name!r} matches the pattern {self.text!r} in several places, with "
                "different times; write more of the name into the pattern"
            )
        (time,) = times
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        return to_utc(time, f"the time in {name!r}")
