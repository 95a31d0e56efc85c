"""The command `plugins`."""

from __future__ import annotations

import json

import click

__all__ = ["COMMANDS"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def plugins(as_json: bool) -> None:
    """The installed providers, and what is wrong with those that do not load."""
    from titans.plugins import installed

    infos = installed(load=True)
    if as_json:
        rows = [
            {n: getattr(i, n) for n in ("name", "value", "distribution", "version", "status", "problem")} for i in infos
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    if not infos:
        click.echo("no provider is installed; install one, for example: pip install titans-aws")
        return
    from rich.table import Table

    from titans.cli.output import console

    table = Table("Provider", "Status", "Distribution", "Version", "Entry point", header_style="bold")
    for info in infos:
        style = "green" if info.status == "loaded" else "red" if info.status in ("broken", "duplicate") else "yellow"
        table.add_row(info.name, f"[{style}]{info.status}[/]", info.distribution, info.version, info.value)
    out = console()
    out.print(table)
    for info in infos:
        if info.problem:
            out.print(f"{info.name}: {info.problem}", markup=False)


COMMANDS = (plugins,)
