"""Locks between processes, and steps of which a network file system does not tell whether they
happened."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from titans.errors import OutcomeUnknown, UnsupportedStoreError
from titans.store import _locks
from titans.store.local import LocalStore


def failing(code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


def test_a_child_forked_while_a_lock_is_held_does_not_keep_it(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from titans.store._locks import exclusive
lock = Path(sys.argv[1]) / ".lock"
reading, writing = os.pipe()
with exclusive(lock):
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
signal.alarm(20)
with exclusive(lock):
    print("again")
os.close(writing)
os.waitpid(child, 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "again\n"), done.stderr


def test_without_fcntl_the_package_filelock_locks(tmp_path, monkeypatch):
    locked = []

    class FileLock(contextlib.nullcontext):
        def __init__(self, path):
            super().__init__()
            locked.append(path.name)

    monkeypatch.setattr(_locks, "fcntl", None)
    monkeypatch.setitem(sys.modules, "filelock", SimpleNamespace(FileLock=FileLock))
    store = LocalStore(tmp_path)
    store.replace("a", b"2", store.create("a", b"1"))
    assert store.get("a").data == b"2"
    assert locked == [".a.lock"] * 2


def test_without_fcntl_and_filelock_it_says_what_to_install(tmp_path, monkeypatch):
    store = LocalStore(tmp_path)
    etag = store.create("a", b"1")
    monkeypatch.setattr(_locks, "fcntl", None)
    monkeypatch.setitem(sys.modules, "filelock", None)
    for write in (lambda: store.replace("a", b"2", etag), lambda: store.create("b", b"2")):
        with pytest.raises(UnsupportedStoreError, match="pip install filelock"):
            write()
    assert [(entry.key, store.get(entry.key).data) for entry in store.list()] == [("a", b"1")]


@pytest.mark.parametrize("what", ["create", "replace"])
def test_a_network_file_system_that_fails_at_the_last_step_leaves_the_outcome_unknown(
    tmp_path, monkeypatch, what
):
    store = LocalStore(tmp_path)
    etag = store.create("a", b"1")
    monkeypatch.setattr(os, "replace", failing(errno.ETIMEDOUT))
    monkeypatch.setattr(os, "link", failing(errno.ESTALE))
    with pytest.raises(OutcomeUnknown):
        store.create("b", b"2") if what == "create" else store.replace("a", b"2", etag)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_who_lets_a_lock_go_without_leaving_its_block_does_not_keep_it(tmp_path):
    """As an exception of a signal handler does that comes while the block is entered or left."""
    lock = tmp_path / ".lock"
    held = _locks.exclusive(lock)
    with pytest.raises(BlockingIOError):
        _locks.exclusive(lock, wait=False)
    del held
    with _locks.exclusive(lock, wait=False):
        pass


def test_a_creation_waits_for_whoever_holds_the_lock_whatever_the_file_system_can(
    tmp_path, monkeypatch
):
    """Two processes of which one has hard links have only the lock in common."""
    store, held = LocalStore(tmp_path), []
    real = _locks.exclusive

    def watched(path, **how):
        lock = real(path, **how)
        held.append(path.name)
        return lock

    monkeypatch.setattr("titans.store._writes.exclusive", watched)
    store.create("a", b"1")
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    store.create("b", b"1")
    assert held == [".a.lock", ".b.lock"]
