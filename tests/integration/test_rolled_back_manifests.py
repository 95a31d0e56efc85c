"""A manifest that is lost, or of which an earlier version is put back: nothing is lost, everything
is noticed, and repair brings it back."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import permutations
from unittest.mock import patch

import pytest
from oracle import PROVIDER, Clock, as_dict, at, changes, snapshot

from titans import Archive
from titans.errors import ManifestError, NotFound, SnapshotExpiredError, TitansError
from titans.slots import Month
from titans.store.memory import MemoryStore

JANUARY = Month(2026, 1)
MANIFEST = "parquet_warm/small/m8/2026/01/manifest.json"
SLOTS = range(12)

small = pytest.mark.usefixtures("small_files")


@contextmanager
def many_merges():
    """Two files to a merge, and keyframes every other slot."""
    with (
        patch("titans.tiers.compact.plan.FANOUTS", (2, 2)),
        patch("titans.tiers.compact.plan.TOP", 2),
        patch("titans.tiers.compact.plan.is_worth_a_keyframe", lambda rows, keys: True),
        patch("titans.tiers.compact.plan.FINAL_ROWS", 0),
    ):
        yield


def contents(store):
    return {entry.key: store.get(entry.key).data for entry in store.list()}


def on(objects, clock=None):
    """An archive with these objects; its process remembers nothing."""
    store = MemoryStore(clock=clock or Clock())
    for key, data in objects.items():
        store.create(key, data)
    return Archive(store, PROVIDER, wait=lambda attempt: None)


def states(archive):
    return [as_dict(archive.state(at(n, 5))) for n in SLOTS]


@pytest.fixture(scope="module")
def life():
    with many_merges():
        return live()


def live():
    """Every version a manifest ever had, everything that was there at some later points, and the
    right answers there: snapshots and uploads, some late, merged, sealed and vacuumed."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    versions, points = [], []
    archive = Archive(store, PROVIDER, wait=lambda attempt: None)
    real = store.replace

    def replace(key, data, etag):
        if key == MANIFEST:
            versions.append(data)
        return real(key, data, etag)

    store.replace = replace

    def keep(name):
        found = contents(store)
        points.append((name, found, states(on(found)), on(found).changes()))

    for n in [0, 1, 2, 4, 3, 5, 6, 7, 9, 8]:
        if n in (2, 8):
            archive.upload(changes({"c": (n, 0.5), "a": (50 + n, 0.5)}), at(n))
            archive.compact()
        else:
            archive.ingest(snapshot({"a": (n, 0.5), "b": (n // 3, 1.5)}), at(n), max_ceased=1.0)
        clock.later(minutes=40)
        if n in (5, 9):
            archive.vacuum("30m")
            clock.later(hours=1)
            archive.vacuum("30m")
            keep(f"vacuumed after {n}")
    archive.upload(changes({"d": (1, 0.5)}), at(11))
    keep("with a waiting file")
    archive.seal("2026-01")
    clock.later(hours=2)
    archive.vacuum("0s")
    keep("sealed")
    return versions, points


OPERATIONS = {
    "ingest": lambda archive: archive.ingest(snapshot({"a": (3, 0.5)}), at(-1), max_ceased=1.0),
    "upload": lambda archive: archive.upload(changes({"z": (1, 0.5)}), at(-2)),
    "compact": lambda archive: archive.compact(),
    "seal": lambda archive: archive.seal("2026-01"),
    "vacuum": lambda archive: archive.vacuum("0s"),
}
"""What changes something. The slots of `ingest` and `upload` come before those of the life."""


def attempt(archive, name):
    try:
        return OPERATIONS[name](archive)
    except (ManifestError, SnapshotExpiredError, NotFound, TitansError) as error:
        return error


def without_new(state):
    return {key: values for key, values in state.items() if key != "z"}


def check(archive, right):
    """After repair and compaction, all that was there is there."""
    archive.repair()
    archive.compact()
    assert archive.repair() == ()
    found = archive.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]
    assert [without_new(state) for state in states(archive)] == right


def damages(versions, points):
    for name, objects, right, _ in points:
        last = objects[MANIFEST]
        for version in [None, *versions]:
            if version != last:
                yield name, objects, right, version
            else:
                break  # later versions are not earlier ones


@small
def test_there_are_many_versions_and_points(life):
    versions, points = life
    assert len(points) == 4
    assert len(list(damages(versions, points))) > 60


@small
def test_every_version_put_back_at_every_later_point_is_noticed_or_harmless(life):
    """Noticed by verify, unless it says the same as the newest: then all answers are right."""
    versions, points = life
    noticed = 0
    for _, objects, right, version in damages(versions, points):
        damaged = {key: data for key, data in objects.items() if key != MANIFEST}
        if version is not None:
            damaged[MANIFEST] = version
        archive = on(damaged)
        before = contents(archive.store)
        passed = archive.verify(deep=True).passed
        assert contents(archive.store) == before, "verify changes nothing"
        if passed:
            assert [without_new(state) for state in states(archive)] == right
        else:
            noticed += 1
        check(archive, right)
    assert noticed > 30


@small
@pytest.mark.parametrize("first", OPERATIONS)
def test_every_operation_in_every_order_loses_nothing(life, first):
    """All orders of the operations after each other, at every third version of every point."""
    versions, points = life
    orders = [order for order in permutations(OPERATIONS) if order[0] == first]
    for number, (_, objects, right, version) in enumerate(damages(versions, points)):
        if number % 3 and version is not None:
            continue
        damaged = {key: data for key, data in objects.items() if key != MANIFEST}
        if version is not None:
            damaged[MANIFEST] = version
        clock = Clock()
        archive = on(damaged, clock)
        for name in orders[number % len(orders)]:
            clock.later(hours=2)
            attempt(archive, name)
            clock.later(hours=2)
        check(archive, right)


@small
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_lost_manifest_stops_adoption_and_vacuum(life, name):
    _, points = life
    _, objects, right, _ = points[-1]
    archive = on({key: data for key, data in objects.items() if key != MANIFEST})
    before = contents(archive.store)
    done = attempt(archive, name)
    if name == "upload":
        assert isinstance(done, str)  # a hot file of a slot of its own is data, whatever comes
    else:
        assert isinstance(done, ManifestError), done
        assert "titans repair" in str(done)
    assert before.items() <= contents(archive.store).items(), "nothing is removed"
    assert MANIFEST not in contents(archive.store), "and no fresh manifest written"
    with pytest.raises(ManifestError, match="titans repair"):
        archive.latest()
    with pytest.raises(ManifestError, match="titans repair"):
        archive.changes()
    check(archive, right)


@small
def test_an_upload_into_a_slot_that_a_lost_manifest_knew_is_refused(life):
    _, points = life
    _, objects, right, _ = points[-1]
    archive = on({key: data for key, data in objects.items() if key != MANIFEST})
    before = contents(archive.store)
    with pytest.raises(ManifestError, match="titans repair"):
        archive.upload(changes({"c": (999, 0.5)}), at(2))
    with pytest.raises(ManifestError, match="titans repair"):
        archive.ingest(snapshot({"c": (999, 0.5)}), at(4), max_ceased=1.0)
    assert contents(archive.store) == before
    check(archive, right)


@small
def test_other_months_go_on(life):
    _, points = life
    _, objects, _, _ = points[-1]
    archive = on({key: data for key, data in objects.items() if key != MANIFEST})
    archive.ingest(snapshot({"a": (7, 0.5)}), at(20), max_ceased=1.0)
    assert as_dict(archive.state(at(21))) == {"a": (7, 0.5)}


@small
def test_repair_and_a_writer_at_the_same_time(life):
    """The writer commits between the plan and its execution: the plan is made again."""
    versions, points = life
    for _, objects, right, version in list(damages(versions, points))[5::9]:
        if version is None:
            continue
        archive = on({**objects, MANIFEST: version})
        writer = Archive(archive.store, PROVIDER, wait=lambda attempt: None)
        real, raced = archive.store.replace, []

        def replace(key, data, etag, real=real, raced=raced, writer=writer):
            if not raced:
                raced.append(key)
                writer.ingest(snapshot({"a": (1, 0.5)}), at(-3), max_ceased=1.0)
            return real(key, data, etag)

        archive.store.replace = replace
        archive.repair()
        archive.store.replace = real
        check(archive, right)


@small
def test_a_seal_that_was_killed_in_the_middle_and_a_manifest_that_was_lost(life, monkeypatch):
    """At every write of the seal: its outputs lie beside their inputs."""
    _, points = life
    _, objects, right, _ = points[-2]

    class Killed(BaseException):
        pass

    for count in range(40):
        archive = on(objects)
        left = [None] * count
        for verb in ("create", "replace", "delete"):
            real = getattr(archive.store, verb)

            def write(*arguments, real=real, left=left):
                if not left:
                    raise Killed
                left.pop()
                return real(*arguments)

            monkeypatch.setattr(archive.store, verb, write)
        try:
            archive.seal("2026-01")
            ended = True
        except Killed:
            ended = False
        monkeypatch.undo()
        clean = on(contents(archive.store))
        late = snapshot({"a": (9, 0.5), "b": (3, 1.5)})
        clean.ingest(late, at(10), max_ceased=1.0)  # others go on, and merge other files
        clean.compact()
        kept = [without_new(state) for state in states(clean)]
        clean.store.delete(MANIFEST)
        check(clean, kept)
        assert kept[:10] == right[:10]
        if ended:
            break
    assert ended


def test_a_merge_that_has_not_committed_yet_is_no_loss(small_files):
    """Its output holds slots that are known: neither vacuum nor adoption minds it."""
    store = MemoryStore(clock=Clock())
    archive = Archive(store, PROVIDER, wait=lambda attempt: None)
    for n in range(4):
        archive.ingest(snapshot({"a": (n, 0.5)}), at(n))
    real, seen = store.replace, []

    def replace(key, data, etag):
        outputs = [e.key for e in store.list(MANIFEST.rpartition("/")[0] + "/L")]
        if len(outputs) > len(seen):
            seen.extend(outputs)
            store.replace = real
            other = Archive(store, PROVIDER, wait=lambda attempt: None)
            other.vacuum()
            other.upload(changes({"c": (1, 0.5)}), at(-5))
            assert other.compact().adopted
            assert other.verify(deep=True).passed
            assert other.repair() == ()
        return real(key, data, etag)

    store.replace = replace
    for n in range(4, 8):
        archive.ingest(snapshot({"a": (n, 0.5)}), at(n))
    assert seen
    assert archive.verify(deep=True).passed


def test_a_repaired_month_is_marked_before_late_slots_change_later_ones(small_files):
    """Later months may build on it, which the manifest that was lost knew."""
    store = MemoryStore(clock=Clock())
    archive = Archive(store, PROVIDER, wait=lambda attempt: None)
    for n in [0, 1, 2, 3, 12, 13, 14, 15, 16]:
        archive.upload(changes({"a": (n, 0.5), f"k{n}": (n, 0.5)}), at(n))
        archive.compact()
    archive.seal("2026-01")
    archive.seal("2026-02")
    archive.vacuum("0s")
    store.delete(MANIFEST)
    archive = Archive(store, PROVIDER, wait=lambda attempt: None)
    archive.repair()
    archive.upload(changes({"late": (5, 0.5)}), at(5))
    archive.compact()
    assert as_dict(archive.state(at(16)))["late"] == (5, 0.5)
    assert archive.verify(deep=True).passed


@pytest.mark.usefixtures("eight_by_eight")
def test_no_request_more_in_a_slot_that_does_not_merge(monkeypatch):
    """Only a month without a manifest, and merges, list what lies beside the manifest."""
    store = MemoryStore()
    archive = Archive(store, PROVIDER)
    listed = []
    real = store.list

    def listing(prefix="", start_after=""):
        if "warm" in prefix or "state" in prefix:
            listed.append(prefix)
        return real(prefix, start_after)

    monkeypatch.setattr(store, "list", listing)
    counts = {}
    for n in range(12, 12 + 24):
        listed.clear()
        archive.ingest(snapshot({"a": (n, 0.5)}), at(n))
        counts[n - 12] = len(listed)
    assert [n for n, count in counts.items() if count] == [0, 7, 15, 23]
