"""Questions as commands: those that answer them, and those that say what an answer takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from titans.cli.options import on_archive, open_archive
from titans.cli.output import Target, as_output, write

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TRACED", "Asked", "asking"]

Option = Callable[[Callable[..., Any]], Callable[..., Any]]
Shown = Callable[["pl.DataFrame"], "pl.DataFrame"]


@frozen
class Asked:
    """A question, and the options that it has on the command line."""

    ask: Callable[..., Any]
    """Takes an archive, and what the options say."""
    options: tuple[Option, ...]

    def command(self, run: Callable[..., Any]) -> click.Command:
        """The command with these options that does `run`."""
        for option in reversed(self.options):
            run = option(run)
        return click.command(self.ask.__name__)(run)


TRACED: dict[str, Asked] = {}
"""The questions of which `titans trace` says what they take, by name. Filled when the commands are
imported, and never after that.
"""


def asking(
    *options: Option, is_traced: bool = True, shown: Shown | None = None
) -> Callable[[Callable[..., Any]], click.Command]:
    """A command that puts a question to an archive, and writes the answer where its options say.

    Args:
        options: of the question, besides those of an archive and of where the answer goes.
        is_traced: whether `titans trace` knows it.
        shown: what a terminal shows of the answer.
    """

    def made(ask: Callable[..., Any]) -> click.Command:
        asked = Asked(ask, options)
        if is_traced:
            TRACED[ask.__name__] = asked

        @wraps(ask)
        def command(provider: str, store: str | None, target: Target, **given: Any) -> None:
            answer = ask(open_archive(provider, store), **given)
            if shown is not None and target == Target():
                answer = shown(answer)
            write(answer, target)

        return asked.command(on_archive(as_output(command)))

    return made
