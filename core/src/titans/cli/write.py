"""Commands that change an archive: upload, compact."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from titans.cli.app import MOMENT, on_archive, open_archive

if TYPE_CHECKING:
    import polars as pl

    from titans.archive import OnConflict

__all__ = ["COMMANDS", "scan_table"]

TABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


def scan_table(path: Path) -> pl.LazyFrame:
    """A Parquet, CSV or JSON-lines file."""
    import polars as pl

    readers: dict[str, Callable[[Path], pl.LazyFrame]] = {
        ".parquet": pl.scan_parquet,
        ".csv": pl.scan_csv,
        ".jsonl": pl.scan_ndjson,
        ".ndjson": pl.scan_ndjson,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise click.UsageError(f"{path} is none of {', '.join(readers)}")
    return reader(path)


@click.command()
@click.argument("file", type=TABLE)
@click.option("--at", type=MOMENT, required=True, help="When the rows were collected.")
@click.option("--removed", type=TABLE, help="A second file: the keys that are gone.")
@click.option(
    "--on-conflict", type=click.Choice(("keep", "error")), default="keep", show_default=True
)
@on_archive
def upload(
    file: Path,
    at: datetime,
    removed: Path | None,
    on_conflict: OnConflict,
    provider: str,
    store: str | None,
) -> None:
    """Store the change points in FILE as the hot file of their slot."""
    from titans.changes.prepare import prepare

    frame = scan_table(file).collect()
    if removed is not None:
        frame = prepare(frame, scan_table(removed).collect())
    key = open_archive(provider, store).upload(frame, at, on_conflict=on_conflict)
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
    done = open_archive(provider, store).compact(
        budget_seconds=budget_seconds, memory_limit=memory_limit << 20
    )
    click.echo(
        f"{done.adopted} slot(s) adopted, {done.merged} merge(s), {done.keyframes} keyframe(s), "
        f"{done.removed} object(s) removed, {done.seconds:.1f} s"
        + ("; more merges are due, compact again" if done.unfinished else "")
    )


@click.command()
@click.argument("month")
@on_archive
def seal(month: str, provider: str, store: str | None) -> None:
    """Bring a month that is over (like 2026-01) to its final form."""
    done = open_archive(provider, store).seal(month)
    click.echo(
        f"{month} is sealed: {done.merged} merge(s), {done.keyframes} keyframe(s), "
        f"{done.seconds:.1f} s"
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
    done = open_archive(provider, store).vacuum(grace, dry_run=dry_run)
    would = "would be " if dry_run else ""
    for key in done.removed:
        click.echo(f"{would}removed  {key}")
    for key in done.listed:
        click.echo(f"{would}listed   {key}")
    click.echo(
        f"{len(done.removed)} {would}removed, {len(done.listed)} {would}listed, {done.waiting} "
        "waiting"
    )


@click.command()
@click.option("--deep", is_flag=True, help="Read every row, not only what files say of themselves.")
@on_archive
def verify(deep: bool, provider: str, store: str | None) -> None:
    """Check that the store holds what the manifests say, exactly once. Exit code 1 if not."""
    from titans.tiers.maintain.verify import CHECKS

    found = open_archive(provider, store).verify(deep=deep)
    for check in found.checks:
        verdict = "ok    " if check.passed else "FAILED"
        click.echo(f"{verdict}  {check.name:12}  {check.asked:6,} looked at: {CHECKS[check.name]}")
        for failure in check.failures:
            click.echo(f"          {failure}")
    for month, gaps in found.gaps.items():
        click.echo(
            f"note    {month}: {len(gaps)} slot(s) without an observation between the first and "
            "the last"
        )
    if found.orphans:
        click.echo(
            f"note    {found.orphans} object(s) that no manifest names; titans vacuum removes them"
        )
    if not found.passed:
        raise click.exceptions.Exit(1)


@click.command()
@click.option("--yes", is_flag=True, help="Do it; without this, only the plan is shown.")
@on_archive
def repair(yes: bool, provider: str, store: str | None) -> None:
    """Make lost or damaged manifests again from the files. Deletes nothing."""
    archive = open_archive(provider, store)
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
        done = archive.repair()
        click.echo(f"{len(done)} manifest(s) written; now run titans compact and titans verify")
    else:
        click.echo("nothing was changed; run it again with --yes to do it")


COMMANDS = (upload, compact, seal, vacuum, verify, repair)
