"""Iceberg tables beside an archive: what is published, who may be interrupted, and what is left."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from oracle import PROVIDER, UPGRADED, at, changes, snapshot
from original import Collector
from pyiceberg.table import StaticTable
from reading_iceberg import assert_published, by_polars, by_pyiceberg, objects, referred
from schema_versions import V1, V2, first, second

import titans
from titans import Archive, Provider, Schema
from titans.errors import (
    ArchiveNotFoundError,
    FormatError,
    InputError,
    OutcomeUnknown,
    PluginError,
)
from titans.iceberg.versions import Place, Version
from titans.store import open_store
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

BY = ["k", "Time"]


class Hooked(LocalStore):
    """A store in which something happens before and after its calls."""

    before = staticmethod(lambda *_: None)
    after = staticmethod(lambda *_: None)

    def create(self, key, data):
        self.before("create", key)
        etag = super().create(key, data)
        self.after("create", key)
        return etag

    def replace(self, key, data, etag):
        self.before("replace", key)
        etag = super().replace(key, data, etag)
        self.after("replace", key)
        return etag

    def delete(self, key):
        self.before("delete", key)
        super().delete(key)
        self.after("delete", key)


@pytest.fixture
def archive(tmp_path):
    archive = Archive(Hooked(tmp_path / "store"), PROVIDER)
    for slot in range(6):
        archive.ingest(snapshot({"a": (slot, 0.5), "b": (slot // 2, 1.5)}), at(slot))
    return archive


def version(archive):
    return Version.newest(Place.of(archive._dataset, "changes")).number


# --- what is published ----------------------------------------------------------------------------


def test_nothing_is_copied_and_nothing_is_written_twice(archive):
    done = archive.publish_iceberg()
    assert_published(archive, done)
    assert not any(name.startswith("data/") for name in objects(archive))
    before = {entry.key: entry.etag for entry in archive.store.list("iceberg/")}

    again = archive.publish_iceberg()

    assert again.unchanged
    assert again.changes.location == done.changes.location
    assert {entry.key: entry.etag for entry in archive.store.list("iceberg/")} == before


@pytest.mark.parametrize(
    "condition", ["k == 'a'", "v >= 3", "Time >= '2026-01-31T22:30:00+00:00'", "Ceased == false"]
)
def test_conditions_prune_and_are_exact(archive, condition):
    archive.ingest(snapshot({"b": (1, 0.5)}), at(13), max_ceased=1.0)
    done = archive.publish_iceberg()
    expected = archive.sql(f"select * from changes where {condition}")

    table = StaticTable.from_metadata(done.changes.location)
    found = pl.from_arrow(table.scan(condition).to_arrow())

    assert found.height == expected.height
    assert 0 < found.height < archive.changes().height
    if "Time" not in condition and "k" not in condition:
        return
    planned = list(table.scan("Time >= '2026-02-01T00:00:00+00:00'").plan_files())
    assert len(planned) < done.changes.files


def test_a_month_that_did_not_change_keeps_its_manifest(archive):
    archive.ingest(snapshot({"a": (9, 0.5)}), at(13), max_ceased=1.0)
    first_, _ = archive.publish_iceberg().changes, archive.seal("2026-01")
    january = {name for name in objects(archive) if name.endswith("2026-01.avro")}
    archive.publish_iceberg()
    archive.ingest(snapshot({"a": (8, 0.5)}), at(14), max_ceased=1.0)
    kept = referred(archive, version(archive)) & objects(archive)

    done = archive.publish_iceberg()

    assert first_.changed == ("2026-01", "2026-02")
    assert done.changes.changed == ("2026-02",)
    assert_published(archive, done)
    sealed = {name for name in kept if name.endswith("2026-01.avro")}
    assert sealed <= referred(archive, version(archive))
    assert sealed.isdisjoint(january)


def test_waiting_files_and_late_slots_are_part_of_it(archive):
    archive.upload(changes({"c": (7, 2.5), "a": None}), at(8, 4))
    assert_published(archive, archive.publish_iceberg())
    archive.ingest(snapshot({"a": (3, 0.5)}), at(7), max_ceased=1.0)
    archive.upload(changes({"b": (4, 2.5)}), at(2, 4))
    archive.upload(changes({"b": (5, 2.5)}), at(-3, 4))
    assert_published(archive, archive.publish_iceberg())
    archive.compact()
    assert_published(archive, archive.publish_iceberg())


def test_a_full_snapshot_whose_border_no_file_says_yet(archive):
    archive.ingest(snapshot({"a": (9, 0.5), "c": (1, 1.0)}), at(12), max_ceased=1.0)
    archive.upload(changes({"b": (7, 2.5)}), at(11, 4))  # reaches on into February
    done = archive.publish_iceberg()
    assert_published(archive, done)
    assert any(name.startswith("data/") and "2026-02" in name for name in objects(archive))

    archive.compact()
    archive.seal("2026-01")
    assert_published(archive, archive.publish_iceberg())


def test_files_of_an_original_writer_are_read_as_what_they_mean(tmp_path):
    store = LocalStore(tmp_path / "store")
    dtypes = {"k": pl.String, "Time": pl.Datetime("us"), "v": pl.Int32, "w": pl.Float32}
    collector = Collector(store, "small", ["k"], {**dtypes, "Ceased": pl.Boolean})
    for slot in range(11):
        moment = at(slot, 2).replace(tzinfo=None)
        rows = [("a", moment, slot, 0.5, False), ("b", moment, 1, 1.5, slot == 4)]
        collector.run(pl.DataFrame(rows, schema=list(collector.dtypes), orient="row"), at(slot, 2))
    archive = Archive(store, PROVIDER)
    assert_published(archive, archive.publish_iceberg())
    archive.compact()
    assert_published(archive, archive.publish_iceberg())


def test_rows_that_two_files_repeat_count_once(archive):
    moment = at(3)
    rows = pl.DataFrame(
        [("a", moment, 77, 0.5, False), ("z", moment, 1, 0.5, False)],
        schema={"k": pl.String, "Time": pl.Datetime("us", "UTC"), "v": pl.Int64, "w": pl.Float64}
        | {"Ceased": pl.Boolean},
        orient="row",
    )
    path = archive.store.local_path("parquet_cp_hot/small/2026/01/31/23-30.parquet")
    rows.write_parquet(path)  # an original writer's, with the time of another slot
    assert archive.changes().filter(k="a", Time=moment).height == 1

    done = archive.publish_iceberg()

    assert_published(archive, done)


@pytest.mark.parametrize(("old", "new", "in_place"), [(V1, V2, True), (PROVIDER, UPGRADED, False)])
def test_files_of_an_earlier_schema(tmp_path, old, new, in_place):
    made = first if old is V1 else snapshot
    archive = Archive(LocalStore(tmp_path / "store"), old)
    for slot in range(3):
        archive.ingest(made({"a": (slot, 0.5), "b": (1, 1.5)}), at(slot))
    assert_published(archive, archive.publish_iceberg())

    archive = Archive(archive.store, new)
    done = archive.publish_iceberg()
    assert_published(archive, done)
    copied = {name for name in referred(archive, done.changes.version) if name[:4] == "data"}
    assert bool(copied) != in_place

    if old is V1:
        archive.ingest(second({"a": (7, 0.25, "x")}), at(5), max_ceased=1.0)
        assert_published(archive, archive.publish_iceberg())


EVERY = {
    "bin": "Binary",
    "bool": "Boolean",
    "date": "Date",
    "when": "Datetime",
    "f32": "Float32",
    "f64": "Float64",
    "i8": "Int8",
    "i16": "Int16",
    "i32": "Int32",
    "i64": "Int64",
    "json": "Json",
    "text": "String",
    "u8": "UInt8",
    "u16": "UInt16",
    "small": "Decimal(4, 2)",
    "medium": "Decimal(17, 3)",
    "large": "Decimal(38, 10)",
}


def test_every_dtype_is_what_it_was(tmp_path):
    provider = Provider("all", Schema(EVERY, score="i64", nullable=tuple(EVERY)), ("k", "l"))
    archive = titans.open(tmp_path / "store with a space", provider=provider)
    first_row = {
        "bin": b"\x00\xff",
        "bool": True,
        "date": date(1931, 2, 3),
        "when": datetime(1931, 2, 3, 4, 5, 6, 7, UTC),
        "f32": 0.1,
        "f64": 1e300,
        "i8": -128,
        "i16": -(1 << 15),
        "i32": -(1 << 31),
        "i64": -(1 << 63),
        "json": '{"a":[1,2]}',
        "text": "é\u0000'\n한",
        "u8": 255,
        "u16": 65535,
        "small": Decimal("-12.34"),
        "medium": Decimal("12345678901234.567"),
        "large": Decimal("1234567890123456789012345678.0123456789"),
    }
    nothing = dict.fromkeys(EVERY)
    dtypes = dict(provider.schema_dtypes)
    schema = {name: dtypes[name] for name in ("k", "l", *EVERY)}
    rows = [{"k": "é한", "l": "\U0001f600", **first_row}, {"k": "", "l": "b", **nothing}]
    archive.ingest(pl.DataFrame(rows, schema=schema), at(0))
    assert_published(archive, archive.publish_iceberg())


@pytest.mark.parametrize("dtype", ["UInt32", "UInt64"])
def test_a_dtype_that_iceberg_has_no_type_for_is_refused(tmp_path, dtype):
    provider = Provider("small", Schema({"v": dtype}), ("k",))
    archive = titans.open(tmp_path, provider=provider)
    archive.ingest(pl.DataFrame({"k": ["a"], "v": [1]}), at(0))
    with pytest.raises(InputError, match=f"'v' of provider 'small' is {dtype}"):
        archive.publish_iceberg()
    assert not list(archive.store.list("iceberg/"))


def test_what_cannot_be_published_says_why(tmp_path):
    with pytest.raises(ArchiveNotFoundError):
        Archive(LocalStore(tmp_path), PROVIDER).publish_iceberg()
    inside = Archive(MemoryStore(), PROVIDER)
    inside.ingest(snapshot({"a": (1, 0.5)}), at(0))
    with pytest.raises(InputError, match="cannot be read by other engines"):
        inside.publish_iceberg()


class NoPyiceberg:
    """As if it were not installed."""

    def find_spec(self, name, *_):
        if name.partition(".")[0] == "pyiceberg":
            raise ModuleNotFoundError(f"No module named {name!r}", name="pyiceberg")


def test_without_pyiceberg_it_says_what_to_install(archive, monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] == "pyiceberg" or name.startswith("titans.iceberg."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoPyiceberg(), *sys.meta_path])
    with pytest.raises(PluginError, match=r"pip install 'titans-core\[iceberg\]'"):
        archive.publish_iceberg()


# --- interruptions --------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


def killing(number, wrote):
    """Ends the process at its `number`-th write: before it, or after it."""
    left = iter(range(number, -1, -1))

    def hook(*_):
        if next(left) == 0:
            raise Killed

    return {"after" if wrote else "before": hook}


@pytest.mark.parametrize("wrote", [False, True])
def test_killed_at_any_write_the_next_one_makes_it_good(tmp_path, wrote):
    for number in range(60):
        folder = tmp_path / str(number)
        archive = Archive(Hooked(folder), PROVIDER)
        for slot in range(3):
            archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot))
        archive.publish_iceberg(grace="0s")
        archive.upload(changes({"b": (1, 2.5)}), at(5, 4))
        archive.publish_iceberg(grace="0s")
        archive.ingest(snapshot({"a": (9, 0.5)}), at(3))

        hooks = killing(number, wrote)
        for name, hook in hooks.items():
            setattr(archive.store, name, hook)
        try:
            archive.publish_iceberg(grace="0s")
        except Killed:
            is_killed = True
        else:
            is_killed = False
        archive = Archive(Hooked(folder), PROVIDER)
        newest = Version.newest(Place.of(archive._dataset, "changes"))
        location = f"file://{folder}/iceberg/small/changes/metadata/v{newest.number}.metadata.json"
        by_pyiceberg(location, archive.changes(), BY)  # whatever is published can be read

        archive.ingest(snapshot({"a": (10, 0.5)}), at(4))
        done = archive.publish_iceberg(grace="0s")
        assert_published(archive, done)
        archive.ingest(snapshot({"a": (11, 0.5)}), at(6))
        done = archive.publish_iceberg(grace="0s")
        last = done.changes.version
        needed = referred(archive, last) | referred(archive, last - 1)
        hint = {"metadata/version-hint.text"}
        assert objects(archive) == needed | hint
        if not is_killed:
            break
    else:
        raise AssertionError("it never came to an end")
    assert number > 6


@pytest.mark.parametrize("wrote", [False, True])
def test_an_answer_that_is_lost(archive, wrote):
    archive.publish_iceberg()
    archive.ingest(snapshot({"a": (9, 0.5)}), at(7), max_ceased=1.0)
    lost = []

    def hook(call, key):
        if key.endswith(".metadata.json") and "/changes/" in key and not lost:
            lost.append(key)
            raise OutcomeUnknown("no answer", key=key)

    setattr(archive.store, "after" if wrote else "before", hook)
    done = archive.publish_iceberg()
    assert lost
    assert done.changes.version == 2
    assert_published(archive, done)


def test_whoever_is_overtaken_looks_again(archive):
    """Another one publishes, and the archive goes on, before each of our writes."""
    other = Archive(LocalStore(archive.store.root), PROVIDER)
    slots = iter(range(6, 12))
    said = {}

    def overtaken(call, key):
        if not key.startswith("iceberg/small/changes/"):
            return
        slot = next(slots, None)
        if slot is not None:
            done = other.publish_iceberg()
            said[done.changes.location] = other.changes()
            other.ingest(snapshot({"a": (slot, 9.5)}), at(slot), max_ceased=1.0)

    archive.store.before = overtaken
    done = archive.publish_iceberg()

    assert_published(archive, done)
    assert done.changes.version >= len(said) == 6
    for location, expected in said.items():
        assert by_pyiceberg(location, expected, BY).equals(expected)
    heights = [expected.height for expected in said.values()]
    assert heights == sorted(heights)


# --- versions -------------------------------------------------------------------------------------


def test_a_hint_that_is_old_missing_or_nonsense(archive):
    archive.publish_iceberg()
    archive.ingest(snapshot({"a": (9, 0.5)}), at(7), max_ceased=1.0)
    archive.publish_iceberg()
    path = archive.store.local_path("iceberg/small/changes/metadata/version-hint.text")
    for text in ("1", "99", "", "x"):
        path.write_text(text)
        done = archive.publish_iceberg()
        assert done.unchanged
        assert done.changes.version == 2
        assert path.read_text() == "2" or text == "99"
    path.unlink()
    assert archive.publish_iceberg().changes.version == 2
    assert path.read_text() == "2"


def test_what_somebody_else_put_there_is_not_touched(archive):
    key = "iceberg/small/changes/metadata/v1.metadata.json"
    archive.store.create(key, b'{"format-version": 2, "properties": {}}')
    with pytest.raises(FormatError, match="was written by something else"):
        archive.publish_iceberg()
    archive.store.delete(key)
    archive.store.create(key, b"[")
    with pytest.raises(FormatError, match="is no metadata of a table"):
        archive.publish_iceberg()


def test_versions_expire_with_the_grace_period(archive):
    versions = []
    for slot in range(7, 12):
        archive.ingest(snapshot({"a": (slot, 0.5), "b": (1, 1.5)}), at(slot))
        versions.append((archive.publish_iceberg().changes.location, archive.changes()))
    for location, expected in versions:  # all within the hour
        assert by_pyiceberg(location, expected, BY).equals(expected)
    metadata = json.loads(Path(versions[-1][0].removeprefix("file://")).read_text())
    assert len(metadata["snapshots"]) == 5

    archive.ingest(snapshot({"a": (99, 0.5), "b": (1, 1.5)}), at(12))
    done = archive.publish_iceberg(grace="0s")
    metadata = json.loads(Path(done.changes.location.removeprefix("file://")).read_text())

    assert len(metadata["snapshots"]) == 1
    assert done.changes.removed
    needed = referred(archive, 6) | referred(archive, 5)
    assert objects(archive) == needed | {"metadata/version-hint.text"}
    assert_published(archive, done)


def test_a_reader_of_the_version_before_is_not_broken(archive):
    before = archive.publish_iceberg().changes.location, archive.changes()
    for slot in range(6, 12):
        archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot), max_ceased=1.0)
    archive.compact()
    archive.publish_iceberg()
    archive.vacuum()
    assert by_polars(before[0], before[1], BY).equals(before[1])


def test_an_archive_that_was_moved_is_published_anew(archive, tmp_path):
    uuid = archive.publish_iceberg().changes.uuid
    shutil.move(archive.store.root, tmp_path / "elsewhere")
    archive = Archive(LocalStore(tmp_path / "elsewhere"), PROVIDER)
    done = archive.publish_iceberg()
    assert "elsewhere" in done.changes.location
    assert done.changes.uuid == uuid
    assert_published(archive, done)


def test_what_was_erased_leaves_the_tables(archive):
    archive.publish_iceberg()
    archive.erase([{"k": "b"}], reason="asked to")
    done = archive.publish_iceberg(grace="0s")
    assert_published(archive, done)
    assert "b" not in archive.changes()["k"]


# --- following, catalogs, stores ------------------------------------------------------------------


def test_publishing_follows_what_is_ingested_and_compacted(archive, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="titans")
    monkeypatch.setenv("TITANS_PUBLISH", "iceberg")
    archive.ingest(snapshot({"a": (9, 0.5)}), at(7), max_ceased=1.0)
    assert version(archive) == 1
    key = archive.upload(changes({"b": (1, 2.5)}), at(8, 4))
    assert version(archive) == 1
    archive.compact(key)
    assert version(archive) == 2
    assert_published(archive, archive.publish_iceberg())
    told = [record.message for record in caplog.records if "published" in record.message]
    assert len(told) == 2


def test_following_hurts_nobody(archive, monkeypatch, caplog):
    monkeypatch.setenv("TITANS_PUBLISH", "delta")
    with caplog.at_level(logging.WARNING):
        assert archive.ingest(snapshot({"a": (9, 0.5)}), at(7), max_ceased=1.0).added == 0
    assert "TITANS_PUBLISH='delta'" in caplog.text


@pytest.fixture
def catalog(tmp_path):
    sql = pytest.importorskip("pyiceberg.catalog.sql", reason="sqlalchemy is not installed")
    catalog = sql.SqlCatalog("local", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse="file:///w")
    yield catalog
    catalog.close()


def test_a_catalog_has_the_newest_version(archive, catalog):
    archive.publish_iceberg(catalog=catalog)
    assert catalog.load_table("titans.small_changes").scan().to_arrow().num_rows == 9
    archive.ingest(snapshot({"a": (9, 0.5)}), at(7), max_ceased=1.0)
    archive.publish_iceberg(catalog=catalog)
    archive.publish_iceberg(catalog=catalog)  # unchanged
    found = catalog.load_table("titans.small_changes")
    assert found.scan().to_arrow().num_rows == archive.changes().height
    assert found.metadata.last_sequence_number == 2
    assert catalog.load_table("titans.small_latest").scan().to_arrow().num_rows >= 1


def test_a_name_that_belongs_to_another_table_is_refused(archive, catalog, tmp_path):
    other = Archive(LocalStore(tmp_path / "other"), PROVIDER)
    other.ingest(snapshot({"a": (9, 0.5)}), at(7))
    other.publish_iceberg(catalog=catalog)
    with pytest.raises(InputError, match="'titans.small_changes' is another table"):
        archive.publish_iceberg(catalog=catalog)
    archive.publish_iceberg(catalog=catalog, namespace="mine")
    assert catalog.load_table("mine.small_changes").scan().to_arrow().num_rows == 9


def test_a_catalog_that_nobody_configured(archive):
    with pytest.raises(InputError, match="pyiceberg knows no catalog 'nowhere'"):
        archive.publish_iceberg(catalog="nowhere")


def test_on_s3(seaweed_bucket, seaweed):
    store = open_store(f"s3://{seaweed_bucket.name}/prices", s3_client=seaweed_bucket.client)
    archive = Archive(store, PROVIDER)
    for slot in range(10):
        archive.ingest(snapshot({"a": (slot, 0.5), "b": (1, 1.5)}), at(slot))
    archive.upload(changes({"b": (7, 2.5)}), at(2, 4))
    archive.publish_iceberg()
    done = archive.publish_iceberg()
    assert done.unchanged
    assert done.changes.location.startswith(f"s3://{seaweed_bucket.name}/prices/iceberg/small/")

    options = {
        "s3.endpoint": seaweed.endpoint,
        "s3.access-key-id": seaweed.access_key,
        "s3.secret-access-key": seaweed.secret_key,
        "s3.region": "us-east-1",
    }
    table = StaticTable.from_metadata(done.changes.location, options)
    expected = archive.changes()
    found = pl.from_arrow(table.scan().to_arrow()).with_columns(
        pl.col("Time").dt.convert_time_zone("UTC")
    )
    assert found.select(expected.columns).sort(BY).equals(expected)


def test_the_metadata_is_small_beside_the_data(tmp_path):
    archive = titans.open(tmp_path / "store", provider=PROVIDER)
    names = [f"key-{number:05d}" for number in range(20_000)]
    for slot in range(30):
        values = [number * 7 + slot * (number % 3) for number in range(len(names))]
        frame = pl.DataFrame({"k": names, "v": values, "w": [v / 7 for v in values]})
        archive.ingest(frame, at(slot))
        archive.publish_iceberg(grace="0s")
    published = sum(entry.size for entry in archive.store.list("iceberg/"))
    kept = sum(entry.size for entry in archive.store.list("parquet_"))
    assert published < kept / 50
