"""How many requests, and how many round trips deep, a question is on a real S3 server."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from fixtures_stores import SEAWEED
from oracle import PROVIDER, at, snapshot

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
    with patch("titans.tiers.keyframes.SPACING", 8):
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
        ("latest", lambda a: a.latest(), 6),
        ("history of a key", lambda a: a.history(at(-16), at(12), k="a"), 4),
        ("changes of an hour", lambda a: a.changes(at(0), at(6)), 4),
    ):
        requests.clear()
        ask(Archive(archive.store, PROVIDER))
        lines.append(f"{len(requests)} requests: {name}: {', '.join(requests)}")
        print(lines[-1])
        assert len(requests) <= most, lines[-1]
    record_property("table", ("Requests to S3", lines))
