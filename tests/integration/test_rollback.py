"""From the original code to TITANS, back, and forth again: both read all of it each time, and what
either stored stays, slots that came late included."""

from datetime import UTC, datetime
from random import Random

import polars as pl
import pytest
from oracle import PROVIDER, as_dict, at, changes, last_state
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
@pytest.mark.parametrize("seed", range(3))
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
