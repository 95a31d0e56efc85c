"""Creating an object under a name that nobody else can have."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from titans.dataset import Dataset
from titans.errors import AlreadyExists, OutcomeUnknown
from titans.slots import Month

__all__ = ["create_for_slot", "create_under_free_name"]

_NAMES = 8


def create_for_slot(
    dataset: Dataset, month: Month, slot: int, name_of: Callable[[int, str], str], data: bytes
) -> str:
    """Write a file of a slot that nobody knows yet; its name, which `name_of` makes of the slot and
    a random id.

    Raises:
        OutcomeUnknown: see `create_under_free_name`.
    """
    names = (name_of(slot, secrets.token_hex(8)) for _ in range(_NAMES))
    return create_under_free_name(
        names, lambda name: dataset.store.create(dataset.key(month, name), data)
    )


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
