"""The explorer of an archive in a bucket: the same answers, and no credential in any of them."""

from __future__ import annotations

import polars as pl
import pytest
from fixtures_explorer import BASE, BEGIN, HOUR
from fixtures_stores import ACCESS_KEY, REGION, SECRET_KEY

import titans

pytest.importorskip("titans_explorer", reason="titans-explorer is not installed")

from starlette.testclient import TestClient

from titans_explorer.app import app

pytestmark = pytest.mark.xdist_group("seaweedfs")

ROW = {"InstanceType": ["n1"], "Region": ["r1"], "SpotPrice": [0.5]}


def test_an_archive_in_a_bucket_is_shown_without_what_opens_it(seaweed_bucket, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it remembers those of an earlier test
    url = (
        f"s3://{seaweed_bucket.name}/prices?endpoint_url={seaweed_bucket.endpoint}&region={REGION}"
    )
    archive = titans.open(url, provider="gcp")
    for hour, price in enumerate([0.5, 0.75]):
        archive.ingest(pl.DataFrame(ROW | {"SpotPrice": [price]}), BEGIN + hour * HOUR)

    questions = ("about", "calendar", "keys", "points?key=n1|r1", "lines?key=n1|r1", "diff")
    with TestClient(app(url), base_url=BASE) as client:
        (shown,) = client.get("/api/store").json()["archives"]
        answers = [client.get(f"/api/gcp/{question}") for question in questions]
    assert shown["store"].startswith(f"s3://{seaweed_bucket.name}/prices")
    assert [answer.status_code for answer in answers] == [200] * len(questions)
    told = "".join(answer.text for answer in answers)
    assert SECRET_KEY not in told
    assert answers[3].json()["count"] == 2
