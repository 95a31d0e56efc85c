"""What docs/format.md says of a sealed month is enough to read one without TITANS: its blocks are
run on an archive, and answer what the archive answers."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest
from readme_blocks import blocks

import titans

PAGE = Path(__file__).resolve().parents[2] / "docs/format.md"
SLOT = timedelta(minutes=10)
NINE = datetime(2026, 1, 23, 9, tzinfo=UTC)
KEY = ["InstanceType", "Region", "AZ"]
JANUARY = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
SHOWN = datetime(2026, 1, 23, 12, 5, tzinfo=UTC)
"""The time at which the page asks for the state."""
TIMES = [
    NINE,
    NINE + timedelta(minutes=5),
    NINE + timedelta(minutes=12),
    NINE + timedelta(minutes=82),  # a late slot was collected then
    SHOWN,
    datetime(2026, 1, 23, 16, tzinfo=UTC),  # where the keyframe begins
    datetime(2026, 1, 23, 16, 31, tzinfo=UTC),
    datetime(2026, 1, 31, 23, 59, tzinfo=UTC),
]


def snapshot(number):
    """Prices that move, and keys that come and go."""
    keys = [key for key in range(12) if (key + number) % 9]
    return pl.DataFrame(
        {
            "InstanceType": [f"m5.{key}" for key in keys],
            "Region": ["us-east-1"] * len(keys),
            "AZ": ["use1-az1"] * len(keys),
            "SpotPrice": [0.01 * key + 0.001 * (number // (key + 1)) for key in keys],
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Has an archive of two months, the second with a late slot among others and one before its
    first snapshot."""
    folder = tmp_path_factory.mktemp("format-page")
    with (
        patch("titans.tiers.compact.plan.FANOUTS", (8,)),
        patch("titans.tiers.compact.plan.TOP", 1),
        patch("titans.tiers.compact.plan.SMALL_ROWS", -1),
        patch("titans.tiers.compact.plan.FINAL_ROWS", 0),
        patch("titans.tiers.compact.plan.is_worth_a_keyframe", lambda rows, keys: rows > 40),
    ):
        fill(titans.open(folder / "archive-folder", provider="aws"))
    return folder


def fill(archive):
    for number in range(5):
        archive.ingest(snapshot(number), datetime(2025, 12, 31, 22, tzinfo=UTC) + number * SLOT)
    late = 8
    for number in range(1, 50):
        if number != late:
            archive.ingest(snapshot(number + 5), NINE + number * SLOT + timedelta(minutes=2))
    archive.ingest(snapshot(late + 5), NINE + late * SLOT + timedelta(minutes=2))
    archive.ingest(snapshot(5), NINE)
    for month in ("2025-12", "2026-01"):
        archive.seal(month)


@pytest.fixture
def archive(folder, reader, monkeypatch):
    monkeypatch.chdir(folder)
    return titans.open("archive-folder", provider="aws")


@pytest.fixture
def manifest(archive):
    return json.loads(Path("archive-folder/parquet_warm/aws/m8/2026/01/manifest.json").read_text())


def block_with(text):
    (block,) = [b for b in blocks(PAGE) if b.language == "python" and text in b.text]
    return block


def run(block, at):
    """The names that a block defines where it asks for another time."""
    shown = {"12, 5": f"{at.hour}, {at.minute}", "12:05:00": f"{at:%H:%M:%S}"}
    text = block.text.replace("2026, 1, 23", f"2026, 1, {at.day}")
    text = text.replace("2026-01-23", f"2026-01-{at:%d}")
    for old, new in shown.items():
        text = text.replace(old, new)
    names = {}
    exec(compile("\n" * (block.line - 1) + text, str(PAGE), "exec"), names)
    return names


def test_the_month_has_everything_that_the_page_tells_of(manifest):
    kinds = {keyframe["file"][0] for keyframe in manifest["keyframes"]}
    borders = [f["file"] for f in manifest["levels"]["3"] if f["file"].startswith("B_")]
    assert manifest["sealed"]
    assert not manifest["dirty"]
    assert kinds == {"F", "K"}
    assert len(manifest["full"]) == len(borders) == 2
    assert any("/C_" in key for key in manifest["pending_deletions"])


@pytest.mark.parametrize("at", TIMES, ids=str)
def test_duckdb_reads_what_the_page_says(archive, at):
    names = run(block_with("import duckdb"), at)
    changes = pl.DataFrame(names["changes"]).sort(*KEY, "Time")
    state = pl.DataFrame(names["state"]).sort(KEY).drop("Ceased")
    assert names["twice"].fetchall() == []
    assert changes.equals(plain(archive.changes(*JANUARY)))
    assert state.equals(plain(archive.state(at)))


@pytest.mark.parametrize("at", TIMES, ids=str)
def test_polars_reads_what_the_page_says(archive, at):
    names = run(block_with("import polars"), at)
    expected = archive.state(at)
    assert names["changes"].collect().equals(archive.changes(*JANUARY))
    assert names["state"].sort(KEY).select(expected.columns).equals(expected)


def plain(frame):
    """Times in UTC, without saying so."""
    return frame.with_columns(pl.col("Time").dt.replace_time_zone(None))


def test_the_nearest_whole_state_is_taken(archive):
    block = block_with("import polars")
    nearest = [run(block, at)["nearest"]["file"][:7] for at in TIMES]
    assert nearest == ["F_03222"] * 2 + ["F_03223"] * 2 + ["K_03240"] + ["K_03264"] * 3


def test_files_of_a_sealed_month_are_those_of_its_manifest(archive, manifest):
    listed = {Path(url).name for url in archive.files(*JANUARY)["url"]}
    assert listed == {file["file"] for level in manifest["levels"].values() for file in level}
