"""A process that dies inside a write to a local store, at every step of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from titans.errors import NotFound
from titans.store.local import LocalStore

KEY = "a/b/object"
OLD, NEW = b"old content " * 1000, b"NEW CONTENT " * 2000

# Runs an operation again and again in forked children, each in a folder of its own. The first child
# dies at its first call of the operating system, the second at its second, …, until one survives.
# Prints what the calls were.
HARNESS = """
import itertools, json, os, shutil, sys
from pathlib import Path
from titans.store.local import LocalStore

operation, base, KEY, OLD, NEW = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4].encode(), sys.argv[5].encode()
STEPS = ["open", "fdopen", "fsync", "link", "replace", "unlink", "mkdir", "rmdir", "close"]

def instrument(die_at, trace):
    def wrapped(name, real):
        def call(*arguments, **named):
            trace.append([name, *(str(a) for a in arguments if isinstance(a, (str, os.PathLike)))])
            if len(trace) == die_at:
                if name == "fdopen":
                    os.write(arguments[0], NEW[: len(NEW) // 2])
                os._exit(77)
            return real(*arguments, **named)
        return call
    for name in STEPS:
        setattr(os, name, wrapped(name, getattr(os, name)))

def run(die_at, root):
    store = LocalStore(root)
    if operation in ("replace", "delete"):
        etag = store.create(KEY, OLD)
        if operation == "delete":
            store.replace(KEY, OLD + b"", etag)  # has left its lock file
    if operation == "create without links":
        def refused(*_, **__): raise PermissionError(1, "Operation not permitted")
        os.link = refused
    trace = []
    instrument(die_at, trace)
    if operation == "replace":
        store.replace(KEY, NEW, etag)
    elif operation == "delete":
        store.delete(KEY)
    else:
        store.create(KEY, NEW)
    return trace

for die_at in itertools.count(1):
    root = base / f"{die_at:02d}"
    read, write = os.pipe()
    child = os.fork()
    if not child:
        trace = run(die_at, root)
        os.write(write, json.dumps(trace).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        told = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 77), code
    if code == 0:
        print(json.dumps([die_at, json.loads(told)]))
        break
"""


def die_at_every_step(operation, base):
    """The folders in which a process died, one step further each; the one in which it survived; and
    its steps."""
    done = subprocess.run(
        [sys.executable, "-c", HARNESS, operation, str(base), KEY, OLD.decode(), NEW.decode()],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    last, trace = json.loads(done.stdout)
    folders = [base / f"{number:02d}" for number in range(1, last + 1)]
    assert len(trace) == last - 1
    return folders[:-1], folders[-1], trace


def listed(store):
    return [(entry.key, entry.size) for entry in store.list()]


def content(store):
    try:
        return store.get(KEY).data
    except NotFound:
        return None


def works_again(store):
    """The store takes the next writes, and the lock that the dead process held is free."""
    there = content(store)
    etag = (
        store.create(KEY, b"next")
        if there is None
        else store.replace(KEY, b"next", store.head(KEY).etag)
    )
    etag = store.replace(KEY, b"and the one after", etag)
    store.create("a/b/neighbour", b"1")
    assert listed(store) == [("a/b/neighbour", 1), (KEY, 17)]
    return True


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["create", "create without links"])
def test_a_creation_that_dies_leaves_the_whole_object_or_none(tmp_path, operation):
    died, survived, _ = die_at_every_step(operation, tmp_path)
    assert content(LocalStore(survived)) == NEW
    found = []
    for root in died:
        store = LocalStore(root)
        found.append(content(store))
        assert found[-1] in (None, NEW)
        assert listed(store) == ([] if found[-1] is None else [(KEY, len(NEW))])
        assert works_again(store)
    assert found == sorted(
        found, key=lambda data: data is not None
    )  # at first nothing, from some step on everything
    assert {None, NEW} == set(found)


def test_a_replacement_that_dies_leaves_the_old_content_or_the_new(tmp_path):
    died, survived, _ = die_at_every_step("replace", tmp_path)
    assert content(LocalStore(survived)) == NEW
    found = []
    for root in died:
        store = LocalStore(root)
        found.append(content(store))
        assert found[-1] in (OLD, NEW)
        assert listed(store) == [(KEY, len(found[-1]))]
        assert works_again(store)
    assert found == sorted(found, key=lambda data: data == NEW)
    assert {OLD, NEW} == set(found)


def test_a_deletion_that_dies_leaves_the_object_or_none(tmp_path):
    died, survived, _ = die_at_every_step("delete", tmp_path)
    assert list(survived.rglob("*")) == []
    found = []
    for root in died:
        store = LocalStore(root)
        found.append(content(store))
        assert found[-1] in (None, OLD)
        assert listed(store) == ([] if found[-1] is None else [(KEY, len(OLD))])
        assert works_again(store)
    assert {None, OLD} == set(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "naming"),
    [("create", "link"), ("create without links", "replace"), ("replace", "replace")],
)
def test_the_content_is_synced_before_it_gets_its_name_and_the_folder_after(
    tmp_path, operation, naming
):
    _, _, trace = die_at_every_step(operation, tmp_path)
    steps = [step[0] for step in trace]
    named = steps.index(naming)
    written = steps.index("fdopen")
    assert "fsync" in steps[written:named]
    opened = [step[1] for step in trace[named:] if step[0] == "open"]
    assert opened[-1].endswith(os.sep + "b")
    assert "fsync" in steps[len(steps) - steps[::-1].index("open") :]


def test_what_crashes_leave_behind_is_hidden_and_swept_up_a_day_later(tmp_path):
    died, _, _ = die_at_every_step("create", tmp_path)
    left = {root: [path for path in root.rglob(".*") if path.is_file()] for root in died}
    assert any(left.values())
    yesterday = time.time() - 2 * 86_400
    for root, temporary in left.items():
        store = LocalStore(root)
        for path in temporary:
            os.utime(path, (yesterday, yesterday))
        if temporary:
            young = temporary[0].with_name(".tmp-of-another-writer")
            young.write_bytes(b"half")
            store.create("a/b/another", b"1")
            kept = [path for path in root.rglob(".*") if path.is_file()]
            lock = root / "a/b/.object.lock"  # goes with its object
            assert [path for path in kept if path != lock] == [young]
            assert lock not in kept or content(store) is not None


def test_sweeping_touches_neither_objects_nor_other_peoples_files(tmp_path):
    store = LocalStore(tmp_path)
    store.create("a/object", b"1")
    (tmp_path / "a" / ".tmp-stale").write_bytes(b"half")
    (tmp_path / "a" / ".stale.lock").write_bytes(b"")
    (tmp_path / "a" / ".object.lock").write_bytes(b"")
    (tmp_path / "a" / ".other.lock").write_bytes(b"not ours")
    (tmp_path / "a" / ".hidden").write_bytes(b"not ours")
    (tmp_path / "a" / "tmp-like").write_bytes(b"an object")
    yesterday = time.time() - 2 * 86_400
    for path in (tmp_path / "a").iterdir():
        os.utime(path, (yesterday, yesterday))
    LocalStore(tmp_path).create("a/next", b"2")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        ".hidden",
        ".object.lock",
        ".other.lock",
        "next",
        "object",
        "tmp-like",
    ]


def test_a_lock_that_a_dead_process_held_is_free(tmp_path):
    holder = """
import os, sys
from pathlib import Path
from titans.store._locks import exclusive
with exclusive(Path(sys.argv[1])):
    os._exit(3)
"""
    store = LocalStore(tmp_path)
    etag = store.create("object", b"1")
    done = subprocess.run(
        [sys.executable, "-c", holder, str(tmp_path / ".object.lock")], check=False, timeout=60
    )
    assert done.returncode == 3
    store.replace("object", b"2", etag)
    assert store.get("object").data == b"2"
