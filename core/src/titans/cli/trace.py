"""What the answer to a question takes, and why: trace."""

from __future__ import annotations

import json
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from titans.cli.asking import TRACED, Asked
from titans.cli.options import on_archive, open_archive
from titans.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from titans.archive import Archive
    from titans.read.explanation import Explanation

__all__ = ["COMMANDS"]

_PLAN = click.option(
    "--plan", is_flag=True, help="Read no rows, and say which files would be read."
)
_FORMAT = click.option(
    "--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True
)


@click.group()
def trace() -> None:
    """What a question takes, and why: files, row groups, requests, bytes and milliseconds."""


@frozen(eq=False)
class _Explained:
    """An archive of which every question is explained."""

    archive: Archive
    run: bool

    def __getattr__(self, question: str) -> Callable[..., Explanation]:
        return partial(self.archive.explain, question, run=self.run)


def _traced(asked: Asked) -> click.Command:
    @wraps(asked.ask)
    def command(provider: str, store: str | None, plan: bool, form: str, **given: Any) -> None:
        found = asked.ask(_Explained(open_archive(provider, store), run=not plan), **given)
        if form == "json":
            click.echo(json.dumps(found.to_json(), indent=2))
            return
        for line in str(found).split("\n"):
            click.echo(printable(line))

    return asked.command(on_archive(_PLAN(_FORMAT(command))))


for _asked in TRACED.values():
    trace.add_command(_traced(_asked))

COMMANDS = (trace,)
