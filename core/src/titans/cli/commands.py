"""Commands of other packages: an entry point of the group `titans.commands` adds one.

    [project.entry-points."titans.commands"]
    explore = "titans_explorer.command:explore"        # titans explore …

It names a click command. `titans --help` shows the summary of its distribution and imports nothing
of it; only calling the command does. `TITANS_PLUGINS` and `TITANS_DISABLE_PLUGINS` choose among
them, by the name of the entry point.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import click

from titans.entry_points import discover
from titans.errors import PluginError

if TYPE_CHECKING:
    from titans.entry_points import PluginInfo

__all__ = ["GROUP", "Commands", "installed_commands"]

GROUP = "titans.commands"


def installed_commands() -> tuple[PluginInfo, ...]:
    """The entry points for commands, sorted by name, blocked ones included. Nothing is imported."""
    return discover(GROUP)


class Commands(click.Group):
    """The core's own commands, and those of installed packages. A core command keeps its name,
    whatever a package offers.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        others = {info.name for info in installed_commands() if info.status == "found"}
        return sorted({*super().list_commands(ctx), *others})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        claims = [info for info in installed_commands() if info.name == cmd_name]
        if not claims:
            return None
        return _Elsewhere(claims)


class _Elsewhere(click.Command):
    """A command of another package, which is imported when the command is called."""

    def __init__(self, claims: list[PluginInfo]) -> None:
        super().__init__(claims[0].name, short_help=_summary(claims[0]))
        self.claims = claims

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        return _load(self.claims).make_context(info_name, args, parent, **extra)


def _summary(info: PluginInfo) -> str:
    """What the distribution says of itself in a line."""
    try:
        summary = metadata.metadata(info.distribution)["Summary"]
    # Of any distribution, whatever it offers.
    except Exception:  # noqa: BLE001
        summary = None
    return str(summary or f"From {info.distribution}.")


def _load(claims: list[PluginInfo]) -> click.Command:
    """The command itself.

    Raises:
        PluginError: it is claimed twice, blocked, or cannot be imported, or is no command.
    """
    info = claims[0]
    if len(claims) > 1:
        distributions = dict.fromkeys(claim.distribution for claim in claims)
        raise PluginError(
            f"the command {info.name!r} is claimed {len(claims)} times: "
            f"{'; '.join(map(str, claims))}. TITANS does not choose between them: uninstall all "
            f"but one (pip uninstall {' | '.join(distributions)})"
        )
    if info.status == "blocked":
        raise PluginError(f"the command {info.name!r} ({info}): {info.problem}")

    try:
        command = metadata.EntryPoint(info.name, info.value, GROUP).load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the command {info.name!r} ({info}) cannot be imported: {type(error).__name__}: "
            f"{error}. Fix or reinstall it (pip install --force-reinstall {info.distribution})"
        ) from error
    if not isinstance(command, click.Command):
        raise PluginError(
            f"the entry point of {info.name!r} ({info}) names a {type(command).__name__}; it must "
            "name a click command. Report it to its authors"
        )
    return command
