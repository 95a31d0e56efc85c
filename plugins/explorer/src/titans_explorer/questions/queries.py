"""A query in SQL, and the first rows of its answer."""

from __future__ import annotations

from titans.errors import InputError
from titans_explorer.conditions import text
from titans_explorer.encode import table
from titans_explorer.questions._answer import Answer, Question, in_python, paged
from titans_explorer.sql import Queries

__all__ = ["query"]


def query(question: Question, queries: Queries | None) -> Answer:
    """The answer to `q`.

    Raises:
        InputError: SQL is not offered, or the query is not acceptable.
    """
    if queries is None:
        raise InputError("SQL is off; start the explorer with --sql")
    wishes = question.wishes
    asked = wishes.one("q").strip()
    if not asked:
        raise InputError("write a SELECT")
    if len(asked) > wishes.limits.query:
        raise InputError(f"a query has at most {wishes.limits.query:,} characters")
    frame, count = question.keep(lambda: queries.ask(question.archive, asked), "sql", asked)
    page = wishes.page(frame.columns)
    data = {"count": count, "kept": frame.height, **table(paged(frame, page))}
    return Answer(data, lambda: frame, python=in_python(question.opened, "sql", [text(asked)]))
