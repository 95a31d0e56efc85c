"""Commands that change an archive or check it: upload, compact, seal, vacuum, verify, repair."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from titans.cli.input import TABLE, read_table
from titans.cli.options import MOMENT, on_archive, on_engine, open_archive
from titans.cli.output import printable, progress_bar
from titans.slots import iso

if TYPE_CHECKING:
    from titans.archive import Archive, OnConflict

__all__ = ["COMMANDS"]

_HERE = {"engine": "local", "scheduler": None, "workers": None}
"""No engine was asked for."""


@click.command()
@click.argument("file", type=TABLE)
@click.option("--at", type=MOMENT, required=True, help="When the rows were collected.")
@click.option("--removed", type=TABLE, help="A second file: the keys that were removed.")
@click.option(
    "--on-conflict", type=click.Choice(("keep", "error")), default="keep", show_default=True
)
@click.option(
    "--complete",
    is_flag=True,
    help="These are all rows that changed since the last look; none says that nothing changed.",
)
@on_archive
def upload(
    file: Path,
    at: datetime,
    removed: Path | None,
    on_conflict: OnConflict,
    complete: bool,
    provider: str,
    store: str | None,
) -> None:
    """Store the change points in FILE as the hot file of their slot."""
    from titans.changes.prepare import prepare

    archive = open_archive(provider, store)
    frame = read_table(file, archive.provider)
    if removed is not None:
        frame = prepare(frame, read_table(removed, archive.provider))

    key = archive.upload(frame, at, on_conflict=on_conflict, complete=complete)
    click.echo(key or "nothing to store: no rows")


@click.command()
@click.option(
    "--budget-seconds", type=float, help="Start no further merge after that; the next run goes on."
)
@click.option(
    "--memory-limit", type=int, default=192, show_default=True, help="MiB for the rows of a merge."
)
@on_archive
def compact(
    budget_seconds: float | None, memory_limit: int, provider: str, store: str | None
) -> None:
    """Adopt what was uploaded, merge what is due, remove what was replaced."""
    compaction = open_archive(provider, store).compact(
        budget_seconds=budget_seconds, memory_limit=memory_limit << 20
    )

    report = (
        f"{compaction.adopted} slot(s) adopted, {compaction.merged} merge(s), "
        f"{compaction.keyframes} keyframe(s), {compaction.removed} object(s) removed, "
        f"{compaction.seconds:.1f} s"
    )
    if compaction.unfinished:
        report += "; more merges are due, compact again"
    click.echo(report)


@click.command()
@click.argument("month", required=False)
@click.option("--all", "every", is_flag=True, help="Every month that is over.")
@on_engine
@on_archive
def seal(month: str | None, every: bool, provider: str, store: str | None, **engine: Any) -> None:
    """Bring a month that is over (like 2026-01) to its final form."""
    if every != (month is None):
        raise click.UsageError("name one month, or --all of them")
    if month is None:
        _seal_all(open_archive(provider, store), engine)
        return
    compaction = open_archive(provider, store).seal(month)
    click.echo(
        f"{month} is sealed: {compaction.merged} merge(s), {compaction.keyframes} keyframe(s), "
        f"{compaction.seconds:.1f} s"
    )


def _seal_all(archive: Archive, engine: dict[str, Any]) -> None:
    from titans.backfilling.upkeep import seal_all

    with progress_bar() as bar:
        task = bar.add_task("months", total=None)
        for month, compaction, total in seal_all(archive, **engine):
            bar.update(task, advance=1, total=total)
            click.echo(
                f"{month} is sealed: {compaction.merged} merge(s), {compaction.seconds:.1f} s"
            )


@click.command()
@click.option(
    "--grace",
    default="1h",
    show_default=True,
    help="How long readers may go on using what was replaced.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing, say what would be done.")
@on_archive
def vacuum(grace: str, dry_run: bool, provider: str, store: str | None) -> None:
    """Remove what was replaced, and list files that no manifest names, to be removed by a later
    vacuum.
    """
    report = open_archive(provider, store).vacuum(grace, dry_run=dry_run)

    would = "would be " if dry_run else ""
    for key in report.removed:
        click.echo(f"{would}removed  {key}")
    for key in report.listed:
        click.echo(f"{would}listed   {key}")
    click.echo(
        f"{len(report.removed)} {would}removed, {len(report.listed)} {would}listed, "
        f"{report.waiting} waiting"
    )


@click.command()
@click.option("--deep", is_flag=True, help="Read every row, not only what files say of themselves.")
@click.option(
    "--record/--no-record",
    default=True,
    show_default=True,
    help="Keep in the store whether it passed, for titans check.",
)
@on_engine
@on_archive
def verify(deep: bool, record: bool, provider: str, store: str | None, **engine: Any) -> None:
    """Check that the store holds what the manifests say, exactly once. Exit code 1 if not.

    With an engine, each month is a task of its own.
    """
    from titans.tiers.maintain.verify import CHECKS

    archive = open_archive(provider, store)
    with progress_bar() as bar:
        task = bar.add_task("months")

        def told(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if engine == _HERE:
            report = archive.verify(deep=deep, record=record, progress=told)
        else:
            from titans.backfilling.upkeep import verify_all

            report = verify_all(archive, deep=deep, record=record, progress=told, **engine)

    for check in report.checks:
        verdict = "ok    " if check.passed else "FAILED"
        click.echo(f"{verdict}  {check.name:12}  {check.asked:6,} looked at: {CHECKS[check.name]}")
        for failure in check.failures:
            click.echo(f"          {printable(failure)}")

    # Neither makes the archive wrong.
    for month, gaps in report.gaps.items():
        click.echo(
            f"note    {month}: {len(gaps)} time(s) without an observation between the first and "
            f"the last, from {iso(gaps[0])} on"
        )
    if report.orphans:
        click.echo(
            f"note    {report.orphans} object(s) that no manifest names; titans vacuum removes them"
        )
    for key in report.foreign:
        click.echo(f"note    foreign, counts for nothing: {key}")

    if not report.passed:
        raise click.exceptions.Exit(1)


@click.command()
@click.option("--yes", is_flag=True, help="Do it; without this, only the plan is shown.")
@click.option(
    "--set-aside",
    "keys",
    multiple=True,
    metavar="KEY",
    help="First move this object out of the way, which is foreign or damaged.",
)
@on_archive
def repair(yes: bool, keys: tuple[str, ...], provider: str, store: str | None) -> None:
    """Make lost, damaged or rolled-back manifests again from the files. Deletes nothing."""
    archive = open_archive(provider, store)
    for key in keys:
        click.echo(f"set aside as {archive.set_aside(key)}")
    plans = archive.repair(dry_run=True)

    for plan in plans:
        click.echo(f"{plan.month}: {plan.reason}")
        click.echo(
            f"  {len(plan.manifest.files)} file(s) with {len(plan.manifest.adopted)} slot(s) "
            "become the manifest"
        )
        click.echo(f"  {len(plan.readopt)} hot file(s) are adopted by the next compaction")
        for key in plan.unused:
            click.echo(f"  not needed, left to vacuum: {key}")

    if not plans:
        click.echo("nothing to repair: every manifest can be read, and its files are there")
    elif yes:
        repaired = archive.repair()
        click.echo(f"{len(repaired)} manifest(s) written; now run titans compact and titans verify")
    else:
        click.echo("nothing was changed; run it again with --yes to do it")


COMMANDS = (upload, compact, seal, vacuum, verify, repair)
