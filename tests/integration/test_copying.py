"""A copy of an archive is an archive, whatever happens while it is made."""

from __future__ import annotations

import pytest
from fixtures_stores import SEAWEED
from oracle import PROVIDER, at, changes, snapshot

import titans
from titans import Archive
from titans.errors import ArchiveNotFoundError, InputError, NotFound, StoreError
from titans.holdings.copying import copy
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.store.s3 import S3Store


@pytest.fixture
def source():
    """Two months, the first sealed; a late slot, and a file that waits."""
    store = MemoryStore("source")
    archive = Archive(store, PROVIDER)
    for slot in (0, 1, 3, 12, 13, 15, 2, 14):
        archive.ingest(snapshot({"a": (slot, 0.5), "b": (slot % 3, 0.5)}), at(slot))
    archive.seal("2026-01")
    archive.upload(changes({"c": (1, 0.5)}), at(17))
    return store


def answers(store):
    archive = Archive(store, PROVIDER)
    return archive.changes(), archive.latest(), archive.coverage(), archive.files()["rows"].sum()


def same(one, other):
    assert all(
        a.equals(b) if hasattr(a, "equals") else a == b
        for a, b in zip(answers(one), answers(other), strict=True)
    )


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_a_copy_answers_as_the_source(source, kind, tmp_path):
    target = MemoryStore("target") if kind == "memory" else LocalStore(tmp_path / "copy")
    (done,) = copy(source, target, deep=True)
    assert (done.provider, done.environment, done.verification.passed) == ("small", "", True)
    assert done.objects > 5
    same(source, target)
    # A second one has nothing to do.
    (again,) = copy(source, target)
    assert (again.objects, again.bytes) == (0, 0)


@SEAWEED
def test_a_copy_in_a_bucket(source, seaweed_bucket, seaweed_client):
    target = S3Store(seaweed_bucket.name, "backup", client=seaweed_client)
    (done,) = copy(source, target, deep=True)
    assert done.verification.passed
    same(source, target)
    (back,) = copy(target, MemoryStore("restored"), deep=True)
    assert back.verification.passed


def test_a_later_copy_brings_what_is_new(source):
    target = MemoryStore("target")
    copy(source, target)
    archive = Archive(source, PROVIDER)
    archive.compact()
    for slot in range(20, 100):  # more commits than a manifest remembers
        archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot), max_ceased=1.0)
    archive.vacuum("0s")
    (done,) = copy(source, target, deep=True)
    assert done.verification.passed
    same(source, target)


def test_a_copy_that_was_stopped_is_noticed_and_goes_on(source):
    """Stopped after any number of writes, months are whole or said to be without their manifest,
    and the next copy completes them."""
    real = MemoryStore.create
    total = sum(each.objects for each in copy(source, MemoryStore("target")))
    for stop in range(total):
        target, left = MemoryStore("target"), [stop]

        def counted(self, key, data, target=target, left=left):
            if self is target:
                if not left[0]:
                    raise StoreError("stopped")
                left[0] -= 1
            return real(self, key, data)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(MemoryStore, "create", counted)
            with pytest.raises(StoreError, match="stopped"):
                copy(source, target)
        if any(key.endswith("manifest.json") for key in target._objects):
            checks = Archive(target, PROVIDER).verify(deep=True).checks
            assert {check.name for check in checks if not check.passed} <= {"unknown", "waiting"}
        (done,) = copy(source, target, deep=True)
        assert done.verification.passed
        same(source, target)


def test_what_is_merged_and_removed_meanwhile_is_copied_as_it_is_now(source):
    target, real, once = MemoryStore("target"), MemoryStore.get, []

    def get(self, key):
        if self is source and "/2026/02/" in key and key.endswith(".parquet") and not once:
            once.append(key)
            archive = Archive(source, PROVIDER)
            archive.ingest(snapshot({"a": (9, 0.5)}), at(30), max_ceased=1.0)
            archive.seal("2026-02")
            archive.vacuum("0s")
            raise NotFound(f"no object {key}", key=key)
        return real(self, key)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MemoryStore, "get", get)
        (done,) = copy(source, target, deep=True)
    assert once
    assert done.verification.passed
    same(source, target)


def test_another_archive_in_the_target_stays_as_it_is(source):
    target = MemoryStore("target")
    Archive(target, PROVIDER).ingest(snapshot({"z": (1, 1.0)}), at(0))
    before = dict(target._objects)
    with pytest.raises(InputError, match="empty place"):
        copy(source, target)
    assert {key: target._objects[key] for key in before} == before
    assert Archive(target, PROVIDER).latest()["k"].to_list() == ["z"]


def test_a_copy_that_was_written_to_is_no_copy_any_more(source):
    target = MemoryStore("target")
    copy(source, target)
    Archive(target, PROVIDER).ingest(snapshot({"z": (1, 1.0)}), at(40), max_ceased=1.0)
    Archive(source, PROVIDER).ingest(snapshot({"a": (1, 1.0)}), at(41), max_ceased=1.0)
    with pytest.raises(InputError, match="empty place"):
        copy(source, target)
    assert "z" in Archive(target, PROVIDER).latest()["k"].to_list()


def test_what_is_not_there_is_said(source):
    with pytest.raises(ArchiveNotFoundError, match="holds small, and not aws"):
        copy(source, MemoryStore(), providers=["aws"])
    with pytest.raises(ArchiveNotFoundError, match="no archive"):
        copy(MemoryStore("empty"), MemoryStore("other"))
    with pytest.raises(InputError, match="both source and target"):
        copy(source, source)


def test_the_copy_leaves_nothing_that_counts(source):
    target = MemoryStore("target")
    copy(source, target)
    report = Archive(target, PROVIDER).verify(deep=True)
    assert (report.orphans, report.foreign) == (0, ())
    assert [each.provider for each in titans.catalog(target).archives] == ["small"]
