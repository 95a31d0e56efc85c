"""A backfill on real engines: workers that die, schedulers that are lost, two at once, on a shared
folder and on S3.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
import spawned
from fixtures_stores import free_ports
from oracle import PROVIDER

import titans
from titans.backfilling.engines import engine_of
from titans.backfilling.upkeep import seal_all, verify_all
from titans.cli.app import run
from titans.errors import InputError, RetryableError, SchemaError
from titans.store.memory import MemoryStore

pytestmark = pytest.mark.xdist_group("processes")

MONTHS = [datetime(2025, month, 1, tzinfo=UTC) for month in range(1, 5)]


def times():
    return [month + timedelta(days=9 * n, hours=n) for month in MONTHS for n in range(3)]


def rows(number):
    """A snapshot in which most values are unobserved once in a month, the first one first."""
    keys = "abcdefgh"
    found = []
    for place, key in enumerate(keys):
        if (number + place) % 7:
            value = None if number % 3 == 0 and place % 2 else number // 2 + place
            found.append((key, value, 0.5 * (number // 5)))
    return found


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder with the parts of a table."""
    folder = tmp_path_factory.mktemp("table")
    data = []
    for number, time_ in enumerate(times()):
        data += [(time_, *row) for row in rows(number)]
    whole = pl.DataFrame(
        data,
        schema={"Time": pl.Datetime("us", "UTC"), "k": pl.String, "v": pl.Int64, "w": pl.Float64},
        orient="row",
    )
    half = whole.height // 2
    whole[:half].write_parquet(folder / "1.parquet")
    whole[half:].write_parquet(folder / "2.parquet")
    return folder


@pytest.fixture(scope="module")
def expected():
    archive = titans.open(MemoryStore(), provider=PROVIDER)
    schema = {"k": pl.String, "v": pl.Int64, "w": pl.Float64}
    for number, time_ in enumerate(times()):
        archive.ingest(pl.DataFrame(rows(number), schema=schema, orient="row"), time_)
    return archive


def assert_same(store, expected):
    archive = titans.open(store, provider=PROVIDER)
    assert archive.changes().equals(expected.changes())
    assert archive.coverage().equals(expected.coverage())
    for time_ in times():
        assert archive.state(time_).equals(expected.state(time_))
    assert archive.verify(deep=True).passed


def during(stage, act):
    """A progress that acts once, when the first step of a stage is done."""
    acted = []

    def progress(name, done, total):
        if name == stage and not acted:
            acted.append(name)
            act()

    return progress


# --- local processes ------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["following", "ingesting"])
def test_a_worker_is_killed(tmp_path, table, expected, stage):
    killed = []

    def kill():
        child = multiprocessing.active_children()[0]
        killed.append(child.pid)
        child.kill()

    done = titans.backfill(
        table, provider=PROVIDER, store=tmp_path, workers=2, progress=during(stage, kill)
    )
    assert killed
    assert [month.month for month in done.months] == [f"2025-0{n}" for n in range(1, 5)]
    assert_same(tmp_path, expected)


def test_workers_that_die_again_and_again(table):
    with engine_of("local", workers=2) as engine, pytest.raises(RetryableError, match="3 times"):
        list(engine.map(spawned.die, [1, 2]))


def test_one_that_is_killed_goes_on(tmp_path, table, expected):
    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    with pytest.raises(Stopped):
        titans.backfill(
            table, provider=PROVIDER, store=tmp_path, workers=1, progress=during("ingesting", stop)
        )
    done = titans.backfill(table, provider=PROVIDER, store=tmp_path, workers=1)
    assert done.months[0].statuses == {"already": 3}
    assert done.months[-1].statuses == {"ingested": 3}
    assert_same(tmp_path, expected)


def two_at_once(table, store):
    """In two processes of their own."""
    context = multiprocessing.get_context("spawn")
    both = [
        context.Process(target=spawned.backfill, args=(str(table), str(store))) for _ in range(2)
    ]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert [each.exitcode for each in both] == [0, 0]


def test_two_at_once_on_a_shared_folder(tmp_path, table, expected):
    two_at_once(table, tmp_path)
    assert_same(tmp_path, expected)


# --- S3 -------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(seaweed_bucket, monkeypatch):
    for name, value in seaweed_environment(seaweed_bucket).items():
        monkeypatch.setenv(name, value)
    return f"s3://{seaweed_bucket.name}"


def seaweed_environment(bucket):
    credentials = bucket.client._request_signer._credentials
    return {
        "AWS_ENDPOINT_URL_S3": bucket.endpoint,
        "AWS_ENDPOINT_URL": bucket.endpoint,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_DEFAULT_REGION": bucket.client.meta.region_name,
    }


def test_from_s3_to_s3(bucket, seaweed_bucket, table, expected):
    for part in table.iterdir():
        key = f"source/{part.name}"
        seaweed_bucket.client.put_object(
            Bucket=seaweed_bucket.name, Key=key, Body=part.read_bytes()
        )
    done = titans.backfill(
        f"{bucket}/source/", provider=PROVIDER, store=f"{bucket}/archive", workers=2
    )
    assert all(month.statuses == {"ingested": 3} for month in done.months)
    assert_same(f"{bucket}/archive", expected)


def test_two_at_once_on_s3(bucket, table, expected):
    two_at_once(table, f"{bucket}/archive")
    assert_same(f"{bucket}/archive", expected)


# --- Dask -----------------------------------------------------------------------------------------


@pytest.fixture
def scheduler():
    """A Dask scheduler with two workers, each a process: its address, and the processes."""
    pytest.importorskip("distributed", reason="Dask is not installed: titans-core[dask]")
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    commands = [["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]]
    commands += [["worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]] * 2
    processes = []
    for command in commands:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "dask", *command],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    try:
        yield address, processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def test_dask_with_a_worker_that_is_killed(scheduler, tmp_path, table, expected):
    address, processes = scheduler
    done = titans.backfill(
        table,
        provider=PROVIDER,
        store=tmp_path,
        engine="dask",
        scheduler=address,
        progress=during("ingesting", processes[1].kill),
    )
    assert len(done.months) == 4
    assert_same(tmp_path, expected)


def test_dask_loses_its_scheduler(scheduler, tmp_path, table, expected, monkeypatch):
    import dask

    address, processes = scheduler
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        pytest.raises(RetryableError, match="run it again"),
    ):
        titans.backfill(
            table,
            provider=PROVIDER,
            store=tmp_path,
            engine="dask",
            scheduler=address,
            progress=during("ingesting", processes[0].kill),
        )
    titans.backfill(table, provider=PROVIDER, store=tmp_path, workers=1)
    assert_same(tmp_path, expected)


def test_dask_verifies_and_seals(scheduler, tmp_path, table):
    address, _ = scheduler
    titans.backfill(table, provider=PROVIDER, store=tmp_path, workers=1)
    archive = titans.open(tmp_path, provider=PROVIDER)
    sealed = list(seal_all(archive, engine="dask", scheduler=address))
    assert sorted(month for month, _, _ in sealed) == [f"2025-0{n}" for n in range(1, 5)]
    assert all(month.sealed for month in archive.status())
    assert verify_all(archive, deep=True, engine="dask", scheduler=address) == archive.verify(
        deep=True
    )

    damaged = max(
        (path for path in tmp_path.rglob("*.parquet")), key=lambda path: path.stat().st_size
    )
    damaged.write_bytes(damaged.read_bytes()[:-40])
    found = verify_all(archive, deep=True, engine="dask", scheduler=address)
    assert not found.passed
    assert found == archive.verify(deep=True)


# --- files, and what is refused -------------------------------------------------------------------


def test_files_with_their_times_in_their_names(tmp_path, expected):
    schema = {"k": pl.String, "v": pl.Int64, "w": pl.Float64}
    folder = tmp_path / "files"
    folder.mkdir()
    for number, time_ in enumerate(times()):
        frame = pl.DataFrame(rows(number), schema=schema, orient="row")
        frame.write_csv(folder / f"prices-{time_:%Y-%m-%dT%H%M}.csv")
    (folder / "prices-latest.csv").write_text("k,v,w\n")
    done = titans.backfill(
        folder,
        provider=PROVIDER,
        store=tmp_path / "store",
        time_from_name="prices-%Y-%m-%dT%H%M",
        workers=1,
    )
    assert [outcome.name.rpartition("/")[2] for outcome in done.refused] == ["prices-latest.csv"]
    assert_same(tmp_path / "store", expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "slurm"}, "one of local, dask, spark"),
        ({"workers": 0}, "at least one worker"),
        ({"scheduler": "tcp://x"}, "have no scheduler"),
        ({"time_column": "When"}, "no column 'When'"),
        ({"time_column": "Time", "time_from_name": "%Y-%m-%d"}, "not both"),
        ({"max_ceased": 2}, "between 0 and 1"),
    ],
)
def test_wrong_input_changes_nothing(tmp_path, table, options, said):
    with pytest.raises(InputError, match=said):
        titans.backfill(table, provider=PROVIDER, store=tmp_path, **{"workers": 1, **options})
    assert not list(tmp_path.rglob("*.*"))


def test_a_row_without_a_time_changes_nothing(tmp_path, table):
    bad = pl.read_parquet(table / "1.parquet").with_columns(
        Time=pl.when(pl.int_range(pl.len()) > 3).then("Time")
    )
    bad.write_parquet(tmp_path / "bad.parquet")
    with pytest.raises(SchemaError, match="is null in 4 row"):
        titans.backfill(
            tmp_path / "bad.parquet", provider=PROVIDER, store=tmp_path / "store", workers=1
        )
    assert not (tmp_path / "store").exists()


def test_the_command(tmp_path, table, expected, monkeypatch, capsys):
    monkeypatch.setattr("titans.plugins.load", lambda _: PROVIDER)
    store = ["-p", "small", "--store", str(tmp_path)]
    with pytest.raises(SystemExit) as done:
        run(["backfill", str(table), "--workers", "1", *store])
    assert done.value.code == 0
    out = capsys.readouterr().out
    assert "2025-01: 3 ingested" in out
    assert "12 snapshots" in out
    assert_same(tmp_path, expected)

    for command in (["seal", "--all"], ["verify", "--deep"]):
        with pytest.raises(SystemExit) as done:
            run([*command, "--workers", "2", *store])
        assert done.value.code == 0
    assert "2025-04 is sealed" in capsys.readouterr().out
