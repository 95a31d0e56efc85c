"""An exception of a signal handler may come at any line: Ctrl-C, a deadline, a shutdown. The process
then goes on, and so does the archive."""

from __future__ import annotations

import shutil
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from oracle import PROVIDER, as_dict, at, snapshot

import titans
from titans import Archive
from titans.store.local import LocalStore

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

HOME = str(Path(titans.__file__).parent)
BEFORE = {"a": (1, 0.5), "b": (2, 0.5), "c": (3, 0.5)}
SECOND = {"a": (1, 0.5), "b": (7, 0.5), "d": (4, 0.5)}
THIRD = {"a": (9, 0.5), "d": (4, 0.5)}
PATIENCE = 60
"""Seconds after which a thread counts as one that waits for ever."""


def traced(call, on_line):
    """Call it; `on_line` hears of every line of the library, and may raise."""

    def local(frame, event, _):
        if event == "line":
            on_line(frame.f_code.co_filename, frame.f_lineno)
        return local

    def trace(frame, _event, _):
        return local if frame.f_code.co_filename.startswith(HOME) else None

    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(None)


def lines_of(call):
    """The lines that a call comes to, in the order of the first time."""
    lines = {}
    traced(call, lambda *line: lines.setdefault(line))
    return list(lines)


class Interrupt(BaseException):
    """As a signal handler raises it."""


def interrupted(call, line):
    """Whether the call was ended by an exception, raised when it first came to this line."""
    told = []

    def on_line(*here):
        if here == line and not told:
            told.append(here)
            raise Interrupt

    try:
        traced(call, on_line)
    except Interrupt:
        return True
    return False


def wait_for_threads():
    for thread in threading.enumerate():
        # Those of the explorer are of tests in the same process.
        if thread.name.startswith("titans") and "explorer" not in thread.name:
            thread.join(PATIENCE)
            assert not thread.is_alive(), thread.name


@pytest.fixture
def prepared(tmp_path, small_files):
    """A function: an archive of its own with some slots, in a folder of this name."""
    template = tmp_path / "template"
    for n in range(3):
        Archive(LocalStore(template), PROVIDER).ingest(snapshot(BEFORE), at(n))

    def copied(name):
        shutil.copytree(template, tmp_path / name)
        return Archive(LocalStore(tmp_path / name), PROVIDER)

    return copied


def goes_on(archive):
    """The same process ingests the same snapshot and the next, and reads what it should."""
    result = archive.ingest(snapshot(SECOND), at(3))
    assert result.status in ("ingested", "already")
    archive.ingest(snapshot(THIRD), at(4))
    for reader in (archive, Archive(LocalStore(archive.store.root), PROVIDER)):
        assert as_dict(reader.state(at(2))) == BEFORE
        assert as_dict(reader.state(at(3))) == SECOND
        assert as_dict(reader.latest()) == THIRD


def check(prepared, wanted):
    """Interrupt an ingest at each of its lines that is wanted, each time in a folder of its own."""
    lines = lines_of(lambda: prepared("all").ingest(snapshot(SECOND), at(3)))
    assert len(lines) > 500
    chosen = [line for number, line in enumerate(lines) if wanted(number, Path(line[0]).name)]
    ended = 0
    for number, line in enumerate(chosen):
        archive = prepared(str(number))
        ended += interrupted(partial(archive.ingest, snapshot(SECOND), at(3)), line)
        wait_for_threads()
        try:
            goes_on(archive)
        except Exception as error:
            raise AssertionError(f"interrupted at {line}") from error
    assert ended > len(chosen) // 2


def test_an_ingest_interrupted_where_threads_and_locks_are_leaves_a_process_that_works(prepared):
    check(prepared, lambda _, file: file in ("hot.py", "_locks.py"))


@pytest.mark.slow
def test_an_ingest_interrupted_at_a_third_of_its_lines_leaves_a_process_that_works(prepared):
    check(prepared, lambda number, _: number % 3 == 0)
