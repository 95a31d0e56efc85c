"""Which files of a month share some of their time with others."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from attrs import frozen

from titans.tiers.manifest.view import Part

__all__ = ["Group", "overlapping"]


@frozen(eq=False)
class Group:
    """Parts that overlap each other in time; one alone, in most cases."""

    parts: tuple[Part, ...]
    first: datetime
    """The earliest `Time` of their rows."""
    last: datetime
    """The latest."""


def overlapping(parts: Iterable[Part]) -> list[Group]:
    """The parts that have rows, in groups that share no moment, ascending."""
    spans = []
    for part in parts:
        if part.min_time is not None and part.max_time is not None:
            spans.append(Group((part,), part.min_time, part.max_time))
    spans.sort(key=lambda span: (span.first, span.last))

    groups: list[Group] = []
    for span in spans:
        if groups and span.first <= groups[-1].last:
            group = groups.pop()
            last = max(group.last, span.last)
            span = Group((*group.parts, *span.parts), group.first, last)
        groups.append(span)
    return groups
