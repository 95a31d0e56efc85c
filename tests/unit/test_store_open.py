"""What opens a store, and what does not."""

from __future__ import annotations

import pytest

from titans.errors import InputError, UnsupportedStoreError
from titans.store import open_store
from titans.store.local import LocalStore


def content(store):
    """Everything that is listed, read back."""
    return {entry.key: store.get(entry.key).data for entry in store.list()}


def test_a_folder_is_opened_by_path_string_or_url(tmp_path):
    root = tmp_path / "with space 한"
    LocalStore(root).create("a", b"1")
    for where in (root, str(root), root.as_uri(), LocalStore(root).url):
        assert content(open_store(where)) == {"a": b"1"}


def test_opening_and_reading_make_no_folder(tmp_path):
    store = open_store(tmp_path / "missing")
    assert list(store.list()) == []
    store.delete("a")
    assert not (tmp_path / "missing").exists()


def test_the_same_name_in_memory_is_the_same_store():
    open_store("memory://the-same").create("a", b"1")
    assert open_store("memory://the-same").get("a").data == b"1"
    assert list(open_store("memory://").list()) == []
    store = open_store("memory://")
    assert open_store(store) is store


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("gs://bucket", "s3://"),
        ("file://data/archive", "three slashes"),
        ("file:///data?x=1", "no options"),
        ("s3://", "names no bucket"),
        ("s3://bucket?regoin=x", "regoin.*region"),
        ("", "empty"),
        (None, "not a store"),
    ],
)
def test_what_is_no_store_is_refused_with_what_to_write_instead(where, told):
    with pytest.raises((InputError, UnsupportedStoreError), match=told):
        open_store(where)
