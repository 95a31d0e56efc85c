"""The command `titans explore`."""

from __future__ import annotations

import logging
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from titans.cli.options import MOMENT
from titans.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["explore"]


@click.command()
@click.option(
    "--store",
    metavar="URL",
    help="Folder or URL (file://, s3://). Default: $TITANS_STORE, else ./titans-data.",
)
@click.option(
    "--provider",
    "-p",
    "providers",
    multiple=True,
    metavar="NAME",
    help="Only this one. Repeat it for more. Default: all that the store holds.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="The port to listen on; 0 takes a free one.",
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Another name under which browsers reach it, behind a proxy for example.",
)
@click.option(
    "--token",
    envvar="TITANS_EXPLORER_TOKEN",
    help="What a browser has to know. Default: a new one, where others can reach the server.",
)
@click.option("--sql", is_flag=True, help="Answer SQL, too (needs titans-explorer[sql]).")
@click.option("--open/--no-open", "opens", default=False, help="Open the page in the browser.")
@click.option(
    "--static",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Start no server: write the page with its data to a new folder.",
)
@click.option("--from", "start", type=MOMENT, help="With --static: from this moment on.")
@click.option("--to", "end", type=MOMENT, help="With --static: before this moment.")
def explore(
    store: str | None,
    providers: tuple[str, ...],
    host: str,
    port: int,
    names: tuple[str, ...],
    token: str | None,
    sql: bool,
    opens: bool,
    folder: Path | None,
    start: datetime | None,
    end: datetime | None,
) -> None:
    r"""Look at the archives of a store in the browser.

    The server only reads, and only this machine reaches it unless --host says otherwise; then the
    address that it prints has a token in it. Ctrl-C stops it.

    \b
    titans explore --store prices
    titans explore --store s3://my-bucket/prices --provider aws --sql
    titans explore --store prices --static site --from 2026-01-01 --to 2026-02-01
    """
    if folder is not None:
        from titans_explorer.still import write_still

        written = write_still(store, folder, providers=providers or None, start=start, end=end)
        click.echo(written)
        return
    if start is not None or end is not None:
        raise click.UsageError("--from and --to belong to --static; the page itself has both")
    _check(providers, sql=sql)
    _serve(store, providers, _Place(host, port, names, token), sql=sql, opens=opens)


class _Place:
    """Where the server listens, and who may ask."""

    def __init__(self, host: str, port: int, names: tuple[str, ...], token: str | None) -> None:
        from titans_explorer.guard import is_loopback

        self.host = host
        self.names = tuple(name.lower() for name in names)
        self.token = token or ""
        if not self.token and (self.names or not is_loopback(host)):
            self.token = secrets.token_urlsafe(24)
        self.socket = _bound(host, port)
        self.port = self.socket.getsockname()[1]

    @property
    def address(self) -> str:
        host = self.host
        if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
            host = socket.gethostbyname(socket.gethostname())
        if ":" in host:
            host = f"[{host}]"
        query = f"?token={self.token}" if self.token else ""
        return f"http://{host}:{self.port}/{query}"


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        InputError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # whoever comes before the server is ready waits
    except OSError as error:
        listening.close()
        raise InputError(
            f"cannot listen on {host}, port {port}: {error.strerror}; give another --port, or "
            "--port 0 for a free one"
        ) from error
    return listening


def _serve(
    store: str | None, providers: tuple[str, ...], place: _Place, *, sql: bool, opens: bool
) -> None:
    import uvicorn

    from titans_explorer.app import app
    from titans_explorer.shelf import Shelf

    application = app(
        store,
        providers=providers or None,
        sql=sql,
        host=place.host,
        names=place.names,
        token=place.token,
    )
    # What the log of a server would tell, addresses with tokens among it, is not for a terminal.
    settings = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    if not Shelf(store, providers or None).names():
        click.echo(
            "There is no archive here yet that can be shown; the page looks again.", err=True
        )
    click.echo(f"Look at it: {place.address}")
    click.echo("Ctrl-C stops it.")
    sys.stdout.flush()
    if opens:
        import webbrowser

        webbrowser.open(place.address)
    uvicorn.Server(settings).run(sockets=[place.socket])


def _check(providers: tuple[str, ...], *, sql: bool) -> None:
    """Raise where a provider that was named is not there, or SQL cannot be answered."""
    from importlib.util import find_spec

    from titans.plugins import load

    for name in providers:
        load(name)
    if sql and find_spec("duckdb") is None:
        raise InputError("SQL needs DuckDB: pip install 'titans-explorer[sql]'")
