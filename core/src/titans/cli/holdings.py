"""Commands about all archives of a store: catalog, check, copy."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from titans.cli.options import MOMENT, completed_providers
from titans.cli.output import Target, printable, progress_bar, write
from titans.errors import ArchiveNotFoundError

if TYPE_CHECKING:
    from titans.holdings import Catalog
    from titans.holdings.check import Check

__all__ = ["COMMANDS"]

_STORE = click.option(
    "--store",
    metavar="URL",
    help="Folder or URL (file://, s3://). Default: $TITANS_STORE, else ./titans-data.",
)


@click.command()
@_STORE
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "csv", "json", "html")),
    default="table",
    show_default=True,
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of the terminal."
)
def catalog(store: str | None, form: str, out: Path | None) -> None:
    """What a store holds: every archive, how large and how fresh it is, and its columns.

    Archives whose provider is not installed are described as their manifests do.
    """
    from titans.holdings import catalog as made

    found = made(store)
    if form == "json":
        _put(json.dumps(found.to_json(), indent=2) + "\n", out)
    elif form == "html":
        _put(found.to_html(), out)
    elif form == "csv":
        import polars as pl

        seconds = pl.col("every").dt.total_seconds()
        write(found.to_frame().with_columns(seconds), Target("csv", out))
    else:
        _show(found)


def _put(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


def _show(found: Catalog) -> None:
    import polars as pl

    from titans.holdings.catalog import state_of

    if not found.archives:
        click.echo(f"{printable(found.store)} holds no archive")
        return
    rows = []
    for each in found.archives:
        rows.append(
            {
                "archive": each.environment + each.provider,
                "living keys": each.keys,
                "change points": each.rows,
                "MB": round(each.bytes / 1e6, 1),
                "months": each.months,
                "sealed": each.sealed,
                "first": each.first,
                "last look": each.last,
                "state": state_of(each),
            }
        )
    write(pl.DataFrame(rows), Target())
    for each in found.archives:
        columns = []
        for column in each.columns:
            columns.append(
                {
                    "column": column.label,
                    "dtype": column.dtype,
                    "unit": column.unit,
                    "null": column.share,
                    "least": column.least,
                    "greatest": column.greatest,
                    "description": column.description,
                }
            )
        if columns:
            click.echo(f"\n{printable(each.environment + each.provider)}")
            write(pl.DataFrame(columns), Target())


@click.command()
@_STORE
@click.option(
    "--provider",
    "-p",
    "providers",
    multiple=True,
    envvar="TITANS_PROVIDER",
    metavar="NAME",
    help="Repeat it for more. Default: every archive of the store.",
    shell_complete=completed_providers,
)
@click.option("--gaps-since", type=MOMENT, help="Default: a day ago.")
@click.option("--now", type=MOMENT, help="Default: what the clock says.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json", "prometheus")),
    default="text",
    show_default=True,
)
def check(
    store: str | None,
    providers: tuple[str, ...],
    gaps_since: datetime | None,
    now: datetime | None,
    form: str,
) -> None:
    """Look for what is wrong, one line for each fault. Exit code 1 where there is one.

    Quick enough for a cron job every ten minutes: at most six requests for each archive. It looks
    at how old the newest observation is, gaps, hot files that nobody adopts, months that are not
    sealed, objects that no manifest names (of the last two months), and what `titans verify` found
    last.
    """
    from titans.holdings.check import check_archive
    from titans.holdings.prometheus import exposition

    moment = now or datetime.now(UTC)
    since = gaps_since or moment - timedelta(days=1)
    checks = [check_archive(each, moment, since) for each in _archives(store, providers)]
    if form == "prometheus":
        click.echo(exposition(checks), nl=False)
    elif form == "json":
        click.echo(json.dumps([_plain(each) for each in checks], indent=2))
    else:
        for each in checks:
            _tell(each)
    if not all(each.passed for each in checks):
        raise click.exceptions.Exit(1)


def _archives(store: str | None, providers: tuple[str, ...]) -> list[Any]:
    from titans.archive import open as open_
    from titans.holdings.places import find_places, open_place
    from titans.where import resolve_store

    place = resolve_store(store)
    if providers:
        return [open_(place, provider=name) for name in providers]
    found = [open_place(place, each) for each in find_places(place)]
    if not found:
        raise ArchiveNotFoundError(f"{place.url} holds no archive; check --store")
    return found


def _tell(check: Check) -> None:
    name = check.environment + check.provider
    for fault in check.faults:
        click.echo(printable(f"{name}: {fault.name}: {fault.text}"))
    if check.passed and check.last is not None:
        click.echo(f"{name}: ok, observed last at {check.last:%Y-%m-%d %H:%M}Z")


def _plain(check: Check) -> dict[str, Any]:
    from titans.slots import iso

    last = None if check.last is None else iso(check.last)
    verified = None if check.verified is None else check.verified.to_json()
    return {
        "provider": check.provider,
        "environment": check.environment,
        "at": iso(check.at),
        "faults": [{"name": fault.name, "text": fault.text} for fault in check.faults],
        "last": last,
        "every": check.every.total_seconds(),
        "is_late": check.is_late,
        "gaps": check.gaps,
        "waiting": check.waiting,
        "unsealed": check.unsealed,
        "orphans": check.orphans,
        "verified": verified,
    }


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option(
    "--provider",
    "-p",
    "providers",
    multiple=True,
    metavar="NAME",
    help="Repeat it for more. Default: every archive of SRC.",
    shell_complete=completed_providers,
)
@click.option("--deep", is_flag=True, help="Verify what arrived down to every row.")
def copy(source: str, target: str, providers: tuple[str, ...], deep: bool) -> None:
    """Copy archives from one store to another, and verify what arrived. Exit code 1 if it failed.

    SRC may be written to meanwhile. Stopped anywhere, it goes on when it is run again; run again
    later, it copies what is new. DST holds nothing of these archives, or an earlier copy.
    """
    from titans.holdings.copying import copy as copied

    with progress_bar() as bar:
        tasks: dict[str, Any] = {}

        def told(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total)

        found = copied(source, target, providers=providers, deep=deep, progress=told)
    for each in found:
        verdict = "verified" if each.verification.passed else "VERIFICATION FAILED"
        click.echo(
            f"{each.environment}{each.provider}: {each.objects:,} objects, {each.bytes / 1e6:,.1f} "
            f"MB copied; {verdict}"
        )
    if not all(each.verification.passed for each in found):
        raise click.exceptions.Exit(1)


COMMANDS = (catalog, check, copy)
