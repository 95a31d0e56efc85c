"""Real processes on real stores, killed at random: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from oracle import PROVIDER, as_dict, at
from races_worker import is_upload, rows

from titans import Archive
from titans.store import open_store

WORKER = Path(__file__).parents[1] / "races_worker.py"
WRITERS = 8
SLOTS = int(os.environ.get("TITANS_RACE_SLOTS", "16"))
"""Per writer. `make race` takes 200."""
KILLS = int(os.environ.get("TITANS_RACE_KILLS", "10"))

pytestmark = pytest.mark.xdist_group("races")


def start(url: str, number: int, folder: Path) -> subprocess.Popen:
    command = [sys.executable, WORKER, url, number, WRITERS, WRITERS * SLOTS, folder / f"{number}.txt"]
    errors = (folder / f"{number}.err").open("a")
    with errors:
        return subprocess.Popen([str(c) for c in command], stderr=errors, cwd=WORKER.parent)


def race(url: str, folder: Path) -> set[int]:
    """Eight writers until all have done their share, some of them killed and started again; the acknowledged slots."""
    chance = random.Random(3)
    running = {n: start(url, n, folder) for n in range(WRITERS)}
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
                    running[number] = start(url, number, folder)
                continue
            assert code == 0, (folder / f"{number}.err").read_text()
            del running[number]
    print(f"{kills} kills")
    return {int(line) for n in range(WRITERS) for line in (folder / f"{n}.txt").read_text().split()}


def check(url: str, acknowledged: set[int]) -> None:
    assert acknowledged == set(range(WRITERS * SLOTS))
    archive = Archive(open_store(url), PROVIDER)
    for _ in range(2):
        points = archive.changes()
        assert not points.select("k", "Time").is_duplicated().any()
        for slot in range(WRITERS * SLOTS):
            if not is_upload(slot):
                if slot % 7 == 0:
                    assert as_dict(archive.state(at(slot))) == rows(slot), slot
                continue
            uploaded = points.filter(Time=at(slot)).select("k", "v", "w").rows()
            assert set(uploaded) >= {(key, *values) for key, values in rows(slot).items()}, slot
        archive.compact()
    found = archive.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]
    assert sum(month.adopted for month in archive.status()) == WRITERS * SLOTS
    archive.vacuum("0s")
    assert archive.verify(deep=True).passed
    assert archive.changes().equals(points)


def test_eight_processes_on_a_local_archive(tmp_path):
    url = (tmp_path / "archive").as_uri()
    check(url, race(url, tmp_path))
