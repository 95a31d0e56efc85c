"""Frames on a terminal, in a pipe, or in a file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

__all__ = [
    "Target",
    "as_output",
    "console",
    "plain",
    "printable",
    "progress_bar",
    "show",
    "sparkline",
    "table",
    "write",
]

FORMATS = ("table", "csv", "json", "parquet")
_ROWS = 20
_BARS = "▁▂▃▄▅▆▇█"
_ORDERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_FORMULA = "=+-@\t\r\n"
"""A cell that begins with one of these is calculated, not shown, by spreadsheets."""


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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(),
        disable=piped,
    )


@frozen
class Target:
    """Where a frame goes, and how."""

    form: str | None = None
    """One of `FORMATS`; `None`: what the name of the file says, or a table."""
    out: Path | None = None
    spreadsheet: bool = False
    """Whether cells of CSV must not be taken for formulas."""

    def checked_form(self) -> str:
        """The format. Raises `click.UsageError` where the options contradict each other."""
        form = self.form or _form_of(self.out)
        if self.spreadsheet and form != "csv":
            raise click.UsageError("--spreadsheet is for CSV; add --format csv")
        if form == "table" and self.out is not None:
            raise click.UsageError(
                "a table goes to the terminal; use --format csv, json or parquet with --out"
            )
        if form == "parquet" and self.out is None and sys.stdout.isatty():
            raise click.UsageError("Parquet is not for a terminal; use --out FILE or a pipe")
        return form


def as_output(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where a frame goes; the command gets them as `target`."""
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
    spreadsheet = click.option(
        "--spreadsheet",
        is_flag=True,
        help="CSV: put ' before text that a spreadsheet would calculate (= + - @).",
    )

    @wraps(command)
    def targeted(
        *args: Any, form: str | None, out: Path | None, spreadsheet: bool, **options: Any
    ) -> Any:
        target = Target(form, out, spreadsheet)
        target.checked_form()  # before anything is read
        return command(*args, target=target, **options)

    return form(out(spreadsheet(targeted)))


def write(answer: pl.DataFrame | pl.LazyFrame, target: Target) -> None:
    """Put an answer where the options say. A LazyFrame goes to a Parquet file batch by batch."""
    form, out = target.checked_form(), target.out
    if form == "parquet" and out is not None:
        answer.lazy().sink_parquet(out, compression="zstd", engine="streaming")
        click.echo(f"{_rows_in(out):,} rows in {printable(str(out))}", err=True)
        return
    frame = answer.lazy().collect()
    if form == "table":
        show(frame)
        return

    if out is not None:
        with out.open("wb") as file:
            _encode(frame, form, target.spreadsheet, file)
        click.echo(f"{frame.height:,} rows in {printable(str(out))}", err=True)
        return
    # Polars has errors of its own for a pipe that is closed.
    with BytesIO() as buffer:
        _encode(frame, form, target.spreadsheet, buffer)
        sys.stdout.buffer.write(buffer.getbuffer())
    sys.stdout.buffer.flush()


def _rows_in(file: Path) -> int:
    import polars as pl

    return pl.scan_parquet(file, glob=False).select(pl.len()).collect().item()  # type: ignore[no-any-return]


def _encode(frame: pl.DataFrame, form: str, spreadsheet: bool, file: Any) -> None:
    if form == "parquet":
        frame.write_parquet(file, compression="zstd")
        return
    frame = _as_text(frame, nested=form == "csv")
    if form == "json":
        frame.write_json(file)
    else:
        (_harmless(frame) if spreadsheet else frame).write_csv(file)


def _as_text(frame: pl.DataFrame, *, nested: bool) -> pl.DataFrame:
    """Bytes as hexadecimal digits and, where it is wanted, lists and structs as JSON: CSV has
    neither.
    """
    import polars as pl

    columns = []
    for column in frame:
        if column.dtype == pl.Binary:
            columns.append(column.bin.encode("hex"))
        elif nested and column.dtype.is_nested():
            texts = [
                None if each is None else json.dumps(each, default=str) for each in column.to_list()
            ]
            columns.append(pl.Series(column.name, texts, dtype=pl.String))
    return frame.with_columns(columns)


def _harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts that a spreadsheet would calculate get an apostrophe before them, names of columns
    too.
    """
    import polars as pl

    texts = []
    for number, (name, dtype) in enumerate(frame.schema.items()):
        if dtype in (pl.String, pl.Categorical, pl.Enum):
            text = pl.nth(number).cast(pl.String)  # not by name: `*` would be all columns
            begins = text.str.slice(0, 1).is_in(list(_FORMULA))
            texts.append(pl.when(begins).then("'" + text).otherwise(text).alias(name))
    safe = frame.with_columns(texts)
    names = {name: f"'{name}" for name in frame.columns if name.startswith(tuple(_FORMULA))}
    return safe.rename(names)


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


def without_equal_columns(differences: pl.DataFrame) -> pl.DataFrame:
    """What `Archive.diff` says, of the columns in which something differs."""
    equal: list[str] = []
    for old in differences.columns:
        new = f"{old.removesuffix('_old')}_new"
        if not old.endswith("_old"):
            continue
        if differences[old].equals(differences[new], check_names=False):
            equal += [old, new]
    return differences.drop(equal)


def printable(text: str) -> str:
    """`text` without what a terminal takes for an order or for the direction of writing: such
    characters are shown as their codes.
    """
    return _ORDERS.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def plain(text: str) -> Text:
    """Data for a terminal: no markup, nothing but text."""
    from rich.text import Text

    return Text(printable(text))


def table(frame: pl.DataFrame, title: str | None = None) -> Any:
    from rich.table import Table

    heading = None if title is None else plain(title)
    result = Table(title=heading, title_justify="left", header_style="bold")
    for name, dtype in frame.schema.items():
        justify: Any = "right" if dtype.is_numeric() else "left"
        result.add_column(plain(name), justify=justify, no_wrap=dtype.is_temporal())
    for row in frame.iter_rows():
        result.add_row(*(plain(_cell(value)) for value in row))
    return result


def _cell(value: object) -> str:
    if value is None:
        return "·"
    if isinstance(value, datetime):
        seconds = ":%S" if value.second else ""
        return value.strftime(f"%Y-%m-%d %H:%M{seconds}")
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bytes):
        return value.hex()
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
