"""Corrections: what they say, what they leave alone, and writers who come at the same time."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from io import BytesIO

import polars as pl
import pytest
from oracle import PROVIDER, UPGRADED, as_dict, at, changes, snapshot

import titans
from titans import Archive
from titans.cli.app import run
from titans.errors import (
    InputError,
    ManifestError,
    SchemaError,
    SlotConflictError,
    SuspiciousSnapshotError,
)
from titans.slots import Month
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.tiers.write import hot

FULL = {"a": (1, 0.5), "b": (2, 1.5)}


def filled(store=None, count=6):
    archive = Archive(store or MemoryStore(), PROVIDER)
    for n in range(count):
        archive.ingest(snapshot(FULL | {"a": (n, 0.5)}), at(n))
    return archive


def content(archive):
    return {entry.key: archive.store.get(entry.key).data for entry in archive.store.list()}


def states(archive, count=6):
    return [as_dict(archive.state(at(n))) for n in range(count)]


def verified(archive):
    found = archive.verify(deep=True)
    assert found.passed, [check for check in found.checks if not check.passed]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["", "  ", None, 3, "x" * 2000])
@pytest.mark.parametrize(
    "correct",
    [
        lambda archive, reason: archive.amend(snapshot(FULL), at(1), reason=reason),
        lambda archive, reason: archive.amend_changes(changes({"a": None}), at(1), reason=reason),
        lambda archive, reason: archive.retract(at(1), reason=reason),
        lambda archive, reason: archive.erase([{"k": "a"}], reason=reason),
        lambda archive, reason: archive.retain(since="2026-01", reason=reason),
    ],
)
def test_a_correction_without_a_reason_is_refused(correct, reason):
    archive = filled()
    before = content(archive)
    with pytest.raises(InputError, match="reason"):
        correct(archive, reason)
    assert content(archive) == before


@pytest.mark.parametrize(
    ("correct", "error"),
    [
        (lambda a: a.amend(snapshot(FULL), at(8), reason="x"), InputError),
        (
            lambda a: a.amend(snapshot(FULL), datetime(2020, 1, 1, tzinfo=UTC), reason="x"),
            InputError,
        ),
        (lambda a: a.amend(snapshot({}), at(1), reason="x"), SuspiciousSnapshotError),
        (lambda a: a.amend(pl.DataFrame({"v": [1]}), at(1), reason="x"), SchemaError),
        (lambda a: a.amend(snapshot(FULL), at(1).replace(tzinfo=None), reason="x"), InputError),
        (lambda a: a.amend(snapshot(FULL), at(1), reason="x", max_ceased=2), InputError),
        (lambda a: a.amend_changes(changes({}), at(1), reason="x"), InputError),
        (lambda a: a.retract(at(8), reason="x"), InputError),
        (lambda a: a.erase([], reason="x"), InputError),
        (lambda a: a.erase([{"no": "x"}], reason="x"), InputError),
        (lambda a: a.retain(since="2027-01", reason="x"), InputError),
        (lambda a: a.retain(since="01.2027", reason="x"), InputError),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(correct, error):
    archive = filled()
    archive.compact()
    before = states(archive)
    rows = archive.changes()
    with pytest.raises(error):
        correct(archive)
    assert states(archive) == before
    assert archive.changes().equals(rows)
    assert archive.amendments().height == 0


# --- what it says ---------------------------------------------------------------------------------


def test_a_dry_run_says_the_same_and_writes_nothing(monkeypatch):
    archive = filled()
    heard = []
    monkeypatch.setattr("titans.correctable.emit", lambda event, provider: heard.append(event.name))
    before = content(archive)
    calls = [
        lambda dry: archive.amend(snapshot({"a": (7, 0.5)}), at(2), reason="x", dry_run=dry),
        lambda dry: archive.retract(at(0), reason="x", dry_run=dry),
        lambda dry: archive.erase([{"k": "b"}], reason="x", dry_run=dry),
    ]
    for call in calls:
        foreseen = call(True)
        assert content(archive) == before
        assert heard == []
        done = call(False)
        assert (done.status, done.removed, done.added) == ("done", foreseen.removed, foreseen.added)
        assert done.months == foreseen.months
        if done.difference is not None:
            assert done.difference.equals(foreseen.difference)
        heard.clear()
        before = content(archive)


def test_amendments_say_who_did_what_when_and_why(monkeypatch):
    monkeypatch.setenv("TITANS_ACTOR", "ann")
    archive = filled()
    first = archive.amend(snapshot({"a": (7, 0.5)}), at(2), reason=" wrong\n currency ")
    archive.retract(at(4), reason="another region's")
    archive.erase([{"k": "b"}], reason="by law")
    found = archive.amendments()
    assert found["operation"].to_list() == ["amend", "retract", "erase"]
    assert found["reason"].to_list() == ["wrong currency", "another region's", "by law"]
    assert found["slot"].to_list() == [at(2), at(4), None]
    assert set(found["actor"]) == {"ann"}
    assert (first.removed, first.added) == (found["removed"][0], found["added"][0])
    assert found["before"].n_unique() == 3
    assert found["at"].is_sorted()
    assert found["at"].null_count() == 0


def test_every_file_that_a_correction_wrote_says_so(tmp_path):
    archive = filled(LocalStore(tmp_path))
    archive.amend(snapshot({"a": (7, 0.5)}), at(2), reason="wrong currency")
    rows = archive.files()
    known = [pl.read_parquet_metadata(url)["titans"] for url in rows["url"]]
    assert any("wrong currency" in text for text in known)
    archive.seal("2026-01")
    said = [pl.read_parquet_metadata(url)["titans"] for url in archive.files()["url"]]
    assert ["wrong currency" in text for text in said if '"merged"' in text] == [True]


def test_a_skipped_snapshot_is_told_how_the_slot_differs(caplog):
    archive = filled()
    done = archive.ingest(snapshot({"a": (9, 0.5), "c": (1, 1.5)}), at(3))
    assert done.status == "skipped"
    assert done.difference == (
        "1 key(s) with other values (first: a), 1 key(s) only stored (first: b), "
        "1 key(s) only given (first: c)"
    )
    assert "amend" in caplog.text
    assert done.difference in caplog.text
    assert archive.ingest(snapshot(FULL | {"a": (3, 0.5)}), at(3)).status == "already"
    assert archive.ingest(snapshot(FULL | {"a": (3, 0.5)}), at(3, 1)).difference == (
        "the time is another"
    )


def test_an_upload_that_conflicts_is_told_how_the_slot_differs(caplog):
    archive = Archive(MemoryStore(), PROVIDER)
    archive.upload(changes({"a": (1, 0.5), "b": None}), at(0))
    archive.upload(changes({"a": (2, 0.5), "c": (1, 1.5)}), at(0))
    for text in ("1 key(s) with other values (first: a)", "only stored (first: b)", "titans amend"):
        assert text in caplog.text
    with pytest.raises(SlotConflictError, match=r"only given \(first: c\).*amend_changes"):
        archive.upload(
            changes({"a": (1, 0.5), "b": None, "c": (1, 1.5)}), at(0), on_conflict="error"
        )


def test_a_retracted_slot_stays_taken_until_it_is_amended(caplog):
    archive = filled()
    archive.retract(at(2), reason="x")
    assert archive.ingest(snapshot(FULL), at(2)).status == "skipped"
    assert "retracted" in caplog.text
    with pytest.raises(SlotConflictError, match="retracted"):
        archive.upload(changes({}), at(2), complete=True, on_conflict="error")
    assert archive.coverage(at(2), at(3))["status"].to_list() == ["missing"]
    assert archive.amend(snapshot(FULL), at(2), reason="right").status == "done"
    assert as_dict(archive.state(at(2))) == FULL
    assert archive.coverage(at(2), at(3))["status"].to_list() == ["observed"]
    verified(archive)


def test_what_a_snapshot_did_not_observe_is_carried_from_the_state_before_it():
    archive = filled()
    before = states(archive)
    archive.amend(snapshot({"a": (None, 0.7), "b": (-1, None)}), at(3), reason="x")
    assert as_dict(archive.state(at(3))) == {"a": (2, 0.7), "b": (2, 1.5)}
    assert states(archive)[4:] == before[4:]
    verified(archive)


def test_a_correction_under_a_newer_schema():
    store = MemoryStore()
    filled(store)
    archive = Archive(store, UPGRADED)
    rows = pl.DataFrame({"k": ["a", "c"], "x": ["s", None], "v": [1.5, 2.0], "w": [0.5, 0.5]})
    assert archive.amend(rows, at(2), reason="x").status == "done"
    state = archive.state(at(2)).select("k", "x", "v").rows()
    assert state == [("a", "s", 1.5), ("c", None, 2.0)]
    assert archive.state(at(3)).select("k", "v").rows() == [("a", 3.0), ("b", 2.0)]
    archive.erase([{"k": "c"}], reason="x")
    assert archive.state(at(2))["k"].to_list() == ["a"]
    verified(archive)
    archive.seal("2026-01")
    verified(archive)


# --- others at the same time ----------------------------------------------------------------------


def test_a_snapshot_compared_with_what_is_rewritten_meanwhile_is_compared_again(monkeypatch):
    """It would be taken for a difference to something else."""
    store = MemoryStore()
    archive = filled(store)
    other = Archive(store, PROVIDER)
    real = hot.create_hot
    calls = []

    def create(dataset, file):
        calls.append(file.slot)
        if len(calls) == 1:
            other.amend(snapshot({"a": (70, 0.5), "z": (7, 0.5)}), at(5), reason="x")
        return real(dataset, file)

    monkeypatch.setattr("titans.ingest.create_hot", create)
    done = archive.ingest(snapshot(FULL | {"a": (6, 0.5)}), at(6), max_ceased=1.0)
    assert done.status == "ingested"
    assert len(calls) == 2
    assert as_dict(archive.state(at(5))) == {"a": (70, 0.5), "z": (7, 0.5)}
    assert as_dict(archive.state(at(6))) == FULL | {"a": (6, 0.5)}
    verified(archive)


@pytest.mark.parametrize("what", ["amend", "retract"])
def test_a_hot_file_whose_base_was_rewritten_counts_for_nothing(monkeypatch, what):
    """Its writer died before it was told that it is stored; the next one replaces it."""
    store = MemoryStore()
    archive = filled(store)

    class DiedError(Exception):
        pass

    def create(dataset, file):
        other = Archive(store, PROVIDER)
        if what == "amend":
            other.amend(snapshot({"a": (70, 0.5), "z": (7, 0.5)}), at(5), reason="x")
        else:
            other.retract(at(5), reason="x")
        hot.create_hot(dataset, file)
        raise DiedError

    with monkeypatch.context() as patched:
        patched.setattr("titans.ingest.create_hot", create)
        with pytest.raises(DiedError):
            archive.ingest(snapshot(FULL | {"b": (9, 1.5)}), at(6))

    archive = Archive(store, PROVIDER)
    before = as_dict(archive.state(at(5, 5)))
    assert as_dict(archive.latest()) == before
    assert archive.compact().adopted == 0
    verified(archive)
    done = archive.ingest(snapshot(FULL | {"c": (1, 1.5)}), at(6), max_ceased=1.0)
    assert done.status == "ingested"
    assert as_dict(archive.latest()) == FULL | {"c": (1, 1.5)}
    verified(archive)


def test_a_process_that_ingests_on_knows_what_another_one_rewrote():
    store = MemoryStore()
    archive = filled(store)
    Archive(store, PROVIDER).amend(snapshot({"z": (1, 0.5)}), at(5), reason="x", max_ceased=1.0)
    assert archive.ingest(snapshot({"z": (1, 0.5)}), at(6)).status == "unchanged"
    assert as_dict(archive.latest()) == {"z": (1, 0.5)}
    verified(archive)


def test_a_late_slot_beside_a_rewritten_one():
    archive = Archive(MemoryStore(), PROVIDER)
    for n in (0, 2, 6):
        archive.ingest(snapshot(FULL | {"a": (n, 0.5)}), at(n))
    archive.amend(snapshot({"a": (20, 0.5), "c": (1, 0.5)}), at(2), reason="x")
    archive.ingest(snapshot({"a": (4, 0.5)}), at(4))
    archive.upload(changes({"d": (1, 0.5)}), at(3))
    archive.compact()
    assert as_dict(archive.state(at(2))) == {"a": (20, 0.5), "c": (1, 0.5)}
    assert as_dict(archive.state(at(3))) == {"a": (20, 0.5), "c": (1, 0.5), "d": (1, 0.5)}
    assert as_dict(archive.state(at(4))) == {"a": (4, 0.5)}
    assert as_dict(archive.state(at(6))) == FULL | {"a": (6, 0.5)}
    verified(archive)


def test_a_merge_that_is_under_way_does_not_undo_a_rewrite(monkeypatch):
    from titans.tiers.compact import merge

    store = MemoryStore()
    archive = Archive(store, PROVIDER)
    for n in range(16):
        archive.upload(changes({"a": (n, 0.5)}), at(n - 12))
    real = merge._write
    once = []

    def write(*arguments):
        entry = real(*arguments)
        if not once:
            once.append(True)
            other = Archive(store, PROVIDER)
            other.amend_changes(changes({"a": (99, 0.5)}), at(-10), reason="x")
        return entry

    monkeypatch.setattr(merge, "_write", write)
    archive.compact()
    assert once
    assert as_dict(archive.state(at(-10))) == {"a": (99, 0.5)}
    verified(archive)


# --- what is left ---------------------------------------------------------------------------------


def test_readers_who_began_before_read_on(tmp_path):
    archive = filled(LocalStore(tmp_path))
    rows = archive.changes()
    lazy = archive.scan()
    archive.amend(snapshot({"a": (70, 0.5)}), at(2), reason="x")
    archive.vacuum("0s")
    assert not lazy.collect().sort("k", "Time").equals(rows)
    assert lazy.collect().sort("k", "Time").equals(archive.changes())


def test_an_erased_key_is_in_no_object_after_vacuum(tmp_path):
    archive = Archive(LocalStore(tmp_path), PROVIDER)
    for n in range(20):
        archive.ingest(snapshot({"secret-key": (n, 0.5), "b": (n // 3, 1.5), "c": (1, 0.5)}), at(n))
    archive.seal("2026-01")
    done = archive.erase([{"k": "secret-key"}], reason="by law")
    assert set(done.months) == {"2026-01", "2026-02"}
    archive.vacuum("0s")
    for key, data in content(archive).items():
        assert b"secret" not in data, key
        if key.endswith(".parquet"):
            assert "secret-key" not in pl.read_parquet(BytesIO(data))["k"].to_list()
    assert archive.state(at(7)).height == 2
    assert archive.status()[0].sealed
    verified(archive)


def test_the_beginning_of_an_archive_is_found_again_without_a_manifest():
    """Nothing but a keyframe says what lived when the month began."""
    archive = filled(count=3)
    later = datetime(2026, 3, 1, 0, 20, tzinfo=UTC)
    archive.upload(changes({"c": (7, 0.5)}), later)
    archive.retain(since="2026-03", reason="old")
    said = as_dict(archive.state(later))
    assert set(said) == {"a", "b", "c"}

    archive.store.delete(archive.paths.manifest_key(Month(2026, 3)))
    before = content(archive)
    for write in (
        archive.compact,
        lambda: archive.ingest(snapshot(FULL), later),
        lambda: archive.upload(changes({"d": (1, 0.5)}), later + timedelta(hours=1)),
        lambda: archive.vacuum("0s"),
    ):
        with pytest.raises(ManifestError, match="titans repair"):
            write()
    assert content(archive).keys() == before.keys()

    (done,) = archive.repair()
    assert "begins with 2026-03" in done.reason
    archive.compact()
    assert as_dict(archive.state(later)) == said
    verified(archive)


def test_what_is_retained_says_what_lived_when_it_began():
    archive = filled(count=20)
    keys = as_dict(archive.state(at(11, 9)))
    archive.retain(since="2026-02", reason="old")
    assert [str(month.month) for month in archive.status()] == ["2026-02"]
    assert as_dict(archive.state(at(12) - timedelta(microseconds=1))) == keys
    for ask in (
        lambda: archive.state(at(3)),
        lambda: archive.changes(at(0), at(3)),
        lambda: archive.diff(at(3), at(14)),
        lambda: archive.grid(at(3), at(14), every="10m"),
    ):
        with pytest.raises(InputError, match="keeps nothing of 2026-01"):
            ask()
    for write in (
        lambda: archive.ingest(snapshot(FULL), at(3, 2)),
        lambda: archive.upload(changes({"a": None}), at(5)),
        lambda: archive.ingest(snapshot(FULL), datetime(2025, 6, 1, tzinfo=UTC)),
        lambda: archive.amend(snapshot(FULL), at(3), reason="x"),
    ):
        with pytest.raises(InputError):
            write()
    assert archive.ingest(snapshot(FULL), at(30)).status == "ingested"
    verified(archive)


def test_corrections_by_command(tmp_path, capsys, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr("titans.cli.read._quiet", lambda: None)
    store = tmp_path / "data"
    archive = titans.open(store, provider="gcp")
    for n in range(4):
        rows = {"InstanceType": ["n1", "n2"], "Region": ["r1", "r1"], "Score": [3, 4]}
        archive.ingest(pl.DataFrame(rows | {"SpotPrice": [0.5 + n, 1.5]}), at(n))
    place = ["--provider", "gcp", "--store", str(store), "--reason", "wrong currency"]

    def call(*arguments):
        with pytest.raises(SystemExit) as done:
            run([str(a) for a in arguments] + place)
        assert not done.value.code
        return capsys.readouterr().out

    edit = ["amend", "--at", "2026-01-31T22:13Z", "--key", "InstanceType=n1", "--set"]
    said = call(*edit, "SpotPrice=7.25", "--dry-run")
    assert "7.25" in said
    assert "nothing was changed" in said
    price = archive.state(at(1)).filter(InstanceType="n1")["SpotPrice"].item()
    assert price == 1.5
    said = call(*edit, "SpotPrice=7.25")
    assert "1 row(s) removed, 1 added" in said
    prices = archive.history(InstanceType="n1")["SpotPrice"].to_list()
    assert prices == [0.5, 7.25, 2.5, 3.5]
    assert "already so" in call(*edit, "SpotPrice=7.25")
    assert "added" in call("retract", "--at", "2026-01-31T22:20Z")
    assert "leave the store" in call("erase", "--key", "InstanceType=n2")
    assert archive.latest()["InstanceType"].to_list() == ["n1"]
    assert "already so" in call("retain", "--since", "2026-01")
    with pytest.raises(SystemExit):
        run(["status", "--amendments", *place[:4]])
    assert capsys.readouterr().out.count("wrong") == 3


def test_a_dry_run_of_the_command_writes_nothing_even_where_uploads_wait(tmp_path, capsys):
    archive = titans.open(tmp_path, provider="aws")
    row = {"InstanceType": ["n1"], "Region": ["r"], "AZ": ["z"], "SpotPrice": [1.5]}
    archive.upload(pl.DataFrame(row), at(0))
    before = content(archive)
    place = ["--provider", "aws", "--store", str(tmp_path), "--reason", "wrong", "--dry-run"]
    edit = ["amend", "--key", "InstanceType=n1", "--set", "SpotPrice=2.5", *place]
    with pytest.raises(SystemExit) as ended:
        run([*edit, "--at", at(0).isoformat()])
    assert not ended.value.code
    assert "2.5" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="nothing is stored for slot"):
        run([*edit, "--at", at(1).isoformat()])
    assert content(archive) == before
