"""The server: which address is which question."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from titans.errors import (
    ArchiveNotFoundError,
    InputError,
    RetryableError,
    TitansError,
    UnknownProviderError,
)
from titans.store import ObjectStore
from titans_explorer.assets import Asset, read_assets
from titans_explorer.encode import FORMATS, as_file
from titans_explorer.guard import Guard
from titans_explorer.limits import Limits
from titans_explorer.questions import Answer, Question
from titans_explorer.questions._answer import checked_rows
from titans_explorer.questions.differences import differences
from titans_explorer.questions.groups import group
from titans_explorer.questions.lines import lines, points
from titans_explorer.questions.overview import about, calendar
from titans_explorer.questions.queries import query
from titans_explorer.questions.states import keys
from titans_explorer.shelf import Shelf
from titans_explorer.sql import Queries
from titans_explorer.wishes import Wishes

__all__ = ["app"]

log = logging.getLogger("titans.explorer")

_NOT_KEPT = {"cache-control": "no-store"}

_QUESTIONS: Mapping[str, Callable[[Question], Answer]] = {
    "about": about,
    "calendar": calendar,
    "keys": keys,
    "lines": lines,
    "points": points,
    "group": group,
    "diff": differences,
}


def app(
    store: ObjectStore | str | Path | None = None,
    *,
    providers: Sequence[str] | None = None,
    sql: bool = False,
    host: str = "127.0.0.1",
    names: Sequence[str] = (),
    token: str = "",
    limits: Limits | None = None,
) -> Guard:
    """An ASGI application that shows the archives of a store, and never writes to them.

    Args:
        store: as `titans.open` takes it.
        providers: only these; by default every installed one of which the store holds anything.
        sql: whether SQL is answered (needs `titans-explorer[sql]`).
        host: the address that the server listens on. Unless it is this machine alone, a token is
            needed.
        names: other names under which browsers reach it.
        token: what a browser has to know.
    """
    limits = limits or Limits()
    desk = _Desk(Shelf(store, providers, limits), Queries(limits) if sql else None)
    routes = [
        Route("/api/store", desk.store),
        Route("/api/{provider}/{question}", desk.answer),
        Route("/{path:path}", desk.asset),
    ]
    return Guard(Starlette(routes=routes, lifespan=desk.lifespan), host, frozenset(names), token)


@define(eq=False)
class _Desk:
    """Takes requests, and has them answered by threads, so that no more than a few are answered at
    a time.
    """

    shelf: Shelf
    queries: Queries | None
    _threads: ThreadPoolExecutor = field(init=False)
    _assets: Mapping[str, Asset] = field(factory=read_assets, init=False)

    def __attrs_post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.shelf.limits.threads, "titans-explorer")

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        if self.queries is not None:
            self._threads.submit(self.queries.warm)
        self._threads.submit(self._warm)
        yield
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self.queries is not None:
            self.queries.close()

    def _warm(self) -> None:
        """Ask what the first page asks, so that it is known when somebody opens it."""
        try:
            for name in self.shelf.names():
                wishes = Wishes({}, self.shelf.archive(name).provider, self.shelf.limits)
                question = Question(self.shelf, name, wishes)
                about(question)
                calendar(question)
        except TitansError as error:
            log.debug("nothing was asked before the first page: %s", error)

    async def store(self, _: Request) -> Response:
        """Which archives there are."""
        return await self._in_thread(self._store)

    async def asset(self, request: Request) -> Response:
        """A file of the page."""
        found = self._assets.get(request.path_params["path"])
        if found is None:
            return _error(404, "there is no such page")
        headers = {"cache-control": "no-cache", "etag": found.etag}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.media_type)

    async def answer(self, request: Request) -> Response:
        """The answer to a question, as JSON, or as a file where the name ends so."""
        wanted, _, form = request.path_params["question"].partition(".")
        given: dict[str, tuple[str, ...]] = {}
        for name, value in request.query_params.multi_items():
            given[name] = (*given.get(name, ()), value)
        provider = request.path_params["provider"]
        return await self._in_thread(partial(self._answer, provider, wanted, form, given))

    async def _in_thread(self, answered: Callable[[], Response]) -> Response:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, answered)

    # --- in a thread ------------------------------------------------------------------------------

    def _store(self) -> Response:
        try:
            names = self.shelf.names()
            found = [{"provider": name, "store": self.shelf.label(name)} for name in names]
        except TitansError as error:
            return self._failed(error, None)
        return _json({"archives": found, "sql": self.queries is not None, "still": False})

    def _answer(
        self, provider: str, wanted: str, form: str, given: dict[str, tuple[str, ...]]
    ) -> Response:
        started = time.perf_counter()
        try:
            if form and form not in FORMATS:
                raise InputError(f"no format {form!r}; there are {', '.join(FORMATS)}")
            if provider not in self.shelf.names():
                return _error(404, f"no archive of a provider {provider!r} here")
            answer = self._asked(provider, wanted, given)
            if answer is None:
                return _error(404, f"no question {wanted!r}")
            if form:
                return self._file(answer, provider, wanted, form)
        except (TitansError, OSError) as error:
            return self._failed(error, provider)
        except Exception:
            log.exception("a question could not be answered: %s", wanted)
            return _error(500, "that went wrong; the log of the command says more")
        milliseconds = (time.perf_counter() - started) * 1000
        body = {**answer.data, "python": answer.python}
        response = _json(body)
        response.headers["server-timing"] = f"answer;dur={milliseconds:.1f}"
        return response

    def _asked(
        self, provider: str, wanted: str, given: dict[str, tuple[str, ...]]
    ) -> Answer | None:
        archive = self.shelf.archive(provider)
        wishes = Wishes(given, archive.provider, self.shelf.limits)
        question = Question(self.shelf, provider, wishes)
        if wanted == "sql":
            return query(question, self.queries)
        if wanted not in _QUESTIONS:
            return None
        return _QUESTIONS[wanted](question)

    def _file(self, answer: Answer, provider: str, wanted: str, form: str) -> Response:
        frame = checked_rows(answer.frame(), self.shelf.limits.download_rows)
        name = f"{provider}-{wanted}.{form}"
        headers = {**_NOT_KEPT, "content-disposition": f'attachment; filename="{name}"'}
        return Response(as_file(frame, form), media_type=FORMATS[form], headers=headers)

    def _failed(self, error: Exception, provider: str | None) -> Response:
        """What a page is told: of its own mistakes all, of those of store and archive the kind."""
        if isinstance(error, ArchiveNotFoundError | UnknownProviderError):
            return _error(404, "there is no such archive")
        if isinstance(error, InputError):
            return _error(400, self.shelf.without_places(str(error), provider))
        log.warning("a question could not be answered: %s: %s", type(error).__name__, error)
        if isinstance(error, RetryableError):
            return _error(
                503, f"the archive does not answer now ({type(error).__name__}); try again"
            )
        return _error(500, f"{type(error).__name__}; the log of the command says more")


def _json(body: Any, status: int = 200) -> Response:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(content, status, _NOT_KEPT, "application/json")


def _error(status: int, message: str) -> Response:
    return _json({"error": message}, status)
