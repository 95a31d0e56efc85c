"""Foreign objects stay out and hurt nobody; damaged ones are never left out silently."""

from __future__ import annotations

import json
from io import BytesIO

import polars as pl
import pytest
from oracle import PROVIDER, as_dict, at, changes, snapshot

from titans import Archive, Provider, Schema
from titans.errors import CorruptFileError, ForeignObjectError, InputError, InvalidKeyError
from titans.slots import Month, Slot
from titans.store.memory import MemoryStore
from titans.tiers.manifest.commit import read_head

pytestmark = pytest.mark.usefixtures("eight_by_eight")

JANUARY = Month(2026, 1)
WARM = "parquet_warm/small/m8/2026/01/"
FREE = 11
"""A slot that nobody has anything for; the last one of January."""


def key_of(n):
    return Archive(MemoryStore(), PROVIDER).paths.hot_key(Slot.of(at(n)))


@pytest.fixture
def archive():
    """Nine snapshots, merged, and an upload that waits; its process remembers nothing."""
    archive = Archive(MemoryStore(), PROVIDER)
    for n in range(9):
        archive.ingest(snapshot({"a": (n, 0.5), "b": (n // 3, 1.5)}), at(n), max_ceased=1.0)
    archive.upload(changes({"c": (1, 0.5)}), at(9))
    return Archive(archive.store, PROVIDER)


def put(archive, key, data):
    archive.store.delete(key)
    archive.store.create(key, data)


def said(data):
    return json.loads(pl.read_parquet_metadata(BytesIO(data))["titans"])


def saying(data, metadata):
    """The same rows, with something else in the metadata."""
    out = BytesIO()
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    pl.read_parquet(BytesIO(data)).write_parquet(out, metadata={"titans": text})
    return out.getvalue()


def with_rows(data, change):
    """Other rows under the same metadata."""
    out = BytesIO()
    metadata = pl.read_parquet_metadata(BytesIO(data))
    change(pl.read_parquet(BytesIO(data))).write_parquet(out, metadata=metadata)
    return out.getvalue()


def plain(**columns):
    out = BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


def hot(archive, n):
    return archive.store.get(key_of(n)).data


def of_another(archive):
    other = Archive(MemoryStore(), Provider("other", Schema({"v": "Int64"}), ("k",)))
    other.upload(pl.DataFrame({"k": ["a"], "v": [1]}), at(FREE))
    return other.store.get(other.paths.hot_key(Slot.of(at(FREE)))).data


def merged(archive):
    return next(entry.key for entry in archive.store.list(WARM + "L1"))


ABSURD = [None, True, 3, 10**300, "x", [], [[0, 10**12]], {"a": {}}, -1, 1e300, "[" * 50_000]

FOREIGN = {
    "nonsense": lambda archive: b"nonsense",
    "empty": lambda archive: b"",
    "another slot's hot file": lambda archive: hot(archive, 9),
    "another slot's snapshot": lambda archive: hot(archive, 8),
    "a merged file": lambda archive: archive.store.get(merged(archive)).data,
    "another provider's": of_another,
    "Parquet of somebody else": lambda archive: plain(x=[1, 2]),
    "metadata that is no object": lambda archive: saying(hot(archive, 9), "[1, 2]"),
    "metadata that is no JSON": lambda archive: saying(hot(archive, 9), "{"),
    "metadata without end": lambda archive: saying(hot(archive, 9), "[" * 100_000),
    "a number without end": lambda archive: saying(hot(archive, 9), '{"a": ' + "9" * 5000 + "}"),
} | {
    f"{field} is {value!r:.20}": lambda archive, field=field, value=value: saying(
        hot(archive, 9), said(hot(archive, 9)) | {field: value}
    )
    for field in ("format_version", "provider", "kind", "slots", "hashes", "rows", "schema_version")
    for value in ABSURD
    if type(value) is not int or value != 3
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_object_stays_out_and_hurts_nobody(what, archive, caplog):
    before = [as_dict(archive.state(at(n))) for n in range(12)]
    points = archive.changes()
    key = key_of(FREE)
    data = FOREIGN[what](archive)
    archive.store.create(key, data)

    archive = Archive(archive.store, PROVIDER)
    assert [as_dict(archive.state(at(n))) for n in range(12)] == before
    assert archive.changes().equals(points)
    assert archive.scan().collect().sort("k", "Time").equals(points)
    assert archive.compact().adopted == 1, "the others are adopted"
    assert archive.changes().equals(points)
    assert key in caplog.text

    (month,) = archive.status()
    assert month.waiting == 0
    assert [key in reason for reason in month.left_out] == [True]
    verified = archive.verify(deep=True)
    assert verified.foreign == (key,)
    assert [check.name for check in verified.checks if not check.passed] == ["waiting"]
    archive.vacuum("0s")
    assert archive.store.get(key).data == data, "and nobody removes it"

    place = archive.set_aside(key)
    assert archive.store.get(place).data == data
    assert archive.verify(deep=True).passed
    assert archive.status()[0].left_out == ()
    archive.upload(changes({"z": (1, 0.5)}), at(FREE))
    assert as_dict(archive.latest())["z"] == (1, 0.5)


def test_a_slot_whose_name_is_taken_by_a_foreign_object_is_refused_by_name(archive):
    archive.store.create(key_of(FREE), b"nonsense")
    with pytest.raises(ForeignObjectError, match=r"14-20|23-50.*--set-aside"):
        archive.upload(changes({"z": (1, 0.5)}), at(FREE))
    assert "z" not in as_dict(archive.latest())


@pytest.mark.parametrize(
    "key",
    [
        "parquet_cp_hot/small/2026/01/notes.txt",
        "parquet_cp_hot/small/2026/01/31/L1_0001_04452-04459.parquet",
        "parquet_warm/small/m8/2026/01/notes.txt",
        "parquet_state/small/m8/2026/01/x.parquet",
    ],
)
def test_an_object_of_another_name_is_told_and_no_failure(key, archive):
    archive.store.create(key, b"mine")
    archive.compact()
    verified = archive.verify(deep=True)
    assert verified.passed
    assert verified.foreign == (key,)
    archive.set_aside(key)
    assert archive.verify().foreign == ()


# --- damaged --------------------------------------------------------------------------------------


def flipped(data):
    """Bits turned in the middle of the rows, with the footer as it was."""
    broken = bytearray(data)
    for place in range(20, len(broken) // 3):
        broken[place] ^= 0xFF
    return bytes(broken)


def null_keys(archive):
    """As an earlier writer left it: no metadata, and a null in the key."""
    rows = pl.read_parquet(BytesIO(hot(archive, 9)))
    rows = pl.concat([rows, rows.with_columns(k=pl.lit(None, dtype=pl.String))])
    out = BytesIO()
    rows.write_parquet(out)
    return out.getvalue()


DAMAGED = {
    "pages that cannot be read": lambda archive: flipped(hot(archive, 9)),
    "another value": lambda archive: with_rows(
        hot(archive, 9), lambda rows: rows.with_columns(pl.col("v") + 1)
    ),
    "a row less": lambda archive: with_rows(hot(archive, 9), lambda rows: rows.head(0)),
    "cut short": lambda archive: hot(archive, 9)[:-5],
    "null keys of an earlier writer": null_keys,
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file_that_waits_is_never_left_out_silently(what, archive):
    """Nothing follows it: every later state needs it, no earlier one does."""
    early = [as_dict(archive.state(at(n, 5))) for n in range(9)]
    key = key_of(9)
    put(archive, key, DAMAGED[what](archive))
    archive.upload(changes({"d": (1, 0.5)}), at(10))

    archive = Archive(archive.store, PROVIDER)
    assert archive.compact().adopted == 1, "the others are adopted"
    for again in (archive, Archive(archive.store, PROVIDER)):
        for ask in (
            lambda archive: archive.latest(),
            lambda archive: archive.state(at(9, 5)),
            lambda archive: archive.changes(),
            lambda archive: archive.changes(at(9), at(10)),
            lambda archive: archive.scan().collect(),
            lambda archive: archive.grid(at(9), at(10)),
        ):
            with pytest.raises(CorruptFileError, match="titans repair --set-aside") as caught:
                ask(again)
            assert caught.value.key == key
        assert [as_dict(again.state(at(n, 5))) for n in range(9)] == early
        assert again.changes(at(0), at(9)).height
    found = archive.verify(deep=True)
    assert [check.name for check in found.checks if not check.passed] == ["waiting"]
    assert key in next(c for c in found.checks if not c.passed).failures[0]

    archive.set_aside(key)
    assert as_dict(archive.latest()) == {**early[8], "d": (1, 0.5)}
    assert archive.verify(deep=True).passed


def test_from_the_next_snapshot_on_nothing_needs_a_damaged_file(archive):
    put(archive, key_of(9), flipped(hot(archive, 9)))
    archive.ingest(snapshot({"a": (5, 0.5)}), at(10, 3), max_ceased=1.0)
    archive = Archive(archive.store, PROVIDER)
    assert as_dict(archive.latest()) == {"a": (5, 0.5)}
    assert as_dict(archive.state(at(10, 3))) == {"a": (5, 0.5)}
    for n, minutes in ((9, 0), (9, 9), (10, 2)):
        with pytest.raises(CorruptFileError):
            archive.state(at(n, minutes))
    with pytest.raises(CorruptFileError):
        archive.changes(at(10), at(11))  # it may have needed correcting rows there
    assert archive.changes(at(11), at(14)).height == 0


def test_an_upload_again_over_a_damaged_file_is_no_success(archive):
    put(archive, key_of(9), flipped(hot(archive, 9)))
    with pytest.raises(CorruptFileError):
        Archive(archive.store, PROVIDER).upload(changes({"c": (1, 0.5)}), at(9))


@pytest.mark.parametrize("letter", ["L1", "B_", "hot"])
def test_a_damaged_file_that_the_manifest_names_is_named_and_the_others_answer(letter, archive):
    archive.compact()
    key = key_of(8)
    if letter != "hot":
        key = next(entry.key for entry in archive.store.list(WARM + letter))
    put(archive, key, b"PAR1" + archive.store.get(key).data[4:-8])
    archive = Archive(archive.store, PROVIDER)
    with pytest.raises(CorruptFileError) as caught:
        archive.changes()
    assert caught.value.key == key
    archive.upload(changes({"d": (1, 0.5)}), at(10))
    assert Archive(archive.store, PROVIDER).compact().adopted == 1
    assert as_dict(Archive(archive.store, PROVIDER).state(at(0, 5))) == {
        "a": (0, 0.5),
        "b": (0, 1.5),
    }
    assert not archive.verify().passed


def test_verify_deep_names_every_bad_file(archive):
    archive.seal("2026-01")
    archive.vacuum("0s")
    bad = set()
    for prefix in (WARM + "L", WARM + "B", "parquet_state/small/m8/2026/01/F"):
        for entry in archive.store.list(prefix):
            put(archive, entry.key, flipped(archive.store.get(entry.key).data))
            bad.add(entry.key)
    assert len(bad) >= 3
    lines = [line for check in archive.verify(deep=True).checks for line in check.failures]
    assert [key for key in bad if not any(key in line for line in lines)] == []


def test_a_hot_file_that_the_manifest_names_and_is_another_by_now_is_damaged(archive):
    archive.compact()
    name = next(e.file for e in read_head(archive._dataset, JANUARY).manifest.files if e.is_hot)
    changed = with_rows(archive.store.get(name).data, lambda rows: rows)
    metadata = said(changed) | {"hash": "0123456789abcdef"}
    put(archive, name, saying(changed, metadata))
    with pytest.raises(CorruptFileError) as caught:
        Archive(archive.store, PROVIDER).changes()
    assert caught.value.key == name


# --- verify: what the manifest says of slots ------------------------------------------------------


def forget_observed(data):
    data["observed"] = data["observed"][:-1] or [[0, 0]]


def another_full(data):
    data["full"] = dict.fromkeys(data["full"], "2026-01-31T22:00:01Z")


def another_bound(data):
    data["levels"]["1"][0]["max_key"] = ["zzz"]


def another_base_hash(data):
    data["levels"]["1"][0]["hash"] = "0" * 16


def another_slot(data):
    data["levels"]["1"][0]["slots"] = [[4453, 4457]]


@pytest.mark.parametrize(
    "change", [forget_observed, another_full, another_bound, another_base_hash, another_slot]
)
def test_verify_compares_the_manifest_with_what_the_files_say(change, archive):
    archive.compact()
    assert archive.verify().passed
    key = WARM + "manifest.json"
    data = json.loads(archive.store.get(key).data)
    change(data)
    put(archive, key, json.dumps(data).encode())
    assert not archive.verify().passed


def test_verify_replays_the_hash_of_every_snapshot(archive):
    """A merged file whose rows, hash and bounds agree, but which are not what was ingested."""
    from titans.changes.digest import digest

    archive.compact()
    key = merged(archive)
    data = archive.store.get(key).data
    rows = pl.read_parquet(BytesIO(data)).with_columns(w=pl.lit(9.5))
    metadata = said(data) | {"hash": digest(rows)}
    out = BytesIO()
    rows.write_parquet(out, metadata={"titans": json.dumps(metadata)})
    put(archive, key, out.getvalue())
    manifest = json.loads(archive.store.get(WARM + "manifest.json").data)
    for entry in manifest["levels"]["1"]:
        entry |= {"hash": digest(rows), "bytes": len(out.getvalue())}
    put(archive, WARM + "manifest.json", json.dumps(manifest).encode())
    found = archive.verify(deep=True)
    assert [check.name for check in found.checks if not check.passed] == ["snapshots"]


def test_values_that_were_carried_do_not_mislead_the_replay():
    archive = Archive(MemoryStore(), PROVIDER)
    for n in range(9):
        value = n if n % 2 == 0 else -1  # not observed
        archive.ingest(snapshot({"a": (value, 0.5), "b": (1, float(n))}), at(n), max_ceased=1.0)
    archive.compact()
    found = {check.name: check for check in archive.verify(deep=True).checks}
    assert found["snapshots"].passed
    assert found["snapshots"].asked == 9 + 1


# --- setting aside --------------------------------------------------------------------------------


def test_what_is_sound_is_not_set_aside(archive):
    archive.compact()
    keys = [entry.key for entry in archive.store.list() if entry.key.endswith(".parquet")]
    live = read_head(archive._dataset, JANUARY).manifest.live
    for key in keys:
        if key in live or key.rpartition("/")[2] in live:
            with pytest.raises(InputError, match="is sound"):
                archive.set_aside(key)


@pytest.mark.parametrize("key", ["x", WARM + "manifest.json", "parquet_cp_hot/other/x.parquet"])
def test_nothing_else_is_set_aside(key, archive):
    before = [entry.key for entry in archive.store.list()]
    with pytest.raises(InvalidKeyError):
        archive.set_aside(key)
    assert [entry.key for entry in archive.store.list()] == before


def test_a_damaged_file_of_the_manifest_is_set_aside_and_the_manifest_repaired(archive):
    archive.compact()
    key = merged(archive)
    put(archive, key, flipped(archive.store.get(key).data))
    archive.set_aside(key)
    (repair,) = archive.repair()
    assert "not there" in repair.reason
    archive.compact()
    assert archive.verify(deep=True).passed
