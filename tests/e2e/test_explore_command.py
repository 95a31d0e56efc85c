"""`titans explore`, as somebody types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import polars as pl
import pytest

import titans
from titans.cli.app import run

pytest.importorskip("titans_explorer", reason="titans-explorer is not installed")

TITANS = Path(sys.executable).with_name("titans")


@pytest.fixture
def explore(market):
    """Starts the command; what it prints first, and the process."""
    started = []

    def start(*options):
        command = [TITANS, "explore", "--store", market, "--port", "0", *options]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process.stdout.readline().strip(), process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def refused(capsys):
    """What a command line that is refused says."""

    def call(*arguments):
        with pytest.raises(SystemExit) as done:
            run(["explore", *map(str, arguments)])
        told = capsys.readouterr().err
        return f"{told}{done.value.code}"

    return call


def fetch(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return answer.read().decode()


def test_it_says_where_to_look_and_answers_there(explore):
    told, _ = explore()
    address = re.fullmatch(r"Look at it: (http://127\.0\.0\.1:\d+/)", told)[1]
    assert "<title>TITANS</title>" in fetch(address)
    store = json.loads(fetch(f"{address}api/store"))
    assert [each["provider"] for each in store["archives"]] == ["aws", "gcp"]


def test_it_stops_quietly_when_it_is_told_to(explore):
    _, process = explore()
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert "Traceback" not in out + err


def test_where_others_reach_it_the_address_has_a_token(explore):
    told, _ = explore("--host", "0.0.0.0")
    token = re.search(r"\?token=(\S{20,})$", told)[1]
    port = re.search(r":(\d+)/", told)[1]
    address = f"http://127.0.0.1:{port}"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        fetch(f"{address}/api/store")
    assert "aws" in fetch(f"{address}/api/store", authorization=f"Bearer {token}")


def test_a_store_without_an_archive_is_named_and_a_provider_that_nobody_has(tmp_path, refused):
    command = [TITANS, "explore", "--store", tmp_path / "nothing", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("Look at it: ")
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert "no archive here yet" in err
    assert "Unknown provider 'nope'" in refused("--store", tmp_path, "--port", "0", "-p", "nope")


def test_the_demo_ends_with_the_line_that_starts_it(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(["demo", "--slots", "2", "--keys", "20", "--folder", str(tmp_path / "demo")])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(f"titans explore --store {tmp_path / 'demo'}")


def test_a_port_that_is_taken_is_named(explore, refused, market):
    told, _ = explore()
    port = re.search(r":(\d+)/", told)[1]
    assert f"port {port}" in refused("--store", market, "--port", port)


def test_a_range_belongs_to_a_still_copy(refused, market):
    assert "--static" in refused("--store", market, "--from", "2026-01-30")


def test_a_still_copy_is_the_page_with_its_data(market, tmp_path, capsys):
    site = tmp_path / "site"
    with pytest.raises(SystemExit) as done:
        run(["explore", "--store", str(market), "--static", str(site)])
    assert not done.value.code
    assert "2 archive(s)" in capsys.readouterr().out
    assert 'name="titans-still"' in (site / "index.html").read_text()
    data = json.loads((site / "data/aws.json").read_text())
    archive = titans.open(market, provider="aws")
    assert len(data["points"]["time"]) == archive.changes().height
    parquet = pl.read_parquet(site / "data/aws-changes.parquet")
    assert parquet.equals(archive.changes())
    told = "".join(file.read_text() for file in (site / "data").glob("*.json"))
    assert str(market.parent) not in told


def test_a_still_copy_of_a_part_begins_with_what_held(market, tmp_path):
    from datetime import UTC, datetime

    from titans_explorer.still import write_still

    start, end = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    write_still(market, tmp_path / "site", providers=["aws"], start=start, end=end)
    data = json.loads((tmp_path / "site/data/aws.json").read_text())
    archive = titans.open(market, provider="aws")
    held = archive.state("2026-01-30T23:59:59.999999Z").height
    assert len(data["points"]["time"]) == held + archive.changes(start, end).height
    assert data["about"]["first"] == round(start.timestamp() * 1000)


def test_a_still_copy_writes_over_nothing(market, tmp_path, refused):
    (tmp_path / "file").write_text("mine")
    assert "is there" in refused("--store", market, "--static", tmp_path)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_archive_that_a_page_cannot_hold_is_not_copied(market, tmp_path, refused, monkeypatch):
    monkeypatch.setattr("titans_explorer.still._ROWS", 10)
    told = refused("--store", market, "--static", tmp_path / "site")
    assert "--from and --to" in told
    assert not (tmp_path / "site").exists()


def test_a_store_without_an_archive_is_not_copied(tmp_path, refused):
    told = refused("--store", tmp_path / "nothing", "--static", tmp_path / "site")
    assert "no archive" in told
