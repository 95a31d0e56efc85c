"""What the rows of a provider look like. Importing this module does not import polars; asking for
dtypes does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field, fields, frozen

from titans.dtypes import DTYPES, dtype_error, dtype_name, polars_dtype
from titans.errors import InputError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["CEASED", "DTYPES", "TIME", "Schema"]

TIME = "Time"
CEASED = "Ceased"
RESERVED = (TIME, CEASED)


def _columns(columns: Mapping[str, object]) -> Mapping[str, str]:
    if not isinstance(columns, Mapping):
        raise InputError(
            f"columns must map a column name to its dtype, got {type(columns).__name__}"
        )
    return MappingProxyType({name: dtype_name(dtype) for name, dtype in columns.items()})


def _read_only(sentinels: Mapping[str, float]) -> Mapping[str, float]:
    return MappingProxyType(dict(sentinels))


def _names(names: Any) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InputError(f"give the names of columns as a tuple, got {names!r}")
    return tuple(names)


def _texts(texts: Any) -> Mapping[str, str]:
    if not isinstance(texts, Mapping):
        raise InputError(f"give a text for each column, like {{'Price': 'USD/h'}}, got {texts!r}")
    return MappingProxyType(dict(texts))


def _renames(renamed: Mapping[int, Mapping[str, str]]) -> Mapping[int, Mapping[str, str]]:
    if not isinstance(renamed, Mapping):
        raise _no_renames(renamed)

    versions = {}
    for version, names in renamed.items():
        if not isinstance(names, Mapping):
            raise _no_renames(renamed)
        versions[version] = MappingProxyType(dict(names))
    return MappingProxyType(versions)


def _no_renames(value: object) -> InputError:
    return InputError(
        "renamed maps a schema version to the columns it renamed, like {2: {'old': 'new'}}, "
        f"got {value!r}"
    )


def _writable(value: Any) -> Any:
    """The same with dicts for mappings."""
    if isinstance(value, Mapping):
        return {key: _writable(item) for key, item in value.items()}
    return value


@frozen
class Schema:
    """The value columns of a provider.

    Args:
        columns: value column → dtype, in the order they are stored. A dtype is a name from
            `titans.schema.DTYPES` or the polars dtype of that name. Key columns are always `String`
            and are not listed here.
        score: the column that ranks a key (a placement score), if there is one.
        unobserved: value column → the number that means "not observed" there. It becomes null,
            column by column; `ingest` then carries the last known value of a living key.
        version: of this schema; raise it when columns change. A newer version may add columns,
            widen dtypes (`titans.evolution.WIDER`), rename columns and order them differently; it
            may not drop or narrow one.
        renamed: version → {old name: new name} for every version that renamed columns, `{2:
            {"Score": "Placement"}}`. A history: entries are added, never changed.
        nullable: the columns in which null is a value: it is stored and makes a change point.
            Elsewhere null means "not observed".
        passive: the columns that are stored when a row changes for another reason, and never are
            a reason themselves (`last_updated`, sequence numbers). States have their value of the
            last change point.
        units: column → unit, like `"USD/h"`; for whoever reads the archive.
        description: column → what it says, in a sentence; key columns may have one too.

    Raises:
        InputError: an unknown dtype, a reserved or empty name, a score, sentinel, unit, meaning or
            new name for a column that is not there, a sentinel for a nullable column.
    """

    columns: Mapping[str, str] = field(converter=_columns, hash=False)
    score: str | None = None
    unobserved: Mapping[str, float] = field(factory=dict, converter=_read_only, hash=False)
    version: int = 1
    renamed: Mapping[int, Mapping[str, str]] = field(factory=dict, converter=_renames, hash=False)
    nullable: tuple[str, ...] = field(default=(), converter=_names, kw_only=True)
    passive: tuple[str, ...] = field(default=(), converter=_names, kw_only=True)
    units: Mapping[str, str] = field(factory=dict, converter=_texts, hash=False, kw_only=True)
    description: Mapping[str, str] = field(factory=dict, converter=_texts, hash=False, kw_only=True)

    def __reduce__(self) -> tuple[Any, ...]:
        # Mappings that are read-only do not pickle.
        values = {each.name: getattr(self, each.name) for each in fields(Schema) if each.init}
        return partial(Schema, **_writable(values)), ()

    def __attrs_post_init__(self) -> None:
        if not self.columns:
            raise InputError("a schema needs at least one value column")
        for name, dtype in self.columns.items():
            _check_column(name, dtype)

        if self.score is not None and self.score not in self.columns:
            raise InputError(
                f"score column {self.score!r} is not among the columns {', '.join(self.columns)}"
            )
        for name, sentinel in self.unobserved.items():
            self._check_sentinel(name, sentinel)

        if type(self.version) is not int or self.version < 1:
            raise InputError(f"a schema version is an integer from 1, got {self.version!r}")
        for version, names in self.renamed.items():
            self._check_renames(version, names)
        self._check_meanings()

    def _check_meanings(self) -> None:
        for what, names in (("nullable", self.nullable), ("passive", self.passive)):
            for name in names:
                if name not in self.columns:
                    raise InputError(
                        f"{what} names {name!r}, which is not among the columns "
                        f"{', '.join(self.columns)}"
                    )
        for name in self.nullable:
            if name in self.unobserved:
                raise InputError(
                    f"column {name!r} is nullable and has a sentinel: both become null, one as a "
                    "value, the other as not observed; keep one, or let titans_normalize tell "
                    "them apart"
                )
        for name in self.units:
            if name not in self.columns:
                raise InputError(
                    f"a unit for {name!r}, which is not among the columns {', '.join(self.columns)}"
                )
        for what, texts in (("unit", self.units), ("description", self.description)):
            for name, text in texts.items():
                if not _is_name(text):
                    raise InputError(f"the {what} of {name!r} is a text, got {text!r}")

    def _check_sentinel(self, name: str, sentinel: object) -> None:
        if name not in self.columns:
            raise InputError(
                f"sentinel for {name!r}, which is not among the columns {', '.join(self.columns)}"
            )
        if isinstance(sentinel, bool) or not isinstance(sentinel, int | float):
            raise InputError(f"the sentinel of {name!r} must be a number, got {sentinel!r}")
        if not self.columns[name].startswith(("Int", "UInt", "Float", "Decimal")):
            raise InputError(
                f"the sentinel of {name!r} needs a numeric column, not {self.columns[name]}"
            )

    def _check_renames(self, version: int, names: Mapping[str, str]) -> None:
        if type(version) is not int or not 2 <= version <= self.version:
            raise InputError(
                f"renamed names the schema version {version!r}; this is {self.version}, and the "
                "first is 1"
            )

        for old, new in names.items():
            if not _is_name(old) or not _is_name(new) or old == new:
                raise InputError(
                    f"renamed[{version}] maps an old column name to a new one, got {old!r}: {new!r}"
                )
            now = self.name_since(version, new)
            if now not in self.columns:
                raise InputError(
                    f"renamed[{version}] says {old!r} became {new!r}, but there is no column "
                    f"{now!r}; there are {', '.join(self.columns)}"
                )

        if len(set(names.values())) != len(names):
            raise InputError(
                f"renamed[{version}] gives two columns the same new name: "
                f"{', '.join(names.values())}"
            )

    def name_since(self, version: int, column: str) -> str:
        """What a column that was called `column` in `version` is called in this one."""
        for later in sorted(self.renamed):
            if later > version:
                column = self.renamed[later].get(column, column)
        return column

    def field_ids(self, key: tuple[str, ...]) -> dict[str, int]:
        """Column → its field id in Parquet files, for all canonical columns.

        It depends on the name that a column had when it was added: it stays when the column is
        renamed, when the order changes and in every later version.
        """
        ids = {TIME: 1, CEASED: 2}
        for column in (*key, *self.columns):
            name = f"{self._added_in(column)}/{self._first_name(column)}"
            digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
            ids[column] = int.from_bytes(digest, "little") >> 2
        return ids

    def _first_name(self, column: str) -> str:
        """What a column was called when it was added."""
        for version in sorted(self.renamed, reverse=True):
            for old, new in self.renamed[version].items():
                if new == column:
                    column = old
                    break
        return column

    def _added_in(self, column: str) -> int:
        """0, or the last version in which another column gave up the first name of this one."""
        first = self._first_name(column)
        versions = [0]
        for version, names in self.renamed.items():
            if first in names and self.name_since(version - 1, first) != column:
                versions.append(version)
        return max(versions)

    @property
    def value_columns(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def value_dtypes(self) -> dict[str, pl.DataType]:
        """Value column → polars dtype."""
        return {name: polars_dtype(dtype) for name, dtype in self.columns.items()}

    def dtypes(self, key: tuple[str, ...]) -> dict[str, pl.DataType]:
        """The schema of every stored file: key columns, `Time`, value columns, `Ceased`."""
        import polars as pl

        return {
            **dict.fromkeys(key, pl.String()),
            TIME: pl.Datetime("us", "UTC"),
            **self.value_dtypes(),
            CEASED: pl.Boolean(),
        }


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _check_column(name: str, dtype: str) -> None:
    if not _is_name(name):
        raise InputError(f"a column name must be a non-empty string, got {name!r}")
    if name in RESERVED:
        raise InputError(
            f"column {name!r} is reserved: TITANS writes it itself; choose another name"
        )
    wrong = dtype_error(dtype)
    if wrong is not None:
        raise InputError(f"column {name!r} has dtype {dtype!r}; {wrong}")
