"""What every store does, whatever it keeps its bytes in."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from titans.errors import AlreadyExists, InvalidKeyError, NotFound, PreconditionFailed
from titans.store import ObjectStore

ODD_KEYS = [
    "with space/a b.parquet",
    "plus+and%20percent/50%.bin",
    "year=2026/month=01/x.parquet",
    "한국/서울.parquet",
    "emoji/🛰.bin",
    "e\u0301 is not \u00e9/x",
    "a&b;c,d/~(x)!'@$.json",
    "ends with a dot./x.",
    'quo"ted/<tag>|pipe?*:#',
    "x/" + "n" * 200,
]

REFUSED_KEYS = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", ".hidden", "a/.hidden/b", "a\\b", "a\nb",
    "a\x00b", "a\x7fb", "a\ud800b", "n" * 1025, "é" * 513, None, b"a",
]  # fmt: skip


def keys(store, prefix="", start_after=""):
    return [entry.key for entry in store.list(prefix, start_after)]


def fill(store, names):
    for name in names:
        store.create(name, name.encode())


# --- one object -------------------------------------------------------------------------------------------------------


def test_a_store_is_an_object_store_and_names_itself_without_credentials(store):
    assert isinstance(store, ObjectStore)
    assert "://" in store.url
    assert "secret" not in store.url


def test_what_was_created_is_read_back(store):
    etag = store.create("a/b.bin", b"content")
    blob = store.get("a/b.bin")
    assert (blob.data, blob.etag) == (b"content", etag)


def test_head_knows_key_size_etag_and_time(store):
    etag = store.create("a/b.bin", b"content")
    entry = store.head("a/b.bin")
    assert (entry.key, entry.size, entry.etag) == ("a/b.bin", 7, etag)
    assert entry.last_modified == store.get("a/b.bin").last_modified


def test_another_object_for_the_same_place_sees_what_was_written(stores):
    etag = stores().create("a", b"1")
    assert stores().get("a").data == b"1"
    stores().replace("a", b"2", etag)
    assert stores().get("a").data == b"2"
    stores().delete("a")
    assert keys(stores()) == []


MISSING = ["missing", "there/missing", "no/such/folder/missing", "there/object/below"]


def test_reading_a_missing_object_says_which_one_and_where(store):
    store.create("there/object", b"1")
    for read, key in itertools.product((store.get, store.head), MISSING):
        with pytest.raises(NotFound) as caught:
            read(key)
        assert key in str(caught.value)
        assert store.url in str(caught.value)
        assert isinstance(caught.value, KeyError)


def test_a_folder_is_no_object(store):
    store.create("folder/object", b"1")
    for read in (store.get, store.head):
        with pytest.raises(NotFound):
            read("folder")
    with pytest.raises(PreconditionFailed):
        store.replace("folder", b"2", store.head("folder/object").etag)
    store.delete("folder")
    assert keys(store) == ["folder/object"]


def test_create_refuses_an_existing_object_and_leaves_it_alone(store):
    etag = store.create("a/b", b"first")
    for other in (b"second", b"first", b""):
        with pytest.raises(AlreadyExists, match="a/b"):
            store.create("a/b", other)
    assert (store.get("a/b").data, store.head("a/b").etag) == (b"first", etag)


def test_replace_swaps_the_version_it_was_given(store):
    first = store.create("a/b", b"1")
    second = store.replace("a/b", b"2", first)
    third = store.replace("a/b", b"three", second)
    assert (store.get("a/b").data, store.head("a/b").etag, store.head("a/b").size) == (b"three", third, 5)
    assert len({first, second, third}) == 3
    assert keys(store) == ["a/b"]


def test_replace_with_a_stale_etag_leaves_the_object_alone(store):
    stale = store.create("a/b", b"1")
    etag = store.replace("a/b", b"2", stale)
    for wrong in (stale, "", "*", '"*"', "nonsense"):
        with pytest.raises(PreconditionFailed, match="a/b"):
            store.replace("a/b", b"lost", wrong)
    assert (store.get("a/b").data, store.head("a/b").etag) == (b"2", etag)


def test_replace_does_not_create(store):
    etag = store.create("there/object", b"1")
    for key, given in itertools.product(MISSING, (etag, "", "*")):
        with pytest.raises(PreconditionFailed, match=key):
            store.replace(key, b"2", given)
    assert keys(store) == ["there/object"]


def test_replace_after_a_delete_fails(store):
    etag = store.create("a/b", b"1")
    store.delete("a/b")
    with pytest.raises(PreconditionFailed):
        store.replace("a/b", b"2", etag)
    assert keys(store) == []


def test_the_etag_changes_with_the_content(store):
    etag = store.create("a", b"0")
    seen = {etag}
    for number in range(1, 6):
        etag = store.replace("a", b"%d" % number, etag)
        assert etag not in seen
        assert store.head("a").etag == etag
        seen.add(etag)


def test_deleting_a_missing_object_succeeds(store):
    store.create("there/object", b"1")
    for key in [*MISSING, "there"]:
        store.delete(key)
        assert keys(store) == ["there/object"]


def test_a_deleted_object_is_gone_and_its_key_is_free(store):
    store.create("a/b", b"1")
    store.create("a/c", b"2")
    store.delete("a/b")
    store.delete("a/b")
    with pytest.raises(NotFound):
        store.get("a/b")
    assert keys(store) == ["a/c"]
    store.create("a/b", b"again")
    assert store.get("a/b").data == b"again"


def test_a_key_that_was_replaced_can_be_deleted_and_made_again(store):
    store.replace("a/b", b"2", store.create("a/b", b"1"))
    store.delete("a/b")
    assert keys(store) == []
    etag = store.create("a/b", b"3")
    store.replace("a/b", b"4", etag)
    assert store.get("a/b").data == b"4"


def test_get_range_cuts_at_the_end_of_the_object(store):
    store.create("a", b"0123456789")
    wanted = [(0, 3), (3, 7), (8, 100), (0, 10), (9, 10)]
    assert [store.get_range("a", *span) for span in wanted] == [b"012", b"3456", b"89", b"0123456789", b"9"]
    assert [store.get_range("a", *span) for span in [(10, 20), (50, 60), (4, 4), (5, 2), (0, 0)]] == [b""] * 5


def test_get_range_of_a_missing_object_is_not_found_whatever_the_range(store):
    for span in [(0, 5), (5, 5), (5, 2), (100, 200)]:
        with pytest.raises(NotFound, match="missing"):
            store.get_range("missing", *span)


def test_empty_objects_are_objects(store):
    etag = store.create("a/empty", b"")
    assert store.get("a/empty").data == b""
    assert store.head("a/empty").size == 0
    assert store.get_range("a/empty", 0, 10) == b""
    assert keys(store) == ["a/empty"]
    with pytest.raises(AlreadyExists):
        store.create("a/empty", b"1")
    store.replace("a/empty", b"", store.replace("a/empty", b"full", etag))
    assert store.get("a/empty").data == b""


def test_five_megabytes_come_back_as_they_were(store):
    data = random.Random(1).randbytes(5_000_000)
    store.create("large", data)
    assert store.get("large").data == data
    assert store.head("large").size == len(data)
    assert store.get_range("large", 4_000_000, 4_000_100) == data[4_000_000:4_000_100]
    assert store.get_range("large", 4_999_990, 6_000_000) == data[4_999_990:]


def test_times_are_aware_recent_and_never_go_backwards(store):
    before = datetime.now(UTC) - timedelta(seconds=2)
    etag = store.create("a", b"0")
    times = [store.head("a").last_modified]
    for number in range(1, 4):
        etag = store.replace("a", b"%d" % number, etag)
        times.append(store.get("a").last_modified)
    times.append(next(store.list()).last_modified)
    assert all(time.utcoffset() is not None for time in times)
    assert times == sorted(times)
    assert before <= times[0]
    assert times[-1] <= datetime.now(UTC) + timedelta(seconds=2)


def test_a_local_path_is_a_file_with_the_content_or_none(store):
    store.create("a/b", b"content")
    path = store.local_path("a/b")
    assert path is None or path.read_bytes() == b"content"


# --- keys -------------------------------------------------------------------------------------------------------------


def test_odd_keys_work_everywhere(store):
    for key in ODD_KEYS:
        etag = store.create(key, b"1")
        assert store.get(key).data == b"1"
        assert [(e.key, e.size) for e in store.list()] == [(key, 1)]
        assert keys(store, key) == [key]
        assert keys(store, key.rpartition("/")[0] + "/" if "/" in key else "") == [key]
        assert keys(store, start_after=key) == []
        store.replace(key, b"2", etag)
        assert store.get_range(key, 0, 1) == b"2"
        store.delete(key)
        assert keys(store) == []


def test_what_is_no_key_is_refused_before_anything_happens(store):
    for key in REFUSED_KEYS:
        calls = [
            lambda key=key: store.get(key),
            lambda key=key: store.get_range(key, 0, 1),
            lambda key=key: store.get_range(key, 1, 1),
            lambda key=key: store.head(key),
            lambda key=key: store.create(key, b"1"),
            lambda key=key: store.replace(key, b"1", "etag"),
            lambda key=key: store.delete(key),
            lambda key=key: store.local_path(key),
        ]
        for call in calls:
            with pytest.raises(InvalidKeyError):
                call()
    assert keys(store) == []


def test_a_prefix_that_no_key_could_have_is_refused_at_the_call(store):
    for prefix in ["/", "/a", "../", "a/../b", ".a", "a//", "a\\", "a\n"]:
        with pytest.raises(InvalidKeyError):
            store.list(prefix)


# --- listing ----------------------------------------------------------------------------------------------------------

TRICKY = [
    "a-b",
    "a.b",
    "a/b",
    "a/b.c",
    "a/c/d",
    "a/c-d",
    "a/c.d",
    "a0",
    "ab",
    "a b",
    "b",
    "b/a",
    "B",
    "한/a",
    "한-",
    "🛰",
]
TRICKY.remove("b/a")  # "b" is an object: a folder cannot have its name


def test_the_empty_store_lists_nothing(store):
    assert keys(store) == []
    assert keys(store, "a") == []
    assert keys(store, "a/b/") == []
    assert keys(store, start_after="a") == []


def test_listing_is_ordered_by_the_whole_key(store):
    fill(store, random.Random(2).sample(TRICKY, len(TRICKY)))
    assert keys(store) == sorted(TRICKY)
    assert keys(store, "a") == sorted(key for key in TRICKY if key.startswith("a"))


def test_a_prefix_is_a_string_and_needs_no_segment_boundary(store):
    fill(store, TRICKY)
    for prefix in ["a", "a/", "a/c", "a/c/", "a-", "a.", "ab", "b", "한", "nothing", "a/nothing/", "a/b", "ab/c"]:
        assert keys(store, prefix) == sorted(key for key in TRICKY if key.startswith(prefix)), prefix


def test_start_after_continues_behind_any_string(store):
    fill(store, TRICKY)
    # Folders and prefixes of keys count as strings as well: "a/c/" comes before "a/c/d".
    for after in [*TRICKY, "a", "a/", "a/c", "a/c/", "a/b0", "a/zzz", "A", "zzz", "a-", "한", "b/a/x"]:
        assert keys(store, start_after=after) == sorted(key for key in TRICKY if key > after), after


def test_prefix_and_start_after_go_together(store):
    fill(store, TRICKY)
    for prefix, after in itertools.product(
        ["", "a", "a/", "a/c", "한"], ["A", "a", "a/", "a.b", "a/b", "a/c/", "a/c/d", "zz"]
    ):
        wanted = sorted(key for key in TRICKY if key.startswith(prefix) and key > after)
        assert keys(store, prefix, after) == wanted, (prefix, after)


def test_a_month_of_hot_files_is_listed_from_the_middle(store):
    names = [
        f"hot/2026/{month:02d}/{day:02d}/0{hour}-00.bin" for month in (1, 2, 3) for day in (1, 2) for hour in (0, 1)
    ]
    fill(store, reversed(names))
    assert keys(store, "hot/", "hot/2026/02/") == names[4:]
    assert keys(store, "hot/", "hot/2026/02") == names[4:]
    assert keys(store, "hot/", "hot/2026/02/01/00-00.bin") == names[5:]
    assert keys(store, "hot/2026/02/", "hot/2026/01/") == names[4:8]
    assert keys(store, "hot/2026/02/01/0") == names[4:6]


def test_a_listing_tells_size_and_time(store):
    store.create("a/x", b"123")
    store.create("a/y", b"")
    found = list(store.list("a/"))
    assert [(entry.key, entry.size) for entry in found] == [("a/x", 3), ("a/y", 0)]
    assert all(entry.last_modified.utcoffset() is not None for entry in found)
    assert all(entry.etag in ("", store.head(entry.key).etag) for entry in found)


def test_a_listing_can_be_left_in_the_middle(store):
    fill(store, ["a", "b/c", "d"])
    found = store.list()
    assert next(found).key == "a"
    store.delete("b/c")
    del found
    assert keys(store) == ["a", "d"]


def test_what_is_listed_may_be_deleted_meanwhile(store):
    names = [f"{folder}/{number}" for folder in "abc" for number in range(3)]
    fill(store, names)
    seen = []
    for entry in store.list():
        seen.append(entry.key)
        store.delete(entry.key)
    assert seen == names
    assert keys(store) == []
