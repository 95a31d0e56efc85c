"""The commands `plugins` and `plugins doctor`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from titans.doctor import Diagnosis

__all__ = ["COMMANDS"]


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """The installed providers and observers, and what is wrong with those that do not load."""
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError(f"put --json behind {ctx.invoked_subcommand}")
        return
    from titans.events import installed_observers
    from titans.plugins import installed

    infos = [("provider", info) for info in installed(load=True)]
    infos += [("observer", info) for info in installed_observers(load=True)]
    if as_json:
        names = ("name", "value", "distribution", "version", "status", "problem")
        rows = [{"kind": kind, **{n: getattr(info, n) for n in names}} for kind, info in infos]
        click.echo(json.dumps(rows, indent=2))
        return
    if not any(kind == "provider" for kind, _ in infos):
        click.echo("no provider is installed; install one, for example: pip install titans-aws")
    if not infos:
        return
    from rich.table import Table

    from titans.cli.output import console

    table = Table(
        "Name", "Kind", "Status", "Distribution", "Version", "Entry point", header_style="bold"
    )
    for kind, info in infos:
        style = (
            "green"
            if info.status == "loaded"
            else "red"
            if info.status in ("broken", "duplicate")
            else "yellow"
        )
        table.add_row(
            info.name,
            kind,
            f"[{style}]{info.status}[/]",
            info.distribution,
            info.version,
            info.value,
        )
    out = console()
    out.print(table)
    for _, info in infos:
        if info.problem:
            out.print(f"{info.name}: {info.problem}", markup=False)


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

    healthy, rows = True, []
    for found in diagnose(name, conformance=not quick):
        healthy &= found.healthy
        if as_json:
            rows.append({**asdict(found), "healthy": found.healthy})
        else:
            click.echo("\n".join(_report(found)) + "\n")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    sys.exit(0 if healthy else 1)


def _report(found: Diagnosis) -> Iterator[str]:
    from titans.hookspecs import API_VERSION

    def line(title: str, text: str) -> str:
        return f"  {click.style(f'{title:13}', dim=True)}{text}"

    info, loaded = found.info, found.loaded
    color = "green" if found.healthy else "red"
    yield f"{click.style(info.name, bold=True)}: {found.kind}, {click.style(info.status, fg=color)}"
    yield line(
        "distribution",
        f"{info.distribution} {info.version}" + f", in {found.location}" * bool(found.location),
    )
    yield line("entry point", f"{info.name} = {info.value}")
    yield line(
        "needs",
        f"{found.needs or 'no titans-core'}; installed: titans-core {found.core}, Python "
        f"{found.python}",
    )
    if "api" in loaded:
        yield line("plugin API", f"{loaded['api']}; this core has {API_VERSION}")
        yield line(
            "loading",
            f"import {loaded['import_ms']:.1f} ms, hooks {loaded['hooks_ms']:.1f} ms; "
            f"{loaded['modules']} module(s), "
            f"third-party packages: {', '.join(loaded['packages']) or 'none'}",
        )
    if declares := loaded.get("declares"):
        yield line("key", ", ".join(declares["key"]))
        yield line(
            "columns", ", ".join(f"{name} {dtype}" for name, dtype in declares["columns"].items())
        )
        yield line(
            "schema", f"version {declares['schema_version']}, score {declares['score'] or 'none'}"
        )
        yield line(
            "paths", f"{', '.join(declares['prefixes'])}; slots of {declares['slot_minutes']} min"
        )
    for number, (hook, how) in enumerate(loaded.get("hooks", {}).items()):
        without = f" (without {', '.join(how['left_out'])})" if how["left_out"] else ""
        own = how["how"] in ("implemented", "wrapper")
        text = f"{hook}({', '.join(how['arguments'])}){without}" if own else hook
        yield line("" if number else "hooks", f"{text}: {how['how']}")
    ran = found.conformance
    count = {
        "passed": f", {ran.passed} checks",
        "failed": f", {len(ran.failed)} of {ran.passed + len(ran.failed)} checks",
    }
    yield line(
        "conformance", ran.status + count.get(ran.status, "") + f": {ran.reason}" * bool(ran.reason)
    )
    for check, says in ran.failed.items():
        yield line("", f"{check}: {says}")
    for number, advice in enumerate(found.advice):
        yield line("" if number else "advice", f"- {advice}")


COMMANDS = (plugins,)
