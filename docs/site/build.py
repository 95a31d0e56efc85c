"""Builds the documentation site from docs/, the READMEs and the docstrings: `make docs`.

    python docs/site/build.py OUT [--source URL]

The pages stay as they are, readable where the code is. A copy of them is made in which links to the
rest of the repository go to URL, or are plain text where none is given; the reference of what is
public is written as mkdocstrings wants it; and Zensical makes the site of that.
"""

from __future__ import annotations

import argparse
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import titans
from titans import errors

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CONFIG = Path(__file__).with_name("zensical.toml")

PAGES = {"README.md": "index.md", "README.ko.md": "ko/index.md", "CHANGELOG.md": "changes.md"}
"""What becomes a page beside those of docs/."""
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:)([^)\s#]*)(#[^)\s]*)?\)")


def main() -> None:
    """Build it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="a folder; what is in it is replaced")
    parser.add_argument("--source", help="where the repository can be looked at")
    given = parser.parse_args()
    out = given.out.resolve()
    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder), given.source)
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
        subprocess.run(command, cwd=folder, check=True)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(Path(folder) / "site", out)


def stage(folder: Path, source: str | None) -> None:
    """Everything that the generator reads."""
    pages = folder / "docs"
    names = dict(PAGES)
    for path in sorted(DOCS.rglob("*.md")):
        names[path.relative_to(ROOT).as_posix()] = path.relative_to(DOCS).as_posix()
    for name, page in names.items():
        target = pages / page
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / name).read_text(encoding="utf-8")
        target.write_text(_linked(text, name, page, names, source), encoding="utf-8")
    shutil.copytree(DOCS / "pictures", pages / "pictures")
    _write_reference(pages / "reference")
    shutil.copy(CONFIG, folder / "zensical.toml")


def _linked(text: str, name: str, page: str, names: dict[str, str], source: str | None) -> str:
    """A page with its links as they are on the site."""
    here = (ROOT / name).parent
    depth = page.count("/")

    def link(match: re.Match[str]) -> str:
        picture, label, path, anchor = match.groups()
        if anchor:
            anchor = re.sub("-+", "-", anchor).rstrip("-")  # as the generator makes them of titles
        if not path:
            return f"[{label}]({anchor})"
        target = (here / path).resolve()
        inside = target.relative_to(ROOT).as_posix()
        if inside.startswith("docs/pictures/"):
            return f"{picture}[{label}]({'../' * depth}{inside.removeprefix('docs/')})"
        if inside in names:
            return f"{picture}[{label}]({'../' * depth}{names[inside]}{anchor or ''})"
        if source is not None:
            return f"{picture}[{label}]({source.rstrip('/')}/{inside}{anchor or ''})"
        return label

    parts = re.split(r"(?m)(^```.*?^```$)", text, flags=re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


# --- the reference --------------------------------------------------------------------------------


def _write_reference(folder: Path) -> None:
    """A page for each kind of what is public."""
    folder.mkdir(parents=True)
    functions, classes = [], []
    for name in titans.__all__:
        found = getattr(titans, name)
        if name in ("Archive", "hookimpl"):
            continue  # on pages of their own
        if not inspect.isclass(found):
            functions.append(f"{found.__module__}.{name}")
        elif not issubclass(found, Exception):
            classes.append(f"{found.__module__}.{name}")
    raised = []
    for name, found in vars(errors).items():
        if inspect.isclass(found) and issubclass(found, errors.TitansError):
            raised.append(f"titans.errors.{name}")

    _page(folder, "archive", "Archive", ["titans.archive.Archive"], "inherited_members: true")
    _page(folder, "functions", "Functions", functions)
    _page(folder, "values", "Values", classes)
    _page(folder, "hooks", "What a provider implements", ["titans.hookspecs"])
    _page(folder, "stores", "What a store implements", ["titans.store.ObjectStore"])
    _page(folder, "testing", "The conformance kit", ["titans.testing"])
    _page(folder, "errors", "Errors", raised)


def _page(folder: Path, name: str, title: str, objects: list[str], *options: str) -> None:
    lines = [f"# {title}", ""]
    for each in objects:
        lines.append(f"::: {each}")
        if options:
            lines += ["    options:", *(f"      {option}" for option in options)]
        lines.append("")
    (folder / f"{name}.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
