"""The tables that a query in SQL may name, as DuckDB sees them.

Change points that lie in files on this machine are read by DuckDB itself, which looks at no more of
them than a query asks for. It may open these files and no others. All other rows come through
polars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from attrs import evolve, frozen

from titans.changes.state import as_rows
from titans.errors import NotFound, TitansError
from titans.read.queries import VALID_FROM, VALID_TO
from titans.read.scan import Narrow, Plan, source_of
from titans.schema import CEASED, TIME
from titans.tiers.files.read import StoredFile

if TYPE_CHECKING:
    from titans.provider import Provider
    from titans.read.reader import Reader

__all__ = ["Tables", "quoted"]

_ELSEWHERE, _BEGINNING = "change points elsewhere", "what there was at the beginning"
_PATTERN = frozenset("*?[]{}\\")
"""DuckDB takes a path with one of these for a pattern."""


@frozen(eq=False)
class Stream:
    """Gives rows to DuckDB by the Arrow PyCapsule interface alone, batch by batch; for polars' own
    types it would want pyarrow.

    DuckDB asks for the stream to see its columns, and again each time the query reads the table.
    """

    rows: pl.LazyFrame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.rows.collect_batches(lazy=True).__arrow_c_stream__(requested_schema)


@frozen(eq=False)
class Tables:
    """What an archive holds at one moment."""

    reader: Reader
    plan: Plan
    files: tuple[Path, ...]
    """Of change points, that DuckDB reads itself."""

    @classmethod
    def of(cls, reader: Reader, *, by_polars: bool) -> Tables:
        """With `by_polars`, DuckDB reads no file itself."""
        plan = Plan.of(reader, None, None)
        files: list[Path] = []
        if not by_polars and reader.dataset.reads_rows:
            files = [path for path in plan.whole if _is_plain(path, reader.provider)]
        for path in files:
            _tell_opened(reader, plan.whole[path].source)
        rest = {path: each for path, each in plan.whole.items() if path not in files}
        return cls(reader, evolve(plan, whole=rest), tuple(files))

    @property
    def provider(self) -> Provider:
        return self.reader.provider

    def check_files(self) -> None:
        """Raise `NotFound` where a file was merged and removed since."""
        for path in self.files:
            if not path.exists():
                raise NotFound(str(path))

    def create_changes(self, connection: Any, report: Callable[[TitansError], None]) -> None:
        """The table `changes`."""
        rows = source_of(self._others, dict(self.provider.schema_dtypes), report)
        connection.register(_ELSEWHERE, Stream(rows))
        columns = ", ".join(map(quoted, self.provider.canonical_columns))
        parts = [_select(columns, quoted(_ELSEWHERE))]
        if self.files:
            paths = ", ".join(_text(path.as_posix()) for path in self.files)
            parts.append(_select(columns, f"read_parquet([{paths}], hive_partitioning = false)"))
        connection.execute(f"CREATE VIEW changes AS {' UNION ALL '.join(parts)}")

    def _others(self, narrow: Narrow) -> Any:
        self.reader.check_exists()
        return self.plan.batches(narrow)

    def create_intervals(self, connection: Any) -> None:
        """The table `intervals`, of which conditions on the key reach `changes`."""
        beginning = as_rows(self.reader.first_state()).select(self.provider.canonical_columns)
        connection.register(_BEGINNING, Stream(beginning.lazy()))
        key = ", ".join(map(quoted, self.provider.key))
        values = ", ".join(map(quoted, (*self.provider.key, *self.provider.value_columns)))
        time, ceased = quoted(TIME), quoted(CEASED)

        rows = f"{_select('*', 'changes')} UNION ALL {_select('*', quoted(_BEGINNING))}"
        until = f"lead({time}) OVER (PARTITION BY {key} ORDER BY {time}) AS {VALID_TO}"
        periods = _select(f"*, {until}", f"({rows})")
        held = _select(f"{values}, {time} AS {VALID_FROM}, {VALID_TO}", f"({periods})")
        connection.execute(f"CREATE VIEW intervals AS {held} WHERE NOT {ceased}")


def _tell_opened(reader: Reader, file: StoredFile | pl.DataFrame) -> None:
    """Tell the trace, if there is one, of a file of which DuckDB decides what it needs."""
    if reader.dataset.trace is not None:
        reader.dataset.trace.opens(file, None)


def _select(what: str, table: str) -> str:
    """A SELECT of names and texts that are quoted."""
    return f"SELECT {what} FROM {table}"  # noqa: S608


def quoted(name: str) -> str:
    """A name in SQL."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _text(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _is_plain(path: Path, provider: Provider) -> bool:
    """Whether DuckDB reads a file as what it is: the path is no pattern, and the columns are those
    of the schema. Files of earlier writers may have others.
    """
    name = path.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not _PATTERN & set(name) and _has_columns(path, tuple(provider.schema_dtypes.items()))


@lru_cache(maxsize=4096)
def _has_columns(path: Path, columns: Sequence[tuple[str, pl.DataType]]) -> bool:
    """Whether a file has these columns.

    At most 4,096 answers are kept. A file never changes under its name; where it was removed, the
    query finds that out.
    """
    try:
        found = pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema()
    except (pl.exceptions.PolarsError, OSError):
        return False
    return list(found.items()) == list(columns)
