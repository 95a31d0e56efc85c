"""Exit codes of every command: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import polars as pl
import pytest
from oracle import at
from original import Collector

import titans
from titans.cli.app import cli, run
from titans.cli.asking import TRACED
from titans.store.local import LocalStore

ROWS = {"InstanceType": ["n1"], "Region": ["r1"], "Score": [3], "SpotPrice": [0.5]}
MONTH, SPAN = "2026-01", ("--from", "2026-01-31T22:00Z", "--to", "2026-01-31T22:30Z")

WHY = ("--reason", "a test")

ARGUMENTS = {
    "backfill": ("TABLE", "--workers", "1"),
    "amend": ("--at", "2026-01-31T22:10Z", "--key", "Region=r1", "--set", "SpotPrice=0.7", *WHY),
    "erase": ("--key", "Region=r2", *WHY),
    "retain": ("--since", "2026-01", *WHY),
    "retract": ("--at", "2026-01-31T22:10Z", *WHY),
    "changes": (),
    "compact": (),
    "coverage": (),
    "diff": SPAN,
    "files": (),
    "freshness": ("--now", "2026-01-31T22:30Z"),
    "grid": (),
    "history": ("--key", "Region=r1"),
    "ingest": ("TABLE", "--time-column", "Time"),
    "intervals": (),
    "latest": (),
    "repair": (),
    "replay": ("TABLE",),
    "seal": (MONTH,),
    "sql": ("SELECT 1",),
    "state": ("--at", "2026-01-31T22:10Z"),
    "upload": ("ROWS", "--at", "2026-01-31T22:40Z"),
    "vacuum": (),
    "verify": (),
}
"""Commands that take `--provider` and `--store`, and what else makes them work."""
ARGUMENTS |= {f"trace {name}": ARGUMENTS[name] for name in TRACED}

OTHERS = {
    "catalog": (("--store", "DATA"), ("--store", "nosuchscheme://somewhere")),
    "check": (("--store", "DATA", "--now", "2026-01-31T22:30Z"), ("--store", "DATA")),
    "status": (("--store", "DATA", "-p", "gcp"), ("--store", "nosuchscheme://somewhere")),
    "convert": (("ORIGINAL", "NEW", "-p", "gcp"), ("NEW", "FILE/x", "-p", "gcp")),
    "copy": (("DATA", "NEW"), ("NEW", "DATA")),
    "demo": (("--slots", "2", "--keys", "10", "--folder", "NEW"), ("--folder", "FILE/x")),
    "new-provider": (("newcloud", "-d", "NEW"), ("Not a name", "-d", "NEW")),
    "publish": (("--help",), None),
    "publish iceberg": (("-p", "gcp", "--store", "DATA"), ("-p", "gcp", "--store", "NEW")),
    "plugins": ((), None),
    "trace": (("--help",), None),
    "plugins show": (("gcp",), ("nothing-of-this-name",)),
    "plugins doctor": (("gcp", "--quick"), ("nothing-of-this-name",)),
}
"""What makes the others work, and what makes them fail; `None`: nothing does."""


def every_command() -> list[str]:
    names = []
    for name, command in cli.commands.items():
        names.append(name)
        if isinstance(command, click.Group):
            names += [f"{name} {sub}" for sub in command.commands]
    return sorted(names)


def _write_original(folder: Path) -> None:
    """An archive that the original layout's tools wrote, of another key."""
    dtypes = {
        "InstanceType": pl.String,
        "Region": pl.String,
        "Time": pl.Datetime("us", "UTC"),
        "SpotPrice": pl.Float64,
        "Ceased": pl.Boolean,
    }
    rows = pl.DataFrame({**ROWS, "Time": [at(0)], "Ceased": [False]})
    key = ("InstanceType", "Region")
    Collector(LocalStore(folder), "gcp", key, dtypes).run(rows, at(0))


@pytest.fixture
def code(tmp_path, monkeypatch, capfd):
    """Runs a command line in a folder of its own; its exit code."""
    rows = pl.DataFrame(ROWS)
    rows.write_parquet(tmp_path / "rows.parquet")
    rows.with_columns(Time=pl.lit(at(5))).write_parquet(tmp_path / "table.parquet")
    (tmp_path / "file").write_text("not a folder")
    places = {
        "ROWS": str(tmp_path / "rows.parquet"),
        "TABLE": str(tmp_path / "table.parquet"),
        "DATA": str(tmp_path / "data"),
        "NEW": str(tmp_path / "new"),
        "FILE/x": str(tmp_path / "file" / "x"),
        "ORIGINAL": str(tmp_path / "original"),
    }
    archive = titans.open(tmp_path / "data", provider="gcp")
    for n in range(3):
        archive.ingest(rows, at(n))
    _write_original(tmp_path / "original")
    monkeypatch.delenv("TITANS_STORE", raising=False)
    monkeypatch.setattr("titans.cli.read._quiet", lambda: None)

    def call(*arguments: str) -> int:
        with pytest.raises(SystemExit) as done:
            run([places.get(a, a) for a in arguments])
        code = done.value.code
        return 1 if isinstance(code, str) else int(code or 0)

    return call


def test_the_table_has_every_command():
    assert sorted([*ARGUMENTS, *OTHERS]) == every_command()


@pytest.mark.parametrize("name", every_command())
def test_what_works_exits_with_0(name, code, tmp_path):
    if name in ARGUMENTS:
        place = ("--provider", "gcp", "--store", str(tmp_path / "data"))
        assert code(*name.split(), *ARGUMENTS[name], *place) == 0
    else:
        assert code(*name.split(), *OTHERS[name][0]) == 0


@pytest.mark.parametrize("name", every_command())
def test_what_fails_exits_with_1(name, code, tmp_path):
    if name in ARGUMENTS:
        place = ("--provider", "gcp", "--store", "nosuchscheme://somewhere")
        assert code(*name.split(), *ARGUMENTS[name], *place) == 1
        unknown = ("--provider", "nobody", "--store", str(tmp_path / "data"))
        assert code(*name.split(), *ARGUMENTS[name], *unknown) == 1
    elif OTHERS[name][1] is not None:
        assert code(*name.split(), *OTHERS[name][1]) == 1


@pytest.mark.parametrize("name", every_command())
def test_wrong_usage_exits_with_2(name, code):
    assert code(*name.split(), "--no-such-option") == 2
    if name in ARGUMENTS:
        assert code(*name.split(), *ARGUMENTS[name]) == 2  # no --provider


@pytest.mark.parametrize("name", [*every_command(), ""])
def test_help_exits_with_0(name, code):
    assert code(*name.split(), "--help") == 0


@pytest.mark.parametrize("deep", [(), ("--deep",)])
def test_a_failed_verification_exits_with_1(deep, code, tmp_path):
    place = ("--provider", "gcp", "--store", str(tmp_path / "data"))
    assert code("verify", *deep, *place) == 0
    lost = next(Path(tmp_path, "data").rglob("B_*.parquet"))
    lost.unlink()
    assert code("verify", *deep, *place) == 1


@pytest.mark.parametrize("number", [0, 1, 3])
def test_whatever_a_command_exits_with_is_the_exit_code(number, code, monkeypatch):
    """Of commands that come later too."""

    @click.command()
    @click.pass_context
    def new(context: click.Context) -> None:
        context.exit(number)

    monkeypatch.setitem(cli.commands, "new", new)
    assert code("new") == number


def test_the_process_exits_with_it_too(tmp_path):
    """The installed program, and not only the function."""
    program = Path(sys.executable).with_name("titans")
    titans.open(tmp_path / "data", provider="gcp").ingest(pl.DataFrame(ROWS), at(0))
    next(Path(tmp_path, "data").rglob("manifest.json")).write_text("{")
    place = ("--provider", "gcp", "--store", str(tmp_path / "data"))
    done = subprocess.run([program, "verify", *place], capture_output=True, text=True, check=False)
    assert "FAILED" in done.stdout
    assert done.returncode == 1
