"""SQL over an archive, through DuckDB in memory. The query sees tables that are made for it, and
nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from titans.changes.frames import to_polars
from titans.errors import InputError, NotFound, TitansError
from titans.read.sql_answer import to_frame
from titans.read.sql_query import TABLES, Query, is_show_tables, moment
from titans.read.sql_tables import Stream, Tables

if TYPE_CHECKING:
    import polars as pl

    from titans.read.reader import Reader

__all__ = ["ask", "other_tables"]

_STATE = "state at "
# The name of a table is made of parts with dots between them, and a time may hold a dot.
_MACRO = """
CREATE MACRO state("at") AS TABLE SELECT * FROM query_table('state at ' || md5("at"))
"""


def ask(
    reader: Reader,
    text: str,
    frames: Mapping[str, pl.DataFrame],
    *,
    by_polars: bool = False,
) -> pl.DataFrame:
    """The answer to a SELECT, of several to the last one. Times are in UTC. All tables are of the
    same moment.

    Args:
        frames: other tables, by name.
        by_polars: DuckDB opens no file itself.

    Raises:
        InputError: it is no SELECT, DuckDB does not accept it, or polars cannot hold the answer.
        NotFound: a file was merged and removed meanwhile.
    """
    try:
        import duckdb
    except ImportError as error:
        raise InputError("SQL needs DuckDB: pip install 'titans-core[sql]'") from error

    failures: list[TitansError] = []
    with (
        _spill_folder() as folder,
        duckdb.connect(":memory:", config=_configuration(folder)) as connection,
    ):
        connection.execute("SET TimeZone = 'UTC'")
        query = Query.of(text, connection, frames)
        tables = None
        if {"changes", "intervals"} & {*query.tables}:
            tables = Tables.of(reader, by_polars=by_polars)
        _create(tables, connection, query, failures.append)
        if "latest" in query.tables:
            connection.register("latest", Stream(reader.latest().lazy()))
        for name, frame in frames.items():
            connection.register(name, Stream(frame.lazy()))
        for at in query.moments:
            rows = reader.state(moment(at, connection)).lazy()
            connection.register(_STATE + _digest(at), Stream(rows))
        connection.execute(_MACRO)
        connection.execute("SET lock_configuration = true")

        try:
            # DuckDB 2.0 may crash where a table fails while polars takes the answer from it: first
            # the whole answer.
            for statement in query.statements:
                answer = _answer(statement, connection, frames)
            return answer
        except duckdb.Error as error:
            if failures:
                raise _first(failures) from error
            if tables is not None:
                tables.check_files()
            if tables is not None and tables.files and _is_of_a_file(error):
                return ask(reader, text, frames, by_polars=True)  # it says which file is damaged
            raise InputError(
                f"DuckDB: {error}; there are {', '.join(TABLES)} and state(at := '…')"
            ) from error


def other_tables(frames: Mapping[str, Any]) -> dict[str, pl.DataFrame]:
    """What a caller adds to the tables of an archive, by name in lower case.

    Raises:
        InputError: a name is taken, or no name, or something is no frame.
    """
    tables: dict[str, pl.DataFrame] = {}
    for name, frame in frames.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InputError(f"a table has a name of letters, digits and _, got {name!r}")
        if name.lower() in (*TABLES, "state", *tables):
            raise InputError(f"there is a table {name.lower()!r}; give the frame another name")
        tables[name.lower()] = to_polars(frame)
    return tables


def _answer(statement: str, connection: Any, frames: Iterable[str]) -> pl.DataFrame:
    if is_show_tables(statement):
        import polars as pl

        return pl.DataFrame({"name": sorted([*TABLES, *frames])})
    return to_frame(connection.sql(statement).materialize())


def _configuration(folder: str) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "temp_directory": folder,
    }


def _create(
    tables: Tables | None, connection: Any, query: Query, report: Callable[[TitansError], None]
) -> None:
    """The tables of change points that a query names; then no file can be opened but theirs."""
    allowed: list[str] = []
    if tables is not None:
        allowed = [path.as_posix() for path in tables.files]
    connection.execute("SET allowed_paths = ?", [allowed])
    connection.execute("SET enable_external_access = false")
    if tables is None:
        return
    tables.create_changes(connection, report)
    if "intervals" in query.tables:
        tables.create_intervals(connection)


def _is_of_a_file(error: Exception) -> bool:
    import duckdb

    return isinstance(error, duckdb.IOException | duckdb.InvalidInputException)


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


def _first(failures: Sequence[TitansError]) -> TitansError:
    """What made a table fail; where a file is gone, who asked may look again."""
    cause = failures[0].__cause__
    return cause if isinstance(cause, NotFound) else failures[0]
