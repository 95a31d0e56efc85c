"""What an archive is: a function of what was acknowledged, slot → content.

A full snapshot asserts every key, an upload the keys in it. The state of a key at t is what the last
slot at or before t that asserts it said. The order of arrival, merges, seals and vacuums do not
enter.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meaning import (
    FEW,
    MONTHS,
    SLOTS,
    check,
    check_files,
    histories,
    lose_manifests,
    store_content,
    tidy,
)
from oracle import PROVIDER, as_dict

from titans import Archive
from titans.store.local import LocalStore

pytestmark = [pytest.mark.usefixtures("small_files"), pytest.mark.slow]


@given(histories(), st.booleans())
@FEW
def test_what_was_acknowledged_outlives_every_manifest(tmp_path_factory, history, is_sealed):
    content, arrivals = history
    archive = Archive(LocalStore(tmp_path_factory.mktemp("archive")), PROVIDER)
    for time, upkeep in arrivals:
        store_content(archive, time, *content[time])
        for what in upkeep:
            tidy(archive, what)
    archive.compact()
    for month in MONTHS if is_sealed else ():
        tidy(archive, month)

    lose_manifests(archive)
    archive.repair()
    archive.compact()
    check(archive, content)
    found = archive.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]


@given(histories())
@FEW
def test_the_archive_is_a_function_of_what_was_acknowledged(tmp_path_factory, history):
    content, arrivals = history
    archive = Archive(LocalStore(tmp_path_factory.mktemp("archive")), PROVIDER)
    for time, upkeep in arrivals:
        store_content(archive, time, *content[time])
        for what in upkeep:
            tidy(archive, what)
    check(archive, content)
    archive.compact()
    check(archive, content)

    # Sealing a month may write to later ones: what it left there is sealed again.
    for month in (*MONTHS, *MONTHS):
        tidy(archive, month)
    check(archive, content)
    check_files(archive)
    archive.vacuum("0s")
    check(archive, content)
    check_files(archive)
    found = archive.verify(deep=True)
    assert found.passed, [check for check in found.checks if not check.passed]


@given(histories())
@FEW
def test_the_order_of_arrival_does_not_enter(tmp_path_factory, history):
    content, arrivals = history
    ordered = Archive(LocalStore(tmp_path_factory.mktemp("ordered")), PROVIDER)
    for time in sorted(content):
        store_content(ordered, time, *content[time])
    shuffled = Archive(LocalStore(tmp_path_factory.mktemp("shuffled")), PROVIDER)
    for time, _ in arrivals:
        store_content(shuffled, time, *content[time])
    for archive in (ordered, shuffled):
        archive.compact()
    for moment in [t + timedelta(minutes=d) for t in content for d in (-1, 0, 1)]:
        assert as_dict(ordered.state(moment)) == as_dict(shuffled.state(moment)), moment


def test_a_late_slot_holds_until_the_next_snapshot_was_collected(tmp_path):
    first, late, last = (SLOTS[n] + timedelta(minutes=7) for n in range(3))
    content = {
        first: ("snapshot", {"a": (1, 0.5)}),
        last: ("snapshot", {"a": (1, 0.5)}),
        late: ("snapshot", {"a": (2, 0.5), "b": (0, 1.5)}),
    }
    archive = Archive(LocalStore(tmp_path), PROVIDER)
    for time, (kind, rows) in content.items():
        store_content(archive, time, kind, rows)
    check(archive, content)
    assert as_dict(archive.state(last - timedelta(minutes=1))) == {"a": (2, 0.5), "b": (0, 1.5)}
    for month in (*MONTHS, *MONTHS):
        tidy(archive, month)
    check(archive, content)
    check_files(archive)
