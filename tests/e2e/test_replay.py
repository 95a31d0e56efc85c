"""Real histories, replayed through the command line: every snapshot comes back, whatever happens on
the way."""

import os
import random
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from realdata import FOLDER, needs_data

import titans
from titans.changes.conform import conform_snapshot
from titans.cli.app import run
from titans.cli.replay import read_snapshots
from titans.slots import Slot

pytestmark = needs_data


def replay(capsys, *arguments, code=0):
    """Run the command; what it printed."""
    with pytest.raises(SystemExit) as done:
        run(["replay", *map(str, arguments)])
    assert (done.value.code or 0) == code
    return capsys.readouterr().out


def expected(archive, file, sample=1):
    """Every `sample`-th snapshot of a history, one per slot, with nulls carried as `ingest`
    does."""
    key, values = list(archive.provider.key), archive.provider.value_columns
    previous, before = None, None
    for number, (at, raw) in enumerate(read_snapshots(pl.scan_parquet(FOLDER / file))[1]):
        slot = Slot.of(at)
        if before is not None and slot == before:
            continue
        frame, _ = conform_snapshot(raw, archive.provider)
        if previous is not None:
            old = previous.rename({c: c + "_old" for c in values})
            frame = frame.join(old, on=key, how="left").select(
                *key, *(pl.coalesce(c, c + "_old") for c in values)
            )
        previous, before = frame, slot
        if number % sample == 0:
            yield at, frame.sort(key)


@pytest.mark.parametrize(
    ("provider", "file", "limit", "sample", "summary"),
    [
        ("aws", "aws_snapshots.parquet", 24, 3, "24 snapshots, 767,472 rows: 24 ingested"),
        (
            "gcp",
            "gcp_snapshots.parquet",
            None,
            3,
            "142 snapshots, 1,399,708 rows: 90 ingested, 49 unchanged, 3 skipped",
        ),
        (
            "azure",
            "azure_snapshots.parquet",
            None,
            3,
            "82 snapshots, 432,966 rows: 5 ingested, 77 unchanged",
        ),
    ],
)
def test_the_state_at_every_snapshot_equals_the_snapshot(
    capsys, tmp_path, provider, file, limit, sample, summary
):
    arguments = (FOLDER / file, "--provider", provider, "--store", tmp_path.as_uri())
    arguments += ("--limit", limit) if limit else ()
    assert summary in replay(capsys, *arguments)
    archive = titans.open(tmp_path, provider=provider)
    checked = 0
    for number, (at, want) in enumerate(expected(archive, file, sample)):
        if limit and number * sample >= limit:
            break
        assert archive.state(at).select(want.columns).equals(want), at
        checked += 1
    assert checked >= 8

    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")}
    again = replay(capsys, *arguments)
    assert "nothing new: the archive is as it was" in again
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")} == files


def test_plain_duckdb_finds_the_change_points_in_the_files_of_a_sealed_history(capsys, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    replay(capsys, FOLDER / "aws_snapshots.parquet", "-p", "aws", "--store", tmp_path)
    archive = titans.open(tmp_path, provider="aws")
    for status in archive.status():
        archive.seal(str(status.month))
    files = archive.files()
    assert set(files["kind"]) == {"merged", "border"}
    rows = f"read_parquet({files['url'].to_list()})"
    key = "InstanceType, Region, AZ, epoch_us(Time)"
    counted = duckdb.sql(f"SELECT count(*), count(DISTINCT ({key})) FROM {rows}").fetchall()
    assert counted == [(3_705_962, 3_705_962)]
    assert archive.changes().height == 3_705_962


def test_a_second_snapshot_of_a_slot_is_reported(capsys, tmp_path):
    out = replay(capsys, FOLDER / "gcp_snapshots.parquet", "-p", "gcp", "--store", tmp_path)
    assert out.count("skipped, its slot holds another snapshot") == 3


def test_a_truncated_snapshot_is_refused_and_the_replay_goes_on(capsys, tmp_path, site):
    site.add(
        """
        from titans import Schema, hookimpl
        TITANS_API = 1

        @hookimpl
        def titans_schema():
            return Schema({"SpotPrice": "Float64", "Savings": "Int64"})

        @hookimpl
        def titans_pk_columns():
            return ("InstanceType", "Region")
        """,
        name="regional",
    )
    file = FOLDER / "aws_region_snapshots.parquet"
    out = replay(
        capsys, file, "--provider", "regional", "--store", tmp_path, "--limit", 120, code=1
    )
    assert "1 refused" in out
    assert "at 2024-08-20T00:50:00Z" in out
    assert "it looks truncated and nothing was stored" in out
    archive = titans.open(tmp_path, provider="regional")
    around = pl.col("Time").dt.date().is_between(pl.date(2024, 8, 18), pl.date(2024, 8, 22))
    observed = [at for at, _ in read_snapshots(pl.scan_parquet(file).filter(around))[1]]
    assert len(observed) > 3
    assert all(archive.state(at).height > 2500 for at in observed)


def test_killed_anywhere_and_run_again_it_ends_in_the_same_content(capsys, tmp_path):
    file = FOLDER / "azure_snapshots.parquet"
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    replay(capsys, file, "-p", "azure", "--store", whole)
    command = [
        sys.executable,
        "-c",
        "from titans.cli import main; main()",
        "replay",
        file,
        "-p",
        "azure",
        "--store",
        broken,
    ]
    chance = random.Random(7)
    for kill in range(6):
        # How far it gets is the machine's affair; that it ends well wherever it was stopped is
        # ours.
        process = subprocess.Popen(
            [str(c) for c in command], stdout=subprocess.DEVNULL, start_new_session=True
        )
        goal, deadline = 3 + 9 * kill + chance.randrange(5), time.monotonic() + 60
        while (
            len(list(broken.rglob("*.parquet"))) < goal
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            pass
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    out = replay(capsys, file, "-p", "azure", "--store", broken)
    assert "already" in out
    a, b = (titans.open(folder, provider="azure") for folder in (whole, broken))
    assert a.changes().equals(b.changes())
    assert a.latest().equals(b.latest())
    assert [m.observed for m in a.status()] == [m.observed for m in b.status()]
