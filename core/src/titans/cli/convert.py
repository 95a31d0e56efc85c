"""The command `convert`: an archive of the original layout as one of today's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from titans.cli.output import progress_bar

if TYPE_CHECKING:
    from titans.results import Conversion

__all__ = ["COMMANDS"]


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option(
    "--provider",
    "-p",
    required=True,
    envvar="TITANS_PROVIDER",
    metavar="NAME",
    help="See `titans plugins`.",
)
def convert(source: str, target: str, provider: str) -> None:
    """Rewrite the archive of the original layout in SRC as a new archive in DST.

    SRC and DST are folders or URLs (file://, s3://). The key and the columns of SRC may be others
    than the provider's. Everything is checked before anything is written, and compared afterwards.
    SRC is not written to.

    Stopped anywhere, it goes on when it is run again.
    """
    from titans.conversion import convert as convert_

    started = time.monotonic()
    with progress_bar() as bar:
        task = bar.add_task("slots", total=None)
        done = convert_(
            source,
            target,
            provider=provider,
            progress=lambda slots, total: bar.update(task, completed=slots, total=total),
        )

    if done.already:
        click.echo(f"{target} holds the conversion of {source} already: nothing was done")
        return
    click.echo(_report(done))
    click.echo(
        f"every slot and {done.states:,} whole states were compared; "
        f"{time.monotonic() - started:.1f} s"
    )


def _report(done: Conversion) -> str:
    report = (
        f"{done.rows:,} change points with the key {', '.join(done.key)} became "
        f"{done.change_points:,}, in {done.slots:,} slot(s) of {done.months} month(s)"
    )
    if done.folded:
        report += f"; {done.folded:,} keys share theirs with others, or changed it"
    return report


COMMANDS = (convert,)
