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
    assert locked == [".a.lock"]


def test_without_fcntl_and_filelock_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(_locks, "fcntl", None)
    monkeypatch.setitem(sys.modules, "filelock", None)
    store = LocalStore(tmp_path)
    etag = store.create("a", b"1")
    with pytest.raises(UnsupportedStoreError, match="pip install filelock"):
        store.replace("a", b"2", etag)
    assert store.get("a").data == b"1"


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
