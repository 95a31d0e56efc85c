"""Which files are merged next: small ones early and together, others eight by eight."""

from datetime import UTC, datetime

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle import PROVIDER

from titans.slots import Month, SlotSet
from titans.tiers.compact.plan import (
    LARGE_ROWS,
    SMALL_FANOUT,
    SMALL_RATIO,
    SMALL_ROWS,
    TOP,
    next_merge,
)
from titans.tiers.manifest.entries import FileEntry
from titans.tiers.manifest.model import Manifest

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def entry(name, level, slots, rows):
    return FileEntry(
        file=name,
        level=level,
        first=slots[0],
        last=slots[-1],
        slots=SlotSet.of(slots) if not name.startswith("C_") else SlotSet(()),
        bytes=1,
        rows=rows,
        rows_in=rows,
        hash="0" * 16,
        min_key=("a",),
        max_key=("z",),
        min_time=DAY,
        max_time=DAY,
    )


class Archive:
    """A month that adopts and merges as compaction does, without files."""

    def __init__(self):
        self.manifest = Manifest.empty(PROVIDER, Month(2026, 1))
        self.names = {}
        self.written = 0
        self.slot = 0

    def adopt(self, rows, corrections=0):
        name = f"hot/{self.slot}"
        files = [entry(name, 0, [self.slot], rows)]
        self.names[name] = [name]
        if corrections:
            files.append(entry(f"C_{self.slot}", 0, [self.slot], corrections))
            self.names[files[-1].file] = [files[-1].file]
        self.slot += 1
        self.manifest = evolve(self.manifest, files=(*self.manifest.files, *files))

    def merge(self):
        """Everything that is due."""
        while (plan := next_merge(self.manifest)) is not None:
            name = f"L{plan.level}_{self.written}_{self.slot}"
            self.names[name] = [one for each in plan.inputs for one in self.names[each.file]]
            rows = sum(each.rows for each in plan.inputs)
            self.written += rows
            slots = sorted(slot for each in plan.inputs for slot in each.slots)
            rest = [each for each in self.manifest.files if each not in plan.inputs]
            merged = entry(name, plan.level, slots, rows)
            self.manifest = evolve(self.manifest, files=(*rest, merged))

    def order(self):
        """Hot files and corrections as the levels have them."""
        files = sorted(self.manifest.files, key=lambda each: -each.level)
        return [one for each in files for one in self.names[each.file]]

    def of_level(self, *levels):
        return [each for each in self.manifest.files if each.level in levels]


ROWS = st.sampled_from([0, 1, 5, 240, 260, 3_000, 40_000, 2_000_000])
SLOTS = st.lists(st.tuples(ROWS, st.booleans()), max_size=150)


@given(SLOTS)
@example([(5, True)] * 120)
def test_order_of_adoption_is_kept_across_levels(slots):
    archive = Archive()
    adopted = []
    for rows, late in slots:
        archive.adopt(rows, corrections=rows if late else 0)
        adopted = [*adopted, *list(archive.names)[-1 - bool(rows and late) :]]
        archive.merge()
        assert archive.order() == adopted


@given(SLOTS)
def test_a_correction_stays_with_the_file_whose_adoption_needed_it(slots):
    archive = Archive()
    for rows, late in slots:
        archive.adopt(rows, corrections=rows if late else 0)
        archive.merge()
    for each in archive.manifest.files:
        assert each.level == 0 or not archive.names[each.file][0].startswith("C_")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 240), st.integers(1, 700))
@example(0, 4464)
@example(3, 4464)
@example(70, 730)
def test_months_of_few_rows_are_few_files(rows, slots):
    """A state reads a keyframe and at most five files."""
    archive = Archive()
    for _ in range(slots):
        archive.adopt(rows)
        archive.merge()
        assert len(archive.of_level(0)) < SMALL_FANOUT
        merged = archive.of_level(1, 2)
        bound, tiers = SMALL_ROWS, 1
        while bound < (rows + 1) * archive.slot:
            bound, tiers = bound * SMALL_RATIO, tiers + 1
        assert len(merged) <= tiers
    assert archive.written <= 20 * tiers * max((rows + 1) * slots, SMALL_ROWS * slots / 4)


def test_files_that_are_not_small_are_merged_eight_by_eight():
    archive = Archive()
    for _ in range(192):
        archive.adopt(1_000)
        archive.merge()
    assert [each.level for each in archive.manifest.files] == [TOP]
    assert archive.written == 3 * 192 * 1_000


@pytest.mark.parametrize("rows", [2_000, 8_000, 40_000, 400_000, 2_000_000])
def test_a_merge_has_hardly_more_rows_than_it_takes_to_be_final(rows):
    archive = Archive()
    for _ in range(400):
        archive.adopt(rows)
        archive.merge()
    finals = archive.of_level(TOP)
    assert finals
    for each in finals:
        assert each.rows < LARGE_ROWS + max(8 * rows, 64 * 8_000)
        assert each.rows >= min(LARGE_ROWS, 192 * rows)


def test_large_files_before_small_ones_are_left_alone():
    archive = Archive()
    for _ in range(8):
        archive.adopt(3_000)
    archive.merge()
    for _ in range(8):
        archive.adopt(2)
        archive.merge()
    assert [(each.level, each.rows) for each in archive.manifest.files] == [(1, 24_000), (1, 16)]
