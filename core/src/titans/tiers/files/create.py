"""Creating an object under a name that nobody else can have."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from titans.errors import AlreadyExists, OutcomeUnknown

__all__ = ["create_under_free_name"]


def create_under_free_name(names: Iterable[str], create: Callable[[str], object]) -> str:
    """Call `create` with one name after the other until an object was certainly made; its name.

    A name whose object is somebody else's is left alone. So is one whose outcome is unclear: it is
    perhaps our own, its answer lost, and vacuum removes what is left over.

    Raises:
        OutcomeUnknown: no name is left.
    """
    tried = 0
    for name in names:
        tried += 1
        try:
            create(name)
        except (AlreadyExists, OutcomeUnknown):
            continue
        return name

    raise OutcomeUnknown(
        f"{tried} names for a new file were taken, or had no clear outcome; compact again later"
    )
