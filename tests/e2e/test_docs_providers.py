"""docs/providers.md is followed by somebody who has its packages installed; its reference is that
of the code."""

import inspect
import re
import sys
import zipfile
from pathlib import Path

import pytest
from processes import build
from readme_blocks import blocks, follow

from titans import plugins
from titans.hookspecs import ProviderSpec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "providers.md"
OTHERS = ("## Schema version 2", "## Hourly slots")
"""Sections about other versions of the plugin than the one that the page installs."""


@pytest.fixture
def install(reader, monkeypatch):
    """Builds a package of the page from what it shows, and puts it where an installer would. What
    is installed so far."""
    source, dist = reader / "shown", reader / "dist"
    for block in blocks(PAGE):
        if block.name.startswith("titans-"):
            (source / block.name).parent.mkdir(parents=True, exist_ok=True)
            (source / block.name).write_text(block.text)

    def installed(package):
        build(source / package, dist, "--wheel")
        (wheel,) = dist.glob(f"{package.replace('-', '_')}-*.whl")
        with zipfile.ZipFile(wheel) as files:
            files.extractall(reader / "site" / package)
        monkeypatch.syspath_prepend(str(reader / "site" / package))
        plugins.clear()

    yield installed
    for module, loaded in list(sys.modules.items()):
        if (getattr(loaded, "__file__", None) or "").startswith(str(reader)):
            del sys.modules[module]
    plugins.clear()


def test_the_page_works_and_prints_what_it_says(install, reader, monkeypatch, capsys):
    assert follow(PAGE, monkeypatch, capsys, install, without=OTHERS) >= 7
    assert (reader / "archive-folder/parquet_warm/newcloud/m8/2026/01/manifest.json").is_file()


def test_every_hook_has_an_entry_with_its_signature():
    headings = re.findall(
        r"^### `(titans_\w+)(.*)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    hooks = {
        name: str(inspect.signature(getattr(ProviderSpec, name)))
        .replace("'", "")
        .replace("(self, ", "(")
        .replace("(self)", "()")
        for name in vars(ProviderSpec)
        if name.startswith("titans_")
    }
    assert headings == list(hooks.items())


def test_links_within_the_page_lead_to_headings():
    text = PAGE.read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    linked = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert linked
    assert linked <= anchors
