"""Checks of single objects: conditional writes above all."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from titans.errors import AlreadyExists, InvalidKeyError, NotFound, PreconditionFailed
from titans.store import ObjectStore, get_again
from titans.testing._store_suite import Stores, StoreSuite, done, fill, keys, refused, same
from titans.testing._suite import expect

__all__ = ["ObjectChecks"]

MISSING = ["missing", "there/missing", "no/such/folder/missing", "there/object/below"]

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
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/..",
    "a/../b",
    "a/./b",
    ".hidden",
    "a/.hidden/b",
    "a\\b",
    "a\nb",
    "a\x00b",
    "a\x7fb",
    "a\ud800b",
    "n" * 1025,
    "é" * 513,
    None,
    b"a",
]

CALLS: dict[str, tuple[Any, ...]] = {
    "get": (),
    "get_range": (0, 1),
    "head": (),
    "create": (b"1",),
    "replace": (b"1", "etag"),
    "delete": (),
    "local_path": (),
}
"""Methods that take a key, and what they take besides."""

METHODS = ("get", "get_range", "head", "list", "create", "replace", "delete", "local_path")


class ObjectChecks(StoreSuite, kit=True):
    """Create, replace, read, delete; keys."""

    def test_it_has_the_methods_of_an_object_store(self, stores: Stores) -> None:
        """Those of `titans.store.ObjectStore`; its URL names it, without credentials."""
        store = stores()
        missing = [name for name in METHODS if not callable(getattr(store, name, None))]
        expect(
            not missing,
            f"{type(store).__name__} has no method {', '.join(missing)}; see "
            "titans.store.ObjectStore",
        )
        expect(
            isinstance(store, ObjectStore),
            f"{type(store).__name__} lacks url or parallel; see titans.store.ObjectStore",
        )
        expect(
            "://" in store.url and "@" not in store.url,
            f"its url is {store.url!r}; write scheme://place, no credentials",
        )
        expect(type(store.parallel) is bool, f"parallel is {store.parallel!r}; say True or False")

    def test_created_objects_are_read_back(self, stores: Stores) -> None:
        """With the content and the etag of the write."""
        store = stores()
        etag = store.create("a/b.bin", b"content")
        blob = store.get("a/b.bin")
        same((blob.data, blob.etag), (b"content", etag), "what was created")

    def test_head_agrees_with_get(self, stores: Stores) -> None:
        """Key, size, etag and time."""
        store = stores()
        etag = store.create("a/b.bin", b"content")
        entry = store.head("a/b.bin")
        blob = store.get("a/b.bin")
        same((entry.key, entry.size, entry.etag), ("a/b.bin", 7, etag), "head")
        same(entry.last_modified, blob.last_modified, "the time in head")

    def test_what_is_read_again_is_what_is_there_now(self, stores: Stores) -> None:
        """`get_again`, where the store has it: after the object was replaced or removed by itself
        or by others, and made anew.
        """
        store, other = stores(), stores()
        etag = store.create("again/b.bin", b"first")
        for _ in range(2):
            blob = get_again(store, "again/b.bin")
            same((blob.data, blob.etag), (b"first", etag), "what get_again gives")

        for writer, data in ((store, b"second"), (other, b"third"), (other, b"first")):
            etag = writer.replace("again/b.bin", data, etag)
            for reader in (store, other):
                blob = get_again(reader, "again/b.bin")
                same((blob.data, blob.etag), (data, etag), "what get_again gives")

        other.delete("again/b.bin")
        refused(NotFound, get_again, store, "again/b.bin")
        other.create("again/b.bin", b"anew")
        same(get_again(store, "again/b.bin").data, b"anew", "what get_again gives")
        refused(NotFound, get_again, store, "again/missing")

    def test_every_object_for_a_place_sees_all_writes(self, stores: Stores) -> None:
        """Nothing is cached: creations, replacements and deletions are seen at once by others."""
        first = stores()
        second = stores()
        etag = first.create("a", b"1")
        same(
            (second.get("a").data, second.head("a").size, keys(second)),
            (b"1", 1, ["a"]),
            "a creation, seen by another",
        )
        first.replace("a", b"22", etag)
        same(
            (second.get("a").data, second.head("a").size),
            (b"22", 2),
            "a replacement, seen by another",
        )
        first.delete("a")
        same(keys(second), [], "the listing after a deletion, seen by another")
        refused(NotFound, second.get, "a")

    def test_missing_objects_are_not_found(self, stores: Stores) -> None:
        """Whatever is read of them; the message says which object and where."""
        store = stores()
        store.create("there/object", b"1")
        for key in MISSING:
            for read in (store.get, store.head):
                refused(NotFound, read, key, mention=key)
            refused(NotFound, store.get, key, mention=store.url)
            for start, end in ((0, 5), (5, 5), (5, 2), (100, 200)):
                refused(NotFound, store.get_range, key, start, end, mention=key)

    def test_a_folder_is_no_object(self, stores: Stores) -> None:
        """What only begins the keys of others cannot be read, replaced or deleted."""
        store = stores()
        etag = store.create("folder/object", b"1")
        refused(NotFound, store.get, "folder")
        refused(NotFound, store.head, "folder")
        refused(PreconditionFailed, store.replace, "folder", b"2", etag)
        store.delete("folder")
        same(keys(store), ["folder/object"], "the listing")

    def test_create_refuses_what_is_there(self, stores: Stores) -> None:
        """Also the same content, or none; the object stays as it is (`If-None-Match: *`)."""
        store = stores()
        etag = store.create("a/b", b"first")
        for other in (b"second", b"first", b""):
            refused(AlreadyExists, store.create, "a/b", other, mention="a/b")
        same((store.get("a/b").data, store.head("a/b").etag), (b"first", etag), "the object")

    def test_replace_swaps_the_version_it_was_given(self, stores: Stores) -> None:
        """And returns the etag of the new one."""
        store = stores()
        first = store.create("a/b", b"1")
        second = store.replace("a/b", b"2", first)
        third = store.replace("a/b", b"three", second)
        entry = store.head("a/b")
        same((store.get("a/b").data, entry.etag, entry.size), (b"three", third, 5), "the object")
        same(keys(store), ["a/b"], "the listing")

    def test_replace_refuses_another_version(self, stores: Stores) -> None:
        """A stale etag, none, or a star; the object stays as it is (`If-Match`)."""
        store = stores()
        stale = store.create("a/b", b"1")
        etag = store.replace("a/b", b"2", stale)
        for wrong in (stale, "", "*", '"*"', "nonsense"):
            refused(PreconditionFailed, store.replace, "a/b", b"lost", wrong, mention="a/b")
        same((store.get("a/b").data, store.head("a/b").etag), (b"2", etag), "the object")

    def test_replace_does_not_create(self, stores: Stores) -> None:
        """What is not there has no version to be swapped."""
        store = stores()
        etag = store.create("there/object", b"1")
        for key, version in itertools.product(MISSING, (etag, "", "*")):
            refused(PreconditionFailed, store.replace, key, b"2", version, mention=key)
        same(keys(store), ["there/object"], "the listing")

    def test_every_version_has_an_etag_of_its_own(self, stores: Stores) -> None:
        """Other content has another etag, however short or quick; a swap cannot mistake one version
        for another.
        """
        store = stores()
        etag = store.create("a", b"0")
        earlier = [etag]
        for number in range(1, 12):
            etag = store.replace("a", b"%d" % number, etag)
            expect(
                etag and etag not in earlier,
                f"version {number} has the etag {etag!r} of an earlier one",
            )
            same(store.head("a").etag, etag, "the etag in head")
            earlier.append(etag)

    def test_deleting_a_missing_object_succeeds(self, stores: Stores) -> None:
        """And deletes nothing else."""
        store = stores()
        store.create("there/object", b"1")
        for key in [*MISSING, "there"]:
            done(store.delete, key)
            same(keys(store), ["there/object"], f"the listing after the deletion of {key!r}")

    def test_deleted_objects_are_gone_and_their_keys_free(self, stores: Stores) -> None:
        """Twice deleted is deleted; the key may be taken again."""
        store = stores()
        fill(store, ["a/b", "a/c"])
        store.replace("a/b", b"2", store.head("a/b").etag)
        done(store.delete, "a/b")
        done(store.delete, "a/b")
        refused(NotFound, store.get, "a/b")
        same(keys(store), ["a/c"], "the listing")
        done(store.replace, "a/b", b"more", done(store.create, "a/b", b"again"))
        same(store.get("a/b").data, b"more", "an object created anew and replaced")

    def test_ranges_are_cut_at_the_end(self, stores: Stores) -> None:
        """`[start, end)`; beyond the end there is nothing, and no error."""
        store = stores()
        store.create("a", b"0123456789")
        spans = {
            (0, 3): b"012",
            (3, 7): b"3456",
            (8, 100): b"89",
            (0, 10): b"0123456789",
            (9, 10): b"9",
            (10, 20): b"",
            (50, 60): b"",
            (4, 4): b"",
            (5, 2): b"",
            (0, 0): b"",
        }
        for (start, end), expected in spans.items():
            same(
                store.get_range("a", start, end),
                expected,
                f"the range [{start}, {end}) of ten bytes",
            )

    def test_empty_objects_are_objects(self, stores: Stores) -> None:
        """They are listed, read, protected from creation, and replaced."""
        store = stores()
        etag = store.create("a/empty", b"")
        same((store.get("a/empty").data, store.head("a/empty").size), (b"", 0), "an empty object")
        same(store.get_range("a/empty", 0, 10), b"", "a range of an empty object")
        same(keys(store), ["a/empty"], "the listing")
        refused(AlreadyExists, store.create, "a/empty", b"1")
        store.replace("a/empty", b"", store.replace("a/empty", b"full", etag))
        same(store.get("a/empty").data, b"", "an object made empty again")

    def test_large_objects_come_back_as_they_were(self, stores: Stores) -> None:
        """Five megabytes of noise, whole and in part."""
        store = stores()
        data = random.Random(1).randbytes(5_000_000)  # noqa: S311 - noise
        store.create("large", data)
        expect(
            store.get("large").data == data,
            "five megabytes of noise were read back otherwise than they were written",
        )
        same(store.head("large").size, len(data), "the size")
        same(
            store.get_range("large", 4_000_000, 4_000_100),
            data[4_000_000:4_000_100],
            "a range in the middle",
        )
        same(
            store.get_range("large", 4_999_990, 6_000_000), data[4_999_990:], "a range over the end"
        )

    def test_times_are_aware_and_never_go_backwards(self, stores: Stores) -> None:
        """In a timezone, close to now, and rising with every write."""
        store = stores()
        before = datetime.now(UTC) - timedelta(minutes=5)
        etag = store.create("a", b"0")
        times = [store.head("a").last_modified]
        for number in range(1, 4):
            etag = store.replace("a", b"%d" % number, etag)
            times.append(store.get("a").last_modified)

        times.append(next(iter(store.list())).last_modified)

        expect(
            all(time.utcoffset() is not None for time in times),
            f"a time has no timezone: {times[0]!r}",
        )
        expect(times == sorted(times), f"times go backwards: {', '.join(map(str, times))}")
        expect(
            before <= times[0] and times[-1] <= datetime.now(UTC) + timedelta(minutes=5),
            f"the store's clock says {times[0]}; deletions wait by it, so it must be about right",
        )

    def test_a_local_path_is_the_object_or_none(self, stores: Stores) -> None:
        """Where there is a path, the file has the content."""
        store = stores()
        store.create("a/b", b"content")
        path = store.local_path("a/b")
        expect(
            path is None or path.read_bytes() == b"content",
            f"local_path is {path}, which does not hold the object",
        )

    # --- keys -------------------------------------------------------------------------------------

    def test_odd_keys_work(self, stores: Stores) -> None:
        """Spaces, percent signs, other scripts, quotes, long names: written, read, listed,
        deleted.
        """
        store = stores()
        for key in ODD_KEYS:
            etag = store.create(key, b"1")
            same(store.get(key).data, b"1", f"the object {key!r}")

            sizes = [(entry.key, entry.size) for entry in store.list()]
            same(sizes, [(key, 1)], f"the listing with {key!r}")
            same(keys(store, key), [key], f"the listing of the prefix {key!r}")
            folder = key.rpartition("/")[0] + "/"
            same(keys(store, folder), [key], f"the listing of the folder of {key!r}")
            same(keys(store, start_after=key), [], f"the listing after {key!r}")

            store.replace(key, b"2", etag)
            same(store.get_range(key, 0, 1), b"2", f"a range of {key!r}")
            store.delete(key)
            same(keys(store), [], f"the listing without {key!r}")

    def test_malformed_keys_are_refused(self, stores: Stores) -> None:
        """By every method, with InvalidKeyError (`titans.store.check_key` does it), before anything
        happens.
        """
        store = stores()
        for key in REFUSED_KEYS:
            for method, rest in CALLS.items():
                refused(InvalidKeyError, getattr(store, method), key, *rest)
        same(keys(store), [], "the listing after malformed keys")

    def test_malformed_prefixes_are_refused_at_the_call(self, stores: Stores) -> None:
        """Not only when the first entry is asked for."""
        for prefix in ["/", "/a", "../", "a/../b", ".a", "a//", "a\\", "a\n"]:
            refused(InvalidKeyError, stores().list, prefix)
