"""Uploads that say more than their rows: that they are complete, or that nothing had changed."""

import json
from itertools import permutations

import pandas as pd
import polars as pl
import pytest
from oracle import PROVIDER, as_dict, at, changes, snapshot

import titans
import titans_common
from titans import Archive
from titans.errors import SlotConflictError
from titans.store.memory import MemoryStore

MANIFEST = "parquet_warm/small/m8/2026/01/manifest.json"
NOTHING = pl.DataFrame()
A, B = (1, 0.5), (2, 1.5)

pytestmark = pytest.mark.usefixtures("small_files")


@pytest.fixture
def archive():
    return Archive(MemoryStore(), PROVIDER)


def statuses(archive):
    return archive.coverage()["status"].to_list()


def edited(archive, change):
    data = json.loads(archive.store.get(MANIFEST).data)
    change(data)
    archive.store.delete(MANIFEST)
    archive.store.create(MANIFEST, json.dumps(data).encode())
    return Archive(archive.store, PROVIDER)


def uploaded(archive):
    """Four uploads, one of each kind, and a slot nobody looked at."""
    archive.upload(changes({"a": A}), at(0), complete=True)
    archive.upload(NOTHING, at(1), complete=True)
    archive.upload(changes({"b": B}), at(2))
    archive.upload(changes({"b": None}), at(4), complete=True)
    return ["observed", "empty", "changes", "missing", "observed"]


# --- what it says ---------------------------------------------------------------------------------


def test_coverage_tells_four_kinds_of_slots(archive):
    expected = uploaded(archive)
    assert statuses(archive) == expected
    archive.compact()
    assert statuses(archive) == expected
    archive.seal("2026-01")
    assert statuses(archive) == expected
    assert archive.verify(deep=True).passed
    assert archive.status()[0].gaps == 1  # beside uploads, nobody looks at more than they say


def test_a_quiet_slot_is_a_file_without_rows(archive):
    assert archive.upload(NOTHING, at(0)) == ""
    assert list(archive.store.list("")) == []
    key = archive.upload(NOTHING, at(0), complete=True)
    assert key == archive.paths.hot_key(titans.slots.Slot.of(at(0)))
    assert pl.read_parquet(archive.store.get(key).data).schema == PROVIDER.schema_dtypes
    assert archive.changes().is_empty()
    assert archive.latest().is_empty()


@pytest.mark.parametrize(
    "empty",
    [pl.DataFrame(), changes({}), pd.DataFrame(), pd.DataFrame({"k": []}), iter([changes({})])],
    ids=["no columns", "polars", "pandas, no columns", "pandas", "parts"],
)
@pytest.mark.parametrize("package", [titans, titans_common])
def test_collectors_record_an_empty_frame_if_they_ask_for_it(monkeypatch, package, empty):
    monkeypatch.setattr("titans.facade.get_config", lambda name: PROVIDER)
    store = MemoryStore()
    rows = changes({"a": A})
    assert package.upload_hot_tier(NOTHING, at(0), "small", store=store) == ""
    key = package.upload_hot_tier(empty, at(0), "small", store=store, record_empty=True)
    package.upload_hot_tier(rows, at(1), "small", store=store, record_empty=True)
    package.run_compaction(key, at(0), "small", store=store)
    archive = Archive(store, PROVIDER)
    assert statuses(archive) == ["empty", "changes"]
    assert as_dict(archive.latest()) == {"a": A}


# --- it is no snapshot ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_complete_upload_asserts_its_own_keys_alone(archive, order):
    steps = [
        lambda: archive.ingest(snapshot({"a": A, "b": B}), at(0)),
        lambda: archive.upload(changes({"a": B}), at(1), complete=True),
        lambda: archive.upload(NOTHING, at(2), complete=True),
        lambda: archive.ingest(snapshot({"a": A}), at(3)),
    ]
    for number in order:
        steps[number]()
        archive.compact()
    assert statuses(archive) == ["observed", "observed", "empty", "observed"]
    states = [as_dict(archive.state(at(n))) for n in range(4)]
    assert states == [{"a": A, "b": B}, {"a": B, "b": B}, {"a": B, "b": B}, {"a": A}]
    assert archive.status()[0].observed == 2
    assert archive.verify(deep=True).passed


def test_no_diff_is_taken_against_a_complete_upload(archive):
    archive.upload(changes({"a": A}), at(0), complete=True)
    archive.ingest(snapshot({"b": B}), at(1), max_ceased=1.0)
    assert as_dict(archive.state(at(1))) == {"b": B}
    manifest = json.loads(archive.store.get(MANIFEST).data)
    assert list(manifest["full"]) == [str(titans.slots.Slot.of(at(1)).index)]


# --- the first upload of a slot counts ------------------------------------------------------------


@pytest.mark.parametrize("is_merged", [False, True])
@pytest.mark.parametrize("rows", [changes({"a": A}), NOTHING], ids=["rows", "empty"])
def test_the_same_upload_again_is_a_success(archive, caplog, rows, is_merged):
    archive.upload(changes({"z": A}), at(1))
    key = archive.upload(rows, at(0), complete=True)
    if is_merged:
        archive.compact()
        archive.vacuum("0s")
    assert archive.upload(rows, at(0), complete=True, on_conflict="error") == key
    assert "already holds" not in caplog.text
    archive.compact()
    assert statuses(archive)[0] == ("observed" if len(rows) else "empty")


@pytest.mark.parametrize("is_merged", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ((changes({"a": A}), False), (changes({"a": A}), True), "nobody said that they are compl"),
        ((NOTHING, True), (changes({"a": A}), True), "says nothing had changed"),
        ((changes({"a": A}), True), (NOTHING, True), "other rows"),
        (None, (NOTHING, True), "a snapshot"),
    ],
)
def test_another_claim_is_a_conflict_and_changes_nothing(archive, first, second, what, is_merged):
    archive.upload(changes({"z": A}), at(1))
    if first is None:
        archive.ingest(snapshot({"a": A}), at(0))
    else:
        archive.upload(first[0], at(0), complete=first[1])
    if is_merged:
        archive.compact()
        archive.vacuum("0s")
    before = statuses(archive), archive.changes().rows()
    with pytest.raises(SlotConflictError, match=what):
        archive.upload(second[0], at(0), complete=second[1], on_conflict="error")
    assert archive.upload(second[0], at(0), complete=second[1])  # kept, with a warning
    archive.compact()
    assert (statuses(archive), archive.changes().rows()) == before
    assert archive.verify(deep=True).passed


def test_less_said_of_the_same_rows_is_no_conflict(archive):
    key = archive.upload(changes({"a": A}), at(0), complete=True)
    assert archive.upload(changes({"a": A}), at(0), on_conflict="error") == key
    assert statuses(archive) == ["observed"]


# --- it stays known -------------------------------------------------------------------------------


def test_it_outlives_an_original_tool_that_saves_over_the_manifest(archive):
    expected = uploaded(archive)
    archive.compact()

    def save_over(data):
        for name in ("format_version", "complete", "empty", "adopted", "observed", "writer"):
            data.pop(name)
        for level, files in data["levels"].items():
            kept = [{"file": f["file"], "hot_range": f["hot_range"]} for f in files]
            data["levels"][level] = kept

    archive = edited(archive, save_over)
    assert statuses(archive) == expected
    archive.upload(NOTHING, at(5), complete=True)
    archive.compact()
    assert statuses(archive) == [*expected, "empty"]
    assert archive.verify(deep=True).passed


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("empty"),
        lambda data: [data.pop("complete"), data.pop("empty")],
        lambda data: data.update(empty=data["complete"]),
        lambda data: data.update(complete=data["adopted"]),
    ],
)
def test_verify_notices_a_manifest_that_says_something_else(archive, change):
    uploaded(archive)
    archive.compact()
    archive = edited(archive, change)
    found = {c.name: c.failures for c in archive.verify().checks if not c.passed}
    assert list(found) == ["slots"]
    assert "the files disagree on who looked" in found["slots"][0]


def test_a_claim_about_slots_that_are_not_there_is_refused(archive):
    uploaded(archive)
    archive.compact()
    archive = edited(archive, lambda data: data.update(complete=[[0, 0]], empty=[]))
    with pytest.raises(titans.errors.ManifestError, match="slots that it does not hold"):
        archive.coverage()
    archive.repair()
    archive.compact()
    assert statuses(archive) == ["observed", "empty", "changes", "missing", "observed"]


def test_a_manifest_without_claims_says_nothing_of_them(archive):
    archive.ingest(snapshot({"a": A}), at(0))
    archive.upload(changes({"a": B}), at(1))
    archive.compact()
    assert not {"complete", "empty"} & set(json.loads(archive.store.get(MANIFEST).data))
