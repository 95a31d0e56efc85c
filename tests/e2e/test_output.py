"""What commands print: keys are data, secrets stay secret, and nobody has to read to the end."""

from __future__ import annotations

import csv
import io
import logging
import re
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import at

import titans
from titans import errors
from titans.cli.app import run
from titans.cli.output import Target, printable, table, write
from titans.redaction import redacted
from titans.store import open_store

NASTY = [
    "[bold red]red[/]",
    "[link=http://evil]x[/link]",
    "[/]",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x85\u2028next",
    "\u202egnp.exe",
    "a\rb\x00\x08",
    ":smile:",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "plain",
    "'quoted",
]
ORDERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture
def nasty(tmp_path):
    """An archive whose keys and values are meant badly."""
    archive = titans.open(tmp_path / "data", provider="gcp")
    rows = pl.DataFrame({"InstanceType": NASTY, "Region": "r", "SpotPrice": 0.5})
    archive.ingest(rows, at(0))
    return tmp_path / "data"


@pytest.fixture
def cli(capsysbinary):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        code = ended.value.code
        if isinstance(code, str):
            return 1, out.decode(), f"{code}\n"
        return code, out.decode(), err.decode()

    return call


# --- data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("latest",),
        ("state", "--at", "2026-03-01"),
        ("changes",),
        ("intervals",),
        ("grid", "--every", "10m"),
        ("diff", "--from", "2025-01-01", "--to", "2027-01-01"),
        ("sql", 'select InstanceType, 1 as "[bold]x\x1b" from latest'),
        ("history", "--key", "InstanceType=[/]"),
        ("history", "--key", "InstanceType=\x1b[31mred\x1b[0m"),
    ],
)
def test_tables_show_keys_as_they_are(cli, nasty, command):
    code, out, _ = cli(*command, "-p", "gcp", "--store", nasty)
    assert code == 0
    assert ORDERS.search(out) is None
    wanted = [k for k in NASTY if k in ("[/]", "\x1b[31mred\x1b[0m")]
    if command[0] != "history":
        wanted = NASTY
    for key in wanted:
        assert printable(key) in out or command[0] == "history"


@given(st.text())
def test_nothing_that_is_printed_gives_a_terminal_orders(text):
    shown = printable(text)
    assert ORDERS.search(shown) is None
    assert "\n" not in shown
    (cell,) = table(pl.DataFrame({"x": [text]})).columns[0].cells
    assert cell.plain == shown
    assert cell.spans == []


@pytest.mark.parametrize("level", ["warning", "info"])
def test_log_lines_and_errors_give_none_either(cli, nasty, caplog, level):
    _, _, err = cli("history", "--key", "\x1b[31mX=1", "-p", "gcp", "--store", nasty)
    assert "X is no key column" in err
    assert ORDERS.search(err) is None

    from titans.cli.app import _Printable

    record = logging.makeLogRecord({"msg": "key \x1b[31m\u202e and https://u:p@host/?sig=s"})
    assert _Printable("%(message)s").format(record) == (
        r"key \x1b[31m\x202e and https://…@host/?sig=…"
    )


def test_csv_is_exact_and_harmless_on_request(cli, nasty, tmp_path):
    _, out, _ = cli("latest", "-p", "gcp", "--store", nasty, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert sorted(row["InstanceType"] for row in rows) == sorted(NASTY)

    file = tmp_path / "x.csv"
    code, _, _ = cli("latest", "-p", "gcp", "--store", nasty, "--out", file, "--spreadsheet")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(file.read_bytes().decode(), newline="")))
    found = [row["InstanceType"] for row in rows]
    assert not any(cell.startswith(tuple("=+-@\t\r\n")) for cell in found)
    assert sorted(cell.removeprefix("'") for cell in found) == sorted(
        key.removeprefix("'") for key in NASTY
    )
    assert {row["SpotPrice"] for row in rows} == {"0.5"}, "numbers stay numbers"


@pytest.mark.parametrize("form", ["json", "parquet", "table"])
def test_only_csv_goes_to_a_spreadsheet(cli, nasty, form):
    code, _, err = cli("latest", "-p", "gcp", "--store", nasty, "--format", form, "--spreadsheet")
    assert (code, "--spreadsheet is for CSV" in err) == (2, True)


@given(st.lists(st.text() | st.none(), min_size=1), st.text(min_size=1))
def test_no_cell_is_ever_a_formula(tmp_path_factory, cells, name):
    out = tmp_path_factory.getbasetemp() / "cells.csv"
    frame = pl.DataFrame(
        {name: cells, "n": list(range(len(cells)))}, schema={name: pl.String, "n": pl.Int64}
    )
    write(frame, Target("csv", out, spreadsheet=True))
    for row in csv.reader(io.StringIO(out.read_bytes().decode(), newline="")):
        assert not row[0].startswith(tuple("=+-@\t\r\n"))


def test_answers_that_csv_and_json_have_no_types_for(cli, nasty):
    query = "select 'x'::blob as b, [1, 2] as l, {'a': date '2026-01-31'} as s"
    code, out, _ = cli("sql", query, "-p", "gcp", "--store", nasty, "--format", "csv")
    assert (code, out) == (0, 'b,l,s\n78,"[1, 2]","{""a"": ""2026-01-31""}"\n')
    code, out, _ = cli("sql", query, "-p", "gcp", "--store", nasty, "--format", "json")
    assert (code, out.strip()) == (0, '[{"b":"78","l":[1,2],"s":{"a":"2026-01-31"}}]')


# --- pipes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_a_pipe_that_is_closed_ends_quietly(tmp_path, form):
    archive = titans.open(tmp_path / "data", provider="gcp")
    keys = [f"machine-{n}" for n in range(3000)]
    archive.ingest(pl.DataFrame({"InstanceType": keys, "Region": "r", "SpotPrice": 0.5}), at(0))
    code = "from titans.cli import main; main()"
    command = [sys.executable, "-c", code, "latest", "-p", "gcp", "--format", form]
    process = subprocess.Popen(
        [*command, "--store", str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(), err) == (1, "")


# --- secrets --------------------------------------------------------------------------------------

SECRET = "hunter2"
URLS = [
    f"acme://user:{SECRET}@host/path",
    f"acme://{SECRET}@host",
    f"acme://host/path?token={SECRET}",
    f"acme://host/path?region=x&sig={SECRET}&a=b",
    f"https://u:{SECRET}@s3.example.com:9000/b?X-Amz-Signature={SECRET}&X-Amz-Security-Token={SECRET}",
    f"s3://bucket?password={SECRET}",
    f"s3://{SECRET}:{SECRET}@bucket/x",
    f"s3://bucket?endpoint_url=http://u:{SECRET}@localhost:1",
    f"s3://bucket?endpoint_url=http%3A%2F%2Fu%3A{SECRET}%40localhost%3A1",
    f"memory://x?token={SECRET}",
    f"file:///x?token={SECRET}",
    f"ftp://u:p{SECRET}@host/?key={SECRET}",
]


@pytest.mark.parametrize("url", URLS)
def test_no_message_about_a_store_tells_its_secrets(cli, caplog, url, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert SECRET not in redacted(f"cannot read {url}: '{url}', ({url})")
    with pytest.raises(errors.TitansError) as refused:
        open_store(url)
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value)
    code, out, err = cli("latest", "-p", "gcp", "--store", url)
    assert code == 1
    assert SECRET not in out + err + caplog.text


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in errors.__all__])
def test_no_error_tells_a_secret(kind):
    error = kind(f"cannot write a/b in s3://k:{SECRET}@b/?token={SECRET}", key="a/b")
    assert SECRET not in str(error)
    assert "cannot write a/b in s3://…@b/?token=…" in str(error)


def test_what_is_no_secret_stays():
    for text in (
        "no object aws/2026/01/x.parquet in s3://bucket/prefix",
        "s3://bucket/a?endpoint_url=http://127.0.0.1:8333&region=us-east-1",
        "memory://name holds a@b.example and x=1&y=2; see https://example.com/page",
        "file:///data/archive",
    ):
        assert redacted(text) == text


def test_stores_and_archives_show_where_they_are_and_no_secret():
    import boto3

    client = boto3.client(
        "s3", region_name="x", aws_access_key_id="k", aws_secret_access_key=SECRET
    )
    put = {"SSECustomerKey": SECRET, "SSECustomerAlgorithm": "AES256"}
    store = open_store("s3://bucket/prefix", s3_client=client, put_args=put)
    assert repr(store) == "S3Store('s3://bucket/prefix')"
    assert SECRET not in repr(vars(store))
    assert repr(open_store("memory://shown")) == "MemoryStore('memory://shown')"

    class Foreign:
        url = f"acme://u:{SECRET}@host?token={SECRET}"

        def __getattr__(self, name):
            return None

    foreign = Foreign()
    archive = titans.open("memory://shown", provider="gcp")
    archive.store = foreign
    assert repr(archive) == "Archive('gcp' in acme://…@host?token=…)"
