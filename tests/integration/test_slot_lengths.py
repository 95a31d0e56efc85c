"""Providers with slots of another length than ten minutes, from the plugin to the command line."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from attrs import evolve
from fixtures_plugins import GOOD
from oracle import PROVIDER, as_dict, at, changes, snapshot

import titans
from titans import Archive, PathLayout, plugins, run_compaction, upload_hot_tier
from titans.cli.app import run
from titans.errors import (
    ArchiveNotFoundError,
    InvalidKeyError,
    PluginError,
    ProviderMismatchError,
    TimestampError,
)
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

HOURLY = evolve(PROVIDER, layout=PathLayout(slot_minutes=60))
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
LAYOUT = """
@hookimpl
def titans_path_layout():
    return PathLayout(slot_minutes={minutes})
"""


def objects(store):
    return {e.key: store.get(e.key).data for e in store.list()}


def refused(store, provider, *parts):
    """Nothing can be asked of or written to the archive, and nothing is."""
    before, archive = objects(store), Archive(store, provider)
    for call in (
        lambda: archive.ingest(snapshot({"a": (1, 0.5)}), at(3)),
        lambda: archive.ingest(
            snapshot({"a": (1, 0.5)}), at(3) + timedelta(days=60)
        ),  # a month nobody has begun
        lambda: archive.upload(changes({"a": (1, 0.5)}), at(3)),
        lambda: archive.upload(changes({"a": (1, 0.5)}), at(3) + timedelta(days=60)),
        archive.compact,
        archive.latest,
        archive.changes,
        archive.coverage,
        archive.status,
        archive.vacuum,
        archive.repair,
    ):
        with pytest.raises(ProviderMismatchError) as caught:
            call()
        for part in (*parts, "an archive keeps the length it began with"):
            assert part in str(caught.value)
    assert objects(store) == before


def test_an_hourly_archive_counts_in_hours():
    archive = Archive(MemoryStore(), HOURLY)
    result = archive.ingest(snapshot({"a": (1, 0.5)}), datetime(2026, 1, 23, 14, 23, tzinfo=UTC))
    assert result.key == "parquet_cp_hot/small/2026/01/23/14-00.parquet"
    taken = archive.ingest(snapshot({"a": (2, 0.5)}), datetime(2026, 1, 23, 14, 59, tzinfo=UTC))
    assert taken.status == "skipped"
    archive.ingest(snapshot({"a": (3, 0.5)}), datetime(2026, 1, 23, 17, 5, tzinfo=UTC))
    assert archive.coverage().rows() == [
        (datetime(2026, 1, 23, hour, tzinfo=UTC), status)
        for hour, status in ((14, "observed"), (15, "missing"), (16, "missing"), (17, "observed"))
    ]
    (month,) = archive.status()
    assert (month.adopted, month.gaps) == (2, 2)
    manifest = json.loads(archive.store.get("parquet_warm/small/m8/2026/01/manifest.json").data)
    assert manifest["slot_minutes"] == 60
    assert manifest["adopted"] == [[22 * 24 + 14, 22 * 24 + 14], [22 * 24 + 17, 22 * 24 + 17]]
    grid = archive.grid()
    assert (grid["Time"].min(), grid["Time"].max()) == (
        datetime(2026, 1, 23, 14, tzinfo=UTC),
        datetime(2026, 1, 23, 17, tzinfo=UTC),
    )


def test_change_points_lie_in_their_hour():
    archive = Archive(MemoryStore(), HOURLY)
    rows = changes({"a": (1, 0.5)}).with_columns(Time=pl.lit(START + timedelta(minutes=59)))
    assert archive.upload(rows, START).endswith("/2026/01/01/00-00.parquet")
    with pytest.raises(
        TimestampError, match=r"outside the slot \[2026-01-01T01:00:00Z, 2026-01-01T02:00:00Z\)"
    ):
        archive.upload(rows, START + HOUR)


@pytest.mark.slow
def test_keyframes_merges_and_seals_of_a_month_of_hours():
    archive = Archive(MemoryStore(), HOURLY)
    hours = 31 * 24
    for n in range(hours):
        archive.ingest(snapshot({"a": (n, 0.5), "b": (n // 100, 1.5)}), START + n * HOUR)
    archive.seal("2026-01")
    manifest = json.loads(archive.store.get("parquet_warm/small/m8/2026/01/manifest.json").data)
    ranges = [entry["hot_range"] for entry in manifest["levels"]["3"]]
    assert sorted(ranges) == [[0, 0], [1, 743]], "a month of so few rows is one file"
    assert [k["slot"] for k in manifest["keyframes"]] == [0], "and needs no other state"
    assert manifest["sealed"]
    archive.vacuum("0s")
    for n in (0, 191, 192, 500, 743):
        assert as_dict(archive.state(START + n * HOUR)) == {"a": (n, 0.5), "b": (n // 100, 1.5)}
    assert set(archive.coverage()["status"]) == {"observed"}
    assert archive.coverage().height == hours
    assert archive.verify(deep=True).passed


@pytest.mark.parametrize("compacted", [True, False])
@pytest.mark.parametrize(
    ("began", "declares"),
    [
        (PROVIDER, HOURLY),
        (HOURLY, PROVIDER),
        (HOURLY, evolve(PROVIDER, layout=PathLayout(slot_minutes=30))),
    ],
)
def test_another_length_than_the_archive_has_is_refused(began, declares, compacted):
    archive = Archive(MemoryStore(), began)
    archive.upload(changes({"a": (1, 0.5)}), at(0))
    said = f"slots of {began.layout.slot_minutes} minutes, but provider 'small' declares {declares.layout.slot_minutes}"
    if compacted:
        archive.compact()
        refused(
            archive.store,
            declares,
            said,
            f"declare PathLayout(slot_minutes={began.layout.slot_minutes})",
        )
        return
    before, other = (
        objects(archive.store),
        Archive(archive.store, declares),
    )  # no manifest yet; the hot file says it
    for call in (
        other.latest,
        other.compact,
        lambda: other.ingest(snapshot({"a": (1, 0.5)}), at(7)),
        lambda: other.upload(changes({"a": (1, 0.5)}), at(7)),
    ):
        with pytest.raises(ProviderMismatchError, match=said):
            call()
    assert objects(archive.store) == before


def test_hot_files_between_the_slots_of_a_provider_are_named(caplog):
    archive = Archive(MemoryStore(), PROVIDER)
    archive.upload(changes({"a": (1, 0.5)}), at(1))
    hourly = Archive(archive.store, HOURLY)
    with pytest.raises(ArchiveNotFoundError, match="31/22-10.parquet, which is none of its"):
        hourly.latest()
    assert "22-10.parquet is not at the start of a slot of 60 minutes" in caplog.text
    with pytest.raises(ProviderMismatchError, match="22-10.parquet has slots of 10 minutes"):
        hourly.upload(changes({"a": (1, 0.5)}), at(6))


def test_an_archive_that_says_nothing_has_slots_of_ten_minutes():
    archive = Archive(MemoryStore(), PROVIDER)
    archive.ingest(snapshot({"a": (1, 0.5)}), at(0))
    key = "parquet_warm/small/m8/2026/01/manifest.json"
    manifest = json.loads(archive.store.get(key).data)
    for name in ("slot_minutes", "schemas", "casts"):
        del manifest[name]
    archive.store.replace(key, json.dumps(manifest).encode(), archive.store.get(key).etag)
    refused(archive.store, HOURLY, "slots of 10 minutes, but provider 'small' declares 60")
    assert (
        Archive(archive.store, PROVIDER).ingest(snapshot({"a": (2, 0.5)}), at(1)).status
        == "ingested"
    )
    assert json.loads(archive.store.get(key).data)["slot_minutes"] == 10


def test_an_earlier_month_begun_later_has_the_length_of_the_others():
    archive = Archive(MemoryStore(), HOURLY)
    archive.ingest(snapshot({"a": (1, 0.5)}), START + timedelta(days=400))
    with pytest.raises(ProviderMismatchError, match="slots of 60 minutes"):
        Archive(archive.store, PROVIDER).ingest(snapshot({"a": (1, 0.5)}), START)
    assert archive.ingest(snapshot({"a": (1, 0.5)}), START).status == "ingested"


@pytest.mark.parametrize(
    "minutes", ["7", "0", "-10", "0.5", "10.0", "True", "1441", "'60'", "None"]
)
def test_an_invalid_length_is_refused_when_the_plugin_is_loaded(site, minutes):
    site.add(GOOD + LAYOUT.format(minutes=minutes))
    with pytest.raises(PluginError) as caught:
        plugins.load("acme")
    for part in (
        "titans_path_layout",
        "whole number of minutes that divides a day (1440)",
        f"got {minutes}",
    ):
        assert part in str(caught.value)


@pytest.fixture
def hourly(site, tmp_path, monkeypatch):
    """The provider `acme`, with slots of an hour, and a folder."""
    module = site.add(GOOD + LAYOUT.format(minutes=60))
    folder = tmp_path / "archive"
    monkeypatch.setenv("TITANS_STORE", str(folder))
    return site.folder / f"{module}.py", folder


def prices(**of):
    return pl.DataFrame({"Type": list(of), "Price": list(of.values())})


def test_the_functions_of_a_collector_follow_the_length(hourly):
    _, folder = hourly
    moment = datetime(2026, 1, 23, 14, 23, tzinfo=UTC)
    key = upload_hot_tier(prices(a=1.0), moment, provider="acme")
    assert key == "parquet_cp_hot/acme/2026/01/23/14-00.parquet"
    run_compaction(key, moment, provider="acme")
    assert titans.open(folder, provider="acme").latest()["Price"].to_list() == [1.0]
    with pytest.raises(InvalidKeyError, match="at the start of a slot of 60 minutes"):
        run_compaction(key.replace("14-00", "14-20"), moment, provider="acme")


def call(capsys, *args):
    with pytest.raises(SystemExit) as done:
        run(list(args))
    said = capsys.readouterr()
    return done.value.code, said.out + said.err


@pytest.mark.slow
def test_the_command_line_follows_the_length_and_says_when_it_changed(
    hourly, capsys, tmp_path, site
):
    source, folder = hourly
    for hour in range(3):
        table = tmp_path / f"{hour}.parquet"
        prices(a=1.0 + hour).write_parquet(table)
        code, out = call(
            capsys, "upload", str(table), "--at", f"2026-01-23T{14 + hour}:40Z", "-p", "acme"
        )
        assert (code, out.strip()) == (0, f"parquet_cp_hot/acme/2026/01/23/{14 + hour}-00.parquet")
    assert call(capsys, "compact", "-p", "acme")[0] == 0
    code, out = call(capsys, "coverage", "-p", "acme", "--format", "csv")
    assert code == 0
    assert out.count("changes") == 3
    assert call(capsys, "verify", "--deep", "-p", "acme")[0] == 0

    site.forget()
    source.write_text(source.read_text().replace("slot_minutes=60", "slot_minutes=120"))
    plugins.clear()
    before = objects(LocalStore(folder))
    table = str(tmp_path / "0.parquet")
    for args in (
        ["latest"],
        ["status"],
        ["compact"],
        ["upload", table, "--at", "2026-01-23T20:00Z"],
        ["verify"],
        ["repair"],
    ):
        code, _ = call(capsys, *args, "-p", "acme")
        assert "slots of 60 minutes, but provider 'acme' (acme-titans 1.0) declares 120" in str(
            code
        ), args
        assert "declare PathLayout(slot_minutes=60), or begin another archive" in str(code)
    assert objects(LocalStore(folder)) == before
