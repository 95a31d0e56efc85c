"""A package that the core has never heard of goes the full way."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import titans
import titans_common
from titans.errors import UnknownProviderError

START = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)


def test_it_is_ingested_compacted_and_read(newcloud, tmp_path):
    archive = titans.open(tmp_path, provider=newcloud)
    snapshots = list(archive.provider.example(seed=3, keys=30, slots=20))
    for n, snapshot in enumerate(snapshots):
        archive.ingest(snapshot, START + n * timedelta(minutes=10))
    carried: dict = {}
    for n, snapshot in enumerate(snapshots):
        for row in snapshot.to_dicts():
            key = (row["flavor"], row["zone"])
            free = carried.get(key, (None, None))[1] if row["free"] == -1 else row["free"]
            carried[key] = (row["usd_per_hour"], free)
        state = archive.state(START + n * timedelta(minutes=10))
        assert {
            (r["Flavor"], r["Zone"]): (r["Price"], r["Free"]) for r in state.to_dicts()
        } == carried
    assert [m.levels for m in archive.status()] == [{0: 3, 1: 1, 3: 1}, {0: 3, 1: 1, 3: 1}]
    assert (tmp_path / "parquet_warm/newcloud/m8/2026/01/manifest.json").is_file()


def test_its_collector_uses_the_facade(newcloud, tmp_path):
    config = titans_common.get_config(newcloud)
    assert (config.name, config.pk_columns, config.score_column) == (
        "newcloud",
        ["Flavor", "Zone"],
        "Free",
    )
    rows = pl.DataFrame(
        {"flavor": ["n1"], "zone": ["a"], "usd_per_hour": [0.5], "free": [3], "Time": [START]}
    )
    gone = pl.DataFrame({"flavor": ["n2"], "zone": ["a"]})
    both = titans_common.prepare_for_upload(rows, gone)
    key = titans_common.upload_hot_tier(both, START, newcloud, store=tmp_path)
    titans_common.run_compaction(key, START, newcloud, store=tmp_path)
    assert key == "parquet_cp_hot/newcloud/2026/01/31/22-00.parquet"
    assert titans.open(tmp_path, provider=newcloud).latest().rows() == [("n1", "a", START, 0.5, 3)]


def test_it_is_gone_when_its_package_is(newcloud, monkeypatch):
    import sys

    from titans import plugins

    assert newcloud in {info.name for info in plugins.installed()}
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("newcloud")])
    plugins.clear()
    with pytest.raises(UnknownProviderError, match="pip install titans-newcloud"):
        titans.get_config(newcloud)
