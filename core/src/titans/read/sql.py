"""SQL over an archive, through DuckDB in memory. The query sees tables that are made for it, and
nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from attrs import frozen

from titans.errors import InputError, NotFound, TitansError
from titans.read.queries import to_intervals
from titans.read.scan import scan

if TYPE_CHECKING:
    from titans.read.reader import Reader

__all__ = ["ask"]

_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
}
_STATE = "state at "
_MACRO = """CREATE MACRO state("at") AS TABLE SELECT * FROM query_table('state at ' || "at")"""


@frozen(eq=False)
class _Table:
    """Gives rows to DuckDB by the Arrow PyCapsule interface alone, batch by batch; for polars' own
    types it would want pyarrow.

    DuckDB asks for the stream to see its columns, and again each time the query reads the table.
    """

    rows: pl.LazyFrame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        # DuckDB needs an extension for time zones, which cannot be loaded here; all times of an
        # archive are UTC.
        naive = self.rows.with_columns(pl.col(pl.Datetime("us", "UTC")).dt.replace_time_zone(None))
        return naive.collect_batches(lazy=True).__arrow_c_stream__(requested_schema)


def ask(reader: Reader, query: str) -> pl.DataFrame:
    """The answer to one SELECT. Times are UTC, without a timezone. All tables are of the same
    moment.

    Raises:
        InputError: it is no SELECT, or DuckDB does not accept it.
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

    with duckdb.connect(":memory:", config=_LOCKED) as connection:
        tree = _parsed(connection, query)
        for name in sorted(_tables(tree) & set(tables)):
            connection.register(name, _Table(tables[name]()))
        for text in sorted(set(_moments(tree))):
            connection.register(_STATE + text, _Table(reader.state(_moment(text)).lazy()))
        connection.execute(_MACRO)
        connection.execute("SET lock_configuration = true")

        try:
            # DuckDB 2.0 may crash where a table fails while polars takes the answer from it: first
            # the whole answer.
            return pl.DataFrame(connection.sql(query).materialize())
        except duckdb.Error as error:
            if failures:
                raise _first(failures) from error
            raise InputError(
                f"DuckDB: {error}; there are {', '.join(tables)} and state(at := '…')"
            ) from error


def _intervals(reader: Reader) -> pl.LazyFrame:
    points = reader.changes()
    return to_intervals(reader.empty_state(), points, reader.provider).lazy()


def _first(failures: Sequence[TitansError]) -> TitansError:
    """What made a table fail; where a file is gone, who asked may look again."""
    cause = failures[0].__cause__
    return cause if isinstance(cause, NotFound) else failures[0]


def _parsed(connection: Any, query: str) -> Any:
    (text,) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    connection.execute("SELECT 1").fetchall()  # ends the result before
    tree = json.loads(text)
    if tree["error"]:
        raise InputError(f"not a SELECT that DuckDB accepts: {tree['error_message']}")
    if len(tree["statements"]) != 1:
        raise InputError(f"one SELECT at a time, got {len(tree['statements'])} statements")
    return tree


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _tables(tree: Any) -> set[str]:
    names = set()
    for node in _nodes(tree):
        if node.get("type") == "BASE_TABLE":
            path = node.get("qualified_name", {}).get("path") or [node.get("table_name", "")]
            names.add(str(path[-1]).lower())
    return names


def _moments(tree: Any) -> Iterator[str]:
    """The arguments of `state(…)`."""
    for node in _nodes(tree):
        function = node.get("function")
        if node.get("type") != "TABLE_FUNCTION" or not isinstance(function, dict):
            continue
        if function.get("function_name", "").lower() != "state":
            continue

        arguments = [a.get("expression", a) for a in function.get("arguments", ())]
        literal = arguments[0].get("literal", {}) if len(arguments) == 1 else {}
        if literal.get("kind") != "STRING":
            raise InputError("state takes one time as text: state(at := '2026-01-15T12:00Z')")
        yield str(literal["text"])


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is no time; write it like 2026-01-15T12:00Z") from error
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment
