"""What a provider expects of its source: how often it is looked at, and how much of it may vanish.

What goes against that is refused: a truncated download looks like it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from attrs import field, frozen

from titans.errors import InputError
from titans.slots import parse_duration

__all__ = ["WHAT_NEXT", "Expectations", "checked_share"]

WHAT_NEXT = (
    "if it is right, give it with max_ceased=1.0 (--max-ceased 1); if the source is like that, let "
    "the provider say so: Expectations(max_ceased=…, min_living=…, allow_empty=True, "
    "accept_after=…), or titans.open(…, expectations=…)"
)
"""What to do about a snapshot that looks truncated, for a message."""


def _duration(every: Any) -> timedelta | None:
    if isinstance(every, str):
        every = parse_duration(every)
    if every is None or (isinstance(every, timedelta) and every > timedelta(0)):
        return every
    raise InputError(f"every is a duration like '6h' or a timedelta above zero, got {every!r}")


def checked_share(value: Any) -> float:
    """A share of the living keys that may be missing.

    Raises:
        InputError: it is no number between 0 and 1.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 0 <= value <= 1:
        return float(value)
    raise InputError(f"max_ceased is a share of the living keys between 0 and 1, got {value!r}")


@frozen
class Expectations:
    """What a provider expects of its source.

    Args:
        every: how often the source is looked at, `"6h"` or a timedelta; `None`: once a slot.
            Coverage, gaps and freshness count against it. Intervals of this length are counted
            from 1970-01-01T00:00Z.
        max_ceased: the share of the living keys that may be missing in one snapshot.
        min_living: where fewer keys live, any number of them may be missing.
        allow_empty: the source may have nothing at all, whatever lived before.
        accept_after: so many snapshots in a row that agree with each other are refused, and the
            next one that does is accepted; `None`: never.

    Raises:
        InputError: a value is out of range.
    """

    every: timedelta | None = field(default=None, converter=_duration)
    max_ceased: float = field(default=0.5, converter=checked_share)
    min_living: int = 20
    allow_empty: bool = False
    accept_after: int | None = None

    def __attrs_post_init__(self) -> None:
        if type(self.min_living) is not int or self.min_living < 0:
            raise InputError(f"min_living is a number of keys from 0, got {self.min_living!r}")
        if not isinstance(self.allow_empty, bool):
            raise InputError(f"allow_empty is true or false, got {self.allow_empty!r}")
        after = self.accept_after
        if after is not None and (type(after) is not int or after < 1):
            raise InputError(
                f"accept_after is a number of refusals from 1, or None for never; got {after!r}"
            )

    def __str__(self) -> str:
        every = "once a slot" if self.every is None else f"every {self.every}"
        said = f"looked at {every}; at most {self.max_ceased:.0%} of {self.min_living} living keys "
        said += "or more may vanish"
        if self.allow_empty:
            said += ", or all of them"
        if self.accept_after is not None:
            said += f"; accepted after {self.accept_after} refusals in a row"
        return said

    def share(self, max_ceased: float | None) -> float:
        """The share that a caller gives for one snapshot, by default the provider's.

        Raises:
            InputError: it is no number between 0 and 1.
        """
        return self.max_ceased if max_ceased is None else checked_share(max_ceased)

    def doubt(self, living: int, ceased: int, rows: int, max_ceased: float | None = None) -> str:
        """Why a snapshot looks truncated; empty where it does not.

        Args:
            living: keys that lived before.
            ceased: those of them that are missing in the snapshot.
            rows: keys in the snapshot.
            max_ceased: the share for this snapshot; 1 accepts any.
        """
        share = self.share(max_ceased)
        if share == 1:
            return ""
        if not rows:
            return "" if self.allow_empty else "it has no rows"
        if living < self.min_living or ceased <= share * living:
            return ""
        return f"{ceased} of {living} living keys are missing, more than max_ceased={share:g}"
