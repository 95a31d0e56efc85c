"""The fenced code blocks of a Markdown file, for tests that run what the documentation shows."""

import re
from pathlib import Path

from attrs import frozen

_FENCE = re.compile(r"```(\w*)\s*$")
_NAME = re.compile(r"\*\*`([^`]+)`\*\*:?$")


@frozen
class Block:
    """A fenced block. `name` is the file it stands for: **`pyproject.toml`** on a line of its own before it, else ""."""

    language: str
    name: str
    text: str
    line: int
    """Line number of its first line in the file, from 1."""


def blocks(path: str | Path) -> list[Block]:
    """The blocks of a file, in order."""
    found: list[Block] = []
    language, name, start = None, "", 0
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if language is None and (fence := _FENCE.match(line)):
            language, start = fence[1], number
        elif language is not None and line == "```":
            text = "".join(f"{one}\n" for one in lines[start : number - 1])
            found.append(Block(language, name, text, start + 1))
            language, name = None, ""
        elif language is None and line.strip():
            named = _NAME.match(line.strip())
            name = named[1] if named else ""
    if language is not None:
        raise ValueError(f"{path}: the block that starts in line {start} has no end")
    return found
