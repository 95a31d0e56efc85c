"""Of large files in stores elsewhere, a question fetches only what it may need, and is answered all
the same."""

from unittest.mock import patch

import polars as pl
import pytest
from elsewhere import Elsewhere, small_parts
from oracle import PROVIDER, at, snapshot

from titans import Archive
from titans.errors import CorruptFileError, NotFound, SnapshotExpiredError
from titans.store.memory import MemoryStore
from titans.tiers.files import parts
from titans.tiers.files.kept import KEPT, Kept

KEYS = [f"{n:03}" for n in range(0, 200, 2)]


@pytest.fixture
def store(small_files):
    """Two sealed months of merged files with many row groups, and a slot that is not adopted
    yet."""
    store = Elsewhere()
    archive = Archive(store, PROVIDER)
    with small_parts():
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


@pytest.mark.parametrize("piece", [8 << 20, 2000])
def test_a_scan_is_the_same_and_fetches_only_its_columns_and_row_groups(store, piece):
    with small_parts(piece=piece):
        archive, near = Archive(store, PROVIDER), whole(store)
        archive.scan().collect()
        store.fetched.clear()
        archive.scan().collect()
        everything = store.of_merged()
        for columns, where, most in (
            (["k"], None, 0.9),
            (["k", "Time"], None, 0.95),
            (None, pl.col("k") == "050", 0.4),
            (None, pl.col("k").is_in(["002", "004"]), 0.4),
            (None, (pl.col("k") > "190") & (pl.col("v") >= 0), 0.5),
            (["w"], pl.col("k") < "010", 0.3),
            (None, pl.col("k") == "nobody", 0.01),
        ):
            store.fetched.clear()
            lazies = [each.scan() for each in (archive, near)]
            if where is not None:
                lazies = [lazy.filter(where) for lazy in lazies]
            if columns is not None:
                lazies = [lazy.select(columns) for lazy in lazies]
            found, expected = (lazy.collect() for lazy in lazies)
            by = found.columns
            assert found.sort(by).equals(expected.sort(by)), (columns, where)
            assert store.of_merged() <= most * everything, (columns, where)


def test_files_are_fetched_while_others_are_decoded_and_never_all_at_once(store):
    archive = Archive(store, PROVIDER)
    with patch("titans.tiers.files.fetch._REQUESTS", 2), small_parts(piece=1500):
        frames = archive.scan().collect_batches()
        next(iter(frames))
        assert (
            0
            < store.of_merged()
            < sum(len(blob.data) for key, blob in store._objects.items() if "/L" in key)
        )
    assert archive.scan().collect().sort("k", "Time").equals(whole(store).changes())


# --- what is kept ---------------------------------------------------------------------------------


@pytest.fixture
def keeping(store):
    with patch.object(KEPT, "limit", 1 << 20):
        yield Archive(store, PROVIDER)
    KEPT.clear()


QUESTIONS = [
    lambda archive: archive.history(k="050"),
    lambda archive: archive.state(at(12)),
    lambda archive: archive.latest(),
    lambda archive: archive.changes(at(9), at(12)),
    lambda archive: archive.scan().select("k").collect().sort("k"),
]


@pytest.mark.parametrize("ask", QUESTIONS)
def test_what_was_fetched_is_not_fetched_again(store, keeping, ask):
    expected = ask(whole(store))
    assert ask(keeping).equals(expected)
    store.fetched.clear()
    assert ask(keeping).equals(expected)
    assert store.of_merged() == 0


def test_of_a_file_that_is_kept_whole_no_part_is_fetched(store, keeping):
    keeping.changes(at(9), at(15))
    store.fetched.clear()
    assert keeping.history(k="050").equals(whole(store).history(k="050"))
    assert store.of_merged() == 0


def test_hot_files_are_not_kept(store, keeping):
    before = keeping.latest()
    keys = [key for key in store._objects if key.startswith("parquet_cp_hot")]
    store.fetched.clear()
    keeping.latest()
    assert {key for key, _ in store.fetched} & set(keys)
    assert keeping.latest().equals(before)


def test_what_is_kept_does_not_vouch_for_what_is_stored(store, keeping):
    keeping.changes()
    key = max(key for key in store._objects if "/L" in key)
    data = bytearray(store._objects[key].data)
    data[4:300] = bytes(296)
    store._put(key, bytes(data))
    assert not keeping.verify(deep=True).passed


def test_as_much_is_kept_as_may_be_and_the_oldest_goes_first():
    kept = Kept(100)
    fetched = []

    def fetch(name, size=25):
        def give():
            fetched.append(name)
            return bytes(size)

        return kept.get(name, give)

    for name in "abcd":
        fetch(name)
    fetch("a")
    assert fetched == list("abcd")
    fetch("e")  # b goes
    assert "b" not in kept
    assert all(name in kept for name in "acde")
    fetch("large", 26)
    assert "large" not in kept
    kept.clear()
    assert not any(name in kept for name in "abcde")
