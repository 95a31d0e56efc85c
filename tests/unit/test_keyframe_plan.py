"""Where keyframes stand: by volume, not by the clock."""

from datetime import UTC, datetime

import pytest
from attrs import evolve
from oracle import PROVIDER

from titans.slots import Month, SlotSet
from titans.tiers.compact.plan import missing_keyframes
from titans.tiers.manifest.entries import FileEntry, Keyframe
from titans.tiers.manifest.model import Manifest

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def final(first: int, last: int, rows: int) -> FileEntry:
    return FileEntry(
        file=f"L3_{first:04d}_{first:05d}-{last:05d}.parquet",
        level=3,
        first=first,
        last=last,
        slots=SlotSet(((first, last),)),
        bytes=1,
        rows=rows,
        rows_in=rows,
        hash="0" * 16,
        min_key=("a",),
        max_key=("z",),
        min_time=DAY,
        max_time=DAY,
    )


def month(keys: int, *files: FileEntry) -> Manifest:
    """One that begins with a full snapshot of so many keys, and goes on after the files."""
    full = Keyframe("F_00000_0123456789abcdef.parquet", 0, keys, 1, "0", dependent=False)
    return evolve(
        Manifest.empty(PROVIDER, Month(2026, 1)),
        files=files,
        keyframes=(full,),
        full={0: DAY},
        adopted=SlotSet(((0, files[-1].last + 1),)),
    )


@pytest.mark.parametrize(
    ("keys", "rows", "expected"),
    [
        (60_000, 480_000, [192, 384]),  # a dense market: at the end of every file of 192 slots
        (500, 13_000, []),  # fewer rows than are worth it
        (300_000, 480_000, []),  # not many for each key
        (5_000, 60_000, [384]),  # worth it after two files
    ],
)
def test_keyframes_stand_where_a_final_file_ends_and_much_has_changed(keys, rows, expected):
    files = final(1, 191, rows), final(192, 383, rows)
    assert missing_keyframes(month(keys, *files)) == expected


def test_a_file_of_very_many_rows_has_some_inside():
    missing = missing_keyframes(month(30_000, final(1, 100, 1_200_000)))
    assert missing == [*range(21, 100, 20), 101]


def test_those_that_are_there_are_not_missing():
    manifest = month(30_000, final(1, 100, 1_200_000))
    for slot in missing_keyframes(manifest):
        missing = missing_keyframes(manifest)
        assert slot == missing[0]
        name = f"K_{slot:05d}_0123456789abcdef.parquet"
        keyframe = Keyframe(name, slot, 31_000, 1, "0", dependent=False)
        manifest = evolve(manifest, keyframes=(*manifest.keyframes, keyframe))
    assert missing_keyframes(manifest) == []
