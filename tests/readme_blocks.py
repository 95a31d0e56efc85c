"""The fenced code blocks of a Markdown file, for tests that run what the documentation shows."""

import re
import shlex
from pathlib import Path

import pytest
from attrs import frozen

from titans.cli.app import run

_FENCE = re.compile(r"```(\w*)\s*$")
_NAME = re.compile(r"\*\*`([^`]+)`\*\*:?$")


@frozen
class Block:
    """A fenced block. `name` is the file it stands for: **`pyproject.toml`** on a line of its own
    before it, else ""."""

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


def type_in(line, monkeypatch, install=None):
    """Run one line of a shell block.

    `pip install -e X` calls `install(X)`. Other lines that install or build have tests of their own.
    """
    words = shlex.split(line, comments=True)
    if words[:3] == ["pip", "install", "-e"] and install is not None:
        install(words[3])
    elif words[0] == "export":
        for word in words[1:]:
            monkeypatch.setenv(*word.split("=", 1))
    elif words[0] == "titans":
        with pytest.raises(SystemExit) as done:
            run(words[1:])
        assert done.value.code in (0, None), f"{line}: {done.value.code}"


def sections(page):
    """Heading of a section (`## …`) → the numbers of its lines."""
    lines = Path(page).read_text(encoding="utf-8").splitlines()
    starts = [n for n, line in enumerate(lines, 1) if line.startswith("## ")]
    return {
        lines[a - 1]: range(a, b)
        for a, b in zip(starts, [*starts[1:], len(lines) + 1], strict=True)
    }


def follow(page, monkeypatch, capsys, install=None, without=()):
    """Run the blocks of a page in order, and compare each ```text with what the block before it
    printed. Returns how many were compared.

    Sections whose headings are in `without` are left out.
    """
    names, printed, compared = {}, None, 0
    left_out = [sections(page)[heading] for heading in without]
    for block in blocks(page):
        if any(block.line in lines for lines in left_out):
            continue
        if block.name:
            printed = None
        elif block.language == "text":
            if printed is not None:
                assert printed == block.text, (
                    f"{page.name}:{block.line}: this is not what the block above prints"
                )
                compared += 1
            printed = None
        elif block.language in ("python", "shell"):
            if block.language == "python":
                # Blank lines before it give tracebacks the line numbers of the page.
                exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
            else:
                for line in block.text.splitlines():
                    type_in(line, monkeypatch, install)
            # rich pads the titles of its tables, Markdown has no trailing blanks
            printed = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
    return compared
