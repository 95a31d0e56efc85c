"""Archives, datasets and providers go to other processes: spawn, joblib, Dask."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor

import boto3
import pytest
import spawned
from attrs import evolve
from fixtures_plugins import GOOD
from oracle import PROVIDER, UPGRADED, at, snapshot

import titans
from titans import Archive, plugins
from titans.dataset import Dataset
from titans.errors import InputError, StoreError, UnknownProviderError
from titans.store import open_store
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore


def again(value):
    return pickle.loads(pickle.dumps(value))


def no_wait(attempt: int) -> None:
    """Goes by its name to other processes."""


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", [PROVIDER, UPGRADED])
def test_a_provider_made_by_hand_is_the_same_afterwards(provider):
    assert again(provider) == provider
    assert again(provider.schema) == provider.schema
    assert again(provider.as_of(PROVIDER.schema)) == provider.as_of(PROVIDER.schema)


@pytest.mark.parametrize("name", ["aws", "azure", "gcp"])
def test_an_installed_provider_still_has_its_hooks(name):
    provider = titans.get_config(name)
    found = again(provider)
    assert found == provider
    expected = next(provider.example(seed=1, keys=3, slots=1))
    assert next(found.example(seed=1, keys=3, slots=1)).equals(expected)
    assert found.normalize(expected).equals(provider.normalize(expected))


def test_a_provider_that_is_not_installed_there(site):
    site.add(GOOD)
    sent = pickle.dumps(plugins.load("acme"))
    site.forget()
    for info in site.folder.glob("*.dist-info"):
        info.rename(info.with_suffix(".gone"))
    plugins.clear()
    with pytest.raises(UnknownProviderError, match=r"'acme'.*pip install titans-acme"):
        pickle.loads(sent)


def test_renamed_columns_and_sentinels_survive():
    schema = titans.Schema(
        {"new": "Int64"},
        score="new",
        unobserved={"new": -1},
        version=3,
        renamed={2: {"old": "new"}},
    )
    found = again(schema)
    assert found == schema
    assert found.renamed == {2: {"old": "new"}}
    with pytest.raises(TypeError):
        found.columns["x"] = "Int64"


# --- stores ---------------------------------------------------------------------------------------


def test_a_folder(tmp_path):
    found = again(LocalStore(tmp_path / "a"))
    assert found.root == tmp_path / "a"
    found.create("a/b", b"1")
    assert again(found).get("a/b").data == b"1"


def test_a_bucket_with_a_client_of_its_own(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    url = "s3://bucket/some/prefix?endpoint_url=http://127.0.0.1:9&region=there"
    put = {"ServerSideEncryption": "aws:kms"}
    store = open_store(url + "&expected_bucket_owner=123", put_args=put)
    for found in (again(store), again(again(store))):
        assert (found.url, found.bucket, found.prefix) == (store.url, "bucket", "some/prefix/")
        assert found._client.meta.endpoint_url == "http://127.0.0.1:9"
        assert found._client.meta.region_name == "there"
        assert found._requests.place == store._requests.place
        assert found._requests.put_args == put
    assert b"s3cret" not in pickle.dumps(store)


def test_a_client_of_the_callers_that_cannot_go():
    client = boto3.client("s3", region_name="x")
    store = open_store("s3://bucket", s3_client=client)
    for value in (store, Archive(store, PROVIDER), Dataset(store, PROVIDER.paths(), PROVIDER)):
        with pytest.raises(InputError, match=r"s3://bucket was opened with a client of yours"):
            pickle.dumps(value)


@pytest.mark.parametrize("store", [MemoryStore(), MemoryStore("name"), open_store("memory://n")])
def test_a_store_in_memory_is_the_same_in_its_process(store):
    assert again(store) is store


def test_a_store_in_memory_does_not_go_to_other_processes():
    sent = pickle.dumps(MemoryStore("here"))
    code = f"import pickle; pickle.loads({sent!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "StoreError: memory://here is in the memory of another process" in done.stderr
    store = MemoryStore()
    sent = pickle.dumps(store)
    del store
    with pytest.raises(StoreError, match="or gone"):
        pickle.loads(sent)


# --- archives -------------------------------------------------------------------------------------


def test_an_archive_keeps_its_places(tmp_path, monkeypatch):
    monkeypatch.setenv("TITANS_ENV", "test")
    archive = Archive(LocalStore(tmp_path), PROVIDER, wait=no_wait)
    archive.ingest(snapshot({"a": (1, 0.5)}), at(0))
    sent = pickle.dumps(archive)
    monkeypatch.delenv("TITANS_ENV")
    found = pickle.loads(sent)
    assert found.paths == archive.paths
    assert found.wait is no_wait
    assert found.latest().equals(archive.latest())
    found.ingest(snapshot({"a": (2, 0.5)}), at(1))
    assert archive.latest()["v"].to_list() == [2]
    assert {entry.key.split("/")[0] for entry in archive.store.list()} == {"test"}


def test_a_dataset(tmp_path):
    dataset = Dataset(LocalStore(tmp_path), PROVIDER.paths(), PROVIDER, no_wait)
    found = again(dataset)
    assert evolve(found, store=dataset.store) == dataset
    assert found.store.root == tmp_path


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_are_spawned_write_and_read(tmp_path, method):
    archive = Archive(LocalStore(tmp_path), PROVIDER)
    archive.ingest(snapshot({"a": (0, 0.5)}), at(0))
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(spawned.latest, archive).result(60) == spawned.latest(archive)
        assert pool.submit(spawned.ingest, archive, 3).result(60) == "ingested"
    assert archive.latest()["v"].to_list() == [3]


def test_a_program_that_gets_an_archive_by_its_bytes_alone(tmp_path):
    """Nothing of TITANS was imported there before."""
    archive = titans.open(tmp_path / "data", provider="gcp")
    example = next(archive.provider.example(seed=1, keys=20, slots=1))
    archive.ingest(example, at(0))
    (tmp_path / "sent").write_bytes(pickle.dumps(archive))
    code = """
        import pickle, sys
        from pathlib import Path
        archive = pickle.loads(Path(sys.argv[1]).read_bytes())
        print(archive.latest().height, next(archive.provider.example(seed=1, keys=5, slots=1)).height)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "sent")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(archive.latest().height), "5"]
