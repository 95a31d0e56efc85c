"""Objects that are made from a file: large ones go to S3 in parts, and are there as a whole or not
at all."""

from __future__ import annotations

import hashlib
import random
import threading
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError
from fixtures_stores import SEAWEED

from titans.errors import AlreadyExists, NotFound, StoreError, TitansError, UnsupportedStoreError
from titans.store import create_file
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.store.s3 import S3Store

MIB = 1 << 20
PART = 5 * MIB  # S3 takes no smaller one but the last

pytestmark = pytest.mark.slow


@pytest.fixture(params=["memory", "local", "moto", pytest.param("seaweed", marks=SEAWEED)])
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryStore()
    if request.param == "local":
        return LocalStore(tmp_path / "archive")
    if request.param == "moto":
        return S3Store("titans-spotlake-data", "pre", client=request.getfixturevalue("moto_s3"))
    bucket = request.getfixturevalue("seaweed_bucket")
    return S3Store(bucket.name, "pre", client=bucket.client)


@pytest.fixture(autouse=True)
def small_parts():
    with patch("titans.store.s3._PART", PART):
        yield


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(random.Random(1).randbytes(2 * PART + 12345))
    return path


def begun(store):
    """Uploads in parts that were neither completed nor aborted."""
    return store._client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", [])


def test_a_large_file_becomes_an_object(store, large):
    etag = create_file(store, "a/large.parquet", large)
    found = store.get("a/large.parquet")
    assert hashlib.sha256(found.data).digest() == hashlib.sha256(large.read_bytes()).digest()
    assert (found.etag, store.head("a/large.parquet").size) == (etag, 2 * PART + 12345)
    assert large.exists()


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1])
def test_files_of_every_size(store, tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    create_file(store, "k", path)
    assert store.get("k").data == b"x" * size


def test_a_large_file_replaces_nothing(store, large):
    store.create("k", b"first")
    with pytest.raises(AlreadyExists):
        create_file(store, "k", large)
    assert store.get("k").data == b"first"
    if isinstance(store, S3Store):
        assert begun(store) == []


@pytest.mark.parametrize("store", ["memory", "local", "seaweed"], indirect=True)  # moto cannot race
def test_of_two_large_files_at_once_one_is_created(store, large, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(bytes(reversed(large.read_bytes())))
    outcomes, start = {}, threading.Barrier(2)

    def create(path):
        start.wait()
        try:
            create_file(store, "k", path)
        except TitansError as error:
            outcomes[path] = type(error)
        else:
            outcomes[path] = None

    threads = [threading.Thread(target=create, args=(path,)) for path in (large, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = next(path for path, outcome in outcomes.items() if outcome is None)
    assert sorted(map(str, outcomes.values())) == sorted(["None", str(AlreadyExists)])
    assert store.get("k").data == winner.read_bytes()


def test_a_part_that_is_refused_leaves_nothing(seaweed_bucket, large):
    store = S3Store(seaweed_bucket.name, client=seaweed_bucket.client)
    create_file(store, "another", large)  # the server is known by then
    real, sent = seaweed_bucket.client.upload_part, []

    def upload_part(**arguments):
        sent.append(arguments["PartNumber"])
        if arguments["PartNumber"] == 2:
            refusal = {
                "Error": {"Code": "AccessDenied", "Message": "no"},
                "ResponseMetadata": {"HTTPStatusCode": 403},
            }
            raise ClientError(refusal, "UploadPart")
        return real(**arguments)

    with (
        patch.object(seaweed_bucket.client, "upload_part", upload_part),
        pytest.raises(StoreError, match="access denied"),
    ):
        create_file(store, "k", large)
    assert sent == [1, 2]
    assert begun(store) == []
    with pytest.raises(NotFound):
        store.get("k")


def test_a_part_that_gets_no_answer_is_sent_again(seaweed_bucket, large):
    store = S3Store(seaweed_bucket.name, client=seaweed_bucket.client, sleep=lambda seconds: None)
    create_file(store, "another", large)
    real, sent = seaweed_bucket.client.upload_part, []

    def upload_part(**arguments):
        answer = real(**arguments)
        sent.append(arguments["PartNumber"])
        if sent.count(2) == 1 and sent[-1] == 2:
            raise ConnectionError("the answer got lost")
        return answer

    with patch.object(seaweed_bucket.client, "upload_part", upload_part):
        create_file(store, "k", large)
    assert sent == [1, 2, 2, 3]
    assert store.get("k").data == large.read_bytes()


def test_a_server_that_ignores_the_condition_for_parts_is_refused(seaweed_bucket, large):
    store = S3Store(seaweed_bucket.name, client=seaweed_bucket.client)
    real = seaweed_bucket.client.complete_multipart_upload

    def careless(*, IfNoneMatch, **arguments):
        return real(**arguments)

    with (
        patch.object(seaweed_bucket.client, "complete_multipart_upload", careless),
        pytest.raises(UnsupportedStoreError, match="CompleteMultipartUpload"),
    ):
        create_file(store, "k", large)
    assert begun(store) == []
    with pytest.raises(NotFound):
        store.get("k")
