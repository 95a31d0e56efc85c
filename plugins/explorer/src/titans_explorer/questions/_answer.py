"""A question of a view, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from attrs import field, frozen

from titans import Archive
from titans.errors import InputError
from titans_explorer.conditions import text
from titans_explorer.shelf import Shelf
from titans_explorer.wishes import Page, Wishes

__all__ = ["Answer", "Question", "in_python", "paged"]


@frozen(eq=False)
class Question:
    """One request: of which archive, and what is wanted."""

    shelf: Shelf
    name: str
    """Of the provider."""
    wishes: Wishes

    @property
    def archive(self) -> Archive:
        return self.shelf.archive(self.name)

    def keep(self, make: Callable[[], Any], *question: Any) -> Any:
        return self.shelf.keep(self.name, question, make)

    @property
    def opened(self) -> str:
        """How Python opens the archive."""
        return f"titans.open({text(self.shelf.label(self.name))}, provider={text(self.name)})"


@frozen(eq=False)
class Answer:
    """For a page, and for a file."""

    data: dict[str, Any]
    """What the page gets, as JSON."""
    frame: Callable[[], pl.DataFrame]
    """The whole of it, for a download."""
    python: str = field(kw_only=True)
    """A line that gives the same frame."""


def in_python(opened: str, method: str, arguments: Sequence[str]) -> str:
    """A line that asks an archive."""
    return f"{opened}.{method}({', '.join(each for each in arguments if each)})"


def paged(frame: pl.DataFrame, page: Page, by: pl.Expr | None = None) -> pl.DataFrame:
    """The part of a frame that is wanted, nulls last."""
    if page.sort:
        order = pl.col(page.sort) if by is None else by
        frame = frame.sort(order, descending=page.descending, nulls_last=True, maintain_order=True)
    return frame.slice(page.offset, page.limit)


def checked_rows(frame: pl.DataFrame, limit: int) -> pl.DataFrame:
    """A frame that is small enough for a download.

    Raises:
        InputError: it is not.
    """
    if frame.height > limit:
        raise InputError(
            f"{frame.height:,} rows are too many for a download, at most {limit:,}; choose fewer, "
            "or use the line of Python"
        )
    return frame
