"""Commands that correct what is stored: amend, retract, erase, retain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from titans.cli.input import TABLE, read_table
from titans.cli.options import MOMENT, on_archive, open_archive, parse_pairs
from titans.cli.output import show, without_equal_columns

if TYPE_CHECKING:
    from titans.archive import Archive
    from titans.results import Amendment

__all__ = ["COMMANDS"]


def _corrects(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every correction has."""
    reason = click.option("--reason", required=True, help="Why; kept with the correction.")
    dry_run = click.option("--dry-run", is_flag=True, help="Change nothing, show the difference.")
    return reason(dry_run(on_archive(command)))


def _report(done: Amendment, *, dry_run: bool) -> None:
    if done.status == "already":
        click.echo("already so: nothing was done")
        return
    if done.difference is not None:
        show(without_equal_columns(done.difference))
    would = "would be " if dry_run else ""
    parts = [f"{done.removed:,} row(s) {would}removed, {done.added:,} {would}added"]
    if done.months:
        parts.append(f"month(s) {', '.join(done.months)}")
    if dry_run:
        parts.append("nothing was changed")
    click.echo("; ".join(parts))


# --- amend ----------------------------------------------------------------------------------------


@click.command()
@click.argument("file", type=TABLE, required=False)
@click.option("--at", type=MOMENT, required=True, help="When it was collected.")
@click.option("--changes", is_flag=True, help="FILE has changed rows, not a full snapshot.")
@click.option("--complete", is_flag=True, help="With --changes: these are all that had changed.")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Instead of FILE: what is stored, with another value of the keys that --key names.",
)
@click.option("--key", "keys", multiple=True, metavar="COLUMN=VALUE", help="With --set.")
@click.option(
    "--max-ceased",
    type=click.FloatRange(0, 1),
    help="Share of the living keys that may be missing. Default: the provider's.",
)
@_corrects
def amend(
    file: Path | None,
    at: datetime,
    changes: bool,
    complete: bool,
    values: tuple[str, ...],
    keys: tuple[str, ...],
    max_ceased: float | None,
    reason: str,
    dry_run: bool,
    provider: str,
    store: str | None,
) -> None:
    """Put another snapshot, that in FILE, in the place of what the slot of --at holds.

    The state at every other snapshot stays what it is. To correct single values:

    titans amend --at T --key Region=r1 --set SpotPrice=0.51 --reason "wrong currency"
    """
    if (file is None) == (not values):
        raise click.UsageError("give either FILE or --set")
    if values and (changes or complete):
        raise click.UsageError("--changes and --complete belong to FILE")
    if keys and not values:
        raise click.UsageError("--key belongs to --set")
    archive = open_archive(provider, store)
    said: dict[str, Any] = {"reason": reason, "dry_run": dry_run}
    if values:
        done = _set(archive, at, (parse_pairs(values), parse_pairs(keys)), said)
    elif file is not None and changes:
        frame = read_table(file, archive.provider)
        done = archive.amend_changes(frame, at, complete=complete, **said)
    elif file is not None:
        frame = read_table(file, archive.provider)
        done = archive.amend(frame, at, max_ceased=max_ceased, **said)
    _report(done, dry_run=dry_run)


def _set(
    archive: Archive,
    at: datetime,
    wanted: tuple[dict[str, str], dict[str, str]],
    said: dict[str, Any],
) -> Amendment:
    """Amend single values of what a slot holds."""
    from titans.stored import edited, stored_in

    stored = stored_in(archive, at)
    frame = edited(stored, archive.provider, *wanted)
    if stored.is_snapshot:
        return archive.amend(frame, stored.time, **said)
    return archive.amend_changes(frame, stored.time, complete=stored.is_complete, **said)


# --- the others -----------------------------------------------------------------------------------


@click.command()
@click.option("--at", type=MOMENT, required=True, help="A moment of the slot.")
@_corrects
def retract(at: datetime, reason: str, dry_run: bool, provider: str, store: str | None) -> None:
    """Take back what the slot of --at holds, as if nobody had looked."""
    done = open_archive(provider, store).retract(at, reason=reason, dry_run=dry_run)
    _report(done, dry_run=dry_run)


@click.command()
@click.argument("file", type=TABLE, required=False)
@click.option(
    "--key", "keys", multiple=True, metavar="COLUMN=VALUE", help="Instead of FILE: these values."
)
@_corrects
def erase(
    file: Path | None,
    keys: tuple[str, ...],
    reason: str,
    dry_run: bool,
    provider: str,
    store: str | None,
) -> None:
    """Remove all that is stored of some keys: those in FILE, or those that --key names.

    With some of the key columns, every key that has these values. Files that held them leave the
    store with the next vacuum after an hour; `titans vacuum --grace 0s` removes them now.
    """
    if (file is None) == (not keys):
        raise click.UsageError("give either FILE or --key")
    archive = open_archive(provider, store)
    wanted: Any = [parse_pairs(keys)]
    if file is not None:
        frame = read_table(file, archive.provider)
        wanted = frame.select(name for name in archive.provider.key if name in frame.columns)
    done = archive.erase(wanted, reason=reason, dry_run=dry_run)
    _report(done, dry_run=dry_run)
    if done.status == "done" and not dry_run:
        click.echo("the files that held them leave the store an hour later, or with titans vacuum")


@click.command()
@click.option("--since", required=True, metavar="MONTH", help="The first month that stays.")
@_corrects
def retain(since: str, reason: str, dry_run: bool, provider: str, store: str | None) -> None:
    """Remove all months before MONTH (like 2026-01); what follows stands alone first."""
    done = open_archive(provider, store).retain(since=since, reason=reason, dry_run=dry_run)
    _report(done, dry_run=dry_run)


COMMANDS = (amend, retract, erase, retain)
