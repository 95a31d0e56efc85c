"""Processes that upload, compact and publish at once, killed at random: every version that was ever
published is the archive of one moment, and none is of an earlier one than the version before."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from oracle import PROVIDER, START
from publishing_worker import expected
from reading_iceberg import assert_published, by_pyiceberg

from titans import Archive
from titans.store.local import LocalStore

WORKER = Path(__file__).parents[1] / "publishing_worker.py"
WORKERS, SLOTS, KILLS = 3, 90, 5


def start(folder: Path, number: int) -> subprocess.Popen:
    command = [sys.executable, WORKER, folder, number, WORKERS, SLOTS]
    with (folder.parent / f"{number}.err").open("a") as errors:
        return subprocess.Popen([str(c) for c in command], stderr=errors, cwd=WORKER.parent)


def race(folder: Path) -> int:
    """Until all have done their share; how many were killed."""
    chance = random.Random(5)
    running = {number: start(folder, number) for number in range(WORKERS)}
    kills = 0
    while running:
        for number, process in list(running.items()):
            try:
                code = process.wait(timeout=0.3 + 0.7 * chance.random())
            except subprocess.TimeoutExpired:
                if kills < KILLS and chance.random() < 0.5:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    kills += 1
                    running[number] = start(folder, number)
                continue
            assert code == 0, (folder.parent / f"{number}.err").read_text()
            del running[number]
    return kills


def test_every_version_is_the_archive_of_one_moment(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    assert race(folder)
    archive = Archive(LocalStore(folder), PROVIDER)
    last = archive.publish_iceberg()
    assert_published(archive, last)
    assert archive.changes().equals(expected(set(range(SLOTS))))

    before: set[int] = set()
    for version in range(1, last.changes.version + 1):
        location = f"file://{folder}/iceberg/small/changes/metadata/v{version}.metadata.json"
        found = by_pyiceberg(location, archive.changes().clear(), ["k", "Time"])
        slots = {int((time - START).total_seconds() // 600) for time in found["Time"]}
        assert found.equals(expected(slots))
        assert before <= slots  # a merge publishes the same rows in other files
        before = slots
    assert last.changes.version > WORKERS
