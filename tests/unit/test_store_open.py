"""From a URL to a store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from titans.errors import InputError, InvalidKeyError, UnsupportedStoreError
from titans.store import ObjectStore, open_store
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.store.s3 import S3Store


def test_a_path_and_a_plain_string_are_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for where in (tmp_path / "a b", str(tmp_path / "a b"), "a b", Path("a b")):
        store = open_store(where)
        assert isinstance(store, LocalStore)
        assert store.root == tmp_path / "a b"


def test_a_file_url_is_the_folder_it_names(tmp_path):
    folder = tmp_path / "with space, 100% and #?"
    store = open_store(folder.as_uri())
    assert isinstance(store, LocalStore)
    assert store.root == folder
    assert open_store(store.url).root == folder
    assert open_store(f"file://localhost{tmp_path}").root == tmp_path


def test_opening_a_folder_does_not_make_it(tmp_path):
    open_store(tmp_path / "new")
    open_store((tmp_path / "new").as_uri())
    assert not (tmp_path / "new").exists()


def test_a_memory_store_is_the_same_for_the_same_name():
    one, same, other = (
        open_store(f"memory://{name}")
        for name in ("test-open/one", "test-open/one", "test-open/two")
    )
    assert isinstance(one, MemoryStore)
    assert one is same
    assert one is not other
    one.create("a", b"1")
    assert same.get("a").data == b"1"
    assert list(other.list()) == []
    assert one.url == "memory://test-open/one"


def test_a_memory_store_without_a_name_is_always_new():
    assert open_store("memory://") is not open_store("memory://")


def test_an_s3_url_names_bucket_and_prefix():
    client = object()
    for url, prefix in {
        "s3://bucket": "",
        "s3://bucket/": "",
        "s3://bucket/a/b": "a/b/",
        "s3://bucket/a/b/": "a/b/",
        "s3://bucket/a%20b": "a b/",
    }.items():
        store = open_store(url, s3_client=client)
        assert isinstance(store, S3Store)
        assert (store.bucket, store.prefix, store._client) == ("bucket", prefix, client)


def test_options_of_s3_stand_in_the_url_or_are_given(aws_environment):
    for store in (
        open_store(
            "s3://bucket/p?endpoint_url=http://127.0.0.1:8333&region=eu-west-1&expected_bucket_owner=123456789012"
        ),
        open_store(
            "s3://bucket/p",
            endpoint_url="http://127.0.0.1:8333",
            region="eu-west-1",
            expected_bucket_owner="123456789012",
        ),
    ):
        assert store._client.meta.endpoint_url == "http://127.0.0.1:8333"
        assert store._client.meta.region_name == "eu-west-1"
        assert store._requests.place == {"Bucket": "bucket", "ExpectedBucketOwner": "123456789012"}
        assert store.url == "s3://bucket/p"


def test_what_is_given_beats_the_url(aws_environment):
    store = open_store("s3://bucket?region=eu-west-1", region="us-west-2")
    assert store._client.meta.region_name == "us-west-2"


def test_put_arguments_reach_the_store():
    store = open_store(
        "s3://bucket", s3_client=object(), put_args={"ServerSideEncryption": "AES256"}
    )
    assert store._requests.put_args == {"ServerSideEncryption": "AES256"}


def test_a_store_is_returned_as_it_is():
    class Mine:
        url = "mine://"
        parallel = False
        get = get_range = head = list = create = replace = delete = local_path = print

    for store in (MemoryStore(), Mine()):
        assert isinstance(store, ObjectStore)
        assert open_store(store) is store


@pytest.mark.parametrize("where", [None, 1, b"bytes", object(), ["list"], {}])
def test_what_is_no_store_is_an_input_error_that_says_what_to_pass(where):
    with pytest.raises(InputError, match="pass a URL, a folder, or an object"):
        open_store(where)


@pytest.mark.parametrize(
    "url", ["gs://bucket", "az://container", "http://host/x", "S4://bucket", "ftp://x"]
)
def test_an_unknown_scheme_names_those_that_there_are(url):
    with pytest.raises(UnsupportedStoreError, match=r"file://, s3:// or memory://"):
        open_store(url)


def test_schemes_may_be_in_capitals(tmp_path):
    assert open_store("S3://bucket", s3_client=object()).bucket == "bucket"
    assert open_store(f"FILE://{tmp_path}").root == tmp_path


INCOMPLETE = {
    "": "empty string",
    "file://data/archive": "three slashes",
    "file://": "names no folder",
    "file:///data?region=x": "no options",
    "file:///data#x": "no options",
    "memory://name?x=1": "no options",
    "s3://": "names no bucket",
    "s3:///prefix": "names no bucket",
    "s3://?region=x": "names no bucket",
    "s3://bucket?nonsense=1": "nonsense.*endpoint_url, region, expected_bucket_owner",
    "s3://bucket?endpont_url=http://x": "endpont_url",
    "s3://bucket/prefix#fragment": "#",
    "s3:/bucket/prefix": "two slashes",
    "s3:bucket": "two slashes",
    "file:/data": "two slashes",
    "memory:name": "two slashes",
}


@pytest.mark.parametrize("url", INCOMPLETE)
def test_an_incomplete_url_is_an_input_error_that_says_what_is_wrong(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=INCOMPLETE[url]):
        open_store(url, s3_client=object())


def test_credentials_in_a_url_are_refused_and_not_repeated(aws_environment):
    with pytest.raises(InputError, match="credentials") as caught:
        open_store("s3://AKIAEXAMPLE:hunter2@bucket/prefix")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InputError, match="credentials") as caught:
        open_store("s3://bucket?endpoint_url=http://AKIAEXAMPLE:hunter2@host")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["../up", "a/../b", "a//b", ".hidden"])
def test_a_prefix_that_is_no_key_is_refused(prefix):
    with pytest.raises(InvalidKeyError):
        open_store(f"s3://bucket/{prefix}", s3_client=object())


@pytest.mark.parametrize("where", ["folder", Path("folder"), "file:///folder", "memory://name"])
def test_options_that_the_store_does_not_have_are_an_input_error(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="put_args"):
        open_store(where, put_args={"ServerSideEncryption": "AES256"})


def test_options_that_s3_does_not_have_are_an_input_error():
    with pytest.raises(InputError, match="nonsense"):
        open_store("s3://bucket", s3_client=object(), nonsense=1)


def loaded_by(code):
    """Of the heavy packages, those that are imported after this code has run."""
    heavy = ("boto3", "botocore", "polars", "pandas", "pyarrow", "moto", "pluggy")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nimport sys; print(*[m for m in {heavy!r} if m in sys.modules])",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.split()


def test_importing_the_stores_imports_nothing_heavy():
    assert loaded_by("import titans.store") == []


def test_local_and_memory_stores_need_nothing_heavy(tmp_path):
    code = f"""
from titans.store import open_store
for where in ({str(tmp_path)!r}, "memory://x"):
    store = open_store(where)
    store.replace("a", b"2", store.create("a", b"1"))
    store.delete("a")
"""
    assert loaded_by(code) == []


@pytest.mark.slow
def test_this_check_can_fail():
    assert loaded_by("import boto3") == ["boto3", "botocore"]
