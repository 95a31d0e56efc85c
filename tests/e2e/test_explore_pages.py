"""The pages about the explorer: what they tell you to do works, and ends in a picture."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import polars as pl
import pytest
from fixtures_explorer import make_market
from readme_blocks import blocks, type_in

import titans
from titans.cli.app import cli

pytest.importorskip("titans_explorer", reason="titans-explorer is not installed")

ROOT = Path(__file__).resolve().parents[2]
FIRST_HOUR = ROOT / "docs/first-hour.md"
PAGES = (
    ROOT / "docs/explorer.md",
    ROOT / "plugins/explorer/README.md",
    ROOT / "README.md",
    ROOT / "README.ko.md",
)


def lines(page):
    return [line for b in blocks(page) if b.language == "shell" for line in b.text.splitlines()]


def started(line):
    """What the command prints first, and the process."""
    command = [Path(sys.executable).with_name("titans"), *shlex.split(line)[1:], "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process.stdout.readline(), process


def fetch(address):
    with urllib.request.urlopen(address, timeout=20) as answer:
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def first_hour(tmp_path_factory):
    """The folder of somebody who followed the page up to the server, and what answers there."""
    folder = tmp_path_factory.mktemp("first-hour")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("TITANS_STORE", "TITANS_PROVIDER"):
            patch.delenv(name, raising=False)
        told, process = "", None
        for line in lines(FIRST_HOUR):
            words = shlex.split(line)
            if words[0] == "python":
                script = ROOT / words[1]
                subprocess.run(
                    [sys.executable, script, *words[2:]], check=True, capture_output=True
                )
            elif words[:2] == ["titans", "explore"] and "--static" not in words:
                told, process = started(line)
            elif words[0] == "titans":
                type_in(line, patch)
        yield folder, told.split()[-1]
        process.terminate()
        process.communicate(timeout=20)


def test_the_first_hour_ingests_a_history_by_one_command(first_hour):
    folder, _ = first_hour
    archive = titans.open(folder / "from-git", provider="aws")
    assert archive.coverage()["status"].to_list().count("observed") == 240
    assert archive.changes().height < 240 * archive.latest().height / 3


def test_the_first_hour_ends_with_a_key_that_was_sold_out(first_hour):
    folder, address = first_hour
    archive = titans.open(folder / "from-git", provider="aws")
    keys = fetch(f"{address}api/aws/keys?q=a1")
    key = "|".join(keys["rows"][0][:3])
    (chart,) = fetch(f"{address}api/aws/lines?key={key}&column=SpotPrice")["charts"]
    (line,) = chart["lines"]
    assert None in line["v"][1:-1]
    region = "|".join(["*", keys["rows"][0][1], "*"])
    (median,) = fetch(f"{address}api/aws/group?key={region}&column=SpotPrice")["charts"]
    latest = archive.latest(Region=keys["rows"][0][1])["SpotPrice"]
    assert median["lines"][0]["median"][-1] == pytest.approx(latest.median(), rel=0.1)


def test_the_first_hour_ends_with_a_copy_as_files(first_hour):
    folder, _ = first_hour
    assert (folder / "site/index.html").is_file()
    assert pl.read_parquet(folder / "site/data/aws-changes.parquet").height > 1000


def test_the_copy_of_the_explorers_page_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_market(tmp_path / "archive-folder")
    (line,) = [line for line in lines(PAGES[0]) if "--static" in line]
    type_in(line, monkeypatch)
    assert (tmp_path / "site/data/aws.json").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_of_a_page_is_one_of_the_command(page):
    command = cli.get_command(None, "explore").make_context("explore", [], resilient_parsing=True)
    known = {
        option for param in command.command.params for option in param.opts + param.secondary_opts
    }
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"titans explore[^`\n]*", text):
        assert set(re.findall(r"--[\w-]+", line)) <= known, line


def test_the_history_in_git_is_made_by_its_line(tmp_path, monkeypatch):
    (line,) = lines(ROOT / "examples/git-history/README.md")
    words = shlex.split(line)
    script = [sys.executable, ROOT / words[1], tmp_path / words[2], "--hours", "5", "--keys", "30"]
    subprocess.run(script, check=True, capture_output=True)
    log = subprocess.run(
        ["git", "-C", tmp_path / words[2], "log", "--format=%cI", "--", "data/prices.json"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert log.stdout.splitlines()[-1].startswith("2026-01-12T00:00:00")
    assert log.stdout.count("\n") == 5
    again = subprocess.run(script, check=False, capture_output=True, text=True)
    assert "is there" in again.stderr
