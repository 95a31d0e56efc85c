"""The command group, and running it. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from titans.cli import (
    backfill,
    convert,
    correct,
    demo,
    holdings,
    ingest,
    new_provider,
    plugins,
    publish,
    read,
    replay,
    trace,
    write,
)
from titans.cli.commands import Commands
from titans.cli.examples import show_examples
from titans.cli.output import printable
from titans.cli.versions import version_option
from titans.errors import TitansError
from titans.redaction import redacted

__all__ = ["cli", "run"]

STOPPED = "titans: stopped; run it again to go on"


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--debug", is_flag=True, help="Show where an error came from, and log everything.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
@version_option
@click.pass_context
def cli(ctx: click.Context, debug: bool, verbose: bool) -> None:
    """Archive change points of keyed, periodic snapshots, and ask about the past."""
    ctx.ensure_object(dict)["debug"] = debug

    level = logging.WARNING
    if verbose:
        level = logging.INFO
    if debug:
        level = logging.DEBUG
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])

    # What these log of every request would hide what TITANS says.
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


for _module in (
    backfill,
    convert,
    correct,
    demo,
    holdings,
    ingest,
    new_provider,
    plugins,
    publish,
    read,
    replay,
    trace,
    write,
):
    for _command in _module.COMMANDS:
        cli.add_command(_command)
show_examples(cli)


class _Printable(logging.Formatter):
    """Lines for a terminal: what stands in data gives it no orders, and secrets stay out."""

    def format(self, record: logging.LogRecord) -> str:
        lines = redacted(super().format(record)).split("\n")
        return "\n".join(map(printable, lines))


def _leave_closed_pipe() -> NoReturn:
    """Whoever read our output wants no more of it: nothing is left to say, at exit neither."""
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())
    sys.exit(1)


def run(args: list[str] | None = None) -> None:
    """Run the command line; always ends in `SystemExit`."""
    debug = "--debug" in (sys.argv[1:] if args is None else args)
    try:
        # Click does not raise the `Exit` of a command here, it returns the code.
        code = cli.main(args=args, prog_name="titans", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(STOPPED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _leave_closed_pipe()
    except (TitansError, OSError) as error:
        if debug:
            raise
        message = redacted(" ".join(str(error).split())) or type(error).__name__
        sys.exit(f"titans: {printable(message)}")
    sys.exit(code or 0)
