"""A folder may have any name: none is a pattern, none says more than where it is."""

from __future__ import annotations

import ast
import os
import tempfile
from pathlib import Path

import polars as pl
import pytest
from house import CORE
from oracle import PROVIDER, as_dict, at, snapshot

from titans import Archive
from titans.errors import InputError, StoreError
from titans.slots import Month
from titans.store import open_store
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

BYTES = os.fsdecode(b"caf\xe9")
"""A name that is no UTF-8."""

FOLDERS = {
    # What it is called → a folder beside it that it would match as a pattern, or be taken for.
    "run[1]": "run1",
    "a*": "ab",
    "**": "ab",
    "q?": "qx",
    "{x,y}": "x",
    "[!a]": "b",
    "%41": "A",
    "k=1": "k",
    "~": "home",
    "$HOME": "home",
    "s3:": "s3",
    "a b": "a",
    "café": "cafe",
    "new\nline": "line",
    "-f": "f",
    BYTES: "caf",
}


def history(archive):
    """Everything but the last slot is merged, so that every kind of file is read and written."""
    for n in range(7):
        rows = {"a": (n, 0.5), "b": (n // 3, 1.5), "c": (1, float(n))}
        archive.ingest(snapshot(rows), at(2 * n))
        archive.compact()
    archive.seal("2026-01")
    archive.ingest(snapshot({"a": (50, 0.5), "b": (1, 1.5)}), at(15))


def answers(archive):
    """What an archive says, and what is wrong with it."""
    checks = archive.verify(deep=True).checks
    return {
        "state": as_dict(archive.state(at(7))),
        "latest": as_dict(archive.latest()),
        "some": as_dict(archive.latest(where=pl.col("k") == "a")),
        "history": archive.history(at(0), at(20), k="b").rows(),
        "changes": archive.changes(at(0), at(20)).rows(),
        "scan": sorted(archive.scan(at(0), at(20)).collect().rows()),
        "sql": archive.sql("SELECT k, v FROM changes ORDER BY ALL").rows(),
        "failures": [check.failures for check in checks if not check.passed],
    }


@pytest.fixture(scope="module")
def decoy(tmp_path_factory):
    """The files of an archive of the same provider that holds something else under equal names."""
    root = tmp_path_factory.mktemp("decoy") / "archive"
    archive = Archive(LocalStore(root), PROVIDER)
    for n in range(3):
        archive.ingest(snapshot({"z": (900 + n, 9.5), "y": (n, 0.0)}), at(n))
    return root


@pytest.fixture(scope="module")
def expected():
    archive = Archive(MemoryStore(), PROVIDER)
    history(archive)
    return answers(archive)


def surround(folder, decoy):
    """Put the files of another archive where a pattern would find them, under names that exist."""
    beside = folder.parent / FOLDERS[folder.name]
    contents = [path.read_bytes() for path in decoy.rglob("*.parquet")]
    for number, path in enumerate(sorted(folder.rglob("*.parquet"))):
        twin = beside / path.relative_to(folder)
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.write_bytes(contents[number % len(contents)])


@pytest.mark.parametrize("name", FOLDERS, ids=ascii)
def test_an_archive_answers_and_verifies_alike_in_a_folder_of_any_name(
    tmp_path, small_files, decoy, expected, name
):
    folder = tmp_path / name
    history(Archive(LocalStore(folder), PROVIDER))
    surround(folder, decoy)

    archive = Archive(open_store(folder.as_uri()), PROVIDER)
    assert answers(archive) == expected

    manifest = folder / Archive(LocalStore(folder), PROVIDER).paths.manifest_key(Month(2026, 1))
    manifest.unlink()
    archive.repair()
    assert answers(archive)["changes"] == expected["changes"]
    assert {entry.name for entry in tmp_path.iterdir()} == {name, FOLDERS[name]}


@pytest.mark.parametrize("name", FOLDERS, ids=ascii)
def test_a_merge_goes_through_a_temporary_folder_of_any_name(tmp_path, monkeypatch, name):
    scratch = tmp_path / name
    scratch.mkdir()
    (tmp_path / FOLDERS[name]).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr("titans.tiers.compact.output._SHARE", 1 << 40)  # always through a file
    store = MemoryStore()
    archive = Archive(store, PROVIDER)
    for n in range(9):
        archive.upload(snapshot({"a": (n, 0.5)}), at(n))

    if name == BYTES:
        with pytest.raises(StoreError, match="no UTF-8; set TMPDIR"):
            archive.compact()
    else:
        archive.compact()
        assert any("/L1_" in entry.key for entry in store.list("parquet_warm/"))
    assert archive.changes(at(0), at(20))["v"].to_list() == list(range(9))
    assert list(scratch.iterdir()) == []


def test_every_message_about_a_folder_can_be_written_down(tmp_path, monkeypatch):
    store = LocalStore(tmp_path / BYTES)
    store.create("a/b", b"1")

    def refused(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "fsync", refused)
    for call in (lambda: store.create("a/b/c", b"2"), lambda: store.create("d", b"2")):
        with pytest.raises(StoreError) as caught:
            call()
        assert "caf\\xe9" in str(caught.value).encode().decode()
    store.url.encode("ascii")


@pytest.mark.parametrize("path", ["a\0b", "\ud800"], ids=ascii)
def test_what_names_no_folder_is_refused(path):
    with pytest.raises(InputError, match="not a path"):
        LocalStore(path)


def test_no_reader_of_files_takes_a_path_for_a_pattern():
    """Polars does so unless it is told not to."""
    loose = []
    for path in [*(CORE / "tiers").rglob("*.py"), *(CORE / "read").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = node.func.attr
            reads = name.startswith(("scan_", "read_")) and ast.unparse(node.func.value) == "pl"
            told = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if reads and name != "read_parquet_metadata" and told.get("glob") != "False":
                loose.append(f"{path.relative_to(CORE)}:{node.lineno}: {name}")
    assert loose == []


def test_metadata_is_read_from_the_file_itself_whatever_its_folder_is_called(tmp_path):
    """The one reader that cannot be told: it takes no pattern anyway."""
    for name, beside in FOLDERS.items():
        if name == BYTES:
            continue
        for folder in (beside, name):
            (tmp_path / folder).mkdir(exist_ok=True)
            path = tmp_path / folder / "x.parquet"
            pl.DataFrame({"a": [1]}).lazy().sink_parquet(path, metadata={"who": folder})
        found = pl.read_parquet_metadata(Path(tmp_path / name / "x.parquet"))
        assert found["who"] == name
