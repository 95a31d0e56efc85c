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
from typing import TYPE_CHECKING

import click

from titans.cli.output import console, sparkline, table
from titans.errors import InputError
from titans.schema import CEASED, TIME

if TYPE_CHECKING:
    import polars as pl

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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from titans.archive import open as open_
    from titans.plugins import installed, load

    providers = [load(info.name) for info in installed(load=True) if info.status == "loaded"]
    if not providers:
        raise InputError(
            "no provider is installed; install one, for example: pip install titans-aws"
        )
    folder = Path(tempfile.mkdtemp(prefix="titans-demo-")) if folder is None else folder.absolute()
    out = console()
    named = ", ".join(f"{p.name} (every {p.layout.slot_minutes} minutes)" for p in providers)
    out.print(f"{slots} snapshots for {named}, archived in [bold]{folder}[/]\n")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    done: list[Archive] = []
    with Progress(*columns, console=out) as bar:
        for provider in providers:
            task = bar.add_task(f"{provider.name:6}", total=slots)
            archive = open_(folder, provider=provider)
            started, rows, points = time.monotonic(), 0, 0
            try:
                for index, snapshot in enumerate(
                    provider.example(seed=seed, keys=keys, slots=slots)
                ):
                    at = START + index * timedelta(minutes=provider.layout.slot_minutes)
                    result = archive.ingest(snapshot, at)
                    rows, points = rows + result.rows, points + result.change_points
                    bar.advance(task)
            except InputError as error:
                bar.console.print(f"{provider.name}: left out, {error}", markup=False)
                continue
            seconds = time.monotonic() - started
            bar.console.print(
                f"{provider.name:6} {rows:>9,} rows seen → {points:>7,} change points stored "
                f"({points / max(rows, 1):.1%}), {1e3 * seconds / slots:.0f} ms a slot"
            )
            done.append(archive)
    out.print()
    out.print(_levels(done))
    for archive in done[:1]:
        _ask(archive, _middle(archive, slots))
        _next(folder, archive, _middle(archive, slots))


def _levels(archives: list[Archive]) -> object:
    import polars as pl

    rows = [
        {
            "Provider": archive.provider.name,
            "Month": str(month.month),
            "Files by level": "  ".join(
                f"L{level}: {count}" for level, count in month.levels.items()
            ),
            "Change points": month.rows,
            "KB": round(month.bytes / 1000),
            "Slots": month.adopted,
        }
        for archive in archives
        for month in archive.status()
    ]
    return table(pl.DataFrame(rows), "What is stored: 8 files of one level become one of the next")


def _middle(archive: Archive, slots: int) -> datetime:
    return START + (slots // 2) * timedelta(minutes=archive.provider.layout.slot_minutes)


def _ask(archive: Archive, at: datetime) -> None:
    """A state, and the history of the liveliest key."""
    import polars as pl

    out, provider = console(), archive.provider
    started = time.monotonic()
    state = archive.state(at)
    out.print()
    out.print(
        table(
            _narrow(provider, state).head(5),
            f"{provider.name}: the state at {at:%Y-%m-%d %H:%M} UTC",
        )
    )
    out.print(
        f"{state.height:,} living keys, {1e3 * (time.monotonic() - started):.0f} ms", style="dim"
    )

    key = (
        archive.changes()
        .group_by(provider.key)
        .len()
        .sort(["len", *provider.key], descending=True)
        .row(0, named=True)
    )
    values = {name: key[name] for name in provider.key}
    started = time.monotonic()
    history = archive.history(**values)
    column = _liveliest(provider, history)
    out.print(
        f"\n[bold]{' / '.join(values.values())}[/]: {history.height} change points, "
        f"{1e3 * (time.monotonic() - started):.0f} ms"
    )
    live = history.with_columns(pl.when(~pl.col(CEASED)).then(column).alias(column))[column].cast(
        pl.Float64
    )
    seen = live.drop_nulls().to_list() or [0.0]
    out.print(f"{column:>14}  {sparkline(live.to_list())}  {min(seen):g} … {max(seen):g}")
    out.print(table(_narrow(provider, history, column).tail(4)))


def _narrow(provider: Provider, frame: pl.DataFrame, *wanted: str) -> pl.DataFrame:
    """Key, time and a few values: what fits on a terminal."""
    values = [
        name
        for name in (*wanted, provider.schema.score, *reversed(provider.schema.value_columns))
        if name
    ]
    return frame.select(*provider.key, TIME, *list(dict.fromkeys(values))[:3])


def _liveliest(provider: Provider, history: pl.DataFrame) -> str:
    numeric = [name for name, dtype in provider.schema.value_dtypes().items() if dtype.is_numeric()]
    return max(numeric or provider.schema.value_columns, key=lambda name: history[name].n_unique())


def _program() -> str:
    """How to call this command again from here."""
    called = Path(sys.argv[0])
    if called.name != "titans" or shutil.which("titans"):
        return "titans"
    here = Path.cwd()
    return str(called.relative_to(here) if called.is_relative_to(here) else called)


def _next(folder: Path, archive: Archive, at: datetime) -> None:
    out, provider, titans = console(), archive.provider, _program()
    key = archive.latest().select(provider.key).row(0, named=True)
    pairs = " ".join(f"--key {shlex.quote(f'{k}={v}')}" for k, v in key.items())
    where = f"--provider {provider.name} --store {shlex.quote(str(folder))}"
    code = f"import titans; print(titans.open({json.dumps(str(folder))}, provider={json.dumps(provider.name)}).changes().describe())"
    out.print("\n[bold]Try next[/]")
    around = 3 * timedelta(minutes=provider.layout.slot_minutes)
    start, end = at - around, at + around
    hour = f"--from {start:%Y-%m-%dT%H:%MZ} --to {end:%Y-%m-%dT%H:%MZ}"
    for line in (
        f"{titans} state --at {at:%Y-%m-%dT%H:%MZ} {where}",
        f"{titans} history {pairs} {where}",
        f"{titans} changes {hour} {where} --out hour.csv",
        f"{titans} status {where}",
        f"{titans.removesuffix('titans')}python -c {shlex.quote(code)}",
    ):
        out.print(f"  {line}", markup=False, soft_wrap=True)


COMMANDS = (demo,)
