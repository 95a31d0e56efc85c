"""How the code reads, counted: `python tests/house.py [FOLDER]`. By default the core.

Ratios are per 100 lines of function bodies; a docstring is no part of a body.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field, frozen

__all__ = ["CORE", "PARAMETERS", "WIDTH", "Function", "House", "measure"]

CORE = Path(__file__).parents[1] / "core" / "src" / "titans"
PARAMETERS = 5
WIDTH = 100

_BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.FunctionDef, ast.ClassDef, ast.Match)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@frozen
class Function:
    """A function, and where it stands."""

    path: Path
    """Below the folder that was measured."""
    name: str
    parameters: tuple[str, ...]
    """Besides self and cls."""
    decorators: tuple[str, ...]
    lines: range
    """Of its body, without the docstring."""

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


@define
class House:
    """What was counted."""

    functions: list[Function] = field(factory=list)
    asserts: list[str] = field(factory=list)
    folded: list[str] = field(factory=list)
    """Statements with more than one conditional expression."""
    conditionals: int = 0
    comprehensions: int = 0
    body_lines: int = 0
    blank_lines: int = 0
    long_lines: int = 0
    lines: int = 0

    @property
    def wide(self) -> list[Function]:
        """Functions with many parameters."""
        return [f for f in self.functions if len(f.parameters) > PARAMETERS]

    @property
    def apart(self) -> list[Function]:
        """Functions that take store, paths and provider one by one."""
        return [f for f in self.functions if {"store", "paths", "provider"} <= {*f.parameters}]

    @property
    def longest(self) -> Function:
        return max(self.functions, key=lambda f: len(f.lines))

    def __str__(self) -> str:
        longest = self.longest
        return "\n".join(
            [
                f"functions with more than {PARAMETERS} parameters: {len(self.wide)}",
                f"functions with store, paths and provider apart: {len(self.apart)}",
                f"conditional expressions per 100 lines: {self._share(self.conditionals):.1f}",
                f"comprehensions per 100 lines: {self._share(self.comprehensions):.1f}",
                f"statements with several conditional expressions: {len(self.folded)}",
                f"blank lines in bodies: {self._share(self.blank_lines):.1f} %",
                f"lines over {WIDTH} columns: {self.long_lines} of {self.lines}",
                f"longest function: {len(longest.lines)} lines, {longest}",
            ]
        )

    def _share(self, count: int) -> float:
        return 100 * count / self.body_lines


def measure(folder: Path = CORE) -> House:
    """Count what stands in the Python files of a folder."""
    house = House()
    for path in sorted(folder.rglob("*.py")):
        _add_file(house, path, path.relative_to(folder))
    return house


def _add_file(house: House, path: Path, name: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    tree = ast.parse(text)
    house.lines += len(lines)
    house.long_lines += sum(len(line) > WIDTH for line in lines)

    body: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            function = _function(node, name)
            house.functions.append(function)
            body |= set(function.lines)
        elif isinstance(node, ast.Assert):
            house.asserts.append(f"{path.name}:{node.lineno}")
        if isinstance(node, ast.stmt) and not isinstance(node, _BLOCKS):
            conditionals = [part for part in ast.walk(node) if isinstance(part, ast.IfExp)]
            if len(conditionals) > 1:
                house.folded.append(f"{path.name}:{node.lineno}")

    house.body_lines += len(body)
    house.blank_lines += sum(not lines[number - 1].strip() for number in body)
    for node in ast.walk(tree):
        if getattr(node, "lineno", None) in body:
            house.conditionals += isinstance(node, ast.IfExp)
            house.comprehensions += isinstance(node, _COMPREHENSIONS)


def _function(node: ast.FunctionDef, path: Path) -> Function:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
    lines = range(0)
    if statements:
        lines = range(statements[0].lineno, (node.end_lineno or 0) + 1)
    return Function(
        path,
        node.name,
        tuple(a.arg for a in arguments if a.arg not in ("self", "cls")),
        tuple(_decorators(node)),
        lines,
    )


def _decorators(node: ast.FunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        yield ast.unparse(decorator)


if __name__ == "__main__":
    print(measure(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else CORE))
