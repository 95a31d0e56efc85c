"""`spark.read.format("titans")` gives, row for row, what the archive answers: on Sail, and on Spark
itself where `make engines` has installed it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest

import titans

pytest.importorskip("titans_spark", reason="titans-spark is not installed")

TESTS = Path(__file__).resolve().parents[1]
ENGINES = TESTS.parent / ".venv-spark/bin/python"
KEY = ["InstanceType", "Region", "AZ"]
BEGIN = datetime(2026, 1, 31, 20, tzinfo=UTC)
LATE = (27, 31, 33)
AT = BEGIN + timedelta(minutes=305)
MIDDLE, END = BEGIN + timedelta(minutes=100), BEGIN + timedelta(minutes=310)

pytestmark = [pytest.mark.xdist_group("spark"), pytest.mark.slow]


def at(number):
    return BEGIN + timedelta(minutes=10 * number)


def snapshot(number):
    keys = [key for key in range(12) if (key + number) % 7]
    return pl.DataFrame(
        {
            "InstanceType": [f"m5.{key}" for key in keys],
            "Region": [f"region-{key % 3}" for key in keys],
            "AZ": ["az1"] * len(keys),
            "SpotPrice": [0.01 * key + 0.001 * (number // (key + 1)) for key in keys],
        }
    )


def fill(archive):
    """January is sealed; in February slots came late, and one is not adopted yet."""
    with patch("titans.tiers.compact.plan.SMALL_ROWS", -1):
        for number in [n for n in range(36) if n not in LATE] + list(LATE):
            archive.ingest(snapshot(number), at(number))
        archive.seal("2026-01")
    archive.upload(snapshot(50).head(3), at(40))


EVERYTHING = """
import titans
TITANS_API = 1

@titans.hookimpl
def titans_schema():
    return titans.Schema({
        "s": "String", "b": "Boolean", "d": "Date", "t": "Datetime", "m": "Decimal(38, 10)",
        "i8": "Int8", "i16": "Int16", "i32": "Int32", "i64": "Int64", "u8": "UInt8",
        "u16": "UInt16", "u32": "UInt32", "u64": "UInt64", "f32": "Float32", "f64": "Float64",
        "j": "Json", "y": "Binary",
    }, nullable=("s", "f64", "u64"))

@titans.hookimpl
def titans_pk_columns():
    return ("k", "a`b")
"""


def write_provider(folder):
    """A provider with every dtype, as a package is installed."""
    (folder / "titans_everything.py").write_text(EVERYTHING)
    info = folder / "titans_everything-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: titans-everything\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[titans.providers]\neverything = titans_everything\n")


def everything():
    rows = []
    for number, name in enumerate(("a", "ü", "c")):
        sign = (-1) ** number
        rows.append(
            {
                "k": name,
                "a`b": str(number),
                "s": None if number == 1 else f"text {number}",
                "b": number == 0,
                "d": datetime(1969 + 40 * number, 2, 28).date(),
                "t": datetime(1950 + 50 * number, 1, 1, 1, 2, 3, 456789, tzinfo=UTC),
                "m": Decimal("1234567890123456789012345678.0123456789") * sign,
                "i8": -128 + number,
                "i16": -(2**15),
                "i32": 2**31 - 1,
                "i64": -(2**63) + number,
                "u8": 255,
                "u16": 2**16 - 1,
                "u32": 2**32 - 1,
                "u64": None if number == 2 else 2**64 - 1,
                "f32": 0.125,
                "f64": (float("nan"), float("inf"), None)[number],
                "j": '{"a":[1,2]}',
                "y": b"\xff\x00" * number,
            }
        )
    return rows


CONDITIONS = {
    "one_key": "InstanceType = 'm5.3' and Region = 'region-0'",
    "several": "InstanceType in ('m5.3', 'm5.4', 'nobody')",
    "prefix": "InstanceType like 'm5.1%' and AZ is not null",
    "times": f"Time >= timestamp'{MIDDLE:%Y-%m-%d %H:%M:%S}' and Time < timestamp'{END:%Y-%m-%d %H:%M:%S}'",
    "values": "SpotPrice > 0.02 and not Ceased",
    "ceased": "Ceased and not InstanceType = 'm5.3'",
    "either": "SpotPrice is null or InstanceType = 'm5.1'",
    "no_time": f"Time > timestamp'{END:%Y-%m-%d %H:%M:%S}' and Time < timestamp'{MIDDLE:%Y-%m-%d %H:%M:%S}'",
}
EXPECTED = {
    "one_key": (pl.col("InstanceType") == "m5.3") & (pl.col("Region") == "region-0"),
    "several": pl.col("InstanceType").is_in(["m5.3", "m5.4"]),
    "prefix": pl.col("InstanceType").str.starts_with("m5.1"),
    "times": pl.col("Time").is_between(MIDDLE, END, closed="left"),
    "values": (pl.col("SpotPrice") > 0.02) & ~pl.col("Ceased"),
    "ceased": pl.col("Ceased") & (pl.col("InstanceType") != "m5.3"),
    "either": pl.col("SpotPrice").is_null() | (pl.col("InstanceType") == "m5.1"),
    "no_time": pl.lit(value=False),
}


def item(number):
    return [at(number).isoformat(), snapshot(number).to_dict(as_series=False)]


def questions(archive, everything, streamed):
    mine = {"store": archive.store.url, "provider": "aws"}
    iso = {"start": MIDDLE.isoformat(), "end": END.isoformat()}
    asked = {
        "changes": {"options": mine},
        "range": {"options": mine | iso},
        "latest": {"options": mine | {"table": "latest"}},
        "latest_parts": {"options": mine | {"table": "latest", "parts": "3"}},
        "state": {"options": mine | {"at": AT.isoformat()}},
        "state_parts": {"options": mine | {"at": AT.isoformat(), "parts": "4"}},
        "intervals": {"options": mine | iso | {"table": "intervals"}},
        "coverage": {"options": mine | {"table": "coverage"}},
        "two_columns": {"options": mine, "schema": "Region string, SpotPrice double"},
        "count": {"options": mine, "select": ["count(*) as n"]},
        "latest_where": {
            "options": mine | {"table": "latest"},
            "where": "Region = 'region-1' and SpotPrice > 0.02",
        },
        "intervals_where": {
            "options": mine | {"table": "intervals"},
            "where": "InstanceType = 'm5.2' and valid_to is null",
        },
        "everything": {"options": {"store": everything, "provider": "everything"}},
        "wrong_option": {"options": mine | {"since": "2026"}, "fails": True},
        "wrong_schema": {"options": mine, "schema": "SpotPrice int", "fails": True},
        "stream": {
            "options": {"store": streamed, "provider": "aws"},
            "rounds": [
                [["ingest", *item(number)] for number in range(20) if number not in (5, 8)],
                [["ingest", *item(5)], ["compact"], ["ingest", *item(20)]],
                [["ingest", *item(8)], ["ingest", *item(26)], ["ingest", *item(25)]],
                [["seal", "2026-01"], ["vacuum"]],
                [["ingest", *item(30)]],
            ],
        },
    }
    for name, where in CONDITIONS.items():
        asked["where_" + name] = {"options": mine, "where": where}
    return asked


@pytest.fixture(scope="module", params=["sail", "spark"])
def asked(request, tmp_path_factory):
    """The folder with the answers, and the archive."""
    python = sys.executable
    if request.param == "sail":
        pytest.importorskip("pysail", reason="pysail is not installed")
    elif ENGINES.exists():
        python = str(ENGINES)
    else:
        pytest.skip("Spark itself is not installed here: `make engines` does it")

    folder = tmp_path_factory.mktemp(request.param)
    archive = titans.open(folder / "archive", provider="aws")
    fill(archive)
    write_provider(folder)
    environment = os.environ | {"PYTHONPATH": str(folder), "TZ": "Asia/Seoul"}
    write = (
        "import sys, titans, polars as pl; from datetime import datetime, UTC\n"
        f"sys.path.insert(0, {str(TESTS / 'integration')!r}); sys.path.insert(0, {str(TESTS)!r})\n"
        "from test_spark import everything\n"
        "archive = titans.open('everything', provider='everything')\n"
        "archive.ingest(pl.DataFrame(everything()), datetime(2026, 1, 1, tzinfo=UTC))\n"
        "archive.changes().write_parquet('everything-expected.parquet')"
    )
    _run([sys.executable, "-c", write], folder, environment)
    wanted = questions(archive, str(folder / "everything"), str(folder / "streamed"))
    (folder / "questions.json").write_text(json.dumps(wanted))
    script = str(TESTS / "asked_of_spark.py")
    _run([python, script, request.param, "questions.json"], folder, environment)
    return folder, archive


def _run(command, folder, environment):
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def answer(asked, name):
    """As the archive has it: times say that they are UTC."""
    rows = pl.read_parquet(asked[0] / f"{name}.parquet")
    times = [column for column, dtype in rows.schema.items() if dtype == pl.Datetime]
    utc = []
    for column in times:
        if rows.schema[column].time_zone is None:
            utc.append(pl.col(column).dt.replace_time_zone("UTC"))
        else:
            utc.append(pl.col(column).dt.convert_time_zone("UTC"))
    return rows.with_columns(utc)


def same(found, expected):
    by = [name for name in (*KEY, "Time", "valid_from", "slot") if name in expected.columns]
    assert found.columns == expected.columns
    assert found.sort(by).equals(expected.sort(by))


def test_change_points(asked):
    same(answer(asked, "changes"), asked[1].changes())
    same(answer(asked, "range"), asked[1].changes(MIDDLE, END))
    kinds = set(asked[1].files()["kind"])
    assert {"merged", "border", "hot", "correction"} <= kinds


def test_states(asked):
    same(answer(asked, "latest"), asked[1].latest())
    same(answer(asked, "latest_parts"), asked[1].latest())
    same(answer(asked, "state"), asked[1].state(AT))
    same(answer(asked, "state_parts"), asked[1].state(AT))


def test_periods_and_coverage(asked):
    same(answer(asked, "intervals"), asked[1].intervals(MIDDLE, END))
    same(answer(asked, "coverage"), asked[1].coverage())


def test_columns_of_a_schema(asked):
    expected = asked[1].changes().select("Region", "SpotPrice")
    found = answer(asked, "two_columns")
    assert found.sort(found.columns).equals(expected.sort(found.columns))
    assert answer(asked, "count").item() == expected.height


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions(asked, name):
    expected = asked[1].changes().filter(EXPECTED[name])
    assert expected.is_empty() == (name == "no_time")
    same(answer(asked, f"where_{name}"), expected)


def test_conditions_on_other_tables(asked):
    latest = asked[1].latest((pl.col("Region") == "region-1") & (pl.col("SpotPrice") > 0.02))
    assert latest.height
    same(answer(asked, "latest_where"), latest)
    periods = asked[1].intervals(where=pl.col("valid_to").is_null(), InstanceType="m5.2")
    assert periods.height
    same(answer(asked, "intervals_where"), periods)


def test_every_dtype_is_exact(asked):
    expected = pl.read_parquet(asked[0] / "everything-expected.parquet")
    found = answer(asked, "everything")
    assert found.schema["u64"] == pl.Decimal(20, 0)
    assert found.schema["m"] == pl.Decimal(38, 10)
    assert found["u64"].cast(pl.UInt64).sort().equals(expected["u64"].sort())
    whole = found.select(pl.col(name).cast(dtype) for name, dtype in expected.schema.items())
    assert whole.sort("k").equals(expected.sort("k"))


def test_errors_say_what_to_do(asked):
    assert "unknown option 'since'" in (asked[0] / "wrong_option.txt").read_text()
    assert "column 'SpotPrice' is" in (asked[0] / "wrong_schema.txt").read_text()


def test_a_stream_goes_on_from_its_checkpoint(asked):
    if not (asked[0] / "stream").is_dir():
        pytest.skip("streams are run on Spark only: Sail 0.7 has no sink of files or in memory")
    rows = pl.read_parquet(asked[0] / "stream/*.parquet")
    rows = rows.with_columns(pl.col("Time").cast(pl.Datetime("us", "UTC")))
    archive = titans.open(asked[0] / "streamed", provider="aws")
    same(rows, archive.changes())
