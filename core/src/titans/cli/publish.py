"""Publishing an archive to other engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from titans.cli.options import on_archive, open_archive
from titans.cli.output import printable
from titans.slots import iso

if TYPE_CHECKING:
    from titans.iceberg import PublishedTable

__all__ = ["COMMANDS"]


@click.group()
def publish() -> None:
    """Let other engines read the archive where it lies."""


@publish.command()
@click.option(
    "--grace",
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How long readers of earlier versions may go on; not longer than that of vacuum.",
)
@click.option(
    "--catalog",
    metavar="NAME",
    help="Register the tables in this catalog too, as pyiceberg is configured for it.",
)
@click.option("--namespace", default="titans", show_default=True, help="Of the catalog.")
@on_archive
def iceberg(
    grace: str, catalog: str | None, namespace: str, provider: str, store: str | None
) -> None:
    """Write the metadata of two Iceberg tables beside the archive: all change points, and the
    newest state that lies in a file.

    No row is copied. Where nothing has changed since the last time, nothing is written.
    """
    archive = open_archive(provider, store)
    done = archive.publish_iceberg(grace=grace, catalog=catalog, namespace=namespace)
    for table in (done.changes, done.latest):
        click.echo(printable(_told(table)))


def _told(table: PublishedTable) -> str:
    when = "" if table.at is None else f" at {iso(table.at)}"
    size = f"{table.rows:,} rows in {table.files} file(s)"
    state = ", unchanged" if table.unchanged else ""
    return f"{table.table}{when}: version {table.version}{state}, {size}; {table.location}"


COMMANDS = (publish,)
