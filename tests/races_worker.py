"""One process of a race: ingests its share of the slots, compacts, vacuums and reads; may be killed
at any moment.

    python races_worker.py URL NUMBER OF SLOTS ACKNOWLEDGED

Writes the number of every acknowledged slot to the file ACKNOWLEDGED, one a line, after the archive
has acknowledged it.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from oracle import PROVIDER, as_dict, at, changes, snapshot

from titans import Archive
from titans.errors import RetryableError
from titans.store import open_store

KEYS = 12


def rows(slot: int) -> dict[str, tuple]:
    """What is seen in a slot: the same for everybody who asks."""
    seen = random.Random(slot)
    return {
        f"k{n:02}": (seen.randrange(3), seen.randrange(3) + 0.5)
        for n in range(KEYS)
        if seen.random() < 0.9
    }


def is_upload(slot: int) -> bool:
    """Some slots hold changes, not snapshots."""
    return slot % 11 == 3


def is_corrected(slot: int) -> bool:
    """Some slots first hold what is wrong."""
    return slot % 5 == 2


def wrong(slot: int) -> dict[str, tuple]:
    return {key: (v + 7, w) for key, (v, w) in list(rows(slot).items())[1:]}


def main(url: str, number: int, of: int, slots: int, acknowledged: Path) -> None:
    chance = random.Random(os.getpid())
    archive = Archive(open_store(url), PROVIDER)
    done = set(map(int, acknowledged.read_text().split())) if acknowledged.exists() else set()
    mine = [slot for slot in range(number, slots, of) if slot not in done]
    # Mostly in order, as collectors come, but some late.
    mine.sort(key=lambda slot: slot + (chance.randrange(40) if chance.random() < 0.2 else 0))
    with acknowledged.open("a") as log:
        for slot in mine:
            while True:
                try:
                    _write(archive, slot)
                except RetryableError:
                    continue
                break
            log.write(f"{slot}\n")
            log.flush()
            _disturb(archive, slot, chance)


def _write(archive: Archive, slot: int) -> None:
    first = wrong(slot) if is_corrected(slot) else rows(slot)
    if is_upload(slot):
        archive.upload(changes(first), at(slot))
    else:
        result = archive.ingest(snapshot(first), at(slot), max_ceased=1.0)
        # After a kill the correction may have been made.
        assert result.status != "skipped" or is_corrected(slot), (slot, result)
    if is_corrected(slot):
        _correct(archive, slot)


def _correct(archive: Archive, slot: int) -> None:
    if is_upload(slot):
        archive.amend_changes(changes(rows(slot)), at(slot), reason="wrong")
        return
    if slot % 2:
        archive.retract(at(slot), reason="wrong")
    archive.amend(snapshot(rows(slot)), at(slot), reason="wrong", max_ceased=1.0)


def _disturb(archive: Archive, slot: int, chance: random.Random) -> None:
    what = chance.random()
    try:
        if what < 0.3:
            archive.compact()
        elif what < 0.34:
            archive.vacuum("2s")
        elif what < 0.44 and not is_upload(slot):
            assert as_dict(archive.state(at(slot))) == rows(slot)
    except RetryableError:
        pass


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
