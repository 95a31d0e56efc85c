"""The command line, as a user types it."""

import io
import json
import shlex
import subprocess
import sys

import polars as pl
import pytest
from oracle import at

import titans
from titans.cli.app import run
from titans.cli.output import sparkline

ROWS = {
    "InstanceType": ["n1", "n2"],
    "Region": ["r1", "r1"],
    "Score": [3, 2],
    "SpotPrice": [0.5, 0.25],
}


@pytest.fixture
def cli(capsysbinary, monkeypatch):
    """Runs a command line: exit code, standard output and standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as done:
            run([str(a) for a in arguments])
        out, err = (stream.decode() for stream in capsysbinary.readouterr())
        code = done.value.code
        if isinstance(code, str):
            return 1, out, err + code
        return code or 0, out, err

    monkeypatch.delenv("TITANS_STORE", raising=False)
    return call


@pytest.fixture
def archive(tmp_path):
    """Three slots of a small GCP archive."""
    archive = titans.open(tmp_path / "data", provider="gcp")
    for n in range(3):
        archive.ingest(pl.DataFrame(ROWS | {"SpotPrice": [0.5 + n, 0.25]}), at(n))
    return archive


def where(archive):
    return ("--provider", "gcp", "--store", archive.store.url)


def test_state_is_a_table_and_every_other_format(cli, archive, tmp_path):
    code, out, _ = cli("state", "--at", "2026-01-31T22:13Z", *where(archive))
    assert code == 0
    assert "n1" in out
    assert "2 rows" in out
    expected = archive.state(at(1, 3))
    _, out, _ = cli("state", "--at", "2026-01-31 22:13", *where(archive), "--format", "csv")
    assert pl.read_csv(io.StringIO(out)).height == 2
    _, out, _ = cli("state", "--at", "2026-02-01T07:13+09:00", *where(archive), "--format", "json")
    assert [row["SpotPrice"] for row in json.loads(out)] == [1.5, 0.25]
    for name in ("s.parquet", "s.csv", "s.json"):
        code, _, err = cli(
            "state", "--at", "2026-01-31T22:13Z", *where(archive), "--out", tmp_path / name
        )
        assert (code, "2 rows in" in err) == (0, True)
    assert pl.read_parquet(tmp_path / "s.parquet").equals(expected)


def test_latest_history_changes_and_status_answer(cli, archive):
    _, out, _ = cli("latest", *where(archive), "--format", "json")
    assert [row["SpotPrice"] for row in json.loads(out)] == [2.5, 0.25]
    _, out, _ = cli(
        "history",
        "--key",
        "InstanceType=n1",
        "--key",
        "Region=r1",
        *where(archive),
        "--format",
        "json",
    )
    assert [row["SpotPrice"] for row in json.loads(out)] == [0.5, 1.5, 2.5]
    _, out, _ = cli(
        "changes",
        "--from",
        "2026-01-31T22:10Z",
        "--to",
        "2026-01-31T22:20Z",
        *where(archive),
        "--format",
        "json",
    )
    assert [(row["InstanceType"], row["SpotPrice"]) for row in json.loads(out)] == [("n1", 1.5)]
    _, out, _ = cli("status", *where(archive))
    assert "2026-01" in out


def test_the_other_questions_answer_as_the_archive_does(cli, archive):
    span = ("--from", "2026-01-31T22:00Z", "--to", "2026-01-31T22:30Z")
    place = (*where(archive), "--format", "json")

    def asked(*arguments):
        code, out, err = cli(*arguments, *place)
        assert code == 0, err
        return json.loads(out)

    (moved,) = asked("diff", "--from", "2026-01-31T22:00Z", "--to", "2026-01-31T22:20Z")
    assert (moved["change"], moved["SpotPrice_old"], moved["SpotPrice_new"]) == (
        "changed",
        0.5,
        2.5,
    )
    grid = asked("grid", *span, "--every", "10m", "--column", "SpotPrice")
    assert [row["SpotPrice"] for row in grid] == [0.5, 1.5, 2.5, 0.25, 0.25, 0.25]
    assert [row["valid_to"] is None for row in asked("intervals")] == [False, False, True, True]
    assert [row["status"] for row in asked("coverage", *span)] == ["observed"] * 3
    assert sum(row["rows"] for row in asked("files")) == 4
    assert asked("sql", "select max(SpotPrice) as top from state(at := '2026-01-31T22:10Z')") == [
        {"top": 1.5}
    ]


def test_a_diff_on_a_terminal_shows_what_differs(cli, archive):
    _, out, _ = cli(
        "diff", "--from", "2026-01-31T22:00Z", "--to", "2026-01-31T22:20Z", *where(archive)
    )
    assert "SpotPrice_new" in out
    assert "OndemandPrice" not in out


def test_a_month_is_sealed(cli, archive):
    code, out, _ = cli("seal", "2026-01", *where(archive))
    assert (code, out.split(":")[0]) == (0, "2026-01 is sealed")
    _, out, _ = cli("status", *where(archive))
    assert "sealed" in out
    code, _, err = cli("seal", "2026-13", *where(archive))
    assert code == 1
    assert "no such month" in err


def test_upload_and_compact(cli, tmp_path):
    pl.DataFrame(ROWS).write_csv(tmp_path / "changed.csv")
    pl.DataFrame({"InstanceType": ["n9"], "Region": ["r1"]}).write_parquet(
        tmp_path / "removed.parquet"
    )
    options = ("--at", "2026-01-23T14:23Z", "-p", "gcp", "--store", tmp_path / "data")
    code, out, _ = cli(
        "upload", tmp_path / "changed.csv", "--removed", tmp_path / "removed.parquet", *options
    )
    assert (code, out.strip()) == (0, "parquet_cp_hot/gcp/2026/01/23/14-20.parquet")
    code, out, _ = cli("compact", "-p", "gcp", "--store", tmp_path / "data")
    assert (code, "1 slot(s) adopted" in out) == (0, True)
    rows = titans.open(tmp_path / "data", provider="gcp").changes()
    assert rows.select("InstanceType", "Ceased").rows() == [
        ("n1", False),
        ("n2", False),
        ("n9", True),
    ]


def test_a_quiet_slot_is_uploaded_if_it_is_said_to_be_complete(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("TITANS_ACTOR", "night shift")
    pl.DataFrame(ROWS).write_csv(tmp_path / "rows.csv")
    pl.DataFrame(ROWS).clear().write_csv(tmp_path / "none.csv")
    place = ("-p", "gcp", "--store", tmp_path / "data")
    for minute, table, options in (
        (10, "rows", ()),
        (20, "none", ()),
        (30, "none", ("--complete",)),
        (40, "rows", ("--complete",)),
    ):
        at = f"2026-01-23T14:{minute}Z"
        code, out, _ = cli("upload", tmp_path / f"{table}.csv", "--at", at, *options, *place)
        assert code == 0
        assert ("nothing to store" in out) == (minute == 20)

    _, out, _ = cli("coverage", *place, "--format", "json")
    found = [row["status"] for row in json.loads(out)]
    assert found == ["changes", "missing", "empty", "observed"]
    _, out, _ = cli("status", "--writers", *place, "--format", "json")
    (run,) = json.loads(out)
    assert (run["slots"], run["actor"], run["titans"]) == (3, "night shift", titans.__version__)
    assert run["provider"].startswith("titans-gcp ")


def test_replay_takes_a_table_in_any_order_and_says_what_it_did(cli, tmp_path):
    table = pl.concat(
        [
            pl.DataFrame(ROWS | {"SpotPrice": [0.5, n / 4]}).with_columns(Time=pl.lit(at(n)))
            for n in range(4)
        ]
    )
    table.sample(fraction=1, shuffle=True, seed=3).write_parquet(tmp_path / "t.parquet")
    code, out, _ = cli("replay", tmp_path / "t.parquet", "-p", "gcp", "--store", tmp_path / "data")
    assert (code, "4 snapshots, 8 rows: 4 ingested" in out, "5 change points stored" in out) == (
        0,
        True,
        True,
    )
    _, out, _ = cli("replay", tmp_path / "t.parquet", "-p", "gcp", "--store", tmp_path / "data")
    assert "4 already" in out
    assert "nothing new" in out


def test_replay_wants_a_column_time(cli, tmp_path):
    pl.DataFrame(ROWS).write_parquet(tmp_path / "t.parquet")
    code, _, err = cli("replay", tmp_path / "t.parquet", "-p", "gcp", "--store", tmp_path / "data")
    assert (code, "no column 'Time'" in err) == (1, True)


def test_demo_shows_a_day_of_every_installed_provider(cli, tmp_path):
    code, out, _ = cli("demo", "--folder", tmp_path / "demo", "--slots", "17", "--keys", "60")
    assert code == 0
    for shown in ("aws", "azure", "gcp", "L1: 1", "living keys", "Try next", "titans state --at"):
        assert shown in out, shown
    assert any(bar in out for bar in "▁▂▃▄▅▆▇█")


def test_what_demo_says_to_try_next_works(cli, tmp_path):
    _, out, _ = cli("demo", "--folder", tmp_path / "demo", "--slots", "17", "--keys", "60")
    lines = [
        line.strip()
        for line in out.partition("Try next")[2].partition("Look at it")[0].splitlines()
        if line.strip().startswith("titans ")
    ]
    assert len(lines) == 4
    for line in lines:
        arguments = [a if a != "hour.csv" else str(tmp_path / a) for a in shlex.split(line)[1:]]
        code, _, err = cli(*arguments)
        assert code == 0, (line, err)
    assert pl.read_csv(tmp_path / "hour.csv").height > 0


def test_plugins_are_listed(cli):
    code, out, _ = cli("plugins", "--json")
    assert code == 0
    found = {row["name"]: row for row in json.loads(out)}
    assert {name: found[name]["status"] for name in ("aws", "azure", "gcp")} == dict.fromkeys(
        ("aws", "azure", "gcp"), "loaded"
    )
    code, out, _ = cli("plugins")
    assert "titans-aws" in out


def test_a_broken_plugin_is_shown_and_the_others_work(cli, site):
    site.add("raise RuntimeError('no luck')", name="unlucky", distribution="unlucky-titans")
    code, out, _ = cli("plugins")
    assert code == 0
    assert "broken" in out
    assert "no luck" in out
    assert "titans-aws" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("state", "--at", "soon", "-p", "gcp"), 2, "'soon' is no time"),
        (("state", "-p", "gcp"), 2, "--at"),
        (("nonsense",), 2, "No such command"),
        (("latest", "-p", "nimbus"), 1, "Unknown provider"),
        (("latest", "-p", "gcp"), 1, "no archive of provider 'gcp' in file://"),
        (("status", "-p", "gcp"), 1, "there is nothing at all"),
        (("verify", "-p", "gcp"), 1, "no archive of provider 'gcp'"),
        (("history", "--key", "InstanceType", "-p", "gcp"), 2, "is not Column=Value"),
        (("history", "--key", "Price=3", "-p", "gcp"), 1, "Price is no key column"),
        (("latest", "-p", "gcp", "--store", "ftp://x"), 1, "no store for ftp://"),
        (("latest", "-p", "gcp", "--out", "x.txt"), 2, "does not say the format"),
        (("replay", "missing.parquet", "-p", "gcp"), 2, "does not exist"),
    ],
)
def test_errors_are_one_line_and_say_by_their_code_whose_they_are(
    cli, tmp_path, monkeypatch, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    found, _, err = cli(*arguments)
    assert (found, message in err) == (code, True), err
    assert "Traceback" not in err
    if code == 1:
        assert len(err.strip().splitlines()) == 1


def test_debug_shows_where_an_error_came_from(tmp_path):
    code = "from titans.cli import main; main()"
    command = [sys.executable, "-c", code, "--debug", "latest", "-p", "nimbus"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "UnknownProviderError" in done.stderr


def test_help_names_every_command(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for command in (
        "demo",
        "replay",
        "upload",
        "compact",
        "state",
        "latest",
        "history",
        "changes",
        "status",
        "plugins",
    ):
        assert f"  {command} " in out


def test_sparklines_span_the_values():
    assert sparkline([0, 7, None, 3.5]) == "▁█ ▅"
    assert sparkline([1, 1]) == "▁▁"
    assert sparkline([]) == ""
