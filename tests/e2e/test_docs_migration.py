"""docs/migration.md is followed by somebody who has a bucket of the original; what it names is
there."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from original import Collector
from readme_blocks import blocks, follow

import titans
from titans.store import open_store

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "migration.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture
def bucket(reader):
    """`spotlake-old`, as the newer Azure collector left it."""
    key = ("InstanceTier", "InstanceType", "Region", "AZ")
    values = {"Score": pl.Int64, "SpotPrice": pl.Float64, "Savings": pl.Float64}
    times = {"Time": pl.Datetime("us", "UTC"), "Ceased": pl.Boolean}
    dtypes = {**dict.fromkeys(key, pl.String), **times, **values}
    collector = Collector(open_store(reader / "spotlake-old"), "azure", key, dtypes)
    for slot in range(12):
        at = datetime(2026, 1, 23, tzinfo=UTC) + timedelta(minutes=10 * slot)
        row = ("Standard", "D2s_v3", "eastus", "1", at, False, -1, 0.4, 61.53 + slot)
        collector.run(pl.DataFrame([row], schema=dtypes, orient="row"), at)
    return reader


def test_the_page_works_and_prints_what_it_says(bucket, monkeypatch, capsys):
    assert follow(PAGE, monkeypatch, capsys) == 2
    assert (bucket / "first-day/test/parquet_cp_hot/gcp/2026/01/23").is_dir()
    latest = titans.open(bucket / "spotlake-new", provider="azure").latest()
    assert latest.select("InstanceType", "AvailabilityZone", "Score", "Savings").rows() == [
        ("Standard_D2s_v3", "1", None, 72.53)
    ]


def test_the_policy_allows_what_the_page_about_stores_asks_for():
    (policy,) = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]
    asked = re.search(
        r"A policy has to allow (.*?)\. TITANS", (ROOT / "docs/stores.md").read_text(), re.DOTALL
    )
    wanted = set(re.findall(r"`(s3:\w+)`", asked[1]))
    objects, bucket = policy["Statement"]
    assert {*objects["Action"], bucket["Action"]} == wanted
    assert objects["Resource"] == bucket["Resource"] + "/*"
    assert bucket["Resource"].endswith(f":{titans.get_config('aws').titans_bucket}")
    assert {statement["Effect"] for statement in policy["Statement"]} == {"Allow"}


def test_every_test_that_the_page_names_is_there():
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", TEXT))
    assert len(named) == 5
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_a_vendored_folder_is_found_out_by_the_lines_of_the_page(reader, monkeypatch, capsys):
    """It stands before the package on the path, and has an exception of its own."""
    vendored = type("vendored", (), {})
    vendored.ConcurrencyConflictError = type("ConcurrencyConflictError", (Exception,), {})
    monkeypatch.setitem(sys.modules, "titans_common", vendored)
    (lines,) = [b for b in blocks(PAGE) if "ConcurrencyConflictError is" in b.text]
    exec(compile(lines.text, str(PAGE), "exec"), {})
    assert capsys.readouterr().out == "False\n"


def test_pages_claim_unchanged_only_where_a_test_is_named():
    """Whoever says that collectors run unchanged says what of them."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for line in page.read_text(encoding="utf-8").splitlines():
            assert not re.search(r"run unchanged", line), f"{page.name}: {line}"
