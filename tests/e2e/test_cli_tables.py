"""Tables in files mean what the provider's schema says, and a path is a path."""

import json
from datetime import UTC, date, datetime

import polars as pl
import pytest

import titans
from titans import Provider, Schema
from titans.cli.app import run

AT = datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
PROVIDER = Provider(
    "p",
    Schema(
        {"n": "Int64", "x": "Float64", "w": "Float32", "s": "String", "b": "Boolean", "d": "Date"},
        unobserved={"n": -1},
    ),
    ("k",),
)
ROWS = [
    {"k": "007", "n": 2**53 + 1, "x": 0.1, "w": 0.1, "s": "1.10", "b": True, "d": "2026-01-23"},
    {"k": "7", "n": -1, "x": 2.0, "w": 2.0, "s": "007", "b": False, "d": None},
]
STORED = [
    ("007", 2**53 + 1, 0.1, 0.10000000149011612, "1.10", True, date(2026, 1, 23)),
    ("7", None, 2.0, 2.0, "007", False, None),
]


@pytest.fixture
def upload(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("titans.plugins.load", lambda _: PROVIDER)

    def upload(path, command="upload", *options):
        store = str(tmp_path / "store")
        at = ["--at", AT.isoformat()] if command == "upload" else []
        with pytest.raises(SystemExit) as end:
            run([command, str(path), *at, *options, "-p", "p", "--store", store])
        code = end.value.code
        err = capsys.readouterr().err
        if isinstance(code, str):
            code, err = 1, err + code
        return code or 0, err, titans.open(store, provider=PROVIDER)

    return upload


def csv(rows):
    lines = [",".join(rows[0])]
    for row in rows:
        lines.append(",".join("" if value is None else str(value) for value in row.values()))
    return "\n".join(lines) + "\n"


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


FORMS = {"csv": csv, "jsonl": jsonl, "ndjson": jsonl}


@pytest.mark.parametrize("form", FORMS)
def test_values_are_what_the_schema_says(upload, tmp_path, form):
    path = tmp_path / f"t.{form}"
    path.write_text(FORMS[form](ROWS))
    code, err, archive = upload(path)
    assert (code, err) == (0, "")
    assert archive.latest().drop("Time").rows() == STORED


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zone", ["", "Z", "+00:00"])
def test_replay_reads_times_as_text(upload, tmp_path, form, zone):
    rows = [{"Time": f"2026-01-23T14:20:00{zone}", **row} for row in ROWS]
    later = [{**row, "Time": f"2026-01-23 14:30:00{zone}"} for row in rows]
    for name, table in (("sorted", rows + later), ("mixed", later + rows)):
        path = tmp_path / f"{name}.{form}"
        path.write_text(FORMS[form](table))
        code, err, archive = upload(path, "replay")
        assert (code, err) == (0, "")
        assert archive.state(AT).drop("Time").rows() == STORED
        assert archive.coverage().height == 2


@pytest.mark.parametrize("name", ["a[1]", "a*", "a?", "[a]", "a{b,c}", "~", "%20", "a b"])
@pytest.mark.parametrize("form", [*FORMS, "parquet"])
def test_a_path_is_no_pattern(upload, tmp_path, form, name):
    for decoy in ("a1", "ab", "a", "b", "ac"):
        path = tmp_path / f"{decoy}.{form}"
        if form == "parquet":
            pl.DataFrame({"k": ["wrong"]}).write_parquet(path)
        else:
            path.write_text(FORMS[form]([{"k": "wrong"}]))
    path = tmp_path / f"{name}.{form}"
    if form == "parquet":
        pl.DataFrame({"k": ["right"]}).write_parquet(path)
    else:
        path.write_text(FORMS[form]([{"k": "right"}]))
    code, err, archive = upload(path)
    assert (code, err) == (0, "")
    assert archive.latest()["k"].to_list() == ["right"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("n", "1.5"), ("n", "many"), ("x", "9007199254740993"), ("b", "yes"), ("d", "23.1.2026")],
)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_value_is_named(upload, tmp_path, form, column, value):
    path = tmp_path / f"t.{form}"
    path.write_text(FORMS[form]([{**ROWS[0], column: value}]))
    code, err, archive = upload(path)
    assert code == 1
    assert f"1 value(s) of column '{column}'" in " ".join(err.split())
    assert value in err
    assert list(archive.store.list("")) == []


@pytest.mark.parametrize("form", [*FORMS, "parquet"])
@pytest.mark.parametrize("command", ["upload", "replay"])
def test_a_file_that_is_something_else(upload, tmp_path, form, command):
    path = tmp_path / f"t.{form}"
    path.write_bytes(b"\xff\xfe\x00{k\n1\n")
    code, err, archive = upload(path, command)
    assert code == 1
    assert "Traceback" not in err
    assert list(archive.store.list("")) == []
