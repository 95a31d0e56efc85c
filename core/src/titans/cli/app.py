"""The command group: what all commands share. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from titans.errors import InputError, TitansError

if TYPE_CHECKING:
    from titans.archive import Archive

__all__ = ["MOMENT", "cli", "on_archive", "open_archive", "run"]


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601; UTC unless it says otherwise."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; write it like 2026-01-23T14:20Z", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


MOMENT = Moment()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show where an error came from, and log everything.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
@click.version_option(package_name="titans-core", prog_name="titans")
@click.pass_context
def cli(ctx: click.Context, debug: bool, verbose: bool) -> None:
    """Archive change points of keyed, periodic snapshots, and ask about the past."""
    ctx.ensure_object(dict)["debug"] = debug
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    logging.basicConfig(
        level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def open_archive(provider: str, store: str | None) -> Archive:
    from titans.archive import open as open_

    return open_(store, provider=provider)


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
    )
    return provider(store(command))


def run(args: list[str] | None = None) -> None:
    """Run the command line; always ends in `SystemExit`."""
    from titans.cli import demo, new_provider, plugins, read, replay, write

    for module in (demo, new_provider, plugins, read, replay, write):
        for command in module.COMMANDS:
            cli.add_command(command)
    debug = "--debug" in (sys.argv[1:] if args is None else args)
    try:
        cli.main(args=args, prog_name="titans", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        sys.exit("titans: stopped; run it again to go on")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (TitansError, OSError) as error:
        if debug:
            raise
        sys.exit(f"titans: {' '.join(str(error).split()) or type(error).__name__}")
    except KeyboardInterrupt:
        sys.exit("titans: stopped; run it again to go on")
    sys.exit(0)


def parse_pairs(pairs: tuple[str, ...]) -> dict[str, str]:
    """`("Region=eu-west-1",)` → `{"Region": "eu-west-1"}`."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{pair!r} is not Column=Value")
        if name in found:
            raise InputError(f"{name!r} is given twice")
        found[name] = value
    return found
