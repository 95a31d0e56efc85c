"""docs/iceberg.md, from top to bottom: its Python, and its command."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from readme_blocks import blocks

import titans
from titans.cli.app import run
from titans.iceberg.columns import type_name

PAGE = Path(__file__).resolve().parents[2] / "docs/iceberg.md"
BEGIN = datetime(2026, 1, 31, 20, tzinfo=UTC)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    archive = titans.open(tmp_path / "archive-folder", provider="aws")
    for number in range(30):
        rows = {
            "InstanceType": ["m5.large", "m5.large", "c5.large"],
            "Region": ["eu-west-1", "us-east-1", "us-east-1"],
            "AZ": ["az1", "az2", "az1"],
            "SpotPrice": [1.0 + number % 3, 0.25, 0.5 * number],
        }
        archive.ingest(pl.DataFrame(rows), BEGIN + timedelta(minutes=10 * number))
    return archive


def test_the_python_of_the_page(archive, reader, monkeypatch):
    monkeypatch.chdir(archive.store.root.parent)
    names: dict = {}
    for block in blocks(PAGE):
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(PAGE), "exec"), names)
    expected = (
        archive.changes()
        .filter(InstanceType="m5.large")
        .group_by("Region")
        .agg(pl.mean("SpotPrice"), pl.len())
    )
    assert names["prices"].equals(expected.sort("Region"))


def test_the_command_prints_what_the_page_shows(archive, capsys, monkeypatch):
    archive.store.root.rename("prices")
    (command,) = [
        line
        for block in blocks(PAGE)
        if block.language == "shell"
        for line in block.text.splitlines()
        if line.startswith("titans")
    ]
    with pytest.raises(SystemExit) as ended:
        run(command.split()[1:])
    assert ended.value.code == 0
    printed = capsys.readouterr().out.splitlines()
    (shown,) = [
        block.text.splitlines() for block in blocks(PAGE) if "changes: version" in block.text
    ]
    for said, line in zip(shown, printed, strict=True):
        assert line.partition(",")[0].split(" ")[0] == said.partition(",")[0].split(" ")[0]
        assert line.endswith(said.rpartition("/prices/")[2])


def test_the_page_names_the_dtypes_that_cannot_be_published():
    text = PAGE.read_text(encoding="utf-8")
    for dtype in titans.Schema({"v": "Int64"}).columns.values():
        assert type_name(dtype)
    from titans.dtypes import DTYPES

    missing = [dtype for dtype in DTYPES if type_name(dtype) is None]
    assert missing == ["UInt32", "UInt64"]
    assert " and ".join(f"`{dtype}`" for dtype in missing) in text
