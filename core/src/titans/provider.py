"""A provider: one dataset with its schema, primary key and path layout, as a plugin declared it."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from titans.columns import name_error
from titans.errors import InputError, PluginError, TitansError
from titans.evolution import Evolution
from titans.expectations import Expectations
from titans.layout import PathLayout, Paths, check_name
from titans.schema import CEASED, RESERVED, TIME, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl

__all__ = ["DEFAULT_BUCKET", "Hooks", "Provider"]

DEFAULT_BUCKET = "titans-spotlake-data"


@frozen(eq=False)
class Hooks:
    """The hooks of an installed provider. They pickle as its name: another process loads it anew,
    see `titans.plugins`.
    """

    name: str
    _relay: Any = field(repr=False)

    def __getattr__(self, hook: str) -> Any:
        return getattr(self._relay, hook)


@frozen
class Provider:
    """A validated provider. Get one with `titans.get_config(name)`.

    Also what drop-in code knows as `ProviderConfig`: `name`, `pk_columns`, `value_columns`,
    `time_column`, `score_column`, `titans_bucket`, `hot_prefix`, `warm_prefix`, `schema_dtypes`,
    `canonical_columns`. Prefixes and bucket follow the environment (`TITANS_ENV`, `TITANS_BUCKET`)
    at the moment they are asked for.
    """

    name: str = field(validator=lambda _, __, value: check_name(value))
    schema: Schema
    key: tuple[str, ...]
    layout: PathLayout = field(factory=PathLayout)
    expectations: Expectations = field(factory=Expectations, kw_only=True)
    distribution: str = ""
    """Name of the distribution that ships it."""
    version: str = ""
    """Version of that distribution."""
    hooks: Any = field(default=None, repr=False, eq=False)
    """The plugin's hook relay: `normalize`, `example` and `event` go through it."""

    def __attrs_post_init__(self) -> None:
        if not self.key:
            raise self._wrong(" has an empty primary key; name at least one column")

        for column in self.key:
            if not isinstance(column, str) or not column:
                raise self._wrong(f": a key column must be a non-empty string, got {column!r}")
            if column in RESERVED:
                raise self._wrong(f": key column {column!r} is reserved; choose another name")
            if column in self.schema.columns:
                raise self._wrong(f": {column!r} is both a key and a value column; keep one")

        if len(set(self.key)) != len(self.key):
            raise self._wrong(f" names a key column twice: {', '.join(self.key)}")
        slot = timedelta(minutes=self.layout.slot_minutes)
        if self.every < slot:
            raise self._wrong(
                f" is looked at every {self.every}, but has slots of {slot}, each of which holds "
                f"one snapshot; declare PathLayout(slot_minutes=…) of at most that"
            )
        for column in self.schema.description:
            if column not in (*self.key, *self.schema.columns):
                raise self._wrong(f" describes {column!r}, which is none of its columns")
        wrong = name_error(self.key, self.schema.columns)
        if wrong is not None:
            raise self._wrong(f": {wrong}")

        ids = self.schema.field_ids(self.key)
        if len(set(ids.values())) != len(ids):
            raise InputError(
                f"provider {self.name!r}: two of the columns {', '.join(ids)} would have the same "
                "field id in Parquet files; give one of them another name",
                provider=self.name,
            )

    def _wrong(self, text: str) -> InputError:
        return InputError(f"provider {self.name!r}{text}", provider=self.name)

    @property
    def every(self) -> timedelta:
        """How often its source is looked at."""
        if self.expectations.every is None:
            return timedelta(minutes=self.layout.slot_minutes)
        return self.expectations.every

    # --- what the plugin does ---------------------------------------------------------------------

    def normalize(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The plugin's own renaming, folding and unit fixes; the frame itself where it has none.

        Raises:
            PluginError: the plugin raised something else than a `TitansError`.
        """
        if self.hooks is None:
            return frame

        try:
            normalized: pl.DataFrame = self.hooks.titans_normalize(frame=frame)
        except TitansError:
            raise
        except Exception as error:
            raise PluginError(
                f"provider {self.name!r} ({self.distribution} {self.version}): its "
                "titans_normalize failed on a frame with the columns "
                f"{', '.join(frame.columns)}: {type(error).__name__}: {error}",
                provider=self.name,
            ) from error
        return normalized

    def example(self, seed: int, keys: int, slots: int) -> Iterator[pl.DataFrame]:
        """Made-up full snapshots, one per slot, the same for the same arguments.

        Raises:
            InputError: the plugin has none.
        """
        snapshots: Iterator[pl.DataFrame] | None = None
        if self.hooks is not None:
            snapshots = self.hooks.titans_example(seed=seed, keys=keys, slots=slots)
        if snapshots is None:
            raise self._wrong(" has no example data: its plugin does not implement titans_example")
        return iter(snapshots)

    # --- earlier versions of its schema -----------------------------------------------------------

    def __str__(self) -> str:
        if not self.distribution:
            return f"provider {self.name!r}"
        return f"provider {self.name!r} ({self.distribution} {self.version})"

    def evolution(self, schema: Schema, where: str = "the archive") -> Evolution:
        """What leads from `schema`, which rows in `where` have, to today's.

        Raises:
            ProviderMismatchError: nothing does.
        """
        return Evolution.between(schema, self.schema, str(self), where)

    def as_of(self, schema: Schema | None) -> Provider:
        """This provider with an earlier schema; `None` stands for today's."""
        if schema is None:
            return self
        return evolve(self, schema=schema)

    # --- where things are -------------------------------------------------------------------------

    def paths(self) -> Paths:
        """The layout in the environment that `TITANS_ENV` names now."""
        return Paths.of(self.name, self.layout)

    @property
    def hot_prefix(self) -> str:
        return self.paths().hot_prefix

    @property
    def warm_prefix(self) -> str:
        return self.paths().warm_prefix

    @property
    def titans_bucket(self) -> str:
        return os.environ.get("TITANS_BUCKET") or DEFAULT_BUCKET

    # --- columns ----------------------------------------------------------------------------------

    @property
    def pk_columns(self) -> list[str]:
        return list(self.key)

    @property
    def value_columns(self) -> list[str]:
        return list(self.schema.columns)

    @property
    def time_column(self) -> str:
        return TIME

    @property
    def score_column(self) -> str | None:
        return self.schema.score

    @property
    def canonical_columns(self) -> list[str]:
        """Columns of every stored file, in order: key, `Time`, values, `Ceased`."""
        return [*self.key, TIME, *self.schema.columns, CEASED]

    @property
    def schema_dtypes(self) -> Mapping[str, pl.DataType]:
        """Column → polars dtype, for all canonical columns."""
        return self.schema.dtypes(self.key)
