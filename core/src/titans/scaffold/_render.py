"""From answers to the files of a package, and from these to a folder."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from string import Template

from attrs import Factory, field, frozen

from titans.errors import InputError
from titans.layout import PathLayout
from titans.provider import Provider
from titans.schema import Schema

__all__ = ["LICENSES", "Answers", "render", "write"]

LICENSES = {"apache-2.0": "Apache-2.0", "mit": "MIT"}
"""Name of a licence as it is asked for → its SPDX identifier."""

TAKEN = {
    "core": "titans-core is the core itself",
    "common": "titans_common are the drop-in names of the core",
}

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_WIDTH = 100
_INDENT = "    "

FILES = {
    ".github/workflows/ci.yml": "ci.yml",
    ".gitignore": "gitignore",
    "CHANGELOG.md": "CHANGELOG.md",
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "src/{package}/__init__.py": "plugin.py",
    "tests/test_conformance.py": "test_conformance.py",
    "tests/test_{module}.py": "test_own.py",
}


class _Template(Template):
    """`%%{name}` is a place to fill; `$` and braces, which workflows and Python are full of, mean
    nothing.
    """

    delimiter = "%%"


def _checked(name: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = (
            f"not a name for a provider package: {name!r}; use small letters, digits and single "
            "hyphens, a letter first"
        )
        near = re.sub(r"[^a-z0-9]+", "-", str(name).lower()).strip("-").lstrip("0123456789-")
        if _NAME.fullmatch(near):
            message += f", such as {near!r}"
        raise InputError(message)
    if name in TAKEN:
        raise InputError(f"the name {name!r} is taken: {TAKEN[name]}; choose another")
    return name


def _one_line(answer: str) -> str:
    line = " ".join(str(answer).split())
    if any(ord(c) < 32 or ord(c) == 127 for c in line):
        raise InputError(f"an answer has control characters: {answer!r}")
    return line


@frozen
class Answers:
    """What a template is filled with.

    Raises:
        InputError: a name, column, dtype, sentinel, slot length or licence that is not possible.
    """

    name: str = field(converter=_checked)
    key: Sequence[str] = ("Type", "Region")
    columns: Mapping[str, str] = Factory(lambda: {"Price": "Float64", "Available": "Int64"})
    score: str | None = None
    unobserved: Mapping[str, float] = Factory(dict)
    slot_minutes: int = 10
    description: str = field(default="", converter=_one_line)
    author: str = field(default="", converter=_one_line)
    license: str = "apache-2.0"
    repository: str = field(default="", converter=_one_line)

    def __attrs_post_init__(self) -> None:
        # What the package declares is checked here, before it is written.
        schema = Schema(dict(self.columns), score=self.score, unobserved=dict(self.unobserved))
        layout = PathLayout(slot_minutes=self.slot_minutes)
        Provider(self.name, schema, tuple(self.key), layout=layout)

        if self.license not in LICENSES:
            raise InputError(
                f"no text for the licence {self.license!r}; there are {', '.join(LICENSES)}"
            )
        if self.repository and not re.fullmatch(r"https?://\S+", self.repository):
            raise InputError(
                f"a repository is a URL like https://example.org/me/titans-{self.name}: "
                f"{self.repository!r}"
            )

    @property
    def distribution(self) -> str:
        return f"titans-{self.name}"

    @property
    def package(self) -> str:
        return self.distribution.replace("-", "_")


def render(answers: Answers) -> dict[str, str]:
    """Path in the package → content, sorted by path."""
    fields = _fields(answers)
    files = {}
    for path, source in FILES.items():
        files[path.format(**fields)] = _fill_template(source, fields)
    files["LICENSE"] = _fill_template(f"LICENSE-{answers.license}", fields)

    return dict(sorted(files.items()))


def write(files: Mapping[str, str], folder: Path) -> None:
    """The files as a new folder, whole or not at all.

    Raises:
        InputError: the folder is there already, or there is none to put it into. Nothing was
            written.
    """
    target = Path(folder).absolute()
    if target.exists() or target.is_symlink():
        raise InputError(f"{target} is there already; choose another --directory, or remove it")

    if not target.parent.is_dir():
        raise InputError(
            f"there is no folder {target.parent}; make it, or choose another --directory"
        )

    # Written under another name first, so that the folder is never there with a part of it.
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        for path, text in files.items():
            file = unfinished / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _fill_template(source: str, fields: Mapping[str, str]) -> str:
    template = resources.files("titans.scaffold").joinpath("template", f"{source}.tmpl")
    return _Template(template.read_text(encoding="utf-8")).substitute(fields)


def _fields(answers: Answers) -> dict[str, str]:
    title = answers.name.replace("-", " ").title()
    description = answers.description or f"TITANS provider for the data of {title}"
    author = answers.author or f"The authors of {answers.distribution}"

    # How a collector may spell a column → its name.
    names = {}
    for column in (*answers.key, *answers.columns):
        if column.lower() != column:
            names[column.lower()] = column

    imports = "Schema, hookimpl"
    layout = ""
    if answers.slot_minutes != PathLayout().slot_minutes:
        imports = "PathLayout, Schema, hookimpl"
        layout = _LAYOUT.format(minutes=answers.slot_minutes)

    urls = ""
    if answers.repository:
        urls = f"\n[project.urls]\nRepository = {_quoted(answers.repository)}\n"

    value_table = [f"`{column}` ({dtype})" for column, dtype in answers.columns.items()]

    return {
        "author": author,
        "author_toml": _quoted(author),
        "class": title.replace(" ", ""),
        "core": _core_bounds(metadata.version("titans-core")),
        "description": description,
        "description_toml": _quoted(description),
        "distribution": answers.distribution,
        "docstring": description.replace("\\", "\\\\").replace('"', '\\"').rstrip(".") + ".",
        "imports": imports,
        "key": _tuple(answers.key),
        "key_table": ", ".join(f"`{column}`" for column in answers.key),
        "layout": layout,
        "license": LICENSES[answers.license],
        "minutes": str(answers.slot_minutes),
        "module": answers.name.replace("-", "_"),
        "name": answers.name,
        "names": _mapping(names, ""),
        "package": answers.package,
        "schema": _schema(answers),
        "title": title,
        "urls": urls,
        "value_table": ", ".join(value_table),
    }


_LAYOUT = """

@hookimpl
def titans_path_layout():
    return PathLayout(slot_minutes={minutes})
"""


def _core_bounds(version: str) -> str:
    """From the minor version of this core to below the next that may break things; until 1.0 that
    is the next minor one.
    """
    major, minor = map(int, version.split(".")[:2])
    if major == 0:
        return f">=0.{minor},<0.{minor + 1}"
    return f">={major}.{minor},<{major + 1}"


def _quoted(text: str) -> str:
    """As a string of TOML and of Python."""
    return json.dumps(text, ensure_ascii=False)


def _tuple(items: Sequence[str]) -> str:
    texts = [_quoted(item) for item in items]
    comma = "," if len(texts) == 1 else ""
    short = f"({', '.join(texts)}{comma})"
    if len(short) <= _WIDTH:
        return short

    return f"(\n{_lines(texts, 2 * _INDENT)}{_INDENT})"


def _mapping(items: Mapping[str, object], indent: str) -> str:
    """On one line, or one item a line, as the formatter would have it."""
    pairs = [f"{_quoted(name)}: {_literal(value)}" for name, value in items.items()]
    short = f"{{{', '.join(pairs)}}}"
    if len(short) <= _WIDTH:
        return short

    return f"{{\n{_lines(pairs, indent + _INDENT)}{indent}}}"


def _schema(answers: Answers) -> str:
    indent = 2 * _INDENT
    arguments = [_mapping(answers.columns, indent)]

    if answers.score is not None:
        arguments.append(f"score={_quoted(answers.score)}")
    if answers.unobserved:
        arguments.append(f"unobserved={_mapping(answers.unobserved, indent)}")

    short = f"Schema({', '.join(arguments)})"
    if len(short) <= _WIDTH and "\n" not in short:
        return short

    return f"Schema(\n{_lines(arguments, indent)}{_INDENT})"


def _lines(items: Sequence[str], indent: str) -> str:
    return "".join(f"{indent}{item},\n" for item in items)


def _literal(value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    return repr(value)
