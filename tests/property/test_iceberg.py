"""Whatever happened to an archive, a table that is published equals its change points, as every
reader of Iceberg understands it; and a version stays what it was.
"""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import PROVIDER, UPGRADED, at, changes, snapshot
from reading_iceberg import assert_published, by_pyiceberg

from titans import Archive
from titans.errors import ArchiveNotFoundError, SnapshotExpiredError, TitansError
from titans.iceberg import publish
from titans.store.local import LocalStore

SLOTS = range(-6, 20)  # the month changes at 12
KEYS = "abcde"
HOUR, NOW = timedelta(hours=1), timedelta(0)

states = st.dictionaries(
    st.sampled_from(KEYS), st.tuples(st.integers(0, 2), st.just(0.5)), min_size=1
)
ingests = st.tuples(st.just("ingest"), st.sampled_from(SLOTS), states)
uploads = st.tuples(st.just("upload"), st.sampled_from(SLOTS), states)
waiting = st.tuples(st.just("wait"), st.sampled_from(SLOTS), states)
keeping = st.sampled_from([("compact",), ("seal", "2026-01"), ("compact",), ("seal", "2026-02")])
corrections = st.one_of(
    st.tuples(st.just("amend"), st.sampled_from(SLOTS), states),
    st.tuples(st.just("retract"), st.sampled_from(SLOTS)),
    st.tuples(st.just("erase"), st.sampled_from(KEYS)),
)
publishing = st.sampled_from([("publish", HOUR), ("publish", NOW)])
steps = st.one_of(ingests, ingests, uploads, waiting, keeping, corrections, publishing, publishing)


def done(archive, step):
    """Do it, unless the archive refuses it."""
    kind, *given_to = step
    try:
        if kind == "ingest":
            archive.ingest(snapshot(given_to[1]), at(given_to[0], 3), max_ceased=1.0)
        elif kind in ("upload", "wait"):
            key = archive.upload(changes(given_to[1]), at(given_to[0], 4))
            if kind == "upload":
                archive.compact(key)
        elif kind == "amend":
            archive.amend(snapshot(given_to[1]), at(given_to[0], 3), reason="test")
        elif kind == "retract":
            archive.retract(at(given_to[0], 3), reason="test")
        elif kind == "erase":
            archive.erase(keys=[{"k": given_to[0]}], reason="test")
        elif kind == "seal":
            archive.seal(given_to[0])
        elif kind == "vacuum":
            archive.vacuum("0s")
        else:
            archive.compact()
    except TitansError as error:
        assert not isinstance(error, SnapshotExpiredError)


def is_begun(archive):
    try:
        archive.changes()
    except ArchiveNotFoundError:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def early():
    """Merges and keyframes come early."""
    with (
        patch("titans.tiers.compact.plan.FANOUTS", (3, 3)),
        patch("titans.tiers.compact.plan.TOP", 2),
        patch("titans.tiers.compact.plan.is_worth_a_keyframe", lambda rows, keys: True),
    ):
        yield


MANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(st.lists(steps, min_size=2, max_size=14), st.integers(2, 30))
def test_a_published_table_is_the_changes(tmp_path_factory, steps, upgraded):
    store = LocalStore(tmp_path_factory.mktemp("store"))
    archive = Archive(store, PROVIDER)
    by = ["k", "Time"]
    before = None
    for number, step in enumerate([*steps, ("publish", HOUR)]):
        if number == upgraded:
            archive = Archive(store, UPGRADED)
        if step[0] != "publish":
            done(archive, step)
            continue
        if not is_begun(archive):
            continue
        published = publish(archive._dataset, step[1])
        assert_published(archive, published)
        if before is not None:
            # Nothing of the archive's was removed: the version before is what it was.
            location, rows = before
            assert by_pyiceberg(location, rows, by).equals(rows)
        before = published.changes.location, archive.changes()
        assert publish(archive._dataset, HOUR).unchanged
    if is_begun(archive):
        assert archive.verify(deep=True).passed
