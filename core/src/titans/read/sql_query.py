"""What a query in SQL names, before it runs: tables, moments, functions.

DuckDB parses it and looks through the tree, which may be deeper than Python's recursion.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen

from titans.errors import InputError

__all__ = ["TABLES", "Query", "is_show_tables", "moment"]

TABLES = ("changes", "intervals", "latest")
_STATE = "state"
_FUNCTIONS = {_STATE, "generate_series", "json_each", "json_tree", "range", "repeat", "unnest"}
"""Functions that may stand in FROM. Of all others, some read files, and some run a text as SQL."""

_THERE_ARE = f"there are {', '.join(TABLES)} and state(at := '…')"
_SHOW_TABLES = re.compile(r"\s*show\s+tables\s*;?\s*", re.IGNORECASE)
_EXPLAIN = re.compile(r"\s*explain(\s+analyze)?\s", re.IGNORECASE)

_PARSED = """
SELECT tree, tree ->> '$.error', tree ->> '$.error_message', json_array_length(tree, '$.statements')
FROM (SELECT json_serialize_sql(?) AS tree)
"""
_FACTS = """
SELECT path, key, atom ->> '$' FROM json_tree(?)
WHERE (key IN ('type', 'kind', 'text', 'function_name', 'type_name', 'key') AND atom IS NOT NULL)
   OR suffix(path, '.qualified_name.path') OR (key = '1' AND suffix(path, '.arguments'))
"""
_COMMON = re.compile(r"\.cte_map\.map\[\d+\]$")
_NAIVE = {"TIMESTAMP", "DATETIME", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_US", "TIMESTAMP_NS"}
_ELSEWHERE = re.compile(r"\d{1,2}:\d{2}.*([+-](?!00(:?00)*$)\d{2}(:?\d{2})*|[A-Za-z]+/\w+)$")
"""A time with an offset from UTC, or a zone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Query:
    """Statements that read, and what they are about."""

    statements: Sequence[str]
    tables: frozenset[str] = frozenset()
    """Those of `TABLES` that they name."""
    moments: frozenset[str] = frozenset()
    """The arguments of `state`, as they are written."""

    @classmethod
    def of(cls, text: str, connection: Any, frames: Collection[str] = ()) -> Query:
        """A SELECT, also with DESCRIBE, SUMMARIZE or EXPLAIN before it, or several.

        Args:
            frames: names of other tables that are there.

        Raises:
            InputError: it is something else, or names what is not there.
        """
        if not isinstance(text, str):
            raise InputError(f"a query is a text in SQL, got a {type(text).__name__}")
        query = cls(())
        for statement in _split(text, connection):
            tables, moments = _read_statement(statement, connection, frames)
            query = cls(
                (*query.statements, statement), query.tables | tables, query.moments | moments
            )
        if not query.statements:
            raise InputError("the query has no statement in it; write a SELECT")
        return query


def is_show_tables(statement: str) -> bool:
    """Whether it asks which tables there are."""
    return _SHOW_TABLES.fullmatch(statement) is not None


def _split(text: str, connection: Any) -> list[str]:
    import duckdb

    try:
        return [each.query for each in connection.extract_statements(text)]
    except (duckdb.Error, RuntimeError, UnicodeError) as error:
        raise InputError(f"not a SELECT that DuckDB accepts: {error}") from error


def _read_statement(
    statement: str, connection: Any, frames: Collection[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """The tables that a statement names, and the moments."""
    if is_show_tables(statement):
        return frozenset(), frozenset()
    select = _EXPLAIN.sub("", statement, count=1)
    ((tree, failed, message, _),) = connection.execute(_PARSED, [select]).fetchall()
    if failed == "true":
        raise InputError(f"not a SELECT that DuckDB accepts: {message}")
    facts = _Facts.of(connection.execute(_FACTS, [tree]).fetchall())
    _check_casts(facts)
    return _tables(facts, frames), _moments(facts)


@frozen(eq=False)
class _Facts:
    """What stands in the tree: path → key → text."""

    at: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, rows: Sequence[tuple[str, str, str]]) -> _Facts:
        at: dict[str, dict[str, str]] = {}
        for path, key, value in rows:
            at.setdefault(path, {})[key] = value
        return cls(at)

    def paths(self, kind: str) -> Iterator[str]:
        """Where a node of this kind stands."""
        return (path for path, facts in self.at.items() if facts.get("type") == kind)

    def get(self, path: str, key: str) -> str:
        """What stands there; empty for nothing."""
        return self.at.get(path, {}).get(key) or ""


def _check_casts(facts: _Facts) -> None:
    """Refuse a time whose offset DuckDB would leave out."""
    for path in facts.paths("OPERATOR_CAST"):
        dtype = facts.get(f"{path}.type_expr", "type_name")
        literal = facts.get(f"{path}.child.literal", "text")
        if dtype.upper() in _NAIVE and _ELSEWHERE.search(literal.strip()):
            raise InputError(
                f"{dtype} '{literal}' would leave its offset out; write TIMESTAMPTZ '{literal}', "
                "or the text alone"
            )


def _tables(facts: _Facts, frames: Collection[str]) -> frozenset[str]:
    """Of the tables that are named, those that have to be made."""
    common = {
        entry["key"].lower()
        for path, entry in facts.at.items()
        if "key" in entry and _COMMON.search(path)
    }
    wanted: set[str] = set()
    for path in facts.paths("BASE_TABLE"):
        names = [*facts.at.get(f"{path}.qualified_name.path", {"": ""}).values()]
        name = names[-1].lower()
        if name in TABLES:
            wanted.add(name)
        elif name not in (*common, *frames) and names[0].lower() != "information_schema":
            raise InputError(f"no table {names[-1]!r}; {_THERE_ARE}")
    return frozenset(wanted)


def _moments(facts: _Facts) -> frozenset[str]:
    moments: set[str] = set()
    for path in facts.paths("TABLE_FUNCTION"):
        function = facts.get(f"{path}.function", "function_name").lower()
        if function not in _FUNCTIONS:
            raise InputError(
                f"{function} cannot be used here: a query reads the archive and nothing else; "
                f"{_THERE_ARE}"
            )
        if function == _STATE:
            moments.add(_argument(facts, f"{path}.function.arguments"))
    return frozenset(moments)


def _argument(facts: _Facts, path: str) -> str:
    """The one text that stands among the arguments at `path`."""
    for literal in (f"{path}[0].expression.literal", f"{path}[0].literal"):
        is_text = facts.get(literal, "kind") == "STRING"
        if is_text and "1" not in facts.at.get(path, {}):
            return facts.get(literal, "text")
    raise InputError("state takes one time as text: state(at := '2026-01-15T12:00Z')")


def moment(text: str, connection: Any) -> datetime:
    """The moment that a text names; UTC unless it says otherwise.

    Raises:
        InputError: it names none.
    """
    try:
        found = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        found = _as_duckdb_reads(text, connection)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _as_duckdb_reads(text: str, connection: Any) -> datetime:
    question = "SELECT epoch_us(TRY_CAST(? AS TIMESTAMPTZ))"
    ((micros,),) = connection.execute(question, [text.strip()]).fetchall()
    if micros is not None:
        try:
            return _EPOCH + timedelta(microseconds=micros)
        except OverflowError:
            pass
    raise InputError(f"{text!r} is no time; write it like 2026-01-15T12:00Z")
