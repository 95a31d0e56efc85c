"""Real processes on real stores, killed at random: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures_stores import ACCESS_KEY, REGION, SEAWEED, SECRET_KEY
from oracle import PROVIDER, as_dict, at
from races_worker import is_corrected, is_upload, rows

from titans import Archive
from titans.store import open_store

WORKER = Path(__file__).parents[1] / "races_worker.py"
WRITERS = 8
SLOTS = int(os.environ.get("TITANS_RACE_SLOTS", "12"))
"""Per writer. `make race` takes 200."""
KILLS = int(os.environ.get("TITANS_RACE_KILLS", "6"))


def start(url: str, number: int, folder: Path, share: int) -> subprocess.Popen:
    command = [
        sys.executable,
        WORKER,
        url,
        number,
        WRITERS,
        WRITERS * share,
        folder / f"{number}.txt",
    ]
    errors = (folder / f"{number}.err").open("a")
    with errors:
        return subprocess.Popen([str(c) for c in command], stderr=errors, cwd=WORKER.parent)


def race(url: str, folder: Path, share: int) -> tuple[set[int], int]:
    """Eight writers until all have done their share, some killed and started again; the
    acknowledged slots, and the share."""
    chance = random.Random(3)
    running = {n: start(url, n, folder, share) for n in range(WRITERS)}
    kills = 0
    while running:
        for number, process in list(running.items()):
            try:
                code = process.wait(timeout=chance.random() * 0.5)
            except subprocess.TimeoutExpired:
                if kills < KILLS and chance.random() < 0.3:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    kills += 1
                    running[number] = start(url, number, folder, share)
                continue
            assert code == 0, (folder / f"{number}.err").read_text()
            del running[number]
    print(f"{kills} kills")
    return {
        int(line) for n in range(WRITERS) for line in (folder / f"{n}.txt").read_text().split()
    }, share


def check(url: str, acknowledged: set[int], share: int) -> None:
    assert acknowledged == set(range(WRITERS * share))
    archive = Archive(open_store(url), PROVIDER)
    for _ in range(2):
        points = archive.changes()
        assert not points.select("k", "Time").is_duplicated().any()
        for slot in range(WRITERS * share):
            if not is_upload(slot):
                if slot % 7 == 0:
                    assert as_dict(archive.state(at(slot))) == rows(slot), slot
                continue
            uploaded = points.filter(Time=at(slot)).select("k", "v", "w").rows()
            assert set(uploaded) >= {(key, *values) for key, values in rows(slot).items()}, slot
        archive.compact()
    corrected = {slot for slot in acknowledged if is_corrected(slot)}
    assert set(archive.amendments()["slot"]) == {at(slot) for slot in corrected}
    found = archive.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]
    assert sum(month.adopted for month in archive.status()) == WRITERS * share
    archive.vacuum("0s")
    assert archive.verify(deep=True).passed
    assert archive.changes().equals(points)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_eight_processes_on_a_local_archive(tmp_path):
    url = (tmp_path / "archive").as_uri()
    check(url, *race(url, tmp_path, SLOTS))


@SEAWEED
@pytest.mark.timeout(1800)
def test_eight_processes_on_one_bucket(tmp_path, seaweed_bucket, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr(
        "boto3.DEFAULT_SESSION", None
    )  # it remembers the credentials of an earlier test
    url = f"s3://{seaweed_bucket.name}/races?endpoint_url={seaweed_bucket.endpoint}&region={REGION}"
    # Eight Python processes with boto3 on two cores are slow to start: a smaller share each, unless
    # asked for more.
    check(url, *race(url, tmp_path, SLOTS if "TITANS_RACE_SLOTS" in os.environ else SLOTS // 3))
