"""The command `new-provider`."""

from __future__ import annotations

from pathlib import Path

import click

from titans.cli.options import parse_pairs
from titans.errors import InputError
from titans.scaffold import LICENSES, Answers, render, write

__all__ = ["COMMANDS"]


@click.command(name="new-provider")
@click.argument("name")
@click.option(
    "--directory",
    "-d",
    type=click.Path(path_type=Path),
    help="Where to put it. Default: ./titans-NAME.",
)
@click.option(
    "--key",
    "-k",
    multiple=True,
    default=("Type", "Region"),
    show_default=True,
    metavar="COLUMN",
    help="A column of the primary key; give it once for each.",
)
@click.option(
    "--value",
    "-c",
    "values",
    multiple=True,
    default=("Price:Float64", "Available:Int64"),
    show_default=True,
    metavar="COLUMN:DTYPE",
    help="A value column; give it once for each.",
)
@click.option(
    "--score", metavar="COLUMN", help="The value column that ranks a key, if there is one."
)
@click.option(
    "--unobserved",
    multiple=True,
    metavar="COLUMN=NUMBER",
    help='The number that means "not observed" in a column.',
)
@click.option(
    "--slot-minutes", type=int, default=10, show_default=True, help="How often a snapshot is taken."
)
@click.option("--description", default="", help="One line for PyPI.")
@click.option("--author", default="", help="Who it is by.")
@click.option(
    "--license",
    "licence",
    type=click.Choice(list(LICENSES)),
    default="apache-2.0",
    show_default=True,
)
@click.option("--repository", default="", metavar="URL", help="Where its code will be.")
def new_provider(
    name: str,
    directory: Path | None,
    key: tuple[str, ...],
    values: tuple[str, ...],
    score: str | None,
    unobserved: tuple[str, ...],
    slot_minutes: int,
    description: str,
    author: str,
    licence: str,
    repository: str,
) -> None:
    """Write a package for the provider NAME: plugin, tests, README, CI. Asks nothing; every answer
    is an option.
    """
    from titans.plugins import installed

    answers = Answers(
        name,
        key=key,
        columns=_columns(values),
        score=score,
        unobserved=_sentinels(unobserved),
        slot_minutes=slot_minutes,
        description=description,
        author=author,
        license=licence,
        repository=repository,
    )
    rival = next((info for info in installed() if info.name == name), None)
    if rival is not None:
        raise InputError(
            f"the provider {name!r} is installed already ({rival}), and two packages cannot "
            f"claim one name; choose another, or pip uninstall {rival.distribution}",
            provider=name,
        )

    folder = directory or Path(answers.distribution)
    files = render(answers)
    write(files, folder)

    for path in files:
        click.echo(f"  {folder / path}")
    click.echo(
        f"\n{len(files)} files. Next:\n\n  cd {folder}\n  pip install -e '.[dev]'\n  pytest\n\n"
        f"Then put your own columns into src/{answers.package}/__init__.py and run pytest again."
    )


def _columns(values: tuple[str, ...]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for text in values:
        column, sign, dtype = text.rpartition(":")
        if not sign or not column or not dtype:
            raise click.BadParameter(f"{text!r} is not COLUMN:DTYPE, such as Price:Float64")
        if column in columns:
            raise click.BadParameter(f"--value names {column!r} twice")
        columns[column] = dtype
    return columns


def _sentinels(pairs: tuple[str, ...]) -> dict[str, float]:
    sentinels: dict[str, float] = {}
    for column, text in parse_pairs(pairs).items():
        try:
            sentinels[column] = float(text)
            # A whole number stays one in the source of the package.
            if text.lstrip("-").isdigit():
                sentinels[column] = int(text)
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is no number, in --unobserved {column}={text}"
            ) from None
    return sentinels


COMMANDS = (new_provider,)
