"""What a store holds, and what is wrong with it when nobody looks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from fixtures_stores import SEAWEED
from oracle import PROVIDER, at, changes, snapshot
from prometheus_client.parser import text_string_to_metric_families

import titans
import titans.plugins
from titans import Archive, Provider, Schema
from titans.cli.app import run
from titans.errors import StoreError
from titans.holdings.check import check_archive
from titans.holdings.prometheus import METRICS, exposition
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.store.s3 import S3Store
from titans.tiers.maintain.verified import Verified, keep_verified, read_verified

ROWS = pl.DataFrame({"InstanceType": ["n1", "n2"], "Region": ["r", "r"], "SpotPrice": [0.5, None]})
DAY = timedelta(days=1)


@pytest.fixture
def store(monkeypatch):
    """An installed provider in both environments, and one that is not installed."""
    store = MemoryStore()
    gcp = titans.open(store, provider="gcp")
    for slot in range(3):
        gcp.ingest(ROWS, at(slot))
    monkeypatch.setenv("TITANS_ENV", "test")
    titans.open(store, provider="gcp").ingest(ROWS.head(1), at(0))
    monkeypatch.delenv("TITANS_ENV")
    small = Archive(store, PROVIDER)
    small.ingest(snapshot({"a": (1, 0.5), "<b>": (3, 0.25)}), at(0))
    small.ingest(snapshot({"a": (2, 0.5), "<b>": (3, 0.25)}), at(2))
    small.compact()
    return store


def facts(found, provider, environment=""):
    (each,) = [a for a in found.archives if (a.provider, a.environment) == (provider, environment)]
    return each


# --- the catalog ----------------------------------------------------------------------------------


def test_every_archive_of_every_environment_is_found(store):
    found = titans.catalog(store, now=at(3))
    names = [(each.environment, each.provider, each.installed) for each in found.archives]
    assert names == [("", "gcp", True), ("", "small", False), ("test/", "gcp", True)]
    assert str(found) == "memory://: gcp, small, test/gcp"
    assert all(each.problem == "" for each in found.archives)


def test_what_is_known_of_an_archive(store):
    found = facts(titans.catalog(store, now=at(3)), "gcp")
    assert (found.months, found.keys, found.sealed, found.waiting) == (1, 2, 0, 0)
    assert (found.first, found.last, found.every) == (at(0), at(2), timedelta(minutes=10))
    assert (found.is_late, found.gaps) == (False, 0)
    assert facts(titans.catalog(store, now=at(4)), "gcp").is_late
    price = next(column for column in found.columns if column.name == "SpotPrice")
    assert (price.null_share, price.least, price.greatest) == (0.5, "0.5", "0.5")
    assert price.unit == titans.open(store, provider="gcp").provider.schema.units["SpotPrice"]
    region = next(column for column in found.columns if column.name == "Region")
    assert (region.is_key, region.least, region.greatest) == (True, "r", "r")


def test_an_archive_whose_provider_is_not_installed_is_described_by_its_manifest(store):
    found = facts(titans.catalog(store, now=at(3)), "small")
    assert not found.installed
    assert (found.keys, found.gaps, found.schema_version) == (2, 1, 1)
    columns = {
        column.name: (column.dtype, column.least, column.greatest) for column in found.columns
    }
    assert columns == {
        "k": ("String", "<b>", "a"),
        "v": ("Int64", "2", "3"),
        "w": ("Float64", "0.25", "0.5"),
    }


def test_one_that_cannot_be_read_hides_no_other(store):
    keys = [key for key in store._objects if key.endswith("manifest.json")]
    small = next(key for key in keys if "/small/" in key)
    store._put(small, b"{")
    store._put("parquet_cp_hot/nobody/2026/01/23/14-20.parquet", b"x")
    found = titans.catalog(store, now=at(3))
    assert "manifest" in facts(found, "small").problem
    assert "install its package" in facts(found, "nobody").problem
    assert facts(found, "gcp").problem == ""


def test_a_catalog_is_a_frame_json_and_a_page(store):
    found = titans.catalog(store, now=at(3))
    frame = found.to_frame()
    assert frame.height == 3
    assert frame.schema["every"] == pl.Duration("us")
    plain = json.loads(json.dumps(found.to_json()))
    assert [each["provider"] for each in plain["archives"]] == ["gcp", "small", "gcp"]
    assert plain["archives"][0]["every"] == 600
    for text in (found.to_html(), found._repr_html_()):
        assert "<script" not in text
        assert "&lt;b&gt;" in text
        assert "<b>" not in text
    assert found.to_html().startswith("<!doctype html>")


def test_an_empty_store_holds_nothing():
    found = titans.catalog(MemoryStore())
    assert found.archives == ()
    assert found.to_frame().height == 0
    assert "no archive" in str(found)
    assert "holds no archive" in found.to_html()


def test_a_provider_that_keeps_its_archive_elsewhere_is_found(monkeypatch, store):
    layout = titans.PathLayout(
        "elsewhere/hot/{provider}", "elsewhere/warm/{provider}", "elsewhere/state/{provider}"
    )
    own = Provider("gcp", Schema({"SpotPrice": "Float64"}), ("k",), layout=layout)
    load = titans.plugins.load
    monkeypatch.setattr(
        "titans.holdings.places.load", lambda name: own if name == "gcp" else load(name)
    )
    place = MemoryStore()
    Archive(place, own).ingest(pl.DataFrame({"k": ["a"], "SpotPrice": [1.0]}), at(0))
    found = titans.catalog(place, now=at(1))
    assert [(each.provider, each.keys) for each in found.archives] == [("gcp", 1)]


# --- the check ------------------------------------------------------------------------------------


def checked(archive, now, since=None):
    return check_archive(archive, now, since or now - DAY)


def names(check):
    return [fault.name for fault in check.faults]


@pytest.fixture
def archive():
    archive = Archive(MemoryStore(), PROVIDER)
    for slot in range(6):
        archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot))
    return archive


def store_now():
    return datetime.now(UTC)


def test_nothing_is_wrong_with_what_is_fresh(archive):
    check = checked(archive, at(6))
    assert check.passed
    assert (check.last, check.gaps, check.waiting, check.orphans) == (at(5), 0, 0, 0)


def test_silence_is_noticed(archive):
    assert names(checked(archive, at(7, 1))) == ["late"]
    assert "2026-01-31T22:50:00Z" in checked(archive, at(7, 1)).faults[0].text
    empty = checked(Archive(MemoryStore(), PROVIDER), at(0))
    assert names(empty) == ["late"]


def test_an_upload_that_waits_counts_as_seen_and_is_noticed_after_an_hour(archive):
    archive.upload(changes({"a": (9, 0.5)}), at(6))
    archive.upload(changes({"a": (9, 0.5)}), at(7))
    check = checked(archive, at(8))
    assert (check.last, names(check)) == (at(7), [])
    later = store_now() + timedelta(hours=2)
    found = checked(archive, later)
    assert found.waiting == 2
    assert "waiting" in names(found)


def test_gaps_since_a_time_are_noticed(archive):
    archive.ingest(snapshot({"a": (9, 0.5)}), at(9))
    check = checked(archive, at(10))
    assert (check.gaps, names(check)) == (3, ["gaps"])
    assert checked(archive, at(10), since=at(7)).gaps == 2
    assert checked(archive, at(10), since=at(9)).passed


def test_months_that_stay_open_are_noticed(archive):
    archive.ingest(snapshot({"a": (9, 0.5)}), at(12 + 5 * 144))
    now = at(12 + 5 * 144 + 1)
    assert "unsealed" in names(checked(archive, now))
    archive.seal("2026-01")
    assert "unsealed" not in names(checked(archive, now))


def test_what_no_manifest_names_is_noticed_after_an_hour(archive):
    archive.store._put("parquet_warm/small/m8/2026/01/L1_0099_00001-00002.parquet", b"x")
    assert checked(archive, at(6)).orphans == 0
    found = checked(archive, store_now() + timedelta(hours=2))
    assert found.orphans == 1
    assert "orphans" in names(found)


def test_a_verification_that_failed_is_remembered_until_one_passes(archive):
    assert archive.verify(record=True).passed
    assert checked(archive, at(6)).verified.passed
    key = max(key for key in archive.store._objects if key.startswith("parquet_cp_hot"))
    blob = archive.store._objects.pop(key)
    assert not archive.verify(record=True).passed
    found = checked(archive, at(6))
    assert names(found) == ["verify"]
    assert found.verified.failures >= 1
    archive.store._objects[key] = blob
    archive.verify(record=True, deep=True)
    assert checked(archive, at(6)).passed
    assert checked(archive, at(6)).verified.deep


def test_what_a_verification_found_is_no_object_of_the_archive(archive):
    archive.verify(record=True)
    report = archive.verify(deep=True)
    assert (report.foreign, report.orphans) == ((), 0)
    archive.vacuum("0s")
    assert read_verified(archive._dataset) is not None
    archive.store._put(archive.paths.verified_key, b"[")
    assert read_verified(archive._dataset) is None
    keep_verified(archive._dataset, Verified(at(0), False, True, 0))
    assert read_verified(archive._dataset).at == at(0)


def test_a_store_that_takes_no_writes_can_be_verified(archive, monkeypatch, caplog):
    def refused(*_):
        raise StoreError("access denied")

    monkeypatch.setattr(MemoryStore, "create", refused)
    assert archive.verify(record=True).passed
    assert "is not kept: access denied" in caplog.text


def test_an_archive_that_cannot_be_read_is_a_fault(archive):
    key = archive.paths.manifest_key(archive.status()[0].month)
    archive.store._put(key, b"{")
    assert names(checked(archive, at(6))) == ["unreadable"]


@SEAWEED
def test_a_check_takes_six_requests(seaweed_bucket, seaweed_client):
    archive = Archive(S3Store(seaweed_bucket.name, "check", client=seaweed_client), PROVIDER)
    for slot in (*range(6), 20, 21):
        archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot))
    archive.verify(record=True)
    seen = []

    def record(params, model, **_):
        seen.append(model.name)

    seaweed_client.meta.events.register("before-call.s3", record)
    check = checked(Archive(archive.store, PROVIDER), at(22), since=at(20))
    seaweed_client.meta.events.unregister("before-call.s3", record)
    assert check.passed
    assert check.verified is not None
    assert len(seen) <= 6, seen


def test_prometheus_reads_what_a_check_found(archive):
    archive.verify(record=True)
    checks = [checked(archive, at(6)), checked(archive, at(9))]
    families = {f.name: f for f in text_string_to_metric_families(exposition(checks))}
    assert set(families) == {metric.name for metric in METRICS}
    late = families["titans_late"].samples
    assert [sample.value for sample in late] == [0, 1]
    assert late[0].labels == {"provider": "small", "environment": ""}
    seen = families["titans_last_observed_timestamp_seconds"].samples[0]
    assert seen.value == at(5).timestamp()


# --- the commands ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("STORE", "PROVIDER", "ENV"):
        monkeypatch.delenv(f"TITANS_{name}", raising=False)
    archive = titans.open(LocalStore(tmp_path / "data"), provider="gcp")
    for slot in (0, 1, 12, 13):
        archive.ingest(ROWS, at(slot))
    return str(tmp_path / "data")


@pytest.fixture
def call(capfd):
    def call(*arguments):
        with pytest.raises(SystemExit) as done:
            run(list(arguments))
        out, err = capfd.readouterr()
        code = done.value.code
        if isinstance(code, str):  # the message that the process would end with
            return 1, out, code
        return int(code or 0), out, err

    return call


def test_the_commands_say_what_is_there_and_what_is_wrong(folder, call, tmp_path):
    code, out, _ = call("catalog", "--store", folder, "--format", "json")
    assert (code, json.loads(out)["archives"][0]["keys"]) == (0, 2)
    code, out, _ = call("catalog", "--store", folder, "--format", "csv")
    assert out.splitlines()[1].startswith("gcp,")
    code, out, _ = call("catalog", "--store", folder)
    assert "change points" in out
    page = tmp_path / "catalog.html"
    assert call("catalog", "--store", folder, "--format", "html", "--out", str(page))[0] == 0
    assert page.read_text().startswith("<!doctype html>")

    code, out, _ = call(
        "check", "--store", folder, "--now", "2026-02-01T00:20Z", "--gaps-since", "2026-02-01"
    )
    assert (code, out.strip()) == (0, "gcp: ok, observed last at 2026-02-01 00:10Z")
    code, out, _ = call("check", "--store", folder, "-p", "gcp", "--now", "2026-02-09")
    assert code == 1
    assert [line.split(": ")[1] for line in out.splitlines()] == ["late", "unsealed"]
    code, out, _ = call("check", "--store", folder, "--format", "prometheus")
    assert (code, "titans_late" in out) == (1, True)
    code, out, _ = call("check", "--store", folder, "--format", "json")
    assert json.loads(out)[0]["is_late"]


def test_the_newest_months_come_first(folder, call):
    _, out, _ = call("status", "--store", folder, "--format", "json")
    assert [(row["Archive"], row["Month"]) for row in json.loads(out)] == [
        ("gcp", "2026-02"),
        ("gcp", "2026-01"),
    ]
    _, out, _ = call("status", "--store", folder, "-p", "gcp", "--format", "json")
    assert [row["Month"] for row in json.loads(out)] == ["2026-02", "2026-01"]


@pytest.mark.parametrize("command", ["check", "status"])
def test_an_empty_store_is_said_to_be_empty(command, call, tmp_path):
    code, _, err = call(command, "--store", str(tmp_path / "nothing"))
    assert (code, "holds no archive" in err) == (1, True)
