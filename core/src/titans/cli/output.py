"""Frames on a terminal, in a pipe, or in a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["as_output", "console", "progress_bar", "show", "sparkline", "table", "write"]

FORMATS = ("table", "csv", "json", "parquet")
_ROWS = 20
_BARS = "▁▂▃▄▅▆▇█"


def console() -> Console:
    from rich.console import Console

    # Without a terminal there is no width to fit; rich would assume 80 columns and cut names off.
    width = None if sys.stdout.isatty() else 140
    return Console(highlight=False, width=width)


def progress_bar() -> Progress:
    """A bar for work of so many steps; nothing is shown where nobody looks."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    piped = not sys.stderr.isatty() and not sys.stdout.isatty()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(),
        disable=piped,
    )


def as_output(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where a frame goes."""
    form = click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        help="Default: table, or what --out ends with.",
    )
    out = click.option(
        "--out",
        type=click.Path(dir_okay=False, path_type=Path),
        help="A file instead of the terminal.",
    )
    return form(out(command))


def write(frame: pl.DataFrame, form: str | None, out: Path | None) -> None:
    """Put `frame` where the options say."""
    if form is None:
        form = _form_of(out)

    if form == "table":
        if out is not None:
            raise click.UsageError(
                "a table goes to the terminal; use --format csv, json or parquet with --out"
            )
        show(frame)
        return

    if out is None and form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal; use --out FILE or a pipe")

    target: Any = out
    if out is None:
        target = sys.stdout.buffer
    if form == "csv":
        frame.write_csv(target)
    elif form == "json":
        frame.write_json(target)
    else:
        frame.write_parquet(target, compression="zstd")

    if out is not None:
        click.echo(f"{frame.height:,} rows in {out}", err=True)
    else:
        sys.stdout.buffer.flush()


def _form_of(out: Path | None) -> str:
    """The format that the name of the file says; a table on the terminal."""
    if out is None:
        return "table"
    suffix = out.suffix.removeprefix(".")
    if suffix not in FORMATS:
        raise click.UsageError(
            f"--out {out} does not say the format; add --format csv, json or parquet"
        )
    return suffix


def show(frame: pl.DataFrame, rows: int = _ROWS) -> None:
    """The first rows as a table, and how many there are."""
    out = console()
    out.print(table(frame.head(rows)))

    count = f"{frame.height:,} rows"
    if frame.height > rows:
        count += f", the first {rows} shown; --format or --out give all"
    out.print(count, style="dim")


def table(frame: pl.DataFrame, title: str | None = None) -> Any:
    from rich.table import Table

    result = Table(title=title, title_justify="left", header_style="bold")
    for name, dtype in frame.schema.items():
        justify: Any = "right" if dtype.is_numeric() else "left"
        result.add_column(name, justify=justify, no_wrap=dtype.is_temporal())
    for row in frame.iter_rows():
        result.add_row(*map(_cell, row))
    return result


def _cell(value: object) -> str:
    if value is None:
        return "·"
    if isinstance(value, datetime):
        seconds = ":%S" if value.second else ""
        return value.strftime(f"%Y-%m-%d %H:%M{seconds}")
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def sparkline(values: list[float | None], width: int = 60) -> str:
    """One character per value (the last `width` of them); a gap where there is none."""
    shown = values[-width:]
    numbers = [value for value in shown if value is not None]
    if not numbers:
        return ""

    low = min(numbers)
    span = (max(numbers) - low) or 1.0
    line = ""
    for value in shown:
        if value is None:
            line += " "
        else:
            line += _BARS[round((value - low) / span * (len(_BARS) - 1))]
    return line
