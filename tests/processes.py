"""Programs that tests run."""

from __future__ import annotations

import subprocess
from typing import Any


def call(*command: Any, **options: Any) -> str:
    """Run a command that must succeed, and has no terminal to ask; what it printed."""
    line = [str(c) for c in command]
    done = subprocess.run(
        line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
