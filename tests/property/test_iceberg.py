"""Whatever happened to an archive, a table that is published equals its change points, as every
reader of Iceberg understands it; and a version stays what it was.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from archive_steps import corrections, done, early_merges, ingests, sealing, uploads, waiting
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import PROVIDER, UPGRADED
from reading_iceberg import assert_published, by_pyiceberg

from titans import Archive
from titans.errors import ArchiveNotFoundError
from titans.iceberg import publish
from titans.store.local import LocalStore

HOUR, NOW = timedelta(hours=1), timedelta(0)

publishing = st.sampled_from([("publish", HOUR), ("publish", NOW)])
steps = st.one_of(ingests, ingests, uploads, waiting, sealing, corrections, publishing, publishing)


def is_begun(archive):
    try:
        archive.changes()
    except ArchiveNotFoundError:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def early():
    with early_merges():
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
