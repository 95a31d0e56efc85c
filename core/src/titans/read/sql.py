"""SQL over an archive, through DuckDB in memory. The query sees tables that are made for it, and
nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl
from attrs import frozen

from titans.errors import InputError, NotFound, TitansError
from titans.read.queries import to_intervals
from titans.read.scan import scan
from titans.read.sql_answer import to_frame
from titans.read.sql_query import TABLES, Query, moment

if TYPE_CHECKING:
    from titans.read.reader import Reader

__all__ = ["ask"]

_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
}
_STATE = "state at "
# The name of a table is made of parts with dots between them, and a time may hold a dot.
_MACRO = """
CREATE MACRO state("at") AS TABLE SELECT * FROM query_table('state at ' || md5("at"))
"""


@frozen(eq=False)
class _Table:
    """Gives rows to DuckDB by the Arrow PyCapsule interface alone, batch by batch; for polars' own
    types it would want pyarrow.

    DuckDB asks for the stream to see its columns, and again each time the query reads the table.
    """

    rows: pl.LazyFrame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.rows.collect_batches(lazy=True).__arrow_c_stream__(requested_schema)


def ask(reader: Reader, text: str) -> pl.DataFrame:
    """The answer to one SELECT. Times are UTC, without a timezone. All tables are of the same
    moment.

    Raises:
        InputError: it is no SELECT, DuckDB does not accept it, or polars cannot hold the answer.
        NotFound: a file was merged and removed meanwhile.
    """
    failures: list[TitansError] = []
    tables: dict[str, Callable[[], pl.LazyFrame]] = {
        "changes": lambda: scan(lambda: reader, reader.provider, None, None, failures.append),
        "intervals": lambda: _intervals(reader),
        "latest": lambda: reader.latest().lazy(),
    }
    try:
        import duckdb
    except ImportError as error:
        raise InputError("SQL needs DuckDB: pip install 'titans-core[sql]'") from error

    with (
        _spill_folder() as folder,
        duckdb.connect(":memory:", config={**_LOCKED, "temp_directory": folder}) as connection,
    ):
        connection.execute("SET TimeZone = 'UTC'")
        query = Query.of(text, connection)
        for name in query.tables:
            connection.register(name, _Table(tables[name]()))
        for at in query.moments:
            rows = reader.state(moment(at, connection)).lazy()
            connection.register(_STATE + _digest(at), _Table(rows))
        connection.execute(_MACRO)
        connection.execute("SET lock_configuration = true")

        try:
            # DuckDB 2.0 may crash where a table fails while polars takes the answer from it: first
            # the whole answer.
            return to_frame(connection.sql(query.text).materialize())
        except duckdb.Error as error:
            if failures:
                raise _first(failures) from error
            raise InputError(
                f"DuckDB: {error}; there are {', '.join(TABLES)} and state(at := '…')"
            ) from error


@contextmanager
def _spill_folder() -> Iterator[str]:
    """Where DuckDB puts what it has no memory for; empty where no folder can be made.

    By default that is `.tmp` in the working folder, which queries may read.
    """
    with ExitStack() as stack:
        folder = ""
        with suppress(OSError):
            folder = stack.enter_context(TemporaryDirectory(prefix="titans-sql-"))
        yield folder


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _intervals(reader: Reader) -> pl.LazyFrame:
    points = reader.changes()
    return to_intervals(reader.empty_state(), points, reader.provider).lazy()


def _first(failures: Sequence[TitansError]) -> TitansError:
    """What made a table fail; where a file is gone, who asked may look again."""
    cause = failures[0].__cause__
    return cause if isinstance(cause, NotFound) else failures[0]
