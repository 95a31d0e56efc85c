"""The command `titans`. Needs the extra `titans-core[cli]`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """The console script."""
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ImportError as error:
        sys.exit(f"titans: the command line needs {error.name}: pip install 'titans-core[cli]'")
    from titans.cli.app import run

    run()
