"""How many requests, and how many round trips deep, a question is on a real S3 server."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from fixtures_stores import SEAWEED
from oracle import PROVIDER, at, changes, snapshot

from titans import Archive
from titans.store.s3 import S3Store


@pytest.fixture
def requests(seaweed_client):
    seen: list[str] = []

    def record(params, model, **_):
        seen.append(f"{model.name} {params.get('url_path', '').rsplit('/', 1)[-1]}")

    seaweed_client.meta.events.register("before-call.s3", record)
    yield seen
    seaweed_client.meta.events.unregister("before-call.s3", record)


@pytest.fixture
def archive(seaweed_bucket, seaweed_client):
    archive = Archive(S3Store(seaweed_bucket.name, "requests", client=seaweed_client), PROVIDER)
    with patch("titans.tiers.compact.plan.is_worth_a_keyframe", lambda rows, keys: True):
        for slot in range(-16, 12):
            archive.ingest(snapshot({"a": (slot % 3, 0.5), "b": (slot, 0.5)}), at(slot))
        archive.seal("2026-01")
        archive.vacuum("0s")
        yield archive


@SEAWEED
def test_requests_of_each_question(archive, requests, record_property):
    lines = []
    for name, ask, most in (
        ("state", lambda a: a.state(at(7)), 5),
        ("latest", lambda a: a.latest(), 7),
        ("history of a key", lambda a: a.history(at(-16), at(12), k="a"), 5),
        ("changes of an hour", lambda a: a.changes(at(0), at(6)), 5),
    ):
        requests.clear()
        ask(Archive(archive.store, PROVIDER))
        lines.append(f"{len(requests)} requests: {name}: {', '.join(requests)}")
        print(lines[-1])
        assert len(requests) <= most, lines[-1]
    record_property("table", ("Requests to S3", lines))


MOST = 6
"""Requests of `upload` and adoption without a merge: the file; manifest, list, what the file says
of itself; manifest read and written."""
TRUST = 1
"""A new process looks up whether the server honours conditional writes."""
STATE = 5
"""And reads the state it compares with: the last whole one, and what there is since, here up to
five files."""


LISTS = 2
"""Before a merge, what lies in the month is listed: merged files and full snapshots that the manifest
does not know would show that it is an earlier one."""


@SEAWEED
def test_requests_of_each_slot(seaweed_bucket, seaweed_client, requests, record_property):
    """A merge is due in one slot of four, as these are small; the others are the steady state."""
    lines = []

    def place(name):
        return S3Store(seaweed_bucket.name, name, client=seaweed_client)

    def uploaded(archive, slot):
        archive.compact(archive.upload(changes({"a": (slot, 0.5)}), at(slot)), budget_seconds=1.0)

    def ingested(archive, slot):
        archive.ingest(snapshot({"a": (slot, 0.5), "b": (1, 0.5)}), at(slot))

    for name, store_slot, cold, most in (
        ("upload and adoption", uploaded, False, MOST),
        ("upload and adoption, a new process each", uploaded, True, MOST + TRUST),
        ("ingest", ingested, False, MOST),
        ("ingest, a new process each", ingested, True, MOST + TRUST + STATE),
    ):
        store = place(name.replace(" ", "-").replace(",", ""))
        archive = Archive(store, PROVIDER)
        first, steady, merging = 0, [], []
        for slot in range(12, 36):
            if cold:
                archive = Archive(place(store.url.rpartition("/")[2]), PROVIDER)
            requests.clear()
            store_slot(archive, slot)
            merged = any("PutObject L" in request for request in requests)
            if slot == 12:
                first = len(requests)
            elif merged:
                merging.append(len(requests))
            else:
                steady.append(len(requests))
        assert len(merging) in (5, 6)
        lines.append(
            f"{name}: {min(steady)} to {max(steady)} requests, first {first}, with a merge "
            f"{max(merging)}"
        )
        print(lines[-1])
        assert max(steady) <= most, lines[-1]
        assert max(merging) <= most + 14 + LISTS, lines[-1]
    record_property("table", ("Requests to S3 for each slot", lines))
