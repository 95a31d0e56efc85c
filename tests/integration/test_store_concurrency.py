"""Many writers at once: one wins, and nobody's work is lost."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import fixtures_stores
import pytest

from titans.errors import AlreadyExists, NotFound, PreconditionFailed
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.store.s3 import S3Store

WORKERS = 8

PREAMBLE = """
import json, os, sys
from titans.errors import AlreadyExists, NotFound, PreconditionFailed
from titans.store.local import LocalStore
root, number, links = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "links"
if not links:
    def refused(*_, **__): raise PermissionError(1, "Operation not permitted")
    os.link = refused
store = LocalStore(root)
print("ready", flush=True)
sys.stdin.readline()
"""

CREATE = """
won = []
for turn in range(20):
    try:
        store.create(f"race/{turn}", b"%d" % number * 1000)
        won.append(turn)
    except AlreadyExists:
        pass
print(json.dumps(won))
"""

INCREMENT = """
done = 0
while done < 25:
    blob = store.get("deep/counter")
    try:
        store.replace("deep/counter", b"%d" % (int(blob.data) + 1), blob.etag)
        done += 1
    except PreconditionFailed:
        pass
print(json.dumps(done))
"""

# A lock file that is removed while others queue for it would let two of them in at once.
CREATE_AND_INCREMENT = """
done = 0
while done < 10:
    try:
        blob = store.get("deep/counter")
    except NotFound:
        try:
            store.create("deep/counter", b"1")
            done += 1
        except AlreadyExists:
            pass
        continue
    try:
        store.replace("deep/counter", b"%d" % (int(blob.data) + 1), blob.etag)
        done += 1
    except PreconditionFailed:
        pass
print(json.dumps(done))
"""

COME_AND_GO = """
mine = f"shared/folder/{number}"
for turn in range(60):
    store.create(mine, b"x")
    assert store.get(mine).data == b"x"
    store.delete(mine)
print(json.dumps(turn))
"""

# Whoever has taken the token has it alone: nobody else can delete it or put it back meanwhile.
TAKE_AND_PUT = """
taken = 0
for turn in range(40):
    try:
        blob = store.get("token")
        if blob.data != b"free":
            continue
        store.replace("token", b"taken by %d in turn %d" % (number, turn), blob.etag)
    except (NotFound, PreconditionFailed):
        continue
    taken += 1
    store.delete("token")
    store.create("token", b"free")
print(json.dumps(taken))
"""


def processes(root, code, links):
    """What each of eight processes printed; all start when all are ready."""
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PREAMBLE + code, str(root), str(number), links],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )  # fmt: skip
            )
            for number in range(WORKERS)
        ]
        for worker in workers:
            stack.callback(worker.kill)
            assert worker.stdout.readline() == "ready\n", worker.stderr.read()
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        answers = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * WORKERS, "\n".join(errors for _, errors in answers)
    return [json.loads(out) for out, _ in answers]


def names_below(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


with_and_without_links = pytest.mark.parametrize("links", ["links", "no links"])


@with_and_without_links
def test_of_many_processes_that_create_an_object_one_wins(tmp_path, links):
    won = processes(tmp_path, CREATE, links)
    assert sorted(turn for turns in won for turn in turns) == list(range(20))
    store = LocalStore(tmp_path)
    for number, turns in enumerate(won):
        for turn in turns:
            assert store.get(f"race/{turn}").data == b"%d" % number * 1000
    assert names_below(tmp_path) == sorted(["race", *(f"race/{turn}" for turn in range(20))])


def test_increments_by_many_processes_are_all_counted(tmp_path):
    store = LocalStore(tmp_path)
    store.create("deep/counter", b"0")
    assert processes(tmp_path, INCREMENT, "links") == [25] * WORKERS
    assert store.get("deep/counter").data == b"%d" % (25 * WORKERS)
    assert [entry.key for entry in store.list()] == ["deep/counter"]


@with_and_without_links
def test_the_first_create_and_the_swaps_after_it_share_one_lock(tmp_path, links):
    assert processes(tmp_path, CREATE_AND_INCREMENT, links) == [10] * WORKERS
    assert LocalStore(tmp_path).get("deep/counter").data == b"%d" % (10 * WORKERS)


@with_and_without_links
def test_a_folder_that_is_removed_while_others_write_into_it_is_made_again(tmp_path, links):
    processes(tmp_path / "root", COME_AND_GO, links)
    assert names_below(tmp_path / "root") == []


@with_and_without_links
def test_a_swap_and_a_deletion_at_the_same_time_do_not_bring_the_object_back(tmp_path, links):
    LocalStore(tmp_path).create("token", b"free")
    taken = processes(tmp_path, TAKE_AND_PUT, links)  # no create met an object, or its process would have failed
    assert sum(taken) > 0
    assert LocalStore(tmp_path).get("token").data == b"free"


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "local", pytest.param("s3-seaweedfs", marks=fixtures_stores.SEAWEED)])
def shared(request, tmp_path):
    """A store that several threads may use."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "local":
        return LocalStore(tmp_path)
    bucket = request.getfixturevalue("seaweed_bucket")
    return S3Store(bucket.name, client=bucket.client)


def in_threads(work):
    barrier = Barrier(WORKERS)

    def run(number):
        barrier.wait(60)
        return work(number)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(run, range(WORKERS)))


def test_of_many_threads_that_create_an_object_one_wins(shared):
    def work(number):
        won = []
        for turn in range(10):
            with contextlib.suppress(AlreadyExists):
                shared.create(f"race/{turn}", b"%d" % number * 100)
                won.append(turn)
        return won

    won = in_threads(work)
    assert sorted(turn for turns in won for turn in turns) == list(range(10))
    for number, turns in enumerate(won):
        assert all(shared.get(f"race/{turn}").data == b"%d" % number * 100 for turn in turns)


def test_increments_by_many_threads_are_all_counted(shared):
    def work(_):
        done = 0
        while done < 5:
            blob = shared.get("counter")
            with contextlib.suppress(PreconditionFailed):
                shared.replace("counter", b"%d" % (int(blob.data) + 1), blob.etag)
                done += 1
        return done

    shared.create("counter", b"0")
    assert in_threads(work) == [5] * WORKERS
    assert shared.get("counter").data == b"%d" % (5 * WORKERS)


def test_a_reader_sees_old_content_or_new_never_a_mixture(shared):
    versions = [bytes([65 + number]) * 100_000 for number in range(20)]
    shared.create("big", versions[0])

    def work(number):
        if number == 0:
            etag = shared.head("big").etag
            for data in versions[1:]:
                etag = shared.replace("big", data, etag)
            return True
        return all(shared.get("big").data in versions for _ in range(20))

    assert all(in_threads(work))


def test_a_key_can_be_taken_from_anyone_only_once(shared):
    def work(_):
        taken = 0
        for _ in range(5):
            with contextlib.suppress(NotFound, PreconditionFailed):
                shared.replace("token", b"taken", free)
                taken += 1
        return taken

    free = shared.create("token", b"free")
    assert sum(in_threads(work)) == 1
