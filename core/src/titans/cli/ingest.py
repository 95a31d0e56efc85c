"""The command `ingest`: full snapshots in files, or the versions of a file in a git repository."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from titans.cli.options import MOMENT, on_archive, open_archive
from titans.cli.output import printable, progress_bar
from titans.cli.tally import Tally
from titans.slots import iso, parse_duration

if TYPE_CHECKING:
    from titans.archive import Archive
    from titans.loading.batch import Item, Timing
    from titans.loading.tables import Reading
    from titans.results import Outcome

__all__ = ["COMMANDS"]

_FORMATS = ("parquet", "csv", "json", "jsonl")


@frozen
class _Wanted:
    """What to ingest, as the options say it."""

    files: tuple[str, ...]
    at: datetime | None
    pattern: str | None
    column: str | None
    form: str | None
    records: str | None
    repository: Path | None
    path: str | None
    since: datetime | None
    every: str | None

    def check(self) -> None:
        """Raise `click.UsageError` where the options contradict each other."""
        times = [self.at, self.pattern, self.column]
        given = sum(each is not None for each in times)
        if self.repository is not None:
            if self.path is None:
                raise click.UsageError("--git needs --path, the file in the repository")
            if self.files or given:
                raise click.UsageError(
                    "--git takes neither FILE nor a time: the time is that of each commit"
                )
            return

        if self.path is not None or self.since is not None or self.every is not None:
            raise click.UsageError("--path, --since and --every belong to --git")
        if not self.files:
            raise click.UsageError("name files, or a repository with --git")
        if given != 1:
            raise click.UsageError(
                "say when the snapshots were collected: with one of --at, --time-from-name and "
                "--time-column"
            )

    def timing(self) -> Timing:
        from titans.loading.batch import Timing
        from titans.loading.names import NamePattern

        pattern = None if self.pattern is None else NamePattern(self.pattern)
        return Timing(self.at, pattern, self.column)

    def items(self, reading: Reading, stack: ExitStack) -> list[Item]:
        """What holds the snapshots; `stack` ends what reading them needs."""
        from titans.loading.batch import file_items, version_items
        from titans.loading.git import FileHistory, last_of_each
        from titans.loading.sources import find

        if self.repository is None or self.path is None:
            timing = self.timing()
            return file_items(find(self.files, self.form), timing, reading)

        interval = None if self.every is None else parse_duration(self.every)
        history = stack.enter_context(FileHistory(self.repository, self.path))
        versions = history.versions()
        if self.since is not None:
            versions = [each for each in versions if each.time >= self.since]
        if interval is not None:
            versions = last_of_each(versions, interval)
        return list(version_items(history, versions, reading))


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--at", type=MOMENT, help="When the one FILE was collected.")
@click.option(
    "--time-from-name",
    "pattern",
    metavar="PATTERN",
    help="Where the time stands in the names, like prices-%Y-%m-%dT%H%M.",
)
@click.option("--time-column", "column", metavar="COLUMN", help="The column that says the time.")
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), help="Default: what the name of a file says."
)
@click.option("--records", metavar="NAMES", help="Where in JSON the list is, like data.items.")
@click.option(
    "--git",
    "repository",
    type=click.Path(path_type=Path),
    metavar="REPO",
    help="Ingest every version of a file in this git repository.",
)
@click.option("--path", metavar="FILE", help="With --git: the file in the repository.")
@click.option("--since", type=MOMENT, help="With --git: commits from this moment on.")
@click.option(
    "--every", metavar="1h", help="With --git: only the last commit of each such interval."
)
@click.option(
    "--max-ceased",
    type=click.FloatRange(0, 1),
    help="Share of the living keys that a snapshot may lack. Default: the provider's.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing, say what would change.")
@on_archive
def ingest(
    max_ceased: float | None, dry_run: bool, provider: str, store: str | None, **options: Any
) -> None:
    """Ingest full snapshots, each FILE one of them.

    FILE is Parquet, CSV, JSON or JSON lines, packed or not (.gz, .bz2, .zst); a folder of such
    files; a pattern in quotes; - for standard input; or an object or a prefix, s3://bucket/key.

    Stopped anywhere, it goes on when it is run again: what is in the archive already is recognised.
    What is refused is listed at the end, and the exit code is 1.
    """
    from titans.loading.rehearsal import rehearsal
    from titans.loading.tables import Reading

    wanted = _Wanted(**options)
    wanted.check()
    archive = open_archive(provider, store)
    reading = Reading(archive.provider, wanted.form, wanted.records)
    with ExitStack() as stack:
        items = wanted.items(reading, stack)
        if dry_run:
            archive = rehearsal(archive)
        tally, outcomes = _ingest(archive, items, max_ceased)

    if dry_run:
        for outcome in outcomes:
            click.echo(printable(_would(outcome)))
    tally.show_notes()
    count = sum(tally.statuses.values())
    click.echo(f"{count} snapshots, {tally.rows:,} rows: {tally.summary()}")
    if dry_run:
        click.echo("nothing was written: this was a dry run")
    else:
        tally.show_stored()
    tally.exit_where_refused()


def _ingest(
    archive: Archive, items: Iterable[Item], max_ceased: float | None
) -> tuple[Tally, list[Outcome]]:
    from titans.loading.batch import ingest_item

    tally, outcomes = Tally(named=True), []
    items = list(items)
    with progress_bar() as bar:
        task = bar.add_task("snapshots", total=len(items))
        for item in items:
            done = 0
            for outcome in ingest_item(archive, item, max_ceased):
                tally.add(outcome)
                outcomes.append(outcome)
                done += 1
                if done > 1:  # a file with many: how many was not known before
                    bar.update(task, total=(bar.tasks[task].total or 0) + 1)
                bar.advance(task)
            if not done:
                bar.advance(task)
    return tally, outcomes


def _would(outcome: Outcome) -> str:
    """A line about a snapshot of a dry run."""
    parts = [outcome.name]
    if outcome.timestamp is not None:
        parts.append(iso(outcome.timestamp))
    parts.append(outcome.status)
    result = outcome.result
    if result is None or outcome.status != "ingested":
        return "  ".join(parts)

    counts = f"{result.added} added, {result.changed} changed, {result.ceased} ceased"
    if result.filled:
        counts += f", {result.filled} filled"
    return "  ".join([*parts, counts])


COMMANDS = (ingest,)
