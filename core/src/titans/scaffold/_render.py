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
        near = re.sub(r"[^a-z0-9]+", "-", str(name).lower()).strip("-").lstrip("0123456789-")
        raise InputError(
            f"not a name for a provider package: {name!r}; use small letters, digits and single "
            "hyphens, a letter first" + (f", such as {near!r}" if _NAME.fullmatch(near) else "")
        )
    if name in TAKEN:
        raise InputError(f"the name {name!r} is taken: {TAKEN[name]}; choose another")
    return name


def _one_line(given: str) -> str:
    text = " ".join(str(given).split())
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise InputError(f"an answer has control characters: {given!r}")
    return text


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
        schema = Schema(dict(self.columns), score=self.score, unobserved=dict(self.unobserved))
        Provider(
            self.name, schema, tuple(self.key), layout=PathLayout(slot_minutes=self.slot_minutes)
        )
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
    files = {path.format(**fields): _filled(source, fields) for path, source in FILES.items()}
    files["LICENSE"] = _filled(f"LICENSE-{answers.license}", fields)
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
    half = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        for path, text in files.items():
            (half / path).parent.mkdir(parents=True, exist_ok=True)
            (half / path).write_text(text, encoding="utf-8")
        half.rename(target)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise


def _filled(source: str, fields: Mapping[str, str]) -> str:
    template = resources.files("titans.scaffold").joinpath("template", f"{source}.tmpl")
    return _Template(template.read_text(encoding="utf-8")).substitute(fields)


def _fields(answers: Answers) -> dict[str, str]:
    title = answers.name.replace("-", " ").title()
    description = answers.description or f"TITANS provider for the data of {title}"
    author = answers.author or f"The authors of {answers.distribution}"
    names = {
        column.lower(): column
        for column in (*answers.key, *answers.columns)
        if column.lower() != column
    }
    layout = answers.slot_minutes != 10
    return {
        "author": author,
        "author_toml": _quoted(author),
        "class": title.replace(" ", ""),
        "core": _core_bounds(metadata.version("titans-core")),
        "description": description,
        "description_toml": _quoted(description),
        "distribution": answers.distribution,
        "docstring": description.replace("\\", "\\\\").replace('"', '\\"').rstrip(".") + ".",
        "imports": "PathLayout, Schema, hookimpl" if layout else "Schema, hookimpl",
        "key": _tuple(answers.key),
        "key_table": ", ".join(f"`{column}`" for column in answers.key),
        "layout": _LAYOUT.format(minutes=answers.slot_minutes) if layout else "",
        "license": LICENSES[answers.license],
        "minutes": str(answers.slot_minutes),
        "module": answers.name.replace("-", "_"),
        "name": answers.name,
        "names": _mapping(names, ""),
        "package": answers.package,
        "schema": _schema(answers),
        "title": title,
        "urls": f"\n[project.urls]\nRepository = {_quoted(answers.repository)}\n"
        if answers.repository
        else "",
        "value_table": ", ".join(
            f"`{column}` ({dtype})" for column, dtype in answers.columns.items()
        ),
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
    major, minor = (int(part) for part in version.split(".")[:2])
    return (
        f">={major}.{minor},<{major}.{minor + 1}"
        if major == 0
        else f">={major}.{minor},<{major + 1}"
    )


def _quoted(text: str) -> str:
    """As a string of TOML and of Python."""
    return json.dumps(text, ensure_ascii=False)


def _tuple(items: Sequence[str]) -> str:
    short = "(" + ", ".join(map(_quoted, items)) + (",)" if len(items) == 1 else ")")
    if len(short) <= _WIDTH:
        return short
    return "(\n" + "".join(f"{2 * _INDENT}{_quoted(item)},\n" for item in items) + f"{_INDENT})"


def _mapping(items: Mapping[str, object], indent: str) -> str:
    """On one line, or one item a line, as the formatter would have it."""
    pairs = [
        f"{_quoted(name)}: {_quoted(v) if isinstance(v, str) else repr(v)}"
        for name, v in items.items()
    ]
    short = "{" + ", ".join(pairs) + "}"
    if len(short) <= _WIDTH:
        return short
    return "{\n" + "".join(f"{indent}{_INDENT}{pair},\n" for pair in pairs) + indent + "}"


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
    return "Schema(\n" + "".join(f"{indent}{argument},\n" for argument in arguments) + f"{_INDENT})"
