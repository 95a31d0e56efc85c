"""Of large files in stores elsewhere, a question about a key fetches only what may hold it, and is
answered all the same."""

from unittest.mock import patch

import polars as pl
import pytest
from oracle import PROVIDER, at, snapshot

from titans import Archive
from titans.errors import CorruptFileError, NotFound, SnapshotExpiredError
from titans.store.memory import MemoryStore
from titans.tiers.files import fetch, footer, parts

KEYS = [f"{n:03}" for n in range(0, 200, 2)]


class Elsewhere(MemoryStore):
    """As fast in parallel as a store behind a network; counts what is fetched."""

    def __init__(self):
        super().__init__("elsewhere")
        self.parallel = True
        self.fetched: list[tuple[str, int]] = []

    def get(self, key):
        blob = super().get(key)
        self.fetched.append((key, len(blob.data)))
        return blob

    def get_range(self, key, start, end):
        data = super().get(key).data[start:end]
        self.fetched.append((key, len(data)))
        return data

    def of_merged(self):
        return sum(size for key, size in self.fetched if "/L" in key)


@pytest.fixture
def store(small_files):
    """Two sealed months of merged files with many row groups, and a slot that is not adopted
    yet."""
    parts._footers.clear()
    store = Elsewhere()
    archive = Archive(store, PROVIDER)
    with (
        patch("titans.tiers.files.parquet.ROW_GROUP", 10),
        patch.object(fetch, "TAIL", 64),
        patch.object(parts, "_WORTH", 64),
        patch.object(parts, "NEAR", 128),
        patch.object(footer, "NEAR", 128),
    ):
        for slot in range(9, 15):
            there = [key for n, key in enumerate(KEYS) if (n + slot) % 17]
            archive.ingest(
                snapshot({key: (slot * (n % 3), 0.5) for n, key in enumerate(there)}), at(slot)
            )
        archive.seal("2026-01")
        archive.seal("2026-02")
        archive.vacuum("0s")
        archive.upload(snapshot({"000": (77, 0.5)}), at(15))
        store.fetched.clear()
        yield store


def whole(store):
    """The archive as if all of it were near."""
    near = MemoryStore()
    near._objects = store._objects
    return Archive(near, PROVIDER)


def test_a_history_is_the_same_and_fetches_less(store):
    archive, near = Archive(store, PROVIDER), whole(store)
    everything = near.history()
    sizes = {key: len(blob.data) for key, blob in store._objects.items() if "/L" in key}
    for key in [*KEYS, "001", "1", "", "zzz", "0020"]:
        store.fetched.clear()
        found = archive.history(k=key)
        assert found.equals(everything.filter(pl.col("k") == key)), key
        # The first time also footers, which are long for files as small as these.
        assert store.of_merged() < sum(sizes.values()) * (1.5 if key == KEYS[0] else 0.5), key
    for start, end in ((at(10), at(13)), (None, at(12)), (at(12), None), (at(11, 5), at(11, 6))):
        assert archive.history(start, end, k="050").equals(near.history(start, end, k="050"))


def test_footers_are_fetched_once(store):
    archive = Archive(store, PROVIDER)
    archive.history(k="050")
    first = [key for key, _ in store.fetched if "/L" in key]
    store.fetched.clear()
    archive.history(k="060")
    again = [key for key, _ in store.fetched if "/L" in key]
    assert len(again) == len(set(again)) == len(set(first)) < len(first)


def test_of_a_file_that_holds_little_else_all_is_fetched(store):
    with patch("titans.tiers.files.parquet.ROW_GROUP", 10_000):
        archive = Archive(store, PROVIDER)
        for slot in range(16, 18):
            archive.ingest(
                snapshot({f"{n:04}": (n * slot, n / slot) for n in range(2000)}),
                at(slot),
                max_ceased=1.0,
            )
    store.fetched.clear()
    with patch.object(parts, "NEAR", 4096):
        assert archive.history(at(16), k="0500").height == 2
    merged = [(key, size) for key, size in store.fetched if "/L" in key]
    assert merged[-1][1] == len(store._objects[merged[-1][0]].data)


@pytest.mark.parametrize("damage", ["no end", "another end", "broken footer", "shorter"])
def test_a_damaged_file_is_named(store, damage):
    key = max(key for key in store._objects if "/L" in key)
    data = store._objects[key].data
    footer = int.from_bytes(data[-8:-4], "little") + 8
    store._put(
        key,
        {
            "no end": data[:-8],
            "another end": data[:-4] + b"PARE",
            "broken footer": data[:-footer] + b"\x1c" * (footer - 8) + data[-8:],
            "shorter": data[:4] + data[300:],
        }[damage],
    )
    with pytest.raises(CorruptFileError, match=key.rpartition("/")[2]):
        Archive(store, PROVIDER).history(k="050")


def test_a_file_that_is_gone_makes_the_question_start_again_and_fail_in_the_end(store):
    archive = Archive(store, PROVIDER)
    key = max(key for key in store._objects if "/L" in key)
    real, gone = store.get_range, []

    def once(asked, start, end):
        if asked == key and not gone:
            gone.append(asked)
            raise NotFound(asked)
        return real(asked, start, end)

    with patch.object(store, "get_range", once):
        assert archive.history(k="050").equals(whole(store).history(k="050"))
    assert gone
    store.delete(key)
    with pytest.raises(SnapshotExpiredError, match="longer"):
        archive.history(k="050")
