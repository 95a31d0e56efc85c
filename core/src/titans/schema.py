"""What the rows of a provider look like. Importing this module does not import polars; asking for dtypes does."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from titans.errors import InputError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["CEASED", "DTYPES", "TIME", "Schema"]

TIME = "Time"
CEASED = "Ceased"
RESERVED = (TIME, CEASED)

DTYPES = (
    "Boolean",
    "Date",
    "Float32",
    "Float64",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "String",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
)


def _dtype_name(dtype: object) -> str:
    """`"Int64"`, `pl.Int64` and `pl.Int64()` all mean `"Int64"`."""
    return dtype if isinstance(dtype, str) else str(dtype)


def _columns(given: Mapping[str, object]) -> Mapping[str, str]:
    if not isinstance(given, Mapping):
        raise InputError(f"columns must map a column name to its dtype, got {type(given).__name__}")
    return MappingProxyType({name: _dtype_name(dtype) for name, dtype in given.items()})


def _read_only(given: Mapping[str, float]) -> Mapping[str, float]:
    return MappingProxyType(dict(given))


@frozen
class Schema:
    """The value columns of a provider.

    Args:
        columns: value column → dtype, in the order they are stored. A dtype is a name from `titans.schema.DTYPES` or
            the polars dtype of that name. Key columns are always `String` and are not listed here.
        score: the column that ranks a key (a placement score), if there is one.
        unobserved: value column → the number that means "not observed" there. It becomes null, column by column;
            `ingest` then carries the last known value of a living key.
        version: of this schema; raise it when columns change.

    Raises:
        InputError: an unknown dtype, a reserved or empty name, a score or sentinel for a column that is not there.
    """

    columns: Mapping[str, str] = field(converter=_columns, hash=False)
    score: str | None = None
    unobserved: Mapping[str, float] = field(factory=dict, converter=_read_only, hash=False)
    version: int = 1

    def __attrs_post_init__(self) -> None:
        if not self.columns:
            raise InputError("a schema needs at least one value column")
        for name, dtype in self.columns.items():
            if not isinstance(name, str) or not name:
                raise InputError(f"a column name must be a non-empty string, got {name!r}")
            if name in RESERVED:
                raise InputError(f"column {name!r} is reserved: TITANS writes it itself; choose another name")
            if dtype not in DTYPES:
                raise InputError(f"column {name!r} has dtype {dtype!r}; choose one of {', '.join(DTYPES)}")
        if self.score is not None and self.score not in self.columns:
            raise InputError(f"score column {self.score!r} is not among the columns {', '.join(self.columns)}")
        for name, sentinel in self.unobserved.items():
            if name not in self.columns:
                raise InputError(f"sentinel for {name!r}, which is not among the columns {', '.join(self.columns)}")
            if isinstance(sentinel, bool) or not isinstance(sentinel, int | float):
                raise InputError(f"the sentinel of {name!r} must be a number, got {sentinel!r}")
            if not self.columns[name].startswith(("Int", "UInt", "Float")):
                raise InputError(f"the sentinel of {name!r} needs a numeric column, not {self.columns[name]}")
        if type(self.version) is not int or self.version < 1:
            raise InputError(f"a schema version is an integer from 1, got {self.version!r}")

    @property
    def value_columns(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def value_dtypes(self) -> dict[str, pl.DataType]:
        """Value column → polars dtype."""
        import polars as pl

        return {name: _instance(getattr(pl, dtype)) for name, dtype in self.columns.items()}

    def dtypes(self, key: tuple[str, ...]) -> dict[str, pl.DataType]:
        """The schema of every stored file: key columns, `Time`, value columns, `Ceased`."""
        import polars as pl

        return {
            **{name: pl.String() for name in key},
            TIME: pl.Datetime("us", "UTC"),
            **self.value_dtypes(),
            CEASED: pl.Boolean(),
        }


def _instance(dtype: Any) -> Any:
    return dtype() if isinstance(dtype, type) else dtype
