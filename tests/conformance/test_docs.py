"""docs/testing.md names every check, in the words of the kit, and what it shows works."""

import inspect
import re
from pathlib import Path

from readme_blocks import blocks

from titans.testing import ProviderConformance, StoreConformance
from titans.testing._declaration import EVENTS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "testing.md"


def summary(check):
    """The first paragraph of a check's docstring, on one line."""
    return " ".join(inspect.getdoc(check).partition("\n\n")[0].split())


def test_the_tables_are_the_checks():
    rows = dict(
        re.findall(r"^\| `(test_\w+)` \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    )
    checks = {**ProviderConformance.checks, **StoreConformance.checks}
    assert rows == {name: summary(check) for name, check in checks.items()}


def test_the_lines_of_the_page_work(capsys):
    names, printed = {}, ""
    for block in blocks(PAGE):
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(PAGE), "exec"), names)
            printed = capsys.readouterr().out
        elif block.language == "text" and printed:
            assert printed == block.text
    assert printed
    assert {"TestNewcloud", "TestTides", "TestNumbered", "TestAcme", "TestAcmeServer"} <= set(names)


def test_plugins_are_asked_about_every_event_there_is():
    """Those of docs/operations.md, which lists all of them, and one that is not there."""
    table = (
        (DOCS / "operations.md")
        .read_text(encoding="utf-8")
        .partition("## Events")[2]
        .partition("\n## ")[0]
    )
    first_cells = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    documented = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert set(EVENTS) == documented | {"an_event_of_a_later_version"}
