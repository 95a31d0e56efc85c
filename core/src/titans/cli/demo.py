"""The command `demo`: a made-up day (of 10-minute slots) for every installed provider, in a local
archive.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from titans.cli.commands import installed_commands
from titans.cli.output import console, printable, sparkline, table
from titans.errors import InputError
from titans.schema import CEASED, TIME

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console
    from rich.progress import Progress

    from titans.archive import Archive
    from titans.provider import Provider

__all__ = ["COMMANDS"]

START = datetime(2026, 1, 23, tzinfo=UTC)


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to put the archive. Default: a new one.",
)
@click.option(
    "--slots",
    type=click.IntRange(1, 1440),
    default=144,
    show_default=True,
    help="How many to make up.",
)
@click.option(
    "--keys", type=click.IntRange(10), default=2000, show_default=True, help="Per provider."
)
@click.option("--seed", type=int, default=7, show_default=True)
def demo(folder: Path | None, slots: int, keys: int, seed: int) -> None:
    """A day of made-up snapshots for every installed provider: ingested, compacted, asked about."""
    from titans.archive import open as open_
    from titans.plugins import installed, load

    providers = [load(info.name) for info in installed(load=True) if info.status == "loaded"]
    if not providers:
        raise InputError(
            "no provider is installed; install one, for example: pip install titans-aws"
        )

    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="titans-demo-"))
    from rich.markup import escape

    folder = folder.absolute()
    out = console()
    named = ", ".join(f"{p.name} (every {p.layout.slot_minutes} minutes)" for p in providers)
    out.print(f"{slots} snapshots for {named}, archived in [bold]{escape(str(folder))}[/]\n")

    archives: list[Archive] = []
    with _progress(out) as bar:
        for provider in providers:
            archive = open_(folder, provider=provider)
            if _fill(archive, slots, keys, seed, bar):
                archives.append(archive)

    out.print()
    out.print(_levels(archives))
    if archives:
        archive = archives[0]
        middle = START + (slots // 2) * _slot(archive.provider)
        _ask(archive, middle)
        _next(folder, archive, middle)


def _progress(out: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
    )


def _fill(archive: Archive, slots: int, keys: int, seed: int, bar: Progress) -> bool:
    """Ingest made-up snapshots; whether the provider has any."""
    provider = archive.provider
    task = bar.add_task(f"{provider.name:6}", total=slots)
    started = time.monotonic()
    rows = 0
    points = 0
    try:
        snapshots = provider.example(seed=seed, keys=keys, slots=slots)
        for index, snapshot in enumerate(snapshots):
            result = archive.ingest(snapshot, START + index * _slot(provider))
            rows += result.rows
            points += result.change_points
            bar.advance(task)
    except InputError as error:
        bar.console.print(f"{provider.name}: left out, {error}", markup=False)
        return False

    seconds = time.monotonic() - started
    bar.console.print(
        f"{provider.name:6} {rows:>9,} rows seen → {points:>7,} change points stored "
        f"({points / max(rows, 1):.1%}), {1e3 * seconds / slots:.0f} ms a slot"
    )
    return True


def _slot(provider: Provider) -> timedelta:
    return timedelta(minutes=provider.layout.slot_minutes)


def _levels(archives: list[Archive]) -> object:
    import polars as pl

    rows = []
    for archive in archives:
        for month in archive.status():
            levels = "  ".join(f"L{level}: {count}" for level, count in month.levels.items())
            rows.append(
                {
                    "Provider": archive.provider.name,
                    "Month": str(month.month),
                    "Files by level": levels,
                    "Change points": month.rows,
                    "KB": round(month.bytes / 1000),
                    "Slots": month.adopted,
                }
            )
    return table(pl.DataFrame(rows), "What is stored: 8 files of one level become one of the next")


def _ask(archive: Archive, moment: datetime) -> None:
    """A state, and the history of the liveliest key."""
    from rich.markup import escape

    out = console()
    provider = archive.provider
    started = time.monotonic()
    state = archive.state(moment)
    milliseconds = 1e3 * (time.monotonic() - started)

    out.print()
    title = f"{provider.name}: the state at {moment:%Y-%m-%d %H:%M} UTC"
    out.print(table(_narrow(provider, state).head(5), title))
    out.print(f"{state.height:,} living keys, {milliseconds:.0f} ms", style="dim")

    key = _find_liveliest_key(archive)
    started = time.monotonic()
    history = archive.history(**key)
    milliseconds = 1e3 * (time.monotonic() - started)

    named = escape(printable(" / ".join(key.values())))
    out.print(f"\n[bold]{named}[/]: {history.height} change points, {milliseconds:.0f} ms")
    column = _liveliest_column(provider, history)
    values = _living_values(history, column)
    seen = [value for value in values if value is not None] or [0.0]
    out.print(f"{column:>14}  {sparkline(values)}  {min(seen):g} … {max(seen):g}")
    out.print(table(_narrow(provider, history, column).tail(4)))


def _find_liveliest_key(archive: Archive) -> dict[str, Any]:
    """The key with the most change points."""
    key = archive.provider.key
    counts = archive.changes().group_by(key).len()
    row = counts.sort(["len", *key], descending=True).row(0, named=True)
    return {name: row[name] for name in key}


def _liveliest_column(provider: Provider, history: pl.DataFrame) -> str:
    """The value column with the most different values, a numeric one if there is one."""
    numeric = [name for name, dtype in provider.schema.value_dtypes().items() if dtype.is_numeric()]
    return max(numeric or provider.schema.value_columns, key=lambda name: history[name].n_unique())


def _living_values(history: pl.DataFrame, column: str) -> list[float | None]:
    """The values of a column, `None` where the key had ceased."""
    import polars as pl

    living = history.select(pl.when(~pl.col(CEASED)).then(column).cast(pl.Float64))
    return living.to_series().to_list()


def _narrow(provider: Provider, frame: pl.DataFrame, *wanted: str) -> pl.DataFrame:
    """Key, time and a few values: what fits on a terminal."""
    score = [provider.schema.score] if provider.schema.score else []
    values = [*wanted, *score, *reversed(provider.schema.value_columns)]
    return frame.select(*provider.key, TIME, *list(dict.fromkeys(values))[:3])


def _program() -> str:
    """How to call this command again from here."""
    called = Path(sys.argv[0])
    if called.name != "titans" or shutil.which("titans"):
        return "titans"

    here = Path.cwd()
    if called.is_relative_to(here):
        return str(called.relative_to(here))
    return str(called)


def _next(folder: Path, archive: Archive, moment: datetime) -> None:
    """Commands to go on with."""
    out = console()
    provider = archive.provider
    titans = _program()
    key = archive.latest().select(provider.key).row(0, named=True)
    pairs = " ".join(f"--key {shlex.quote(f'{name}={value}')}" for name, value in key.items())
    where = f"--provider {provider.name} --store {shlex.quote(str(folder))}"

    around = 3 * _slot(provider)
    start = moment - around
    end = moment + around
    hour = f"--from {start:%Y-%m-%dT%H:%MZ} --to {end:%Y-%m-%dT%H:%MZ}"

    opened = f"titans.open({json.dumps(str(folder))}, provider={json.dumps(provider.name)})"
    code = f"import titans; print({opened}.changes().describe())"
    commands = (
        f"{titans} state --at {moment:%Y-%m-%dT%H:%MZ} {where}",
        f"{titans} history {pairs} {where}",
        f"{titans} changes {hour} {where} --out hour.csv",
        f"{titans} status {where}",
        f"{titans.removesuffix('titans')}python -c {shlex.quote(code)}",
    )

    out.print("\n[bold]Try next[/]")
    for command in commands:
        out.print(f"  {command}", markup=False, soft_wrap=True)
    if any(info.name == "explore" for info in installed_commands() if info.status == "found"):
        out.print("\n[bold]Look at it in the browser[/]")
        explore = f"{titans} explore --store {shlex.quote(str(folder))}"
        out.print(f"  {explore}", markup=False, soft_wrap=True)


COMMANDS = (demo,)
