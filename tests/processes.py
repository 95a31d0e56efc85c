"""Programs that tests run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any


def call(*command: Any, **options: Any) -> str:
    """Run a command that must succeed, and has no terminal to ask; what it printed."""
    line = [str(c) for c in command]
    done = subprocess.run(
        line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(project: Path, out: Path, *options: str) -> None:
    """Build the distributions of a project with the tools that are installed here."""
    call(sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", out, project)


def pip_install(python: Path, wheels: Path, requirement: str | Path) -> None:
    """Install into the environment of `python`; what is in the folder `wheels` comes from there."""
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    call(*pip, "--find-links", wheels, requirement)
