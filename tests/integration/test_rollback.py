"""From the original code to TITANS, back, and forth again: both read all of it each time, and what
either stored stays, slots that came late included."""

import json
from datetime import UTC, datetime
from random import Random

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle import PROVIDER, as_dict, at, changes, last_state, replayed, snapshot
from original import Collector

from titans import Archive
from titans.store.memory import MemoryStore

MONTHS = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
END = 12
"""The first slot of February."""


def uploads_of(seed, slots):
    """Slot → a few changes; keys come, change, go and come again."""
    random = Random(seed)
    made = {}
    for slot in range(slots):
        keys = random.sample("abcdef", random.randint(1, 3))
        made[slot] = {
            key: None if random.random() < 0.3 else (random.randint(0, 99), slot / 4)
            for key in keys
        }
    return made


class Run:
    """One archive, and who writes to it in turn."""

    def __init__(self, seed, slots, *, keeps_fields):
        self.store = MemoryStore()
        self.uploads = uploads_of(seed, slots)
        self.collector = Collector(
            self.store, "small", ("k",), dict(PROVIDER.schema_dtypes), keeps_fields=keeps_fields
        )
        self.there = set()
        """Slots that somebody has stored."""
        self.unseen = set()
        """Of these, those that the original does not look at: it takes them for done."""
        self.newest = -1

    def archive(self):
        return Archive(self.store, PROVIDER)

    def original(self, slots):
        for slot in slots:
            self.collector.run(self.rows(slot), at(slot))
            same_month = (slot < END) == (self.newest < END)
            if slot < self.newest and (same_month or slot < END):
                self.unseen.add(slot)
            self.there.add(slot)
            self.newest = max(self.newest, slot)

    def titans(self, slots, every=1):
        for number, slot in enumerate(slots):
            archive = self.archive()
            archive.upload(changes(self.uploads[slot]), at(slot))
            if number % every == 0:
                archive.compact()
            self.there.add(slot)
            self.newest = max(self.newest, slot)
        self.archive().compact()
        self.unseen.clear()

    def rows(self, slot):
        return (
            changes(self.uploads[slot])
            .with_columns(Time=pl.lit(at(slot)))
            .select(PROVIDER.canonical_columns)
        )

    def expected_rows(self, slots):
        found = [row for slot in slots for row in self.rows(slot).rows()]
        return sorted(found, key=lambda row: row[:2])

    def check_titans(self):
        """All rows, and the state at every slot, also of those that nobody has stored yet."""
        archive = self.archive()
        assert archive.changes().sort("k", "Time").rows() == self.expected_rows(self.there)
        stored = {at(slot): self.uploads[slot] for slot in self.there}
        for slot in range(max(self.there) + 2):
            state = as_dict(archive.state(at(slot)))
            assert state == last_state({}, stored, at(slot)), slot
        found = archive.verify(deep=True)
        assert found.passed, [check for check in found.checks if not check.passed]

    def check_original(self):
        """What its readers see: every row of the slots that its manifests hold."""
        found = [row for month in MONTHS for row in self.collector.rows(month).rows()]
        expected = self.expected_rows(self.there - self.unseen)
        assert sorted(found, key=lambda row: row[:2]) == expected


def late(slots, *back):
    """`slots` with some of them moved to the end."""
    return [slot for slot in slots if slot not in back] + list(back)


@pytest.mark.parametrize("keeps_fields", [False, True])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("first", ["original", "titans"])
def test_back_and_forth_nothing_is_lost(keeps_fields, seed, first):
    run = Run(seed, 70, keeps_fields=keeps_fields)
    phases = [
        late(range(10), 4),
        late(range(10, 31), 15, 20),
        late(range(31, 50), 33, 40),
        late(range(50, 70), 61, 52),
    ]
    phases[0].remove(2)
    phases[1].append(2)  # of the month before, by the other
    phases[1].remove(17)
    phases[2].append(17)
    phases[2].remove(45)
    phases[3].append(45)
    names = ["original", "titans"] if first == "original" else ["titans", "original"]
    for number, slots in enumerate(phases):
        name = names[number % 2]
        getattr(run, name)(slots)
        if name == "titans":
            run.check_original()
        run.check_titans()
    run.titans([])
    run.check_titans()
    run.check_original()


@pytest.mark.parametrize("keeps_fields", [False, True])
def test_a_rollback_between_an_upload_and_its_compaction(keeps_fields):
    run = Run(5, 40, keeps_fields=keeps_fields)
    run.titans(range(14), every=5)
    archive = run.archive()
    for slot in (16, 14, 15):
        archive.upload(changes(run.uploads[slot]), at(slot))
        run.there.add(slot)
    run.newest = 16
    run.original(range(17, 34))
    run.unseen |= {14, 15, 16}
    run.check_titans()
    run.titans(range(34, 40))
    run.check_titans()
    run.check_original()


# --- snapshots ------------------------------------------------------------------------------------


class Snapshots(Run):
    """TITANS ingests whole snapshots; the original uploads what changed."""

    def __init__(self, seed, slots, *, keeps_fields=False):
        super().__init__(seed, slots, keeps_fields=keeps_fields)
        self.snapshots = {}

    def titans(self, slots, every=1):
        for slot in slots:
            before = self.state(slot)
            now = {**before, **self.uploads.pop(slot)}
            rows = {key: values for key, values in now.items() if values is not None}
            self.snapshots[at(slot)] = rows
            result = self.archive().ingest(snapshot(rows), at(slot), max_ceased=1.0)
            assert result.status in ("ingested", "unchanged")
        self.archive().compact()

    def state(self, slot):
        stored = {at(s): self.uploads[s] for s in self.there if s in self.uploads}
        return last_state(self.snapshots, stored, at(slot))

    def check(self):
        self.check_answers()
        found = self.archive().verify(deep=True)
        assert found.passed, [check for check in found.checks if not check.passed]

    def check_readers(self):
        """The original's: all rows that its manifests name, one after the other."""
        points = pl.concat(map(self.collector.rows, MONTHS))
        for slot in range(self.slots):
            assert replayed(points, at(slot)) == self.state(slot), slot

    def check_answers(self):
        archive = self.archive()
        points = archive.changes()
        for slot in range(self.slots):
            expected = self.state(slot)
            assert as_dict(archive.state(at(slot))) == expected, f"state at {slot}"
            assert replayed(points, at(slot)) == expected, f"change points up to {slot}"


@pytest.mark.parametrize("keeps_fields", [False, True])
@pytest.mark.parametrize("ours", [range(3, 11), range(3, 16), range(3, 30)])
def test_snapshots_live_through_a_rollback(keeps_fields, ours):
    run = Snapshots(7, 60, keeps_fields=keeps_fields)
    run.slots = 60
    run.original(range(3))
    run.titans(ours)
    run.check()
    run.check_readers()
    run.original(range(ours.stop, ours.stop + 20))
    run.check()
    run.titans(range(ours.stop + 20, 60))
    run.check()


@pytest.mark.parametrize("keeps_fields", [False, True])
@pytest.mark.parametrize("also_february", [False, True])
def test_what_the_original_adds_to_a_month_is_seen_by_the_next_one(keeps_fields, also_february):
    """The border of February was made before the last slot of January came."""
    run = Snapshots(7, 40, keeps_fields=keeps_fields)
    run.slots = 40
    run.uploads[10] = {"a": (1, 1.0), "b": (1, 1.0)}
    run.uploads[11] = {"a": (99, 1.0), "b": None, "c": (3, 1.0)}
    run.uploads[12] = {"d": (4, 1.0)}
    run.titans([0, 10, 12, 13])
    run.check()
    run.there.add(11)
    run.collector.run(run.rows(11), at(11))
    if also_february:
        run.original([14])
    run.check_answers()
    run.archive().compact()
    run.check()
    run.titans(range(15, 30))
    run.check()


@pytest.mark.parametrize("keeps_fields", [False, True])
def test_keyframes_are_not_trusted_where_the_original_has_added_to_an_earlier_month(keeps_fields):
    run = Run(3, 60, keeps_fields=keeps_fields)
    run.titans([slot for slot in range(60) if slot != 11])
    run.archive().seal("2026-02")
    manifest = json.loads(run.store.get("parquet_warm/small/m8/2026/02/manifest.json").data)
    assert any(keyframe["dependent"] for keyframe in manifest["keyframes"])
    run.check_titans()
    run.uploads[11] = dict.fromkeys("abcdefgh", (1000, 0.5))
    run.there.add(11)
    run.collector.run(run.rows(11), at(11))
    run.archive().compact()
    run.check_titans()


# --- any schedule ---------------------------------------------------------------------------------


@st.composite
def schedules(draw):
    """Who writes which slots, phase after phase; some slots come in a later phase, or never."""
    phases = []
    first = 0
    for number in range(draw(st.integers(2, 4))):
        count = draw(st.integers(1, 24))
        phases.append(list(range(first, first + count)))
        first += count
        for slot in draw(st.sets(st.sampled_from(range(first)), max_size=3)):
            for phase in phases:
                if slot in phase:
                    phase.remove(slot)
                    phases[draw(st.integers(phases.index(phase), number))].append(slot)
                    break
    names = draw(st.permutations(["original", "titans"]))
    return [(names[number % 2], slots) for number, slots in enumerate(phases)]


@pytest.mark.slow
@settings(deadline=None, max_examples=8)
@example(
    schedule=[
        ("original", [*range(1, 12), 13, 12]),
        ("titans", [*range(14, 23), 25, 26, 27]),
        ("original", [*range(28, 34), 24, 23]),
        ("titans", [34, 0]),
    ],
    keeps_fields=False,
    seed=0,
)
@given(schedule=schedules(), keeps_fields=st.booleans(), seed=st.integers(0, 99))
def test_any_schedule_of_writers_leaves_every_row(schedule, keeps_fields, seed):
    run = Run(seed, 100, keeps_fields=keeps_fields)
    for name, slots in schedule:
        getattr(run, name)(slots)
        if run.there:
            run.check_titans()
    run.titans([])
    if run.there:
        run.check_titans()
        run.check_original()
