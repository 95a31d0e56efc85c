"""Files and manifests say who wrote them, and nothing else depends on it."""

import json
import logging
from io import BytesIO

import polars as pl
import pytest
from attrs import evolve
from oracle import PROVIDER, at, changes, snapshot

import titans
from titans import Archive
from titans.slots import Month
from titans.store.memory import MemoryStore
from titans.tiers.files import writers as module
from titans.tiers.files.parquet import metadata_of
from titans.tiers.files.writers import writer_of
from titans.tiers.manifest.commit import read_head

MANIFEST = "parquet_warm/small/m8/2026/01/manifest.json"
PACKAGED = evolve(PROVIDER, distribution="titans-small", version="2.3")
A, B = (1, 0.5), (2, 1.5)


@pytest.fixture(autouse=True)
def host(monkeypatch):
    """A machine with names that stand nowhere else; what is known of it is not kept."""
    monkeypatch.delenv("TITANS_ACTOR", raising=False)
    monkeypatch.setattr("socket.gethostname", lambda: "host-7e1f")
    monkeypatch.setattr("getpass.getuser", lambda: "user-93ab")
    module._user_at_host.cache_clear()
    yield
    module._user_at_host.cache_clear()


@pytest.fixture
def as_actor(monkeypatch):
    return lambda name: monkeypatch.setenv("TITANS_ACTOR", name)


@pytest.fixture
def archive():
    return Archive(MemoryStore(), PACKAGED)


def everything(archive):
    """Each way to write: snapshots, uploads, late ones, merges, seals, repairs."""
    for n in (0, 1, 3, 2, 4, 5, 6, 7, 9, 8):
        archive.ingest(snapshot({"a": (n, 0.5), "b": B}), at(n))
    archive.upload(changes({"c": A}), at(11))
    archive.upload(pl.DataFrame(), at(10), complete=True)
    archive.compact()
    archive.seal("2026-01")
    archive.store.delete(MANIFEST)
    archive.repair()
    archive.ingest(snapshot({"a": A}), at(13), max_ceased=1.0)
    archive.vacuum("0s")


def objects(archive):
    return {entry.key: archive.store.get(entry.key).data for entry in archive.store.list("")}


def runs(archive):
    found = archive.writers()
    return [
        ((row["first"] - at(0)).seconds // 600, row["slots"], row["actor"])
        for row in found.rows(named=True)
    ]


# --- what is stored -------------------------------------------------------------------------------


def test_files_and_commits_carry_who_wrote_them(archive):
    key = archive.ingest(snapshot({"a": A}), at(0)).key
    said = {"actor": "user-93ab@host-7e1f", "titans": titans.__version__}
    said["provider"] = "titans-small 2.3"
    assert json.loads(archive.store.get(MANIFEST).data)["writer"] == said
    metadata = metadata_of(archive.store.get(key).data, key)
    assert (metadata["writers"], metadata["written"]) == ([said], [[0, 1]])
    assert read_head(archive._dataset, Month(2026, 1)).manifest.writer == writer_of(PACKAGED)


@pytest.mark.parametrize("name", ["collector-eu", ""])
def test_no_host_and_no_user_is_stored_where_an_actor_is_named(archive, as_actor, name):
    as_actor(name)
    everything(archive)
    stored = objects(archive)
    assert len(stored) > 5
    assert [key for key, data in stored.items() if b"7e1f" in data or b"93ab" in data] == []
    assert set(archive.writers()["actor"]) == {name}
    assert any(b'"actor"' in data for data in stored.values())


def test_else_they_are_stored_and_found(archive):
    everything(archive)
    assert any(b"user-93ab@host-7e1f" in data for data in objects(archive).values())
    assert set(archive.writers()["actor"]) == {"user-93ab@host-7e1f"}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("two\nlines \t and more ", "two lines and more"),
        ("x" * 1000, "x" * 200),
        ("수집기-1", "수집기-1"),
        ("\udcff", "?"),
        ('"}', '"}'),
    ],
)
def test_any_name_can_be_stored(archive, as_actor, monkeypatch, name, kept):
    as_actor("unset")
    monkeypatch.setattr("os.environ", {"TITANS_ACTOR": name})
    archive.ingest(snapshot({"a": A}), at(0))
    archive.compact()
    assert archive.writers()["actor"].to_list() == [kept]


def test_a_user_without_a_name_stops_nobody(archive, monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr("getpass.getuser", nameless)
    archive.ingest(snapshot({"a": A}), at(0))
    assert archive.writers()["actor"].to_list() == ["unknown@host-7e1f"]


# --- who wrote which slots ------------------------------------------------------------------------


def test_writers_are_told_in_runs_before_and_after_merges(archive, as_actor):
    for n, name in enumerate("AAABAACCCCCB"):
        as_actor(name)
        archive.upload(changes({"a": (n, 0.5)}), at(n if n < 11 else 13))
    expected = [(0, 3, "A"), (3, 1, "B"), (4, 2, "A"), (6, 5, "C"), (13, 1, "B")]
    assert runs(archive) == expected
    as_actor("compactor")
    archive.compact()
    assert runs(archive) == expected
    archive.seal("2026-01")
    assert runs(archive) == expected
    archive.store.delete(MANIFEST)
    archive.repair()
    archive.compact()
    assert runs(archive) == expected
    assert archive.verify(deep=True).passed
    assert json.loads(archive.store.get(MANIFEST).data)["writer"]["actor"] == "compactor"


def test_earlier_writers_are_unknown(archive, as_actor):
    as_actor("A")
    archive.upload(changes({"a": A}), at(0))
    original = changes({"a": B}).select("k", pl.lit(at(1)).alias("Time"), "v", "w", "Ceased")
    out = BytesIO()
    original.write_parquet(out)
    archive.store.create(f"parquet_cp_hot/small/{at(1):%Y/%m/%d/%H-%M}.parquet", out.getvalue())
    archive.upload(changes({"a": A}), at(2))
    expected = [(0, 1, "A"), (1, 1, None), (2, 1, "A")]
    assert runs(archive) == expected
    archive.seal("2026-01")
    assert runs(archive) == expected
    row = archive.writers().row(1, named=True)
    assert (row["titans"], row["provider"]) == (None, None)


def test_a_merged_file_does_not_grow_with_its_slots(archive, as_actor):
    as_actor("n" * 150)
    for n in range(12):
        archive.upload(changes({"a": (n, 0.5)}), at(n))
    archive.seal("2026-01")
    archive.vacuum("0s")
    for key, data in objects(archive).items():
        assert data.count(b"n" * 150) <= 1, key
    (merged,) = [key for key in objects(archive) if "/L" in key]
    assert metadata_of(archive.store.get(merged).data, merged)["written"] == [[0, 12]]


def test_a_manifest_names_one_writer_however_many_there_are(archive, as_actor):
    for n in range(9):
        as_actor(f"actor-{n}-")
        archive.ingest(snapshot({"a": (n, 0.5)}), at(n))
    data = archive.store.get(MANIFEST).data
    assert data.count(b"actor-") == 1
    assert b"actor-8-" in data


# --- nothing follows from it ----------------------------------------------------------------------


def test_contents_do_not_depend_on_the_writer(as_actor):
    results = []
    for name in ("one", "another, much longer"):
        as_actor(name)
        archive = Archive(MemoryStore(), PACKAGED)
        everything(archive)
        manifest = read_head(archive._dataset, Month(2026, 1)).manifest
        hashes = [(f.level, f.slots, f.hash) for f in manifest.files]
        results.append((hashes, archive.changes().rows(), archive.coverage().rows()))
    assert results[0] == results[1]


@pytest.mark.parametrize("is_merged", [False, True])
def test_the_same_again_by_somebody_else_is_already_there(archive, as_actor, caplog, is_merged):
    as_actor("A")
    key = archive.upload(changes({"a": A}), at(0), complete=True)
    ingested = archive.ingest(snapshot({"a": B}), at(1))
    if is_merged:
        archive.seal("2026-01")
        archive.vacuum("0s")
    as_actor("B")
    with caplog.at_level(logging.WARNING):
        again = archive.upload(changes({"a": A}), at(0), complete=True, on_conflict="error")
        assert again == key
        assert archive.ingest(snapshot({"a": B}), at(1)).status == "already"
    assert not [r for r in caplog.records if "already holds" in r.message]
    assert ingested.status == "ingested"
    assert runs(archive) == [(0, 2, "A")]


@pytest.mark.parametrize(
    "writers",
    [
        {"writers": [], "written": [[0, 1]]},
        {"writers": [{"actor": "x", "titans": "1", "provider": ""}], "written": [[0, 2]]},
        {"writers": [{"actor": "x", "titans": "1", "provider": ""}], "written": []},
        {"writers": [{"actor": 7, "titans": "1", "provider": ""}], "written": [[0, 1]]},
        {"writers": [{"actor": "x", "titans": "1", "provider": ""}], "written": [[-2, 1]]},
    ],
)
def test_what_no_writer_wrote_is_refused(writers):
    with pytest.raises((KeyError, TypeError, ValueError)):
        module.writers_from_json(writers, 1)
