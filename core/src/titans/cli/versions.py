"""What is installed: the core, and every package that adds something to it."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import click

__all__ = ["version_option"]

_GROUPS = ("titans.providers", "titans.observers", "titans.stores", "titans.commands")
_BESIDE = ("polars", "duckdb", "boto3")


def _versions() -> list[str]:
    """A line for each distribution; nothing of them is imported."""
    found = {}
    for group in _GROUPS:
        for entry in metadata.entry_points(group=group):
            if entry.dist is not None:
                found[entry.dist.name] = entry.dist.version
    found.pop("titans-core", None)
    lines = [f"titans-core {metadata.version('titans-core')}"]
    lines += [f"{name} {found[name]}" for name in sorted(found)]
    for name in _BESIDE:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return [*lines, f"Python {platform.python_version()}"]


def _show(ctx: click.Context, _: click.Parameter, wanted: Any) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    click.echo("\n".join(_versions()))
    ctx.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show,
    help="Show the versions of titans-core and of the packages that belong to it.",
)
