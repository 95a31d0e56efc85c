"""The documentation site: it builds without a warning, and everything public is in its reference."""

import subprocess
import sys
from pathlib import Path

import pytest
from readme_blocks import blocks

import titans
from titans import errors

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("zensical", reason="the generator of the site is not installed")
    out = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, DOCS / "site/build.py", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "No issues found" in done.stdout + done.stderr
    return out


def test_every_page_is_there_and_in_the_navigation(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    for path in DOCS.rglob("*.md"):
        page = path.relative_to(DOCS).with_suffix(".html").as_posix()
        assert (site / page).is_file()
        assert f'{page}"' in index, f"{page} is not in the navigation of zensical.toml"


def test_everything_public_is_in_the_reference(site):
    reference = "".join(
        path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html")
    )
    for name in titans.__all__:
        assert f">{name}<" in reference or f".{name}" in reference, name
    for name in vars(titans.Archive):
        if not name.startswith("_"):
            assert f'id="titans.archive.Archive.{name}"' in reference, name
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, errors.TitansError):
            assert f'id="titans.errors.{name}"' in reference, name


def test_no_page_loads_anything_from_elsewhere(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for outside in ('src="http', "fonts.googleapis", 'rel="stylesheet" href="http'):
            assert outside not in text, path


@pytest.mark.parametrize("page", ["first-hour", "concepts"])
def test_a_korean_page_shows_the_same_code(page):
    english = [block.text for block in blocks(DOCS / f"{page}.md")]
    korean = [block.text for block in blocks(DOCS / f"ko/{page}.md")]
    assert korean == english


def test_links_inside_and_outside(tmp_path):
    command = [sys.executable, "-c", LINKS, str(DOCS / "site"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text = (tmp_path / "docs/operations.md").read_text(encoding="utf-8")
    assert done.stdout == ""
    assert "](https://somewhere.example/main/examples" in text
    assert "](../" not in text


LINKS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import build
build.stage(Path(sys.argv[2]), "https://somewhere.example/main/")
"""
