"""Schema evolution: what a newer version of a provider's schema makes of rows that an earlier one
wrote.

As in Iceberg and Delta, the files stay as they are: they are read as the newer schema means them,
and are in its columns and dtypes once a merge has written their rows anew. Columns may be added
(null in earlier rows), widened, renamed and reordered. Whatever would lose something is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from titans.dtypes import decimal_digits, family
from titans.errors import ProviderMismatchError
from titans.exact.table import ALWAYS, bounds, rule
from titans.schema import CEASED, TIME, Schema

if TYPE_CHECKING:
    import polars as pl

    Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

__all__ = ["WIDER", "Evolution"]

WIDER: Mapping[str, tuple[str, ...]] = {
    "Float32": ("Float64",),
    "Int8": ("Int16", "Int32", "Int64", "Float32", "Float64"),
    "Int16": ("Int32", "Int64", "Float32", "Float64"),
    "Int32": ("Int64", "Float64"),
    "Int64": ("Float64",),
    "Json": ("String",),
    "UInt8": ("UInt16", "UInt32", "UInt64", "Int16", "Int32", "Int64", "Float32", "Float64"),
    "UInt16": ("UInt32", "UInt64", "Int32", "Int64", "Float32", "Float64"),
    "UInt32": ("UInt64", "Int64", "Float64"),
    "UInt64": ("Float64",),
}
"""Dtype → what it may become: what `titans.exact.table` says is always exact, and `Float64` for
integers, of which those beyond 2**53 that it does not have are refused when they are met. A
`Decimal` may have more digits, before and behind the point; and integers may become one that has
room for all of them."""


@frozen
class Evolution:
    """The way from an earlier schema to a newer one."""

    old: Schema
    new: Schema
    renamed: Mapping[str, str]
    """Old name → new name."""
    widened: Mapping[str, tuple[str, str]]
    """New name → old and new dtype."""
    added: Mapping[str, str]
    """Name → dtype."""

    @classmethod
    def between(cls, old: Schema, new: Schema, whose: str, where: str = "the archive") -> Evolution:
        """What leads from `old`, which rows in `where` have, to `new`, the schema of the installed
        provider `whose`.

        Raises:
            ProviderMismatchError: nothing does; the message names both versions, the column, and
                what to do.
        """
        if old.version > new.version:
            raise ProviderMismatchError(
                f"{where} has schema version {old.version}, but {whose} declares version "
                f"{new.version} and cannot read or "
                f"write it; upgrade the package of the provider"
            )

        if old.version == new.version:
            _check_same_columns(old, new, whose, where)
            return cls(old, new, {}, {}, {})

        names = _new_names(old, new, whose, where)
        renamed = {}
        widened = {}
        for column, name in names.items():
            if name != column:
                renamed[column] = name
            if old.columns[column] != new.columns[name]:
                widened[name] = (old.columns[column], new.columns[name])

        kept = set(names.values())
        added = {name: dtype for name, dtype in new.columns.items() if name not in kept}
        return cls(old, new, renamed, widened, added)

    def apply(self, frame: Frame, key: tuple[str, ...]) -> Frame:
        """Rows in the canonical columns of the old schema in those of the new one; added columns
        are null.

        Raises:
            ProviderMismatchError: an integer beyond 2**53 that a `Float64` cannot hold; a LazyFrame
                raises when it is collected.
        """
        import polars as pl

        dtypes = self.new.value_dtypes()
        old_names = {new: old for old, new in self.renamed.items()}

        cast = {column: pl.col(column) for column in self.old.columns}
        for name, (dtype, _) in self.widened.items():
            column = old_names.get(name, name)
            cast[column] = self._widened(name, column, dtype, dtypes[name])

        named = []
        for name, new_dtype in dtypes.items():
            if name in self.added:
                named.append(pl.lit(None, dtype=new_dtype).alias(name))
            else:
                named.append(pl.col(old_names.get(name, name)).alias(name))

        # Cast first, then named: polars carries a predicate on to the file through a cast of
        # integers and through a new name, but not through both in one.
        frame = frame.select(*key, TIME, *cast.values(), CEASED)
        return frame.select(*key, TIME, *named, CEASED)

    def _widened(self, name: str, column: str, dtype: str, target: pl.DataType) -> pl.Expr:
        """The stored `column`, of the old `dtype`, in the dtype of the column `name`."""
        import polars as pl

        if target == pl.Float64 and rule(dtype, "Float64") != ALWAYS:
            check = partial(self._exactly, name)
            return pl.col(column).map_batches(check, return_dtype=target, is_elementwise=True)
        return pl.col(column).cast(target)

    def _exactly(self, name: str, column: pl.Series) -> pl.Series:

        from titans.exact.convert import convert

        done = convert(column, "Float64")
        if done.bad is not None:
            raise ProviderMismatchError(
                f"{int(done.bad.sum())} value(s) of column {name!r}, {column.dtype} in schema "
                f"version {self.old.version}, are no exact Float64, which version "
                f"{self.new.version} declares; first: {done.examples()}; declare {column.dtype}"
            )
        return done.values

    def to_json(self) -> dict[str, Any]:
        return {
            "from": self.old.version,
            "to": self.new.version,
            "renamed": dict(self.renamed),
            "widened": {name: list(dtypes) for name, dtypes in self.widened.items()},
            "added": dict(self.added),
        }


def _check_same_columns(old: Schema, new: Schema, whose: str, where: str) -> None:
    """Two schemas of one version have the same columns in the same order."""
    if list(old.columns.items()) != list(new.columns.items()):
        raise ProviderMismatchError(
            f"schema version {old.version} in {where} has the columns {_listed(old)}, but {whose} "
            f"declares {_listed(new)} under the same version; "
            f"raise its schema version to {old.version + 1}, or install the release that "
            f"wrote {where}"
        )


def _new_names(old: Schema, new: Schema, whose: str, where: str) -> dict[str, str]:
    """Old name → new name of every column of `old`; each can be what `new` says."""
    versions = f"schema version {old.version} in {where}"
    or_install = f"or install the release of the provider that has schema version {old.version}"

    names: dict[str, str] = {}
    for column, dtype in old.columns.items():
        name = new.name_since(old.version, column)
        became = "" if name == column else f", later {name!r},"
        if name not in new.columns:
            raise ProviderMismatchError(
                f"column {column!r}{became} of {versions} is missing in version {new.version} "
                f"of {whose}, and its values "
                "would be lost; keep the column (it may be null from now on), or name what it "
                "became: "
                f"renamed={{{new.version}: {{{name!r}: '…'}}}}; {or_install}"
            )

        if name in names.values():
            raise ProviderMismatchError(
                f"two columns of {versions} would become {name!r} in version {new.version} of "
                f"{whose}; "
                f"give one of them another name; {or_install}"
            )

        new_dtype = new.columns[name]
        possible = (dtype, *WIDER.get(dtype, ()))
        if new_dtype not in possible and not _has_room(dtype, new_dtype):
            raise ProviderMismatchError(
                f"column {column!r}{became} is {dtype} in {versions} and {new_dtype} in version "
                f"{new.version} of {whose}, which "
                f"cannot hold all its values; declare it as {' or '.join(possible)}, or put the "
                f"new values in a column of another name; {or_install}"
            )

        names[column] = name

    return names


def _has_room(old: str, new: str) -> bool:
    """Whether every value of the dtype `old` is one of the `Decimal` `new`."""
    if family(new) != "Decimal":
        return False
    digits, behind = decimal_digits(new)
    if family(old) == "Decimal":
        old_digits, old_behind = decimal_digits(old)
        return behind >= old_behind and digits - behind >= old_digits - old_behind
    if not old.startswith(("Int", "UInt")):
        return False
    lowest, highest = bounds(old)
    room: int = 10 ** (digits - behind)
    return max(-lowest, highest) < room


def _listed(schema: Schema) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in schema.columns.items())
