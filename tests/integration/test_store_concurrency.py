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
TURNS = 150

# What each of the processes does, in a folder of its own per phase. All begin a phase at the same
# time.
PROCESS = """
import json, os, sys, traceback
from pathlib import Path
from titans.errors import AlreadyExists, NotFound, PreconditionFailed
from titans.store.local import LocalStore

base, number, links, TURNS = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
if links == "no links" or (links == "mixed" and number % 2):
    def refused(*_, **__): raise PermissionError(1, "Operation not permitted")
    os.link = refused
    rename = os.replace
    def after_a_while(*names, **named):  # the others come in between the look and the rename
        for _ in range(20): os.sched_yield()
        rename(*names, **named)
    os.replace = after_a_while

def create(store):
    won = []
    for turn in range(TURNS):
        try:
            store.create(f"race/{turn}", b"%d" % number * 1000)
            won.append(turn)
        except AlreadyExists:
            pass
    return won

def increment(store):
    done = 0
    while done < 20:
        blob = store.get("deep/counter")
        try:
            store.replace("deep/counter", b"%d" % (int(blob.data) + 1), blob.etag)
            done += 1
        except PreconditionFailed:
            pass
    return done

def create_and_increment(store):
    for turn in range(8):  # each counter is made by whoever comes first, while others swap it already
        done = False
        while not done:
            try:
                blob = store.get(f"deep/{turn}")
            except NotFound:
                try:
                    store.create(f"deep/{turn}", b"1")
                    done = True
                except AlreadyExists:
                    pass
                continue
            try:
                store.replace(f"deep/{turn}", b"%d" % (int(blob.data) + 1), blob.etag)
                done = True
            except PreconditionFailed:
                pass
    return turn

def come_and_go(store):
    mine = f"shared/folder/{number}"
    for turn in range(40):
        store.create(mine, b"x")
        assert store.get(mine).data == b"x"
        store.delete(mine)
    return turn

def take_and_put(store):
    taken = 0  # whoever has taken the token has it alone: nobody else can delete it or put it back meanwhile
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
    return taken

print("ready", flush=True)
for line in sys.stdin:
    phase = line.strip()
    try:
        answer = {"done": globals()[phase](LocalStore(base / phase))}
    except Exception:
        answer = {"failed": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
"""


class Processes:
    """Eight processes that share folders below `base`."""

    def __init__(self, base, workers):
        self.base, self._workers = base, workers

    def run(self, phase):
        """The store of this phase, and what each process returned."""
        for worker in self._workers:
            worker.stdin.write(f"{phase}\n")
            worker.stdin.flush()
        answers = [json.loads(worker.stdout.readline()) for worker in self._workers]
        failed = [answer["failed"] for answer in answers if "failed" in answer]
        assert not failed, failed[0]
        return self.store(phase), [answer["done"] for answer in answers]

    def store(self, phase):
        return LocalStore(self.base / phase)


@pytest.fixture(scope="module", params=["links", "no links", "mixed"])
def processes(request, tmp_path_factory):
    base = tmp_path_factory.mktemp("processes")
    with contextlib.ExitStack() as stack:
        workers = []
        for number in range(WORKERS):
            worker = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    PROCESS,
                    str(base),
                    str(number),
                    request.param,
                    str(TURNS),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(worker)
            stack.callback(worker.kill)
            workers.append(worker)
        assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * WORKERS
        yield Processes(base, workers)


def names_below(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


one_worker = pytest.mark.xdist_group("store-processes")


@pytest.mark.slow
@one_worker
def test_of_many_processes_that_create_an_object_one_wins(processes):
    store, won = processes.run("create")
    assert sorted(turn for turns in won for turn in turns) == list(range(TURNS))
    for number, turns in enumerate(won):
        for turn in turns:
            assert store.get(f"race/{turn}").data == b"%d" % number * 1000
    assert names_below(store.root) == sorted(["race", *(f"race/{turn}" for turn in range(TURNS))])


@pytest.mark.slow
@one_worker
def test_increments_by_many_processes_are_all_counted(processes):
    processes.store("increment").create("deep/counter", b"0")
    store, done = processes.run("increment")
    assert done == [20] * WORKERS
    assert store.get("deep/counter").data == b"%d" % (20 * WORKERS)
    assert [entry.key for entry in store.list()] == ["deep/counter"]


@pytest.mark.slow
@one_worker
def test_creations_and_the_swaps_that_follow_at_once_are_all_counted(processes):
    store, _ = processes.run("create_and_increment")
    assert {entry.key: store.get(entry.key).data for entry in store.list()} == {
        f"deep/{turn}": b"%d" % WORKERS for turn in range(8)
    }


@pytest.mark.slow
@one_worker
def test_a_folder_that_is_removed_while_others_write_into_it_is_made_again(processes):
    store, _ = processes.run("come_and_go")
    assert names_below(store.root) == []


@pytest.mark.slow
@one_worker
def test_a_swap_and_a_deletion_at_the_same_time_do_not_bring_the_object_back(processes):
    processes.store("take_and_put").create("token", b"free")
    store, taken = processes.run(
        "take_and_put"
    )  # no create met an object, or its process would have failed
    assert sum(taken) > 0
    assert store.get("token").data == b"free"


# --- threads --------------------------------------------------------------------------------------


@pytest.fixture(
    params=["memory", "local", pytest.param("s3-seaweedfs", marks=fixtures_stores.SEAWEED)]
)
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
