"""What the documentation shows works, and its links lead somewhere."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from readme_blocks import blocks, follow, type_in

import titans

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
KOREAN = ROOT / "README.ko.md"
PAGES = [
    README,
    KOREAN,
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "core/README.md",
    *sorted(ROOT.glob("plugins/*/README.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]
COMMANDS = {"make", "pip", "python", "export", "titans"}
FOLLOWED = {
    "README.md",
    "README.ko.md",  # shows the same code
    "core/README.md",
    "docs/collectors.md",
    "docs/corrections.md",
    "docs/ingesting.md",
    "docs/stores.md",
    "docs/tour.md",
    "plugins/aws/README.md",
    "plugins/azure/README.md",
    "plugins/gcp/README.md",
}
"""Pages whose Python blocks and `titans` lines are run here."""
RUN_ELSEWHERE = {
    "docs/engines.md": "tests/e2e/test_engines_page.py, tests/integration/test_backfill.py and test_spark.py",
    "docs/compatibility.md": "tests/unit/test_compatibility.py",
    "docs/explorer.md": "tests/e2e/test_explore_pages.py",
    "docs/cookbook.md": "tests/e2e/test_cookbook.py",
    "docs/iceberg.md": "tests/e2e/test_iceberg_page.py",
    "docs/files.md": "tests/e2e/test_files_page.py",
    "docs/first-hour.md": "tests/e2e/test_explore_pages.py",
    "docs/format.md": "tests/e2e/test_format_page.py",
    "docs/performance.md": "tests/e2e/test_trace.py",
    "docs/migration.md": "tests/e2e/test_docs_migration.py",
    "docs/providers.md": "tests/e2e/test_docs_providers.py and test_providers_page.py",
    "docs/testing.md": "tests/conformance/test_docs.py",
    "plugins/explorer/README.md": "tests/e2e/test_explore_pages.py",
}
NOT_RUN = {
    "docs/operations.md": "its two commands look at a bucket",
}


def test_the_readme_works_and_prints_what_it_says(reader, monkeypatch, capsys):
    assert follow(README, monkeypatch, capsys) == 3
    assert (reader / "archive-folder/parquet_warm/aws/m8/2026/01/manifest.json").is_file()
    assert (reader / "changes.csv").read_text().count("\n") == 5


def test_the_page_on_corrections_works_and_prints_what_it_says(reader, monkeypatch, capsys):
    assert follow(ROOT / "docs/corrections.md", monkeypatch, capsys) == 2


def test_the_tour_works_and_prints_what_it_says(reader, monkeypatch, capsys):
    assert follow(ROOT / "docs/tour.md", monkeypatch, capsys) >= 6
    assert (reader / "archive-folder/parquet_warm/aws/m8/2026/01/manifest.json").is_file()
    assert (reader / "changes.csv").read_text().count("\n") == 5
    assert (reader / "replayed").is_dir()


def test_the_page_about_collectors_works_and_prints_what_it_says(reader, monkeypatch, capsys):
    assert follow(ROOT / "docs/collectors.md", monkeypatch, capsys) == 3
    assert list((reader / "collector-folder").rglob("14-20.parquet"))


def test_the_page_about_files_works_and_prints_what_it_says(reader, monkeypatch, capsys):
    item = {"InstanceType": "m5.large", "Region": "us-east-1", "AZ": "use1-az1"}
    repository = reader / "prices-repository"
    repository.mkdir()
    (repository / "data.json").write_text(json.dumps({"items": [item | {"SpotPrice": 0.5}]}))
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "collected"]):
        subprocess.run(["git", *author, *command], cwd=repository, check=True)
    assert follow(ROOT / "docs/ingesting.md", monkeypatch, capsys) == 2
    assert titans.open(reader / "from-git", provider="aws").latest()["SpotPrice"].to_list() == [0.5]


def test_the_page_about_stores_works(reader, monkeypatch, capsys):
    follow(ROOT / "docs/stores.md", monkeypatch, capsys)
    assert list(reader.iterdir()) == []  # opening a store writes nothing


def test_the_lines_of_the_core_work(reader, monkeypatch, capsys):
    follow(ROOT / "core/README.md", monkeypatch, capsys)
    assert list(reader.rglob("*.parquet"))


@pytest.mark.parametrize("name", ["aws", "azure", "gcp"])
def test_the_lines_of_a_provider_work(name, reader, monkeypatch, capsys):
    page = ROOT / f"plugins/{name}/README.md"
    follow(page, monkeypatch, capsys)
    assert f"pip install titans-{name} 'titans-core[cli]'" in page.read_text(encoding="utf-8")


def test_another_output_than_shown_is_noticed(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(
        AssertionError, match=r"page\.md:6: this is not what the block above prints"
    ):
        follow(page, monkeypatch, capsys)


def test_a_command_that_fails_is_noticed(reader, monkeypatch):
    with pytest.raises(AssertionError, match="titans latest --provider nope"):
        type_in("titans latest --provider nope --store x", monkeypatch)


def test_every_page_that_shows_code_is_run():
    """A new page, or a block in a page that had none, does not stay unchecked."""
    shown = {
        str(page.relative_to(ROOT))
        for page in PAGES
        for block in blocks(page)
        if block.language == "python" or "titans " in block.text and block.language == "shell"
    }
    assert shown == FOLLOWED | RUN_ELSEWHERE.keys() | NOT_RUN.keys()


def test_every_shell_line_is_one_we_know():
    lines = [
        line
        for page in PAGES
        for b in blocks(page)
        if b.language == "shell"
        for line in b.text.splitlines()
    ]
    assert sum(line.startswith("titans ") for line in lines) >= 8
    assert {line.split()[0] for line in lines} <= COMMANDS


def test_the_korean_page_shows_the_same_code():
    def code(page):
        return [(b.language, b.name, b.text) for b in blocks(page)]

    assert code(KOREAN) == code(README)


def test_the_korean_page_has_the_same_parts():
    def parts(page):
        outside = re.sub(
            r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        return [
            (
                len(h),
                len(re.findall(r"^\|", text, re.MULTILINE)),
                len(re.findall(r"^(?:-|\d+\.) ", text, re.MULTILINE)),
            )
            for h, text in re.findall(
                r"^(#+) [^\n]*\n(.*?)(?=^#|\Z)", outside, re.MULTILINE | re.DOTALL
            )
        ]

    assert parts(KOREAN) == parts(README)
    assert len(parts(README)) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


def test_every_block_of_json_is_json():
    shown = 0
    for page in PAGES:
        for block in blocks(page):
            if block.language == "json":
                json.loads(block.text)
                shown += 1
    assert shown
