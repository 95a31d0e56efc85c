"""What the commands share: times, the options that name an archive, a range, pairs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from titans.errors import InputError, TimestampError
from titans.slots import to_moment

if TYPE_CHECKING:
    import polars as pl

    from titans.archive import Archive

__all__ = [
    "MOMENT",
    "choosing",
    "completed_providers",
    "in_range",
    "on_archive",
    "on_engine",
    "open_archive",
    "parse_pairs",
]


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601; UTC unless it says otherwise."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return to_moment(str(value))
        except TimestampError:
            self.fail(f"{value!r} is no time; write it like 2026-01-23T14:20Z", param, ctx)


MOMENT = Moment()


def on_archive(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which archive a command works on."""
    store = click.option(
        "--store",
        metavar="URL",
        help="Folder or URL (file://, s3://). Default: $TITANS_STORE, else ./titans-data.",
    )
    provider = click.option(
        "--provider",
        "-p",
        required=True,
        envvar="TITANS_PROVIDER",
        metavar="NAME",
        help="See `titans plugins`.",
        shell_complete=completed_providers,
    )
    return provider(store(command))


def on_engine(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where tasks run."""
    engine = click.option(
        "--engine",
        type=click.Choice(("local", "dask", "spark")),
        default="local",
        show_default=True,
        help="What runs the tasks.",
    )
    scheduler = click.option(
        "--scheduler", metavar="URL", help="Dask's scheduler or Spark's master. Default: one here."
    )
    workers = click.option(
        "--workers", type=click.IntRange(min=1), help="How many to start here. Default: one a core."
    )
    return engine(scheduler(workers(command)))


def completed_providers(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The installed providers whose names begin so, for the shell. None is imported."""
    from titans.plugins import installed

    names = {info.name for info in installed() if info.status != "blocked"}
    return sorted(name for name in names if name.startswith(incomplete))


def open_archive(provider: str, store: str | None) -> Archive:
    # What an archive needs is imported by the commands that open one, not by --help.
    from titans.archive import open as open_

    return open_(store, provider=provider)


def in_range(command: click.decorators.FC) -> click.decorators.FC:
    """The options of a half-open range of time."""
    start = click.option("--from", "start", type=MOMENT, help="From this moment on.")
    end = click.option("--to", "end", type=MOMENT, help="Before this moment.")
    return start(end(command))


def choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which rows and columns of an answer are wanted; the command gets them as
    `wanted`, the arguments of a question.
    """
    where = click.option(
        "--where", metavar="SQL", help="Only rows of the answer for which this holds: Price > 1."
    )
    key = click.option(
        "--key",
        "pairs",
        multiple=True,
        metavar="COLUMN=VALUE",
        help="Only these keys. Repeat it for more columns, or for other values of one.",
    )
    column = click.option(
        "--column", "columns", multiple=True, metavar="NAME", help="Only these value columns."
    )

    @wraps(command)
    def chosen(
        *args: Any,
        where: str | None,
        pairs: tuple[str, ...],
        columns: tuple[str, ...],
        **options: Any,
    ) -> Any:
        wanted: dict[str, Any] = {}
        for pair in pairs:
            for name, value in parse_pairs((pair,)).items():
                wanted.setdefault(name, []).append(value)
        if columns:
            wanted["columns"] = columns
        if where is not None:
            wanted["where"] = _condition(where)
        return command(*args, wanted=wanted, **options)

    return where(key(column(chosen)))


def _condition(text: str) -> pl.Expr:
    import polars as pl

    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        reason = " ".join(str(error).split())
        raise click.BadParameter(f"--where {text!r} is no condition in SQL: {reason}") from error


def parse_pairs(pairs: tuple[str, ...]) -> dict[str, str]:
    """`("Region=eu-west-1",)` → `{"Region": "eu-west-1"}`."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{pair!r} is not Column=Value")
        if name in values:
            raise InputError(f"{name!r} is given twice")
        values[name] = value
    return values
