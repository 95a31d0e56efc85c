"""The commands `plugins` and `plugins doctor`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from titans.doctor import Conformance, Diagnosis
    from titans.entry_points import PluginInfo

__all__ = ["COMMANDS"]


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """The installed providers, observers and commands, and what is wrong with those that do not
    load.
    """
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError(f"put --json behind {ctx.invoked_subcommand}")
        return
    from titans.cli.commands import installed_commands
    from titans.events import installed_observers
    from titans.plugins import installed

    infos = [("provider", info) for info in installed(load=True)]
    infos += [("observer", info) for info in installed_observers(load=True)]
    infos += [("command", info) for info in installed_commands()]
    if as_json:
        rows = [_row(kind, info) for kind, info in infos]
        click.echo(json.dumps(rows, indent=2))
        return

    if not any(kind == "provider" for kind, _ in infos):
        click.echo("no provider is installed; install one, for example: pip install titans-aws")
    if infos:
        _show(infos)


_COLORS = {"loaded": "green", "broken": "red", "duplicate": "red"}


def _row(kind: str, info: PluginInfo) -> dict[str, str]:
    return {
        "kind": kind,
        "name": info.name,
        "value": info.value,
        "distribution": info.distribution,
        "version": info.version,
        "status": info.status,
        "problem": info.problem,
    }


def _show(infos: list[tuple[str, PluginInfo]]) -> None:
    """A table, and below it what is wrong."""
    from rich.table import Table
    from rich.text import Text

    from titans.cli.output import console, plain

    table = Table(
        "Name", "Kind", "Status", "Distribution", "Version", "Entry point", header_style="bold"
    )
    for kind, info in infos:
        style = _COLORS.get(info.status, "yellow")
        status = Text(info.status, style=style)
        about = (info.distribution, info.version, info.value)
        table.add_row(plain(info.name), kind, status, *map(plain, about))

    out = console()
    out.print(table)
    for _, info in infos:
        if info.problem:
            out.print(plain(f"{info.name}: {info.problem}"))


@plugins.command()
@click.argument("name")
def show(name: str) -> None:
    """What a provider says of its columns and of its source."""
    from titans.plugins import load

    provider = load(name)
    schema = provider.schema
    from rich.table import Table

    from titans.cli.output import console, plain

    table = Table("Column", "Dtype", "Null", "Unit", "Description", header_style="bold")
    for column in provider.key:
        table.add_row(plain(column), "key", "", "", plain(schema.description.get(column, "")))
    for column, dtype in schema.columns.items():
        null = "not observed"
        if column in schema.nullable:
            null = "a value"
        if column in schema.passive:
            dtype += ", passive"
        unit, about = schema.units.get(column, ""), schema.description.get(column, "")
        table.add_row(plain(column), dtype, null, plain(unit), plain(about))
    out = console()
    out.print(table)
    out.print(plain(f"{provider}: {provider.expectations}"))


@plugins.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--quick", is_flag=True, help="Leave the conformance kit out.")
def doctor(name: str | None, as_json: bool, quick: bool) -> None:
    """Examine a plugin, or all: what it is, what loading it costs, whether it conforms, and what to
    do better.

    Exit code 1 if anything is wrong with one of them.
    """
    from attrs import asdict

    from titans.doctor import diagnose

    healthy = True
    rows = []
    for diagnosis in diagnose(name, conformance=not quick):
        healthy &= diagnosis.healthy
        if as_json:
            rows.append({**asdict(diagnosis), "healthy": diagnosis.healthy})
        else:
            click.echo("\n".join(_report(diagnosis)) + "\n")

    if as_json:
        click.echo(json.dumps(rows, indent=2))
    sys.exit(0 if healthy else 1)


def _report(diagnosis: Diagnosis) -> Iterator[str]:
    info = diagnosis.info
    status = click.style(info.status, fg="green" if diagnosis.healthy else "red")
    yield f"{click.style(info.name, bold=True)}: {diagnosis.kind}, {status}"

    installed = f"{info.distribution} {info.version}"
    if diagnosis.location:
        installed += f", in {diagnosis.location}"
    yield _line("distribution", installed)
    yield _line("entry point", f"{info.name} = {info.value}")
    yield _line(
        "needs",
        f"{diagnosis.needs or 'no titans-core'}; installed: titans-core {diagnosis.core}, "
        f"Python {diagnosis.python}",
    )

    yield from _loading(diagnosis.loaded)
    yield from _declared(diagnosis.loaded.get("declares"))
    yield from _hooks(diagnosis.loaded.get("hooks", {}))
    yield from _conformance(diagnosis.conformance)
    yield from _titled("advice", [f"- {advice}" for advice in diagnosis.advice])


def _line(title: str, text: str) -> str:
    return f"  {click.style(f'{title:13}', dim=True)}{text}"


def _titled(title: str, texts: list[str]) -> Iterator[str]:
    """Lines, the first one with a title."""
    for text in texts:
        yield _line(title, text)
        title = ""


def _loading(loaded: Mapping[str, Any]) -> Iterator[str]:
    from titans.hookspecs import API_VERSION

    if "api" not in loaded:
        return
    yield _line("plugin API", f"{loaded['api']}; this core has {API_VERSION}")
    yield _line(
        "loading",
        f"import {loaded['import_ms']:.1f} ms, hooks {loaded['hooks_ms']:.1f} ms; "
        f"{loaded['modules']} module(s), "
        f"third-party packages: {', '.join(loaded['packages']) or 'none'}",
    )


def _declared(declares: Mapping[str, Any] | None) -> Iterator[str]:
    if not declares:
        return
    yield _line("key", ", ".join(_meant(name, "", declares) for name in declares["key"]))
    columns = [_meant(name, dtype, declares) for name, dtype in declares["columns"].items()]
    if declares["units"] or declares["description"]:
        yield from _titled("columns", columns)
    else:
        yield _line("columns", ", ".join(columns))
    yield _line(
        "schema", f"version {declares['schema_version']}, score {declares['score'] or 'none'}"
    )
    yield _line(
        "paths", f"{', '.join(declares['prefixes'])}; slots of {declares['slot_minutes']} min"
    )
    yield _line("expects", declares["expectations"])


def _meant(name: str, dtype: str, declares: Mapping[str, Any]) -> str:
    """A column, and what the schema says of it."""
    said = f"{name} {dtype}".strip()
    said += "".join(f" {what}" for what in ("nullable", "passive") if name in declares[what])
    if name in declares["units"]:
        said += f" [{declares['units'][name]}]"
    if name in declares["description"]:
        said += f": {declares['description'][name]}"
    return said


def _hooks(hooks: Mapping[str, Any]) -> Iterator[str]:
    texts = []
    for hook, seen in hooks.items():
        call = hook
        if seen["how"] in ("implemented", "wrapper"):
            call = f"{hook}({', '.join(seen['arguments'])})"
            if seen["left_out"]:
                call += f" (without {', '.join(seen['left_out'])})"
        texts.append(f"{call}: {seen['how']}")
    yield from _titled("hooks", texts)


def _conformance(conformance: Conformance) -> Iterator[str]:
    failed = len(conformance.failed)
    outcome: str = conformance.status
    if outcome == "passed":
        outcome += f", {conformance.passed} checks"
    elif outcome == "failed":
        outcome += f", {failed} of {conformance.passed + failed} checks"
    if conformance.reason:
        outcome += f": {conformance.reason}"

    yield _line("conformance", outcome)
    for check, message in conformance.failed.items():
        yield _line("", f"{check}: {message}")


COMMANDS = (plugins,)
