"""Under `python -O` asserts do not run: every answer must be the same as without."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
from datetime import UTC, datetime, timedelta

import polars as pl
import titans

archive = titans.open(sys.argv[1], provider="aws")
start = datetime(2026, 1, 31, 20, tzinfo=UTC)


def at(slot):
    return start + timedelta(minutes=10 * slot + 3)


def table(slot):
    rows = []
    for number in range(40):
        if (number + slot) % 11:
            price = 1.0 + (number * slot) % 7
            zone = f"use1-az{number % 3}"
            rows.append((f"m{number}.large", "us-east-1", zone, 3, price))
    columns = ["InstanceType", "Region", "AZ", "SPS", "SpotPrice"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def shown(frame):
    return json.loads(frame.cast({pl.Datetime: pl.String}).write_json())


for slot in [*range(12), 14, *range(16, 40), 13]:  # one comes late, a month ends
    archive.ingest(table(slot), at(slot), max_ceased=1.0)
late = titans.prepare_for_upload(table(3).head(2), table(4).tail(2))
archive.upload(late, at(12))

answers = {}
for step in ("waiting", "compacted", "sealed"):
    if step == "compacted":
        archive.compact()
    if step == "sealed":
        archive.seal("2026-01")
        archive.vacuum("0s")
    key = ["InstanceType", "Region", "AZ", "Time"]
    answers[step] = {
        "states": [shown(archive.state(at(slot))) for slot in (0, 12, 13, 23, 30, 39)],
        "changes": shown(archive.changes(at(2), at(30))),
        "history": shown(archive.history(InstanceType="m3.large")),
        "scan": shown(archive.scan(at(1), at(35)).collect().sort(key)),
        "latest": shown(archive.latest()),
        "coverage": shown(archive.coverage()),
        "intervals": shown(archive.intervals(at(5), at(25))),
        "grid": shown(archive.grid(at(5), at(25), "1h")),
        "files": archive.files()["rows"].sum(),
        "verified": archive.verify(deep=True).passed,
    }
print(json.dumps({"debug": __debug__, "answers": answers}))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """With and without asserts."""
    environment = {name: value for name, value in os.environ.items() if name[:7] != "TITANS_"}
    outputs = {}
    for flag in ("-O", "-B"):
        folder = tmp_path_factory.mktemp("archive")
        done = subprocess.run(
            [sys.executable, flag, "-c", SCRIPT, str(folder)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        outputs[flag] = json.loads(done.stdout)
    return outputs


def test_asserts_did_not_run(answers):
    assert (answers["-O"]["debug"], answers["-B"]["debug"]) == (False, True)


@pytest.mark.parametrize("step", ["waiting", "compacted", "sealed"])
def test_answers_are_the_same(answers, step):
    optimized, plain = answers["-O"]["answers"][step], answers["-B"]["answers"][step]
    assert optimized == plain
    assert optimized["verified"] is True
    assert len(optimized["states"][0]) == 36
