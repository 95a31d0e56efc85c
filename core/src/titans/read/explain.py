"""What a question takes, and why: asked as ever, of a store that is watched.

Nothing outside of the question knows that it is watched: the store and the `Dataset` that tell are
made for it, and what others ask meanwhile is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from copy import copy
from datetime import date, datetime
from typing import Any, TypeVar

import polars as pl
from attrs import define, evolve, frozen

from titans.errors import InputError
from titans.read.api import ReadableArchive
from titans.read.explained import (
    counted,
    months_of,
    round_trips,
    states_of,
    waited,
    waiting_of,
)
from titans.read.explanation import Explanation
from titans.read.file_uses import files_of
from titans.read.recorder import Recorder
from titans.redaction import redacted
from titans.slots import iso
from titans.store._watched import Request, Watched

__all__ = ["QUESTIONS", "ExplainedArchive", "Traced", "traced"]

QUESTIONS = (
    "changes",
    "coverage",
    "diff",
    "grid",
    "history",
    "intervals",
    "keys",
    "latest",
    "scan",
    "sql",
    "state",
)

A = TypeVar("A", bound=ReadableArchive)


@define(eq=False, repr=False)
class ExplainedArchive(ReadableArchive):
    """An archive that says what its answers take."""

    def explain(
        self, question: str, /, *arguments: Any, run: bool = True, **options: Any
    ) -> Explanation:
        """What a question takes, and why: `explain("state", "2026-01-23", Region="eu-west-1")`.

        It is asked as ever, so what it fetches is kept for the next one, as ever. A LazyFrame is
        collected.

        Args:
            question: `state`, `latest`, `keys`, `history`, `changes`, `scan`, `diff`, `grid`,
                `intervals`, `coverage` or `sql`.
            arguments, options: those of the question. A key column named `run` has to stand in
                `keys`.
            run: without it no row is asked for, and the files are named that would be read. What
                that takes is listed, the manifests, the hot files that wait (which are fetched to
                know what they are) and, of large files elsewhere of which a part may be enough,
                the footers. Rows that a late slot may need corrected are not looked for.

        Raises:
            InputError: there is no such question; and whatever the question raises.
        """
        if question not in QUESTIONS:
            raise InputError(f"no question {question!r}; there are {', '.join(QUESTIONS)}")
        found = traced(self, question, arguments, options, run=run)
        dataset, told, requests = found.archive._dataset, found.told, found.requests
        return Explanation(
            question=_as_asked(question, arguments, options),
            provider=self.provider.name,
            store=redacted(self.store.url),
            ran=run,
            rows=found.answer.height if run else None,
            ms=found.ms,
            waited_ms=waited(requests),
            looks=len(told.looks),
            round_trips=round_trips(requests),
            requests=counted(requests),
            months=months_of(told),
            states=states_of(told),
            waiting=waiting_of(told),
            files=files_of(dataset, told, requests),
        )


@frozen(eq=False)
class Traced:
    """An answer, and what was told meanwhile."""

    archive: ReadableArchive
    answer: pl.DataFrame
    told: Recorder
    requests: Sequence[Request]
    ms: float


def traced(
    archive: ReadableArchive,
    question: str,
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    *,
    run: bool = True,
) -> Traced:
    """The answer to a question of an archive, and what it took; with `run=False` one without
    rows.
    """
    store, told = Watched(archive.store), Recorder(reads_rows=run)
    watched = _watched(archive, store, told)
    began = time.perf_counter()
    answer = getattr(watched, question)(*arguments, **options)
    if isinstance(answer, pl.LazyFrame):
        answer = answer.collect()
    ms = 1000 * (time.perf_counter() - began)
    return Traced(watched, answer, told, tuple(store.requests), ms)


def _watched(archive: A, store: Watched, told: Recorder) -> A:
    """The same archive, in a store that is watched. It begins with the same guesses."""
    watched = copy(archive)
    watched.store = store
    watched._dataset = evolve(archive._dataset, store=store, trace=told)
    watched._seen = archive._seen
    return watched


def _as_asked(question: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> str:
    said = [_shown(value) for value in arguments]
    said += [f"{name}={_shown(value)}" for name, value in options.items()]
    return f"{question}({', '.join(said)})"


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return iso(value) if value.tzinfo is not None else repr(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, pl.DataFrame):
        return f"<{value.height:,} rows>"
    if isinstance(value, pl.Expr):
        return " ".join(str(value).split())
    return repr(value) if isinstance(value, str | int | float | bool) else _of_several(value)


def _of_several(value: Any) -> str:
    """A list of values, or the kind of anything else."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return f"<{type(value).__name__}>" if value is not None else "None"
