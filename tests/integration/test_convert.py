"""`titans convert`: archives of the original layout with a key of their own become archives of the
provider's, and say the same at every time."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws
from original import Collector

import titans
from titans.cli.app import run
from titans.errors import (
    ArchiveNotFoundError,
    ConversionError,
    CorruptFileError,
    ProviderMismatchError,
    SchemaError,
)
from titans.store.memory import MemoryStore

NEWER = ("InstanceTier", "InstanceType", "Region", "AZ")
UTC_TIME = pl.Datetime("us", "UTC")
VALUES = {
    "DesiredCount": pl.Float64,
    "Score": pl.Int64,
    "T3": pl.Int64,
    "T2": pl.Int64,
    "IF": pl.Float64,
    "OndemandPrice": pl.Float64,
    "SpotPrice": pl.Float64,
    "Savings": pl.Float64,
}
START = datetime(2026, 1, 31, 21, 0, tzinfo=UTC)
KEYS = [
    ("Standard", "D2s_v3", "eastus", "1"),
    ("Standard", "D2s_v3", "eastus", "2"),
    ("Basic", "A0", "westus", None),
    ("Standard", "A0", "westus", None),
]
PLACES = {
    KEYS[0]: ("Standard_D2s_v3", "eastus", "1"),
    KEYS[1]: ("Standard_D2s_v3", "eastus", "2"),
    KEYS[2]: ("Basic_A0", "westus", "Single"),
    KEYS[3]: ("Standard_A0", "westus", "Single"),
}


def at(slot):
    return START + timedelta(minutes=10 * slot)


def dtypes(key):
    return {
        **dict.fromkeys(key, pl.String),
        "Time": UTC_TIME,
        **VALUES,
        "Ceased": pl.Boolean,
    }


def rows(slot, values, key=NEWER, time=None):
    """Old key → saving, `None` for a tombstone; the rows of a slot."""
    made = []
    for old, saving in values.items():
        numbers = [1.0, 3, 5, 10, 2.5, 1.0, 0.4, saving] if saving is not None else [None] * 8
        made.append((*old, time or at(slot), *numbers, saving is None))
    return pl.DataFrame(made, schema=dtypes(key), orient="row")


def written(slots, store=None, key=NEWER, waiting=()):
    """A store with the slots of a newer Azure collector; those in `waiting` are only uploaded."""
    collector = Collector(store or MemoryStore(), "azure", key, dtypes(key))
    for slot, values in slots.items():
        if slot in waiting:
            collector.upload(rows(slot, values, key), at(slot))
        else:
            collector.run(rows(slot, values, key), at(slot))
    return collector.store


def savings(archive, moment):
    state = archive.state(moment)
    return {row[:3]: row[-1] for row in state.drop("Time").rows()}


def states(slots):
    """Slot → the state there, by new key."""
    state, found = {}, {}
    for slot in sorted(slots):
        for old, saving in slots[slot].items():
            state.pop(PLACES[old], None)
            if saving is not None:
                state[PLACES[old]] = saving
        found[slot] = dict(state)
    return found


@pytest.fixture
def slots():
    """Forty slots over the end of a month: changes, a key that ceases, returns, and ceases."""
    made = {slot: {KEYS[0]: 60 + slot / 7} for slot in range(40)}
    made[0] |= {KEYS[1]: 61.53, KEYS[2]: 10.0, KEYS[3]: 20.0}
    made[9][KEYS[1]] = None
    made[17][KEYS[1]] = 0.6153
    made[21][KEYS[2]] = None
    made[30][KEYS[1]] = None
    return made


def test_a_bucket_with_azures_newer_key_says_the_same_at_every_time(slots):
    source, target = written(slots), MemoryStore()
    before = {entry.key: source.get(entry.key).data for entry in source.list()}
    seen = []
    done = titans.convert(
        source, target, provider="azure", progress=lambda *step: seen.append(step)
    )
    archive = titans.open(target, provider="azure")
    for slot, state in states(slots).items():
        assert savings(archive, at(slot)) == state, slot
    assert archive.verify(deep=True).passed
    assert (done.key, done.months, done.slots, done.folded) == (NEWER, 2, 40, 0)
    assert done.change_points == done.rows == sum(map(len, slots.values()))
    assert done.states == 2
    assert seen == [(n, 40) for n in range(1, 41)]
    assert {entry.key: source.get(entry.key).data for entry in source.list()} == before


def test_slots_that_no_manifest_names_are_converted_too(slots):
    target = MemoryStore()
    titans.convert(written(slots, waiting=(5, 6, 39)), target, provider="azure")
    archive = titans.open(target, provider="azure")
    assert {s: savings(archive, at(s)) for s in slots} == states(slots)


def test_a_tombstone_that_kept_the_time_of_the_row_before_means_its_slot():
    source = written({0: {KEYS[0]: 1.0}})
    stale = rows(3, {KEYS[0]: None}, time=at(0))
    Collector(source, "azure", NEWER, dtypes(NEWER)).run(stale, at(3))
    target = MemoryStore()
    titans.convert(source, target, provider="azure")
    changes = titans.open(target, provider="azure").changes()
    assert changes.select("Time", "Ceased").rows() == [(at(0), False), (at(3), True)]


def test_the_refusal_of_an_original_archive_names_convert(slots):
    archive = titans.open(written(slots), provider="azure")
    with pytest.raises(ProviderMismatchError, match=r"titans convert SRC DST --provider azure"):
        archive.latest()


@pytest.mark.parametrize("stop", [0, 1, 7, 23, 39])
def test_stopped_anywhere_it_goes_on(slots, stop):
    source, target = written(slots), MemoryStore()

    def stopping(done, total):
        if done > stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        titans.convert(source, target, provider="azure", progress=stopping)
    done = titans.convert(source, target, provider="azure")
    assert not done.already
    archive = titans.open(target, provider="azure")
    assert {s: savings(archive, at(s)) for s in slots} == states(slots)
    assert archive.verify(deep=True).passed
    objects = {entry.key: entry.etag for entry in target.list()}
    assert titans.convert(source, target, provider="azure").already
    assert {entry.key: entry.etag for entry in target.list()} == objects


# --- several keys become one ----------------------------------------------------------------------

TWIN = ("", "Standard_D2s_v3", "eastus", "1")
"""The same machine as `KEYS[0]`, as another collector wrote it."""


def test_two_keys_that_become_one_with_different_values_are_refused_and_named():
    source, target = written({0: {KEYS[0]: 1.0}, 1: {TWIN: 2.0}}), MemoryStore()
    with pytest.raises(ConversionError) as caught:
        titans.convert(source, target, provider="azure")
    message = str(caught.value)
    assert "2026-01-31T21:10" in message
    for part in ("InstanceTier='Standard'", "InstanceTier=''", "Savings=1.0", "Savings=2.0"):
        assert part in message
    assert list(target.list()) == []


moves = st.dictionaries(
    st.integers(0, 30),
    st.dictionaries(
        st.sampled_from([KEYS[0], TWIN, KEYS[2]]),
        st.sampled_from([None, 1.0, 2.0]),
        min_size=1,
    ),
    min_size=1,
)


@settings(deadline=None, max_examples=25)
@given(slots=moves)
def test_keys_that_become_one_live_while_one_of_them_does(slots):
    """Or the conversion is refused, exactly where they disagree."""
    old, expected, clash = {}, {}, False
    for slot in sorted(slots):
        for key, value in slots[slot].items():
            old.pop(key, None)
            if value is not None:
                old[key] = value
        both = {old[key] for key in (KEYS[0], TWIN) if key in old}
        clash |= len(both) > 1
        state = dict.fromkeys([PLACES[KEYS[0]]] * len(both), next(iter(both), None))
        if KEYS[2] in old:
            state[PLACES[KEYS[2]]] = old[KEYS[2]]
        expected[slot] = state

    target = MemoryStore()
    source = written({slot: slots[slot] for slot in sorted(slots)})
    if clash:
        with pytest.raises(ConversionError, match="are one key"):
            titans.convert(source, target, provider="azure")
        assert list(target.list()) == []
        return
    titans.convert(source, target, provider="azure")
    archive = titans.open(target, provider="azure")
    if not any(expected.values()):
        with pytest.raises(ArchiveNotFoundError):  # nothing but tombstones of unknown keys
            archive.latest()
        return
    assert {slot: savings(archive, at(slot)) for slot in slots} == expected


def test_a_tombstone_without_what_the_key_is_made_of_ends_the_key_it_belongs_to():
    """The tier is a value there, and a removed row has none."""
    key = ("InstanceType", "Region", "AZ")
    columns = {**dtypes(key), "InstanceTier": pl.String}
    collector = Collector(MemoryStore(), "azure", key, columns)
    live = rows(0, {("A0", "westus", "1"): 1.0}, key)
    collector.run(live.with_columns(InstanceTier=pl.lit("Basic")), at(0))
    gone = rows(2, {("A0", "westus", "1"): None}, key)
    collector.run(gone.with_columns(InstanceTier=pl.lit(None, pl.String)), at(2))
    target = MemoryStore()
    titans.convert(collector.store, target, provider="azure")
    changes = titans.open(target, provider="azure").changes()
    assert changes.select("InstanceType", "Time", "Ceased").rows() == [
        ("Basic_A0", at(0), False),
        ("Basic_A0", at(2), True),
    ]


# --- what is refused ------------------------------------------------------------------------------


def test_a_target_with_other_data_is_refused_and_stays(slots):
    source, target = written({0: {KEYS[0]: 1.0}}), MemoryStore()
    archive = titans.open(target, provider="azure")
    mine = rows(0, {KEYS[0]: 5.0}).drop("Time", "Ceased")
    archive.ingest(mine, at(0))
    before = {entry.key: entry.etag for entry in target.list()}
    with pytest.raises(ConversionError, match=r"holds data of provider 'azure' already"):
        titans.convert(source, target, provider="azure")
    assert {entry.key: entry.etag for entry in target.list()} == before


def test_source_and_target_are_two_places(slots):
    source = written(slots)
    with pytest.raises(ConversionError, match="one place"):
        titans.convert(source, source, provider="azure")


def test_a_conversion_of_another_source_is_not_gone_on_with(tmp_path):
    for name in "ab":
        written({0: {KEYS[0]: 1.0}}, titans_store(tmp_path / name))
    titans.convert(tmp_path / "a", tmp_path / "new", provider="azure")
    with pytest.raises(ConversionError, match="holds a conversion of"):
        titans.convert(tmp_path / "b", tmp_path / "new", provider="azure")


def titans_store(where):
    from titans.store import open_store

    return open_store(where)


def test_an_empty_place_is_no_archive(tmp_path):
    with pytest.raises(ConversionError, match="has no manifest"):
        titans.convert(tmp_path / "nothing", tmp_path / "new", provider="azure")


def test_an_archive_of_today_is_not_converted():
    source = MemoryStore()
    titans.open(source, provider="azure").ingest(
        rows(0, {KEYS[0]: 5.0}).drop("Time", "Ceased"), at(0)
    )
    with pytest.raises(ConversionError, match=r"is of today's layout"):
        titans.convert(source, MemoryStore(), provider="azure")


MANIFEST = "parquet_warm/azure/m8/2026/01/manifest.json"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pk_columns": []}, ConversionError, "does not say what the primary key is"),
        ({"levels": {"0": [{"file": "../x"}]}}, ConversionError, "cannot be its own"),
        ({"levels": {"x": 1}}, ConversionError, "cannot be read"),
        (
            {"levels": {"1": [{"file": "L1_0000_00000-00007.parquet"}]}},
            CorruptFileError,
            "is not there",
        ),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(change, error, message):
    source, target = written({0: {KEYS[0]: 1.0}}), MemoryStore()
    body = json.loads(source.get(MANIFEST).data) | change
    source.replace(MANIFEST, json.dumps(body).encode(), source.get(MANIFEST).etag)
    with pytest.raises(error, match=message):
        titans.convert(source, target, provider="azure")
    assert list(target.list()) == []


def test_a_damaged_file_is_named():
    source, target = written({0: {KEYS[0]: 1.0}}), MemoryStore()
    key = "parquet_cp_hot/azure/2026/01/31/21-00.parquet"
    source.replace(key, b"PAR1 no PAR1", source.get(key).etag)
    with pytest.raises(CorruptFileError, match="21-00"):
        titans.convert(source, target, provider="azure")
    assert list(target.list()) == []


def test_a_value_that_does_not_fit_is_refused_before_anything_is_written():
    key = NEWER
    columns = {**dtypes(key), "Score": pl.Float64}
    collector = Collector(MemoryStore(), "azure", key, columns)
    for slot in range(3):
        made = rows(slot, {KEYS[0]: 1.0}).with_columns(Score=pl.lit(2.0 + (slot == 2) / 2))
        collector.run(made, at(slot))
    target = MemoryStore()
    with pytest.raises(SchemaError, match=r"Score.*2\.5"):
        titans.convert(collector.store, target, provider="azure")
    assert list(target.list()) == []


def test_a_difference_afterwards_is_noticed(slots, monkeypatch):
    """What the archive answers is compared, not what was handed to it."""
    answered = titans.Archive.state
    monkeypatch.setattr(
        titans.Archive, "state", lambda self, moment: answered(self, moment).head(1)
    )
    with pytest.raises(CorruptFileError, match="the state at"):
        titans.convert(written(slots), MemoryStore(), provider="azure")


# --- the command ----------------------------------------------------------------------------------


def typed(*words):
    with pytest.raises(SystemExit) as done:
        run(list(words))
    return done.value.code


def test_the_command_converts_and_says_what_it_did(tmp_path, slots, capsys):
    source, target = tmp_path / "old", tmp_path / "new"
    written(slots, titans_store(source))
    command = ("convert", str(source), str(target), "--provider", "azure")
    assert typed(*command) == 0
    said = capsys.readouterr().out
    assert "47 change points with the key InstanceTier, InstanceType, Region, AZ became 47" in said
    assert "in 40 slot(s) of 2 month(s)" in said
    assert "2 whole states were compared" in said
    archive = titans.open(target, provider="azure")
    assert {s: savings(archive, at(s)) for s in slots} == states(slots)

    assert typed(*command) == 0
    assert "already: nothing was done" in capsys.readouterr().out
    assert "are one place" not in str(typed("convert", str(source), str(target), "-p", "azure"))
    assert "one place" in typed("convert", str(source), str(source), "-p", "azure")


def test_a_bucket_is_converted_into_a_place_of_its_own_within(slots, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="spotlake")
        written(slots, titans_store("s3://spotlake"))
        target = "s3://spotlake/converted"
        assert titans.convert("s3://spotlake", target, provider="azure").slots == 40
        assert titans.convert("s3://spotlake", target, provider="azure").already
        archive = titans.open(target, provider="azure")
        assert {s: savings(archive, at(s)) for s in (0, 20, 39)} == {
            s: states(slots)[s] for s in (0, 20, 39)
        }
