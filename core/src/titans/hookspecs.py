"""What a provider package implements.

A plugin is a module or an object that an entry point of the group `titans.providers` names. It
declares `TITANS_API = 1` and implements `titans_schema` and `titans_pk_columns`; the other hooks
have defaults. The name of the entry point is the name of the provider.

    from titans import Schema, hookimpl

    TITANS_API = 1

    @hookimpl
    def titans_schema():
        return Schema({"Price": "Float64"})

    @hookimpl
    def titans_pk_columns():
        return ("Type", "Region")

Every provider is asked on its own, so no hook is told which provider is meant. A hook may leave out
arguments it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from titans.event import Event
    from titans.expectations import Expectations
    from titans.layout import PathLayout
    from titans.schema import Schema

__all__ = ["API_VERSION", "ProviderSpec", "hookimpl", "hookspec"]

API_VERSION = 1
"""Of the hooks below; a plugin states the one it was written for as `TITANS_API`."""

hookspec = HookspecMarker("titans")
hookimpl = HookimplMarker("titans")
"""Marks a function of a plugin as the implementation of the hook of its name."""


class ProviderSpec(Protocol):
    """The hooks. Results are checked when the provider is loaded; a wrong one refuses the provider,
    not the others.
    """

    @hookspec(firstresult=True)
    def titans_schema(self) -> Schema:
        """The value columns with their dtypes, the score column, the numbers that mean "not
        observed". Required.

        Columns that change need a higher `version`; archives written with the lower ones stay
        readable (`titans.Schema`).
        """

    @hookspec(firstresult=True)
    def titans_pk_columns(self) -> tuple[str, ...]:
        """Names of the columns that identify a row of a snapshot, in the order rows are sorted by.
        Required.

        At least one; none of them a value column, `Time` or `Ceased`. They are stored as `String`.
        """

    @hookspec(firstresult=True)
    def titans_path_layout(self) -> PathLayout:
        """Where the files lie, and how long a slot is: `PathLayout(slot_minutes=60)` for one
        snapshot an hour.

        The default is `PathLayout()`: 10 minutes. An archive keeps the length it began with;
        another one is refused.
        """

    @hookspec(firstresult=True)
    def titans_expectations(self) -> Expectations:
        """How often the source is looked at, and how much of it may vanish at once.

        The default is `Expectations()`: once a slot; of 20 keys or more at most half, and never
        all. `titans.open(…, expectations=…)` takes others for one archive.
        """

    @hookspec(firstresult=True)
    def titans_normalize(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the provider's own column names and units. The default changes nothing.

        Args:
            frame: what a collector handed in, before any check: columns may be missing, be too
                many, have any dtype (prices as strings, sentinels as floats), and there may be no
                rows.

        Returns:
            A frame in which key and value columns have the names of the schema. Columns TITANS does
            not know may stay, and so may wrong dtypes and the sentinels of the schema: the core
            casts, and makes sentinels null. Rows must not depend on each other or on their order,
            and normalizing twice must give the same as once.

        Raises:
            titans.errors.InputError: the frame cannot be understood. Any other exception is
            reported as the plugin's.
        """

    @hookspec(firstresult=True)
    def titans_example(self, seed: int, keys: int, slots: int) -> Iterator[pl.DataFrame]:
        """Made-up full snapshots, one per slot, for demos and tests. By default there are none.

        Args:
            seed: the same seed gives the same snapshots; with more slots, the first ones stay the
                same.
            keys: how many different keys there are at most.
            slots: how many snapshots to yield. It can be large: yield them one by one.

        Returns:
            Frames with the key and value columns, without `Time` and `Ceased`, each key once, no
            key null.
        """

    @hookspec
    def titans_event(self, event: Event) -> None:
        """Something happened in the archive of this provider (in an observer: of any provider).

        What it returns is ignored. What it raises is logged and never fails the work.
        """
